import {
  type AutoScalingClient,
  type DesiredConfiguration,
  DescribeInstanceRefreshesCommand,
  type InstanceRefresh,
  type RefreshPreferences,
  RollbackInstanceRefreshCommand,
  StartInstanceRefreshCommand,
} from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import { isPassing } from "../aws/errors.ts";
import { type Target, targetName } from "../domain/application.ts";
import { hasCode, KilnError } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";
import { ACTIVE_STATUSES } from "./target-state.ts";

/** Whether a refresh brings the group to this very configuration. */
export function isOurs(refresh: InstanceRefresh, configuration: DesiredConfiguration): boolean {
  const wanted = templateOf(configuration);
  const found = templateOf(refresh.DesiredConfiguration ?? {});
  return (
    wanted !== undefined &&
    found !== undefined &&
    wanted.LaunchTemplateId === found.LaunchTemplateId &&
    wanted.Version === found.Version &&
    refresh.Status !== "RollbackInProgress" &&
    refresh.Status !== "Cancelling"
  );
}

function templateOf(configuration: DesiredConfiguration) {
  return (
    configuration.LaunchTemplate ??
    configuration.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification
  );
}

/** Tries of StartInstanceRefresh while it fails in passing, with growing pauses between them. */
const MAX_STARTS = 5;
const START_PAUSE = 2000;

/**
 * Starts the refresh, or finds the one that is already bringing the group there: StartInstanceRefresh has no client
 * token, so after any doubt about its answer the group's refreshes are read, and one that is ours is adopted. Where none
 * is to be seen it is tried again; a start that took effect after all would answer InstanceRefreshInProgress then.
 * @throws KilnError where a foreign refresh is in the way, or AWS does not take the request
 */
export async function startRefresh(
  tools: { readonly clients: AwsClients; readonly clock: Clock; readonly signal: AbortSignal },
  target: Target,
  configuration: DesiredConfiguration,
  preferences: RefreshPreferences,
): Promise<{ readonly id: string; readonly adopted: boolean }> {
  const once = await tools.clients.autoScalingOnce(target.region);
  for (let tries = 1; ; tries += 1) {
    try {
      const { InstanceRefreshId } = await once.send(
        new StartInstanceRefreshCommand({
          AutoScalingGroupName: target.autoScalingGroup,
          Strategy: "Rolling",
          DesiredConfiguration: configuration,
          Preferences: preferences,
        }),
      );
      if (InstanceRefreshId !== undefined) return { id: InstanceRefreshId, adopted: false };
      throw new KilnError(`AWS started a refresh of ${targetName(target)} without telling its id`);
    } catch (error) {
      const inProgress = hasCode(error, "InstanceRefreshInProgress", "InstanceRefreshInProgressFault");
      if (!inProgress && !isPassing(error)) throw error;
      const active = await activeRefresh(tools.clients, target);
      if (active?.InstanceRefreshId !== undefined && isOurs(active, configuration)) {
        return { id: active.InstanceRefreshId, adopted: true };
      }
      if (active !== undefined) throw foreignRefresh(target, active, error);
      if (tries >= MAX_STARTS) throw error;
      await tools.clock.sleep(START_PAUSE * tries, tools.signal);
    }
  }
}

export function foreignRefresh(target: Target, refresh: InstanceRefresh, cause?: unknown): KilnError {
  return new KilnError(
    `Another instance refresh of ${targetName(target)} is in the way: ${describeRefresh(refresh)}`,
    {
      state: "This release was not rolled out. The other refresh goes on.",
      next: "Wait until it has ended, then run the job again.",
      cause,
    },
  );
}

export function describeRefresh(refresh: InstanceRefresh): string {
  return `${refresh.InstanceRefreshId ?? "?"}, ${refresh.Status ?? "?"}, ${refresh.PercentageComplete ?? 0} %, started ${refresh.StartTime?.toISOString() ?? "just now"}`;
}

async function activeRefresh(clients: AwsClients, target: Target): Promise<InstanceRefresh | undefined> {
  const autoScaling = await clients.autoScaling(target.region);
  const { InstanceRefreshes } = await autoScaling.send(
    new DescribeInstanceRefreshesCommand({ AutoScalingGroupName: target.autoScalingGroup, MaxRecords: 10 }),
  );
  return InstanceRefreshes?.find((refresh) => ACTIVE_STATUSES.has(refresh.Status ?? ""));
}

/** One refresh by its id; the order of AWS's list is not to be relied on. */
export async function describeById(
  autoScaling: AutoScalingClient,
  target: Target,
  id: string,
): Promise<InstanceRefresh | undefined> {
  const { InstanceRefreshes } = await autoScaling.send(
    new DescribeInstanceRefreshesCommand({
      AutoScalingGroupName: target.autoScalingGroup,
      InstanceRefreshIds: [id],
    }),
  );
  return InstanceRefreshes?.find((refresh) => refresh.InstanceRefreshId === id);
}

/**
 * Asks AWS to roll the group's active refresh back (API reference, RollbackInstanceRefresh).
 * @returns `started`; `ended` where there is nothing to roll back any more; `impossible` where AWS cannot
 */
export async function rollBackActive(
  clients: AwsClients,
  target: Target,
): Promise<"started" | "ended" | "impossible"> {
  const autoScaling = await clients.autoScaling(target.region);
  try {
    await autoScaling.send(
      new RollbackInstanceRefreshCommand({ AutoScalingGroupName: target.autoScalingGroup }),
    );
    return "started";
  } catch (error) {
    if (hasCode(error, "ActiveInstanceRefreshNotFound", "ActiveInstanceRefreshNotFoundFault")) return "ended";
    if (hasCode(error, "IrreversibleInstanceRefresh", "IrreversibleInstanceRefreshFault"))
      return "impossible";
    throw error;
  }
}

/** How a wait asks: often near a change, seldom while little can happen. Milliseconds. */
export interface Polling {
  /** The user's `poll-interval`; undefined: from 5 to 20 seconds, growing while nothing changes. */
  readonly interval: number | undefined;
}

const FASTEST = 5000;
const SLOWEST = 20_000;
/** Failed looks in a row after which the watch gives up; the refresh itself goes on in AWS. */
const MAX_FAILED_LOOKS = 10;

export interface Watch {
  readonly target: Target;
  readonly id: string;
  readonly polling: Polling;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called with each look; returns true when the wait is over. */
  readonly onLook: (refresh: InstanceRefresh, changed: boolean) => boolean;
}

/**
 * Looks at a refresh until `onLook` is satisfied. Looks that fail in passing (throttling, the network) are not the
 * rollout's failure and are repeated.
 * @throws KilnError when looking fails for good; whatever the signal aborted with
 */
export async function watchRefresh(clients: AwsClients, watch: Watch): Promise<InstanceRefresh> {
  const autoScaling = await clients.autoScaling(watch.target.region);
  let last = "";
  let pause = FASTEST;
  let failedLooks = 0;
  for (;;) {
    let refresh: InstanceRefresh | undefined;
    try {
      refresh = await describeById(autoScaling, watch.target, watch.id);
      failedLooks = 0;
    } catch (error) {
      failedLooks += 1;
      if (!isPassing(error) || failedLooks >= MAX_FAILED_LOOKS) throw stoppedWatching(watch, error);
    }
    if (refresh !== undefined) {
      const fingerprint = JSON.stringify([
        refresh.Status,
        refresh.PercentageComplete,
        refresh.InstancesToUpdate,
        refresh.StatusReason,
      ]);
      const changed = fingerprint !== last;
      last = fingerprint;
      pause = changed ? FASTEST : Math.min(pause * 1.5, SLOWEST);
      if (watch.onLook(refresh, changed)) return refresh;
    }
    await watch.clock.sleep(watch.polling.interval ?? pause, watch.signal);
  }
}

function stoppedWatching(watch: Watch, cause: unknown): KilnError {
  const error = cause instanceof Error ? cause.message : String(cause);
  return new KilnError(`Stopped watching the instance refresh of ${targetName(watch.target)}: ${error}`, {
    state: `The refresh ${watch.id} goes on in AWS by itself, and rolls back by itself if it fails. Nothing was recorded.`,
    next: "Run the job again: it takes this refresh up where it is.",
    cause,
  });
}
