import { markdownTable } from "markdown-table";
import { type Environment, type Target, targetName } from "../domain/application.ts";
import { KilnError, RolloutError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { findByIds } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import { chooseRestore, originOf } from "../release/history.ts";
import { HISTORY_READ, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { rollBackActive } from "../rollout/refresh.ts";
import { followRefresh } from "../rollout/rollout.ts";
import { observeTarget, type TargetState } from "../rollout/target-state.ts";
import { rolloutTools } from "./carry-out.ts";
import type { Ports } from "./ports.ts";
import { ownAccount, recordedImage } from "./recorded-image.ts";
import { releaseTo } from "./release.ts";
import type { RollbackRequest } from "./request.ts";

/**
 * `rollback`: the image of an earlier release, rolled out and recorded as a release of its own. Where a refresh is just
 * bringing something unrecorded, and the recorded release is what is wanted, AWS rolls that refresh back instead.
 */
export async function rollback(request: RollbackRequest, ports: Ports): Promise<void> {
  const [environment] = request.environments;
  const target = environment?.targets[0];
  if (environment === undefined || target === undefined) throw new Error("a rollback of no environment");
  const [pages, state] = await Promise.all([
    readLedger(
      ports.repository,
      request.application.recordPrefix,
      [environment.name],
      ports.log,
      HISTORY_READ,
    ),
    observeTarget(ports.aws, target),
  ]);
  const history = pages.get(environment.name)?.records ?? [];
  const [newest] = history;
  const underWay = newest !== undefined && bringsSomethingElse(state, newest);
  // While something new is on its way, the release before it is the newest recorded one.
  const choice =
    underWay && request.to === "previous"
      ? { kind: "found" as const, record: newest }
      : chooseRestore(history, request.to);
  if (choice.kind === "none") throw await noSuchRelease(choice.why, history, target, ports);
  const stopped =
    underWay && choice.record.images[target.region] === newest.images[target.region]
      ? await stopRefresh(state, request, ports)
      : false;
  await restore(choice.record, history, stopped, environment, request, ports);
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
  const region = environment.targets[0]?.region ?? "";
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
      source: recordedImage(record, region, ports),
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
async function stopRefresh(state: TargetState, request: RollbackRequest, ports: Ports): Promise<boolean> {
  const { target, activeRefresh } = state;
  const id = activeRefresh?.InstanceRefreshId ?? "";
  ports.log.info(`${targetName(target)}: the instance refresh ${id} is still running; AWS rolls it back`);
  if (request.dryRun) return true;
  if (activeRefresh?.Status !== "RollbackInProgress") {
    const answer = await rollBackActive(ports.aws, target);
    if (answer !== "started") {
      ports.log.info(
        `${targetName(target)}: the refresh ${answer === "ended" ? "ended before that" : "cannot be rolled back by AWS"}`,
      );
      return false;
    }
  }
  ports.unfinished.refreshStarted({ ...target, id });
  const { verdict } = await followRefresh(rolloutTools(request, ports), target, id);
  if (verdict.kind === "failed") {
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
  target: Target,
  ports: Ports,
): Promise<KilnError> {
  const shown = history.slice(0, SHOWN);
  const ids = shown.flatMap((record) => record.images[target.region] ?? []);
  const [images, account] = await Promise.all([
    findByIds(await ports.aws.ec2(target.region), target.region, ids),
    ownAccount(target.region, ports),
  ]);
  const rows = shown.map((record) => {
    const id = record.images[target.region];
    const obstacle =
      id === undefined
        ? `no image in ${target.region}`
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
