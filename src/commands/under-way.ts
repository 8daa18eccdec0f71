import { type Environment, targetName } from "../domain/application.ts";
import { CancelledError, RolloutError } from "../domain/errors.ts";
import { isImageId, TAG } from "../domain/image.ts";
import { findByIds } from "../image/catalogue.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { noteStopped } from "../release/stopped.ts";
import { followRefresh } from "../rollout/follow.ts";
import { imagesOfVersions } from "../rollout/launch-template.ts";
import { Pace } from "../rollout/pace.ts";
import { rollBackRefresh } from "../rollout/refresh.ts";
import { instanceCount, type TargetState } from "../rollout/target-state.ts";
import { rolloutTools } from "./prepare-target.ts";
import type { Ports } from "./ports.ts";
import type { RollbackRequest } from "./request.ts";

/** A refresh that is bringing a target something else than its newest record says. */
export interface UnderWay {
  readonly state: TargetState;
  /** `release`: an image that a record names, as another rollback does; `foreign`: another repository's. */
  readonly brings: "unrecorded" | "release" | "foreign";
}

/** The refreshes that bring an environment something else; more requests only where there are some. */
export async function whatIsUnderWay(
  states: readonly TargetState[],
  history: readonly ReleaseRecord[],
  environment: Environment,
  { run }: Pick<RollbackRequest, "run">,
  ports: Ports,
): Promise<readonly UnderWay[]> {
  const [newest] = history;
  if (newest === undefined) return [];
  const coming = states.filter((state) => bringsSomethingElse(state, newest));
  return Promise.all(
    coming.map(async (state): Promise<UnderWay> => {
      const { region } = state.target;
      const id = await broughtImage(state, environment, ports);
      if (id === undefined || !isImageId(id)) return { state, brings: "unrecorded" };
      if (names(history, region, id)) return { state, brings: "release" };
      const image = (await findByIds(await ports.aws.ec2(region), region, [id])).get(id);
      const repository = image?.tags[TAG.repository] ?? run.repository;
      return { state, brings: repository === run.repository ? "unrecorded" : "foreign" };
    }),
  );
}

/** What no record names: a deploy or a promotion that has not ended. */
export const isUnrecorded = ({ brings }: UnderWay): boolean => brings === "unrecorded";

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
  coming: readonly UnderWay[],
  after: number,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<boolean> {
  if (coming.length > 0 && !request.dryRun)
    await noteStopped(ports.repository, { environment: environment.name, after }, request.run);
  const stopped = await Promise.all(
    coming.map(({ state }) => stopRefresh(state, environment, request, ports)),
  );
  return stopped.length > 0 && stopped.every(Boolean);
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
