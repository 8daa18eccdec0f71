import type { EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { KilnError } from "../domain/errors.ts";
import { type ImageId, TAG } from "../domain/image.ts";
import { bake } from "./bake.ts";
import type { Baked, BakeOrder, BakeReady, BakeTools } from "./bake-order.ts";
import { type CatalogueImage, deregister, describeImage, tagImage, waitUntilAvailable } from "./catalogue.ts";

/** An image that this run baked: available, and tagged with its snapshots. */
export interface NewImage {
  readonly image: CatalogueImage;
  readonly baked: Baked;
}

/**
 * Bakes an image and makes it ours: one AMI in the region where it is needed, available, with our tags.
 * @throws KilnError where the bake fails, makes several images for one region, or none where it is needed
 */
export async function makeImage(
  clients: AwsClients,
  order: BakeOrder,
  ready: BakeReady,
  tools: BakeTools,
): Promise<NewImage> {
  const baked = await bake(order, ready, tools);
  const double = [...baked.ids].find(([, ids]) => ids.size > 1);
  if (double !== undefined) throw await tooMany(clients, baked, double[0]);
  const id = baked.ids.get(order.region)?.values().next().value;
  if (id === undefined) {
    throw new KilnError(`The bake made no AMI in ${order.region}, where it is needed`, {
      state: `It made ${[...baked.ids.keys()].join(", ")} only; those images are kept. Nothing was rolled out.`,
      next: `Set the template's region to ${order.region} (it is the default where the template names none), or add it to \`ami_regions\`.`,
    });
  }
  const ec2 = await clients.ec2(order.region);
  const image = await waitUntilAvailable(ec2, order.region, id, tools.clock, tools.signal);
  if (tools.secrets.redactFact(image.name) !== image.name) throw await secretName(clients, baked, image.id);
  // In another region than it was built in (`ami_regions`), the base image has another id, which Packer does not say.
  const isBuiltHere = image.copiedFrom === undefined || image.copiedFrom === order.region;
  const base = isBuiltHere ? baked.baseImage : undefined;
  return { baked, image: await makeOurs(ec2, image, order.tags, base) };
}

/** Records and outputs name the image: one with a secret in its name cannot be released. */
async function secretName(clients: AwsClients, baked: Baked, id: ImageId): Promise<KilnError> {
  return new KilnError(`The template puts a secret into the name of the image ${id}`, {
    state: `Nothing was rolled out. ${await removeAll(clients, baked)}`,
    next: "Name the image by `image_name` in the template, and rotate the secret: whoever may list images could read it.",
  });
}

/** Tags an image and its snapshots, the base image among the tags where it is known. */
export async function makeOurs(
  ec2: EC2Client,
  image: CatalogueImage,
  tags: Readonly<Record<string, string>>,
  baseImage: ImageId | undefined,
): Promise<CatalogueImage> {
  const base = image.baseImage ?? baseImage;
  const all = { ...tags, Name: image.name, ...(base === undefined ? {} : { [TAG.baseImage]: base }) };
  await tagImage(ec2, image, all);
  return { ...image, baseImage: base, tags: { ...image.tags, ...all } };
}

/** Several images for one region cannot be one release: what this bake made is removed again. */
async function tooMany(clients: AwsClients, baked: Baked, region: string): Promise<KilnError> {
  return new KilnError(
    `The template builds ${baked.ids.get(region)?.size ?? 0} images for ${region}; a release is one image a region`,
    {
      state: `Nothing was rolled out. ${await removeAll(clients, baked)}`,
      next: "Keep one Amazon builder a region in the template, or release the others as applications of their own.",
    },
  );
}

/** Removes what this bake made, and says what could not be. */
async function removeAll(clients: AwsClients, baked: Baked): Promise<string> {
  const all = [...baked.ids].flatMap(([place, ids]) => [...ids].map((id) => ({ place, id })));
  const removed = await Promise.allSettled(
    all.map(async ({ place, id }) => {
      const ec2 = await clients.ec2(place);
      if ((await describeImage(ec2, place, id)) !== undefined) await deregister(ec2, id);
    }),
  );
  const left = all
    .filter((_, index) => removed[index]?.status === "rejected")
    .map(({ place, id }) => `${place} ${id}`);
  return left.length === 0
    ? "The images that this bake made were removed again."
    : `Could not be removed: ${left.join(", ")}.`;
}
