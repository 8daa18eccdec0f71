import type { Environment } from "../domain/application.ts";
import { type Digest, type ImageId, TAG } from "../domain/image.ts";
import type { ImageResult } from "../domain/result.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import type { ImageChoice } from "../image/choice.ts";
import { copyTo, findCopy, type Place } from "../image/copies.ts";
import { homeOf } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ComingImages, RegionImages } from "./release-order.ts";

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

/** The copies of an image that are there already; all regions at the same time. */
export async function copiesOf(
  choice: ImageChoice,
  places: readonly Place[],
  ports: Ports,
): Promise<ReadonlyMap<string, CatalogueImage | undefined>> {
  return new Map(
    await Promise.all(
      places.map(async (place) => {
        const { region } = place;
        if (choice.kind !== "reuse") return [region, undefined] as const;
        return [region, await findCopy(await ports.aws.ec2(region), choice.image, place)] as const;
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

/** Makes known which image it is, as soon as that is a fact. */
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
