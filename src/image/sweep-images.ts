import type { Instance } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { type ImageId, TAG } from "../domain/image.ts";
import type { BakeTraces } from "./bake-traces.ts";
import { type CatalogueImage, deregister, findOwn } from "./catalogue.ts";
import { wasCompleted } from "./trust.ts";
import type { SweepTools } from "./sweep.ts";

/** What images of a bake are looked for by. */
interface Looked {
  readonly traces: BakeTraces;
  /** The bake's own, as AWS shows them. */
  readonly instances: readonly Instance[];
  /** Images that AWS shows to be registered from snapshots of the bake's own volumes, by id. */
  readonly registered?: ReadonlySet<ImageId>;
  readonly swept: { readonly removed: string[]; readonly left: string[] };
}

/**
 * Removes the images that a bake left, in the region that it baked in and in those that Packer began to copy to. They are
 * made from its instances, or from snapshots of their volumes; or copies of these, as Packer makes them of an encrypted image
 * or for other regions; or have exactly the bake's name. None that is marked complete, or was, goes.
 */
export async function removeImages(
  clients: Pick<AwsClients, "ec2">,
  { traces, instances, registered = new Set(), swept }: Looked,
  tools: SweepTools,
): Promise<void> {
  const artifacts = (traces.artifacts ?? []).map((line) => line.split(" ") as [string, ImageId]);
  const noted = Object.entries(traces.ended?.ids ?? {});
  const regions = new Set([
    traces.region,
    ...(traces.copiedTo ?? []),
    ...[...artifacts, ...noted].map(([region]) => region),
  ]);
  const known = new Map([...noted, ...artifacts].map(([region, id]) => [id, region]));
  const found = (
    await Promise.all(
      [...regions].map((region) => imagesIn(clients, region, { traces, instances, registered, known })),
    )
  ).flat();
  const ours = new Map<string, CatalogueImage>();
  const whole = { ...traces, run: tools.run, repositories: tools.repositories, registered };
  const own = new Set(instances.flatMap(({ InstanceId }) => InstanceId ?? []));
  for (const image of found) if (isOurs(image, own, whole)) ours.set(image.id, image);
  for (const image of found)
    if (!wasCompleted(image) && isCopyOf(image, ours, traces)) ours.set(image.id, image);
  const doubtful = found.filter(
    (image) =>
      !ours.has(image.id) && !wasCompleted(image) && (image.name === traces.imageName || known.has(image.id)),
  );
  for (const { id, region, name } of doubtful) {
    const what = `${id} (${name}) in ${region}`;
    swept.left.push(`${what}: AWS does not show that this bake made it`);
    tools.log.warning(
      `${what} has the name of an image that was not completed, but AWS does not show that this bake made it: it is left alone and never used. Deregister it if nobody needs it`,
    );
  }
  // Copies first: their sources are what shows whose they are, should this end half-way.
  const order = [...ours.values()].toSorted(
    (a, b) => Number(a.sourceInstance !== undefined) - Number(b.sourceInstance !== undefined),
  );
  for (const { id, region, name } of order) {
    await deregister(await clients.ec2(region), id);
    swept.removed.push(`${id} in ${region}`);
    tools.log.info(
      `Removed the image ${id} (${name}) in ${region} with its snapshots: its bake was not completed`,
    );
  }
}

async function imagesIn(
  clients: Pick<AwsClients, "ec2">,
  region: string,
  {
    traces,
    instances,
    registered,
    known,
  }: Required<Pick<Looked, "traces" | "instances" | "registered">> & {
    readonly known: ReadonlyMap<ImageId, string>;
  },
): Promise<readonly CatalogueImage[]> {
  const ec2 = await clients.ec2(region);
  const ids = [
    ...[...known].filter(([, place]) => place === region).map(([id]) => id),
    ...(region === traces.region ? registered : []),
  ];
  const sources = [
    ...new Set([...(traces.instances ?? []), ...instances.flatMap(({ InstanceId }) => InstanceId ?? [])]),
  ];
  const [named, made, listed] = await Promise.all([
    findOwn(ec2, region, { name: [traces.imageName] }),
    region === traces.region && sources.length > 0
      ? findOwn(ec2, region, { "source-instance-id": sources })
      : [],
    ids.length > 0 ? findOwn(ec2, region, { "image-id": ids }) : [],
  ]);
  return [...new Map([...named, ...made, ...listed].map((image) => [image.id, image])).values()];
}

interface Claimed extends BakeTraces {
  readonly run: string | undefined;
  readonly repositories: readonly string[];
  readonly registered: ReadonlySet<ImageId>;
}

/** Whether AWS shows that the bake made an image. A copy's source is looked at elsewhere. */
function isOurs(image: CatalogueImage, instances: ReadonlySet<string>, traces: Claimed): boolean {
  const { tags, sourceInstance, name } = image;
  const repository = tags[TAG.repository];
  if (wasCompleted(image) || (repository !== undefined && !traces.repositories.includes(repository)))
    return false;
  if (sourceInstance !== undefined && instances.has(sourceInstance)) return true;
  if (traces.registered.has(image.id)) return true;
  if (traces.from === "output") {
    // The job that ran Packer: what this one printed is known to be the bake's, though AWS shows the instance no more.
    const isListed = (traces.artifacts ?? []).includes(`${image.region} ${image.id}`);
    const isMade = sourceInstance !== undefined && (traces.instances ?? []).includes(sourceInstance);
    // `amazon-ebssurrogate` registers snapshots: such an image has no instance.
    const isSaid = name === traces.imageName && (traces.images ?? []).includes(image.id);
    return isListed || isMade || isSaid;
  }
  return (
    name === traces.imageName &&
    repository !== undefined &&
    tags[TAG.run] !== undefined &&
    tags[TAG.run] === traces.run
  );
}

/** Whether an image is a copy of one that the bake made, under exactly the name that the bake gave. */
function isCopyOf(
  image: CatalogueImage,
  ours: ReadonlyMap<string, CatalogueImage>,
  traces: BakeTraces,
): boolean {
  const { copiedFrom, name } = image;
  if (name !== traces.imageName || copiedFrom === undefined) return false;
  if (ours.get(copiedFrom.id)?.region === copiedFrom.region) return true;
  // Packer removes what it has copied to encrypt it.
  return traces.from === "output" && (traces.images ?? []).includes(copiedFrom.id);
}
