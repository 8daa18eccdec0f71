import { type Digest, type ImageId, imageName, TAG } from "../domain/image.ts";
import { wholeCharacters } from "../domain/printable.ts";
import { NameTakenError } from "../image/bake.ts";
import type { BakeOrder, BakeReady, StartedPacker } from "../image/bake-order.ts";
import { prepareBake } from "../image/bake-preparation.ts";
import { formatTraces, type Made } from "../image/bake-traces.ts";
import { type CatalogueImage, findByDigest, findByName } from "../image/catalogue.ts";
import { chooseName, type ImageChoice, type ImageWish } from "../image/choice.ts";
import { makeImage, makeOurs } from "../image/new-image.ts";
import { bakeLock } from "../release/lock.ts";
import { markOf, NotedTraces, sweepDeadBake, sweepOtherBakes } from "./dead-bakes.ts";
import { imageKeeper } from "./image-files.ts";
import { holding, releaseDead } from "./locks.ts";
import { ownAccount } from "./own-account.ts";
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
  const inherit = (message: string): Promise<void> => sweepDeadBake(message, ports);
  if (choice.kind !== "bake") {
    // An earlier attempt that came as far as the image may have died holding the bake's lock.
    if (run.attempt !== "1") await releaseDead(bakeLock(digest), run, ports, inherit);
    return found(choice, region, digest, request, ports);
  }
  if (ready === undefined) throw new Error("a bake that was not prepared");
  return holding(
    {
      what: bakeLock(digest),
      commit: run.commit,
      notes: formatTraces({ region, imageName: choice.name, mark: markOf(digest, run) }),
      inherit,
      work: async (contended, note) => {
        await sweepOtherBakes(digest, run, ports);
        const now = await imageNow({ choice, contended, region, digest, seen }, request, ports);
        if (now.kind !== "bake") return found(now, region, digest, request, ports);
        const call =
          now.name === choice.name ? ready : await getReady(now.name, region, digest, request, ports);
        try {
          return await bakeImage(now.name, call, region, digest, note, request, ports);
        } catch (error) {
          if (!(error instanceof NameTakenError)) throw error;
          // Packer of a run that died may have gone on, and have been faster.
          const faster = await imageNow({ choice, contended: true, region, digest, seen }, request, ports);
          if (faster.kind === "bake") throw error;
          ports.log.notice(`${error.message}; but the image is there: another run's Packer made it`);
          return found(faster, region, digest, request, ports);
        }
      },
    },
    request,
    ports,
  );
}

/** What was decided, and since when. */
interface Decided {
  readonly choice: Extract<ImageChoice, { kind: "bake" }>;
  /** Another run held the bake's lock since then. */
  readonly contended: boolean;
  readonly region: string;
  readonly digest: Digest;
  /** The images of this content that were there when it was decided. */
  readonly seen: ReadonlySet<ImageId>;
}

/**
 * The choice as it is now that this run alone may bake: another may have baked meanwhile, or died before it came to tag
 * what it baked.
 */
async function imageNow(
  { choice, contended, region, digest, seen }: Decided,
  request: DeployRequest,
  ports: Ports,
): Promise<ImageChoice> {
  const joined = await bakedMeanwhile(region, digest, seen, request, ports);
  if (joined !== undefined || !contended) return joined ?? choice;
  const { application, version } = request;
  const [named, account] = await Promise.all([
    findByName(await ports.aws.ec2(region), region, imageName(application.name, version, digest)),
    ownAccount(region, ports),
  ]);
  return chooseName(named, account, wishOf(request, digest, ports), choice.why);
}

/** An image that is there, made ours where a run did not come to that. */
async function found(
  choice: Exclude<ImageChoice, { kind: "bake" }>,
  region: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<CatalogueImage> {
  const image =
    choice.kind === "reuse"
      ? choice.image
      : await makeOurs(await ports.aws.ec2(region), choice.image, tagsOf(digest, request), undefined);
  publishImage(image, false, digest, ports);
  return image;
}

/**
 * The image that another run baked of this content since this one decided to: two runs that need the same content at the
 * same time bake it once. Undefined where there is none.
 * @param seen the images of this content that were there when it was decided
 */
async function bakedMeanwhile(
  region: string,
  digest: Digest,
  seen: ReadonlySet<ImageId>,
  { application }: DeployRequest,
  ports: Ports,
): Promise<Extract<ImageChoice, { kind: "reuse" }> | undefined> {
  const images = await findByDigest(await ports.aws.ec2(region), region, application.name, digest);
  const image = images.find(
    ({ id, state, tags }) => state === "available" && !seen.has(id) && tags[TAG.kmsKey] === undefined,
  );
  if (image === undefined) return undefined;
  ports.log.info(`Another run baked this content meanwhile: ${image.id} (${image.name}) is used`);
  return { kind: "reuse", image, why: "was baked meanwhile" };
}

async function bakeImage(
  name: string,
  ready: BakeReady,
  region: string,
  digest: Digest,
  note: (notes: string) => Promise<void>,
  request: DeployRequest,
  ports: Ports,
): Promise<CatalogueImage> {
  const order = orderOf(name, region, digest, request);
  const noted = new NotedTraces(order, note, ports);
  const tools = { ...ports, ...bakeTools(ports), onMade: (made: Made) => noted.add(made) };
  const { image, baked } = await ports.log.group(`Bake ${name}`, async () => {
    try {
      return await makeImage(ports.aws, order, ready, tools);
    } finally {
      await noted.written();
    }
  });
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
export function wishOf(
  { application, version, run, rebake }: DeployRequest,
  digest: Digest,
  { clock }: Ports,
): ImageWish {
  const { repository } = run;
  const { maxAge } = application.image;
  return { application: application.name, repository, version, digest, rebake, maxAge, now: clock.now() };
}

function orderOf(name: string, region: string, digest: Digest, request: DeployRequest): BakeOrder {
  return {
    recipe: { ...request.application.image, vars: request.vars },
    secretVars: request.secretVars,
    sensitive: request.sensitive,
    imageName: name,
    version: request.version,
    commit: request.run.commit,
    tags: { ...tagsOf(digest, request), [TAG.name]: name },
    region,
    mark: markOf(digest, request.run),
  };
}

/** What is known of an image before it is baked; nothing of it is about an environment. */
function tagsOf(digest: Digest, request: DeployRequest): Record<string, string> {
  const { run } = request;
  return {
    [TAG.application]: request.application.name,
    [TAG.commit]: run.commit,
    ...(run.branch === undefined ? {} : { [TAG.branch]: tagValue(run.branch) }),
    [TAG.version]: tagValue(request.version),
    [TAG.digest]: digest,
    [TAG.repository]: run.repository,
    [TAG.run]: run.url,
  };
}

/** Longest value of a tag (EC2 user guide: tag restrictions). */
const tagValue = (text: string): string => wholeCharacters(text, 256);
