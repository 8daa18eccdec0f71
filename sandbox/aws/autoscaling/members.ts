import { AwsError } from "../query.ts";
import { endActivity, iso, startActivity } from "./activities.ts";
import { activeRefresh, launchingConfiguration, liveMembers, warmedAt } from "./group.ts";
import { newId } from "./service.ts";
import { variantsOf } from "./target.ts";
import type { Group, Member } from "./group.ts";
import type { Service } from "./service.ts";
import type { Variant } from "./target.ts";

/**
 * Launches one instance from what the group launches now. A launch that EC2 refuses becomes a Failed activity and is
 * tried again later (user guide: Troubleshoot instance launch failures).
 */
export function launchMember(service: Service, group: Group, now: number, why: string): Member | undefined {
  const availabilityZone = emptiestZone(group);
  const activity = startActivity({
    activityId: newId(service),
    startTime: now,
    availabilityZone,
    cause: `At ${iso(now)} an instance was launched in response to ${why}.`,
    description: "Launching a new EC2 instance",
    statusCode: "PreInService",
    progress: 30,
  });
  group.activities.push(activity);
  try {
    const variant = pickVariant(service, group);
    const member = memberOf(service, group, now, variant, availabilityZone, activity);
    activity.description = `Launching a new EC2 instance: ${member.instanceId}`;
    group.members.push(member);
    return member;
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    failLaunch(service, group, now, activity, error.message);
    return undefined;
  }
}

function failLaunch(
  service: Service,
  group: Group,
  now: number,
  activity: Member["launchActivity"],
  message: string,
): void {
  const status = /Launching EC2 instance failed/.test(message)
    ? message
    : `${message.replace(/\.$/, "")}. Launching EC2 instance failed.`;
  if (activity !== undefined)
    activity.description = `Launching a new EC2 instance.  Status Reason: ${status}`;
  endActivity(activity, now, "Failed", status);
  group.nextLaunchAt = now + service.options.launchRetry;
  const refresh = activeRefresh(group);
  if (refresh !== undefined) refresh.engine.stuckSince ??= now;
}

function pickVariant(service: Service, group: Group): Variant & { readonly imageId: string } {
  const variants = variantsOf(service, group.place, launchingConfiguration(group));
  const index = service.options.pickOverride === "spread" ? service.ordinal % variants.length : 0;
  const variant = variants[index];
  if (variant?.imageId === undefined)
    throw new AwsError("ValidationError", "The request must contain the parameter ImageId");
  return { ...variant, imageId: variant.imageId };
}

function memberOf(
  service: Service,
  group: Group,
  now: number,
  variant: Variant & { readonly imageId: string },
  availabilityZone: string,
  launchActivity: Member["launchActivity"],
): Member {
  const instanceType = variant.instanceType ?? "t3.micro";
  service.ordinal += 1;
  const ordinal = service.ordinal;
  return {
    instanceId: runInstance(service, group, { ...variant, instanceType }, availabilityZone),
    ordinal,
    launchedAt: now,
    availabilityZone,
    instanceType,
    imageId: variant.imageId,
    imageOverridden: variant.imageOverridden,
    weightedCapacity: variant.weightedCapacity,
    launchTemplate: variant.launchTemplate,
    launchConfigurationName: variant.launchConfigurationName,
    launchActivity,
    lifecycleState: "Pending",
    healthStatus: "Healthy",
    protectedFromScaleIn: group.settings.newInstancesProtected,
    inServiceAt: undefined,
    until: now + service.options.launch,
    terminationActivity: undefined,
  };
}

function runInstance(
  service: Service,
  group: Group,
  variant: Variant & { readonly imageId: string; readonly instanceType: string },
  availabilityZone: string,
): string {
  const inherited = [...group.tags.values()].filter((tag) => tag.propagateAtLaunch);
  try {
    return service.fleet.launch(group.place, {
      imageId: variant.imageId,
      instanceType: variant.instanceType,
      availabilityZone,
      launchTemplate: variant.launchTemplate,
      tags: {
        ...Object.fromEntries(inherited.map((tag) => [tag.key, tag.value])),
        "aws:autoscaling:groupName": group.name,
      },
    });
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    throw new AwsError(error.code, launchMessage(service, group, variant.imageId, error));
  }
}

/** The texts of the user guide, Troubleshoot AMI issues; anything else as EC2 said it. */
function launchMessage(service: Service, group: Group, imageId: string, error: AwsError): string {
  const state = service.fleet.image(group.place, imageId)?.state;
  if (error.code === "InvalidAMIID.NotFound") return `The AMI ID ${imageId} does not exist`;
  if (error.code === "InvalidAMIID.Unavailable")
    return `AMI ${imageId} is ${state ?? "unavailable"}, and cannot be run`;
  return error.message;
}

function emptiestZone(group: Group): string {
  const load = (zone: string) =>
    liveMembers(group).filter((member) => member.availabilityZone === zone).length;
  const [first = `${group.place.region}a`, ...others] = group.settings.zones;
  return others.reduce((best, zone) => (load(zone) < load(best) ? zone : best), first);
}

export function terminateMember(
  service: Service,
  group: Group,
  member: Member,
  now: number,
  why: string,
): void {
  if (member.lifecycleState === "Terminating") return;
  endActivity(member.launchActivity, now, "Cancelled");
  const drains = group.targetGroupArns.length > 0 || group.loadBalancerNames.length > 0;
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
  member.lifecycleState = "Terminating";
  member.until = now + service.options.drain;
  // A draining instance keeps running until its load balancer lets it go.
  if (!drains) service.fleet.terminate(group.place, member.instanceId);
}

/** Lets `Pending` and `Terminating` end where their time has come. */
export function settleMembers(service: Service, group: Group, now: number): boolean {
  const due = group.members.filter((member) => member.until !== undefined && member.until <= now);
  for (const member of due) {
    member.until = undefined;
    if (member.lifecycleState === "Terminating") {
      service.fleet.terminate(group.place, member.instanceId);
      endActivity(member.terminationActivity, now, "Successful");
      group.members = group.members.filter((other) => other !== member);
    } else {
      enterService(service, group, member, now);
    }
  }
  return due.length > 0;
}

function enterService(service: Service, group: Group, member: Member, now: number): void {
  const failure = service.health(member, group.name)?.launchFailure;
  if (failure !== undefined) {
    failLaunch(service, group, now, member.launchActivity, failure);
    service.fleet.terminate(group.place, member.instanceId);
    group.members = group.members.filter((other) => other !== member);
    return;
  }
  member.lifecycleState = "InService";
  member.inServiceAt = now;
  const { launchActivity: activity } = member;
  if (activity !== undefined && (group.settings.defaultInstanceWarmup ?? 0) > 0)
    activity.statusCode = "WaitingForInstanceWarmup";
  else endActivity(activity, now, "Successful");
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
