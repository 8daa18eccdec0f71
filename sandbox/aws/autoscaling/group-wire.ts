import { iso } from "./activities.ts";
import { configurationOnWire, templateOnWire } from "./configuration-wire.ts";
import { processes } from "./group.ts";
import type { Group, GroupTag } from "./group.ts";
import type { WarmPool } from "./warm-pool.ts";
import type { Member } from "./member.ts";

/** A group as DescribeAutoScalingGroups shows it. */
export function groupOnWire(group: Group, includeInstances: boolean): Record<string, unknown> {
  const { settings } = group;
  const policy = settings.maintenancePolicy;
  return {
    AutoScalingGroupName: group.name,
    AutoScalingGroupARN: group.arn,
    ...configurationOnWire(group.configuration),
    MinSize: settings.minSize,
    MaxSize: settings.maxSize,
    DesiredCapacity: settings.desiredCapacity,
    DefaultCooldown: settings.defaultCooldown,
    AvailabilityZones: { member: settings.zones },
    LoadBalancerNames: { member: group.loadBalancerNames },
    TargetGroupARNs: { member: group.targetGroupArns },
    TrafficSources: {
      member: group.targetGroupArns.map((arn) => ({ Identifier: arn, Type: "elbv2" })),
    },
    HealthCheckType: settings.healthCheckType,
    HealthCheckGracePeriod: settings.healthCheckGracePeriod,
    DefaultInstanceWarmup: settings.defaultInstanceWarmup,
    InstanceMaintenancePolicy:
      policy === undefined
        ? undefined
        : { MinHealthyPercentage: policy.min, MaxHealthyPercentage: policy.max },
    Instances: includeInstances ? { member: group.members.map(memberOnWire) } : undefined,
    CreatedTime: iso(group.createdAt),
    SuspendedProcesses: {
      member: processes
        .filter((process) => group.suspended.has(process))
        .map((process) => ({ ProcessName: process, SuspensionReason: "User suspended" })),
    },
    VPCZoneIdentifier: settings.subnets ?? "",
    EnabledMetrics: { member: [] },
    Status: group.deleting ? "Delete in progress" : undefined,
    Tags: { member: [...group.tags.values()].map((tag) => tagOnWire(group.name, tag)) },
    TerminationPolicies: { member: settings.terminationPolicies },
    NewInstancesProtectedFromScaleIn: settings.newInstancesProtected,
    WarmPoolConfiguration: warmPoolOnWire(group.warmPool),
    WarmPoolSize: group.warmPool === undefined ? undefined : group.warm.length,
    ServiceLinkedRoleARN: settings.serviceLinkedRoleArn,
    CapacityRebalance: settings.capacityRebalance,
  };
}

export function warmPoolOnWire(pool: WarmPool | undefined): Record<string, unknown> | undefined {
  if (pool === undefined) return undefined;
  return {
    MaxGroupPreparedCapacity: pool.maxGroupPreparedCapacity,
    MinSize: pool.minSize,
    PoolState: pool.poolState,
    Status: pool.deleting ? "PendingDelete" : undefined,
    InstanceReusePolicy:
      pool.reuseOnScaleIn === undefined ? undefined : { ReuseOnScaleIn: pool.reuseOnScaleIn },
  };
}

export function memberOnWire(member: Member): Record<string, unknown> {
  return {
    InstanceId: member.instanceId,
    InstanceType: member.instanceType,
    AvailabilityZone: member.availabilityZone,
    LifecycleState: member.lifecycleState,
    HealthStatus: member.healthStatus,
    LaunchTemplate: templateOnWire(member.launchTemplate),
    LaunchConfigurationName: member.launchConfigurationName,
    ProtectedFromScaleIn: member.protectedFromScaleIn,
    WeightedCapacity: member.weightedCapacity,
    // Only for an image of an override or of a replaced root volume (API reference, Instance: ImageId).
    ImageId: member.imageOverridden || member.rootVolumeReplaced ? member.imageId : undefined,
  };
}

export function tagOnWire(groupName: string, tag: GroupTag): Record<string, unknown> {
  return {
    ResourceId: groupName,
    ResourceType: "auto-scaling-group",
    Key: tag.key,
    Value: tag.value,
    PropagateAtLaunch: tag.propagateAtLaunch,
  };
}
