import type { Environment } from "../domain/application.ts";
import { type Digest, type ImageId, imageName, TAG } from "../domain/image.ts";
import { wholeCharacters } from "../domain/printable.ts";
import type { ImageResult } from "../domain/result.ts";
import {
  type BakeOrder,
  type BakeReady,
  NameTakenError,
  prepareBake,
  type StartedPacker,
} from "../image/bake.ts";
import { formatTraces, type Made } from "../image/bake-traces.ts";
import { type CatalogueImage, findByDigest, findByName } from "../image/catalogue.ts";
import {
  chooseByDigest,
  chooseName,
  chooseProven,
  type ImageChoice,
  type ImageWish,
} from "../image/choice.ts";
import { copyTo, findCopy, type Place } from "../image/copies.ts";
import { linksOutside } from "../image/content-links.ts";
import { digestOf } from "../image/digest.ts";
import { makeImage, makeOurs } from "../image/new-image.ts";
import { bakeLock } from "../release/lock.ts";
import { markOf, NotedTraces, sweepDeadBake, sweepOtherBakes } from "./dead-bakes.ts";
import { holding, releaseDead } from "./locks.ts";
import { imageKeeper } from "./image-files.ts";
import { homeOf } from "./plan.ts";
import { ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import type { ComingImages, ImageSource, RegionImages } from "./release-order.ts";
import type { DeployRequest } from "./request.ts";

/** Where an image is needed; the first is where it is baked. */
export type Regions = readonly [home: string, ...others: Place[]];

/** The regions of an environment's targets, the first target's first; once more where its image is to be encrypted. */
export function regionsOf(environment: Environment): Regions {
  const home = homeOf(environment);
  const others = new Map(
    environment.targets.flatMap(({ region, kmsKey }) =>
      region === home && kmsKey === undefined ? [] : [[region, { region, kmsKey }] as const],
    ),
  );
  return [home, ...others.values()];
}

/** The digest of this commit's content, with the list of what went in for those who debug. */
export async function findDigest(request: DeployRequest, ports: Ports): Promise<Digest> {
  const recipe = { ...request.application.image, vars: request.vars };
  const files = await imageKeeper(request, ports).files();
  const outside = await linksOutside(recipe, files, ports.workspace);
  if (outside.length > 0) {
    const more = outside.length > 5 ? ` and ${outside.length - 5} more` : "";
    ports.log.notice(
      `Symbolic links of the content lead out of the repository: ${outside.slice(0, 5).join(", ")}${more}. What is there is no part of the image's identity`,
    );
  }
  for (const file of files) ports.log.debug(`content: ${file.mode} ${file.object} ${file.path}`);
  const digest = digestOf(recipe.template, files, request.vars);
  ports.log.info(
    `Content digest ${digest}: ${files.length} files, ${Object.keys(request.vars).length} variables`,
  );
  ports.facts.publish({ image: { digest } });
  return digest;
}

/** Reads what images there are and decides; the name is looked at only where a bake is to have it. */
async function chooseImage(
  request: DeployRequest,
  digest: Digest,
  region: string,
  ports: Ports,
  proven?: ImageId,
): Promise<{ readonly choice: ImageChoice; readonly images: readonly CatalogueImage[] }> {
  const { application, version } = request;
  const wish = wishOf(request, digest, ports);
  const ec2 = await ports.aws.ec2(region);
  const images = await findByDigest(ec2, region, application.name, digest);
  if (proven !== undefined) return { choice: chooseProven(images, proven, region), images };
  const found = chooseByDigest(images, wish);
  if (found.image !== undefined) {
    return { choice: { kind: "reuse", image: found.image, why: found.why }, images };
  }
  const [named, account] = await Promise.all([
    findByName(ec2, region, imageName(application.name, version, digest)),
    ownAccount(region, ports),
  ]);
  return { choice: chooseName(named, account, wish, found.why), images };
}

function wishOf(
  { application, version, run, rebake }: DeployRequest,
  digest: Digest,
  { clock }: Ports,
): ImageWish {
  const { repository } = run;
  const { maxAge } = application.image;
  return { application: application.name, repository, version, digest, rebake, maxAge, now: clock.now() };
}

/**
 * The image of a content: found where there is one, else baked; in the first of the regions, and copied from there to the
 * others.
 */
export function bakedOrFound(
  request: DeployRequest,
  digest: Digest,
  [home, ...others]: Regions,
  ports: Ports,
  proven?: ImageId,
): ImageSource {
  let seen: ReadonlySet<ImageId> = new Set();
  return {
    async choose() {
      const { choice, images } = await chooseImage(request, digest, home, ports, proven);
      seen = new Set(images.map(({ id }) => id));
      return { home: choice, elsewhere: await copiesOf(choice, others, ports) };
    },
    prepare: async ({ home: choice }) =>
      choice.kind === "bake" ? getReady(choice.name, home, digest, request, ports) : undefined,
    async obtain({ home: choice, elsewhere }, ready) {
      const image = await obtainImage(choice, ready, home, digest, seen, request, ports);
      return everywhere(image, digest, others, elsewhere, ports);
    },
    files: imageKeeper(request, ports),
  };
}

/** The copies of an image that are there already; all regions at the same time. */
async function copiesOf(
  choice: ImageChoice,
  places: readonly Place[],
  ports: Ports,
): Promise<ReadonlyMap<string, CatalogueImage | undefined>> {
  return new Map(
    await Promise.all(
      places.map(async (place) => {
        const { region } = place;
        if (choice.kind !== "reuse") return [region, undefined] as const;
        const copy = await findCopy(await ports.aws.ec2(region), choice.image, place);
        return [region, copy?.state === "available" ? copy : undefined] as const;
      }),
    ),
  );
}

/** The image in all regions: copied where it is not yet, all at the same time; none of the copies is waited for. */
export function everywhere(
  image: CatalogueImage,
  digest: Digest,
  others: readonly Place[],
  known: ReadonlyMap<string, CatalogueImage | undefined>,
  ports: Ports,
): ComingImages {
  const ids: Record<string, ImageId> = { [image.region]: image.id };
  const copies = others.map((place) => {
    const { region } = place;
    const coming = copied(image, place, known.get(region), ports).then((copy) => {
      ids[region] = copy.id;
      ports.facts.publish({ image: { digest, ids: { ...ids } } });
      return copy;
    });
    // Whoever needs it hears of a failure; until then it is nobody's.
    coming.catch(() => undefined);
    return [region, coming] as const;
  });
  return new Map([[image.region, Promise.resolve(image)], ...copies]);
}

async function copied(
  image: CatalogueImage,
  place: Place,
  known: CatalogueImage | undefined,
  ports: Ports,
): Promise<CatalogueImage> {
  return known ?? copyTo(ports.aws, image, place, ports);
}

/** All of them, when the last copy is there. */
export async function allOf(coming: ComingImages): Promise<RegionImages> {
  return new Map(
    await Promise.all([...coming].map(async ([region, image]) => [region, await image] as const)),
  );
}

/** Finds Packer and validates the template, before anything is touched. */
async function getReady(
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
async function obtainImage(
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

export function publishImage(
  image: CatalogueImage,
  baked: boolean,
  digest: Digest,
  ports: Ports,
  phases?: NonNullable<ImageResult["phases"]>,
): void {
  const commit = image.tags[TAG.commit];
  ports.facts.publish({
    image: {
      digest,
      name: image.name,
      ids: { [image.region]: image.id },
      baked,
      created: image.created.toISOString(),
      ...(commit === undefined ? {} : { commit }),
      ...(image.baseImage === undefined ? {} : { baseImages: { [image.region]: image.baseImage } }),
      ...(phases === undefined ? {} : { phases }),
    },
  });
}
