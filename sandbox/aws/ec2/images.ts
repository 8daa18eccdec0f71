/** Images as they are seen: who may use them, in which state, and DescribeImages. */
import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filtered } from "./filters.ts";
import { page } from "./paging.ts";
import { every, isVisible, notFound } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { tagSet } from "./tags.ts";

export type ImageState =
  "pending" | "available" | "invalid" | "deregistered" | "transient" | "failed" | "error" | "disabled";

/** One entry of the launch permissions; exactly one field is set. */
export interface LaunchPermission {
  readonly userId?: string;
  readonly group?: string;
  readonly organizationArn?: string;
  readonly organizationalUnitArn?: string;
}

export interface BlockDevice {
  readonly deviceName: string;
  readonly snapshotId: string;
  readonly volumeSize: number;
  readonly volumeType: string;
  readonly encrypted: boolean;
  readonly deleteOnTermination: boolean;
}

export interface Image extends Resource {
  readonly kind: "image";
  readonly name: string;
  description: string | undefined;
  state: ImageState;
  stateReason: { readonly code: string; readonly message: string } | undefined;
  readonly architecture: string;
  readonly rootDeviceName: string;
  readonly virtualizationType: string;
  readonly enaSupport: boolean;
  readonly bootMode: string | undefined;
  imdsSupport: string | undefined;
  readonly blockDevices: readonly BlockDevice[];
  readonly sourceInstanceId: string | undefined;
  readonly sourceImageId: string | undefined;
  readonly sourceImageRegion: string | undefined;
  launchPermissions: readonly LaunchPermission[];
  /** When it was last used to launch an instance. */
  lastLaunchedAt: number | undefined;
  /** Sandbox time, ms. */
  deprecatedAt: number | undefined;
  protection: "disabled" | "enabled-without-cooldown" | "enabled-with-cooldown";
  /** Deregistration stays refused until then. */
  protectedUntil: number | undefined;
  deregisteredAt: number | undefined;
  /** `amazon` for Amazon's own and verified publishers' images. */
  readonly ownerAlias: string | undefined;
}

/** How an image's making ends when not well. */
export interface ImageOutcome {
  readonly state: "failed" | "error" | "invalid";
  readonly code: string;
  readonly message: string;
}

/**
 * EC2 API reference, DescribeImages: recently deregistered images are listed for a short interval, then results
 * are empty, and after all instances that reference the image are terminated its id is not found.
 */
function phase(state: Ec2State, image: Image): "listed" | "empty" | "gone" {
  if (image.deregisteredAt === undefined) return "listed";
  const { deregisteredListed, deregisteredEmpty } = state.settings.delays;
  const age = state.clock.now() - image.deregisteredAt;
  if (age < deregisteredListed) return "listed";
  const isReferenced = every(state, "instance").some(
    (instance) => instance.imageId === image.id && instance.state !== "terminated",
  );
  return age < deregisteredEmpty || isReferenced ? "empty" : "gone";
}

export function isPublic(image: Image): boolean {
  return image.launchPermissions.some((permission) => permission.group === "all");
}

function isSharedWith(image: Image, accountId: string): boolean {
  return image.launchPermissions.some((permission) => permission.userId === accountId);
}

/** EC2 user guide, Shared AMIs: an owner's own, public ones, and those with an explicit launch permission. */
function mayUse(image: Image, accountId: string): boolean {
  return image.ownerId === accountId || isPublic(image) || isSharedWith(image, accountId);
}

/** An image in a region that can be asked for now, whoever owns it. */
function present(state: Ec2State, region: string, imageId: string): Image | undefined {
  const image = state.resources.get(imageId);
  if (image?.kind !== "image" || image.region !== region) return undefined;
  return isVisible(state, image) && phase(state, image) !== "gone" ? image : undefined;
}

/** An image as an account sees it, or undefined where AWS says `InvalidAMIID.NotFound` or lists nothing. */
export function seenImage(state: Ec2State, place: Place, imageId: string): Image | undefined {
  const image = present(state, place.region, imageId);
  if (image === undefined || phase(state, image) !== "listed") return undefined;
  return mayUse(image, place.accountId) ? image : undefined;
}

/** The image for a change by its owner. */
export function ownImage(state: Ec2State, place: Place, imageId: string): Image {
  const image = present(state, place.region, imageId);
  if (image === undefined) throw notFound("image", imageId);
  if (image.ownerId !== place.accountId) throw notAuthorized(imageId);
  if (image.deregisteredAt !== undefined) {
    throw new AwsError("InvalidAMIID.Unavailable", `The image ID '${imageId}' is no longer available`);
  }
  return image;
}

/**
 * The image for a launch or a copy. Auto Scaling user guide, Troubleshoot AMI issues, has the texts; EC2 API
 * reference, Error codes: AuthFailure is for "trying to use an AMI for which you do not have permissions".
 */
export function launchableImage(state: Ec2State, place: Place, imageId: string): Image {
  const image = present(state, place.region, imageId);
  if (image === undefined || phase(state, image) !== "listed") throw notFound("image", imageId);
  if (!mayUse(image, place.accountId)) throw notAuthorized(imageId);
  if (image.state !== "available") {
    throw new AwsError("InvalidAMIID.Unavailable", `AMI ${imageId} is ${image.state}, and cannot be run.`);
  }
  return image;
}

function notAuthorized(imageId: string): AwsError {
  return new AwsError("AuthFailure", `Not authorized for images: [${imageId}]`);
}

const fields = {
  architecture: (image: Image) => image.architecture,
  "block-device-mapping.delete-on-termination": (image: Image) =>
    image.blockDevices.map((device) => String(device.deleteOnTermination)),
  "block-device-mapping.device-name": (image: Image) => image.blockDevices.map((device) => device.deviceName),
  "block-device-mapping.encrypted": (image: Image) =>
    image.blockDevices.map((device) => String(device.encrypted)),
  "block-device-mapping.snapshot-id": (image: Image) => image.blockDevices.map((device) => device.snapshotId),
  "block-device-mapping.volume-size": (image: Image) =>
    image.blockDevices.map((device) => String(device.volumeSize)),
  "block-device-mapping.volume-type": (image: Image) => image.blockDevices.map((device) => device.volumeType),
  "creation-date": (image: Image) => new Date(image.createdAt).toISOString(),
  description: (image: Image) => image.description,
  "ena-support": (image: Image) => image.enaSupport,
  hypervisor: () => "xen",
  "image-id": (image: Image) => image.id,
  "image-type": () => "machine",
  "is-public": (image: Image) => isPublic(image),
  name: (image: Image) => image.name,
  "owner-alias": (image: Image) => image.ownerAlias,
  "owner-id": (image: Image) => image.ownerId,
  "root-device-name": (image: Image) => image.rootDeviceName,
  "root-device-type": () => "ebs",
  "source-image-id": (image: Image) => image.sourceImageId,
  "source-image-region": (image: Image) => image.sourceImageRegion,
  "source-instance-id": (image: Image) => image.sourceInstanceId,
  state: (image: Image) => image.state,
  "state-reason-code": (image: Image) => image.stateReason?.code,
  "state-reason-message": (image: Image) => image.stateReason?.message,
  "virtualization-type": (image: Image) => image.virtualizationType,
};

export function imageOperations(state: Ec2State): Operations {
  return {
    DescribeImages(call) {
      const chosen = requested(state, call).filter((image) => isListed(state, call, image));
      const { items, nextToken } = page(state, call, filtered(call.query, fields, chosen), {
        action: "DescribeImages",
        ids: "ImageId",
      });
      return { nextToken, imagesSet: { item: items.map((image) => rendered(state, image)) } };
    },
  };
}

/** The images of the given ids (each must be there) or owners; those that are only empty results stay in. */
function requested(state: Ec2State, call: Call): Image[] {
  const ids = call.query.strings("ImageId");
  const usable = every(state, "image")
    .filter((image) => present(state, call.region, image.id) !== undefined)
    .filter((image) => mayUse(image, call.accountId));
  const missing = ids.filter((id) => !usable.some((image) => image.id === id));
  if (missing.length > 0) throw missingImages(missing);
  return usable.filter((image) => ids.length === 0 || ids.includes(image.id));
}

function missingImages(ids: readonly string[]): AwsError {
  const first = ids.find((id) => !id.startsWith("ami-")) ?? ids[0] ?? "";
  if (ids.length === 1 || !first.startsWith("ami-")) return notFound("image", first);
  return new AwsError("InvalidAMIID.NotFound", `The image ids '[${ids.join(", ")}]' do not exist`);
}

function isListed(state: Ec2State, call: Call, image: Image): boolean {
  const { query, accountId } = call;
  if (phase(state, image) !== "listed") return false;
  if (image.state === "disabled" && query.boolean("IncludeDisabled") !== true) return false;
  if (isHiddenByDeprecation(state, call, image)) return false;
  const owners = query.strings("Owner");
  const executors = query.strings("ExecutableBy");
  return (
    (owners.length === 0 || owners.some((owner) => isOwnedBy(image, owner, accountId))) &&
    (executors.length === 0 || executors.some((executor) => isExecutableBy(image, executor, accountId)))
  );
}

/** EC2 user guide, Deprecate an AMI: hidden from others' listings, unless asked for or named by its id. */
function isHiddenByDeprecation(state: Ec2State, { query, accountId }: Call, image: Image): boolean {
  if (image.deprecatedAt === undefined || image.deprecatedAt > state.clock.now()) return false;
  if (image.ownerId === accountId || query.boolean("IncludeDeprecated") === true) return false;
  return !query.strings("ImageId").includes(image.id);
}

function isOwnedBy(image: Image, owner: string, accountId: string): boolean {
  if (owner === "self") return image.ownerId === accountId;
  return image.ownerId === owner || image.ownerAlias === owner;
}

function isExecutableBy(image: Image, executor: string, accountId: string): boolean {
  if (executor === "all") return isPublic(image);
  return isSharedWith(image, executor === "self" ? accountId : executor);
}

/** EC2 API reference, Image, LastLaunchedTime: "there is a 24-hour delay before that usage is reported". */
function reportedLaunch(state: Ec2State, { lastLaunchedAt }: Image): Date | undefined {
  const known = lastLaunchedAt !== undefined && state.clock.now() - lastLaunchedAt >= 24 * 3_600_000;
  return known ? new Date(lastLaunchedAt) : undefined;
}

function rendered(state: Ec2State, image: Image): Record<string, unknown> {
  return {
    imageId: image.id,
    imageLocation: `${image.ownerId}/${image.name}`,
    imageState: image.state,
    stateReason: image.stateReason,
    imageOwnerId: image.ownerId,
    imageOwnerAlias: image.ownerAlias,
    creationDate: new Date(image.createdAt),
    deprecationTime: image.deprecatedAt === undefined ? undefined : new Date(image.deprecatedAt),
    isPublic: isPublic(image),
    architecture: image.architecture,
    imageType: "machine",
    name: image.name,
    description: image.description,
    rootDeviceType: "ebs",
    rootDeviceName: image.rootDeviceName,
    blockDeviceMapping: { item: renderedDevices(image) },
    virtualizationType: image.virtualizationType,
    enaSupport: image.enaSupport,
    bootMode: image.bootMode,
    imdsSupport: image.imdsSupport,
    hypervisor: "xen",
    platformDetails: "Linux/UNIX",
    usageOperation: "RunInstances",
    sourceInstanceId: image.sourceInstanceId,
    sourceImageId: image.sourceImageId,
    sourceImageRegion: image.sourceImageRegion,
    deregistrationProtection: image.protection,
    lastLaunchedTime: reportedLaunch(state, image),
    imageAllowed: true,
    tagSet: tagSet(image.tags),
  };
}

export function renderedDevices(image: Image): Record<string, unknown>[] {
  return image.blockDevices.map(({ deviceName, ...ebs }) => ({ deviceName, ebs }));
}
