import { createHash } from "node:crypto";
import { CopyImageCommand, type CopyImageRequest, type EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { untilKnown } from "../aws/new-ids.ts";
import { KilnError } from "../domain/errors.ts";
import { isImageId, TAG } from "../domain/image.ts";
import type { Log } from "../domain/ports.ts";
import { type CatalogueImage, findOwn, tagNewImage, type Waiting, waitUntilAvailable } from "./catalogue.ts";
import { isMarked } from "./trust.ts";

/** Where an image is needed, and the key that it is to be encrypted with there. */
export interface Place {
  readonly region: string;
  readonly kmsKey?: string | undefined;
}

/** The longest name that EC2 takes for an AMI (API reference, CopyImage, Name). */
const MAX_NAME_LENGTH = 128;

const hashOf = (text: string, length: number): string =>
  createHash("sha256").update(text).digest("hex").slice(0, length);

/** A copy's name: the image's own, and where it is encrypted with a key, what tells that one from the plain image. */
export function copyName(name: string, kmsKey: string | undefined): string {
  return kmsKey === undefined ? name : suffixed(name, `-k${hashOf(kmsKey, 8)}`);
}

function suffixed(name: string, suffix: string): string {
  if (name.endsWith(suffix)) return name;
  const room = MAX_NAME_LENGTH - suffix.length;
  return `${name.length <= room ? name : `${name.slice(0, room - 13)}-${hashOf(name, 12)}`}${suffix}`;
}

/** The image that this one, and all copies of it, are copies of. */
const originOf = ({ id, tags }: CatalogueImage): string => tags[TAG.copyOf] ?? id;

/** The names that a copy may have: its own, and one for the case that another image has taken that. */
function namesOf(image: CatalogueImage, kmsKey: string | undefined): readonly [string, string] {
  const name = copyName(image.name, kmsKey);
  return [name, suffixed(name, `-c${hashOf(originOf(image), 8)}`)];
}

/** What there is of an image in a place. */
interface Looked {
  /** Complete: marked, and available. */
  readonly complete: CatalogueImage | undefined;
  /** On its way, or there without its mark: nobody may use it yet. */
  readonly begun: CatalogueImage | undefined;
  /** The first name that no other image has; undefined if all are taken. */
  readonly freeName: string | undefined;
}

async function look(ec2: EC2Client, image: CatalogueImage, { region, kmsKey }: Place): Promise<Looked> {
  const names = namesOf(image, kmsKey);
  const named = (await findOwn(ec2, region, { name: names })).filter(
    ({ name, owner }) => names.includes(name) && owner === image.owner,
  );
  const copies = named.filter((other) => isCopyOf(other, image));
  return {
    complete: copies.find((copy) => isMarked(copy) && copy.state === "available"),
    begun: copies.find(({ state }) => state === "pending" || state === "available"),
    freeName: names.find((name) => named.every((other) => other.name !== name)),
  };
}

/**
 * Whether one image is a copy of another: of the same bake, not only of the same content. Kiln's copies are tagged with what
 * they are copies of as they are begun; of Packer's own, EC2 shows the source, as of copies by older versions of Kiln.
 */
function isCopyOf(other: CatalogueImage, image: CatalogueImage): boolean {
  const digest = other.tags[TAG.digest];
  if (digest !== undefined && digest !== image.tags[TAG.digest]) return false;
  const origin = other.tags[TAG.copyOf];
  if (origin !== undefined) {
    const same = [TAG.application, TAG.repository].every((key) => other.tags[key] === image.tags[key]);
    return same && origin === originOf(image);
  }
  const { copiedFrom } = other;
  if (copiedFrom !== undefined) return copiedFrom.id === image.id && copiedFrom.region === image.region;
  // EC2 does not say: the mark alone decides.
  return digest !== undefined;
}

/** The complete copy of an image in a place; undefined if there is none yet. */
export async function findCopy(
  ec2: EC2Client,
  image: CatalogueImage,
  place: Place,
): Promise<CatalogueImage | undefined> {
  return (await look(ec2, image, place)).complete;
}

/**
 * Makes an image available in another region, or encrypted with another key: by the copy that is there or on its way, or a
 * new one. A copy takes no tags from its source by itself (user guide: copy an AMI): it gets them as it is begun, its
 * snapshots too, and its mark once it is available.
 * @throws KilnError if the copy fails or does not become available
 */
export async function copyTo(
  clients: Pick<AwsClients, "ec2">,
  image: CatalogueImage,
  place: Place,
  tools: Waiting & { readonly log: Log },
): Promise<CatalogueImage> {
  const ec2 = await clients.ec2(place.region);
  const { complete, begun, freeName } = await look(ec2, image, place);
  if (complete !== undefined) return complete;
  if (begun !== undefined) return completed(ec2, begun.id, image, place, tools);
  tools.signal.throwIfAborted();
  if (freeName === undefined) throw nameTaken(image, place);
  const { region, kmsKey } = place;
  const encrypted = kmsKey === undefined ? "" : `, encrypted with ${kmsKey}`;
  tools.log.info(`Copying ${image.id} from ${image.region} to ${region}${encrypted}`);
  const copying = new CopyImageCommand(copyRequest(image, freeName, kmsKey));
  // The image may have been baked a moment ago.
  const { ImageId } = await untilKnown(() => ec2.send(copying), { ...tools, of: ["image", "snapshot"] });
  if (ImageId === undefined || !isImageId(ImageId)) {
    throw new KilnError(`AWS began to copy ${image.id} to ${region} without telling the copy's id`, {
      state: "Nothing was rolled out.",
      next: "Run the job again: it finds the copy by its name.",
    });
  }
  const copy = await completed(ec2, ImageId, image, place, tools);
  tools.log.info(`Copied ${image.id} to ${region}: ${copy.id}`);
  return copy;
}

/** A copy that is on its way, or lacks its mark, when it is complete. */
async function completed(
  ec2: EC2Client,
  id: CatalogueImage["id"],
  image: CatalogueImage,
  { region, kmsKey }: Place,
  tools: Waiting,
): Promise<CatalogueImage> {
  const copy = await waitUntilAvailable(ec2, region, id, tools);
  if (isMarked(copy)) return copy;
  // All tags: the copy may be Packer's own, which has none. The policies want to see whose image it is in any case.
  const tags = { ...tagsOfCopy(image, copy.name, kmsKey), [TAG.digest]: image.tags[TAG.digest] ?? "" };
  await tagNewImage(ec2, copy, tags, tools);
  return { ...copy, tags: { ...copy.tags, ...tags } };
}

/** A copy's tags as it is begun: those of the image, less its mark. */
function tagsOfCopy(
  image: CatalogueImage,
  name: string,
  kmsKey: string | undefined,
): Readonly<Record<string, string>> {
  const inherited = Object.entries(image.tags).filter(
    ([key]) => !key.startsWith("aws:") && key !== TAG.digest && key !== TAG.bake,
  );
  return {
    ...Object.fromEntries(inherited),
    [TAG.name]: name,
    [TAG.copyOf]: originOf(image),
    ...(kmsKey === undefined ? {} : { [TAG.kmsKey]: kmsKey.slice(0, 256) }),
  };
}

function copyRequest(image: CatalogueImage, name: string, kmsKey: string | undefined): CopyImageRequest {
  const Tags = Object.entries(tagsOfCopy(image, name, kmsKey)).map(([Key, Value]) => ({ Key, Value }));
  return {
    Name: name,
    SourceImageId: image.id,
    SourceRegion: image.region,
    ...(kmsKey === undefined ? {} : { Encrypted: true, KmsKeyId: kmsKey }),
    TagSpecifications: [
      { ResourceType: "image", Tags },
      { ResourceType: "snapshot", Tags },
    ],
  };
}

function nameTaken(image: CatalogueImage, { region, kmsKey }: Place): KilnError {
  return new KilnError(
    `${image.id} cannot be copied to ${region}: other images there have the names ${namesOf(image, kmsKey).join(" and ")}`,
    {
      state: "Nothing was rolled out.",
      next: "Deregister the images there that nobody needs, then run the job again.",
    },
  );
}
