import type { Application, Environment } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { Digest } from "../domain/image.ts";
import type { Log } from "../domain/ports.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { Repository } from "../github/repository.ts";
import { rollbacksThatLeft } from "./history.ts";
import { HISTORY_READ, readLedger } from "./ledger.ts";
import type { ReleaseRecord } from "./record.ts";

/** What a run is told that releases only what another environment has proven. */
export interface RequiredRelease {
  readonly application: Application;
  /** Accept a release of the required environment in which no instance was verified. */
  readonly allowUnverified: boolean;
}

/** What an environment is required to have released. */
export type RequiredImage =
  /** Any image of this content. */
  | { readonly digest: Digest }
  /** The image of this release of another environment. */
  | { readonly imageOf: ReleaseRecord };

/** Whether an environment has proven an image, by its records. */
export type Proof =
  | { readonly kind: "proven"; readonly record: ReleaseRecord }
  /** All that is missing is what `allow-unverified` allows to be missing. */
  | { readonly kind: "unverified"; readonly record: ReleaseRecord; readonly why: string }
  | { readonly kind: "unproven"; readonly why: string };

/**
 * Whether an environment has proven an image: it has a record of it which says that instances were verified, the smoke
 * test did not fail (else there would be no record), and no rollback has left the image since.
 * @param history the required environment's records, newest first
 * @param required what is to be proven; of several images with the content, the newest that no rollback left counts
 */
export function proofOf(history: readonly ReleaseRecord[], required: RequiredImage): Proof {
  const released = history.filter((record) => isOf(record, required));
  const [newest] = released;
  if (newest === undefined) return { kind: "unproven", why: "has not released it" };
  const leaver = leaverOf(history);
  const latest = released.find((record) => leaver(record) === undefined);
  if (latest === undefined) {
    const rollback = leaver(newest);
    const reason = rollback?.reason === undefined ? "" : `: ${rollback.reason}`;
    return {
      kind: "unproven",
      why: `was rolled back from it${rollback === undefined ? "" : ` by ${formatReleaseTag(rollback.tag)}`}${reason}`,
    };
  }
  const same = released.filter((record) => leaver(record) === undefined && isSameImage(record, latest));
  if (same.some(({ verified }) => (verified?.count ?? 0) > 0)) return { kind: "proven", record: latest };
  const what = latest.verified === undefined ? "does not say whether" : "says that no";
  const instances = latest.verified === undefined ? "its instances were verified" : "instance was verified";
  return {
    kind: "unverified",
    record: latest,
    why: `released it as ${formatReleaseTag(latest.tag)}, which ${what} ${instances}`,
  };
}

/** The rollback that left a record's image, after the record: also one that left another release of the same image. */
function leaverOf(history: readonly ReleaseRecord[]): (record: ReleaseRecord) => ReleaseRecord | undefined {
  const leftBy = rollbacksThatLeft(history);
  const left = history.flatMap((record) => {
    const rollback = leftBy(record);
    return rollback === undefined ? [] : [{ record, rollback }];
  });
  return (record) =>
    left.find((each) => each.rollback.tag.number > record.tag.number && isSameImage(each.record, record))
      ?.rollback;
}

function isOf(record: ReleaseRecord, required: RequiredImage): boolean {
  return "digest" in required
    ? record.imageDigest === required.digest
    : isSameImage(record, required.imageOf);
}

/** Images have other ids in other regions; where two records share no region, the name tells, which a copy keeps. */
function isSameImage(a: ReleaseRecord, b: ReleaseRecord | undefined): boolean {
  if (b === undefined || a.imageDigest !== b.imageDigest) return false;
  const shared = Object.keys(a.images).filter((region) => b.images[region] !== undefined);
  return shared.length === 0
    ? a.imageName === b.imageName
    : shared.every((region) => a.images[region] === b.images[region]);
}

/**
 * The release that proves an image to an environment which requires another one.
 * @returns undefined if the environment requires none
 * @throws KilnError if the required environment has not proven the image
 */
export async function requireProof(
  { name, requires }: Pick<Environment, "name" | "requires">,
  required: RequiredImage,
  { application, allowUnverified }: RequiredRelease,
  { repository, log }: { readonly repository: Repository; readonly log: Log },
): Promise<ReleaseRecord | undefined> {
  if (requires === undefined) return undefined;
  const pages = await readLedger(repository, application, [requires], log, HISTORY_READ);
  const page = pages.get(requires);
  const proof = proofOf(page?.records ?? [], required);
  if (proof.kind === "proven") return proof.record;
  if (proof.kind === "unverified" && allowUnverified) {
    log.warning(`${requires} ${proof.why}: allowed by \`allow-unverified\``);
    return proof.record;
  }
  const newest = page?.newest;
  const digest = "digest" in required ? required.digest : required.imageOf.imageDigest;
  throw new KilnError(`${name} takes only what ${requires} has proven, and ${requires} ${proof.why}`, {
    state: `Nothing was changed. ${requires} runs ${newest === undefined ? "no release" : `${formatReleaseTag(newest.tag)}: ${newest.version}, commit ${newest.commit.slice(0, 12)}, ${newest.imageDigest}`}; the content to be released is ${digest}.`,
    next:
      proof.kind === "unverified"
        ? `Release it to ${requires} again while its groups have instances, or allow it with \`allow-unverified: true\`.`
        : `Release it to ${requires} first, then run this job again.`,
  });
}
