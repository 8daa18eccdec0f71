import { activeRefresh, liveMembers, membersIn, terminationOrder } from "./group.ts";
import { passesChecks } from "./health.ts";
import { launchMember, terminateMember } from "./members.ts";
import { boundsOf } from "./survey.ts";
import type { Group } from "./group.ts";
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
  return [replaceUnhealthy, scaleOut, scaleIn].map((part) => part(service, group, now)).includes(true);
}

function replaceUnhealthy(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("ReplaceUnhealthy") || group.suspended.has("Terminate")) return false;
  const unhealthy = membersIn(group, "InService").filter((member) => member.healthStatus === "Unhealthy");
  for (const member of unhealthy)
    terminateMember(service, group, member, now, "an instance failing its health checks");
  return unhealthy.length > 0;
}

function scaleOut(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("Launch") || now < group.nextLaunchAt) return false;
  const live = liveMembers(group).length;
  const { desiredCapacity } = group.settings;
  const why = `a difference between desired and actual capacity, increasing the capacity from ${live} to ${desiredCapacity}`;
  for (let count = live; count < desiredCapacity; count += 1) {
    if (launchMember(service, group, now, why) === undefined) break;
  }
  return live < desiredCapacity;
}

function scaleIn(service: Service, group: Group, now: number): boolean {
  if (group.suspended.has("Terminate")) return false;
  const live = liveMembers(group).length;
  const surplus = live - allowedSize(service, group);
  if (surplus <= 0) return false;
  const leaving = membersIn(group, "InService")
    .filter((member) => !member.protectedFromScaleIn || group.deleting)
    .sort(terminationOrder)
    .slice(0, surplus);
  const why = `a difference between desired and actual capacity, shrinking the capacity from ${live} to ${group.settings.desiredCapacity}`;
  for (const member of leaving) terminateMember(service, group, member, now, why);
  return leaving.length > 0;
}

/** A refresh may hold more instances than desired; it takes the surplus back itself, from those it replaces. */
function allowedSize(service: Service, group: Group): number {
  const { desiredCapacity } = group.settings;
  const refresh = activeRefresh(group);
  if (refresh === undefined || group.deleting) return desiredCapacity;
  const { ceiling, fallback } = boundsOf(service, group, refresh);
  return Math.max(ceiling, desiredCapacity + (fallback === "launch-first" ? 1 : 0));
}
