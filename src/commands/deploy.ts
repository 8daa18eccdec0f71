import type { Environment } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { Digest, ImageId } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { requireProof } from "../release/required.ts";
import { bakedOrFound, findDigest } from "./image.ts";
import { regionsOf } from "./region-images.ts";
import type { Ports } from "./ports.ts";
import { releaseTo } from "./release.ts";
import type { DeployRequest } from "./request.ts";

/** `deploy`: find the image of this commit's content or bake it, roll it out to each environment, record each release. */
export async function deploy(request: DeployRequest, ports: Ports): Promise<void> {
  const digest = await findDigest(request, ports);
  for (const environment of request.environments) {
    ports.log.info(`Release ${request.application.name} ${request.version} to ${environment.name}`);
    const regions = regionsOf(environment);
    const proven = await provenImage(environment, regions[0], digest, request, ports);
    await releaseTo(
      {
        kind: "deploy",
        environment,
        digest,
        commit: request.run.commit,
        version: request.version,
        source: bakedOrFound(request, digest, regions, ports, proven),
        guard: (newest) => refuseOlder(newest, environment, request, ports),
        request,
      },
      ports,
    );
  }
}

/**
 * Where an environment requires another: the image of this content that the other one has proven, also if a newer bake of
 * it exists.
 * @returns undefined if nothing is required
 * @throws KilnError if the required environment has not proven this content
 */
async function provenImage(
  environment: Environment,
  region: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<ImageId | undefined> {
  const record = await requireProof(environment, { digest }, request, ports);
  if (record === undefined) return undefined;
  const id = record.images[region];
  if (id !== undefined) return id;
  throw new KilnError(
    `${formatReleaseTag(record.tag)}, which ${environment.name} requires, has no image in ${region}`,
    {
      state: "Nothing was changed.",
      next: `Release this commit to ${record.tag.environment} again: its image is then baked in ${region}.`,
    },
  );
}

/** An environment does not go back by accident: an old run that is run again, a queue out of order. */
async function refuseOlder(
  newest: ReleaseRecord | undefined,
  environment: Environment,
  { run, allowOlder }: DeployRequest,
  ports: Ports,
): Promise<void> {
  if (allowOlder || newest === undefined || newest.commit === run.commit) return;
  if (!(await ports.repository.isAncestor(run.commit, newest.commit))) return;
  throw new KilnError(
    `${environment.name} runs ${newest.version} (commit ${newest.commit.slice(0, 12)}), and ${run.commit.slice(0, 12)} is older: an ancestor of it`,
    {
      state: "Nothing was changed.",
      next: "To go back on purpose use `command: rollback`, which needs no bake, or `allow-older: true`.",
    },
  );
}
