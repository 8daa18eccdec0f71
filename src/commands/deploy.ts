import type { Environment } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, isImageId } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { HISTORY_READ, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
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
 * Where an environment requires another: the very image that the other one has released with this content, also where a
 * newer bake of it exists. Undefined where nothing is required.
 * @throws KilnError where the required environment has not released this content
 */
async function provenImage(
  { name, requires }: Environment,
  region: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<ImageId | undefined> {
  if (requires === undefined) return undefined;
  const { recordPrefix } = request.application;
  const pages = await readLedger(ports.repository, recordPrefix, [requires], ports.log, HISTORY_READ);
  const page = pages.get(requires);
  const id = page?.records.find((record) => record.imageDigest === digest)?.images[region];
  if (id !== undefined && isImageId(id)) return id;
  const newest = page?.newest;
  throw new KilnError(
    `${name} takes only what ${requires} has released, and ${requires} has not released this content`,
    {
      state: `Nothing was changed. ${requires} runs ${newest === undefined ? "no release" : `${formatReleaseTag(newest.tag)}: ${newest.version}, commit ${newest.commit.slice(0, 12)}, ${newest.imageDigest}`}; this commit's content is ${digest}.`,
      next: `Release this commit to ${requires} first, then run this job again.`,
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
