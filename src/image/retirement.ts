import type { PruneSettings } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { type ImageId, isDigest, TAG } from "../domain/image.ts";
import type { PruneAction } from "../domain/result.ts";

/** An image as it is found when images are retired. */
export interface StoredImage {
  readonly id: ImageId;
  readonly region: string;
  readonly name: string;
  readonly owner: string;
  readonly state: string;
  readonly created: Date;
  /** From when on it is deprecated; may lie ahead. */
  readonly deprecated: Date | undefined;
  /** AWS tells a launch a day later. */
  readonly lastLaunched: Date | undefined;
  readonly protection: "none" | "without cooldown" | "with cooldown";
  readonly snapshots: readonly { readonly id: string; readonly gigabytes: number }[];
  readonly tags: Readonly<Record<string, string>>;
}

/** Whose images may be retired: all three have to agree. */
export interface Ownership {
  readonly account: string;
  readonly application: string;
  /** `owner/name`: the repository, and its former names. */
  readonly repositories: readonly string[];
}

/** All that decides which images go. */
export interface RetirementWorld {
  readonly now: Date;
  readonly ours: Ownership;
  readonly settings: PruneSettings;
  readonly images: readonly StoredImage[];
  /** Why an image is needed, by its id: what targets run and launch, what records name. */
  readonly needed: ReadonlyMap<string, string>;
  /** The images that an environment's newest record names. */
  readonly current: ReadonlySet<string>;
  /** The images that have instances anywhere in the accounts. */
  readonly launched: ReadonlySet<string>;
  /** What else names an image, by its id; absent: that could not be looked up, and nothing is deregistered. */
  readonly references: ReadonlyMap<string, string> | undefined;
}

/** One thing that is to be done with an image, or that is waited for. */
export interface RetirementStep {
  readonly image: StoredImage;
  readonly action: PruneAction;
  readonly why: string;
}

export interface RetirementPlan {
  readonly steps: readonly RetirementStep[];
  /** How many images of the application stay because something needs them, or because they are young. */
  readonly kept: number;
}

/**
 * How far ahead a deprecation is set: AWS refuses a time in the past (API reference, EnableImageDeprecation), which a
 * runner's clock that is a little late would name.
 */
export const DEPRECATE_AHEAD = 2 * 60_000;
/** A deprecation that begins within this counts as begun: it is the one that a run has just set. */
const BEGUN_WITHIN = 15 * 60_000;

/** Decides what becomes of each image. Pure: what is not found in the world is not needed, so the world must be whole. */
export function planRetirement(world: RetirementWorld): RetirementPlan {
  const ours = world.images.filter((image) => isOurs(image, world.ours));
  const newest = newestOfRegions(ours);
  let kept = 0;
  const steps = ours.flatMap((image) => {
    const need = whyNeeded(image, world, newest);
    const stays = need ?? whyLeftAlone(image, world);
    if (stays === undefined) return [retire(image, world)];
    kept += 1;
    return need === undefined ? [] : secure(image, need, world);
  });
  return { steps, kept };
}

/** Whether an image may be touched at all: of this account, application and repository, and made by Kiln. */
export function isOurs({ owner, tags }: StoredImage, ours: Ownership): boolean {
  return (
    owner === ours.account &&
    tags[TAG.application] === ours.application &&
    ours.repositories.includes(tags[TAG.repository] ?? "") &&
    isDigest(tags[TAG.digest] ?? "")
  );
}

/** Gigabytes of an image's snapshots as AWS sizes them; what is paid for is at most that. */
export function gigabytesOf({ snapshots }: StoredImage): number {
  return snapshots.reduce((all, { gigabytes }) => all + gigabytes, 0);
}

/** What a deploy of the same content would use: the newest image of each region. */
function newestOfRegions(images: readonly StoredImage[]): ReadonlySet<string> {
  const newest = new Map<string, StoredImage>();
  for (const image of images) {
    const other = newest.get(image.region);
    if (image.state !== "available") continue;
    if (other === undefined || image.created > other.created) newest.set(image.region, image);
  }
  return new Set([...newest.values()].map(({ id }) => id));
}

function whyNeeded(
  image: StoredImage,
  { needed, launched, references, now, settings }: RetirementWorld,
  newest: ReadonlySet<string>,
): string | undefined {
  const need = needed.get(image.id);
  if (need !== undefined) return need;
  if (launched.has(image.id)) return "there are instances of it";
  const reference = references?.get(image.id);
  if (reference !== undefined) return `${reference} names it`;
  if (newest.has(image.id)) return `it is the newest image in ${image.region}`;
  const { lastLaunched } = image;
  if (lastLaunched !== undefined && now.getTime() - lastLaunched.getTime() < settings.minAge)
    return `somebody launched it ${ago(lastLaunched, now)}`;
  return undefined;
}

/** What keeps an image without anybody needing it: its deprecation is then somebody's own, and stays. */
function whyLeftAlone(image: StoredImage, { now, settings }: RetirementWorld): string | undefined {
  // Pending is being made, disabled is somebody's own doing, failed cannot be deprecated.
  if (image.state !== "available") return `it is ${image.state}`;
  return now.getTime() - image.created.getTime() < settings.minAge ? "it is young" : undefined;
}

/** A needed image is not deprecated, and a current one cannot be deregistered by accident. */
function secure(image: StoredImage, why: string, { now, current }: RetirementWorld): RetirementStep[] {
  if (image.state !== "available") return [];
  const steps: RetirementStep[] = [];
  if (hasBegun(image.deprecated, now)) steps.push({ image, action: "restored", why });
  if (current.has(image.id) && image.protection === "none") steps.push({ image, action: "protected", why });
  return steps;
}

function retire(image: StoredImage, { now, settings, references }: RetirementWorld): RetirementStep {
  const { deprecated } = image;
  if (deprecated === undefined || !hasBegun(deprecated, now)) {
    const releases = settings.keep === 1 ? "newest release" : `last ${settings.keep} releases`;
    return {
      image,
      action: "deprecated",
      why: `nothing runs it, and it is not among the ${releases} of any environment`,
    };
  }
  const since = `deprecated since ${day(deprecated)}`;
  const end = new Date(deprecated.getTime() + settings.grace);
  if (end <= now && references === undefined)
    return { image, action: "waiting", why: `${since}; whether something names it could not be looked up` };
  return end <= now
    ? { image, action: "deregistered", why: `${since}, and still nothing needs it` }
    : { image, action: "waiting", why: `${since}; it goes from ${day(end)} on` };
}

function hasBegun(deprecated: Date | undefined, now: Date): boolean {
  return deprecated !== undefined && deprecated.getTime() - now.getTime() <= BEGUN_WITHIN;
}

const day = (date: Date): string => date.toISOString().slice(0, 10);
const ago = (date: Date, now: Date): string => `${formatDuration(now.getTime() - date.getTime())} ago`;
