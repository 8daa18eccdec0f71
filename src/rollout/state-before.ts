import type { LaunchTemplateOverrides, MixedInstancesPolicy } from "@aws-sdk/client-auto-scaling";
import { DescribeLaunchTemplateVersionsCommand, type EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { sourceVersionOf } from "./launch-template.ts";
import { type EffectiveTemplate, templatesOf, type TargetState } from "./target-state.ts";

/**
 * What a target launched before the release that it runs now: Kiln's launch template versions say which version they were
 * made from. One request per template.
 * @returns undefined if that is not known: a version was not made by Kiln for a release, or its source is gone
 */
export async function stateBefore(clients: AwsClients, state: TargetState): Promise<TargetState | undefined> {
  const ec2 = await clients.ec2(state.target.region);
  const [template, ...overrideTemplates] = await Promise.all(
    templatesOf(state).map((each) => sourceOf(ec2, each)),
  );
  if (template === undefined || overrideTemplates.some((each) => each === undefined)) return undefined;
  const policy = state.mixedInstancesPolicy;
  return {
    ...state,
    template,
    overrideTemplates: overrideTemplates.filter((each) => each !== undefined),
    mixedInstancesPolicy: policy && withImage(policy, state.template.imageId, template.imageId),
  };
}

/** The version that a template's version was made from; `written` stays, as the group's policy refers to it. */
async function sourceOf(ec2: EC2Client, template: EffectiveTemplate): Promise<EffectiveTemplate | undefined> {
  const version = sourceVersionOf(template);
  if (version === undefined) return undefined;
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({
      LaunchTemplateId: template.id,
      MinVersion: version,
      MaxVersion: version,
    }),
  );
  const found = LaunchTemplateVersions?.find(({ VersionNumber }) => String(VersionNumber) === version);
  const { ImageId: imageId, InstanceType: instanceType } = found?.LaunchTemplateData ?? {};
  if (found === undefined || imageId === undefined || imageId === template.imageId) return undefined;
  return { ...template, version, imageId, instanceType, description: found.VersionDescription };
}

/** The policy with the earlier image in the overrides that have the release's. */
function withImage(
  policy: MixedInstancesPolicy,
  image: string | undefined,
  before: string | undefined,
): MixedInstancesPolicy {
  const overrides = policy.LaunchTemplate?.Overrides;
  if (overrides === undefined) return policy;
  const restored = overrides.map((override): LaunchTemplateOverrides =>
    override.ImageId !== undefined && override.ImageId === image && before !== undefined
      ? { ...override, ImageId: before }
      : override,
  );
  return { ...policy, LaunchTemplate: { ...policy.LaunchTemplate, Overrides: restored } };
}
