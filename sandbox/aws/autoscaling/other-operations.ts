import { activitiesInOrder, activityOnWire } from "./activities.ts";
import { groupName, invalid } from "./constraints.ts";
import { processes } from "./group.ts";
import { readTag } from "./group-operations.ts";
import { tagOnWire } from "./group-wire.ts";
import { pageOf } from "./paging.ts";
import { regionOf, requireGroup } from "./service.ts";
import type { Call, Operations, Query } from "../query.ts";
import type { Activity } from "./activities.ts";
import type { Group, Process } from "./group.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";

/** Activities, processes, tags, and what this sandbox has none of. */
export function otherOperations(service: Service, timeline: Timeline): Operations {
  const find = (call: Call): Group => requireGroup(service, call, groupName(call.query));
  return {
    DescribeScalingActivities: (call) => describeActivities(service, call),
    SuspendProcesses: (call) => {
      const group = find(call);
      for (const process of processesOf(call.query)) group.suspended.add(process);
      timeline.settle(group);
      return {};
    },
    ResumeProcesses: (call) => {
      const group = find(call);
      for (const process of processesOf(call.query)) group.suspended.delete(process);
      timeline.settle(group);
      return {};
    },
    CreateOrUpdateTags: (call) => {
      for (const query of call.query.structs("Tags")) {
        const group = requireGroup(service, call, query.required("ResourceId"));
        const tag = readTag(query);
        group.tags.set(tag.key, tag);
      }
      return {};
    },
    DeleteTags: (call) => {
      for (const query of call.query.structs("Tags"))
        requireGroup(service, call, query.required("ResourceId")).tags.delete(query.required("Key"));
      return {};
    },
    DescribeTags: (call) => describeTags(service, call),
    DescribeLaunchConfigurations: (call) => describeLaunchConfigurations(service, call),
  };
}

/** An empty list means all (API reference, SuspendProcesses). */
function processesOf(query: Query): readonly Process[] {
  const names = query.strings("ScalingProcesses");
  if (names.length === 0) return processes;
  return names.map((name) => {
    const process = processes.find((candidate) => candidate === name);
    if (process === undefined) throw invalid(`${name} is not a valid process type.`);
    return process;
  });
}

function describeActivities(service: Service, call: Call): Record<string, unknown> {
  const { query } = call;
  const name = query.string("AutoScalingGroupName");
  const groups =
    name === undefined ? [...regionOf(service, call).groups.values()] : [requireGroup(service, call, name)];
  const ids = query.strings("ActivityIds");
  const filters = query.structs("Filters");
  const wanted = groups.flatMap((group) =>
    activitiesInOrder(group.activities)
      .filter((activity) => ids.length === 0 || ids.includes(activity.activityId))
      .filter((activity) => filters.every((filter) => passesFilter(activity, filter)))
      .map((activity) => activityOnWire(group.name, activity)),
  );
  const page = pageOf(query, wanted, { usual: 100, most: 100 });
  return { Activities: { member: page.items }, NextToken: page.nextToken };
}

function passesFilter(activity: Activity, filter: Query): boolean {
  const values = filter.strings("Values");
  const name = filter.required("Name");
  if (name === "Status") return values.includes(activity.statusCode);
  if (name === "StartTimeLowerBound") return activity.startTime >= Date.parse(values[0] ?? "");
  if (name === "StartTimeUpperBound") return activity.startTime <= Date.parse(values[0] ?? "");
  throw invalid(`Filter type ${name} is not correct.`);
}

function describeTags(service: Service, call: Call): Record<string, unknown> {
  const filters = call.query.structs("Filters");
  const all = [...regionOf(service, call).groups.values()].flatMap((group) =>
    [...group.tags.values()].map((tag) => ({ group: group.name, tag })),
  );
  const wanted = all.filter(({ group, tag }) =>
    filters.every((filter) => {
      const values = filter.strings("Values");
      const fields: Readonly<Record<string, string>> = {
        "auto-scaling-group": group,
        key: tag.key,
        value: tag.value,
        "propagate-at-launch": String(tag.propagateAtLaunch),
      };
      const field = fields[filter.required("Name")];
      if (field === undefined) throw invalid(`Filter type ${filter.required("Name")} is not correct.`);
      return values.includes(field);
    }),
  );
  const page = pageOf(call.query, wanted, { usual: 50, most: 100 });
  return {
    Tags: { member: page.items.map(({ group, tag }) => tagOnWire(group, tag)) },
    NextToken: page.nextToken,
  };
}

function describeLaunchConfigurations(service: Service, call: Call): Record<string, unknown> {
  const names = call.query.strings("LaunchConfigurationNames");
  const wanted = [...regionOf(service, call).launchConfigurations.values()].filter(
    (configuration) => names.length === 0 || names.includes(configuration.launchConfigurationName),
  );
  const page = pageOf(call.query, wanted, { usual: 50, most: 100 });
  return {
    LaunchConfigurations: {
      member: page.items.map((configuration) => ({
        LaunchConfigurationName: configuration.launchConfigurationName,
        ImageId: configuration.imageId,
        InstanceType: configuration.instanceType,
      })),
    },
    NextToken: page.nextToken,
  };
}
