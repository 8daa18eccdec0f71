import { activeRefresh, warmedAt } from "./group.ts";
import { healthMoments } from "./health.ts";
import { settleMembers, settleWarmups } from "./member-lifecycle.ts";
import { checkHealth, reconcile } from "./reconciler.ts";
import { stepRefresh } from "./refresh-engine.ts";
import { isReplacing } from "./refresh.ts";
import { regionOf } from "./service.ts";
import { observe } from "./watch.ts";
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
    let settledAt = -Infinity;
    try {
      while (this.#again.delete(group)) settledAt = settleAll(this.#service, group);
    } finally {
      this.#busy.delete(group);
    }
    this.#arm(group, settledAt);
  }

  settleEverything(): void {
    for (const region of this.#service.regions.values()) {
      for (const group of region.groups.values()) this.settle(group);
    }
  }

  /** On a running clock time has passed since the group was settled: what fell due meanwhile must not be lost. */
  #arm(group: Group, settledAt: number): void {
    this.#alarms.get(group)?.();
    this.#alarms.delete(group);
    if (group.deleting && group.members.length + group.warm.length === 0) {
      regionOf(this.#service, group.place).groups.delete(group.name);
      return;
    }
    const next = nextMoment(this.#service, group, settledAt);
    if (next === Infinity) return;
    this.#alarms.set(
      group,
      this.#service.clock.after(Math.max(0, next - this.#service.clock.now()), () => {
        this.settle(group);
      }),
    );
  }
}

const parts = [settleMembers, settleWarmups, checkHealth, stepRefresh, reconcile] as const;

/** Answers with the time up to which everything is done. */
function settleAll(service: Service, group: Group): number {
  const now = service.clock.now();
  for (let round = 0; round < 10_000; round += 1) {
    if (!parts.map((part) => settlePart(service, group, now, part)).includes(true)) return now;
  }
  throw new Error(
    `Group ${group.name} replaces instances for ever at one moment: give launches, grace or drain a duration`,
  );
}

function settlePart(service: Service, group: Group, now: number, part: (typeof parts)[number]): boolean {
  const changed = part(service, group, now);
  observe(service, group, now);
  return changed;
}

/** The first time after `now`, if any, at which the group may change on its own. */
function nextMoment(service: Service, group: Group, now: number): number {
  const grace = group.settings.healthCheckGracePeriod * 1000;
  const refresh = activeRefresh(group);
  let next = Infinity;
  const consider = (time: number | undefined) => {
    if (time !== undefined && time > now && time < next) next = time;
  };
  for (const member of [...group.members, ...group.warm]) {
    const { from, until } = healthMoments(service.health, group, member);
    const graceEnd = (member.inServiceAt ?? Infinity) + grace;
    for (const time of [member.until, warmedAt(group, member), graceEnd, from, until]) consider(time);
  }
  consider(group.nextLaunchAt);
  if (refresh !== undefined) for (const time of refreshMoments(service, refresh)) consider(time);
  return next;
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
