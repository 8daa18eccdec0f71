/** Groups with a mixed instances policy, for the tests of weights, overrides and root volumes. */
import { setStage } from "./autoscaling-stage.ts";
import type { SmallFleet } from "./small-fleet.ts";
import type { AutoScalingOptions, GroupRequest } from "../../sandbox/aws/autoscaling/world.ts";

export interface OverrideRequest {
  readonly type: string;
  readonly weight?: number;
  readonly image?: string;
  /** Name and version of a template of its own. */
  readonly template?: readonly [name: string, version: string];
}

/** `web` on version 1 of template `web`, with these overrides instead of the plain template. */
export function setMixedStage(
  overrides: readonly OverrideRequest[],
  group: Partial<GroupRequest> & { readonly settled?: boolean } = {},
  options: Partial<AutoScalingOptions> = {},
  prepare?: (fleet: SmallFleet) => void,
) {
  return setStage(
    {
      ...group,
      launchTemplate: undefined,
      mixedInstancesPolicy: {
        launchTemplate: {
          launchTemplateSpecification: { launchTemplateName: "web", version: "1" },
          overrides: overrides.map(({ type, weight, image, template }) => ({
            instanceType: type,
            weightedCapacity: weight === undefined ? undefined : String(weight),
            imageId: image,
            launchTemplateSpecification:
              template === undefined ? undefined : { launchTemplateName: template[0], version: template[1] },
          })),
        },
      },
    },
    options,
    prepare,
  );
}

/** A mixed instances policy as the parameters of a DesiredConfiguration. */
export function mixed(version: string, overrides: readonly OverrideRequest[]): Record<string, string> {
  const root = "MixedInstancesPolicy.LaunchTemplate";
  const fields: Record<string, string> = {
    [`${root}.LaunchTemplateSpecification.LaunchTemplateName`]: "web",
    [`${root}.LaunchTemplateSpecification.Version`]: version,
  };
  for (const [index, { type, weight, image, template }] of overrides.entries()) {
    const one = `${root}.Overrides.member.${index + 1}`;
    fields[`${one}.InstanceType`] = type;
    if (weight !== undefined) fields[`${one}.WeightedCapacity`] = String(weight);
    if (image !== undefined) fields[`${one}.ImageId`] = image;
    if (template === undefined) continue;
    fields[`${one}.LaunchTemplateSpecification.LaunchTemplateName`] = template[0];
    fields[`${one}.LaunchTemplateSpecification.Version`] = template[1];
  }
  return fields;
}
