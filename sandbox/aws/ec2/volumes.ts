import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filtered } from "./filters.ts";
import { page } from "./paging.ts";
import { add, every, find, newResource, owned } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { tagSet } from "./tags.ts";

export interface Volume extends Resource {
  readonly kind: "volume";
  readonly size: number;
  readonly snapshotId: string | undefined;
  readonly availabilityZone: string;
  readonly volumeType: string;
  readonly encrypted: boolean;
  /** Undefined once detached. */
  attachment:
    | { readonly instanceId: string; readonly device: string; readonly deleteOnTermination: boolean }
    | undefined;
}

export type VolumeSeed = Omit<Volume, keyof Resource | "kind"> & {
  readonly tags: Readonly<Record<string, string>>;
};

export function addVolume(state: Ec2State, place: Place, seed: VolumeSeed): Volume {
  return add(state, { ...seed, ...newResource(state, place, "volume", seed.tags), kind: "volume" });
}

/** EC2 user guide, Preserve data when an instance is terminated: DeleteOnTermination decides. */
export function releaseVolumes(state: Ec2State, instanceId: string): void {
  for (const volume of every(state, "volume")) {
    if (volume.attachment?.instanceId !== instanceId) continue;
    if (volume.attachment.deleteOnTermination) state.resources.delete(volume.id);
    volume.attachment = undefined;
  }
}

const fields = {
  "attachment.instance-id": (volume: Volume) => volume.attachment?.instanceId,
  "attachment.device": (volume: Volume) => volume.attachment?.device,
  "availability-zone": (volume: Volume) => volume.availabilityZone,
  encrypted: (volume: Volume) => volume.encrypted,
  size: (volume: Volume) => volume.size,
  "snapshot-id": (volume: Volume) => volume.snapshotId,
  status: (volume: Volume) => status(volume),
  "volume-id": (volume: Volume) => volume.id,
  "volume-type": (volume: Volume) => volume.volumeType,
};

export function volumeOperations(state: Ec2State): Operations {
  return {
    DescribeVolumes(call) {
      const { items, nextToken } = page(state, call, filtered(call.query, fields, requested(state, call)), {
        action: "DescribeVolumes",
        bounds: [5, 1000],
        ids: "VolumeId",
      });
      return { nextToken, volumeSet: { item: items.map(rendered) } };
    },
    AttachVolume: (call) => attach(state, call),
    DetachVolume: (call) => detach(state, call),
    DeleteVolume(call) {
      const volume = find(state, call, "volume", call.query.required("VolumeId"));
      if (volume.attachment !== undefined) {
        throw new AwsError(
          "VolumeInUse",
          `Volume ${volume.id} is currently attached to ${volume.attachment.instanceId}`,
        );
      }
      state.resources.delete(volume.id);
      return { return: true };
    },
  };
}

/** EC2 API reference, AttachVolume: a free volume of the instance's zone, at a device name that is free. */
function attach(state: Ec2State, call: Call): Record<string, unknown> {
  const { query } = call;
  const volume = find(state, call, "volume", query.required("VolumeId"));
  const instance = find(state, call, "instance", query.required("InstanceId"));
  const device = query.required("Device");
  if (volume.attachment !== undefined) {
    throw new AwsError("VolumeInUse", `${volume.id} is already attached to an instance`);
  }
  if (volume.availabilityZone !== instance.availabilityZone) {
    const text = `The volume '${volume.id}' is not in the same availability zone as instance '${instance.id}'`;
    throw new AwsError("InvalidVolume.ZoneMismatch", text);
  }
  if (instance.state !== "running" && instance.state !== "stopped") {
    throw new AwsError("IncorrectState", `Instance '${instance.id}' is not 'running' or 'stopped'.`);
  }
  if (attachedTo(state, instance.id).some((other) => other.attachment?.device === device)) {
    const text = `Invalid value '${device}' for unixDevice. Attachment point ${device} is already in use`;
    throw new AwsError("InvalidParameterValue", text);
  }
  // EBS user guide, Preserve data when an instance is terminated: a volume that is attached later stays.
  volume.attachment = { instanceId: instance.id, device, deleteOnTermination: false };
  return renderedAttachment(volume, volume.attachment, "attaching");
}

/** EC2 API reference, DetachVolume: the root volume of an instance that is stopped only. */
function detach(state: Ec2State, call: Call): Record<string, unknown> {
  const volume = find(state, call, "volume", call.query.required("VolumeId"));
  const { attachment } = volume;
  if (attachment === undefined) {
    throw new AwsError("IncorrectState", `Volume '${volume.id}' is in the 'available' state.`);
  }
  const instance = find(state, call, "instance", attachment.instanceId);
  if (attachment.device === instance.rootDeviceName && instance.state !== "stopped") {
    const text = `Unable to detach root volume '${volume.id}' from instance '${instance.id}'`;
    throw new AwsError("OperationNotPermitted", text);
  }
  volume.attachment = undefined;
  return renderedAttachment(volume, attachment, "detaching");
}

export function attachedTo(state: Ec2State, instanceId: string): Volume[] {
  return every(state, "volume").filter((volume) => volume.attachment?.instanceId === instanceId);
}

function requested(state: Ec2State, call: Call): Volume[] {
  const ids = call.query.strings("VolumeId");
  if (ids.length === 0) return owned(state, call, "volume");
  return ids.map((id) => find(state, call, "volume", id));
}

function status(volume: Volume): string {
  return volume.attachment === undefined ? "available" : "in-use";
}

function renderedAttachment(
  volume: Volume,
  { instanceId, device, deleteOnTermination }: NonNullable<Volume["attachment"]>,
  status: string,
): Record<string, unknown> {
  const attachTime = new Date(volume.createdAt);
  return { volumeId: volume.id, instanceId, device, status, attachTime, deleteOnTermination };
}

function rendered(volume: Volume): Record<string, unknown> {
  const { attachment } = volume;
  const attached = attachment && renderedAttachment(volume, attachment, "attached");
  return {
    volumeId: volume.id,
    size: volume.size,
    snapshotId: volume.snapshotId,
    availabilityZone: volume.availabilityZone,
    status: status(volume),
    createTime: new Date(volume.createdAt),
    volumeType: volume.volumeType,
    encrypted: volume.encrypted,
    attachmentSet: { item: attached === undefined ? [] : [attached] },
    tagSet: tagSet(volume.tags),
  };
}
