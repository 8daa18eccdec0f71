import {
  type AutoScalingClient,
  CancelInstanceRefreshCommand,
  type DesiredConfiguration,
  DescribeInstanceRefreshesCommand,
  type InstanceRefresh,
  type RefreshPreferences,
  type RefreshStrategy,
  RollbackInstanceRefreshCommand,
  StartInstanceRefreshCommand,
} from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import { isPassing } from "../aws/errors.ts";
import { isVersionUnseen, untilKnown } from "../aws/new-ids.ts";
import { type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { hasCode, KilnError } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";
import { descriptionOf } from "./launch-template.ts";
import type { Pace } from "./pace.ts";
import { refusedStart } from "./refused-start.ts";
import { ACTIVE_STATUSES } from "./target-state.ts";

/** Whether a refresh brings the group to this very configuration, rather than back from it. */
export function isOurs(refresh: InstanceRefresh, configuration: DesiredConfiguration): boolean {
  return (
    isFor(refresh, configuration) &&
    refresh.Status !== "RollbackInProgress" &&
    refresh.Status !== "Cancelling"
  );
}

/** Whether a refresh was started for this very configuration, whichever way it goes now. */
export function isFor(refresh: InstanceRefresh, configuration: DesiredConfiguration): boolean {
  const wanted = templateOf(configuration);
  const found = templateOf(refresh.DesiredConfiguration ?? {});
  return (
    wanted !== undefined &&
    found !== undefined &&
    wanted.LaunchTemplateId === found.LaunchTemplateId &&
    wanted.Version === found.Version
  );
}

/** The launch template version that a configuration brings. */
export function templateOf(configuration: DesiredConfiguration) {
  return (
    configuration.LaunchTemplate ??
    configuration.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification
  );
}

/** Tries of StartInstanceRefresh while it fails in passing, with growing pauses between them. */
const MAX_STARTS = 5;
const START_PAUSE = 2000;

/** What a refresh is started with. */
export interface RefreshRequest {
  readonly target: Target;
  readonly configuration: DesiredConfiguration;
  readonly preferences: RefreshPreferences;
  readonly strategy?: RefreshStrategy;
  /** A refresh that was running when the target was observed. */
  readonly seen?: InstanceRefresh | undefined;
}

/** Milliseconds by which the runner's clock and AWS's may differ. */
const CLOCK_SKEW = 60_000;

/**
 * Starts the refresh, or finds the one that brings the group there: StartInstanceRefresh has no client token, so one that
 * was seen running is looked at first, and after any doubt about an answer the group's refreshes are read. One that is ours
 * is adopted, also if it has ended well meanwhile: a second one would replace every instance again. If there is none, it is
 * tried again; a start that took effect after all would answer InstanceRefreshInProgress then.
 * @throws KilnError if a foreign refresh is in the way, or AWS does not take the request
 */
export async function startRefresh(
  tools: { readonly clients: AwsClients; readonly clock: Clock; readonly signal: AbortSignal },
  request: RefreshRequest,
): Promise<{ readonly id: string; readonly adopted: boolean }> {
  const { target, configuration, preferences, strategy = "Rolling" } = request;
  const began = tools.clock.now().getTime();
  const running = await stillOurs(tools.clients, request);
  if (running !== undefined) return { id: running, adopted: true };
  const once = await tools.clients.autoScalingOnce(target.region);
  for (let tries = 1; ; tries += 1) {
    try {
      const start = new StartInstanceRefreshCommand({
        AutoScalingGroupName: target.autoScalingGroup,
        Strategy: strategy,
        DesiredConfiguration: configuration,
        Preferences: preferences,
      });
      const { InstanceRefreshId } = await untilKnown(() => once.send(start), {
        ...tools,
        of: ["launchTemplateVersion"],
        isNotYet: isVersionUnseen,
      });
      if (InstanceRefreshId !== undefined) return { id: InstanceRefreshId, adopted: false };
      throw new KilnError(`AWS started a refresh of ${targetName(target)} without telling its id`);
    } catch (error) {
      const inProgress = hasCode(error, "InstanceRefreshInProgress", "InstanceRefreshInProgressFault");
      if (!inProgress && !isPassing(error)) throw refusedStart(target, error);
      const recent = await recentRefreshes(tools.clients, target);
      const active = recent.find(isActive);
      const found = active ?? recent.find((refresh) => endedWellSince(refresh, began - CLOCK_SKEW));
      if (found?.InstanceRefreshId !== undefined && isOurs(found, configuration)) {
        return { id: found.InstanceRefreshId, adopted: true };
      }
      if (active !== undefined) throw await foreignRefresh(tools.clients, target, active, error);
      if (tries >= MAX_STARTS) throw error;
      await tools.clock.sleep(START_PAUSE * tries, tools.signal);
    }
  }
}

/** The id of the refresh that was seen, if it was ours and goes on or has ended well; `undefined` if one has to be started. */
async function stillOurs(
  clients: AwsClients,
  { target, configuration, seen }: RefreshRequest,
): Promise<string | undefined> {
  const id = seen?.InstanceRefreshId;
  if (id === undefined || !isOurs(seen ?? {}, configuration)) return undefined;
  const now = await describeById(await clients.autoScaling(target.region), target, id);
  if (now === undefined) return undefined;
  return (isActive(now) && isOurs(now, configuration)) || now.Status === "Successful" ? id : undefined;
}

function endedWellSince({ Status, EndTime }: InstanceRefresh, since: number): boolean {
  return Status === "Successful" && (EndTime?.getTime() ?? 0) >= since;
}

function isActive({ Status }: InstanceRefresh): boolean {
  return ACTIVE_STATUSES.has(Status ?? "");
}

export async function foreignRefresh(
  clients: AwsClients,
  target: Target,
  refresh: InstanceRefresh,
  cause?: unknown,
): Promise<KilnError> {
  return new KilnError(
    `Another instance refresh of ${targetName(target)} is in the way: ${describeRefresh(refresh)}${await whatItBrings(clients, target, refresh)}`,
    {
      state: "This release was not rolled out. The other refresh goes on.",
      next: "Wait until it has ended, then run the job again.",
      cause,
    },
  );
}

/** Whose a refresh is, as far as the version that it brings says: those of Kiln name their image. */
export async function whatItBrings(
  clients: AwsClients,
  { region }: Target,
  { DesiredConfiguration }: InstanceRefresh,
): Promise<string> {
  const wanted = templateOf(DesiredConfiguration ?? {});
  const description = wanted && (await descriptionOf(await clients.ec2(region), wanted));
  return description === undefined ? "" : `, brings version ${wanted?.Version ?? "?"}, "${description}"`;
}

export function describeRefresh(refresh: InstanceRefresh): string {
  return `${refresh.InstanceRefreshId ?? "?"}, ${refresh.Status ?? "?"}, ${refresh.PercentageComplete ?? 0} %, started ${refresh.StartTime?.toISOString() ?? "just now"}`;
}

export async function activeRefresh(
  clients: AwsClients,
  target: Target,
): Promise<InstanceRefresh | undefined> {
  const recent = await recentRefreshes(clients, target);
  return recent.find(isActive);
}

/** The group's last refreshes, ended ones too; newest first. */
export async function recentRefreshes(
  clients: AwsClients,
  target: Target,
): Promise<readonly InstanceRefresh[]> {
  const autoScaling = await clients.autoScaling(target.region);
  const { InstanceRefreshes = [] } = await autoScaling.send(
    new DescribeInstanceRefreshesCommand({ AutoScalingGroupName: target.autoScalingGroup, MaxRecords: 10 }),
  );
  // One that was just begun may have no time yet.
  const time = ({ StartTime }: InstanceRefresh): number => StartTime?.getTime() ?? Number.POSITIVE_INFINITY;
  return InstanceRefreshes.toSorted((a, b) => time(b) - time(a) || 0);
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
 * Has AWS roll a refresh back. RollbackInstanceRefresh takes no id and applies to whichever refresh is active (API
 * reference), so the refresh is looked at right before: somebody may have cancelled it and started another one.
 * @param id a refresh that this run started or adopted
 * @returns `started`; `ended` if it is not running any more, or not visible; `impossible` if AWS cannot roll it back
 * @throws KilnError if it ended between the look and the request, and AWS took another one for it
 */
export async function rollBackRefresh(
  clients: AwsClients,
  target: Target,
  id: string,
): Promise<"started" | "ended" | "impossible"> {
  const autoScaling = await clients.autoScaling(target.region);
  const now = await activeRefresh(clients, target);
  if (now?.InstanceRefreshId !== id) return "ended";
  if (now.Status === "RollbackInProgress") return "started";
  try {
    const { InstanceRefreshId } = await autoScaling.send(
      new RollbackInstanceRefreshCommand({ AutoScalingGroupName: target.autoScalingGroup }),
    );
    refuseOther(target, id, InstanceRefreshId, "rolled back");
    return "started";
  } catch (error) {
    if (hasCode(error, "ActiveInstanceRefreshNotFound", "ActiveInstanceRefreshNotFoundFault")) return "ended";
    if (!hasCode(error, "IrreversibleInstanceRefresh", "IrreversibleInstanceRefreshFault")) throw error;
    // Also the answer to a second try, where the first one's was lost: what rolls back must not be cancelled then.
    const active = await activeRefresh(clients, target);
    if (active?.InstanceRefreshId !== id) return "ended";
    return active.Status === "RollbackInProgress" ? "started" : "impossible";
  }
}

/**
 * Cancels a refresh that AWS cannot roll back; instances that were replaced stay replaced (API reference,
 * CancelInstanceRefresh). It is looked at right before, since the request takes no id either.
 * @param id a refresh that this run started or adopted
 */
export async function cancelRefresh(clients: AwsClients, target: Target, id: string): Promise<void> {
  const autoScaling = await clients.autoScaling(target.region);
  if ((await activeRefresh(clients, target))?.InstanceRefreshId !== id) return;
  try {
    const { InstanceRefreshId } = await autoScaling.send(
      new CancelInstanceRefreshCommand({ AutoScalingGroupName: target.autoScalingGroup }),
    );
    refuseOther(target, id, InstanceRefreshId, "cancelled");
  } catch (error) {
    if (!hasCode(error, "ActiveInstanceRefreshNotFound", "ActiveInstanceRefreshNotFoundFault")) throw error;
  }
}

/** The answer names the refresh that the request applied to. */
function refuseOther(target: Target, wanted: string, found: string | undefined, what: string): void {
  if (found === undefined || found === wanted) return;
  throw new KilnError(
    `${targetName(target)}: the instance refresh ${wanted} ended just before it was to be ${what}, and AWS ${what} ${found} instead`,
    {
      state: `This run did not start ${found}. AWS's request names no refresh, so this cannot be excluded.`,
      next: `Start what ${found} was to bring again.`,
    },
  );
}

/** How a wait asks. */
export interface Polling {
  /** The user's `poll-interval` in milliseconds; undefined: by the refresh's own pace. */
  readonly interval: number | undefined;
}

/** Failed looks in a row after which the watch gives up; the refresh itself goes on in AWS. */
const MAX_FAILED_LOOKS = 10;

export interface Watch {
  readonly target: Target;
  readonly id: string;
  readonly polling: Polling;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Milliseconds for which the refresh may be missing from AWS's answers, or looks may fail. */
  readonly patience: number;
  /** Called with each look, and with the line to show where something changed; returns true when the wait is over. */
  readonly onLook: (refresh: InstanceRefresh, line: string | undefined) => boolean | Promise<boolean>;
}

/**
 * Looks at a refresh until `onLook` is satisfied: one request a look. Looks that fail in passing (throttling, the
 * network) are not the rollout's failure and are repeated.
 * @throws WatchLostError when looking fails for good, or the refresh is not shown for longer than the watch's patience; whatever the signal aborted with
 */
export async function watchRefresh(clients: AwsClients, watch: Watch): Promise<InstanceRefresh> {
  const { clock, pace } = watch;
  const autoScaling = await clients.autoScaling(watch.target.region);
  let failedLooks = 0;
  let lastSeen = clock.now().getTime();
  for (;;) {
    let refresh: InstanceRefresh | undefined;
    try {
      refresh = await describeById(autoScaling, watch.target, watch.id);
      failedLooks = 0;
    } catch (error) {
      failedLooks += 1;
      const isLate = clock.now().getTime() - lastSeen > watch.patience;
      if (!isPassing(error) || failedLooks >= MAX_FAILED_LOOKS || isLate) throw stoppedWatching(watch, error);
    }
    if (refresh !== undefined) {
      const line = pace.saw(refresh, clock.now().getTime());
      if (await watch.onLook(refresh, line)) return refresh;
      lastSeen = clock.now().getTime();
    } else if (clock.now().getTime() - lastSeen > watch.patience) throw notShown(watch);
    await clock.sleep(watch.polling.interval ?? pace.nextLook(clock.now().getTime()), watch.signal);
  }
}

function notShown({ target, id, patience }: Watch): WatchLostError {
  return new WatchLostError(
    `AWS has not shown the instance refresh ${id} of ${targetName(target)} for ${formatDuration(patience)}`,
    {
      state: "Whether the refresh goes on is not known. Nothing was recorded.",
      next: "Look at the group's instance refreshes in the console, then run the job again: it takes a running refresh up where it is.",
    },
  );
}

/** The refresh cannot be seen any more; it goes on in AWS, and the next run takes it up. */
export class WatchLostError extends KilnError {}

function stoppedWatching(watch: Watch, cause: unknown): WatchLostError {
  const error = cause instanceof Error ? cause.message : String(cause);
  return new WatchLostError(
    `Stopped watching the instance refresh of ${targetName(watch.target)}: ${error}`,
    {
      state: `The refresh ${watch.id} goes on in AWS by itself, and rolls back by itself if it fails. Nothing was recorded.`,
      next: "Run the job again: it takes this refresh up where it is.",
      cause,
    },
  );
}
