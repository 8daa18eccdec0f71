import { activeRefresh, liveMembers, membersIn } from "./group.ts";
import { terminationOrder, unitsOf, weightOf } from "./member.ts";
import { failedCheck, passesChecks } from "./health.ts";
import { launchUnits } from "./members.ts";
import { boundsOf } from "./survey.ts";
import { terminateMember } from "./termination.ts";
import { fillPool, takeFromPool } from "./warm-pool.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";

/** Marks members that fail their health checks, once their grace period is over. */
export function checkHealth(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("HealthCheck")) return false;
  const failing = membersIn(group, "InService").filter(
    (member) =>
      member.healthStatus === "Healthy" &&
      now >= (member.inServiceAt ?? Infinity) + group.settings.healthCheckGracePeriod * 1000 &&
      !passesChecks(service.health, group, member, now),
  );
  for (const member of failing) member.healthStatus = "Unhealthy";
  return failing.length > 0;
}

/** Replaces unhealthy members and keeps their number at the desired capacity. */
export function reconcile(service: Service, group: Group, now: number): boolean {
  return [replaceUnhealthy, scaleOut, scaleIn, fillPool]
    .map((part) => part(service, group, now))
    .includes(true);
}

function replaceUnhealthy(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("ReplaceUnhealthy") || group.suspended.has("Terminate")) return false;
  const unhealthy = membersIn(group, "InService").filter((member) => member.healthStatus === "Unhealthy");
  for (const member of unhealthy)
    terminateMember(service, group, member, now, failedCheck(service.health, group, member, now));
  group.unreplaced += unhealthy.length;
  return unhealthy.length > 0;
}

function scaleOut(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("Launch") || now < group.nextLaunchAt) return false;
  const live = unitsOf(liveMembers(group));
  const { desiredCapacity } = group.settings;
  const missing = takeFromPool(service, group, desiredCapacity - live, now);
  const why =
    group.unreplaced > 0
      ? "an unhealthy instance needing to be replaced"
      : `a difference between desired and actual capacity, increasing the capacity from ${live} to ${desiredCapacity}`;
  launchUnits(service, group, now, missing, why);
  if (unitsOf(liveMembers(group)) >= desiredCapacity) group.unreplaced = 0;
  return live < desiredCapacity;
}

function scaleIn(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("Terminate")) return false;
  const live = liveMembers(group);
  const serving = membersIn(group, "InService");
  // What is still on its way takes nobody's place: its launch may yet fail (not documented).
  const surplus = Math.min(
    unitsOf(live) - allowedSize(service, group),
    unitsOf(serving) - group.settings.desiredCapacity,
  );
  if (surplus <= 0) return false;
  const candidates = serving
    .filter((member) => !member.protectedFromScaleIn || group.deleting)
    .sort(terminationOrder);
  const leaving = withinUnits(candidates, surplus);
  const why = `a difference between desired and actual capacity, shrinking the capacity from ${unitsOf(live)} to ${group.settings.desiredCapacity}`;
  for (const member of leaving) terminateMember(service, group, member, now, why);
  return leaving.length > 0;
}

/** User guide, Configure instance weights: scaling in never goes below the desired capacity, so a heavy instance may stay. */
function withinUnits(members: readonly Member[], units: number): Member[] {
  let left = units;
  return members.filter((member) => {
    const fits = weightOf(member) <= left;
    if (fits) left -= weightOf(member);
    return fits;
  });
}

/** A refresh may hold more instances than desired; it takes the surplus back itself, from those it replaces. */
function allowedSize(service: Service, group: Group): number {
  const { desiredCapacity } = group.settings;
  const refresh = activeRefresh(group);
  if (refresh === undefined || group.deleting) return desiredCapacity;
  const { ceiling, fallback } = boundsOf(service, group, refresh);
  // The last launch of a step may overshoot the ceiling by all but one unit of its weight.
  const overshoot = Math.max(1, ...liveMembers(group).map(weightOf)) - 1;
  return Math.max(ceiling, desiredCapacity + (fallback === "launch-first" ? 1 : 0)) + overshoot;
}
