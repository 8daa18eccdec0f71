import type {
  DesiredConfiguration,
  InstanceRefresh,
  RefreshPreferences,
  RefreshStrategy,
} from "@aws-sdk/client-auto-scaling";
import { targetName } from "../domain/application.ts";
import { RolloutError } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import { explainFailure } from "./explain.ts";
import { type Check, type Followed, followRefresh, type RolloutTools } from "./follow.ts";
import type { ReleaseVersions } from "./launch-template.ts";
import { Pace, type PaceFacts } from "./pace.ts";
import { startRefresh } from "./refresh.ts";
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
  /** The target as it was before the release, on numbered versions. */
  readonly state: TargetState;
  readonly versions: ReleaseVersions;
  readonly configuration: DesiredConfiguration;
  readonly imageId: ImageId;
  readonly preferences: RefreshPreferences;
  readonly strategy: RefreshStrategy;
  readonly pace: PaceFacts;
  readonly maxFailures: number;
  /** Asked at each checkpoint and at the end (100); says why the release must not stand. */
  readonly check: Check | undefined;
  /** False where the user wants a failed refresh left as it is. */
  readonly mayGoBack: boolean;
  /** Told before the release's refresh is started. */
  readonly onStarting: () => void;
  /** Told each refresh's id as soon as there is one. */
  readonly onStarted: (refreshId: string) => void;
}

export interface RolledOut {
  readonly kind: "released";
  readonly refreshId: string;
  readonly adopted: boolean;
  /** Milliseconds that the refresh took, from its own times. */
  readonly took: number;
  readonly verified: readonly TargetInstance[];
  readonly imageId: ImageId;
}

/** A rollout that did not become a release. */
export interface NotReleased {
  /** `rolled-back`: AWS did; `failed`: it is still to be brought back; `stuck`: AWS tried to, and failed. */
  readonly kind: "rolled-back" | "failed" | "stuck";
  readonly why: string;
  /** What was found out about it. */
  readonly explained: readonly string[];
}

/**
 * Rolls one target out and verifies it. Success needs three things: the refresh with this id ended `Successful`, every
 * instance in service launches from the release's versions, and the check passed.
 * @throws whatever the signal aborted with, and what could not be found out
 */
export async function rollOut(tools: RolloutTools, rollout: TargetRollout): Promise<RolledOut | NotReleased> {
  const { target } = rollout.state;
  const name = targetName(target);
  tools.signal.throwIfAborted();
  rollout.onStarting();
  const started = await startRefresh(
    tools,
    target,
    rollout.configuration,
    rollout.preferences,
    rollout.strategy,
  );
  rollout.onStarted(started.id);
  tools.log.info(
    `${name}: instance refresh ${started.id} ${started.adopted ? "is already running and is taken up" : "started"}`,
  );
  const followed = await followRefresh(tools, {
    target,
    id: started.id,
    pace: new Pace(rollout.pace),
    maxFailures: rollout.maxFailures,
    check: rollout.check,
    explain: (since) =>
      explainFailure(tools.clients, { target, targetGroupArns: rollout.state.targetGroupArns, since }),
  });
  const failure = failureOf(followed);
  if (failure !== undefined) return failure;
  const verified = await verify(tools, rollout.state, rollout);
  const why = followed.checked ? undefined : await rollout.check?.(100, tools.signal);
  if (why !== undefined) return { kind: "failed", why, explained: [] };
  return {
    kind: "released",
    refreshId: started.id,
    adopted: started.adopted,
    took: duration(followed.refresh),
    verified,
    imageId: rollout.imageId,
  };
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

function duration(refresh: InstanceRefresh): number {
  return (refresh.EndTime?.getTime() ?? 0) - (refresh.StartTime?.getTime() ?? 0);
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
      next: isBack
        ? "The environment runs what it ran before. Correct the image and push again."
        : "Run the job again to go forward, or roll back to the recorded release; until then the group is mixed.",
    },
  );
}
