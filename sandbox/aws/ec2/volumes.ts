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

function requested(state: Ec2State, call: Call): Volume[] {
  const ids = call.query.strings("VolumeId");
  if (ids.length === 0) return owned(state, call, "volume");
  return ids.map((id) => find(state, call, "volume", id));
}

function status(volume: Volume): string {
  return volume.attachment === undefined ? "available" : "in-use";
}

function rendered(volume: Volume): Record<string, unknown> {
  const { attachment } = volume;
  const attached = attachment && {
    volumeId: volume.id,
    instanceId: attachment.instanceId,
    device: attachment.device,
    status: "attached",
    attachTime: new Date(volume.createdAt),
    deleteOnTermination: attachment.deleteOnTermination,
  };
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
