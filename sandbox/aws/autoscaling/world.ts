/**
 * The sandbox's Auto Scaling: groups, instance refreshes, scaling activities. One world holds all accounts and regions.
 *
 * Not modelled: warm pools, lifecycle hooks, the ReplaceRootVolume strategy, Spot, balancing of zones beyond taking the
 * emptiest, scaling policies, and weights (an instance counts as one whatever its WeightedCapacity says).
 */
import { createGroup, fillGroup } from "./group-creation.ts";
import { groupOperations } from "./group-operations.ts";
import { healthFunction } from "./health.ts";
import { enterStandby, exitStandby, memberOf, memberOperations } from "./member-operations.ts";
import { defaultOptions } from "./options.ts";
import { otherOperations } from "./other-operations.ts";
import { refreshOperations } from "./refresh-operations.ts";
import { regionOf } from "./service.ts";
import { Timeline } from "./timeline.ts";
import type { SandboxClock } from "../../clock.ts";
import type { Fleet, Place } from "../fleet.ts";
import type { Operations } from "../query.ts";
import type { Group, Process } from "./group.ts";
import type { GroupRequest } from "./group-creation.ts";
import type { HealthRule } from "./health.ts";
import type { AutoScalingOptions } from "./options.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { AlarmState, LaunchConfiguration, RefreshEvent, Service } from "./service.ts";

export type {
  AlarmState,
  AutoScalingOptions,
  Group,
  GroupRequest,
  HealthRule,
  InstanceRefresh,
  RefreshEvent,
};

/** A group's name, with its place where two places have a group of that name. */
export type GroupKey = string | (Place & { readonly name: string });

export interface AutoScalingWorld {
  readonly operations: Operations;
  /** What EventBridge would have been sent. */
  readonly events: readonly RefreshEvent[];
  addLaunchConfiguration(place: Place, configuration: LaunchConfiguration): void;
  /** `settled` (the default): its instances have been in service for a day; otherwise they are launched now. */
  addGroup(request: GroupRequest & { readonly settled?: boolean }): Group;
  /** To look at, not to change. Throws where there is no such group. */
  group(key: GroupKey): Group;
  /** In order of creation. */
  refreshes(key: GroupKey): readonly InstanceRefresh[];
  /** Decides from now on, for old and new instances of all groups, how healthy they are. */
  setHealth(rule: HealthRule): void;
  setAlarm(name: string, state: AlarmState): void;
  setDesiredCapacity(key: GroupKey, desired: number): void;
  setProtection(key: GroupKey, instanceId: string, isProtected: boolean): void;
  /** Lowers the desired capacity by one, as the console does. */
  enterStandby(key: GroupKey, instanceId: string): void;
  exitStandby(key: GroupKey, instanceId: string): void;
  suspend(key: GroupKey, ...processes: Process[]): void;
  resume(key: GroupKey, ...processes: Process[]): void;
  /** Call this when something outside changed that the groups should notice at once (a new template version). */
  settle(): void;
}

export interface AutoScalingWorldOptions {
  readonly clock: SandboxClock;
  readonly fleet: Fleet;
  readonly options?: Partial<AutoScalingOptions>;
}

export function createAutoScalingWorld({ clock, fleet, options }: AutoScalingWorldOptions): AutoScalingWorld {
  const service: Service = {
    clock,
    fleet,
    options: { ...defaultOptions, ...options },
    regions: new Map(),
    alarms: new Map(),
    events: [],
    health: () => undefined,
    ordinal: 0,
  };
  const timeline = new Timeline(service);
  return {
    operations: {
      ...groupOperations(service, timeline),
      ...memberOperations(service, timeline),
      ...refreshOperations(service, timeline),
      ...otherOperations(service, timeline),
    },
    events: service.events,
    ...stage(service, timeline),
  };
}

/** What tests set and see without the wire. */
function stage(service: Service, timeline: Timeline): Omit<AutoScalingWorld, "operations" | "events"> {
  const change = (key: GroupKey, action: (group: Group) => void) => {
    service.clock.now();
    const group = groupAt(service, key);
    action(group);
    timeline.settle(group);
  };
  return {
    addLaunchConfiguration: (place, configuration) => {
      regionOf(service, place).launchConfigurations.set(configuration.launchConfigurationName, configuration);
    },
    addGroup: ({ settled = true, ...request }) => {
      const group = createGroup(service, request);
      if (settled) fillGroup(service, group);
      timeline.settle(group);
      return group;
    },
    group: (key) => groupAt(service, key),
    refreshes: (key) => groupAt(service, key).refreshes,
    setHealth: (rule) => {
      service.health = healthFunction(rule);
      timeline.settleEverything();
    },
    setAlarm: (name, state) => {
      service.alarms.set(name, state);
      timeline.settleEverything();
    },
    setDesiredCapacity: (key, desired) =>
      change(key, (group) => {
        group.settings.desiredCapacity = desired;
        group.settings.maxSize = Math.max(group.settings.maxSize, desired);
      }),
    setProtection: (key, instanceId, isProtected) =>
      change(key, (group) => {
        memberOf(group, instanceId).protectedFromScaleIn = isProtected;
      }),
    enterStandby: (key, id) =>
      change(key, (group) => enterStandby(service, group, [memberOf(group, id)], true)),
    exitStandby: (key, id) => change(key, (group) => exitStandby(service, group, [memberOf(group, id)])),
    suspend: (key, ...names) =>
      change(key, (group) => {
        for (const name of names) group.suspended.add(name);
      }),
    resume: (key, ...names) =>
      change(key, (group) => {
        for (const name of names) group.suspended.delete(name);
      }),
    settle: () => timeline.settleEverything(),
  };
}

function groupAt(service: Service, key: GroupKey): Group {
  const found =
    typeof key === "string"
      ? [...service.regions.values()].flatMap((region) => region.groups.get(key) ?? [])
      : [regionOf(service, key).groups.get(key.name)].filter((group) => group !== undefined);
  const [group] = found;
  if (group === undefined || found.length > 1)
    throw new Error(`${found.length} groups answer to ${JSON.stringify(key)}`);
  return group;
}
