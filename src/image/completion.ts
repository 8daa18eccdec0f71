import type { EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, TAG } from "../domain/image.ts";
import type { Log } from "../domain/ports.ts";
import type { Secrets } from "../domain/secrets.ts";
import type { BakeTraces, Ended } from "./bake-traces.ts";
import {
  type CatalogueImage,
  describeImage,
  tagNewImage,
  type Waiting,
  waitUntilAvailable,
} from "./catalogue.ts";
import { contradicts, isMarked, type TrustedOwner } from "./trust.ts";

/** The images of a bake that Packer ended with 0, and what makes them complete. */
export interface ToComplete {
  /** The region where the image is needed first; in the others are copies that Packer made. */
  readonly region: string;
  readonly ids: Ended["ids"];
  /** The account that must own them. */
  readonly account: string;
  readonly digest: Digest;
  /** All tags of the image, less its name and its mark. */
  readonly tags: Readonly<Record<string, string>>;
  /** The base image, as Packer printed it. */
  readonly baseImage?: ImageId | undefined;
}

export interface CompletionTools extends Waiting {
  readonly log: Pick<Log, "info" | "notice">;
  readonly secrets: Pick<Secrets, "redactFact">;
}

/**
 * Waits for the images of a bake, checks them, tags them with their snapshots, and marks them complete. An image's tags and
 * its mark are one request, so that it has all of them or none; the image itself comes after its copies, so that a run that
 * dies in between is resumed from the image.
 * @returns the image in the first region
 * @throws KilnError if an image is not what it has to be; it is not marked then
 */
export async function completeImages(
  clients: Pick<AwsClients, "ec2">,
  what: ToComplete,
  tools: CompletionTools,
): Promise<CatalogueImage> {
  const ready = await Promise.all(
    Object.entries(what.ids).map(async ([region, id]) => {
      const ec2 = await clients.ec2(region);
      const image = await waitUntilAvailable(ec2, region, id, tools);
      refuse(image, what, tools);
      return { ec2, image };
    }),
  );
  const home = ready.find(({ image }) => image.region === what.region);
  if (home === undefined) throw new Error(`no image in ${what.region} to complete`);
  // In another region than it was built in (`ami_regions`), the base image has another id, which Packer does not say.
  const { copiedFrom } = home.image;
  const isBuiltHere = copiedFrom === undefined || copiedFrom.region === what.region;
  const baseImage = home.image.baseImage ?? (isBuiltHere ? what.baseImage : undefined);
  const base = baseImage === undefined ? {} : { [TAG.baseImage]: baseImage };
  await Promise.all(
    ready.map(async ({ ec2, image }) => {
      if (image === home.image) return;
      const origin = { [TAG.copyOf]: home.image.id };
      await mark(ec2, image, { ...what.tags, ...base, ...origin }, { ...what, ...tools });
      tools.log.info(`Packer's copy in ${image.region} is complete: ${image.id}`);
    }),
  );
  const tags = await mark(home.ec2, home.image, { ...what.tags, ...base }, { ...what, ...tools });
  return { ...home.image, baseImage, tags: { ...home.image.tags, ...tags } };
}

/** Tags an image and marks it complete, unless an earlier attempt has done that. */
async function mark(
  ec2: EC2Client,
  image: CatalogueImage,
  tags: Readonly<Record<string, string>>,
  { digest, ...waiting }: Pick<ToComplete, "digest"> & Waiting,
): Promise<Readonly<Record<string, string>>> {
  if (isMarked(image)) return {};
  const all = { ...tags, [TAG.name]: image.name, [TAG.digest]: digest };
  await tagNewImage(ec2, image, all, waiting);
  return all;
}

/** An image that must not be marked. Records and outputs name the image: one with a secret in its name is never released. */
function refuse(image: CatalogueImage, { account, digest }: ToComplete, { secrets }: CompletionTools): void {
  const { id, region, name, owner } = image;
  if (secrets.redactFact(name) !== name) {
    throw new KilnError(`The template puts a secret into the name of the image ${id}`, {
      state: "Nothing was rolled out.",
      next: "Name the image by `image_name` in the template, and rotate the secret: whoever may list images could read it.",
    });
  }
  const marked = image.tags[TAG.digest];
  const why =
    owner !== account
      ? `it belongs to account ${owner}, and the bake runs in ${account}`
      : isMarked(image) && marked !== digest
        ? `it is marked as another content's: ${TAG.digest} is ${marked ?? "?"}`
        : undefined;
  if (why === undefined) return;
  throw new KilnError(`The image ${id} in ${region} is not one that this bake made: ${why}`, {
    state: "Nothing was rolled out.",
    next: "Let the template make its own AMI, without `kiln:` tags of its own, in the account that the job has credentials for.",
  });
}

/**
 * What can be completed of a dead run's bake, by its note: anybody who may push can have written that, so that each image
 * has to be what AWS shows of an image that Kiln's bake made.
 * @returns the images' ids, or why the image in the first region is not adopted
 */
export async function adoptable(
  clients: Pick<AwsClients, "ec2">,
  traces: BakeTraces & { readonly ended: Ended },
  owner: TrustedOwner & { readonly digest: Digest },
): Promise<{ readonly ids: Ended["ids"] } | { readonly why: string }> {
  const looked = await Promise.all(
    Object.entries(traces.ended.ids).map(async ([region, id]) => {
      const image = await describeImage(await clients.ec2(region), region, id);
      return { region, id, why: whyNotAdoptable(image, traces, owner) };
    }),
  );
  const home = looked.find(({ region }) => region === traces.region);
  if (home === undefined) return { why: `the note names no image in ${traces.region}` };
  if (home.why !== undefined) return { why: `${home.id} in ${home.region}: ${home.why}` };
  return {
    ids: Object.fromEntries(
      looked.flatMap(({ region, id, why }) => (why === undefined ? [[region, id]] : [])),
    ),
  };
}

/** Says why an unmarked image is not the one that a bake noted as its own. */
export function whyNotAdoptable(
  image: CatalogueImage | undefined,
  traces: Pick<BakeTraces, "imageName" | "instances" | "region">,
  owner: TrustedOwner & { readonly digest: Digest },
): string | undefined {
  if (image === undefined) return "it is gone";
  if (image.owner !== owner.account) return `it belongs to account ${image.owner}`;
  if (image.name !== traces.imageName || !image.name.startsWith(`${owner.application}-`))
    return `its name is ${image.name}, and the bake's was ${traces.imageName}`;
  if (contradicts(image, owner)) return "its tags name another application, repository or content";
  const { sourceInstance, copiedFrom } = image;
  if (sourceInstance !== undefined && traces.instances?.includes(sourceInstance) !== true)
    return `it was made from ${sourceInstance}, which the bake did not note`;
  if (copiedFrom !== undefined && copiedFrom.region !== traces.region)
    return `it is a copy from ${copiedFrom.region}, and the bake ran in ${traces.region}`;
  return undefined;
}
