import { markdownTable } from "markdown-table";
import { type Environment, targetName } from "../domain/application.ts";
import { KilnError, RolloutError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { findByIds } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import { chooseRestore, originOf } from "../release/history.ts";
import { HISTORY_READ, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { followRefresh } from "../rollout/follow.ts";
import { Pace } from "../rollout/pace.ts";
import { rollBackActive } from "../rollout/refresh.ts";
import { observeTarget, type TargetState, instanceCount } from "../rollout/target-state.ts";
import { rolloutTools } from "./carry-out.ts";
import { regionsOf } from "./image.ts";
import { homeOf } from "./plan.ts";
import { ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { recordedImage } from "./recorded-image.ts";
import { releaseTo } from "./release.ts";
import type { RollbackRequest } from "./request.ts";

/**
 * `rollback`: the image of an earlier release, rolled out and recorded as a release of its own. Where a refresh is just
 * bringing something unrecorded, and the recorded release is what is wanted, AWS rolls that refresh back instead.
 */
export async function rollback(request: RollbackRequest, ports: Ports): Promise<void> {
  const [environment] = request.environments;
  if (environment === undefined) throw new Error("a rollback of no environment");
  const [pages, states] = await Promise.all([
    readLedger(
      ports.repository,
      request.application.recordPrefix,
      [environment.name],
      ports.log,
      HISTORY_READ,
    ),
    Promise.all(environment.targets.map((target) => observeTarget(ports.awsOf(environment), target))),
  ]);
  const history = pages.get(environment.name)?.records ?? [];
  const [newest] = history;
  const underWay = newest === undefined ? [] : states.filter((state) => bringsSomethingElse(state, newest));
  // While something new is on its way, the release before it is the newest recorded one.
  const choice =
    newest !== undefined && request.to === "previous" && (underWay.length > 0 || isOwn(newest, request))
      ? { kind: "found" as const, record: newest }
      : chooseRestore(history, request.to);
  if (choice.kind === "none") throw await noSuchRelease(choice.why, history, homeOf(environment), ports);
  const stopped =
    newest !== undefined &&
    sameImages(choice.record, newest) &&
    (await stopAll(underWay, environment, request, ports));
  await restore(choice.record, history, stopped, environment, request, ports);
}

/** An earlier attempt of this very run came as far as the record: going back once more would be one release too many. */
function isOwn({ kind, run }: ReleaseRecord, request: RollbackRequest): boolean {
  return kind === "rollback" && run === request.run.url;
}

/** Has AWS roll all of the running refreshes back; true where that brought each of them back. */
async function stopAll(
  underWay: readonly TargetState[],
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<boolean> {
  const stopped = await Promise.all(underWay.map((state) => stopRefresh(state, environment, request, ports)));
  return stopped.length > 0 && stopped.every(Boolean);
}

function sameImages(a: ReleaseRecord, b: ReleaseRecord): boolean {
  return Object.entries(a.images).every(([region, id]) => b.images[region] === id);
}

async function restore(
  chosen: ReleaseRecord,
  history: readonly ReleaseRecord[],
  stopped: boolean,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<void> {
  const record = originOf(chosen, history);
  ports.log.info(
    `Roll ${environment.name} back to ${formatReleaseTag(record.tag)}: ${record.version}, commit ${record.commit.slice(0, 12)}`,
  );
  await releaseTo(
    {
      kind: "rollback",
      environment: request.incident ? atOnce(environment) : environment,
      commit: record.commit,
      version: record.version,
      digest: record.imageDigest,
      source: recordedImage(record, regionsOf(environment), ports),
      restores: formatReleaseTag(record.tag),
      ...(request.reason === undefined ? {} : { reason: request.reason }),
      alwaysRecord: stopped,
      request,
    },
    ports,
  );
}

/** For an incident: alarms are red already, so none of them is asked, and the whole fleet goes at once. */
function atOnce(environment: Environment): Environment {
  const { skipMatching, scaleInProtected, standby } = environment.rollout;
  return {
    ...environment,
    rollout: {
      strategy: "all-at-once",
      ...(skipMatching === undefined ? {} : { skipMatching }),
      ...(scaleInProtected === undefined ? {} : { scaleInProtected }),
      ...(standby === undefined ? {} : { standby }),
    },
  };
}

/** Whether a refresh is bringing another configuration to a group whose saved one is the newest record's. */
function bringsSomethingElse(state: TargetState, newest: ReleaseRecord): boolean {
  const { activeRefresh, template, target } = state;
  const wanted =
    activeRefresh?.DesiredConfiguration?.LaunchTemplate ??
    activeRefresh?.DesiredConfiguration?.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification;
  return (
    wanted !== undefined &&
    wanted.Version !== template.version &&
    template.imageId === newest.images[target.region] &&
    activeRefresh?.Status !== "Cancelling"
  );
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
  if (activeRefresh?.Status !== "RollbackInProgress") {
    const answer = await rollBackActive(ports.awsOf(environment), target);
    if (answer !== "started") {
      ports.log.info(
        `${targetName(target)}: the refresh ${answer === "ended" ? "ended before that" : "cannot be rolled back by AWS"}`,
      );
      return false;
    }
  }
  ports.unfinished.refreshStarted({ ...target, id, roleToAssume: environment.roleToAssume });
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

/** Releases shown where `to` means none of them, since GitHub cannot offer a choice. */
const SHOWN = 10;

async function noSuchRelease(
  why: string,
  history: readonly ReleaseRecord[],
  region: string,
  ports: Ports,
): Promise<KilnError> {
  const shown = history.slice(0, SHOWN);
  const ids = shown.flatMap((record) => record.images[region] ?? []);
  const [images, account] = await Promise.all([
    findByIds(await ports.aws.ec2(region), region, ids),
    ownAccount(region, ports),
  ]);
  const rows = shown.map((record) => {
    const id = record.images[region];
    const obstacle =
      id === undefined
        ? `no image in ${region}`
        : whyNotLaunchable(images.get(id), { digest: record.imageDigest, account });
    return [
      String(record.tag.number),
      record.kind,
      record.version,
      record.commit.slice(0, 12),
      id ?? "",
      `${record.finished.toISOString().slice(0, 16)}Z`,
      record.actor,
      obstacle === undefined ? "yes" : `no: ${obstacle}`,
    ];
  });
  const table = markdownTable([
    ["Release", "Kind", "Version", "Commit", "Image", "When", "By", "Can be restored"],
    ...rows,
  ]);
  return new KilnError(`Nothing to roll back to: ${why}`, {
    state: `Nothing was changed.${shown.length === 0 ? "" : ` The last releases of this environment:\n\n${table}`}`,
    next: "Run the rollback again with `to`: `previous`, a number, a record's tag, a commit, or a version.",
  });
}
