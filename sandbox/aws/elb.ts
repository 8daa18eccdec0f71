/**
 * Elastic Load Balancing (version 2), as far as it tells how targets are: DescribeTargetHealth. Target groups are not
 * made here: those that Auto Scaling groups name exist, and the groups' members are their targets.
 */
import type { SandboxClock } from "../clock.ts";
import { healthFunction, healthMoments } from "./autoscaling/health.ts";
import type { HealthFunction } from "./autoscaling/health.ts";
import type { AutoScalingWorld, Group, HealthRule } from "./autoscaling/world.ts";
import type { Place } from "./fleet.ts";
import { AwsError, Query } from "./query.ts";
import type { Call, Operations } from "./query.ts";

export interface UnhealthyReason {
  /** `Target.ResponseCodeMismatch`, `Target.Timeout`, `Target.FailedHealthChecks`, … */
  readonly reason: string;
  readonly description: string;
}

export interface ElbWorld {
  readonly operations: Operations;
  /** What unhealthy targets of an image say, from now on. */
  setReason(imageId: string, reason: UnhealthyReason): void;
  /** Tells the target groups alone. In a whole sandbox `autoScaling.setHealth` tells both, and is what tests call. */
  setHealth(rule: HealthRule): void;
}

export interface ElbWorldOptions {
  readonly clock: SandboxClock;
  readonly autoScaling: Pick<AutoScalingWorld, "operations" | "group">;
}

type Member = Group["members"][number];

interface TargetHealth {
  readonly State: "healthy" | "unhealthy" | "initial" | "draining" | "unused";
  readonly Reason?: string;
  readonly Description?: string;
}

interface Service extends ElbWorldOptions {
  readonly reasons: Map<string, UnhealthyReason>;
  health: HealthFunction;
}

export function createElbWorld(options: ElbWorldOptions): ElbWorld {
  const service: Service = { ...options, reasons: new Map(), health: () => undefined };
  return {
    operations: { DescribeTargetHealth: (call) => describe(service, call) },
    setReason: (imageId, reason) => service.reasons.set(imageId, reason),
    setHealth: (rule) => {
      service.health = healthFunction(rule);
    },
  };
}

/** API reference, DescribeTargetHealth: of the named targets or of all; one that is not registered is `unused`. */
function describe(service: Service, call: Call): Record<string, unknown> {
  const { query } = call;
  const arn = query.required("TargetGroupArn");
  const groups = groupsAt(service, call).filter((group) => group.targetGroupArns.includes(arn));
  if (groups.length === 0) throw new AwsError("TargetGroupNotFound", "One or more target groups not found");
  const registered = new Map(
    groups
      .flatMap((group) => group.members.map((member) => [member, healthOf(service, group, member)] as const))
      .flatMap(([member, health]) => (health === undefined ? [] : [[member.instanceId, health] as const])),
  );
  const asked = query.structs("Targets").map((target) => target.required("Id"));
  const ids = asked.length === 0 ? [...registered.keys()] : asked;
  const member = ids.map((Id) => ({
    Target: { Id, Port: 80 },
    HealthCheckPort: "80",
    TargetHealth: registered.get(Id) ?? notRegistered,
  }));
  return { TargetHealthDescriptions: { member } };
}

/** All Auto Scaling groups of a place, by the operation that everybody asks for them. */
function groupsAt({ autoScaling }: Service, { region, accountId, requestId }: Call): Group[] {
  const place: Place = { region, accountId };
  const names: string[] = [];
  let token: string | undefined;
  do {
    const query = new Query([
      ["MaxRecords", "100"],
      ["IncludeInstances", "false"],
      ["NextToken", token ?? ""],
    ]);
    const answer = autoScaling.operations["DescribeAutoScalingGroups"]?.({ ...place, query, requestId });
    const page = answer as
      { AutoScalingGroups: { member: { AutoScalingGroupName: string }[] }; NextToken?: string } | undefined;
    names.push(...(page?.AutoScalingGroups.member ?? []).map((group) => group.AutoScalingGroupName));
    token = page?.NextToken;
  } while (token !== undefined);
  return names.map((name) => autoScaling.group({ ...place, name }));
}

// API reference, TargetHealth: the reason codes of each state.
const notRegistered: TargetHealth = {
  State: "unused",
  Reason: "Target.NotRegistered",
  Description: "Target is not registered to the target group",
};
const registering: TargetHealth = {
  State: "initial",
  Reason: "Elb.RegistrationInProgress",
  Description: "Target registration is in progress",
};
const firstChecks: TargetHealth = {
  State: "initial",
  Reason: "Elb.InitialHealthChecking",
  Description: "Initial health checks in progress",
};
const draining: TargetHealth = {
  State: "draining",
  Reason: "Target.DeregistrationInProgress",
  Description: "Target deregistration is in progress",
};
const usualReason: UnhealthyReason = {
  reason: "Target.FailedHealthChecks",
  description: "Health checks failed with these codes: [502]",
};

/** Undefined for members that are no targets: Auto Scaling deregisters those on standby (user guide, Standby state). */
function healthOf(service: Service, group: Group, member: Member): TargetHealth | undefined {
  const state: string = member.lifecycleState;
  if (state.startsWith("Pending")) return registering;
  if (state.startsWith("Terminating")) return draining;
  if (state !== "InService") return undefined;
  const { from, until } = healthMoments(service.health, group, member);
  const now = service.clock.now();
  if (now >= from && now < until) return { State: "healthy" };
  // A target that is going to pass is still in its first checks; one that never will has failed enough of them.
  if (now < from && Number.isFinite(from)) return firstChecks;
  const { reason, description } = service.reasons.get(member.imageId) ?? usualReason;
  return { State: "unhealthy", Reason: reason, Description: description };
}
