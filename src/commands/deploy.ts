import { bakedOrFound, findDigest } from "./image.ts";
import type { Ports } from "./ports.ts";
import { releaseTo } from "./release.ts";
import type { DeployRequest } from "./request.ts";

/** `deploy`: find the image of this commit's content or bake it, roll it out to each environment, record each release. */
export async function deploy(request: DeployRequest, ports: Ports): Promise<void> {
  const digest = await findDigest(request, ports);
  for (const environment of request.environments) {
    ports.log.info(`Release ${request.application.name} ${request.version} to ${environment.name}`);
    const region = environment.targets[0]?.region ?? "";
    await releaseTo(
      {
        kind: "deploy",
        environment,
        digest,
        commit: request.run.commit,
        version: request.version,
        source: bakedOrFound(request, digest, region, ports),
        request,
      },
      ports,
    );
  }
}
