import { type Digest, type ImageId, imageName, TAG } from "../domain/image.ts";
import { wholeCharacters } from "../domain/printable.ts";
import { NameTakenError } from "../image/bake.ts";
import type { BakeOrder, BakeReady, StartedPacker } from "../image/bake-order.ts";
import { prepareBake, rehearseBake } from "../image/bake-preparation.ts";
import { type Ended, formatTraces, type Made } from "../image/bake-traces.ts";
import {
  type CatalogueImage,
  deregister,
  describeImage,
  findByDigest,
  findByName,
} from "../image/catalogue.ts";
import { chooseByDigest, chooseName, type ImageChoice, type ImageWish, isLeftover } from "../image/choice.ts";
import { makeImage } from "../image/new-image.ts";
import { bakeLock } from "../release/lock.ts";
import { inheritBake, markOf, NotedTraces, sweepOtherBakes } from "./dead-bakes.ts";
import { imageKeeper } from "./image-files.ts";
import { holding, releaseDead } from "./locks.ts";
import { ownAccount, repositoriesOf } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { publishImage } from "./region-images.ts";
import type { DeployRequest } from "./request.ts";

/** Finds Packer and validates the template, before anything is touched. */
export async function getReady(
  name: string,
  region: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<BakeReady> {
  const ready = await prepareBake(orderOf(name, region, digest, request), { ...ports, ...bakeTools(ports) });
  ports.log.info(`Packer ${ready.packer.version}: the template is valid`);
  return ready;
}

/** Validates the template for a dry run. Returns what the plan says about it. */
export async function rehearse(
  name: string,
  region: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<string> {
  const line = await rehearseBake(orderOf(name, region, digest, request), { ...ports, ...bakeTools(ports) });
  ports.log.info(`  - ${line}`);
  return line;
}

/** The image to release: the one that is there, or a new one. Published as soon as it is a fact. */
export async function obtainImage(
  choice: ImageChoice,
  ready: BakeReady | undefined,
  region: string,
  digest: Digest,
  seen: ReadonlySet<ImageId>,
  request: DeployRequest,
  ports: Ports,
): Promise<CatalogueImage> {
  const { run } = request;
  const known = new Set(seen);
  const inherit = async (message: string): Promise<void> => {
    const inherited = await inheritBake(message, digest, request, ports);
    // A new image was asked for: another run's is none, however fresh.
    if (inherited !== undefined && request.rebake === "always" && inherited.runId !== run.id)
      known.add(inherited.id);
  };
  if (choice.kind !== "bake") {
    // An earlier attempt that came as far as the image may have died holding the bake's lock.
    if (run.attempt !== "1") await releaseDead(bakeLock(digest), run, ports, inherit);
    return found(choice, digest, ports);
  }
  if (ready === undefined) throw new Error("a bake that was not prepared");
  const traces = { region, imageName: choice.name, mark: markOf(digest, run), from: "note" } as const;
  return holding(
    {
      what: bakeLock(digest),
      commit: run.commit,
      notes: formatTraces(traces),
      inherit,
      work: async (contended, { note }) => {
        await sweepOtherBakes(digest, request, ports);
        return bakeOrJoin({ choice, ready, contended, region, digest, seen: known, note }, request, ports);
      },
    },
    request,
    ports,
  );
}

/** What was decided before the bake's lock was held, and since when. */
interface Decided {
  readonly choice: Extract<ImageChoice, { kind: "bake" }>;
  /** Packer, prepared for the choice's name. */
  readonly ready: BakeReady;
  /** Another run held the bake's lock since then. */
  readonly contended: boolean;
  readonly region: string;
  readonly digest: Digest;
  /** The images of this content that were there when it was decided. */
  readonly seen: ReadonlySet<ImageId>;
  /** Writes into the bake's lock. */
  readonly note: (notes: string) => Promise<void>;
}

/** Names that are tried: each but the first after Packer found the one before taken. */
const NAMES_TRIED = 3;

/** Bakes under the lock, unless another run has baked the content meanwhile. */
async function bakeOrJoin(decided: Decided, request: DeployRequest, ports: Ports): Promise<CatalogueImage> {
  const { region, digest, choice, ready } = decided;
  const refused = new Set<string>();
  for (;;) {
    const now = await imageNow(decided, refused, request, ports);
    if (now.kind !== "bake") return found(now, digest, ports);
    await removeLeftovers(now.leftovers, { region, digest }, request, ports);
    const call = now.name === choice.name ? ready : await getReady(now.name, region, digest, request, ports);
    try {
      return await bakeImage(now.name, call, decided, request, ports);
    } catch (error) {
      // A template that names its image itself would meet the same name again.
      const another = error instanceof NameTakenError && error.taken === now.name;
      refused.add(now.name);
      if (!another || refused.size >= NAMES_TRIED) throw error;
      ports.log.notice(`${error.message}: the bake takes the next free name`);
    }
  }
}

/**
 * The choice as it is now that this run alone may bake: another may have baked meanwhile, or died and left an image that
 * this run has completed.
 */
async function imageNow(
  { choice, contended, region, digest, seen }: Decided,
  refused: ReadonlySet<string>,
  request: DeployRequest,
  ports: Ports,
): Promise<ImageChoice> {
  const joined = await bakedMeanwhile(region, digest, seen, request, ports);
  if (joined !== undefined || (!contended && refused.size === 0)) return joined ?? choice;
  const { application, version } = request;
  const [named, account] = await Promise.all([
    findByName(await ports.aws.ec2(region), region, imageName(application.name, version, digest)),
    ownAccount(region, ports),
  ]);
  return chooseName(named, { account, refused }, wishOf(request, digest, ports), choice.why);
}

/** Removes what earlier bakes of this content did not complete, as far as it is still so: no other run bakes it now. */
async function removeLeftovers(
  leftovers: readonly CatalogueImage[],
  { region, digest }: Pick<Decided, "region" | "digest">,
  request: DeployRequest,
  ports: Ports,
): Promise<void> {
  if (leftovers.length === 0) return;
  const ec2 = await ports.aws.ec2(region);
  const account = await ownAccount(region, ports);
  for (const { id, name } of leftovers) {
    const now = await describeImage(ec2, region, id);
    if (now === undefined || !isLeftover(now, account, wishOf(request, digest, ports))) continue;
    await deregister(ec2, id);
    ports.log.notice(`Removed ${id} (${name}) with its snapshots: the bake that made it did not complete it`);
  }
}

/** Publishes an image that is there. */
function found(
  { image }: Extract<ImageChoice, { kind: "reuse" }>,
  digest: Digest,
  ports: Ports,
): CatalogueImage {
  publishImage(image, false, digest, ports);
  return image;
}

/**
 * The image that another run baked of this content since this one decided to: two runs that need the same content at the
 * same time bake it once. Undefined if there is none.
 * @param seen the images of this content that were there when it was decided
 */
async function bakedMeanwhile(
  region: string,
  digest: Digest,
  seen: ReadonlySet<ImageId>,
  request: DeployRequest,
  ports: Ports,
): Promise<Extract<ImageChoice, { kind: "reuse" }> | undefined> {
  const { application } = request;
  const images = await findByDigest(await ports.aws.ec2(region), region, application.name, digest);
  const { image } = chooseByDigest(
    images.filter(({ id }) => !seen.has(id)),
    { ...wishOf(request, digest, ports), rebake: "auto" },
  );
  if (image === undefined) return undefined;
  ports.log.info(`Another run baked this content meanwhile: ${image.id} (${image.name}) is used`);
  return { kind: "reuse", image, why: "was baked meanwhile" };
}

async function bakeImage(
  name: string,
  ready: BakeReady,
  { region, digest, note }: Decided,
  request: DeployRequest,
  ports: Ports,
): Promise<CatalogueImage> {
  const order = orderOf(name, region, digest, request);
  const noted = new NotedTraces(order, note, ports);
  const account = (): Promise<string> => ownAccount(region, ports);
  const tools = {
    ...ports,
    ...bakeTools(ports),
    account,
    repositories: repositoriesOf(request),
    onMade: (made: Made) => noted.add(made),
    onEnded: async (ended: Ended) => {
      noted.add({ ended });
      await noted.written();
      const { tags } = order;
      ports.unfinished.packerEnded({ region, ids: ended.ids, account: await account(), digest, tags });
    },
  };
  const { image, baked } = await ports.log.group(`Bake ${name}`, async () => {
    try {
      return await makeImage(ports.aws, order, ready, tools);
    } finally {
      await noted.written();
    }
  });
  ports.unfinished.bakeFinished();
  const phases = baked.phases.map(({ phase, milliseconds }) => ({
    phase,
    seconds: Math.round(milliseconds / 1000),
  }));
  ports.log.info(
    `Baked ${image.id} (${image.name}) in ${region}: ${phases.map(({ phase, seconds }) => `${phase} ${seconds} s`).join(", ")}`,
  );
  publishImage(image, true, digest, ports, phases);
  await imageKeeper(request, ports).keep(image, digest, baked);
  return image;
}

function bakeTools(ports: Ports) {
  return {
    folder: ports.workspace,
    onStarted: (packer: StartedPacker) => ports.unfinished.packerStarted(packer),
    onMade: () => undefined,
  };
}

/** What the images that there are, and their names, are judged by. */
export function wishOf(request: DeployRequest, digest: Digest, { clock }: Ports): ImageWish {
  const { application, version, rebake } = request;
  return {
    application: application.name,
    repositories: repositoriesOf(request),
    version,
    digest,
    rebake,
    maxAge: application.image.maxAge,
    now: clock.now(),
  };
}

function orderOf(name: string, region: string, digest: Digest, request: DeployRequest): BakeOrder {
  return {
    recipe: { ...request.application.image, vars: request.vars },
    secretVars: request.secretVars,
    sensitive: request.sensitive,
    imageName: name,
    version: request.version,
    commit: request.run.commit,
    tags: { ...tagsOf(request), [TAG.name]: name },
    digest,
    region,
    mark: markOf(digest, request.run),
  };
}

/** What is known of an image before it is baked, less its mark; nothing of it is about an environment. */
function tagsOf(request: DeployRequest): Record<string, string> {
  const { run } = request;
  return {
    [TAG.application]: request.application.name,
    [TAG.commit]: run.commit,
    ...(run.branch === undefined ? {} : { [TAG.branch]: tagValue(run.branch) }),
    [TAG.version]: tagValue(request.version),
    [TAG.repository]: run.repository,
    [TAG.run]: run.url,
  };
}

/** Longest value of a tag (EC2 user guide: tag restrictions). */
const tagValue = (text: string): string => wholeCharacters(text, 256);
