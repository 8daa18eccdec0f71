import { KilnError } from "../domain/errors.ts";
import { bakedOrFound, findDigest } from "./image.ts";
import type { Ports } from "./ports.ts";
import type { DeployRequest } from "./request.ts";

/** `bake`: the first half of `deploy`, where the environments' targets are. */
export async function bake(request: DeployRequest, ports: Ports): Promise<void> {
  const digest = await findDigest(request, ports);
  const region = request.environments[0]?.targets[0]?.region;
  if (region === undefined) throw new KilnError("No environment says which region the image is needed in");
  const source = bakedOrFound(request, digest, region, ports);
  const choice = await source.choose();
  if (choice.kind === "bake") ports.log.info(`Bake ${choice.name} with Packer: ${choice.why}`);
  else ports.log.info(`${choice.image.id} (${choice.image.name}) ${choice.why}`);
  if (request.dryRun) {
    ports.facts.publish({ outcome: "planned" });
    return;
  }
  await source.obtain(choice, await source.prepare(choice));
  ports.facts.publish({ outcome: choice.kind === "reuse" ? "unchanged" : "succeeded" });
}
