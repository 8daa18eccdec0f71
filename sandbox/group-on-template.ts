import type { GroupRequest } from "./aws/autoscaling/world.ts";
import type { LaunchTemplate } from "./aws/ec2/launch-templates.ts";
import type { Place } from "./aws/fleet.ts";
import type { Sandbox } from "./sandbox.ts";

/** A group as somebody's Terraform leaves it, and the image that it runs. */
export interface GroupOnTemplate extends Omit<Partial<GroupRequest>, "region" | "accountId" | "name">, Place {
  readonly name: string;
  /** Default: an image of its own. */
  readonly imageId?: string;
  /** The launch template's name; default: the group's. */
  readonly template?: string;
}

/** Adds a group of two instances, or as many as `desired` says, on a launch template of its own. */
export function addGroupOnTemplate({ ec2, autoScaling }: Sandbox, group: GroupOnTemplate): LaunchTemplate {
  const { region, accountId, name, imageId, template: templateName = name, desired = 2, ...more } = group;
  const place = { region, accountId };
  const template = ec2.addLaunchTemplate(place, templateName, {
    ImageId: imageId ?? ec2.addImage(place, { name: `base of ${name}` }).id,
    InstanceType: "t3.small",
  });
  autoScaling.addGroup({
    min: 0,
    max: desired * 2 + 2,
    defaultInstanceWarmup: 30,
    healthCheckType: "ELB",
    ...more,
    ...place,
    name,
    desired,
    launchTemplate: { launchTemplateId: template.id, version: "1" },
  });
  return template;
}
