import { markdownTable } from "markdown-table";
import type { Environment } from "../domain/application.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { formatReleaseTag, parseReleaseTag } from "../domain/release-tag.ts";
import { findByIds } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import { chooseRestore, originOf } from "../release/history.ts";
import { EMPTY_PAGE, HISTORY_READ, type LedgerPage, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { deleteAbortMarker } from "../release/abort-marker.ts";
import { alreadyRuns, observeTarget, type TargetState } from "../rollout/target-state.ts";
import { regionsOf } from "./region-images.ts";
import { homeOf } from "./plan.ts";
import { claimOf, ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { recordedImage } from "./recorded-image.ts";
import { releaseTo } from "./release.ts";
import type { RollbackRequest } from "./request.ts";
import {
  abortedBefore,
  isOwn as isStoppable,
  isUnrecorded,
  keyOf,
  runsUnrecorded,
  stopAll,
  whatIsUnderWay,
} from "./under-way.ts";

/**
 * `rollback`: the image of an earlier release, rolled out and recorded as a release of its own. Where a refresh is just
 * bringing something unrecorded, AWS rolls that refresh back first; if the recorded release is what is wanted, that was all.
 */
export async function rollback(request: RollbackRequest, ports: Ports): Promise<void> {
  const [environment] = request.environments;
  if (environment === undefined) throw new Error("a rollback of no environment");
  const { page, states } = await look(environment, request, ports);
  const history = page.records;
  const [newest] = history;
  const [coming, aborter] = await Promise.all([
    whatIsUnderWay(states, history, environment, request, ports),
    abortedBefore(newest, environment, request, ports),
  ]);
  // While something unrecorded runs or is on its way, or was aborted, the release before it is the newest recorded one.
  const isLeft =
    newest !== undefined &&
    (aborter !== undefined ||
      coming.some(isUnrecorded) ||
      runsUnrecorded(states, history) ||
      isOwn(newest, request));
  const choice =
    isLeft && request.to === "previous"
      ? { kind: "found" as const, record: newest }
      : chooseRestore(history, request.to);
  if (choice.kind === "none")
    throw await noSuchRelease(choice.why, history, { region: homeOf(environment), request }, ports);
  const isNewest = newest !== undefined && sameImages(choice.record, newest);
  const toStop = coming.filter(isNewest ? isStoppable : isUnrecorded);
  if (toStop.length === 0) sayIfNothingChanges(choice.record, states, aborter, environment, ports);
  const stopped = await stopAll(toStop, page.highestNumber, environment, request, ports);
  await restore({ chosen: choice.record, page, stopped, aborter }, environment, request, ports);
}

/** First thing of all, since whoever is called at night reads no further: this does not help. */
function sayIfNothingChanges(
  { images, imageName, tag }: ReleaseRecord,
  states: readonly TargetState[],
  aborter: string | undefined,
  { name, instanceType }: Environment,
  ports: Ports,
): void {
  if (!states.every((state) => alreadyRuns(state, images[state.target.region] ?? "", instanceType))) return;
  const why =
    aborter === undefined
      ? ""
      : ` ${aborter} aborted the release that came after it; this run only records that.`;
  ports.log.warning(
    `This rollback changes nothing: ${name} runs ${imageName} of ${formatReleaseTag(tag)} already.${why} To restore an older release, run the rollback with \`to\``,
  );
}

/** The ledger first: what the targets show is then no older than what it says. */
async function look(
  environment: Environment,
  { application }: RollbackRequest,
  ports: Ports,
): Promise<{ readonly page: LedgerPage; readonly states: readonly TargetState[] }> {
  const { name, targets } = environment;
  const pages = await readLedger(ports.repository, application, [name], ports.log, HISTORY_READ);
  const states = await Promise.all(targets.map((target) => observeTarget(ports.awsOf(environment), target)));
  return { page: pages.get(name) ?? EMPTY_PAGE, states };
}

/** An earlier attempt of this very run came as far as the record: going back once more would be one release too many. */
function isOwn({ kind, run }: ReleaseRecord, request: RollbackRequest): boolean {
  return kind === "rollback" && run === request.run.url;
}

function sameImages(a: ReleaseRecord, b: ReleaseRecord): boolean {
  return Object.entries(a.images).every(([region, id]) => b.images[region] === id);
}

/** What is to be restored, and what has led to it. */
interface Restoration {
  readonly chosen: ReleaseRecord;
  readonly page: LedgerPage;
  /** This run had AWS roll a refresh back. */
  readonly stopped: boolean;
  /** The run that did so before, without recording it. */
  readonly aborter: string | undefined;
}

async function restore(
  { chosen, page, stopped, aborter }: Restoration,
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<void> {
  const record = originOf(chosen, page.records);
  ports.log.info(
    `Roll ${environment.name} back to ${formatReleaseTag(record.tag)}: ${record.version}, commit ${record.commit.slice(0, 12)}`,
  );
  let stoppedHere = stopped;
  const somethingStopped = (): boolean => stoppedHere || aborter !== undefined;
  const { rolledOut } = await releaseTo(
    {
      kind: "rollback",
      environment: request.incident ? atOnce(environment) : environment,
      commit: record.commit,
      version: record.version,
      digest: record.imageDigest,
      source: recordedImage(record, regionsOf(environment), request, ports),
      restores: formatReleaseTag(record.tag),
      ...(request.reason === undefined ? {} : { reason: request.reason }),
      // What another rollback recorded meanwhile is not to be said twice.
      alwaysRecord: ({ highestNumber }) => somethingStopped() && highestNumber === page.highestNumber,
      guard: async (now) => refuseForward(now, record, page, request),
      whileLocked: async () => {
        if (await stopWhatComes(environment, request, ports)) stoppedHere = true;
      },
      request,
    },
    ports,
  ).catch((error: unknown) => {
    throw somethingStopped() ? afterStop(error, environment.name, page) : error;
  });
  if (request.dryRun) return;
  // A record alone does not change what runs.
  if (!rolledOut && !stoppedHere) ports.facts.publishEnvironment(environment.name, { outcome: "unchanged" });
  if (somethingStopped()) await forgetMarker(environment, request, ports);
}

/** A cancel that says nothing of what was done would hide that the environment is back already. */
function afterStop(error: unknown, environment: string, { newest }: LedgerPage): unknown {
  if (!(error instanceof CancelledError) || error.state !== undefined) return error;
  const what = newest === undefined ? "what it ran before" : `what ${formatReleaseTag(newest.tag)} names`;
  return new CancelledError("Cancelled before the rollback was recorded", {
    cause: error,
    state: `What was under way was rolled back: ${environment} runs ${what}. The rollback is not recorded.`,
    next: "Run the rollback again: it does what is missing.",
  });
}

/** A marker that cannot be deleted does no harm: with the record it says nothing any more. */
async function forgetMarker(
  environment: Environment,
  request: RollbackRequest,
  { repository, log }: Ports,
): Promise<void> {
  try {
    await deleteAbortMarker(repository, keyOf(environment, request));
  } catch (error) {
    log.debug(`The abort marker was left: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Two rollbacks at the same time, and the other one has gone back further: `previous` does not go forward again. */
function refuseForward(
  now: ReleaseRecord | undefined,
  wanted: ReleaseRecord,
  page: LedgerPage,
  { to }: RollbackRequest,
): void {
  if (to !== "previous" || now?.kind !== "rollback" || now.tag.number <= page.highestNumber) return;
  const restored = parseReleaseTag(now.restores ?? "");
  if (restored === undefined || restored.number >= wanted.tag.number) return;
  throw new KilnError(
    `Another rollback went back further meanwhile: ${formatReleaseTag(now.tag)} restores release ${restored.number}, and this one was to restore ${wanted.tag.number}`,
    {
      state: `${now.tag.environment} runs release ${restored.number} again, as ${now.actor} wanted. This run changed nothing since.`,
      next: `To go forward again on purpose run the rollback with \`to: ${wanted.tag.number}\`.`,
    },
  );
}

/**
 * What the run that holds the lock has begun since: a rollback does not wait for it to end, but has it rolled back. Nothing
 * here ends the wait: what cannot be stopped is waited for.
 */
async function stopWhatComes(
  environment: Environment,
  request: RollbackRequest,
  ports: Ports,
): Promise<boolean> {
  try {
    const { page, states } = await look(environment, request, {
      ...ports,
      log: { ...ports.log, notice: () => undefined },
    });
    const coming = await whatIsUnderWay(states, page.records, environment, request, ports);
    return await stopAll(coming.filter(isUnrecorded), page.highestNumber, environment, request, ports);
  } catch (error) {
    if (!(error instanceof KilnError) || error instanceof CancelledError) throw error;
    ports.log.warning(`What ${environment.name} is doing could not be stopped: ${error.message}`);
    return false;
  }
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

/** Releases shown where `to` means none of them, since GitHub cannot offer a choice. */
const SHOWN = 10;

async function noSuchRelease(
  why: string,
  history: readonly ReleaseRecord[],
  { region, request }: { readonly region: string; readonly request: RollbackRequest },
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
        : whyNotLaunchable(images.get(id), claimOf(record, request, account));
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
