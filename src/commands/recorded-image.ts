import { KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { type CatalogueImage, describeImage } from "../image/catalogue.ts";
import { copyName, findCopy, type Place } from "../image/copies.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { everywhere, publishImage, type Regions } from "./region-images.ts";
import { claimOf, ownAccount, type OwnerRequest } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import type { ImageSource } from "./release-order.ts";

/**
 * The image that a record names, after it was checked in each region that it is this application's: never a bake. In a
 * region that the record does not name (a target that came later) it is copied from one that it does.
 */
export function recordedImage(
  record: ReleaseRecord,
  regions: Regions,
  request: OwnerRequest,
  ports: Ports,
): ImageSource {
  const [home] = regions;
  const trusted = (region: string): Promise<CatalogueImage | undefined> =>
    trustedImage(record, region, request, ports);
  return {
    async choose() {
      const image = await trusted(record.images[home] === undefined ? firstOf(record) : home);
      if (image === undefined) throw notIn(record, home);
      const elsewhere = await Promise.all(
        placesFrom(image, regions).map(
          async (place) => [place.region, await inPlace(image, place, trusted, ports)] as const,
        ),
      );
      return {
        home: { kind: "reuse", image, why: `is the image of ${formatReleaseTag(record.tag)}` },
        elsewhere: new Map(elsewhere),
      };
    },
    prepare: async () => undefined,
    async obtain({ home: choice, elsewhere }) {
      if (choice.kind !== "reuse") throw new Error("a recorded image is never baked");
      publishImage(choice.image, false, record.imageDigest, ports);
      const places = placesFrom(choice.image, regions);
      return everywhere(choice.image, record.imageDigest, places, elsewhere, ports);
    },
  };
}

/** Where else the image is needed: also in the region that images are baked in, where the record has none there. */
function placesFrom({ region }: CatalogueImage, [home, ...others]: Regions): readonly Place[] {
  return region === home || others.some((place) => place.region === home)
    ? others
    : [{ region: home }, ...others];
}

/** A region that the record has an image in: it can be copied from there. */
function firstOf(record: ReleaseRecord): string {
  return Object.keys(record.images)[0] ?? "";
}

/**
 * The record's image in a place: the one that it names there, unless that is not encrypted as this environment wants it;
 * then the copy that is. Undefined where it is still to be copied.
 */
async function inPlace(
  image: CatalogueImage,
  place: Place,
  trusted: (region: string) => Promise<CatalogueImage | undefined>,
  ports: Ports,
): Promise<CatalogueImage | undefined> {
  const named = place.region === image.region ? image : await trusted(place.region);
  if (named !== undefined && copyName(named.name, place.kmsKey) === named.name) return named;
  return findCopy(await ports.aws.ec2(place.region), image, place);
}

/** The record's image in a region; undefined where the record names none there. */
async function trustedImage(
  record: ReleaseRecord,
  region: string,
  request: OwnerRequest,
  ports: Ports,
): Promise<CatalogueImage | undefined> {
  const id = record.images[region];
  if (id === undefined) return undefined;
  const ec2 = await ports.aws.ec2(region);
  const [image, account] = await Promise.all([describeImage(ec2, region, id), ownAccount(region, ports)]);
  const why = whyNotLaunchable(image, claimOf(record, request, account));
  if (image !== undefined && why === undefined) return image;
  throw new KilnError(
    `${id}, the image of ${formatReleaseTag(record.tag)}, cannot be launched in ${region}: ${why ?? "?"}`,
    {
      state: "Nothing was changed.",
      next: "Choose another release; if you did not expect this, find out who made that tag or changed the image.",
    },
  );
}

function notIn(record: ReleaseRecord, region: string): KilnError {
  return new KilnError(`${formatReleaseTag(record.tag)} has no image in ${region}`, {
    state: `Nothing was changed. It has ${Object.entries(record.images)
      .map(([place, ami]) => `${place} ${ami}`)
      .join(", ")}.`,
    next: "Choose a release that was made for this region.",
  });
}
