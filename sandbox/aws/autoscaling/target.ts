import { AwsError } from "../query.ts";
import { resolveTemplate } from "./configuration.ts";
import { regionOf } from "./service.ts";
import type { Place } from "../fleet.ts";
import type { Configuration, Override, TemplateReference } from "./configuration.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";

/** One way to launch that a configuration allows, its version resolved to a number. */
export interface Variant {
  readonly launchTemplate: TemplateReference | undefined;
  readonly launchConfigurationName: string | undefined;
  /** May be `resolve:ssm:…` or absent, as the template has it. */
  readonly imageId: string | undefined;
  readonly imageOverridden: boolean;
  readonly instanceType: string | undefined;
  readonly weightedCapacity: string | undefined;
}

/** All ways to launch, in order of preference; `$Latest` and `$Default` mean what they mean now. */
export function variantsOf(service: Service, place: Place, configuration: Configuration): Variant[] {
  const policy = configuration.mixedInstancesPolicy?.launchTemplate;
  if (policy !== undefined) {
    const overrides = policy.overrides ?? [];
    return overrides.length === 0
      ? [templateVariant(service, place, policy.launchTemplateSpecification)]
      : overrides.map((override) =>
          templateVariant(
            service,
            place,
            override.launchTemplateSpecification ?? policy.launchTemplateSpecification,
            override,
          ),
        );
  }
  if (configuration.launchTemplate !== undefined)
    return [templateVariant(service, place, configuration.launchTemplate)];
  const name = configuration.launchConfigurationName ?? "";
  const found = regionOf(service, place).launchConfigurations.get(name);
  if (found === undefined)
    throw new AwsError("ValidationError", `Launch configuration name not found - ${name}`);
  return [
    {
      launchTemplate: undefined,
      launchConfigurationName: name,
      imageId: found.imageId,
      imageOverridden: false,
      instanceType: found.instanceType,
      weightedCapacity: undefined,
    },
  ];
}

function templateVariant(
  service: Service,
  place: Place,
  template: TemplateReference,
  override?: Override,
): Variant {
  const resolved = resolveTemplate(service.fleet, place, {
    launchTemplateId: template.launchTemplateId,
    version: template.version,
  });
  return {
    launchTemplate: { ...template, version: resolved.version },
    launchConfigurationName: undefined,
    imageId: override?.imageId ?? resolved.imageId,
    imageOverridden: override?.imageId !== undefined,
    instanceType: override?.instanceType ?? resolved.instanceType,
    weightedCapacity: override?.weightedCapacity,
  };
}

/**
 * Whether a member is what a configuration would launch. User guide, Use skip matching: template, version and instance
 * types are compared; what the instance downloaded at boot is not seen.
 */
export function matcher(
  service: Service,
  place: Place,
  configuration: Configuration,
): (member: Member) => boolean {
  const variants = variantsOrNone(service, place, configuration);
  return (member) => variants.some((variant) => matchesVariant(variant, member));
}

/** The same for a refresh that replaces root volumes: it compares AMI ids (user guide: Replace root volumes). */
export function imageMatcher(
  service: Service,
  place: Place,
  configuration: Configuration,
): (member: Member) => boolean {
  const variants = variantsOrNone(service, place, configuration);
  return (member) =>
    variants.some(
      (variant) =>
        variant.instanceType === member.instanceType &&
        variant.imageId === (member.becoming ?? member).imageId,
    );
}

function matchesVariant(variant: Variant, member: Member): boolean {
  if (variant.instanceType !== undefined && variant.instanceType !== member.instanceType) return false;
  const origin = member.becoming ?? member;
  if (variant.launchTemplate === undefined)
    return variant.launchConfigurationName === origin.launchConfigurationName;
  return (
    variant.launchTemplate.launchTemplateId === origin.launchTemplate?.launchTemplateId &&
    variant.launchTemplate.version === origin.launchTemplate.version &&
    (variant.imageOverridden ? variant.imageId === origin.imageId : !origin.imageOverridden)
  );
}

/** A template that was deleted meanwhile matches nothing, and nothing can be launched from it. */
function variantsOrNone(service: Service, place: Place, configuration: Configuration): Variant[] {
  try {
    return variantsOf(service, place, configuration);
  } catch (error) {
    if (error instanceof AwsError) return [];
    throw error;
  }
}

/** User guide, Use AWS Systems Manager parameters instead of AMI IDs. */
export const imageAlias = "resolve:ssm:";

export function usesImageAlias(service: Service, place: Place, configuration: Configuration): boolean {
  return variantsOrNone(service, place, configuration).some((variant) =>
    variant.imageId?.startsWith(imageAlias),
  );
}

/** Throws ValidationError where an image of the configuration cannot be launched now. */
export function checkImages(service: Service, place: Place, configuration: Configuration): void {
  for (const { imageId } of variantsOf(service, place, configuration)) {
    if (imageId === undefined)
      throw new AwsError(
        "ValidationError",
        "You must use a valid fully-formed launch template. The request must contain the parameter ImageId",
      );
    if (imageId.startsWith(imageAlias)) continue;
    const image = service.fleet.image(place, imageId);
    if (image === undefined)
      throw new AwsError(
        "ValidationError",
        `You must use a valid fully-formed launch template. The image id '[${imageId}]' does not exist`,
      );
    if (image.state !== "available")
      throw new AwsError("ValidationError", `The AMI '${imageId}' is ${image.state}.`);
  }
}
