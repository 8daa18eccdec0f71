import {
  type AutoScalingGroup,
  DescribeAutoScalingGroupsCommand,
  DescribeInstanceRefreshesCommand,
  type InstanceRefresh,
  type MixedInstancesPolicy,
} from "@aws-sdk/client-auto-scaling";
import { DescribeLaunchTemplateVersionsCommand, type EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { type Target, targetName } from "../domain/application.ts";
import { hasCode, KilnError } from "../domain/errors.ts";

/** What a target is and runs now, as AWS describes it. */
export interface TargetState {
  readonly target: Target;
  readonly capacity: { readonly min: number; readonly max: number; readonly desired: number };
  readonly instances: readonly TargetInstance[];
  /** What new instances are launched from now. */
  readonly template: EffectiveTemplate;
  /** Taken whole into the desired configuration where the group has one. */
  readonly mixedInstancesPolicy: MixedInstancesPolicy | undefined;
  readonly suspendedProcesses: readonly string[];
  readonly healthCheckType: string;
  readonly behindLoadBalancer: boolean;
  /** Seconds; undefined where neither the group nor the grace period sets one. */
  readonly warmup: number | undefined;
  /** A refresh that has not ended. */
  readonly activeRefresh: InstanceRefresh | undefined;
  /** `CloudFormation` or `Terraform`, where tags tell. */
  readonly managedBy: string | undefined;
}

export interface TargetInstance {
  readonly id: string;
  readonly lifecycleState: string;
  readonly templateId: string | undefined;
  readonly templateVersion: string | undefined;
  /** Only where the instance was launched with an image of its own (API reference, Instance, ImageId). */
  readonly imageId: string | undefined;
  readonly protectedFromScaleIn: boolean;
}

/** The launch template version that a group's specification means now. */
export interface EffectiveTemplate {
  readonly id: string;
  readonly name: string;
  /** A number, as a decimal string. */
  readonly version: string;
  /** As the group has it: the number, `$Latest` or `$Default`. */
  readonly written: string;
  /** `ami-…` or `resolve:ssm:…`. */
  readonly imageId: string | undefined;
  readonly instanceType: string | undefined;
}

/** Statuses of a refresh that goes on (API reference, InstanceRefreshStatus). */
export const ACTIVE_STATUSES: ReadonlySet<string> = new Set([
  "Pending",
  "InProgress",
  "Baking",
  "Cancelling",
  "RollbackInProgress",
]);

/** Newest refreshes looked at for an active one; only one can be, and AWS lists it among the first. */
const REFRESHES_READ = 10;

/**
 * Reads a target in three requests, the first two at the same time.
 * @throws KilnError where the group does not exist or is of a kind that this version does not roll out to
 */
export async function observeTarget(clients: AwsClients, target: Target): Promise<TargetState> {
  const [autoScaling, ec2] = await Promise.all([
    clients.autoScaling(target.region),
    clients.ec2(target.region),
  ]);
  const [groups, refreshes] = await Promise.all([
    autoScaling.send(
      new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [target.autoScalingGroup] }),
    ),
    autoScaling
      .send(
        new DescribeInstanceRefreshesCommand({
          AutoScalingGroupName: target.autoScalingGroup,
          MaxRecords: REFRESHES_READ,
        }),
      )
      // An unknown group is an error here and an empty list there; the latter is reported.
      .catch((error: unknown) => {
        if (hasCode(error, "ValidationError")) return { InstanceRefreshes: [] };
        throw error;
      }),
  ]);
  const group = groups.AutoScalingGroups?.[0];
  if (group === undefined) {
    throw new KilnError(`There is no Auto Scaling group ${target.autoScalingGroup} in ${target.region}`, {
      state: "Nothing was changed.",
      next: "Check the name and region in the config file, and that the credentials are for the account that has the group.",
    });
  }
  const template = await effectiveTemplate(ec2, group, target);
  return {
    target,
    template,
    capacity: { min: group.MinSize ?? 0, max: group.MaxSize ?? 0, desired: group.DesiredCapacity ?? 0 },
    instances: instancesOf(group),
    mixedInstancesPolicy: group.MixedInstancesPolicy,
    suspendedProcesses: (group.SuspendedProcesses ?? []).flatMap((process) => process.ProcessName ?? []),
    healthCheckType: group.HealthCheckType ?? "EC2",
    behindLoadBalancer:
      (group.TargetGroupARNs ?? []).length > 0 || (group.LoadBalancerNames ?? []).length > 0,
    warmup: group.DefaultInstanceWarmup ?? group.HealthCheckGracePeriod,
    activeRefresh: (refreshes.InstanceRefreshes ?? []).find((refresh) =>
      ACTIVE_STATUSES.has(refresh.Status ?? ""),
    ),
    managedBy: managerOf(group),
  };
}

function instancesOf(group: AutoScalingGroup): TargetInstance[] {
  return (group.Instances ?? []).map((instance) => ({
    id: instance.InstanceId ?? "",
    lifecycleState: instance.LifecycleState ?? "",
    templateId: instance.LaunchTemplate?.LaunchTemplateId,
    templateVersion: instance.LaunchTemplate?.Version,
    imageId: instance.ImageId,
    protectedFromScaleIn: instance.ProtectedFromScaleIn ?? false,
  }));
}

/** What a group's instances and new launches are on now; one request. The version is as the group has it. */
export async function observeInstances(
  clients: AwsClients,
  target: Target,
): Promise<{ readonly version: string | undefined; readonly inService: readonly TargetInstance[] }> {
  const autoScaling = await clients.autoScaling(target.region);
  const { AutoScalingGroups } = await autoScaling.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [target.autoScalingGroup] }),
  );
  const group = AutoScalingGroups?.[0];
  const specification =
    group?.LaunchTemplate ?? group?.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification;
  return {
    version: specification?.Version,
    inService: group === undefined ? [] : instancesOf(group).filter(serves),
  };
}

function managerOf(group: AutoScalingGroup): string | undefined {
  const keys = (group.Tags ?? []).map((tag) => tag.Key ?? "");
  if (keys.some((key) => key.startsWith("aws:cloudformation:"))) return "CloudFormation";
  return keys.some((key) => /terraform/i.test(key)) ? "Terraform" : undefined;
}

async function effectiveTemplate(
  ec2: EC2Client,
  group: AutoScalingGroup,
  target: Target,
): Promise<EffectiveTemplate> {
  const policy = group.MixedInstancesPolicy?.LaunchTemplate;
  const specification = group.LaunchTemplate ?? policy?.LaunchTemplateSpecification;
  const id = specification?.LaunchTemplateId;
  if (specification === undefined || id === undefined) throw launchConfiguration(group, target);
  if (
    policy?.Overrides?.some(
      (override) => override.LaunchTemplateSpecification ?? override.ImageId ?? override.InstanceRequirements,
    )
  ) {
    throw new KilnError(
      `${targetName(target)} has a mixed instances policy whose overrides have a template, an image or instance requirements of their own`,
      {
        state: "Nothing was changed.",
        next: "This version of Kiln rolls out to policies whose overrides name instance types only.",
      },
    );
  }
  // An absent version means $Default (API reference, LaunchTemplateSpecification).
  const written = specification.Version ?? "$Default";
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({ LaunchTemplateId: id, Versions: [written] }),
  );
  const found = LaunchTemplateVersions?.[0];
  if (found?.VersionNumber === undefined) {
    throw new KilnError(
      `${targetName(target)} launches from ${id} version ${written}, which does not exist`,
      {
        state: "Nothing was changed. The group cannot launch instances as it is.",
        next: "Set the group's launch template to a version that exists.",
      },
    );
  }
  return {
    id,
    name: found.LaunchTemplateName ?? id,
    version: String(found.VersionNumber),
    written,
    imageId: found.LaunchTemplateData?.ImageId,
    instanceType: found.LaunchTemplateData?.InstanceType,
  };
}

function launchConfiguration(group: AutoScalingGroup, target: Target): KilnError {
  return new KilnError(
    `${targetName(target)} launches from ${group.LaunchConfigurationName === undefined ? "no launch template" : `the launch configuration ${group.LaunchConfigurationName}`}`,
    {
      state: "Nothing was changed.",
      next: "Make a launch template with the same settings (console: Launch Configurations, Copy to launch template), set it on the group with a version number, and run the job again.",
    },
  );
}

const serves = (instance: TargetInstance): boolean => instance.lifecycleState === "InService";

/** The instances that serve: those that a release is verified on. */
export function inService(state: TargetState): readonly TargetInstance[] {
  return state.instances.filter(serves);
}

/** Whether an instance was launched from this version, without an image of its own that differs. */
export function runsVersion(
  instance: TargetInstance,
  template: { readonly id: string; readonly version: string },
  imageId: string,
): boolean {
  return (
    instance.templateId === template.id &&
    instance.templateVersion === template.version &&
    (instance.imageId === undefined || instance.imageId === imageId)
  );
}

/** Whether a target has nothing to be done for an image: new and running instances are on it, and no refresh is on its way. */
export function alreadyRuns(state: TargetState, imageId: string, instanceType: string | undefined): boolean {
  return (
    state.activeRefresh === undefined &&
    state.template.imageId === imageId &&
    (instanceType === undefined || state.template.instanceType === instanceType) &&
    /^\d+$/.test(state.template.written) &&
    inService(state).every((instance) => runsVersion(instance, state.template, imageId))
  );
}
