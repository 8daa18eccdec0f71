import type { Group } from "./group.ts";
import type { Member } from "./member.ts";

/** How an instance fares after it is in service. Absent properties: healthy at once and for good. */
export interface HealthPlan {
  /**
   * Who notices. `ELB` (the default) is the application's health: a group whose HealthCheckType is only `EC2` does not
   * look at it (API reference, CreateAutoScalingGroup: HealthCheckType).
   */
  readonly source?: "EC2" | "ELB";
  /** Milliseconds after entering service. */
  readonly healthyAfter?: number | "never";
  /** Turns unhealthy this many milliseconds after entering service. */
  readonly unhealthyAfter?: number;
  /** Turns unhealthy at this sandbox time. */
  readonly unhealthyAt?: number;
  /** The launch itself fails with this message once EC2 has accepted it (`Client.InternalError: Client error on launch.`). */
  readonly launchFailure?: string;
  /** Replacing the root volume by this image fails with this message. */
  readonly rootVolumeFailure?: string;
}

export type HealthSubject = Pick<
  Member,
  "instanceId" | "imageId" | "launchTemplate" | "instanceType" | "ordinal"
>;
export type HealthFunction = (member: HealthSubject, group: string) => HealthPlan | undefined;
/** A table is keyed by instance id, image id or template version, looked up in this order. */
export type HealthRule = HealthFunction | Readonly<Record<string, HealthPlan>>;

export function healthFunction(rule: HealthRule): HealthFunction {
  if (typeof rule === "function") return rule;
  return (member) =>
    rule[member.instanceId] ?? rule[member.imageId] ?? rule[member.launchTemplate?.version ?? ""];
}

/** Whether a member in service passes the health checks that its group looks at. */
export function passesChecks(rule: HealthFunction, group: Group, member: Member, now: number): boolean {
  if (member.healthStatus === "Unhealthy") return false;
  const plan = rule(member, group.name);
  return plan === undefined || !looksAt(group, plan) || isWithin(momentsOf(plan, member), now);
}

/** Whether a member could really serve, also where its group does not look at the application's health. */
export function serves(rule: HealthFunction, group: Group, member: Member, now: number): boolean {
  if (member.lifecycleState !== "InService" || member.healthStatus === "Unhealthy") return false;
  return isWithin(healthMoments(rule, group, member), now);
}

/** From when until when a member is healthy, whether its group looks at it or not. */
export function healthMoments(rule: HealthFunction, group: Group, member: Member): Moments {
  return momentsOf(rule(member, group.name), member);
}

/**
 * Why a member is replaced, in the words of the causes that AWS's knowledge centre quotes (Why did Amazon EC2 Auto Scaling
 * terminate an instance?).
 */
export function failedCheck(rule: HealthFunction, group: Group, member: Member, now: number): string {
  const plan = rule(member, group.name);
  if (plan === undefined || !looksAt(group, plan) || isWithin(momentsOf(plan, member), now))
    return "a user health-check";
  return plan.source === "EC2"
    ? "an EC2 instance status checks failure"
    : "an ELB system health check failure";
}

interface Moments {
  readonly from: number;
  readonly until: number;
}

function looksAt(group: Group, plan: HealthPlan): boolean {
  return plan.source === "EC2" || /ELB|VPC_LATTICE/.test(group.settings.healthCheckType);
}

function momentsOf(plan: HealthPlan | undefined, member: Member): Moments {
  if (plan === undefined) return { from: -Infinity, until: Infinity };
  const start = member.inServiceAt ?? Infinity;
  return {
    from: plan.healthyAfter === "never" ? Infinity : start + (plan.healthyAfter ?? 0),
    until: Math.min(plan.unhealthyAt ?? Infinity, start + (plan.unhealthyAfter ?? Infinity)),
  };
}

function isWithin({ from, until }: Moments, now: number): boolean {
  return now >= from && now < until;
}
