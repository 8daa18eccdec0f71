import { type Digest, type ImageId, imageName } from "../domain/image.ts";
import { type CatalogueImage, findByDigest, findByName } from "../image/catalogue.ts";
import { chooseByDigest, chooseName, chooseProven, type ImageChoice } from "../image/choice.ts";
import { linksOutside } from "../image/content-links.ts";
import { digestOf } from "../image/digest.ts";
import { getReady, obtainImage, wishOf } from "./baking.ts";
import { imageKeeper } from "./image-files.ts";
import { ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { copiesOf, everywhere, type Regions } from "./region-images.ts";
import type { ImageSource } from "./release-order.ts";
import type { DeployRequest } from "./request.ts";

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
    async obtain({ home: choice, elsewhere }, ready) {
      const image = await obtainImage(choice, ready, home, digest, seen, request, ports);
      return everywhere(image, digest, others, elsewhere, ports);
    },
    files: imageKeeper(request, ports),
  };
}
