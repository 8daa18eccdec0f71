import { activityOnWire, endActivity, iso, startActivity } from "./activities.ts";
import { groupName, invalid } from "./constraints.ts";
import { memberOnWire } from "./group-wire.ts";

import { pageOf } from "./paging.ts";
import { newId, regionOf, requireGroup } from "./service.ts";
import { terminateMember } from "./termination.ts";
import type { Call, Operations } from "../query.ts";
import type { Place } from "../fleet.ts";
import type { Activity } from "./activities.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";

export function memberOperations(service: Service, timeline: Timeline): Operations {
  return {
    DescribeAutoScalingInstances: (call) => describe(service, call),
    SetInstanceProtection: (call) => {
      const group = requireGroup(service, call, groupName(call.query));
      const value = call.query.boolean("ProtectedFromScaleIn") ?? false;
      for (const member of named(group, call)) member.protectedFromScaleIn = value;
      timeline.settle(group);
      return {};
    },
    SetInstanceHealth: (call) => {
      const { group, member } = locate(service, call, call.query.required("InstanceId"));
      const unhealthy = call.query.required("HealthStatus") === "Unhealthy";
      const respectsGrace = call.query.boolean("ShouldRespectGracePeriod") ?? true;
      const graceEnd = (member.inServiceAt ?? Infinity) + group.settings.healthCheckGracePeriod * 1000;
      if (!unhealthy) member.healthStatus = "Healthy";
      else if (!respectsGrace || service.clock.now() >= graceEnd) member.healthStatus = "Unhealthy";
      timeline.settle(group);
      return {};
    },
    TerminateInstanceInAutoScalingGroup: (call) => terminate(service, timeline, call),
    EnterStandby: (call) => {
      const group = requireGroup(service, call, groupName(call.query));
      const decrement = call.query.boolean("ShouldDecrementDesiredCapacity");
      if (decrement === undefined) throw invalid("ShouldDecrementDesiredCapacity must not be null");
      const activities = enterStandby(service, group, named(group, call), decrement);
      timeline.settle(group);
      return { Activities: { member: activities.map((activity) => activityOnWire(group.name, activity)) } };
    },
    ExitStandby: (call) => {
      const group = requireGroup(service, call, groupName(call.query));
      const activities = exitStandby(service, group, named(group, call));
      timeline.settle(group);
      return { Activities: { member: activities.map((activity) => activityOnWire(group.name, activity)) } };
    },
  };
}

function describe(service: Service, call: Call): Record<string, unknown> {
  const ids = call.query.strings("InstanceIds");
  const all = [...regionOf(service, call).groups.values()].flatMap((group) =>
    [...group.members, ...group.warm].map((member) => ({ group, member })),
  );
  const wanted = all.filter(({ member }) => ids.length === 0 || ids.includes(member.instanceId));
  const page = pageOf(call.query, wanted, { usual: 50, most: 50 });
  return {
    AutoScalingInstances: {
      // DescribeAutoScalingInstances says HEALTHY where DescribeAutoScalingGroups says Healthy.
      member: page.items.map(({ group, member }) =>
        Object.assign(memberOnWire(member), {
          AutoScalingGroupName: group.name,
          HealthStatus: member.healthStatus.toUpperCase(),
        }),
      ),
    },
    NextToken: page.nextToken,
  };
}

function locate(service: Service, place: Place, instanceId: string): { group: Group; member: Member } {
  for (const group of regionOf(service, place).groups.values()) {
    const member = group.members.find((candidate) => candidate.instanceId === instanceId);
    if (member !== undefined) return { group, member };
  }
  throw invalid(`Instance Id not found - No managed instance found for instance ID: ${instanceId}`);
}

function named(group: Group, call: Call): Member[] {
  return call.query.strings("InstanceIds").map((id) => memberOf(group, id));
}

export function memberOf(group: Group, instanceId: string): Member {
  const member = group.members.find((candidate) => candidate.instanceId === instanceId);
  if (member === undefined)
    throw invalid(`The instance ${instanceId} is not part of Auto Scaling group ${group.name}.`);
  return member;
}

function terminate(service: Service, timeline: Timeline, call: Call): Record<string, unknown> {
  const now = service.clock.now();
  const { group, member } = locate(service, call, call.query.required("InstanceId"));
  const decrement = call.query.boolean("ShouldDecrementDesiredCapacity");
  if (decrement === undefined) throw invalid("ShouldDecrementDesiredCapacity must not be null");
  if (decrement) resize(group, -1);
  terminateMember(service, group, member, now, "a user request");
  const activity = member.terminationActivity;
  timeline.settle(group);
  return { Activity: activity === undefined ? undefined : activityOnWire(group.name, activity) };
}

/** User guide, Temporarily remove instances: what is in standby does not count towards the group's capacity. */
export function enterStandby(
  service: Service,
  group: Group,
  members: readonly Member[],
  decrement: boolean,
): Activity[] {
  for (const member of members) {
    if (member.lifecycleState !== "InService")
      throw invalid(
        `The instance ${member.instanceId} is not in InService, it is in ${member.lifecycleState}.`,
      );
  }
  if (decrement) resize(group, -members.length);
  return members.map((member) => {
    member.lifecycleState = "Standby";
    return standbyActivity(service, group, member, `Moving EC2 instance to Standby: ${member.instanceId}`);
  });
}

/** Leaving standby always raises the desired capacity (API reference, ExitStandby). */
export function exitStandby(service: Service, group: Group, members: readonly Member[]): Activity[] {
  for (const member of members) {
    if (member.lifecycleState !== "Standby")
      throw invalid(`The instance ${member.instanceId} is not in Standby.`);
  }
  resize(group, members.length);
  return members.map((member) => {
    member.lifecycleState = "Pending";
    member.until = service.clock.now() + service.options.launch;
    return standbyActivity(
      service,
      group,
      member,
      `Moving EC2 instance out of Standby: ${member.instanceId}`,
    );
  });
}

function resize(group: Group, by: number): void {
  const { settings } = group;
  const desired = settings.desiredCapacity + by;
  if (desired < settings.minSize)
    throw invalid(
      `AutoScalingGroup ${group.name} has min-size=${settings.minSize}, max-size=${settings.maxSize}, and desired-size=${settings.desiredCapacity}. The change of ${by} would bring it below its minimum.`,
    );
  if (desired > settings.maxSize)
    throw invalid(
      `AutoScalingGroup ${group.name} has min-size=${settings.minSize}, max-size=${settings.maxSize}, and desired-size=${settings.desiredCapacity}. The change of ${by} would bring it above its maximum.`,
    );
  settings.desiredCapacity = desired;
}

function standbyActivity(service: Service, group: Group, member: Member, description: string): Activity {
  const now = service.clock.now();
  const activity = startActivity({
    activityId: newId(service),
    startTime: now,
    availabilityZone: member.availabilityZone,
    cause: `At ${iso(now)} instance ${member.instanceId} was moved in response to a user request.`,
    description,
    statusCode: "InProgress",
    progress: 50,
  });
  group.activities.push(activity);
  endActivity(activity, now, "Successful");
  return activity;
}
