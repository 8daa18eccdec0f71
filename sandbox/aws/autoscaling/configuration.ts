import { AwsError } from "../query.ts";
import { checkInteger, invalid } from "./constraints.ts";
import type { Query } from "../query.ts";
import type { Fleet, LaunchTemplateSpecification, Place } from "../fleet.ts";

/** What a group launches: exactly one of the three. A `Template` is `LaunchTemplateSpecification` or `TemplateReference`. */
interface ConfigurationOf<Template> {
  readonly launchConfigurationName?: string | undefined;
  readonly launchTemplate?: Template | undefined;
  readonly mixedInstancesPolicy?: MixedInstancesPolicyOf<Template> | undefined;
}

interface MixedInstancesPolicyOf<Template> {
  readonly launchTemplate: {
    readonly launchTemplateSpecification: Template;
    readonly overrides?: readonly OverrideOf<Template>[] | undefined;
  };
  /** As sent: `OnDemandBaseCapacity`, `SpotAllocationStrategy` and so on. */
  readonly instancesDistribution?: Readonly<Record<string, string>> | undefined;
}

interface OverrideOf<Template> {
  readonly instanceType?: string | undefined;
  readonly weightedCapacity?: string | undefined;
  readonly launchTemplateSpecification?: Template | undefined;
  readonly imageId?: string | undefined;
  /** As sent, in the flat form of the Query protocol. */
  readonly instanceRequirements?: Readonly<Record<string, string>> | undefined;
}

/** As groups keep it: id and name are both known, the version is as written (`$Latest`, `$Default` or a number). */
export interface TemplateReference {
  readonly launchTemplateId: string;
  readonly launchTemplateName: string;
  readonly version: string;
}

export type ConfigurationRequest = ConfigurationOf<LaunchTemplateSpecification>;
export type Configuration = ConfigurationOf<TemplateReference>;
export type Override = OverrideOf<TemplateReference>;

/** What the parameters say, or undefined where they say nothing about what to launch. */
export function readConfiguration(query: Query): ConfigurationRequest | undefined {
  const launchConfigurationName = query.string("LaunchConfigurationName");
  const template = query.struct("LaunchTemplate");
  const policy = query.struct("MixedInstancesPolicy");
  const given = [launchConfigurationName, template, policy].filter((part) => part !== undefined).length;
  if (given === 0) return undefined;
  if (given > 1) {
    throw new AwsError(
      "ValidationError",
      "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.",
    );
  }
  return {
    launchConfigurationName,
    launchTemplate: template === undefined ? undefined : readTemplate(template),
    mixedInstancesPolicy: policy === undefined ? undefined : readPolicy(policy),
  };
}

function readTemplate(query: Query): LaunchTemplateSpecification {
  return {
    launchTemplateId: query.string("LaunchTemplateId"),
    launchTemplateName: query.string("LaunchTemplateName"),
    version: query.string("Version"),
  };
}

function readPolicy(query: Query): NonNullable<ConfigurationRequest["mixedInstancesPolicy"]> {
  const specification = query.struct("LaunchTemplate.LaunchTemplateSpecification");
  if (specification === undefined) {
    throw new AwsError(
      "ValidationError",
      "The mixed instances policy must contain a LaunchTemplateSpecification.",
    );
  }
  const overrides = query.structs("LaunchTemplate.Overrides").map(readOverride);
  return {
    launchTemplate: { launchTemplateSpecification: readTemplate(specification), overrides },
    instancesDistribution: query.struct("InstancesDistribution")?.flat(),
  };
}

function readOverride(query: Query): OverrideOf<LaunchTemplateSpecification> {
  const own = query.struct("LaunchTemplateSpecification");
  return {
    instanceType: query.string("InstanceType"),
    weightedCapacity: query.string("WeightedCapacity"),
    imageId: query.string("ImageId"),
    launchTemplateSpecification: own === undefined ? undefined : readTemplate(own),
    instanceRequirements: query.struct("InstanceRequirements")?.flat(),
  };
}

/** API reference, LaunchTemplateOverrides: WeightedCapacity is 1 to 999, and given for all overrides or for none. */
function checkWeights(overrides: readonly OverrideOf<unknown>[]): void {
  const weights = overrides.flatMap((override) => override.weightedCapacity ?? []);
  for (const weight of weights) checkInteger("WeightedCapacity", weight, 1, 999);
  if (weights.length > 0 && weights.length < overrides.length)
    throw invalid("You must specify a weight for each of the overrides, or for none.");
}

/**
 * Looks the templates up. An absent version means `$Default` and is kept as that (API reference,
 * LaunchTemplateSpecification). Throws ValidationError where a template or version does not exist.
 */
export function normalise(fleet: Fleet, place: Place, request: ConfigurationRequest): Configuration {
  const refer = (specification: LaunchTemplateSpecification): TemplateReference => {
    const found = resolveTemplate(fleet, place, specification);
    return {
      launchTemplateId: found.launchTemplateId,
      launchTemplateName: found.launchTemplateName,
      version: specification.version ?? "$Default",
    };
  };
  const { launchTemplate, mixedInstancesPolicy: policy } = request;
  if (launchTemplate !== undefined) return { launchTemplate: refer(launchTemplate) };
  if (policy === undefined) return { launchConfigurationName: request.launchConfigurationName };
  checkWeights(policy.launchTemplate.overrides ?? []);
  return {
    mixedInstancesPolicy: {
      launchTemplate: {
        launchTemplateSpecification: refer(policy.launchTemplate.launchTemplateSpecification),
        overrides: (policy.launchTemplate.overrides ?? []).map((override) => {
          const own = override.launchTemplateSpecification;
          return Object.assign({}, override, {
            launchTemplateSpecification: own === undefined ? undefined : refer(own),
          });
        }),
      },
      instancesDistribution: policy.instancesDistribution,
    },
  };
}

export function resolveTemplate(fleet: Fleet, place: Place, specification: LaunchTemplateSpecification) {
  try {
    return fleet.launchTemplateVersion(place, specification);
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    throw new AwsError(
      "ValidationError",
      `You must use a valid fully-formed launch template. ${error.message}`,
    );
  }
}

/** All templates that a configuration names: its own and those of its overrides. */
export function templatesOf(configuration: Configuration): TemplateReference[] {
  const policy = configuration.mixedInstancesPolicy?.launchTemplate;
  const all = [
    configuration.launchTemplate,
    policy?.launchTemplateSpecification,
    ...(policy?.overrides ?? []).map((override) => override.launchTemplateSpecification),
  ];
  return all.filter((template) => template !== undefined);
}

/** Attribute-based instance type selection, as far as the group itself says so. */
export function usesInstanceRequirements(configuration: Configuration): boolean {
  const overrides = configuration.mixedInstancesPolicy?.launchTemplate.overrides ?? [];
  return overrides.some((override) => override.instanceRequirements !== undefined);
}
