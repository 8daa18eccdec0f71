import { iso } from "./activities.ts";
import { configurationOnWire } from "./configuration-wire.ts";
import type { Configuration } from "./configuration.ts";

export type RefreshStatus =
  | "Pending"
  | "InProgress"
  | "Baking"
  | "Successful"
  | "Failed"
  | "Cancelling"
  | "Cancelled"
  | "RollbackInProgress"
  | "RollbackSuccessful"
  | "RollbackFailed";

/** With defaults filled in. Times in seconds, as AWS has them. */
export interface Preferences {
  readonly minHealthyPercentage: number;
  readonly maxHealthyPercentage: number | undefined;
  readonly instanceWarmup: number;
  readonly checkpointPercentages: readonly number[];
  readonly checkpointDelay: number | undefined;
  readonly skipMatching: boolean;
  readonly autoRollback: boolean;
  readonly scaleInProtectedInstances: "Refresh" | "Ignore" | "Wait";
  readonly standbyInstances: "Terminate" | "Ignore" | "Wait";
  readonly alarms: readonly string[];
  readonly bakeTime: number;
}

export interface InstanceRefresh {
  readonly id: string;
  /** Members with a greater ordinal were launched during this refresh. */
  readonly ordinal: number;
  readonly createdAt: number;
  readonly strategy: "Rolling" | "ReplaceRootVolume";
  readonly preferences: Preferences;
  /** A maintenance policy of the group at the start decides what gives way when there is no slot. */
  readonly maintenancePolicy: boolean;
  readonly desiredConfiguration: Configuration | undefined;
  /** What a rollback returns to. */
  readonly savedConfiguration: Configuration;
  status: RefreshStatus;
  statusReason: string | undefined;
  startTime: number | undefined;
  endTime: number | undefined;
  percentageComplete: number | undefined;
  instancesToUpdate: number | undefined;
  /** Only where there is a warm pool. */
  progress: ProgressDetails | undefined;
  rollback: RollbackDetails | undefined;
  readonly engine: EngineState;
}

export interface ProgressDetails {
  readonly live: PoolProgress;
  readonly warm: PoolProgress;
}

interface PoolProgress {
  readonly percentageComplete: number;
  readonly instancesToUpdate: number;
}

export interface RollbackDetails {
  readonly reason: string;
  readonly startTime: number;
  readonly percentageComplete: number;
  readonly instancesToUpdate: number;
  readonly progress: ProgressDetails | undefined;
}

/** What the engine remembers between two steps and AWS does not show. */
export interface EngineState {
  /** Ids of replacements that are or were ready. */
  readonly updated: Set<string>;
  /** Percentage of the highest checkpoint passed. */
  passed: number;
  checkpointUntil: number | undefined;
  bakeUntil: number | undefined;
  /** Since when there was no progress though there should have been. */
  stuckSince: number | undefined;
  /** What the refresh did since the last step. */
  mode: "replacing" | "sleeping" | "paused";
  steppedAt: number;
  /** Milliseconds of active replacing. */
  active: number;
  /** To notice that the group grew. */
  desired: number;
}

export function newEngineState(now: number, desired: number): EngineState {
  return {
    updated: new Set(),
    passed: 0,
    checkpointUntil: undefined,
    bakeUntil: undefined,
    stuckSince: undefined,
    mode: "replacing",
    steppedAt: now,
    active: 0,
    desired,
  };
}

/** Whether the time that passes now counts as active replacing. */
export function isReplacing({ status, engine }: InstanceRefresh): boolean {
  return engine.mode === "replacing" && (status === "InProgress" || status === "RollbackInProgress");
}

export function endRefresh(
  refresh: InstanceRefresh,
  now: number,
  status: RefreshStatus,
  reason?: string,
): void {
  refresh.status = status;
  refresh.statusReason = reason;
  refresh.endTime = now;
}

export function refreshOnWire(groupName: string, refresh: InstanceRefresh): Record<string, unknown> {
  const { rollback } = refresh;
  return {
    InstanceRefreshId: refresh.id,
    AutoScalingGroupName: groupName,
    Status: refresh.status,
    StatusReason: refresh.statusReason,
    StartTime: refresh.startTime === undefined ? undefined : iso(refresh.startTime),
    EndTime: refresh.endTime === undefined ? undefined : iso(refresh.endTime),
    PercentageComplete: refresh.percentageComplete,
    InstancesToUpdate: refresh.instancesToUpdate,
    ProgressDetails: progressOnWire(refresh.progress),
    Strategy: refresh.strategy,
    Preferences: preferencesOnWire(refresh.preferences),
    DesiredConfiguration:
      refresh.desiredConfiguration === undefined
        ? undefined
        : configurationOnWire(refresh.desiredConfiguration),
    RollbackDetails:
      rollback === undefined
        ? undefined
        : {
            RollbackReason: rollback.reason,
            RollbackStartTime: iso(rollback.startTime),
            PercentageCompleteOnRollback: rollback.percentageComplete,
            InstancesToUpdateOnRollback: rollback.instancesToUpdate,
            ProgressDetailsOnRollback: progressOnWire(rollback.progress),
          },
  };
}

function progressOnWire(progress: ProgressDetails | undefined): Record<string, unknown> | undefined {
  if (progress === undefined) return undefined;
  const pool = ({ percentageComplete, instancesToUpdate }: PoolProgress) => ({
    PercentageComplete: percentageComplete,
    InstancesToUpdate: instancesToUpdate,
  });
  return { LivePoolProgress: pool(progress.live), WarmPoolProgress: pool(progress.warm) };
}

function preferencesOnWire(preferences: Preferences): Record<string, unknown> {
  const checkpoints = preferences.checkpointPercentages;
  return {
    MinHealthyPercentage: preferences.minHealthyPercentage,
    MaxHealthyPercentage: preferences.maxHealthyPercentage,
    InstanceWarmup: preferences.instanceWarmup,
    CheckpointPercentages: checkpoints.length === 0 ? undefined : { member: checkpoints },
    CheckpointDelay: preferences.checkpointDelay,
    SkipMatching: preferences.skipMatching,
    AutoRollback: preferences.autoRollback,
    ScaleInProtectedInstances: preferences.scaleInProtectedInstances,
    StandbyInstances: preferences.standbyInstances,
    AlarmSpecification:
      preferences.alarms.length === 0 ? undefined : { Alarms: { member: preferences.alarms } },
    BakeTime: preferences.bakeTime,
  };
}
