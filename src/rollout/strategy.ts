import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import type { RolloutSettings } from "../domain/application.ts";

/**
 * The preferences of an instance refresh: the strategy's set of keys, fitted to the group's capacity, under what the
 * user set (API reference, RefreshPreferences). Both percentages are always sent: AWS's own defaults leave no legal
 * slot on fewer than ten instances, and then take the minimum's violation (one instance: an outage).
 * @param capacity the group's desired capacity
 */
export function refreshPreferences(settings: RolloutSettings, capacity: number): RefreshPreferences {
  const named = STRATEGY_KEYS[settings.strategy](settings, capacity);
  const checkpoints = settings.checkpoints ?? named.CheckpointPercentages;
  // One of the user's own moves the other, to keep the pair within AWS's limit of 100 percent between the two.
  const minimum =
    settings.minHealthy ?? Math.max(named.MinHealthyPercentage, (settings.maxHealthy ?? 100) - 100);
  return {
    MinHealthyPercentage: minimum,
    MaxHealthyPercentage: settings.maxHealthy ?? Math.min(named.MaxHealthyPercentage, minimum + 100),
    SkipMatching: settings.skipMatching ?? true,
    AutoRollback: settings.autoRollback ?? true,
    ScaleInProtectedInstances: IN_THE_API[settings.scaleInProtected ?? "refresh"],
    StandbyInstances: IN_THE_API[settings.standby ?? "ignore"],
    ...(settings.instanceWarmup === undefined ? {} : { InstanceWarmup: settings.instanceWarmup }),
    // The SDK sends an empty list as an empty value, which the API refuses: absent, never [].
    ...(checkpoints === undefined
      ? {}
      : {
          CheckpointPercentages: [...checkpoints],
          CheckpointDelay: settings.checkpointDelay ?? DEFAULT_CHECKPOINT_DELAY,
        }),
    ...(settings.bakeTime === undefined ? {} : { BakeTime: settings.bakeTime }),
    ...(settings.alarms === undefined ? {} : { AlarmSpecification: { Alarms: [...settings.alarms] } }),
  };
}

const IN_THE_API = { refresh: "Refresh", ignore: "Ignore", wait: "Wait", terminate: "Terminate" } as const;

/** Seconds; AWS's default of an hour outlasts many jobs. */
const DEFAULT_CHECKPOINT_DELAY = 300;

interface StrategyKeys {
  readonly MinHealthyPercentage: number;
  readonly MaxHealthyPercentage: number;
  readonly CheckpointPercentages?: readonly number[];
}

const STRATEGY_KEYS: Readonly<
  Record<RolloutSettings["strategy"], (settings: RolloutSettings, capacity: number) => StrategyKeys>
> = {
  rolling: (_, capacity) => launchFirst(capacity),
  canary: (settings, capacity) => ({
    ...launchFirst(capacity),
    CheckpointPercentages: [...new Set([canaryPercentage(settings, capacity), 100])],
  }),
  "all-at-once": () => ({ MinHealthyPercentage: 100, MaxHealthyPercentage: 200 }),
  // 10 % at a time, at least one: a minimum that leaves no slot would make AWS launch first after all.
  recycle: (_, capacity) => ({
    MinHealthyPercentage: Math.max(
      0,
      Math.min(90, Math.floor((100 * (capacity - 1)) / Math.max(1, capacity))),
    ),
    MaxHealthyPercentage: 100,
  }),
};

/** Never below capacity, with a surge of one instance or 10 %, whichever is more. */
function launchFirst(capacity: number): StrategyKeys {
  return { MinHealthyPercentage: 100, MaxHealthyPercentage: Math.min(200, surgePercentage(capacity)) };
}

function surgePercentage(capacity: number): number {
  return capacity <= 0 ? 110 : Math.max(110, 100 + Math.ceil(100 / capacity));
}

/** A number of instances as the percentage that AWS reaches with exactly so many. */
function canaryPercentage(settings: RolloutSettings, capacity: number): number {
  const canary = settings.canary ?? { instances: 1 };
  const percentage =
    "percentage" in canary ? canary.percentage : Math.floor((100 * canary.instances) / Math.max(1, capacity));
  return Math.min(100, Math.max(1, percentage));
}
