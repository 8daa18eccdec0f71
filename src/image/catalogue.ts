import {
  CreateTagsCommand,
  DeregisterImageCommand,
  DescribeImagesCommand,
  type EC2Client,
  type Image as Ec2Image,
} from "@aws-sdk/client-ec2";
import { unlessGone } from "../aws/errors.ts";
import { untilKnown, VISIBLE_WITHIN } from "../aws/new-ids.ts";
import { formatDuration } from "../domain/duration.ts";
import { hasCode, KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, isImageId, TAG } from "../domain/image.ts";
import type { Clock } from "../domain/ports.ts";

/** An image of ours as EC2 describes it in one region. */
export interface CatalogueImage {
  readonly id: ImageId;
  readonly name: string;
  readonly region: string;
  readonly state: string;
  readonly stateReason: string | undefined;
  readonly owner: string;
  readonly architecture: string;
  readonly created: Date;
  /** When AWS last saw it launched, a day late; undefined if it never was. */
  readonly lastLaunched?: string | undefined;
  readonly baseImage: ImageId | undefined;
  /** The instance that CreateImage made it from, as Packer's `amazon-ebs` does; undefined for any other image. */
  readonly sourceInstance: string | undefined;
  /** The image that it is a copy of; undefined if it is no copy, or EC2 does not say. */
  readonly copiedFrom: { readonly region: string; readonly id: string } | undefined;
  readonly snapshots: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
}

/** The images of this account that carry the digest's mark, newest first (user guide: find an AMI by tag filters). */
export async function findByDigest(
  ec2: EC2Client,
  region: string,
  application: string,
  digest: Digest,
): Promise<readonly CatalogueImage[]> {
  const { Images } = await ec2.send(
    new DescribeImagesCommand({
      Owners: ["self"],
      Filters: [
        { Name: `tag:${TAG.digest}`, Values: [digest] },
        { Name: `tag:${TAG.application}`, Values: [application] },
      ],
    }),
  );
  return toImages(Images, region);
}

/**
 * The images whose name is this one, or begins with it and a dash, whoever owns them: Packer 1.6 refuses a name that any
 * visible image has. The `*` also finds names that Kiln never gives.
 */
export async function findByName(
  ec2: EC2Client,
  region: string,
  name: string,
): Promise<readonly CatalogueImage[]> {
  const { Images } = await ec2.send(
    new DescribeImagesCommand({ Filters: [{ Name: "name", Values: [name, `${name}-*`] }] }),
  );
  return toImages(Images, region);
}

/** This account's images by filters of DescribeImages, whose values hold no wildcards. */
export async function findOwn(
  ec2: EC2Client,
  region: string,
  filters: Readonly<Record<string, readonly string[]>>,
): Promise<readonly CatalogueImage[]> {
  const { Images } = await ec2.send(
    new DescribeImagesCommand({
      Owners: ["self"],
      Filters: Object.entries(filters).map(([Name, Values]) => ({ Name, Values: [...Values] })),
    }),
  );
  return toImages(Images, region);
}

/** Those of the images that there are, in one request; ids that are gone are left out, not an error. */
export async function findByIds(
  ec2: EC2Client,
  region: string,
  ids: readonly ImageId[],
): Promise<ReadonlyMap<ImageId, CatalogueImage>> {
  if (ids.length === 0) return new Map();
  const { Images } = await ec2.send(
    new DescribeImagesCommand({
      IncludeDeprecated: true,
      Filters: [{ Name: "image-id", Values: [...new Set(ids)] }],
    }),
  );
  return new Map(toImages(Images, region).map((image) => [image.id, image]));
}

function toImages(images: readonly Ec2Image[] | undefined, region: string): readonly CatalogueImage[] {
  return (images ?? [])
    .flatMap((image) => toImage(image, region))
    .sort((a, b) => b.created.getTime() - a.created.getTime());
}

function toImage(image: Ec2Image, region: string): CatalogueImage[] {
  const { ImageId: id } = image;
  if (id === undefined || !isImageId(id)) return [];
  const tags = Object.fromEntries((image.Tags ?? []).map(({ Key, Value }) => [Key ?? "", Value ?? ""]));
  const isCopy = image.SourceInstanceId === undefined && image.SourceImageId !== undefined;
  // A copy's source is the image that it was copied from, and no base; our tag still names what that was baked from.
  const base = tags[TAG.baseImage] ?? (isCopy ? undefined : image.SourceImageId);
  return [
    {
      id,
      region,
      name: image.Name ?? "",
      state: image.State ?? "unknown",
      stateReason: image.StateReason?.Message,
      owner: image.OwnerId ?? "",
      architecture: image.Architecture ?? "",
      created: dateOr1970(image.CreationDate),
      lastLaunched: image.LastLaunchedTime,
      baseImage: base !== undefined && isImageId(base) ? base : undefined,
      sourceInstance: image.SourceInstanceId,
      copiedFrom:
        isCopy && image.SourceImageId !== undefined && image.SourceImageRegion !== undefined
          ? { region: image.SourceImageRegion, id: image.SourceImageId }
          : undefined,
      snapshots: (image.BlockDeviceMappings ?? []).flatMap((mapping) => mapping.Ebs?.SnapshotId ?? []),
      tags,
    },
  ];
}

/** What is no date counts as long ago: the oldest is never the one that is used. */
function dateOr1970(text: string | undefined): Date {
  const date = new Date(text ?? 0);
  return Number.isNaN(date.getTime()) ? new Date(0) : date;
}

/** States that an image never leaves for `available` (EC2 API reference, Image, state). */
const DEAD_STATES: ReadonlySet<string> = new Set(["failed", "error", "invalid", "deregistered", "disabled"]);
const AVAILABLE_WITHIN = 60 * 60_000;

/** What waiting for a new image needs. */
export interface Waiting {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Waits until an image that was just made can be launched. The SDK's own waiter repeats every error, access denied
 * included, and takes `error` and `invalid` for "not yet".
 * @throws KilnError if it ends in a state that it cannot leave, or is not available after an hour
 */
export async function waitUntilAvailable(
  ec2: EC2Client,
  region: string,
  id: ImageId,
  { clock, signal }: Waiting,
): Promise<CatalogueImage> {
  const startedAt = clock.now().getTime();
  for (let pause = 2000; ; pause = Math.min(pause * 1.5, 15_000)) {
    const image = await describeImage(ec2, region, id);
    const waited = clock.now().getTime() - startedAt;
    if (image?.state === "available") return image;
    if (image !== undefined && DEAD_STATES.has(image.state)) {
      throw new KilnError(
        `Image ${id} in ${region} is ${image.state}: ${image.stateReason ?? "AWS gives no reason"}`,
        { state: "Nothing was rolled out.", next: "Run the job again: it makes a new image." },
      );
    }
    if (waited > (image === undefined ? VISIBLE_WITHIN : AVAILABLE_WITHIN)) {
      throw new KilnError(
        image === undefined
          ? `Image ${id} in ${region}, just made, is still not to be found after ${formatDuration(waited)}`
          : `Image ${id} in ${region} is still ${image.state} after ${formatDuration(waited)}`,
        { state: "Nothing was rolled out.", next: "Run the job again: it makes a new image." },
      );
    }
    await clock.sleep(pause, signal);
  }
}

/** One image, or undefined where AWS shows none: an unknown id is an error or an empty list, both mean "not there". */
export async function describeImage(
  ec2: EC2Client,
  region: string,
  id: ImageId,
): Promise<CatalogueImage | undefined> {
  try {
    const { Images } = await ec2.send(new DescribeImagesCommand({ ImageIds: [id] }));
    return toImages(Images, region)[0];
  } catch (error) {
    if (hasCode(error, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")) return undefined;
    throw error;
  }
}

/**
 * Gives an image that was just made, and its snapshots, tags: CreateTags replaces equal keys and leaves all others alone.
 * For five minutes, "not found" means that EC2 does not show the new id everywhere yet.
 */
export async function tagNewImage(
  ec2: EC2Client,
  image: Pick<CatalogueImage, "id" | "snapshots">,
  tags: Readonly<Record<string, string>>,
  waiting: Waiting,
): Promise<void> {
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const tag = new CreateTagsCommand({ Resources: [image.id, ...image.snapshots], Tags });
  await untilKnown(() => ec2.send(tag), { ...waiting, of: ["image", "snapshot"] });
}

/** Removes an image with its snapshots (API reference, DeregisterImage). */
export async function deregister(ec2: EC2Client, id: ImageId): Promise<void> {
  await unlessGone(ec2.send(new DeregisterImageCommand({ ImageId: id, DeleteAssociatedSnapshots: true })));
}
