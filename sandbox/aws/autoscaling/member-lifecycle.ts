/** Lets states of members end where their time has come: what a member is after it was pending, drained, waited. */
import { endActivity } from "./activities.ts";
import { warmedAt } from "./group.ts";
import { abandonMessage, hooksFor, proceed, settleActions, waitForHooks } from "./hooks.ts";
import { enterService, failLaunch } from "./members.ts";
import { rootVolumeTransitions } from "./root-volume.ts";
import { drainsFirst, terminateMember } from "./termination.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service, Transition, Transitions } from "./service.ts";

const afterLaunch: Transition = (service, group, member, now) => {
  const failure = service.health(member, group.name)?.launchFailure;
  if (failure !== undefined) {
    failLaunch(service, group, now, member.launchActivity, { message: failure });
    remove(service, group, member, now);
  } else if (hooksFor(group, "launching").length > 0) waitForHooks(service, group, member, "launching", now);
  else arrive(service, group, member, now);
};

const afterLaunchingHooks: Transition = (service, group, member, now) => {
  const outcome = settleActions(member, now);
  if (outcome === "complete") proceed(member, now, service.options.proceed);
  else if (outcome !== undefined) {
    const message = abandonMessage(outcome);
    failLaunch(service, group, now, member.launchActivity, { message, abandoned: member.instanceId });
    // Whether it waits for terminating hooks is not documented; here it does not.
    terminateMember(service, group, member, now, "an abandoned lifecycle action", { hooked: false });
  }
};

const arrive: Transition = (_service, group, member, now) => {
  if (!member.lifecycleState.startsWith("Warmed:")) return enterService(group, member, now);
  member.lifecycleState = `Warmed:${group.warmPool?.poolState ?? "Stopped"}`;
  endActivity(member.launchActivity, now, "Successful");
};

const afterDraining: Transition = (service, group, member, now) => {
  if (member.hooked) waitForHooks(service, group, member, "terminating", now);
  else remove(service, group, member, now);
};

/** User guide, How lifecycle hooks work: both results terminate; ABANDON does not wait for the other hooks. */
const afterTerminatingHooks: Transition = (service, group, member, now) => {
  if (settleActions(member, now) === undefined) return;
  service.fleet.terminate(group.place, member.instanceId);
  const { options } = service;
  proceed(member, now, drainsFirst(group, member) ? options.proceed : options.drain);
};

const remove: Transition = (service, group, member, now) => {
  service.fleet.terminate(group.place, member.instanceId);
  endActivity(member.terminationActivity, now, "Successful");
  member.lifecycleState = "Terminated";
};

const transitions: Transitions = {
  Pending: afterLaunch,
  "Pending:Wait": afterLaunchingHooks,
  "Pending:Proceed": arrive,
  Terminating: afterDraining,
  "Terminating:Wait": afterTerminatingHooks,
  "Terminating:Proceed": remove,
  "Warmed:Pending": afterLaunch,
  "Warmed:Pending:Wait": afterLaunchingHooks,
  "Warmed:Pending:Proceed": arrive,
  "Warmed:Terminating": afterDraining,
  "Warmed:Terminating:Wait": afterTerminatingHooks,
  "Warmed:Terminating:Proceed": remove,
  ...rootVolumeTransitions,
};

export function settleMembers(service: Service, group: Group, now: number): boolean {
  const due = [...group.members, ...group.warm].filter(
    (member) => member.until !== undefined && member.until <= now,
  );
  if (due.length === 0) return false;
  for (const member of due) {
    member.until = undefined;
    transitions[member.lifecycleState]?.(service, group, member, now);
  }
  const isThere = (member: Member) => member.lifecycleState !== "Terminated";
  group.members = group.members.filter(isThere);
  group.warm = group.warm.filter(isThere);
  return true;
}

/** Ends the launch activities of members that have warmed up. */
export function settleWarmups(_service: Service, group: Group, now: number): boolean {
  const warmed = group.members.filter(
    (member) =>
      member.launchActivity?.statusCode === "WaitingForInstanceWarmup" &&
      now >= (warmedAt(group, member) ?? Infinity),
  );
  for (const member of warmed) endActivity(member.launchActivity, now, "Successful");
  return warmed.length > 0;
}
