import type { Group, Member } from "./group.ts";

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
  const moments = healthMoments(rule, group, member);
  return now >= moments.from && now < moments.until;
}

/** From when until when a member is healthy. */
export function healthMoments(
  rule: HealthFunction,
  group: Group,
  member: Member,
): { from: number; until: number } {
  const plan = rule(member, group.name);
  const looksAtApplication = /ELB|VPC_LATTICE/.test(group.settings.healthCheckType);
  if (plan === undefined || (plan.source !== "EC2" && !looksAtApplication))
    return { from: -Infinity, until: Infinity };
  const start = member.inServiceAt ?? Infinity;
  return {
    from: plan.healthyAfter === "never" ? Infinity : start + (plan.healthyAfter ?? 0),
    until: Math.min(plan.unhealthyAt ?? Infinity, start + (plan.unhealthyAfter ?? Infinity)),
  };
}
