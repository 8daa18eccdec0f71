/**
 * The part of an instance refresh that replaces the warm pool: after the live instances, with a floor and a ceiling of its
 * own (user guide, Instance maintenance policy: the range applies to group and warm pool separately).
 */
import { nextStep } from "./capacity.ts";
import { isArriving, isLeaving, isResting, terminationOrder } from "./member.ts";
import { launchMember } from "./members.ts";
import { boundsOf, targetTest } from "./survey.ts";
import { terminateMember } from "./termination.ts";
import { warmMembers, warmPoolSize } from "./warm-pool.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";

export interface WarmSurvey {
  readonly size: number;
  readonly updated: readonly Member[];
  /** What the refresh wants, in any state before termination. */
  readonly started: number;
  readonly ready: number;
  readonly pending: number;
  readonly terminating: number;
  readonly victims: readonly Member[];
}

/** Undefined where there is no warm pool. */
export function surveyWarm(service: Service, group: Group, refresh: InstanceRefresh): WarmSurvey | undefined {
  if (group.warmPool === undefined) return undefined;
  const isTarget = targetTest(service, group, refresh);
  const members = warmMembers(group);
  const resting = members.filter(isResting);
  return {
    size: warmPoolSize(group),
    updated: resting.filter(isTarget),
    started: members.filter(isTarget).length,
    ready: resting.length,
    pending: members.filter(isArriving).length,
    terminating: group.warm.filter(isLeaving).length,
    victims: resting.filter((member) => !isTarget(member)).sort(terminationOrder),
  };
}

export function isWarmPoolDone(seen: WarmSurvey | undefined): boolean {
  if (seen === undefined) return true;
  return seen.victims.length + seen.pending + seen.terminating === 0 && seen.ready >= seen.size;
}

export function stepWarmPool(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  seen: WarmSurvey,
  now: number,
): boolean {
  const { size, ready, pending, terminating, victims } = seen;
  const weights = victims.map(() => 1);
  const step = nextStep(
    { desired: size, ready, pending, terminating, victims: weights, idle: [], allowance: Infinity },
    boundsOf(service, group, refresh, size),
    service.options.countTerminating,
  );
  if (step.launch > 0 && now < group.nextLaunchAt) return false;
  for (const member of victims.slice(0, step.terminate))
    terminateMember(service, group, member, now, "an instance refresh");
  for (let count = 0; count < step.launch; count += 1) {
    if (launchMember(service, group, now, "an instance refresh", "warm") === undefined) break;
  }
  const acts = step.terminate + step.launch > 0;
  if (!acts && pending === 0 && terminating === 0) refresh.engine.stuckSince ??= now;
  return acts;
}

export function noteWarmProgress(refresh: InstanceRefresh, seen: WarmSurvey | undefined): void {
  const { engine } = refresh;
  const fresh = (seen?.updated ?? []).filter((member) => !engine.updated.has(member.instanceId));
  for (const member of fresh) engine.updated.add(member.instanceId);
  if (fresh.some((member) => member.ordinal > refresh.ordinal)) engine.stuckSince = undefined;
}
