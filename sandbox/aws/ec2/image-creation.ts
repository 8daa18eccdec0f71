/** How images come to be: CreateImage, CopyImage, RegisterImage, and their way from pending to available. */
import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { rememberTokens } from "./idempotency.ts";
import { launchableImage } from "./images.ts";
import type { BlockDevice, Image } from "./images.ts";
import type { Instance } from "./instances.ts";
import { addSnapshot } from "./snapshots.ts";
import type { Snapshot } from "./snapshots.ts";
import { add, every, find, newResource } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { specifiedTags } from "./tags.ts";

/** What a new image is made from; the rest has defaults. */
export type ImageSeed = Partial<Omit<Image, keyof Resource | "kind">> &
  Pick<Image, "name"> & { readonly tags?: Readonly<Record<string, string>> };

export function newImage(state: Ec2State, place: Place, seed: ImageSeed): Image {
  assertNameFree(state, place, seed.name);
  return add(state, {
    description: undefined,
    state: "pending",
    stateReason: undefined,
    architecture: "x86_64",
    rootDeviceName: "/dev/sda1",
    virtualizationType: "hvm",
    enaSupport: true,
    bootMode: undefined,
    imdsSupport: undefined,
    blockDevices: [],
    sourceInstanceId: undefined,
    sourceImageId: undefined,
    sourceImageRegion: undefined,
    launchPermissions: [],
    lastLaunchedAt: undefined,
    deprecatedAt: undefined,
    protection: "disabled",
    protectedUntil: undefined,
    deregisteredAt: undefined,
    ownerAlias: undefined,
    ...seed,
    ...newResource(state, place, "image", seed.tags ?? {}),
    kind: "image",
  });
}

/** EC2 API reference, Error codes: InvalidAMIName.Malformed and InvalidAMIName.Duplicate. */
function assertNameFree(state: Ec2State, place: Place, name: string): void {
  if (!/^[\w()[\] ./@'-]{3,128}$/.test(name)) {
    throw new AwsError(
      "InvalidAMIName.Malformed",
      "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_'",
    );
  }
  const released = state.clock.now() - state.settings.delays.nameRelease;
  const holder = every(state, "image").find(
    (image) =>
      image.name === name &&
      image.ownerId === place.accountId &&
      image.region === place.region &&
      (image.deregisteredAt === undefined || image.deregisteredAt > released),
  );
  if (holder !== undefined) {
    throw new AwsError("InvalidAMIName.Duplicate", `AMI name ${name} is already in use by AMI ${holder.id}`);
  }
}

/** Lets a pending image become available, or end as the test scripted it; its snapshots complete before it does. */
function develop(state: Ec2State, image: Image): void {
  const outcome = state.imageOutcomes.shift();
  const { image: delay } = state.settings.delays;
  const isPending = (): boolean => image.state === "pending" && image.deregisteredAt === undefined;
  state.clock.after(delay * 0.9, () => {
    if (isPending()) for (const snapshot of snapshotsOf(state, image)) snapshot.state = "completed";
  });
  state.clock.after(delay, () => {
    if (!isPending()) return;
    if (outcome === undefined) {
      image.state = "available";
      image.availableAt = state.clock.now();
    } else {
      image.state = outcome.state;
      image.stateReason = { code: outcome.code, message: outcome.message };
    }
  });
}

export function snapshotsOf(state: Ec2State, image: Image): Snapshot[] {
  return image.blockDevices
    .map((device) => state.resources.get(device.snapshotId))
    .filter((resource) => resource?.kind === "snapshot");
}

export function imageCreationOperations(state: Ec2State): Operations {
  const once = rememberTokens<string>();
  return {
    CreateImage: (call) => ({ imageId: createImage(state, call).id }),
    CopyImage: (call) => ({
      imageId: once(call, () => copyImage(state, call).id),
    }),
    RegisterImage: (call) => ({ imageId: registerImage(state, call).id }),
  };
}

function createImage(state: Ec2State, call: Call): Image {
  const { query } = call;
  const instance = find(state, call, "instance", query.required("InstanceId"));
  if (instance.state !== "running" && instance.state !== "stopped") {
    throw new AwsError("InvalidParameterValue", "Instance is not in state 'running' or 'stopped'");
  }
  const name = query.required("Name");
  assertNameFree(state, call, name);
  const image = newImage(state, call, {
    name,
    description: query.string("Description"),
    architecture: instance.architecture,
    rootDeviceName: instance.rootDeviceName,
    blockDevices: snapshotVolumes(state, call, instance),
    sourceInstanceId: instance.id,
    sourceImageId: instance.imageId,
    sourceImageRegion: instance.region,
    tags: specifiedTags(query, "image"),
  });
  develop(state, image);
  return image;
}

/** One pending snapshot for each volume of the instance, except those that the request leaves out with NoDevice. */
function snapshotVolumes(state: Ec2State, call: Call, instance: Instance): BlockDevice[] {
  const { query } = call;
  const mappings = query.structs("BlockDeviceMapping");
  const tags = specifiedTags(query, "snapshot");
  return every(state, "volume").flatMap((volume) => {
    const { attachment } = volume;
    if (attachment?.instanceId !== instance.id) return [];
    const mapping = mappings.find((mapping) => mapping.string("DeviceName") === attachment.device);
    if (mapping?.string("NoDevice") !== undefined) return [];
    const snapshot = addSnapshot(state, call, {
      volumeId: volume.id,
      volumeSize: volume.size,
      description: `Created by CreateImage(${instance.id})`,
      encrypted: volume.encrypted,
      state: "pending",
      tags,
    });
    const device = {
      deviceName: attachment.device,
      snapshotId: snapshot.id,
      volumeSize: volume.size,
      volumeType: volume.volumeType,
      encrypted: volume.encrypted,
      deleteOnTermination: attachment.deleteOnTermination,
    };
    return [overridden(device, mapping?.struct("Ebs"))];
  });
}

function overridden(device: BlockDevice, ebs: Query | undefined): BlockDevice {
  return {
    ...device,
    volumeSize: ebs?.number("VolumeSize") ?? device.volumeSize,
    volumeType: ebs?.string("VolumeType") ?? device.volumeType,
    deleteOnTermination: ebs?.boolean("DeleteOnTermination") ?? device.deleteOnTermination,
  };
}

/**
 * EC2 user guide, Copy an AMI: the request goes to the destination region; launch permissions are never copied, tags
 * only with CopyImageTags and only when the image is the caller's own.
 */
function copyImage(state: Ec2State, call: Call): Image {
  const { query } = call;
  const sourceRegion = query.required("SourceRegion");
  const source = launchableImage(state, { ...call, region: sourceRegion }, query.required("SourceImageId"));
  const name = query.required("Name");
  assertNameFree(state, call, name);
  const isTagged = query.boolean("CopyImageTags") === true && source.ownerId === call.accountId;
  const image = newImage(state, call, {
    ...imageContent(source),
    name,
    description: query.string("Description"),
    blockDevices: copySnapshots(state, call, source),
    sourceImageId: source.id,
    sourceImageRegion: sourceRegion,
    tags: { ...(isTagged ? userTags(source) : {}), ...specifiedTags(query, "image") },
  });
  develop(state, image);
  return image;
}

/** What a copy has in common with its source. */
function imageContent(
  source: Image,
): Pick<
  Image,
  "architecture" | "rootDeviceName" | "virtualizationType" | "enaSupport" | "bootMode" | "imdsSupport"
> {
  const { architecture, rootDeviceName, virtualizationType, enaSupport, bootMode, imdsSupport } = source;
  return { architecture, rootDeviceName, virtualizationType, enaSupport, bootMode, imdsSupport };
}

function userTags(source: Image): Record<string, string> {
  return Object.fromEntries(Object.entries(source.tags).filter(([key]) => !key.startsWith("aws:")));
}

function copySnapshots(state: Ec2State, call: Call, source: Image): BlockDevice[] {
  const tags = specifiedTags(call.query, "snapshot");
  return source.blockDevices.map((device) => {
    const encrypted = device.encrypted || call.query.boolean("Encrypted") === true;
    const snapshot = addSnapshot(state, call, {
      // EC2 API reference, CopySnapshot: copies have an arbitrary volume id that means nothing.
      volumeId: "vol-ffffffff",
      volumeSize: device.volumeSize,
      description: `Copied for DestinationAmi from SourceAmi ${source.id} for SourceSnapshot ${device.snapshotId}.`,
      encrypted,
      state: "pending",
      tags,
    });
    return { ...device, snapshotId: snapshot.id, encrypted };
  });
}

/** EC2 API reference, RegisterImage: the defaults are i386 and paravirtual, so that nobody relies on them. */
function registerImage(state: Ec2State, call: Call): Image {
  const { query } = call;
  const image = newImage(state, call, {
    name: query.required("Name"),
    description: query.string("Description"),
    architecture: query.string("Architecture") ?? "i386",
    virtualizationType: query.string("VirtualizationType") ?? "paravirtual",
    enaSupport: query.boolean("EnaSupport") === true,
    bootMode: query.string("BootMode"),
    imdsSupport: query.string("ImdsSupport"),
    rootDeviceName: query.string("RootDeviceName") ?? "/dev/sda1",
    blockDevices: query
      .structs("BlockDeviceMapping")
      .flatMap((mapping) => registeredDevice(state, call, mapping)),
    tags: specifiedTags(query, "image"),
  });
  develop(state, image);
  return image;
}

function registeredDevice(state: Ec2State, call: Call, mapping: Query): BlockDevice[] {
  const ebs = mapping.struct("Ebs");
  const snapshotId = ebs?.string("SnapshotId");
  if (snapshotId === undefined) return [];
  const snapshot = find(state, call, "snapshot", snapshotId);
  const device = {
    deviceName: mapping.required("DeviceName"),
    snapshotId,
    volumeSize: snapshot.volumeSize,
    volumeType: "gp2",
    encrypted: snapshot.encrypted,
    deleteOnTermination: true,
  };
  return [overridden(device, ebs)];
}
