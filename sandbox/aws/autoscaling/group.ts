import { isArriving, isReplacingRootVolume } from "./member.ts";
import type { Place } from "../fleet.ts";
import type { Activity } from "./activities.ts";
import type { Configuration } from "./configuration.ts";
import type { LifecycleHook } from "./hooks.ts";
import type { LifecycleState, Member } from "./member.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { WarmPool } from "./warm-pool.ts";
import type { Watch } from "./watch.ts";

export interface GroupTag {
  readonly key: string;
  readonly value: string;
  readonly propagateAtLaunch: boolean;
}

/** Everything about a group that UpdateAutoScalingGroup can change besides its configuration. Times in seconds. */
export interface GroupSettings {
  minSize: number;
  maxSize: number;
  desiredCapacity: number;
  defaultCooldown: number;
  healthCheckType: string;
  healthCheckGracePeriod: number;
  defaultInstanceWarmup: number | undefined;
  maintenancePolicy: { readonly min: number; readonly max: number } | undefined;
  zones: string[];
  subnets: string | undefined;
  terminationPolicies: string[];
  newInstancesProtected: boolean;
  capacityRebalance: boolean | undefined;
  serviceLinkedRoleArn: string | undefined;
}

export interface Group {
  readonly place: Place;
  readonly name: string;
  readonly arn: string;
  readonly createdAt: number;
  readonly settings: GroupSettings;
  /** The saved configuration: what launches, and what a rollback returns to. */
  configuration: Configuration;
  targetGroupArns: string[];
  loadBalancerNames: string[];
  readonly tags: Map<string, GroupTag>;
  readonly suspended: Set<Process>;
  /** In order of launch; those that are gone are not kept. */
  members: Member[];
  /** By name. */
  readonly lifecycleHooks: Map<string, LifecycleHook>;
  warmPool: WarmPool | undefined;
  /** The members of the warm pool; what leaves it for the group moves to `members`. */
  warm: Member[];
  /** Unhealthy members that were terminated and for which nothing was launched yet. */
  unreplaced: number;
  /** In order of their start. */
  readonly activities: Activity[];
  /** In order of their creation. */
  readonly refreshes: InstanceRefresh[];
  readonly watches: Watch[];
  deleting: boolean;
  /** No launch is tried before this time. */
  nextLaunchAt: number;
}

export const processes = [
  "Launch",
  "Terminate",
  "AddToLoadBalancer",
  "AlarmNotification",
  "AZRebalance",
  "HealthCheck",
  "InstanceRefresh",
  "ReplaceUnhealthy",
  "ScheduledActions",
] as const;
export type Process = (typeof processes)[number];

/** The members that count towards the desired capacity. */
export function liveMembers(group: Group): Member[] {
  return group.members.filter(
    (member) => member.lifecycleState === "InService" || isArriving(member) || isReplacingRootVolume(member),
  );
}

export function membersIn(group: Group, state: LifecycleState): Member[] {
  return group.members.filter((member) => member.lifecycleState === state);
}

export function activeRefresh(group: Group): InstanceRefresh | undefined {
  return group.refreshes.find((refresh) => refresh.endTime === undefined);
}

/**
 * What the next launch uses. User guide, Instance refresh overview: "while an instance refresh is active, the desired
 * configuration is used for new launches"; it is saved in the group only when the refresh succeeds.
 */
export function launchingConfiguration(group: Group): Configuration {
  const refresh = activeRefresh(group);
  const forward = refresh !== undefined && ["Pending", "InProgress", "Baking"].includes(refresh.status);
  return (forward ? refresh.desiredConfiguration : undefined) ?? group.configuration;
}

/** Seconds that a new instance warms up. API reference, RefreshPreferences: InstanceWarmup. */
export function warmupOf(group: Group): number {
  const { defaultInstanceWarmup, healthCheckGracePeriod } = group.settings;
  return activeRefresh(group)?.preferences.instanceWarmup ?? defaultInstanceWarmup ?? healthCheckGracePeriod;
}

/** When a member has warmed up; undefined while it is not in service. */
export function warmedAt(group: Group, member: Member): number | undefined {
  return member.inServiceAt === undefined ? undefined : member.inServiceAt + warmupOf(group) * 1000;
}
