import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filtered } from "./filters.ts";
import { page } from "./paging.ts";
import { add, every, find, isVisible, newResource, notFound } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { specifiedTags, tagSet } from "./tags.ts";

export interface Snapshot extends Resource {
  readonly kind: "snapshot";
  readonly volumeId: string;
  readonly volumeSize: number;
  readonly description: string;
  readonly encrypted: boolean;
  state: "pending" | "completed" | "error";
  /** Account ids, and `all` for everybody. */
  createVolumePermissions: string[];
}

export interface SnapshotSeed {
  readonly volumeId: string;
  readonly volumeSize: number;
  readonly description: string;
  readonly encrypted: boolean;
  readonly state: Snapshot["state"];
  readonly tags: Readonly<Record<string, string>>;
}

export function addSnapshot(state: Ec2State, place: Place, seed: SnapshotSeed): Snapshot {
  return add(state, {
    ...newResource(state, place, "snapshot", seed.tags),
    kind: "snapshot",
    volumeId: seed.volumeId,
    volumeSize: seed.volumeSize,
    description: seed.description,
    encrypted: seed.encrypted,
    state: seed.state,
    createVolumePermissions: [],
  });
}

const fields = {
  description: (snapshot: Snapshot) => snapshot.description,
  encrypted: (snapshot: Snapshot) => snapshot.encrypted,
  "owner-id": (snapshot: Snapshot) => snapshot.ownerId,
  progress: (snapshot: Snapshot) => progress(snapshot),
  "snapshot-id": (snapshot: Snapshot) => snapshot.id,
  "start-time": (snapshot: Snapshot) => new Date(snapshot.createdAt).toISOString(),
  status: (snapshot: Snapshot) => snapshot.state,
  "volume-id": (snapshot: Snapshot) => snapshot.volumeId,
  "volume-size": (snapshot: Snapshot) => snapshot.volumeSize,
};

export function snapshotOperations(state: Ec2State): Operations {
  return {
    DescribeSnapshots(call) {
      const snapshots = filtered(call.query, fields, requested(state, call));
      const { items, nextToken } = page(state, call, snapshots, {
        action: "DescribeSnapshots",
        bounds: [5, 1000],
        ids: "SnapshotId",
      });
      return { nextToken, snapshotSet: { item: items.map(rendered) } };
    },
    CreateSnapshot: (call) => rendered(createSnapshot(state, call)),
    DeleteSnapshot(call) {
      const snapshot = find(state, call, "snapshot", call.query.required("SnapshotId"));
      const imageId = imageUsing(state, snapshot.id);
      if (imageId !== undefined) {
        throw new AwsError(
          "InvalidSnapshot.InUse",
          `The snapshot ${snapshot.id} is currently in use by ${imageId}`,
        );
      }
      state.resources.delete(snapshot.id);
      return { return: true };
    },
    ModifySnapshotAttribute: (call) => modifyAttribute(state, call),
    DescribeSnapshotAttribute(call) {
      const snapshot = find(state, call, "snapshot", call.query.required("SnapshotId"));
      const item = snapshot.createVolumePermissions.map((grantee) =>
        grantee === "all" ? { group: grantee } : { userId: grantee },
      );
      return { snapshotId: snapshot.id, createVolumePermission: { item } };
    },
  };
}

/** EC2 API reference, CreateSnapshot: of a volume that is attached or not; tags only from the request. */
function createSnapshot(state: Ec2State, call: Call): Snapshot {
  const volume = find(state, call, "volume", call.query.required("VolumeId"));
  const snapshot = addSnapshot(state, call, {
    volumeId: volume.id,
    volumeSize: volume.size,
    description: call.query.string("Description") ?? "",
    encrypted: volume.encrypted,
    state: "pending",
    tags: specifiedTags(call.query, "snapshot"),
  });
  state.clock.after(state.settings.delays.snapshot, () => {
    if (snapshot.state === "pending") snapshot.state = "completed";
  });
  return snapshot;
}

/** The registered image that a snapshot belongs to, if any (EC2 API reference, DeleteSnapshot). */
export function imageUsing(state: Ec2State, snapshotId: string): string | undefined {
  return every(state, "image").find(
    (image) =>
      image.deregisteredAt === undefined &&
      image.blockDevices.some((device) => device.snapshotId === snapshotId),
  )?.id;
}

function requested(state: Ec2State, call: Call): Snapshot[] {
  const usable = every(state, "snapshot").filter(
    (snapshot) =>
      snapshot.region === call.region &&
      isVisible(state, snapshot) &&
      [snapshot.ownerId, ...snapshot.createVolumePermissions].some(
        (id) => id === call.accountId || id === "all",
      ),
  );
  const ids = call.query.strings("SnapshotId");
  const missing = ids.find((id) => !usable.some((snapshot) => snapshot.id === id));
  if (missing !== undefined) throw notFound("snapshot", missing);
  const owners = call.query.strings("Owner").map((owner) => (owner === "self" ? call.accountId : owner));
  return usable
    .filter((snapshot) => ids.length === 0 || ids.includes(snapshot.id))
    .filter((snapshot) => owners.length === 0 || owners.includes(snapshot.ownerId));
}

function modifyAttribute(state: Ec2State, call: Call): Record<string, unknown> {
  const { query } = call;
  const snapshot = find(state, call, "snapshot", query.required("SnapshotId"));
  const grantees = (list: string): string[] =>
    (query.struct("CreateVolumePermission")?.structs(list) ?? []).flatMap(
      (item) => item.string("UserId") ?? item.string("Group") ?? [],
    );
  // The older form names the operation and lists the accounts; Packer uses it.
  const listed = [...query.strings("UserId"), ...query.strings("UserGroup")];
  const isRemoval = query.string("OperationType") === "remove";
  const added = [...grantees("Add"), ...(isRemoval ? [] : listed)];
  const removed = [...grantees("Remove"), ...(isRemoval ? listed : [])];
  snapshot.createVolumePermissions = [...new Set([...snapshot.createVolumePermissions, ...added])].filter(
    (grantee) => !removed.includes(grantee),
  );
  return { return: true };
}

function progress(snapshot: Snapshot): string {
  return snapshot.state === "completed" ? "100%" : "0%";
}

function rendered(snapshot: Snapshot): Record<string, unknown> {
  return {
    snapshotId: snapshot.id,
    volumeId: snapshot.volumeId,
    status: snapshot.state,
    startTime: new Date(snapshot.createdAt),
    progress: progress(snapshot),
    ownerId: snapshot.ownerId,
    volumeSize: snapshot.volumeSize,
    description: snapshot.description,
    encrypted: snapshot.encrypted,
    storageTier: "standard",
    tagSet: tagSet(snapshot.tags),
  };
}
