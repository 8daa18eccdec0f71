import { targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import type { TargetState } from "./target-state.ts";

/** Something about a target that would make a rollout fail, hang or hurt. */
export interface Finding {
  readonly fatal: boolean;
  readonly message: string;
  readonly remedy: string;
}

/** Processes without which an instance refresh makes no progress (user guide: suspend and resume processes). */
const NEEDED_PROCESSES = ["InstanceRefresh", "Launch", "Terminate"] as const;
const HELPFUL_PROCESSES = ["HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer"] as const;

/** The image as far as the preflight looks at it. */
export interface PreflightImage {
  readonly id: string;
  readonly architecture: string;
  readonly state: string;
}

/**
 * All findings about a target, fatal ones first. A pure function of what was read.
 * @param image undefined where it is still to be baked
 * @param preferences of the refresh: percent, and seconds where the rollout sets its own warm-up
 */
export function preflight(
  state: TargetState,
  image: PreflightImage | undefined,
  preferences: { readonly maxHealthy: number; readonly warmup: number | undefined },
): readonly Finding[] {
  return [
    ...suspendedProcesses(state),
    ...imageFindings(image),
    ...templateFindings(state),
    ...capacityFindings(state, preferences.maxHealthy),
    ...healthFindings(state, preferences.warmup ?? state.warmup),
  ]
    .map((finding) => ({ ...finding, message: `${targetName(state.target)}: ${finding.message}` }))
    .toSorted((a, b) => Number(b.fatal) - Number(a.fatal));
}

function suspendedProcesses(state: TargetState): Finding[] {
  const suspended = (names: readonly string[]): string[] =>
    names.filter((name) => state.suspendedProcesses.includes(name));
  return [
    ...suspended(NEEDED_PROCESSES).map((name) => ({
      fatal: true,
      message: `the process ${name} is suspended: a refresh would wait without end`,
      remedy: `Resume ${name} on the group.`,
    })),
    ...suspended(HELPFUL_PROCESSES).map((name) => ({
      fatal: false,
      message: `the process ${name} is suspended: bad instances may go unnoticed`,
      remedy: `Resume ${name} on the group.`,
    })),
  ];
}

function imageFindings(image: PreflightImage | undefined): Finding[] {
  if (image === undefined || image.state === "available") return [];
  return [
    {
      fatal: true,
      message: `image ${image.id} is ${image.state}`,
      remedy: "Wait until it is available, or bake anew with `rebake: always`.",
    },
  ];
}

function templateFindings({ template, managedBy }: TargetState): Finding[] {
  const findings: Finding[] = [];
  if (template.imageId?.startsWith("resolve:") === true) {
    findings.push({
      fatal: true,
      message: `the launch template takes its image from ${template.imageId}: AWS refuses a desired configuration for it`,
      remedy: "Set an AMI id in the launch template; this version of Kiln does not roll out to SSM aliases.",
    });
  }
  if (!/^\d+$/.test(template.written)) {
    findings.push({
      fatal: false,
      message: `the group launches from ${template.written} of ${template.name}: it is pinned to version ${template.version} first, which is what that means now; else any new version would be a release, and AWS could not roll back`,
      remedy: "Set a version number on the group, and let Kiln change it.",
    });
  }
  if (managedBy !== undefined) {
    findings.push({
      fatal: false,
      message: `it is managed by ${managedBy}, which will see the new template version as drift`,
      remedy:
        managedBy === "Terraform"
          ? "Add `lifecycle { ignore_changes = [launch_template] }` to the group."
          : "Leave the template version out of the stack's updates.",
    });
  }
  return findings;
}

function capacityFindings({ capacity, instances }: TargetState, maxHealthy: number): Finding[] {
  const findings: Finding[] = [];
  if (capacity.desired === 0) {
    findings.push({
      fatal: false,
      message: "the desired capacity is 0: nothing will be replaced and nothing verified",
      remedy: "Scale the group out to see the release run.",
    });
  } else if (Math.floor((capacity.desired * maxHealthy) / 100) > capacity.max) {
    findings.push({
      fatal: false,
      message: `the surge of this rollout goes over the group's maximum size of ${capacity.max} while it lasts`,
      remedy: "Check that quota and subnets have room for it.",
    });
  }
  const standby = instances
    .filter((instance) => instance.lifecycleState === "Standby")
    .map((instance) => instance.id);
  if (standby.length > 0) {
    findings.push({
      fatal: false,
      message: `${standby.join(", ")} in standby ${standby.length === 1 ? "is" : "are"} not replaced`,
      remedy: "Return them to service or terminate them.",
    });
  }
  return findings;
}

function healthFindings(state: TargetState, warmup: number | undefined): Finding[] {
  const findings: Finding[] = [];
  if (state.healthCheckType === "EC2" && state.behindLoadBalancer) {
    findings.push({
      fatal: false,
      message:
        "the health check is EC2's only, behind a load balancer: an image that boots but does not serve would be released",
      remedy: "Set the group's health check type to ELB.",
    });
  }
  if ((warmup ?? 0) === 0) {
    findings.push({
      fatal: false,
      message: "new instances have no warm-up: they count as good the moment they are in service",
      remedy: "Set `instance-warmup` in the rollout, or the group's default instance warmup.",
    });
  }
  return findings;
}

/** How long a rollout takes at least: batches, each with its warm-up. For people; milliseconds. */
export function estimate(state: TargetState, minHealthy: number, maxHealthy: number): string {
  const { desired } = state.capacity;
  if (desired === 0) return "no time";
  const batch = Math.max(
    1,
    Math.floor((desired * maxHealthy) / 100) - Math.ceil((desired * minHealthy) / 100),
  );
  const LAUNCH_SECONDS = 60;
  return `about ${formatDuration(Math.ceil(desired / batch) * (LAUNCH_SECONDS + (state.warmup ?? 0)) * 1000)}`;
}
