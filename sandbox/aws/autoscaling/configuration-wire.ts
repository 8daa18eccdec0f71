import type { Configuration, TemplateReference } from "./configuration.ts";

/** A configuration as DescribeAutoScalingGroups and DescribeInstanceRefreshes show it. */
export function configurationOnWire(configuration: Configuration): Record<string, unknown> {
  const policy = configuration.mixedInstancesPolicy;
  return {
    LaunchConfigurationName: configuration.launchConfigurationName,
    LaunchTemplate: templateOnWire(configuration.launchTemplate),
    MixedInstancesPolicy:
      policy === undefined
        ? undefined
        : {
            LaunchTemplate: {
              LaunchTemplateSpecification: templateOnWire(policy.launchTemplate.launchTemplateSpecification),
              Overrides: {
                member: (policy.launchTemplate.overrides ?? []).map((override) => ({
                  InstanceType: override.instanceType,
                  WeightedCapacity: override.weightedCapacity,
                  ImageId: override.imageId,
                  LaunchTemplateSpecification: templateOnWire(override.launchTemplateSpecification),
                  InstanceRequirements:
                    override.instanceRequirements === undefined
                      ? undefined
                      : tree(override.instanceRequirements),
                })),
              },
            },
            InstancesDistribution: policy.instancesDistribution,
          },
  };
}

export function templateOnWire(template: TemplateReference | undefined): Record<string, unknown> | undefined {
  if (template === undefined) return undefined;
  return {
    LaunchTemplateId: template.launchTemplateId,
    LaunchTemplateName: template.launchTemplateName,
    Version: template.version,
  };
}

/** `{ "VCpuCount.Min": "2", "Types.member.1": "a" }` as nested structures and lists. */
function tree(flat: Readonly<Record<string, string>>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const groups = Map.groupBy(Object.entries(flat), ([key]) => key.split(".")[0] ?? key);
  for (const [name, entries] of groups) {
    const [first] = entries;
    if (first === undefined) continue;
    const below = entries.map(([key, value]) => [key.slice(name.length + 1), value] as const);
    if (name === "member") result[name] = below.map(([, value]) => value);
    else result[name] = first[0] === name ? first[1] : tree(Object.fromEntries(below));
  }
  return result;
}
