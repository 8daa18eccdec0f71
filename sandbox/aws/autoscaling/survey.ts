import { bounds } from "./capacity.ts";
import { liveMembers, membersIn, warmedAt } from "./group.ts";
import { isLeaving, terminationOrder, unitsOf } from "./member.ts";
import { passesChecks } from "./health.ts";
import { imageMatcher, matcher } from "./target.ts";
import type { Bounds } from "./capacity.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";

/** A group as its refresh, or the rollback of it, sees it at one moment. Numbers are of capacity units. */
export interface Survey {
  /** How much makes 100 %. */
  readonly counted: number;
  /** In service, healthy, warmed, and what the refresh wants. */
  readonly updated: readonly Member[];
  /** What the refresh wants, in any state before termination. */
  readonly started: number;
  readonly ready: number;
  readonly pending: number;
  readonly terminating: number;
  /** Ready and to be replaced, who goes first comes first. */
  readonly victims: readonly Member[];
  /** To be replaced, and serving nobody. */
  readonly idle: readonly Member[];
  /** Old instances that stay counted: how many instances the missing units are. */
  readonly remaining: readonly Member[];
  /** Number of standby or protected instances that the refresh waits for. */
  readonly awaited: number;
  /** Standby instances that the refresh terminates. */
  readonly standby: readonly Member[];
  readonly warming: Member | undefined;
  /** A replacement that should be healthy by now is not. */
  readonly troubled: boolean;
}

export function survey(service: Service, group: Group, refresh: InstanceRefresh, now: number): Survey {
  const isTarget = targetTest(service, group, refresh);
  const live = liveMembers(group);
  const ready = new Set(live.filter((member) => canServe(service, group, member, now)));
  const isReady = (member: Member) => ready.has(member);
  const targets = live.filter(isTarget);
  const wanted = new Set(targets);
  const old = live.filter((member) => !wanted.has(member)).sort(terminationOrder);
  const { scaleInProtectedInstances, standbyInstances } = refresh.preferences;
  const guarded = old.filter(
    (member) => member.protectedFromScaleIn && scaleInProtectedInstances !== "Refresh",
  );
  const replaceable = old.filter(
    (member) => !member.protectedFromScaleIn || scaleInProtectedInstances === "Refresh",
  );
  const [victims, others] = [replaceable.filter(isReady), replaceable.filter((member) => !isReady(member))];
  const idle = others.filter((member) => isIdle(service, group, refresh, member, now));
  const standby = membersIn(group, "Standby").filter((member) => !isTarget(member));
  const ignored = scaleInProtectedInstances === "Ignore" ? guarded : [];
  const untouched = unitsOf(targets.filter((member) => member.ordinal < refresh.ordinal));
  const leftOut = service.options.skipMatchCountsAsUpdated || refresh.rollback !== undefined ? 0 : untouched;
  const updated = targets.filter(isReady);
  return {
    counted: group.settings.desiredCapacity - unitsOf(ignored) - leftOut,
    updated: leftOut === 0 ? updated : updated.filter((member) => member.ordinal > refresh.ordinal),
    started: unitsOf(targets) - leftOut,
    ready: unitsOf([...ready]),
    pending: unitsOf(live) - unitsOf([...ready]),
    terminating: unitsOf(group.members.filter(isLeaving)),
    victims,
    idle,
    remaining: ignored.length === 0 ? old : replaceable,
    awaited: guarded.length - ignored.length + (standbyInstances === "Wait" ? standby.length : 0),
    standby: standbyInstances === "Terminate" ? standby : [],
    warming: targets.find((member) => now < (warmedAt(group, member) ?? -Infinity)),
    troubled: targets.some(
      (member) => member.ordinal > refresh.ordinal && isTroubled(service, group, member, now),
    ),
  };
}

/** In service, warmed up and healthy. */
function canServe(service: Service, group: Group, member: Member, now: number): boolean {
  return (
    member.lifecycleState === "InService" &&
    now >= (warmedAt(group, member) ?? Infinity) &&
    passesChecks(service.health, group, member, now)
  );
}

/**
 * Forward: with SkipMatching whatever matches is left alone; without it everything launched before is replaced, but what
 * was launched during the refresh is not replaced again while it matches (user guide: Use skip matching).
 * Rollback: only what this refresh launched is replaced.
 */
export function targetTest(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
): (member: Member) => boolean {
  const isRollback = refresh.rollback !== undefined;
  const wanted = isRollback
    ? refresh.savedConfiguration
    : (refresh.desiredConfiguration ?? group.configuration);
  const images = refresh.strategy === "ReplaceRootVolume" && refresh.preferences.skipMatching;
  const matches = (images && !isRollback ? imageMatcher : matcher)(service, group.place, wanted);
  if (isRollback) return (member) => member.ordinal < refresh.ordinal || matches(member);
  return (member) =>
    (refresh.preferences.skipMatching || member.ordinal > refresh.ordinal) && matches(member);
}

/** A rollback need not wait for instances it is going to replace; a refresh lets those on their way arrive. */
function isIdle(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  member: Member,
  now: number,
): boolean {
  if (refresh.rollback !== undefined) return true;
  return member.lifecycleState === "InService" && !passesChecks(service.health, group, member, now);
}

function isTroubled(service: Service, group: Group, member: Member, now: number): boolean {
  if (member.healthStatus === "Unhealthy") return true;
  return now >= (warmedAt(group, member) ?? Infinity) && !passesChecks(service.health, group, member, now);
}

export function boundsOf(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  desired = group.settings.desiredCapacity,
): Bounds {
  const { options } = service;
  return bounds(
    desired,
    {
      min: refresh.preferences.minHealthyPercentage,
      max: refresh.preferences.maxHealthyPercentage,
      maintenancePolicy: refresh.maintenancePolicy,
    },
    {
      roundMax: options.roundMax,
      countTerminating: options.countTerminating,
      cap: options.maxSizeCapsSurge ? group.settings.maxSize : undefined,
    },
  );
}

/** Percentage up to which the refresh goes at all: a last checkpoint below 100 ends it there. */
export function goalOf(refresh: InstanceRefresh): number {
  return refresh.preferences.checkpointPercentages.at(-1) ?? 100;
}

export function warmingReason(seen: Survey): string | undefined {
  return seen.warming === undefined
    ? undefined
    : `Waiting for instances to warm up before continuing. For example: ${seen.warming.instanceId} is warming up.`;
}

/** Notes what the replacements did for the hour without progress. */
export function noteProgress(refresh: InstanceRefresh, seen: Survey, now: number): void {
  const { engine } = refresh;
  const fresh = seen.updated.filter((member) => !engine.updated.has(member.instanceId));
  for (const member of fresh) engine.updated.add(member.instanceId);
  if (fresh.some((member) => member.ordinal > refresh.ordinal)) engine.stuckSince = undefined;
  if (seen.troubled) engine.stuckSince ??= now;
}
