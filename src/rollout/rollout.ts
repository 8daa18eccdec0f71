import type {
  DesiredConfiguration,
  InstanceRefresh,
  RefreshPreferences,
  RefreshStrategy,
} from "@aws-sdk/client-auto-scaling";
import { type Target, targetName } from "../domain/application.ts";
import { RolloutError, TakenOverError } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import { explainFailure } from "./explain.ts";
import { type Check, type Followed, followRefresh, type RolloutTools, stopIfTakenOver } from "./follow.ts";
import type { ReleaseVersions } from "./launch-template.ts";
import { Pace, type PaceFacts } from "./pace.ts";
import { rollBackRefresh, startRefresh } from "./refresh.ts";
import {
  inService,
  observeTarget,
  runsVersion,
  type TargetInstance,
  type TargetState,
} from "./target-state.ts";
import { verify } from "./verify.ts";

/** One target's part of a release: everything that was decided before it begins. */
export interface TargetRollout {
  /**
   * `refresh`: an instance refresh brings the release. `in-service`: the target runs it already, from a run that died
   * before it recorded it.
   */
  readonly kind: "refresh" | "in-service";
  /** The target as it was before the release, on numbered versions. */
  readonly state: TargetState;
  readonly versions: ReleaseVersions;
  readonly configuration: DesiredConfiguration;
  readonly imageId: ImageId;
  readonly preferences: RefreshPreferences;
  readonly strategy: RefreshStrategy;
  readonly pace: PaceFacts;
  readonly maxFailures: number;
  /** Made at each checkpoint and at the end (100); undefined if there is no smoke test, or none is due. */
  readonly check: Check | undefined;
  /** False if the user wants a failed refresh left as it is, or nobody knows what the target ran before. */
  readonly mayGoBack: boolean;
  /** Called before the release's refresh is started. */
  readonly onStarting: () => void;
  /** Called with each refresh's id as soon as there is one. */
  readonly onStarted: (refreshId: string) => void;
  /** The ids of the refreshes that this run started or adopted on the target, oldest first. */
  readonly refreshes: () => readonly string[];
}

export interface RolledOut {
  readonly kind: "released";
  /** Undefined if no refresh was needed. */
  readonly refresh:
    | {
        readonly id: string;
        readonly adopted: boolean;
        /** Milliseconds that it took, from its own times. */
        readonly took: number;
      }
    | undefined;
  /** The instances in service that run the release. */
  readonly verified: readonly TargetInstance[];
  /** How many instances are in service. */
  readonly inService: number;
  /** What came of the check on the whole group; `none` if there is no check. */
  readonly checked: "passed" | "not-run" | "none";
  readonly imageId: ImageId;
}

/** A rollout that did not become a release. */
export interface NotReleased {
  /** `rolled-back`: AWS did; `failed`: it is still to be reverted; `stuck`: AWS tried to, and failed. */
  readonly kind: "rolled-back" | "failed" | "stuck";
  readonly why: string;
  /** What was found out about it. */
  readonly explained: readonly string[];
}

/**
 * Rolls one target out, verifies and tests it. Success needs three things: the refresh with this id ended `Successful`,
 * every instance in service launches from the release's versions, and the check passed. A target that runs the release
 * already is verified and tested all the same: "in service" does not mean "tested".
 * @throws whatever the signal aborted with; GroupChangedError; what stopped the refresh from being started or followed
 */
export async function rollOut(tools: RolloutTools, rollout: TargetRollout): Promise<RolledOut | NotReleased> {
  tools.signal.throwIfAborted();
  const refreshed = rollout.kind === "refresh" ? await refresh(tools, rollout) : undefined;
  const failure = refreshed && failureOf(refreshed.followed);
  if (failure !== undefined) return failure;
  const verified = await verify(tools, rollout.state, rollout).catch(async (error: unknown) => {
    await stopIfTakenOver(tools, `This run had released to ${targetName(rollout.state.target)}.`);
    throw error;
  });
  if (verified.kind === "failed") return { kind: "failed", why: verified.why, explained: [] };
  const checked = refreshed?.followed.checked ?? (await rollout.check?.(100, tools.signal));
  if (checked?.kind === "failed") return { kind: "failed", why: checked.why, explained: [] };
  return {
    kind: "released",
    refresh: refreshed && {
      id: refreshed.id,
      adopted: refreshed.adopted,
      took: duration(refreshed.followed.refresh),
    },
    verified: verified.instances,
    inService: verified.of,
    checked: checked?.kind ?? "none",
    imageId: rollout.imageId,
  };
}

interface Refreshed {
  readonly id: string;
  readonly adopted: boolean;
  readonly followed: Followed;
}

/** Starts the release's refresh, or adopts the one that is running, and follows it to its end. */
async function refresh(tools: RolloutTools, rollout: TargetRollout): Promise<Refreshed> {
  const { target, targetGroupArns } = rollout.state;
  await tools.confirmTurn(`No instance refresh was started on ${targetName(target)}.`);
  rollout.onStarting();
  const { configuration, preferences, strategy } = rollout;
  const seen = rollout.state.activeRefresh;
  const started = await startRefresh(tools, { target, configuration, preferences, strategy, seen });
  rollout.onStarted(started.id);
  tools.log.info(
    `${targetName(target)}: instance refresh ${started.id} ${started.adopted ? "is already running and is taken up" : "started"}`,
  );
  if (!started.adopted) await confirmStart(tools, target, started.id);
  const followed = await followRefresh(tools, {
    target,
    id: started.id,
    pace: new Pace(rollout.pace),
    maxFailures: rollout.maxFailures,
    check: rollout.check,
    explain: (since) => explainFailure(tools.clients, { target, targetGroupArns, since }),
  });
  return { ...started, followed };
}

/**
 * Another run may have taken over between the last look and the start: then the refresh that was just started is rolled
 * back. A run that takes over later sees it running.
 */
async function confirmStart(tools: RolloutTools, target: Target, id: string): Promise<void> {
  try {
    await tools.confirmTurn(`This run has just started the instance refresh ${id} on ${targetName(target)}.`);
  } catch (error) {
    if (!(error instanceof TakenOverError)) {
      // The refresh goes on all the same; the record is not written unless the lock is still this run's.
      tools.log.warning(
        `${targetName(target)}: whether another run has taken over could not be asked: ${error instanceof Error ? error.message : String(error)}`,
      );
      return;
    }
    const answer = await rollBackRefresh(tools.clients, target, id);
    throw new TakenOverError(error.message, {
      state: `${error.state ?? ""} ${answer === "started" ? "AWS rolls it back." : "AWS cannot roll it back."}`,
      next: error.next,
      cause: error,
    });
  }
}

function failureOf({ verdict, stopped, explained }: Followed): NotReleased | undefined {
  if (verdict.kind === "succeeded") {
    // Ended well just as it was to be rolled back.
    return stopped === undefined ? undefined : { kind: "failed", why: stopped, explained };
  }
  if (verdict.kind === "rollback-failed") {
    const why = stopped === undefined ? verdict.why : `${stopped}; then: ${verdict.why}`;
    return { kind: "stuck", why, explained };
  }
  return { kind: verdict.kind, why: stopped ?? verdict.why, explained };
}

function duration({ StartTime, EndTime }: InstanceRefresh): number {
  return (EndTime?.getTime() ?? 0) - (StartTime?.getTime() ?? 0);
}

/** The error for one target that was not released: what it is on now, and why. */
export async function notReleased(
  tools: RolloutTools,
  { state, versions, imageId }: TargetRollout,
  failure: NotReleased,
  isBack: boolean,
): Promise<RolloutError> {
  const { target } = state;
  const now = await observeTarget(tools.clients, target).catch(() => undefined);
  const serving = now === undefined ? [] : inService(now);
  const onNew = serving.filter((instance) => runsVersion(instance, versions.all, imageId)).length;
  return new RolloutError(
    `${targetName(target)}: the rollout ${isBack ? "was rolled back" : "failed"}: ${failure.why}`,
    {
      rolledBack: isBack,
      state: [
        now === undefined
          ? "The group could not be read."
          : `The group launches from version ${now.template.version} of ${now.template.name} (${now.template.imageId ?? "no image"}); ${onNew} of ${serving.length} instances in service run the new version.`,
        "Nothing was recorded.",
        ...failure.explained,
      ].join("\n"),
      next:
        now?.isBeingDeleted === true
          ? `The group is being deleted. Take ${target.autoScalingGroup} out of the config file, or name the group that replaces it; the other targets can be released then.`
          : isBack
            ? "The environment runs what it ran before. Correct the image and push again."
            : "Run the job again to go forward, or roll back to the recorded release; until then the group is mixed.",
    },
  );
}
