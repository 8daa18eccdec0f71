import type { Environment } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { Place } from "../image/copies.ts";
import { bakedOrFound, findDigest } from "./image.ts";
import { allOf, type Regions, regionsOf } from "./region-images.ts";
import type { Ports } from "./ports.ts";
import type { DeployRequest } from "./request.ts";

/** `bake`: the first half of `deploy`, where the environments' targets are. */
export async function bake(request: DeployRequest, ports: Ports): Promise<void> {
  const digest = await findDigest(request, ports);
  const source = bakedOrFound(request, digest, allRegions(request.environments), ports);
  const choice = await source.choose();
  const { home, elsewhere } = choice;
  if (home.kind === "bake") ports.log.info(`Bake ${home.name} with Packer: ${home.why}`);
  else ports.log.info(`${home.image.id} (${home.image.name}) ${home.why}`);
  if (request.dryRun) {
    await source.rehearse?.(choice);
    ports.facts.publish({ outcome: "planned" });
    return;
  }
  await allOf(await source.obtain(choice, await source.prepare(choice)));
  const isThere = home.kind === "reuse" && [...elsewhere.values()].every((copy) => copy !== undefined);
  ports.facts.publish({ outcome: isThere ? "unchanged" : "succeeded" });
}

/** The regions of all environments, the first one's first. */
function allRegions(environments: readonly Environment[]): Regions {
  const [home] = environments.map((environment) => regionsOf(environment)[0]);
  if (home === undefined) throw new KilnError("No environment says which region the image is needed in");
  const places = environments.flatMap((environment): Place[] => {
    const [region, ...others] = regionsOf(environment);
    return [{ region }, ...others];
  });
  const distinct = new Map(places.map((place) => [`${place.region} ${place.kmsKey ?? ""}`, place]));
  distinct.delete(`${home} `);
  return [home, ...distinct.values()];
}
