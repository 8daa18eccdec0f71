import { isDeepStrictEqual } from "node:util";
import {
  type AutoScalingGroup,
  DescribeAutoScalingGroupsCommand,
  DescribeInstanceRefreshesCommand,
  type InstanceRefresh,
  type LaunchTemplateOverrides,
  type LaunchTemplateSpecification,
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
  /** The templates that overrides of the mixed instances policy have of their own. */
  readonly overrideTemplates: readonly EffectiveTemplate[];
  /** Taken whole into the desired configuration where the group has one. */
  readonly mixedInstancesPolicy: MixedInstancesPolicy | undefined;
  readonly suspendedProcesses: readonly string[];
  /** DeleteAutoScalingGroup has begun, and waits for the instances to end (API reference, AutoScalingGroup, Status). */
  readonly isBeingDeleted: boolean;
  readonly healthCheckType: string;
  readonly behindLoadBalancer: boolean;
  /** Those whose health explains a failure; classic load balancers have none. */
  readonly targetGroupArns: readonly string[];
  readonly hasWarmPool: boolean;
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
  readonly healthy: boolean;
}

/** The launch template version that a specification of a group means now. */
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
  /** What the version says of itself: how those that Kiln made are known. */
  readonly description?: string | undefined;
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
 * Reads a target in three requests, the first two at the same time; one more for each template that overrides have.
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
  if (group === undefined) throw missingGroup(target, "Nothing was changed.");
  const [template, ...overrideTemplates] = await effectiveTemplates(ec2, group, target);
  if (template === undefined) throw launchConfiguration(group, target);
  return {
    target,
    template,
    overrideTemplates,
    capacity: { min: group.MinSize ?? 0, max: group.MaxSize ?? 0, desired: group.DesiredCapacity ?? 0 },
    instances: instancesOf(group),
    mixedInstancesPolicy: group.MixedInstancesPolicy,
    suspendedProcesses: (group.SuspendedProcesses ?? []).flatMap((process) => process.ProcessName ?? []),
    isBeingDeleted: /delete/i.test(group.Status ?? ""),
    healthCheckType: group.HealthCheckType ?? "EC2",
    behindLoadBalancer:
      (group.TargetGroupARNs ?? []).length > 0 ||
      (group.LoadBalancerNames ?? []).length > 0 ||
      (group.TrafficSources ?? []).length > 0,
    targetGroupArns: group.TargetGroupARNs ?? [],
    hasWarmPool: group.WarmPoolConfiguration !== undefined,
    warmup: group.DefaultInstanceWarmup ?? group.HealthCheckGracePeriod,
    activeRefresh: (refreshes.InstanceRefreshes ?? []).find((refresh) =>
      ACTIVE_STATUSES.has(refresh.Status ?? ""),
    ),
    managedBy: managerOf(group),
  };
}

function missingGroup(target: Target, state?: string): KilnError {
  return new KilnError(`There is no Auto Scaling group ${target.autoScalingGroup} in ${target.region}`, {
    state,
    next: "Check the name and region in the config file, and that the credentials are for the account that has the group.",
  });
}

function instancesOf(group: AutoScalingGroup): TargetInstance[] {
  return (group.Instances ?? []).map((instance) => ({
    id: instance.InstanceId ?? "",
    lifecycleState: instance.LifecycleState ?? "",
    templateId: instance.LaunchTemplate?.LaunchTemplateId,
    templateVersion: instance.LaunchTemplate?.Version,
    imageId: instance.ImageId,
    protectedFromScaleIn: instance.ProtectedFromScaleIn ?? false,
    healthy: (instance.HealthStatus ?? "Healthy").toLowerCase() === "healthy",
  }));
}

/**
 * What a group's instances and new launches are on now; one request. The version is as the group has it.
 * @throws KilnError if there is no such group
 */
export async function observeInstances(
  clients: AwsClients,
  target: Target,
): Promise<{
  readonly version: string | undefined;
  /** The desired capacity, in the group's units. */
  readonly desired: number;
  readonly all: readonly TargetInstance[];
  readonly inService: readonly TargetInstance[];
}> {
  const autoScaling = await clients.autoScaling(target.region);
  const { AutoScalingGroups } = await autoScaling.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [target.autoScalingGroup] }),
  );
  const group = AutoScalingGroups?.[0];
  if (group === undefined) throw missingGroup(target);
  const specification =
    group.LaunchTemplate ?? group.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification;
  const all = instancesOf(group);
  return {
    version: specification?.Version,
    desired: group.DesiredCapacity ?? 0,
    all,
    inService: all.filter(serves),
  };
}

function managerOf(group: AutoScalingGroup): string | undefined {
  const keys = (group.Tags ?? []).map((tag) => tag.Key ?? "");
  if (keys.some((key) => key.startsWith("aws:cloudformation:"))) return "CloudFormation";
  return keys.some((key) => /terraform/i.test(key)) ? "Terraform" : undefined;
}

/** The group's own template first, then those that overrides of its policy have; a request a template. */
async function effectiveTemplates(
  ec2: EC2Client,
  group: AutoScalingGroup,
  target: Target,
): Promise<EffectiveTemplate[]> {
  const policy = group.MixedInstancesPolicy?.LaunchTemplate;
  const specification = group.LaunchTemplate ?? policy?.LaunchTemplateSpecification;
  if (specification === undefined) throw launchConfiguration(group, target);
  const overrides = policy?.Overrides ?? [];
  if (overrides.some((override) => override.InstanceRequirements !== undefined)) {
    throw instanceRequirements(target);
  }
  const own = overrides.flatMap((override) => override.LaunchTemplateSpecification ?? []);
  const distinct = new Map([specification, ...own].map((each) => [specificationKey(each), each]));
  const found = await Promise.all([...distinct.values()].map((each) => effectiveTemplate(ec2, each, target)));
  // By id in one place and by name in another it is the same template.
  return [...new Map(found.map((each) => [`${each.id}@${each.written}`, each])).values()];
}

/** An absent version means $Default (API reference, LaunchTemplateSpecification). */
function writtenVersion(specification: LaunchTemplateSpecification): string {
  return specification.Version ?? "$Default";
}

function specificationKey(specification: LaunchTemplateSpecification): string {
  const template = specification.LaunchTemplateId ?? specification.LaunchTemplateName ?? "";
  return `${template}@${writtenVersion(specification)}`;
}

/** The template among some that a specification, by id or by name, means. */
export function templateOf(
  specification: LaunchTemplateSpecification,
  templates: readonly EffectiveTemplate[],
): EffectiveTemplate | undefined {
  return templates.find(
    (template) =>
      template.written === writtenVersion(specification) &&
      (specification.LaunchTemplateId === undefined
        ? template.name === specification.LaunchTemplateName
        : template.id === specification.LaunchTemplateId),
  );
}

async function effectiveTemplate(
  ec2: EC2Client,
  specification: LaunchTemplateSpecification,
  target: Target,
): Promise<EffectiveTemplate> {
  const written = writtenVersion(specification);
  const { LaunchTemplateId: id, LaunchTemplateName: name } = specification;
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({
      ...(id === undefined ? { LaunchTemplateName: name } : { LaunchTemplateId: id }),
      Versions: [written],
    }),
  );
  const found = LaunchTemplateVersions?.[0];
  if (found?.VersionNumber === undefined) {
    throw new KilnError(
      `${targetName(target)} launches from ${id ?? name ?? "?"} version ${written}, which does not exist`,
      {
        state: "Nothing was changed. The group cannot launch instances as it is.",
        next: "Set the group's launch template to a version that exists.",
      },
    );
  }
  if (found.LaunchTemplateData?.InstanceRequirements !== undefined) throw instanceRequirements(target);
  return {
    id: found.LaunchTemplateId ?? id ?? "",
    name: found.LaunchTemplateName ?? name ?? id ?? "",
    version: String(found.VersionNumber),
    written,
    imageId: found.LaunchTemplateData?.ImageId,
    instanceType: found.LaunchTemplateData?.InstanceType,
    description: found.VersionDescription,
  };
}

/** A refresh of such a group fails where it has a desired configuration or skips what matches (user guide: overview). */
function instanceRequirements(target: Target): KilnError {
  return new KilnError(
    `${targetName(target)} chooses its instance types by instance requirements: AWS fails a refresh with a desired configuration there`,
    {
      state: "Nothing was changed.",
      next: "Name the instance types in the overrides of the group's mixed instances policy instead.",
    },
  );
}

function launchConfiguration(group: AutoScalingGroup, target: Target): KilnError {
  return new KilnError(
    `${targetName(target)} launches from ${group.LaunchConfigurationName === undefined ? "no launch template" : `the launch configuration ${group.LaunchConfigurationName}`}`,
    {
      state: "Nothing was changed.",
      next: [
        "Move the group to a launch template first (a refresh from a launch configuration could not be rolled back):",
        "1. Copy the launch configuration to a launch template (console: Launch Configurations, Copy to launch template).",
        `2. aws autoscaling update-auto-scaling-group --region ${target.region} --auto-scaling-group-name ${target.autoScalingGroup} --launch-template LaunchTemplateName=<name>,Version=1`,
        "3. Run the job again.",
      ].join("\n"),
    },
  );
}

const serves = (instance: TargetInstance): boolean => instance.lifecycleState === "InService";

/** The instances that serve: those that a release is verified on. */
export function inService(state: TargetState): readonly TargetInstance[] {
  return state.instances.filter(serves);
}

/** A template version, pinned by number. */
export interface PinnedVersion {
  readonly id: string;
  readonly version: string;
}

/**
 * Whether an instance was launched from one of these versions, or has the image by an override or a replaced root
 * volume, which is when AWS tells it (API reference, Instance, ImageId).
 */
export function runsVersion(
  instance: TargetInstance,
  versions: readonly PinnedVersion[],
  imageId: string,
): boolean {
  if (instance.imageId !== undefined) return instance.imageId === imageId;
  return versions.some(
    ({ id, version }) => instance.templateId === id && instance.templateVersion === version,
  );
}

/** All templates that the group launches from, its own first. */
export function templatesOf(state: TargetState): readonly EffectiveTemplate[] {
  return [state.template, ...state.overrideTemplates];
}

/** The overrides of the group's mixed instances policy; none where it has no policy. */
export function overridesOf(state: TargetState): readonly LaunchTemplateOverrides[] {
  return state.mixedInstancesPolicy?.LaunchTemplate?.Overrides ?? [];
}

/** Whether a target launches what it launched when it was read before. */
export function launchesTheSame(now: TargetState, before: TargetState | undefined): boolean {
  const launches = (state: TargetState | undefined): unknown =>
    state && [templatesOf(state), state.mixedInstancesPolicy];
  return isDeepStrictEqual(launches(now), launches(before));
}

/** Every image that the group launches instances from now. */
export function launchedImages(state: TargetState): readonly (string | undefined)[] {
  const templates = templatesOf(state).map(({ imageId }) => imageId);
  return [...templates, ...overridesOf(state).flatMap((override) => override.ImageId ?? [])];
}

/** The heaviest instance in capacity units: the largest weight of the overrides, 1 without. */
export function largestWeight(state: TargetState): number {
  return Math.max(1, ...overridesOf(state).map((override) => Number(override.WeightedCapacity ?? 1)));
}

/** How many instances a refresh replaces: with weights that is another number than the capacity. */
export function instanceCount(state: TargetState): number {
  return largestWeight(state) === 1 ? state.capacity.desired : state.instances.length;
}

/** An environment's instance type, where the group has no overrides: else those name the types. */
export function appliedInstanceType(state: TargetState, wanted: string | undefined): string | undefined {
  return overridesOf(state).some((override) => override.InstanceType !== undefined) ? undefined : wanted;
}

export const isNumber = (version: string): boolean => /^\d+$/.test(version);

/**
 * Whether a target has nothing to be done for an image: new and running instances are on it, and no refresh is on its
 * way.
 * @param ignored instances that the rollout would leave alone
 */
export function alreadyRuns(
  state: TargetState,
  imageId: string,
  instanceType: string | undefined,
  ignored: (instance: TargetInstance) => boolean = () => false,
): boolean {
  const type = appliedInstanceType(state, instanceType);
  const templates = templatesOf(state);
  return (
    state.activeRefresh === undefined &&
    launchedImages(state).every((image) => image === imageId) &&
    (type === undefined || state.template.instanceType === type) &&
    templates.every(({ written }) => isNumber(written)) &&
    inService(state).every((instance) => ignored(instance) || runsVersion(instance, templates, imageId))
  );
}
