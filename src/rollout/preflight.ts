import type { RefreshPreferences, RefreshStrategy } from "@aws-sdk/client-auto-scaling";
import { targetName } from "../domain/application.ts";
import { isAlias } from "./launch-template.ts";
import { describeRefresh } from "./refresh.ts";
import { instanceTypes, type Surroundings } from "./surroundings.ts";
import {
  appliedInstanceType,
  isNumber,
  largestWeight,
  overridesOf,
  type TargetInstance,
  templatesOf,
  type TargetState,
} from "./target-state.ts";

/** Something about a target that would make a rollout fail, hang or hurt. */
export interface Finding {
  readonly fatal: boolean;
  readonly message: string;
  readonly remedy: string;
}

/** Processes without which an instance refresh makes no progress (user guide: suspend and resume processes). */
export const NEEDED_PROCESSES = ["InstanceRefresh", "Launch", "Terminate"] as const;
const HELPFUL_PROCESSES = ["HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer"] as const;

/** The image as far as the preflight looks at it. */
export interface PreflightImage {
  readonly id: string;
  readonly architecture: string;
  readonly state: string;
}

/** What is to be done to a target, as far as the preflight looks at it. */
export interface Intent {
  /** Undefined where it is still to be baked. */
  readonly image: PreflightImage | undefined;
  readonly preferences: RefreshPreferences;
  readonly strategy: RefreshStrategy;
  /** The environment's instance type. */
  readonly instanceType: string | undefined;
}

/** All findings about a target, fatal ones first. A pure function of what was read. */
export function preflight(
  state: TargetState,
  { alarms, architectures }: Surroundings,
  intent: Intent,
): readonly Finding[] {
  const { preferences, image } = intent;
  return [
    ...deletionFindings(state),
    ...suspendedProcesses(state),
    ...imageFindings(image),
    ...architectureFindings(instanceTypes(state, intent.instanceType), image, architectures),
    ...alarmFindings(preferences.AlarmSpecification?.Alarms ?? [], alarms),
    ...(intent.strategy === "ReplaceRootVolume" ? rootVolumeFindings(state) : []),
    ...templateFindings(state, intent.instanceType),
    ...refreshFindings(state),
    ...capacityFindings(state, preferences),
    ...instanceFindings(state, preferences),
    ...healthFindings(state, preferences.InstanceWarmup ?? state.warmup),
  ]
    .map((finding) => ({ ...finding, message: `${targetName(state.target)}: ${finding.message}` }))
    .toSorted((a, b) => Number(b.fatal) - Number(a.fatal));
}

const fatal = (message: string, remedy: string): Finding => ({ fatal: true, message, remedy });
const warning = (message: string, remedy: string): Finding => ({ fatal: false, message, remedy });

/** "The AutoScaling group may not be modified while it is pending delete." */
function deletionFindings({ isBeingDeleted, target }: TargetState): Finding[] {
  if (!isBeingDeleted) return [];
  return [
    fatal(
      "the group is being deleted: AWS starts no refresh of it any more",
      `Take ${target.autoScalingGroup} out of the config file, or name the group that replaces it.`,
    ),
  ];
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
    fatal(
      `image ${image.id} is ${image.state}`,
      "Wait until it is available, or bake anew with `rebake: always`.",
    ),
  ];
}

/** AWS starts the refresh all the same, and every launch fails (user guide: troubleshoot AMI issues). */
export function architectureFindings(
  types: readonly string[],
  image: PreflightImage | undefined,
  architectures: Surroundings["architectures"],
): Finding[] {
  if (image === undefined || image.architecture === "") return [];
  return types.flatMap((type) => {
    const supported = architectures.get(type);
    if (supported === undefined || supported.includes(image.architecture)) return [];
    return [
      fatal(
        `image ${image.id} is for ${image.architecture}, instances of type ${type} run ${supported.join(", ") || "nothing known"}`,
        `Bake the image for ${supported[0] ?? "that type"}, or set an instance type for ${image.architecture}.`,
      ),
    ];
  });
}

/** AWS refuses to start while an alarm is red, or has no data (user guide: undo changes with a rollback). */
function alarmFindings(names: readonly string[], states: Surroundings["alarms"]): Finding[] {
  return names.flatMap((name) => {
    const state = states.get(name);
    if (state === "OK") return [];
    if (state === undefined) {
      return [
        fatal(
          `there is no alarm ${name}`,
          "Correct `alarms` in the config file, or make the alarm in CloudWatch.",
        ),
      ];
    }
    return [
      fatal(
        `the alarm ${name} is in ${state} already: AWS would not start the rollout`,
        state === "ALARM"
          ? "See to the alarm first; to go back while it is red use `command: rollback` with `incident: true`."
          : "Give the alarm data, or have it treat missing data as good.",
      ),
    ];
  });
}

/** What the strategy needs of the group (user guide: replace root volume). */
function rootVolumeFindings(state: TargetState): Finding[] {
  const remedy = "Use another `strategy` for this environment.";
  return [
    ...(overridesOf(state).length === 0
      ? [
          fatal(
            "`replace-root-volume` needs a mixed instances policy with overrides, which the group has not",
            remedy,
          ),
        ]
      : []),
    ...(state.hasWarmPool ? [fatal("`replace-root-volume` does not work with a warm pool", remedy)] : []),
    ...(state.behindLoadBalancer
      ? [fatal("`replace-root-volume` does not work behind a load balancer", remedy)]
      : []),
  ];
}

function templateFindings(state: TargetState, instanceType: string | undefined): Finding[] {
  const findings: Finding[] = [];
  for (const template of templatesOf(state)) {
    if (isAlias(template.imageId)) {
      findings.push(
        warning(
          `${template.name} takes its image from ${template.imageId ?? ""}, with which AWS can neither start such a refresh nor roll it back: the group is first set to a version with the AMI that this means now`,
          "Put AMI ids into the launch template, and let Kiln change them.",
        ),
      );
    }
    if (!isNumber(template.written)) {
      findings.push(
        warning(
          `the group launches from ${template.written} of ${template.name}: it is pinned to version ${template.version} first, which is what that means now; else any new version would be a release, and AWS could not roll back`,
          "Set a version number on the group, and let Kiln change it.",
        ),
      );
    }
  }
  if (instanceType !== undefined && appliedInstanceType(state, instanceType) === undefined) {
    findings.push(
      warning(
        `\`instance-type: ${instanceType}\` changes nothing: the overrides of the mixed instances policy name the types`,
        "Remove `instance-type` from the environment, or the types from the overrides.",
      ),
    );
  }
  if (state.managedBy !== undefined) {
    findings.push(
      warning(
        `it is managed by ${state.managedBy}, which will see the new template version as drift`,
        state.managedBy === "Terraform"
          ? "Add `lifecycle { ignore_changes = [launch_template] }` to the group."
          : "Leave the template version out of the stack's updates.",
      ),
    );
  }
  return findings;
}

function refreshFindings({ activeRefresh }: TargetState): Finding[] {
  if (activeRefresh === undefined) return [];
  return [
    warning(
      `an instance refresh is running already: ${describeRefresh(activeRefresh)}`,
      "It is taken up where it brings this very release, else waited for.",
    ),
  ];
}

function capacityFindings(state: TargetState, preferences: RefreshPreferences): Finding[] {
  const { desired, max } = state.capacity;
  const { MinHealthyPercentage = 90, MaxHealthyPercentage = 100 } = preferences;
  if (desired === 0) {
    return [
      warning(
        "the desired capacity is 0: nothing will be replaced and nothing verified",
        "Scale the group out to see the release run.",
      ),
    ];
  }
  const findings: Finding[] = [];
  if (Math.floor((desired * MaxHealthyPercentage) / 100) > max) {
    findings.push(
      warning(
        `the surge of this rollout goes over the group's maximum size of ${max} while it lasts`,
        "Check that quota and subnets have room for it.",
      ),
    );
  }
  if (Math.ceil((desired * MinHealthyPercentage) / 100) === 0) {
    findings.push(
      warning(
        `no instance has to stay healthy (${MinHealthyPercentage} % of ${desired}): the group is down while ${desired === 1 ? "its only instance is" : "they are"} replaced`,
        "Use a strategy that launches first, such as `rolling`, where that is not meant.",
      ),
    );
  }
  const weight = largestWeight(state);
  if (weight > 1 && weight >= desired) {
    findings.push(
      warning(
        `an instance may weigh ${weight} of a desired capacity of ${desired}: AWS may replace all at once`,
        "Give the group more capacity than its heaviest instance.",
      ),
    );
  }
  if (state.hasWarmPool) {
    findings.push(
      warning(
        "it has a warm pool, which AWS replaces after the instances in service: until then an old instance may come out of it",
        "Nothing to do; the rollout takes longer for it.",
      ),
    );
  }
  return findings;
}

/** What becomes of instances that a refresh does not simply replace (API reference, RefreshPreferences). */
function instanceFindings({ instances }: TargetState, preferences: RefreshPreferences): Finding[] {
  const findings: Finding[] = [];
  const find = (
    these: (instance: TargetInstance) => boolean,
    words: (one: boolean, ids: string) => string,
    remedy: string,
  ): void => {
    const ids = instances.filter(these).map((instance) => instance.id);
    if (ids.length === 0) return;
    const shown =
      ids.length > SHOWN
        ? `${ids.slice(0, SHOWN).join(", ")} and ${ids.length - SHOWN} more`
        : ids.join(", ");
    findings.push(warning(words(ids.length === 1, shown), remedy));
  };
  const standby = preferences.StandbyInstances ?? "Wait";
  if (standby !== "Terminate") {
    find(
      ({ lifecycleState }) => lifecycleState === "Standby",
      (one, ids) =>
        standby === "Wait"
          ? `${ids} in standby: AWS waits an hour for ${one ? "it" : "them"}, then the rollout fails`
          : `${ids} in standby ${one ? "is" : "are"} not replaced`,
      "Return them to service or terminate them.",
    );
  }
  const isProtected = preferences.ScaleInProtectedInstances ?? "Wait";
  if (isProtected !== "Refresh") {
    find(
      (instance) => instance.protectedFromScaleIn && instance.lifecycleState === "InService",
      (one, ids) =>
        isProtected === "Wait"
          ? `${ids} protected from scale-in: AWS waits an hour for the protection to go, then the rollout fails`
          : `${ids}, protected from scale-in, ${one ? "is" : "are"} left on the old image`,
      "Remove the protection, or set `scale-in-protected: refresh`.",
    );
  }
  find(
    ({ lifecycleState }) => lifecycleState.startsWith("Pending") || lifecycleState.startsWith("Terminating"),
    (one, ids) => `${ids} ${one ? "is" : "are"} still coming or going`,
    "Nothing to do where that passes; a lifecycle hook that nobody completes holds the rollout up.",
  );
  find(
    (instance) => !instance.healthy && instance.lifecycleState === "InService",
    (one, ids) => `${ids} ${one ? "is" : "are"} unhealthy already, before anything was changed`,
    "See why: the release may not be the reason if it fails.",
  );
  return findings;
}

/** Ids named in one line. */
const SHOWN = 5;

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
