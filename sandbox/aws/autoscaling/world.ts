/**
 * The sandbox's Auto Scaling: groups with mixed instances policies and weights, lifecycle hooks and warm pools, instance
 * refreshes of both strategies, scaling activities. One world holds all accounts and regions.
 *
 * Not modelled: Spot (an InstancesDistribution is kept and shown, and nothing else), balancing of zones beyond taking the
 * emptiest, scaling policies, prices and capacity in the choice of an override, notifications of lifecycle hooks, health
 * checks in the warm pool, the return of instances to it on scaling in, and how many volumes an image has.
 */
import { createGroup, fillGroup } from "./group-creation.ts";
import { groupOperations } from "./group-operations.ts";
import { healthFunction } from "./health.ts";
import { completeHook, hookOperations } from "./hook-operations.ts";
import { enterStandby, exitStandby, memberOf, memberOperations } from "./member-operations.ts";
import { defaultOptions } from "./options.ts";
import { otherOperations } from "./other-operations.ts";
import { refreshOperations } from "./refresh-operations.ts";
import { regionOf } from "./service.ts";
import { Timeline } from "./timeline.ts";
import { warmPoolOperations } from "./warm-pool-operations.ts";
import { watchGroup } from "./watch.ts";
import type { SandboxClock } from "../../clock.ts";
import type { Fleet, Place } from "../fleet.ts";
import type { Operations } from "../query.ts";
import type { Group, Process } from "./group.ts";
import type { GroupRequest } from "./group-creation.ts";
import type { HookResult } from "./hooks.ts";
import type { HealthRule } from "./health.ts";
import type { AutoScalingOptions } from "./options.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { AlarmState, LaunchConfiguration, RefreshEvent, Service } from "./service.ts";
import type { HealthyWatch } from "./watch.ts";

export type {
  AlarmState,
  AutoScalingOptions,
  Group,
  GroupRequest,
  HealthRule,
  HealthyWatch,
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
  /** Counts from now on how few members are in service and really healthy at any instant. */
  watchHealthy(key: GroupKey): HealthyWatch;
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
  /** Ends the wait for a hook: that of one instance, or of all that wait for it now. */
  completeHook(key: GroupKey, hookName: string, result?: HookResult, instanceId?: string): void;
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
      ...hookOperations(service, timeline),
      ...warmPoolOperations(service, timeline),
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
    watchHealthy: (key) => watchGroup(service, groupAt(service, key)),
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
    completeHook: (key, hookName, result = "CONTINUE", instanceId) =>
      change(key, (group) => completeHook(group, hookName, result, instanceId, service.clock.now())),
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
