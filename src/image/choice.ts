import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, imageName, TAG } from "../domain/image.ts";
import type { CatalogueImage } from "./catalogue.ts";

export type Rebake = "auto" | "always" | "never";

/** What a digest's images are looked at for. */
export interface ImageWish {
  readonly application: string;
  readonly repository: string;
  readonly version: string;
  readonly digest: Digest;
  readonly rebake: Rebake;
  /** Milliseconds. */
  readonly maxAge: number | undefined;
  readonly now: Date;
}

export type ImageChoice =
  | { readonly kind: "reuse"; readonly image: CatalogueImage; readonly why: string }
  /** An image of this very name that a run made and did not come to tag. */
  | { readonly kind: "adopt"; readonly image: CatalogueImage; readonly why: string }
  | { readonly kind: "bake"; readonly name: string; readonly why: string };

/**
 * The image of this digest that is used again, or why none is.
 * @param found this account's images with the digest
 * @throws KilnError where `rebake: never` leaves nothing
 */
export function chooseByDigest(
  found: readonly CatalogueImage[],
  wish: ImageWish,
):
  | { readonly image: CatalogueImage; readonly why: string }
  | { readonly image: undefined; readonly why: string } {
  const usable = found
    // What was encrypted for one target is not what the others are to run.
    .filter((image) => image.state === "available" && image.tags[TAG.kmsKey] === undefined)
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
  return {
    image,
    why: `has this content, baked ${formatDuration(age)} ago from commit ${(image.tags[TAG.commit] ?? "?").slice(0, 12)}`,
  };
}

/**
 * The very image that a required environment has released.
 * @throws KilnError where it is not there any more
 */
export function chooseProven(found: readonly CatalogueImage[], proven: ImageId, region: string): ImageChoice {
  const image = found.find((candidate) => candidate.id === proven && candidate.state === "available");
  if (image !== undefined)
    return { kind: "reuse", image, why: "is the one that the required environment released" };
  throw new KilnError(
    `${proven}, the image that the required environment released, is not available in ${region}`,
    {
      state: "Nothing was changed.",
      next: "Release this content to the required environment again: that bakes it anew.",
    },
  );
}

/**
 * The name of a new bake, or the image that is already there under it. The name holds 12 digits of the digest, so that
 * an image of ours under it that says nothing else is this content's.
 * @param named all images that have the name or a further one of it, whoever owns them
 * @param account the account that bakes
 * @throws KilnError where the name is somebody else's
 */
export function chooseName(
  named: readonly CatalogueImage[],
  account: string,
  wish: ImageWish,
  why: string,
): ImageChoice {
  const own = named.filter((image) => image.owner === account);
  // Packer 1.6 minds images of all accounts that it can see, newer ones only their own account's.
  const foreign = named.find((image) => image.owner !== account || !isOurs(image, wish));
  if (foreign !== undefined) throw taken(foreign, account);
  const unfinished = own.find((image) => image.tags[TAG.digest] === undefined && image.state === "available");
  if (unfinished !== undefined && wish.rebake !== "always") {
    return { kind: "adopt", image: unfinished, why: "was baked by a run that did not come to tag it" };
  }
  const names = new Set(named.map((image) => image.name));
  for (let serial = 1; ; serial += 1) {
    const name = imageName(wish.application, wish.version, wish.digest, serial);
    if (!names.has(name)) return { kind: "bake", name, why };
  }
}

/**
 * An image of this account under our name that contradicts nothing: made from an instance, as Packer does, or from another
 * image of its region, as Packer does to encrypt it; no foreign tags.
 */
function isOurs(image: CatalogueImage, wish: ImageWish): boolean {
  const agrees = (key: string, value: string): boolean =>
    image.tags[key] === undefined || image.tags[key] === value;
  return (
    agrees(TAG.digest, wish.digest) &&
    agrees(TAG.application, wish.application) &&
    agrees(TAG.repository, wish.repository) &&
    (image.tags[TAG.digest] !== undefined || image.fromInstance || image.copiedFrom === image.region)
  );
}

function taken(image: CatalogueImage, account: string): KilnError {
  const whose =
    image.owner === account
      ? `an image of this account that is not this content's`
      : `an image of account ${image.owner}`;
  return new KilnError(`The image name ${image.name} is taken by ${image.id} in ${image.region}, ${whose}`, {
    state: `Nothing was changed. Its tags: ${
      Object.entries(image.tags)
        .map(([key, value]) => `${key}=${value}`)
        .join(", ") || "none"
    }.`,
    next: "Choose another application name or `version`, or remove that image if nobody needs it.",
  });
}
