/**
 * Replaces root volumes in place, one member's life through it. User guide, Replace root volumes during instance refresh:
 * `ReplacingRootVolume`, where there are terminating hooks its `:Wait` and `:Proceed`, `RootVolumeReplaced`, where there
 * are launching hooks `Pending:Wait`, and `InService` again under the same instance id.
 */
import { endActivity, iso, startActivity } from "./activities.ts";
import { hooksFor, proceed, settleActions, waitForHooks } from "./hooks.ts";
import { enterService, failLaunch } from "./members.ts";
import { newId } from "./service.ts";
import { terminateMember } from "./termination.ts";
import type { Group } from "./group.ts";
import type { Member, Origin } from "./member.ts";
import type { Service, Transition, Transitions } from "./service.ts";

export function replaceRootVolume(
  service: Service,
  group: Group,
  member: Member,
  origin: Origin,
  now: number,
): void {
  const { imageId, imageOverridden, launchTemplate, launchConfigurationName } = origin;
  member.becoming = { imageId, imageOverridden, launchTemplate, launchConfigurationName };
  member.launchActivity = startActivity({
    activityId: newId(service),
    startTime: now,
    availabilityZone: member.availabilityZone,
    cause: `At ${iso(now)} the root volume of an instance was replaced in response to an instance refresh.`,
    description: `Replacing root volume of EC2 instance: ${member.instanceId}`,
    statusCode: "InPlaceUpdateInProgress",
    progress: 30,
  });
  group.activities.push(member.launchActivity);
  // From now on it counts as made during the refresh.
  member.ordinal = service.ordinal;
  member.lifecycleState = "ReplacingRootVolume";
  member.inServiceAt = undefined;
  member.until = now + (hooksFor(group, "terminating").length > 0 ? 0 : service.options.rootVolume);
}

const swap: Transition = (service, group, member, now) => {
  const { becoming } = member;
  if (becoming === undefined) return;
  const failure = service.health({ ...member, ...becoming }, group.name)?.rootVolumeFailure;
  if (failure !== undefined) {
    failLaunch(service, group, now, undefined, { message: failure });
    endActivity(member.launchActivity, now, "Failed", failure);
    // "Auto Scaling marks that instance for termination and replaces it with a new instance" (the same page).
    terminateMember(service, group, member, now, "a root volume replacement that failed", { hooked: false });
    return;
  }
  Object.assign(member, becoming);
  member.becoming = undefined;
  member.rootVolumeReplaced = true;
  member.healthStatus = "Healthy";
  service.fleet.replaceRootVolume?.(group.place, member.instanceId, becoming.imageId);
  member.lifecycleState = "RootVolumeReplaced";
  member.until = now + service.options.proceed;
};

const afterStart: Transition = (service, group, member, now) => {
  if (hooksFor(group, "terminating").length > 0) waitForHooks(service, group, member, "terminating", now);
  else swap(service, group, member, now);
};

/** What ABANDON does here is not documented: it goes on, as a terminating hook does elsewhere. */
const afterHooks: Transition = (service, _group, member, now) => {
  if (settleActions(member, now) !== undefined) proceed(member, now, service.options.rootVolume);
};

const afterReplacement: Transition = (service, group, member, now) => {
  if (hooksFor(group, "launching").length > 0) waitForHooks(service, group, member, "launching", now);
  else enterService(group, member, now);
};

export const rootVolumeTransitions: Transitions = {
  ReplacingRootVolume: afterStart,
  "ReplacingRootVolume:Wait": afterHooks,
  "ReplacingRootVolume:Proceed": swap,
  RootVolumeReplaced: afterReplacement,
};
