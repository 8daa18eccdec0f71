import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import type { RolloutSettings, Strategy } from "../domain/application.ts";
import { CHECKPOINT_NOTICE_SECONDS } from "../domain/checkpoint.ts";

/**
 * The preferences of an instance refresh: the strategy's set of keys, fitted to the group's capacity, under what the
 * user set (API reference, RefreshPreferences). Both percentages are always sent: AWS's own defaults leave no legal
 * slot on fewer than ten instances, and then take the minimum's violation (one instance: an outage).
 * @param capacity the group's desired capacity, in units where its instances have weights
 * @param largestWeight the largest WeightedCapacity of the group's overrides: the percentages count units, and AWS may
 *   have to take the heaviest instance next
 * @param instances how many instances the group has, where their weights make that another number than the capacity
 */
export function refreshPreferences(
  settings: RolloutSettings,
  capacity: number,
  largestWeight = 1,
  instances = capacity,
): RefreshPreferences {
  const named = STRATEGY_KEYS[settings.strategy](settings, { capacity, largestWeight, instances });
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
      : { CheckpointPercentages: [...checkpoints], CheckpointDelay: checkpointDelay(settings) }),
    ...(settings.bakeTime === undefined ? {} : { BakeTime: settings.bakeTime }),
    ...(settings.alarms === undefined ? {} : { AlarmSpecification: { Alarms: [...settings.alarms] } }),
  };
}

/** How the refresh replaces, in the API's words (StartInstanceRefresh, Strategy). */
export function refreshStrategy(settings: RolloutSettings): "Rolling" | "ReplaceRootVolume" {
  return settings.strategy === "replace-root-volume" ? "ReplaceRootVolume" : "Rolling";
}

const IN_THE_API = { refresh: "Refresh", ignore: "Ignore", wait: "Wait", terminate: "Terminate" } as const;

/** Seconds; AWS's default of an hour outlasts many jobs. */
const DEFAULT_CHECKPOINT_DELAY = 300;

function checkpointDelay({ checkpointDelay: own, smokeTest }: RolloutSettings): number {
  if (own !== undefined) return own;
  return smokeTest === undefined ? DEFAULT_CHECKPOINT_DELAY : smokeTest.timeout + CHECKPOINT_NOTICE_SECONDS;
}

interface StrategyKeys {
  readonly MinHealthyPercentage: number;
  readonly MaxHealthyPercentage: number;
  readonly CheckpointPercentages?: readonly number[];
}

/** What a strategy is fitted to. */
interface Fleet {
  readonly capacity: number;
  readonly largestWeight: number;
  readonly instances: number;
}

const STRATEGY_KEYS: Readonly<Record<Strategy, (settings: RolloutSettings, fleet: Fleet) => StrategyKeys>> = {
  rolling: (_, fleet) => launchFirst(fleet),
  canary: (settings, fleet) => ({
    ...launchFirst(fleet),
    CheckpointPercentages: [...new Set([canaryPercentage(settings, fleet), 100])],
  }),
  "all-at-once": () => ({ MinHealthyPercentage: 100, MaxHealthyPercentage: 200 }),
  recycle: (_, fleet) => inPlace(fleet),
  // The user guide's page "Replace root volumes during instance refresh" has a minimum of 90 in its example, and says
  // nothing of a maximum: it adds no capacity.
  "replace-root-volume": (_, fleet) => inPlace(fleet),
};

/** Never below capacity, with a surge of one instance or 10 %, whichever is more. */
function launchFirst({ capacity, largestWeight }: Fleet): StrategyKeys {
  const surge = capacity <= 0 ? 110 : Math.max(110, 100 + Math.ceil((100 * largestWeight) / capacity));
  return { MinHealthyPercentage: 100, MaxHealthyPercentage: Math.min(200, surge) };
}

/**
 * 10 % at a time, at least one. API reference, MaxHealthyPercentage: where it is set and both bounds cannot be kept,
 * AWS launches first after all; a minimum that lets the heaviest instance go keeps it from that.
 */
function inPlace({ capacity, largestWeight }: Fleet): StrategyKeys {
  const rest = Math.floor((100 * (capacity - largestWeight)) / Math.max(1, capacity));
  return { MinHealthyPercentage: Math.max(0, Math.min(90, rest)), MaxHealthyPercentage: 100 };
}

/**
 * A number of instances as the percentage that AWS reaches with exactly so many. The user guide's page "Add checkpoints
 * to an instance refresh": the percentages are of the number of instances, not of the capacity like the other two.
 */
function canaryPercentage(settings: RolloutSettings, fleet: Fleet): number {
  const canary = settings.canary ?? { instances: 1 };
  const percentage =
    "percentage" in canary
      ? canary.percentage
      : Math.floor((100 * canary.instances) / Math.max(1, fleet.instances));
  return Math.min(100, Math.max(1, percentage));
}
