import { AwsError } from "../query.ts";
import { endActivity, iso, startActivity } from "./activities.ts";
import { activeRefresh, launchingConfiguration, liveMembers } from "./group.ts";
import { weightOf } from "./member.ts";
import { newId } from "./service.ts";
import { imageAlias, variantsOf } from "./target.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";
import type { Variant } from "./target.ts";

/**
 * Launches one instance from what the group launches now. A launch that EC2 refuses becomes a Failed activity and is
 * tried again later (user guide: Troubleshoot instance launch failures).
 */
export function launchMember(
  service: Service,
  group: Group,
  now: number,
  why: string,
  pool: "live" | "warm" = "live",
): Member | undefined {
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
    if (pool === "warm") member.lifecycleState = "Warmed:Pending";
    (pool === "warm" ? group.warm : group.members).push(member);
    return member;
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    failLaunch(service, group, now, activity, { message: error.message });
    return undefined;
  }
}

/**
 * Launches until so many capacity units are reached, "even if this results in an overage" (API reference,
 * LaunchTemplateOverrides: WeightedCapacity), or until a launch fails.
 */
export function launchUnits(service: Service, group: Group, now: number, units: number, why: string): void {
  let missing = units;
  while (missing > 0) {
    const member = launchMember(service, group, now, why);
    if (member === undefined) return;
    missing -= weightOf(member);
  }
}

export interface LaunchFailure {
  readonly message: string;
  /** The instance whose lifecycle action was abandoned. User guide, Tutorial: the activity is then Cancelled. */
  readonly abandoned?: string;
}

/** Ends the activity, puts the next try off, and lets an active refresh know that it makes no progress. */
export function failLaunch(
  service: Service,
  group: Group,
  now: number,
  activity: Member["launchActivity"],
  { message, abandoned }: LaunchFailure,
): void {
  const status =
    abandoned !== undefined || /Launching EC2 instance failed/.test(message)
      ? message
      : `${message.replace(/\.$/, "")}. Launching EC2 instance failed.`;
  const subject = abandoned === undefined ? "" : `: ${abandoned}`;
  if (activity !== undefined)
    activity.description = `Launching a new EC2 instance${subject}.  Status Reason: ${status}`;
  endActivity(activity, now, abandoned === undefined ? "Failed" : "Cancelled", status);
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
  const { imageId } = variant;
  const resolved = imageId.startsWith(imageAlias)
    ? service.fleet.resolveImage?.(group.place, imageId)
    : imageId;
  return { ...variant, imageId: resolved ?? imageId };
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
    actions: [],
    terminationActivity: undefined,
    hooked: false,
    becoming: undefined,
    rootVolumeReplaced: false,
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
  const load = new Map<string, number>();
  for (const { availabilityZone: zone } of liveMembers(group)) load.set(zone, (load.get(zone) ?? 0) + 1);
  const [first = `${group.place.region}a`, ...others] = group.settings.zones;
  return others.reduce((best, zone) => ((load.get(zone) ?? 0) < (load.get(best) ?? 0) ? zone : best), first);
}

export function enterService(group: Group, member: Member, now: number): void {
  member.lifecycleState = "InService";
  member.inServiceAt = now;
  const { launchActivity: activity } = member;
  if (activity === undefined || activity.endTime !== undefined) return;
  if ((group.settings.defaultInstanceWarmup ?? 0) > 0) activity.statusCode = "WaitingForInstanceWarmup";
  else endActivity(activity, now, "Successful");
}
