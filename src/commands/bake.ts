import { KilnError } from "../domain/errors.ts";
import { chooseImage, findDigest, getReady, obtainImage } from "./image.ts";
import type { Ports } from "./ports.ts";
import type { DeployRequest } from "./request.ts";

/** `bake`: the first half of `deploy`, where the environments' targets are. */
export async function bake(request: DeployRequest, ports: Ports): Promise<void> {
  const digest = await findDigest(request, ports);
  const region = bakeRegion(request);
  const choice = await chooseImage(request, digest, region, ports);
  if (choice.kind === "bake") ports.log.info(`Bake ${choice.name} with Packer: ${choice.why}`);
  else ports.log.info(`${choice.image.id} (${choice.image.name}) ${choice.why}`);
  if (request.dryRun) {
    ports.facts.publish({ outcome: "planned" });
    return;
  }
  const ready =
    choice.kind === "bake" ? await getReady(choice.name, region, digest, request, ports) : undefined;
  await obtainImage(choice, ready, region, digest, request, ports);
  ports.facts.publish({ outcome: choice.kind === "reuse" ? "unchanged" : "succeeded" });
}

function bakeRegion(request: DeployRequest): string {
  const region = request.environments[0]?.targets[0]?.region;
  if (region === undefined) throw new KilnError("No environment says which region the image is needed in");
  return region;
}
