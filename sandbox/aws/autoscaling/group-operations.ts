import { AwsError } from "../query.ts";
import { normalise, readConfiguration } from "./configuration.ts";
import { groupName, integer, invalid } from "./constraints.ts";
import { activeRefresh, liveMembers } from "./group.ts";
import { checkSizes, createGroup } from "./group-creation.ts";
import { groupOnWire } from "./group-wire.ts";
import { readHook } from "./hook-operations.ts";
import { pageOf } from "./paging.ts";
import { endRefresh } from "./refresh.ts";
import { regionOf, requireGroup } from "./service.ts";
import { checkImages } from "./target.ts";
import type { Call, Operations, Query } from "../query.ts";
import type { Group, GroupSettings } from "./group.ts";
import type { GroupRequest } from "./group-creation.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";

const largest = 10_000;

export function groupOperations(service: Service, timeline: Timeline): Operations {
  const find = (call: Call): Group => requireGroup(service, call, groupName(call.query));
  const changed = (group: Group) => {
    timeline.settle(group);
    return {};
  };
  return {
    DescribeAutoScalingGroups: (call) => describe(service, call),
    CreateAutoScalingGroup: (call) => changed(createGroup(service, readRequest(call))),
    UpdateAutoScalingGroup: (call) => {
      const group = find(call);
      update(service, group, call.query);
      return changed(group);
    },
    SetDesiredCapacity: (call) => {
      const group = find(call);
      const desiredCapacity = integer(call.query, "DesiredCapacity", 0, largest);
      if (desiredCapacity === undefined) throw invalid("DesiredCapacity must not be null");
      changeSettings(group, { desiredCapacity });
      return changed(group);
    },
    DeleteAutoScalingGroup: (call) => {
      const group = find(call);
      remove(service, group, call.query.boolean("ForceDelete") ?? false);
      return changed(group);
    },
  };
}

/** Names that do not exist are no error (API reference, DescribeAutoScalingGroups). */
function describe(service: Service, call: Call): Record<string, unknown> {
  const { query } = call;
  const names = query.strings("AutoScalingGroupNames");
  const filters = query.structs("Filters");
  const groups = [...regionOf(service, call).groups.values()]
    .filter((group) => names.length === 0 || names.includes(group.name) || names.includes(group.arn))
    .filter((group) => filters.every((filter) => passesFilter(group, filter)));
  const page = pageOf(query, groups, { usual: 50, most: 100 });
  const includeInstances = query.boolean("IncludeInstances") ?? true;
  return {
    AutoScalingGroups: { member: page.items.map((group) => groupOnWire(group, includeInstances)) },
    NextToken: page.nextToken,
  };
}

function passesFilter(group: Group, filter: Query): boolean {
  const name = filter.required("Name");
  const values = filter.strings("Values");
  const tags = [...group.tags.values()];
  if (name === "tag-key") return tags.some((tag) => values.includes(tag.key));
  if (name === "tag-value") return tags.some((tag) => values.includes(tag.value));
  if (!name.startsWith("tag:")) throw invalid(`Filter type ${name} is not correct.`);
  const tag = group.tags.get(name.slice("tag:".length));
  return tag !== undefined && values.includes(tag.value);
}

function readRequest(call: Call): GroupRequest {
  const { query, region, accountId } = call;
  const configuration = readConfiguration(query);
  if (configuration === undefined) {
    throw invalid(
      "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.",
    );
  }
  const settings = readSettings(query);
  const minSize = settings.minSize ?? missing("MinSize");
  return {
    region,
    accountId,
    name: groupName(query),
    ...configuration,
    min: minSize,
    max: settings.maxSize ?? missing("MaxSize"),
    desired: settings.desiredCapacity ?? minSize,
    targetGroupArns: query.strings("TargetGroupARNs"),
    loadBalancerNames: query.strings("LoadBalancerNames"),
    tags: query.structs("Tags").map(readTag),
    lifecycleHooks: query.structs("LifecycleHookSpecificationList").map((hook) => readHook(hook)),
    ...definedOnly({
      healthCheckType: settings.healthCheckType,
      healthCheckGracePeriod: settings.healthCheckGracePeriod,
      defaultInstanceWarmup: settings.defaultInstanceWarmup,
      maintenancePolicy: settings.maintenancePolicy,
      defaultCooldown: settings.defaultCooldown,
      zones: settings.zones,
      subnets: settings.subnets,
      terminationPolicies: settings.terminationPolicies,
      newInstancesProtected: settings.newInstancesProtected,
      capacityRebalance: settings.capacityRebalance,
      serviceLinkedRoleArn: settings.serviceLinkedRoleArn,
    }),
  };
}

function missing(name: string): never {
  throw invalid(
    `1 validation error detected: Value null at '${name.charAt(0).toLowerCase()}${name.slice(1)}' failed to satisfy constraint: Member must not be null`,
  );
}

export function readTag(query: Query) {
  return {
    key: query.required("Key"),
    value: query.string("Value") ?? "",
    propagateAtLaunch: query.boolean("PropagateAtLaunch") ?? false,
  };
}

/** The settings that a request names; -1 takes a warm-up or a maintenance policy away. */
function readSettings(query: Query): Partial<GroupSettings> {
  const warmup = integer(query, "DefaultInstanceWarmup", -1, 3600);
  const policy = query.struct("InstanceMaintenancePolicy");
  const min = policy === undefined ? undefined : integer(policy, "MinHealthyPercentage", -1, 100);
  const max = policy === undefined ? undefined : integer(policy, "MaxHealthyPercentage", -1, 200);
  const zones = query.strings("AvailabilityZones");
  const terminationPolicies = query.strings("TerminationPolicies");
  return {
    ...definedOnly({
      minSize: integer(query, "MinSize", 0, largest),
      maxSize: integer(query, "MaxSize", 0, largest),
      desiredCapacity: integer(query, "DesiredCapacity", 0, largest),
      defaultCooldown: integer(query, "DefaultCooldown", 0, 2_147_483_647),
      healthCheckType: query.string("HealthCheckType"),
      healthCheckGracePeriod: integer(query, "HealthCheckGracePeriod", 0, 2_147_483_647),
      zones: zones.length === 0 ? undefined : zones,
      subnets: query.string("VPCZoneIdentifier"),
      terminationPolicies: terminationPolicies.length === 0 ? undefined : terminationPolicies,
      newInstancesProtected: query.boolean("NewInstancesProtectedFromScaleIn"),
      capacityRebalance: query.boolean("CapacityRebalance"),
      serviceLinkedRoleArn: query.string("ServiceLinkedRoleARN"),
    }),
    ...(warmup === undefined ? {} : { defaultInstanceWarmup: warmup === -1 ? undefined : warmup }),
    ...(min === undefined || max === undefined
      ? {}
      : { maintenancePolicy: min === -1 ? undefined : { min, max } }),
  };
}

type Defined<Value> = { [Key in keyof Value]?: Exclude<Value[Key], undefined> };

function definedOnly<Value extends object>(value: Value): Defined<Value> {
  // The filter is what makes the narrower type true.
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Defined<Value>;
}

function update(service: Service, group: Group, query: Query): void {
  const request = readConfiguration(query);
  if (request !== undefined) {
    // User guide, Instance refresh overview, with this text.
    if (activeRefresh(group)?.desiredConfiguration !== undefined) {
      throw invalid(
        "An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration are not available for update while the instance refresh is active.",
      );
    }
    const configuration = normalise(service.fleet, group.place, request);
    checkImages(service, group.place, configuration);
    changeSettings(group, readSettings(query));
    group.configuration = configuration;
  } else changeSettings(group, readSettings(query));
}

/** A minimum above or a maximum below the desired capacity takes it along (API reference, UpdateAutoScalingGroup). */
function changeSettings(group: Group, change: Partial<GroupSettings>): void {
  const merged = { ...group.settings, ...change };
  if (change.desiredCapacity === undefined && merged.minSize <= merged.maxSize)
    merged.desiredCapacity = Math.min(Math.max(merged.desiredCapacity, merged.minSize), merged.maxSize);
  checkSizes(merged);
  Object.assign(group.settings, merged);
}

function remove(service: Service, group: Group, force: boolean): void {
  if (!force && liveMembers(group).length + group.warm.length > 0) {
    throw new AwsError(
      "ResourceInUse",
      "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
    );
  }
  const refresh = activeRefresh(group);
  if (refresh !== undefined) endRefresh(refresh, service.clock.now(), "Cancelled", "The group was deleted.");
  group.deleting = true;
  Object.assign(group.settings, { minSize: 0, desiredCapacity: 0 });
}
