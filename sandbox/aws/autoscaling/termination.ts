import { endActivity, iso, startActivity } from "./activities.ts";
import { hooksFor } from "./hooks.ts";
import { isLeaving } from "./member.ts";
import { newId } from "./service.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";

/** `hooked`: terminating hooks are waited for; not so where an instance never was in service. */
export function terminateMember(
  service: Service,
  group: Group,
  member: Member,
  now: number,
  why: string,
  { hooked = true }: { readonly hooked?: boolean } = {},
): void {
  if (isLeaving(member)) return;
  endActivity(member.launchActivity, now, "Cancelled");
  const drains = drainsFirst(group, member);
  member.terminationActivity = startActivity({
    activityId: newId(service),
    startTime: now,
    availabilityZone: member.availabilityZone,
    cause: `At ${iso(now)} an instance was taken out of service in response to ${why}.`,
    description: `Terminating EC2 instance: ${member.instanceId}`,
    statusCode: drains ? "WaitingForELBConnectionDraining" : "InProgress",
    progress: drains ? 50 : 0,
  });
  group.activities.push(member.terminationActivity);
  // API reference, DeleteAutoScalingGroup: ForceDelete deletes outstanding lifecycle actions too.
  member.hooked = hooked && !group.deleting && hooksFor(group, "terminating").length > 0;
  member.actions = [];
  member.lifecycleState = isWarm(member) ? "Warmed:Terminating" : "Terminating";
  member.until = now + (member.hooked && !drains ? 0 : service.options.drain);
  // A draining instance keeps running until its load balancer lets it go, and its hooks after that.
  if (!drains && !member.hooked) service.fleet.terminate(group.place, member.instanceId);
}

/** User guide, How lifecycle hooks work: deregistration and draining come first, then the hooks. */
export function drainsFirst(group: Group, member: Member): boolean {
  return !isWarm(member) && group.targetGroupArns.length + group.loadBalancerNames.length > 0;
}

function isWarm(member: Member): boolean {
  return member.lifecycleState.startsWith("Warmed:");
}
