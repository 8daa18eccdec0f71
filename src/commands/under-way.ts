import { type Environment, targetName } from "../domain/application.ts";
import { CancelledError, RolloutError } from "../domain/errors.ts";
import { type ImageId, isImageId, TAG } from "../domain/image.ts";
import type { LedgerKey } from "../domain/release-tag.ts";
import { findByIds } from "../image/catalogue.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { MARKER_LIFETIME, markerRef, readAbortMarker, writeAbortMarker } from "../release/abort-marker.ts";
import { whyNotAborted } from "../rollout/aborted.ts";
import { followRefresh } from "../rollout/follow.ts";
import { imagesOfVersions } from "../rollout/launch-template.ts";
import { Pace } from "../rollout/pace.ts";
import { rollBackRefresh } from "../rollout/refresh.ts";
import { instanceCount, type TargetState } from "../rollout/target-state.ts";
import { rolloutTools } from "./prepare-target.ts";
import type { Ports } from "./ports.ts";
import type { RollbackRequest } from "./request.ts";

/** A refresh that is bringing a target something else than its newest record says. */
export type UnderWay = {
  readonly state: TargetState;
} & (
  | {
      /** `release`: an image that a record names, as another rollback does. */
      readonly brings: "unrecorded" | "release";
      readonly image: ImageId;
    }
  /** Somebody else's: another repository's or application's, or a person's. It is left alone. */
  | { readonly brings: "foreign" }
);

/** One that a rollback may have AWS roll back. */
export type OwnUnderWay = Exclude<UnderWay, { brings: "foreign" }>;

/**
 * The refreshes that bring an environment something else; more requests only where there are some. Which of them Kiln started
 * is told by their image: Kiln's have the tags of this application and repository.
 */
export async function whatIsUnderWay(
  states: readonly TargetState[],
  history: readonly ReleaseRecord[],
  environment: Environment,
  request: Pick<RollbackRequest, "run" | "application">,
  ports: Ports,
): Promise<readonly UnderWay[]> {
  const [newest] = history;
  if (newest === undefined) return [];
  const coming = states.filter((state) => bringsSomethingElse(state, newest));
  return Promise.all(
    coming.map(async (state): Promise<UnderWay> => {
      const { region } = state.target;
      const image = await broughtImage(state, environment, ports);
      if (image === undefined || !isImageId(image)) return { state, brings: "foreign" };
      if (names(history, region, image)) return { state, brings: "release", image };
      const found = (await findByIds(await ports.aws.ec2(region), region, [image])).get(image);
      return isOurImage(found?.tags ?? {}, request)
        ? { state, brings: "unrecorded", image }
        : { state, brings: "foreign" };
    }),
  );
}

function isOurImage(
  tags: Readonly<Record<string, string>>,
  { run, application }: Pick<RollbackRequest, "run" | "application">,
): boolean {
  const repositories = [run.repository, ...(application.image.formerRepositories ?? [])];
  const repository = tags[TAG.repository];
  return (
    tags[TAG.application] === application.name &&
    repository !== undefined &&
    repositories.includes(repository)
  );
}

/** What no record names: a deploy or a promotion that has not ended. */
export const isUnrecorded = (each: UnderWay): each is OwnUnderWay => each.brings === "unrecorded";

/** What a rollback may stop. */
export const isOwn = (each: UnderWay): each is OwnUnderWay => each.brings !== "foreign";

/** Whether a target is on an image that no record names: a release that ended and is not recorded (yet). */
export function runsUnrecorded(states: readonly TargetState[], history: readonly ReleaseRecord[]): boolean {
  return states.some(({ template: { imageId }, target: { region } }) => {
    // Where the record has no image there, the target came later.
    const [newest] = history;
    if (newest?.images[region] === undefined) return false;
    return imageId !== undefined && isImageId(imageId) && !names(history, region, imageId);
  });
}

function names(history: readonly ReleaseRecord[], region: string, id: string): boolean {
  return history.some(({ images }) => images[region] === id);
}

/** Whether a refresh is bringing another configuration to a group whose saved one is the newest record's. */
function bringsSomethingElse(state: TargetState, newest: ReleaseRecord): boolean {
  const { activeRefresh, template, target } = state;
  const wanted = wantedVersion(state);
  return (
    wanted !== undefined &&
    wanted.Version !== template.version &&
    template.imageId === newest.images[target.region] &&
    activeRefresh?.Status !== "Cancelling"
  );
}

function wantedVersion({ activeRefresh }: TargetState) {
  const wanted = activeRefresh?.DesiredConfiguration;
  return wanted?.LaunchTemplate ?? wanted?.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification;
}

/** The image of the version that a target's refresh brings. */
async function broughtImage(
  state: TargetState,
  environment: Environment,
  ports: Ports,
): Promise<string | undefined> {
  const { LaunchTemplateId: id, Version: version } = wantedVersion(state) ?? {};
  if (id === undefined || version === undefined) return undefined;
  const ec2 = await ports.awsOf(environment).ec2(state.target.region);
  return (await imagesOfVersions(ec2, id, [version])).get(`${id}@${version}`);
}

/**
 * Has AWS roll all of these refreshes back; true where that brought each of them back.
 * @param after the newest record's number: noted before, for a run that may have to finish what this one began
 */
export async function stopAll(
  coming: readonly OwnUnderWay[],
  after: number,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<boolean> {
  if (coming.length > 0 && !request.dryRun) {
    const aborted = coming.map(({ state: { target, activeRefresh }, image }) => ({
      region: target.region,
      group: target.autoScalingGroup,
      refresh: activeRefresh?.InstanceRefreshId ?? "",
      image,
    }));
    const marker = { after, run: request.run.url, aborted };
    await writeAbortMarker(ports.repository, keyOf(environment, request), marker, request.run.commit);
  }
  const stopped = await Promise.all(
    coming.map(({ state }) => stopRefresh(state, environment, request, ports)),
  );
  return stopped.length > 0 && stopped.every(Boolean);
}

export const keyOf = (
  { name: environment }: Environment,
  { application }: Pick<RollbackRequest, "application">,
): LedgerKey => ({ prefix: application.recordPrefix, environment });

/**
 * The run that aborted a release since the newest record without recording that; `undefined` if there is none, or AWS does
 * not bear it out. Whoever can push can write the marker: without the check it would turn a rollback into one that changes
 * nothing.
 */
export async function abortedBefore(
  newest: ReleaseRecord | undefined,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<string | undefined> {
  const key = keyOf(environment, request);
  const marker = await readAbortMarker(ports.repository, key);
  if (marker === undefined || marker.after !== newest?.tag.number) return undefined;
  const { run } = request;
  const isOurRun = marker.run.startsWith(`${run.serverUrl}/${run.repository}/actions/runs/`);
  const window = {
    since: newest.finished,
    notBefore: new Date(ports.clock.now().getTime() - MARKER_LIFETIME),
  };
  const doubts = await Promise.all(
    marker.aborted.map(async ({ region, group, refresh, image }) => {
      const target = environment.targets.find(
        (each) => each.region === region && each.autoScalingGroup === group,
      );
      if (target === undefined) return `${region}/${group} is no target of ${environment.name}`;
      return whyNotAborted(ports.awsOf(environment), { target, refresh, image }, window).catch(
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
    }),
  );
  const doubt = isOurRun
    ? doubts.find((each) => each !== undefined)
    : `${marker.run} is no run of this repository`;
  if (doubt === undefined) return marker.run;
  ports.log.notice(`${markerRef(key)} is ignored: ${doubt}`);
  return undefined;
}

/** Has AWS roll the running refresh back, and waits for it. Returns false where AWS could not: then a refresh is needed. */
async function stopRefresh(
  state: TargetState,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<boolean> {
  const { target, activeRefresh } = state;
  const id = activeRefresh?.InstanceRefreshId ?? "";
  ports.log.info(`${targetName(target)}: the instance refresh ${id} is still running; AWS rolls it back`);
  if (request.dryRun) return true;
  ports.signal.throwIfAborted();
  if (activeRefresh?.Status !== "RollbackInProgress") {
    const answer = await rollBackRefresh(ports.awsOf(environment), target, id);
    if (answer !== "started") {
      ports.log.info(
        `${targetName(target)}: the refresh ${answer === "ended" ? "ended before that" : "cannot be rolled back by AWS"}`,
      );
      return false;
    }
  }
  ports.unfinished.refreshNoted({ ...target, id, roleToAssume: environment.roleToAssume });
  const pace = new Pace({
    capacity: instanceCount(state),
    warmup: activeRefresh?.Preferences?.InstanceWarmup ?? state.warmup ?? 0,
    preferences: {},
    image: "the release that is being stopped",
  });
  const { verdict } = await followRefresh(rolloutTools({ environment, request }, ports), {
    target,
    id,
    pace,
    isWayBack: true,
  }).catch((error: unknown) => {
    if (!(error instanceof CancelledError)) throw error;
    throw new CancelledError(`Cancelled while ${targetName(target)} was going back`, {
      cause: error,
      state: `AWS finishes the rollback of the instance refresh ${id} by itself. Nothing was recorded.`,
      next: "Run the rollback again: it waits for that, and records it.",
    });
  });
  if (verdict.kind === "failed" || verdict.kind === "rollback-failed") {
    throw new RolloutError(
      `${targetName(target)}: the running refresh could not be rolled back: ${verdict.why}`,
      {
        rolledBack: false,
        state: `The group is mixed; new instances are launched from version ${state.template.version} of ${state.template.name}. Nothing was recorded.`,
        next: "Run the rollback again: it starts a refresh to the recorded release.",
      },
    );
  }
  return verdict.kind === "rolled-back";
}
