import {
  DeregisterImageCommand,
  DescribeImageReferencesCommand,
  DescribeImagesCommand,
  DescribeInstancesCommand,
  DisableImageDeprecationCommand,
  DisableImageDeregistrationProtectionCommand,
  type EC2Client,
  EnableImageDeprecationCommand,
  EnableImageDeregistrationProtectionCommand,
  type Image as Ec2Image,
} from "@aws-sdk/client-ec2";
import { pagesOf } from "../aws/pages.ts";
import { hasCode } from "../domain/errors.ts";
import { isImageId, TAG } from "../domain/image.ts";
import { DEPRECATE_AHEAD, type Ownership, type StoredImage } from "./retirement.ts";

const PAGE = 500;

/** Every image of the application in a region that the account owns, deprecated ones too; disabled ones are left out. */
export async function listImages(
  ec2: EC2Client,
  region: string,
  { application, repositories }: Ownership,
): Promise<readonly StoredImage[]> {
  const images: StoredImage[] = [];
  const pages = pagesOf("DescribeImages", (next) =>
    ec2.send(
      new DescribeImagesCommand({
        Owners: ["self"],
        IncludeDeprecated: true,
        Filters: [
          { Name: `tag:${TAG.application}`, Values: [application] },
          { Name: `tag:${TAG.repository}`, Values: [...repositories] },
        ],
        MaxResults: PAGE,
        ...next,
      }),
    ),
  );
  for await (const { Images } of pages)
    images.push(...(Images ?? []).flatMap((image) => toImage(image, region)));
  return images;
}

/** One image as it is now; undefined where it is gone, which AWS says in several ways (API reference, DescribeImages). */
export async function readImage(
  ec2: EC2Client,
  { id, region }: StoredImage,
): Promise<StoredImage | undefined> {
  try {
    const { Images } = await ec2.send(new DescribeImagesCommand({ ImageIds: [id] }));
    return (Images ?? []).flatMap((image) => toImage(image, region))[0];
  } catch (error) {
    if (hasCode(error, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")) return undefined;
    throw error;
  }
}

function toImage(image: Ec2Image, region: string): StoredImage[] {
  const { ImageId: id } = image;
  if (id === undefined || !isImageId(id)) return [];
  const created = toDate(image.CreationDate);
  return [
    {
      id,
      region,
      name: image.Name ?? "",
      owner: image.OwnerId ?? "",
      // Without a date its age is not known: it is left alone.
      state: created === undefined ? "of unknown age" : (image.State ?? "unknown"),
      created: created ?? new Date(0),
      deprecated: toDate(image.DeprecationTime),
      lastLaunched: toDate(image.LastLaunchedTime),
      protection: toProtection(image.DeregistrationProtection),
      snapshots: (image.BlockDeviceMappings ?? []).flatMap(({ Ebs }) =>
        Ebs?.SnapshotId === undefined ? [] : [{ id: Ebs.SnapshotId, gigabytes: Ebs.VolumeSize ?? 0 }],
      ),
      tags: Object.fromEntries((image.Tags ?? []).map(({ Key, Value }) => [Key ?? "", Value ?? ""])),
    },
  ];
}

function toDate(text: string | undefined): Date | undefined {
  const date = new Date(text ?? "");
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** `enabled-with-cooldown`, `enabled-without-cooldown` or `disabled` (EC2 user guide: protect an AMI). */
function toProtection(text: string | undefined): StoredImage["protection"] {
  if (text?.startsWith("enabled") !== true) return "none";
  return text === "enabled-without-cooldown" ? "without cooldown" : "with cooldown";
}

/** The most values that one filter takes (EC2 user guide: filtering considerations). */
const FILTER_VALUES = 200;
/** A terminated instance needs its image no more; a stopped one shows it as the image that it was launched from. */
const LIVING = ["pending", "running", "stopping", "stopped"];

/** Those of some images that have instances in a region, whoever launched them. */
export async function launchedImages(ec2: EC2Client, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const chunks = Array.from({ length: Math.ceil(ids.length / FILTER_VALUES) }, (_, index) =>
    ids.slice(index * FILTER_VALUES, (index + 1) * FILTER_VALUES),
  );
  await Promise.all(
    chunks.map(async (values) => {
      const Filters = [
        { Name: "image-id", Values: values },
        { Name: "instance-state-name", Values: LIVING },
      ];
      const pages = pagesOf("DescribeInstances", (next) =>
        ec2.send(new DescribeInstancesCommand({ Filters, MaxResults: 1000, ...next })),
      );
      for await (const { Reservations } of pages)
        for (const { Instances } of Reservations ?? [])
          for (const { ImageId } of Instances ?? []) found.add(ImageId ?? "");
    }),
  );
  return found;
}

/** The most image ids that one request takes (API reference, DescribeImageReferences). */
const REFERENCE_IDS = 10;

/** What may name an image without running it. Instances are looked for by themselves, whatever their state. */
const REFERRING = [
  "ec2:LaunchTemplate",
  "ssm:Parameter",
  "imagebuilder:ImageRecipe",
  "imagebuilder:ContainerRecipe",
] as const;

/**
 * The launch templates, parameters and recipes of the account that name images of a region, whoever made them: by image, the ARN of
 * one. AWS looks at the ten newest versions of a template (EC2 user guide: AMI references).
 * @param own ids of launch templates whose versions are looked at otherwise
 */
export async function imageReferences(
  ec2: EC2Client,
  ids: readonly string[],
  own: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (let start = 0; start < ids.length; start += REFERENCE_IDS) {
    const ImageIds = ids.slice(start, start + REFERENCE_IDS);
    const pages = pagesOf("DescribeImageReferences", (next) =>
      ec2.send(
        new DescribeImageReferencesCommand({
          ImageIds,
          ResourceTypes: REFERRING.map((ResourceType) => ({ ResourceType })),
          ...next,
        }),
      ),
    );
    for await (const { ImageReferences } of pages)
      for (const { ImageId: id, Arn: arn } of ImageReferences ?? [])
        if (id !== undefined && !own.has(arn?.split("/").at(-1) ?? "")) found.set(id, arn ?? "something");
  }
  return found;
}

/**
 * Deprecates an image, and takes its protection off first: where that fails it is not deprecated, and the next run tries
 * both again. A cooldown then ends long before the image's time comes.
 */
export async function deprecate(ec2: EC2Client, image: StoredImage, now: Date): Promise<void> {
  if (image.protection !== "none") await unprotect(ec2, image);
  const DeprecateAt = new Date(now.getTime() + DEPRECATE_AHEAD);
  await ec2.send(new EnableImageDeprecationCommand({ ImageId: image.id, DeprecateAt }));
}

export async function restore(ec2: EC2Client, image: StoredImage): Promise<void> {
  await ec2.send(new DisableImageDeprecationCommand({ ImageId: image.id }));
}

/** Without a cooldown: it is for accidents, and must not be in the way of a later run. */
export async function protect(ec2: EC2Client, image: StoredImage): Promise<void> {
  await ec2.send(new EnableImageDeregistrationProtectionCommand({ ImageId: image.id, WithCooldown: false }));
}

async function unprotect(ec2: EC2Client, image: StoredImage): Promise<void> {
  await ec2.send(new DisableImageDeregistrationProtectionCommand({ ImageId: image.id }));
}

/** What came of a deregistration: the image is gone with its snapshots, but for those that are left; or it is protected. */
export type Deregistration =
  | { readonly left: readonly { readonly snapshot: string; readonly code: string }[] }
  | "cooling down"
  | "gone already";

/**
 * Deregisters an image and deletes its snapshots, in one request whose answer has a code for each snapshot (API reference,
 * DeregisterImage). One whose protection had a cooldown is refused for 24 hours after that was taken off (user guide).
 */
export async function deregisterWithSnapshots(ec2: EC2Client, image: StoredImage): Promise<Deregistration> {
  if (image.protection !== "none") await unprotect(ec2, image);
  if (image.protection === "with cooldown") return "cooling down";
  try {
    const { DeleteSnapshotResults = [] } = await ec2.send(
      new DeregisterImageCommand({ ImageId: image.id, DeleteAssociatedSnapshots: true }),
    );
    return {
      left: DeleteSnapshotResults.flatMap(({ SnapshotId: snapshot = "?", ReturnCode: code }) =>
        code === "success" ? [] : [{ snapshot, code: code ?? "no code" }],
      ),
    };
  } catch (error) {
    if (hasCode(error, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")) return "gone already";
    // An earlier run, or somebody else, took a protection with a cooldown off; the code is not documented.
    if (hasCode(error, "OperationNotPermitted")) return "cooling down";
    throw error;
  }
}
