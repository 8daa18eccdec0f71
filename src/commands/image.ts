import { type Digest, type ImageId, imageName } from "../domain/image.ts";
import { type CatalogueImage, findByDigest, findByName } from "../image/catalogue.ts";
import { chooseByDigest, chooseName, chooseProven, type ImageChoice } from "../image/choice.ts";
import { digestOf } from "../image/content/digest.ts";
import {
  decidedAtBakeLine,
  digestDetails,
  digestLine,
  gapNotices,
  missingWarnings,
} from "../image/content/report.ts";
import { getReady, obtainImage, rehearse, wishOf } from "./baking.ts";
import { imageKeeper } from "./image-files.ts";
import { ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { copiesOf, everywhere, type Regions } from "./region-images.ts";
import type { ImageSource } from "./release-order.ts";
import type { DeployRequest } from "./request.ts";

/** The digest of what is checked out, with what it covers and what it may not cover. */
export async function findDigest(request: DeployRequest, ports: Ports): Promise<Digest> {
  const recipe = { ...request.application.image, vars: request.vars };
  const found = await imageKeeper(request, ports).found();
  for (const notice of gapNotices(found)) ports.log.notice(notice);
  for (const warning of await missingWarnings(found, recipe, ports.workspace)) ports.log.warning(warning);
  for (const line of digestDetails(found)) ports.log.debug(line);
  const digest = digestOf(found.content);
  ports.log.info(digestLine(digest, found));
  const decidedLater = decidedAtBakeLine(found.facts);
  if (decidedLater !== undefined) ports.log.info(decidedLater);
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
  if (proven !== undefined) return { choice: chooseProven(images, proven, region, wish), images };
  const found = chooseByDigest(images, wish);
  if (found.image !== undefined) {
    return { choice: { kind: "reuse", image: found.image, why: found.why }, images };
  }
  const [named, account] = await Promise.all([
    findByName(ec2, region, imageName(application.name, version, digest)),
    ownAccount(region, ports),
  ]);
  return { choice: chooseName(named, { account }, wish, found.why), images };
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
    rehearse: async ({ home: choice }) =>
      choice.kind === "bake" ? rehearse(choice.name, home, digest, request, ports) : undefined,
    async obtain({ home: choice, elsewhere }, ready) {
      const image = await obtainImage(choice, ready, home, digest, seen, request, ports);
      return everywhere(image, digest, others, elsewhere, ports);
    },
    files: imageKeeper(request, ports),
  };
}
