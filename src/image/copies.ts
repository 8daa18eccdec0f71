import { createHash } from "node:crypto";
import { CopyImageCommand, type CopyImageRequest, type EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { KilnError } from "../domain/errors.ts";
import { isImageId, TAG } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { type CatalogueImage, findByName, waitUntilAvailable } from "./catalogue.ts";

/** States in which a copy is there or on its way. */
const USABLE: ReadonlySet<string> = new Set(["available", "pending"]);

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
  if (kmsKey === undefined) return name;
  const suffix = `-k${hashOf(kmsKey, 8)}`;
  if (name.endsWith(suffix)) return name;
  const room = MAX_NAME_LENGTH - suffix.length;
  return `${name.length <= room ? name : `${name.slice(0, room - 13)}-${hashOf(name, 12)}`}${suffix}`;
}

/** The copy of an image in a place: same owner, same digest, the copy's name; undefined where there is none yet. */
export async function findCopy(
  ec2: EC2Client,
  image: CatalogueImage,
  { region, kmsKey }: Place,
): Promise<CatalogueImage | undefined> {
  const name = copyName(image.name, kmsKey);
  const named = await findByName(ec2, region, name);
  return named.find(
    (other) =>
      other.name === name &&
      other.owner === image.owner &&
      other.tags[TAG.digest] === image.tags[TAG.digest] &&
      USABLE.has(other.state),
  );
}

/**
 * Makes an image available in another region, or encrypted with another key: the copy that is there or on its way, or a
 * new one with the same tags, its snapshots tagged too: a copy takes neither from its source by itself (user guide: copy an
 * AMI).
 * @throws KilnError where the copy fails or does not become available
 */
export async function copyTo(
  clients: AwsClients,
  image: CatalogueImage,
  place: Place,
  tools: { readonly clock: Clock; readonly signal: AbortSignal; readonly log: Log },
): Promise<CatalogueImage> {
  const { region, kmsKey } = place;
  const ec2 = await clients.ec2(region);
  const found = await findCopy(ec2, image, place);
  if (found !== undefined) {
    return found.state === "available"
      ? found
      : waitUntilAvailable(ec2, region, found.id, tools.clock, tools.signal);
  }
  tools.signal.throwIfAborted();
  const encrypted = kmsKey === undefined ? "" : `, encrypted with ${kmsKey}`;
  tools.log.info(`Copying ${image.id} from ${image.region} to ${region}${encrypted}`);
  const { ImageId } = await ec2.send(new CopyImageCommand(copyRequest(image, kmsKey)));
  if (ImageId === undefined || !isImageId(ImageId)) {
    throw new KilnError(`AWS began to copy ${image.id} to ${region} without telling the copy's id`, {
      state: "Nothing was rolled out.",
      next: "Run the job again: it finds the copy by its name.",
    });
  }
  const copy = await waitUntilAvailable(ec2, region, ImageId, tools.clock, tools.signal);
  tools.log.info(`Copied ${image.id} to ${region}: ${copy.id}`);
  return copy;
}

function copyRequest(image: CatalogueImage, kmsKey: string | undefined): CopyImageRequest {
  const name = copyName(image.name, kmsKey);
  const tags = {
    ...image.tags,
    [TAG.name]: name,
    ...(kmsKey === undefined ? {} : { [TAG.kmsKey]: kmsKey.slice(0, 256) }),
  };
  const Tags = Object.entries(tags)
    .filter(([key]) => !key.startsWith("aws:"))
    .map(([Key, Value]) => ({ Key, Value }));
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
