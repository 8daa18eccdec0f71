import { AwsError } from "../../sandbox/aws/query.ts";
import type { Fleet, FleetLaunch, LaunchTemplateSpecification, Place } from "../../sandbox/aws/fleet.ts";

interface TemplateVersion {
  readonly imageId: string;
  readonly instanceType: string;
}

/** As much of EC2 as the refresh engine needs, so that its tests depend on nothing else. One place, templates by name. */
export class SmallFleet implements Fleet {
  readonly images = new Map<string, string>();
  readonly templates = new Map<string, TemplateVersion[]>();
  readonly defaults = new Map<string, number>();
  readonly launches: (FleetLaunch & { readonly instanceId: string })[] = [];
  readonly terminated: string[] = [];

  addImage(imageId: string, state = "available"): void {
    this.images.set(imageId, state);
  }

  /** Adds the next version of a template, and returns its number. */
  addVersion(template: string, imageId: string, instanceType = "t3.micro"): string {
    const versions = this.templates.get(template) ?? [];
    this.templates.set(template, [...versions, { imageId, instanceType }]);
    return String(versions.length + 1);
  }

  image(_place: Place, imageId: string) {
    const state = this.images.get(imageId);
    return state === undefined
      ? undefined
      : { imageId, state, architecture: "x86_64", ownerId: "111111111111" };
  }

  launchTemplateVersion(_place: Place, specification: LaunchTemplateSpecification) {
    const name =
      specification.launchTemplateName ?? specification.launchTemplateId?.replace(/^lt-/, "") ?? "";
    const versions = this.templates.get(name);
    if (versions === undefined)
      throw new AwsError("InvalidLaunchTemplateName.NotFoundException", `No template ${name}.`);
    const { version = "$Default" } = specification;
    const number =
      version === "$Latest"
        ? versions.length
        : version === "$Default"
          ? (this.defaults.get(name) ?? 1)
          : Number(version);
    const found = versions[number - 1];
    if (found === undefined)
      throw new AwsError("InvalidLaunchTemplateId.VersionNotFound", `No version ${version} of ${name}.`);
    return { launchTemplateId: `lt-${name}`, launchTemplateName: name, version: String(number), ...found };
  }

  launch(_place: Place, request: FleetLaunch): string {
    const state = this.images.get(request.imageId);
    if (state === undefined)
      throw new AwsError("InvalidAMIID.NotFound", `The image id '[${request.imageId}]' does not exist`);
    if (state !== "available")
      throw new AwsError("InvalidAMIID.Unavailable", `The image ID '${request.imageId}' is not available`);
    const instanceId = `i-${String(this.launches.length + 1).padStart(17, "0")}`;
    this.launches.push({ ...request, instanceId });
    return instanceId;
  }

  terminate(_place: Place, instanceId: string): void {
    if (!this.terminated.includes(instanceId)) this.terminated.push(instanceId);
  }
}
