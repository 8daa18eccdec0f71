import { KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { readLedger } from "../release/ledger.ts";
import { requireProof } from "../release/required.ts";
import { regionsOf } from "./region-images.ts";
import type { Ports } from "./ports.ts";
import { recordedImage } from "./recorded-image.ts";
import { releaseTo } from "./release.ts";
import type { PromoteRequest } from "./request.ts";

/** `promote`: the image that another environment runs now, rolled out here and recorded. Never a bake. */
export async function promote(request: PromoteRequest, ports: Ports): Promise<void> {
  const [environment] = request.environments;
  if (environment === undefined) throw new Error("a promotion to no environment");
  const { from } = request;
  const pages = await readLedger(ports.repository, request.application, [from], ports.log);
  const record = pages.get(from)?.newest;
  if (record === undefined) {
    throw new KilnError(`${from} has no release yet that could be promoted to ${environment.name}`, {
      state: "Nothing was changed.",
      next: `Deploy to ${from} first.`,
    });
  }
  await requireProof(environment, { imageOf: record }, request, ports);
  const promotedFrom = formatReleaseTag(record.tag);
  ports.log.info(
    `Promote ${promotedFrom} to ${environment.name}: ${record.version}, commit ${record.commit.slice(0, 12)}`,
  );
  await releaseTo(
    {
      kind: "promotion",
      environment,
      commit: record.commit,
      version: record.version,
      digest: record.imageDigest,
      source: recordedImage(record, regionsOf(environment), request, ports),
      promotedFrom,
      request,
    },
    ports,
  );
}
