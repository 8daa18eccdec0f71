import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, imageName, MAX_SERIAL, TAG } from "../domain/image.ts";
import { printable, shortened } from "../domain/printable.ts";
import type { CatalogueImage } from "./catalogue.ts";
import { contradicts, type TrustedOwner, wasCompleted, whyNotLaunchable } from "./trust.ts";

export type Rebake = "auto" | "always" | "never";

/** What a digest's images are looked at for. */
export interface ImageWish extends Pick<TrustedOwner, "application" | "repositories"> {
  readonly version: string;
  readonly digest: Digest;
  readonly rebake: Rebake;
  /** Milliseconds. */
  readonly maxAge: number | undefined;
  readonly now: Date;
}

export type ImageChoice =
  | { readonly kind: "reuse"; readonly image: CatalogueImage; readonly why: string }
  | {
      readonly kind: "bake";
      readonly name: string;
      readonly why: string;
      /** What earlier bakes of this content left unfinished: removed before this one begins. */
      readonly leftovers: readonly CatalogueImage[];
    };

/**
 * The image of this digest that is used again, or why none is.
 * @param found this account's images with the digest
 * @throws KilnError if `rebake: never` leaves nothing
 */
export function chooseByDigest(
  found: readonly CatalogueImage[],
  wish: ImageWish,
):
  | { readonly image: CatalogueImage; readonly why: string }
  | { readonly image: undefined; readonly why: string } {
  const usable = found
    // What was encrypted for one target is not what the others are to run.
    .filter((image) => whyNotUsable(image, wish) === undefined && image.tags[TAG.kmsKey] === undefined)
    .toSorted((a, b) => b.created.getTime() - a.created.getTime());
  const image = usable[0];
  const none = image === undefined;
  const age = none ? 0 : wish.now.getTime() - image.created.getTime();
  const tooOld = wish.maxAge !== undefined && age > wish.maxAge;
  if (none && wish.rebake === "never") {
    throw new KilnError(`There is no image of this content (${wish.digest}), and \`rebake\` is \`never\``, {
      state: "Nothing was changed.",
      next: "Leave `rebake` at `auto`, or check that `inputs` in the config file names what decides the content.",
    });
  }
  if (none) return { image: undefined, why: "no image has this content yet" };
  if (wish.rebake === "always") return { image: undefined, why: "`rebake` is `always`" };
  if (tooOld && wish.rebake === "auto") {
    return {
      image: undefined,
      why: `${image.id} is ${formatDuration(age)} old, \`max-age\` is ${formatDuration(wish.maxAge)}`,
    };
  }
  return { image, why: `has this content, ${bakedBy(image, wish.now)}` };
}

/** AWS was asked for this account's own images only. */
const whyNotUsable = (image: CatalogueImage, wish: ImageWish): string | undefined =>
  whyNotLaunchable(image, { ...wish, account: undefined });

/** Characters of a tag that are shown. */
const MAX_SHOWN = 100;

/** Where an image comes from, for people: how old it is, and which commit, branch and run it was baked from. */
function bakedBy({ created, tags }: CatalogueImage, now: Date): string {
  const shown = (key: string): string | undefined => {
    const text = tags[key];
    return text === undefined || text === "" ? undefined : shortened(printable(text), MAX_SHOWN);
  };
  const commit = shown(TAG.commit)?.slice(0, 12) ?? "?";
  const branch = shown(TAG.branch);
  const run = shown(TAG.run);
  const age = formatDuration(now.getTime() - created.getTime());
  return `baked ${age} ago from commit ${commit}${branch === undefined ? "" : ` of branch ${branch}`}${run === undefined ? "" : ` by ${run}`}`;
}

/**
 * The image that a required environment has released.
 * @throws KilnError if it is not there any more, or may not be launched
 */
export function chooseProven(
  found: readonly CatalogueImage[],
  proven: ImageId,
  region: string,
  wish: ImageWish,
): ImageChoice {
  const image = found.find(({ id }) => id === proven);
  const why = image === undefined ? undefined : whyNotUsable(image, wish);
  if (image !== undefined && why === undefined) {
    return {
      kind: "reuse",
      image,
      why: `is the one that the required environment released, ${bakedBy(image, wish.now)}`,
    };
  }
  throw new KilnError(
    `${proven}, the image that the required environment released, is not available in ${region}${why === undefined ? "" : `: ${why}`}`,
    {
      state: "Nothing was changed.",
      next: "Release this content to the required environment again: that bakes a new image.",
    },
  );
}

/**
 * The name of a new bake: the first serial that no visible image has. Packer 1.6 refuses names of all accounts' images that
 * it can see, newer versions only those of its own account.
 * @param named all images that have the name or begin with it, whoever owns them
 * @param account the account that bakes
 * @param refused names that turned out to be taken although no image shows it: a disabled image is not listed
 * @throws KilnError if all serials are taken
 */
export function chooseName(
  named: readonly CatalogueImage[],
  { account, refused = new Set() }: { readonly account: string; readonly refused?: ReadonlySet<string> },
  wish: ImageWish,
  why: string,
): Extract<ImageChoice, { kind: "bake" }> {
  const names = Array.from({ length: MAX_SERIAL }, (_, index) =>
    imageName(wish.application, wish.version, wish.digest, index + 1),
  );
  const ours = new Set(names);
  const leftovers = named.filter((image) => ours.has(image.name) && isLeftover(image, account, wish));
  const taken = new Set([
    ...refused,
    ...named.filter((image) => !leftovers.includes(image)).map(({ name }) => name),
  ]);
  const name = names.find((each) => !taken.has(each));
  if (name === undefined) {
    throw new KilnError(`Every image name from ${names[0] ?? ""} to ${names.at(-1) ?? ""} is taken`, {
      state: "Nothing was changed.",
      next: "Choose another `version` or application name, or remove images of this content that nobody needs.",
    });
  }
  return { kind: "bake", name, why, leftovers };
}

/**
 * An image that a bake of this content did not complete, and that AWS shows to be one: its tags name this application and
 * repository, and it has no mark, nor had one. An image without tags may be anybody's.
 */
export function isLeftover(
  image: CatalogueImage,
  account: string,
  wish: Pick<ImageWish, "application" | "repositories" | "digest">,
): boolean {
  const { owner, tags } = image;
  const isTagged = tags[TAG.application] !== undefined && tags[TAG.repository] !== undefined;
  return owner === account && isTagged && !wasCompleted(image) && !contradicts(image, wish);
}
