import {
  DeleteSnapshotCommand,
  DescribeImagesCommand,
  DescribeSnapshotsCommand,
  type EC2Client,
  type Image,
  type Instance,
  type Snapshot,
} from "@aws-sdk/client-ec2";
import { hasCode } from "../domain/errors.ts";
import { type ImageId, isImageId } from "../domain/image.ts";
import type { Log } from "../domain/ports.ts";

/** What a surrogate build (`amazon-ebssurrogate`) made of its volumes. */
export interface SurrogateBuild {
  /** Images that were registered from its snapshots: EC2 shows no instance that they come from. */
  readonly images: ReadonlySet<ImageId>;
  /** Snapshots of its instance's volumes, in an image or not. */
  readonly snapshots: readonly Snapshot[];
}

/**
 * Finds what a surrogate build made: the snapshots of the volumes that AWS shows at the bake's own instance, and the images
 * that were registered from these snapshots alone.
 * @param own the bake's instances, while they still have their volumes
 */
export async function findSurrogateBuild(ec2: EC2Client, own: readonly Instance[]): Promise<SurrogateBuild> {
  const volumes = own.flatMap(({ BlockDeviceMappings = [] }) =>
    BlockDeviceMappings.flatMap(({ Ebs }) => Ebs?.VolumeId ?? []),
  );
  const snapshots = volumes.length === 0 ? [] : await snapshotsOf(ec2, volumes);
  if (snapshots.length === 0) return { images: new Set(), snapshots };
  const known = new Set(snapshots.flatMap(({ SnapshotId }) => SnapshotId ?? []));
  const images = (await imagesWith(ec2, [...known])).filter(
    (image) =>
      image.SourceInstanceId === undefined &&
      image.SourceImageId === undefined &&
      snapshotIdsOf(image).every((id) => known.has(id)),
  );
  return {
    images: new Set(images.flatMap(({ ImageId: id = "" }) => (isImageId(id) ? [id] : []))),
    snapshots,
  };
}

/** Deletes the snapshots of a surrogate build that no image uses. */
export async function removeSnapshots(
  ec2: EC2Client,
  snapshots: readonly Snapshot[],
  { log }: { readonly log: Pick<Log, "info"> },
): Promise<void> {
  for (const { SnapshotId } of snapshots) {
    try {
      await ec2.send(new DeleteSnapshotCommand({ SnapshotId }));
    } catch (error) {
      // It went with its image, or belongs to one that stays.
      if (hasCode(error, "InvalidSnapshot.NotFound", "InvalidSnapshot.InUse")) continue;
      throw error;
    }
    log.info(`Deleted the bake's snapshot ${SnapshotId}`);
  }
}

const snapshotIdsOf = ({ BlockDeviceMappings }: Image): string[] =>
  (BlockDeviceMappings ?? []).flatMap(({ Ebs }) => Ebs?.SnapshotId ?? []);

async function snapshotsOf(ec2: EC2Client, volumes: readonly string[]): Promise<readonly Snapshot[]> {
  const Filters = [{ Name: "volume-id", Values: [...volumes] }];
  const { Snapshots } = await ec2.send(new DescribeSnapshotsCommand({ OwnerIds: ["self"], Filters }));
  return Snapshots ?? [];
}

async function imagesWith(ec2: EC2Client, snapshots: readonly string[]): Promise<readonly Image[]> {
  const Filters = [{ Name: "block-device-mapping.snapshot-id", Values: [...snapshots] }];
  const { Images } = await ec2.send(new DescribeImagesCommand({ Owners: ["self"], Filters }));
  return Images ?? [];
}
