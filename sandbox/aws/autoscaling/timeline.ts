import { activeRefresh, liveMembers, warmedAt } from "./group.ts";
import { healthMoments } from "./health.ts";
import { settleMembers, settleWarmups } from "./members.ts";
import { checkHealth, reconcile } from "./reconciler.ts";
import { stepRefresh } from "./refresh-engine.ts";
import { isReplacing } from "./refresh.ts";
import { regionOf } from "./service.ts";
import type { Group } from "./group.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";

/**
 * Drives groups through time. A group's next state follows from its present one and from times kept in it, so one
 * event a group suffices: settle all that is due, then wake at the earliest time at which something can happen.
 */
export class Timeline {
  readonly #service: Service;
  readonly #alarms = new Map<Group, () => void>();
  readonly #busy = new Set<Group>();
  readonly #again = new Set<Group>();

  constructor(service: Service) {
    this.#service = service;
  }

  /** Call this after every change to a group. */
  settle(group: Group): void {
    this.#again.add(group);
    // The fleet may let time pass while it launches, and so call back into a group that is being settled.
    if (this.#busy.has(group)) return;
    this.#busy.add(group);
    try {
      while (this.#again.delete(group)) settleAll(this.#service, group);
    } finally {
      this.#busy.delete(group);
    }
    this.#arm(group);
  }

  settleEverything(): void {
    for (const region of this.#service.regions.values()) {
      for (const group of region.groups.values()) this.settle(group);
    }
  }

  #arm(group: Group): void {
    this.#alarms.get(group)?.();
    this.#alarms.delete(group);
    if (group.deleting && group.members.length === 0) {
      regionOf(this.#service, group.place).groups.delete(group.name);
      return;
    }
    const now = this.#service.clock.now();
    const next = Math.min(...moments(this.#service, group).filter((time) => time > now));
    if (next === Infinity) return;
    this.#alarms.set(
      group,
      // On a running clock time has passed since `now`.
      this.#service.clock.after(Math.max(0, next - this.#service.clock.now()), () => {
        this.settle(group);
      }),
    );
  }
}

const parts = [settleMembers, settleWarmups, checkHealth, stepRefresh, reconcile] as const;

function settleAll(service: Service, group: Group): void {
  const now = service.clock.now();
  for (let round = 0; round < 10_000; round += 1) {
    if (!parts.map((part) => part(service, group, now)).includes(true)) return;
  }
  throw new Error(
    `Group ${group.name} replaces instances for ever at one moment: give launches, grace or drain a duration`,
  );
}

/** Every time, past ones included, at which the group may change on its own. */
function moments(service: Service, group: Group): number[] {
  const grace = group.settings.healthCheckGracePeriod * 1000;
  const ofMembers = group.members.flatMap((member) => {
    const { from, until } = healthMoments(service.health, group, member);
    const graceEnd = (member.inServiceAt ?? Infinity) + grace;
    return [member.until ?? Infinity, warmedAt(group, member) ?? Infinity, graceEnd, from, until];
  });
  const refresh = activeRefresh(group);
  const short = liveMembers(group).length < group.settings.desiredCapacity;
  return [
    ...ofMembers,
    short || refresh !== undefined ? group.nextLaunchAt : Infinity,
    ...(refresh === undefined ? [] : refreshMoments(service, refresh)),
  ];
}

function refreshMoments(service: Service, refresh: InstanceRefresh): number[] {
  const { engine } = refresh;
  const { pending, stuckAfter, activeLimit, freezeStuckWhilePaused } = service.options;
  const frozen = engine.mode === "paused" && freezeStuckWhilePaused;
  return [
    refresh.createdAt + pending,
    engine.checkpointUntil ?? Infinity,
    engine.bakeUntil ?? Infinity,
    engine.stuckSince === undefined || frozen ? Infinity : engine.stuckSince + stuckAfter,
    isReplacing(refresh) ? engine.steppedAt + activeLimit - engine.active : Infinity,
  ];
}
