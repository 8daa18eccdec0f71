import { AwsError } from "../query.ts";
import { normalise } from "./configuration.ts";
import { endActivity } from "./activities.ts";
import { invalid } from "./constraints.ts";
import { hookOf } from "./hooks.ts";
import { unitsOf } from "./member.ts";
import { launchMember } from "./members.ts";
import { newId, regionOf } from "./service.ts";
import { checkImages } from "./target.ts";
import { warmPoolOf, warmPoolSize } from "./warm-pool.ts";
import type { Place } from "../fleet.ts";
import type { ConfigurationRequest } from "./configuration.ts";
import type { Group, GroupSettings, GroupTag } from "./group.ts";
import type { HookRequest } from "./hooks.ts";
import type { LifecycleState, Member } from "./member.ts";
import type { Service } from "./service.ts";
import type { WarmPoolRequest } from "./warm-pool.ts";

/** What a new group may be given; absent means AWS's default for groups made by the API. Times in seconds. */
export interface GroupRequest extends Place, ConfigurationRequest {
  readonly name: string;
  readonly min?: number;
  readonly max?: number;
  /** Default: `min`. */
  readonly desired?: number;
  readonly healthCheckType?: string;
  readonly healthCheckGracePeriod?: number;
  readonly defaultInstanceWarmup?: number;
  readonly maintenancePolicy?: { readonly min: number; readonly max: number };
  readonly defaultCooldown?: number;
  readonly targetGroupArns?: readonly string[];
  readonly loadBalancerNames?: readonly string[];
  /** Tags as objects are propagated to instances. */
  readonly tags?: Readonly<Record<string, string>> | readonly GroupTag[];
  readonly zones?: readonly string[];
  readonly subnets?: string;
  readonly terminationPolicies?: readonly string[];
  readonly newInstancesProtected?: boolean;
  readonly capacityRebalance?: boolean;
  readonly serviceLinkedRoleArn?: string;
  readonly lifecycleHooks?: readonly HookRequest[];
  readonly warmPool?: WarmPoolRequest;
}

export function createGroup(service: Service, request: GroupRequest): Group {
  const { region, accountId, name } = request;
  const place: Place = { region, accountId };
  const { groups } = regionOf(service, place);
  if (groups.has(name))
    throw new AwsError(
      "AlreadyExists",
      `AutoScalingGroup by this name already exists - A group with the name ${name} already exists`,
    );
  const settings = settingsOf(request);
  checkSizes(settings);
  const configuration = normalise(service.fleet, place, request);
  checkImages(service, place, configuration);
  const group: Group = {
    place,
    name,
    arn: `arn:aws:autoscaling:${region}:${accountId}:autoScalingGroup:${newId(service)}:autoScalingGroupName/${name}`,
    createdAt: service.clock.now(),
    settings,
    configuration,
    targetGroupArns: [...(request.targetGroupArns ?? [])],
    loadBalancerNames: [...(request.loadBalancerNames ?? [])],
    tags: new Map(tagsOf(request).map((tag) => [tag.key, tag])),
    suspended: new Set(),
    members: [],
    lifecycleHooks: new Map((request.lifecycleHooks ?? []).map((hook) => [hook.name, hookOf(hook)])),
    warmPool: request.warmPool === undefined ? undefined : warmPoolOf(request.warmPool),
    warm: [],
    unreplaced: 0,
    activities: [],
    refreshes: [],
    watches: [],
    deleting: false,
    nextLaunchAt: 0,
  };
  groups.set(name, group);
  return group;
}

function settingsOf(request: GroupRequest): GroupSettings {
  const minSize = request.min ?? 0;
  return {
    minSize,
    maxSize: request.max ?? Math.max(minSize, request.desired ?? 0),
    desiredCapacity: request.desired ?? minSize,
    defaultCooldown: request.defaultCooldown ?? 300,
    healthCheckType: request.healthCheckType ?? "EC2",
    healthCheckGracePeriod: request.healthCheckGracePeriod ?? 0,
    defaultInstanceWarmup: request.defaultInstanceWarmup,
    maintenancePolicy: request.maintenancePolicy,
    zones: [...(request.zones ?? [`${request.region}a`, `${request.region}b`])],
    subnets: request.subnets,
    terminationPolicies: [...(request.terminationPolicies ?? ["Default"])],
    newInstancesProtected: request.newInstancesProtected ?? false,
    capacityRebalance: request.capacityRebalance,
    serviceLinkedRoleArn: request.serviceLinkedRoleArn,
  };
}

function tagsOf({ tags = [] }: GroupRequest): GroupTag[] {
  if (isList(tags)) return [...tags];
  return Object.entries(tags).map(([key, value]) => ({ key, value, propagateAtLaunch: true }));
}

function isList(tags: NonNullable<GroupRequest["tags"]>): tags is readonly GroupTag[] {
  return Array.isArray(tags);
}

export function checkSizes({ minSize, maxSize, desiredCapacity }: GroupSettings): void {
  if (minSize > maxSize)
    throw invalid("Max bound, " + maxSize + ", must be greater than or equal to min bound, " + minSize);
  if (desiredCapacity < minSize || desiredCapacity > maxSize) {
    throw invalid(
      `Desired capacity:${desiredCapacity} must be between the specified min size:${minSize} and max size:${maxSize}`,
    );
  }
}

const dayBefore = 24 * 3_600_000;

/** Fills a new group with instances that have been in service for a day, so that a story can begin. */
export function fillGroup(service: Service, group: Group): void {
  const before = service.clock.now() - dayBefore;
  while (unitsOf(group.members) < group.settings.desiredCapacity)
    Object.assign(settled(service, group, before, "live"), {
      lifecycleState: "InService",
      inServiceAt: before,
    });
  while (group.warm.length < warmPoolSize(group)) {
    const lifecycleState: LifecycleState = `Warmed:${group.warmPool?.poolState ?? "Stopped"}`;
    Object.assign(settled(service, group, before, "warm"), { lifecycleState });
  }
  // The story's activities begin with the story.
  group.activities.length = 0;
}

function settled(service: Service, group: Group, before: number, pool: "live" | "warm"): Member {
  const member = launchMember(service, group, before, "the creation of its group", pool);
  if (member === undefined) throw invalid(group.activities.at(-1)?.statusMessage ?? "Launch failed");
  endActivity(member.launchActivity, before, "Successful");
  member.until = undefined;
  return member;
}
