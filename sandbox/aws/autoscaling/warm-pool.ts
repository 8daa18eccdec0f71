/** A warm pool: instances that are started ahead and rest beside the group. User guide, Warm pools. */
import { activeRefresh } from "./group.ts";
import { iso, startActivity } from "./activities.ts";
import { isLeaving, isResting, terminationOrder, weightOf } from "./member.ts";
import { launchMember } from "./members.ts";
import { newId } from "./service.ts";
import { terminateMember } from "./termination.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";

export interface WarmPool {
  readonly minSize: number;
  /** Default: the group's MaxSize. */
  readonly maxGroupPreparedCapacity: number | undefined;
  readonly poolState: "Stopped" | "Running" | "Hibernated";
  /** Kept and shown; scaling in terminates all the same here. */
  readonly reuseOnScaleIn: boolean | undefined;
  /** It goes once its instances are gone. */
  readonly deleting: boolean;
}

export type WarmPoolRequest = Partial<Omit<WarmPool, "deleting">>;

export function warmPoolOf(request: WarmPoolRequest): WarmPool {
  return {
    minSize: request.minSize ?? 0,
    maxGroupPreparedCapacity: request.maxGroupPreparedCapacity,
    poolState: request.poolState ?? "Stopped",
    reuseOnScaleIn: request.reuseOnScaleIn,
    deleting: false,
  };
}

/** API reference, PutWarmPool: what the prepared capacity leaves beyond the desired one, and at least MinSize. */
export function warmPoolSize(group: Group): number {
  const { warmPool: pool, settings } = group;
  if (pool === undefined || pool.deleting || group.deleting) return 0;
  const prepared = (pool.maxGroupPreparedCapacity ?? settings.maxSize) - settings.desiredCapacity;
  return Math.max(pool.minSize, prepared, 0);
}

/** Those that are there or on their way. */
export function warmMembers(group: Group): Member[] {
  return group.warm.filter((member) => !isLeaving(member));
}

/** Keeps the pool at its size; an active refresh takes what is too much back itself. */
export function fillPool(service: Service, group: Group, now: number): boolean {
  const size = warmPoolSize(group);
  const members = warmMembers(group);
  if (group.warmPool?.deleting === true && group.warm.length === 0) {
    group.warmPool = undefined;
    return true;
  }
  if (members.length < size) return fill(service, group, size - members.length, now);
  const refreshes = activeRefresh(group) !== undefined && size > 0;
  const surplus = refreshes || group.suspended.has("Terminate") ? 0 : members.length - size;
  const leaving = members.filter(isResting).sort(terminationOrder).slice(0, Math.max(0, surplus));
  for (const member of leaving) terminateMember(service, group, member, now, "a smaller warm pool");
  return leaving.length > 0;
}

function fill(service: Service, group: Group, missing: number, now: number): boolean {
  if (group.suspended.has("Launch") || now < group.nextLaunchAt) return false;
  for (let count = 0; count < missing; count += 1) {
    if (launchMember(service, group, now, "the size of the warm pool", "warm") === undefined) break;
  }
  return true;
}

/** Scaling out takes ready instances of the pool first; answers with the units that are still missing. */
export function takeFromPool(service: Service, group: Group, units: number, now: number): number {
  let missing = units;
  for (const member of group.warm.filter(isResting)) {
    if (missing <= 0) break;
    missing -= weightOf(member);
    group.warm = group.warm.filter((other) => other !== member);
    group.members.push(member);
    member.lifecycleState = "Pending";
    member.until = now + service.options.launch;
    member.launchActivity = startActivity({
      activityId: newId(service),
      startTime: now,
      availabilityZone: member.availabilityZone,
      cause: `At ${iso(now)} an instance was taken from the warm pool in response to a difference between desired and actual capacity.`,
      description: `Launching a new EC2 instance from warm pool: ${member.instanceId}`,
      statusCode: "PreInService",
      progress: 30,
    });
    group.activities.push(member.launchActivity);
  }
  return missing;
}
