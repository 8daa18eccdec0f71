import { CopyImageCommand, type EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { KilnError } from "../domain/errors.ts";
import { isImageId, TAG } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { type CatalogueImage, findByName, waitUntilAvailable } from "./catalogue.ts";

/** States in which a copy is there or on its way. */
const USABLE: ReadonlySet<string> = new Set(["available", "pending"]);

/** The copy of an image in another region: same owner, same name, same digest; undefined where there is none yet. */
export async function findCopy(
  ec2: EC2Client,
  image: CatalogueImage,
  region: string,
): Promise<CatalogueImage | undefined> {
  const named = await findByName(ec2, region, image.name);
  return named.find(
    (other) =>
      other.name === image.name &&
      other.owner === image.owner &&
      other.tags[TAG.digest] === image.tags[TAG.digest] &&
      USABLE.has(other.state),
  );
}

/**
 * Makes an image available in another region: the copy that is there or on its way, or a new one with the same name and
 * tags, its snapshots tagged too: a copy takes neither from its source by itself (user guide: copy an AMI).
 * @throws KilnError where the copy fails or does not become available
 */
export async function copyTo(
  clients: AwsClients,
  image: CatalogueImage,
  region: string,
  tools: { readonly clock: Clock; readonly signal: AbortSignal; readonly log: Log },
): Promise<CatalogueImage> {
  const ec2 = await clients.ec2(region);
  const found = await findCopy(ec2, image, region);
  if (found !== undefined) {
    return found.state === "available"
      ? found
      : waitUntilAvailable(ec2, region, found.id, tools.clock, tools.signal);
  }
  tools.log.info(`Copying ${image.id} from ${image.region} to ${region}`);
  const Tags = Object.entries(image.tags)
    .filter(([key]) => !key.startsWith("aws:"))
    .map(([Key, Value]) => ({ Key, Value }));
  const { ImageId } = await ec2.send(
    new CopyImageCommand({
      Name: image.name,
      SourceImageId: image.id,
      SourceRegion: image.region,
      TagSpecifications: [
        { ResourceType: "image", Tags },
        { ResourceType: "snapshot", Tags },
      ],
    }),
  );
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
