import { KilnError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { formatReleaseTag, parseReleaseTag } from "../domain/release-tag.ts";
import type { TagRef } from "../github/newest-tags.ts";
import type { Repository } from "../github/repository.ts";
import { formatRecord, NotARecord, parseRecord, type ReleaseRecord } from "./record.ts";

/** Records read per environment: the newest, and some behind it in case of tags that are none. */
const RECORDS_READ = 20;
/** Records that a rollback chooses from; the most that GitHub gives in one request. */
export const HISTORY_READ = 100;

/** The newest releases of an environment, and the highest number that is taken there. */
export interface LedgerPage {
  readonly newest: ReleaseRecord | undefined;
  /** Newest first. */
  readonly records: readonly ReleaseRecord[];
  /** 0 where there is no record; other people's tags of that form count, since their number is taken. */
  readonly highestNumber: number;
}

/**
 * Reads the newest records of several environments in one request, whatever the history's length; in a second one where
 * other tags, whose names sort behind numbers, hide the records of an environment.
 * @throws KilnError where they hide them all the same
 */
export async function readLedger(
  repository: Repository,
  prefix: string,
  environments: readonly string[],
  log: Log,
  count = RECORDS_READ,
): Promise<ReadonlyMap<string, LedgerPage>> {
  const refPrefix = (environment: string): string => `refs/tags/${prefix}/${environment}/`;
  const found = await repository.newestTags(environments.map(refPrefix), count);
  const pages = new Map<string, LedgerPage>();
  const hidden: string[] = [];
  for (const environment of environments) {
    const refs = found.get(refPrefix(environment)) ?? [];
    const page = toPage(`${prefix}/${environment}`, refs, log);
    pages.set(environment, page);
    if (page.newest === undefined && refs.length >= count) hidden.push(environment);
  }
  if (hidden.length === 0) return pages;
  if (count >= HISTORY_READ) throw hiddenRecords(prefix, hidden, count);
  return new Map([...pages, ...(await readLedger(repository, prefix, hidden, log, HISTORY_READ))]);
}

function hiddenRecords(prefix: string, environments: readonly string[], count: number): KilnError {
  const where = environments.map((environment) => `${prefix}/${environment}/`).join(", ");
  return new KilnError(`The last ${count} tags by name are no records, and hide those that are: ${where}`, {
    state: "What the environment runs by its records cannot be told. Nothing was changed.",
    next: "Delete these tags, or give them other names; a tag ruleset keeps others from making such.",
  });
}

function toPage(path: string, refs: readonly TagRef[], log: Log): LedgerPage {
  const records: ReleaseRecord[] = [];
  let highestNumber = 0;
  for (const { name, tag } of refs) {
    const fullName = `${path}/${name}`;
    const deeper = name.includes("/");
    const releaseTag = deeper ? undefined : parseReleaseTag(fullName);
    highestNumber = Math.max(highestNumber, releaseTag?.number ?? 0);
    const record =
      tag === undefined || deeper
        ? new NotARecord(deeper ? "it is below another path" : "it is a lightweight tag")
        : parseRecord(fullName, tag.message, tag.target);
    if (record instanceof NotARecord)
      log.notice(`The tag ${fullName} is no record: ${record.reason}. It is ignored.`);
    else records.push(record);
  }
  records.sort((a, b) => b.tag.number - a.tag.number);
  return { newest: records[0], records, highestNumber };
}

/** Numbers tried before giving up: that many others would have to release to the environment in the same seconds. */
const MAX_CLAIMS = 20;

/**
 * Writes a release's record: the tag object, then the ref, whose creation is the atomic claim of the number. Where the
 * number is taken, the tag there decides: our own record of the same run is success, another's means the next number.
 * @throws KilnError where it cannot be written; the message says that the release was rolled out but not recorded
 */
export async function appendRecord(
  repository: Repository,
  record: ReleaseRecord,
  changes: string,
  clock: Clock,
): Promise<ReleaseRecord> {
  for (let number = record.tag.number; number < record.tag.number + MAX_CLAIMS; number += 1) {
    const candidate: ReleaseRecord = { ...record, tag: { ...record.tag, number } };
    const name = formatReleaseTag(candidate.tag);
    const sha = await repository.createTag({
      name,
      message: formatRecord(candidate, changes),
      commit: record.commit,
    });
    if ((await repository.createRef(`refs/tags/${name}`, sha)) === "created") return candidate;
    const taken = await readRecord(repository, name, clock);
    // The images too: a re-run of the same job may release something else.
    if (taken !== undefined && taken.run === record.run && taken.imageDigest === record.imageDigest)
      return taken;
  }
  throw new KilnError(
    `No release number of ${record.tag.environment} could be claimed in ${MAX_CLAIMS} tries`,
  );
}

/** Looks at a tag that is taken, and may be so new that not every server of GitHub's shows it. */
const MAX_LOOKS = 5;
const PAUSE = 1000;

/** The record that has a number. Not to see it is no proof that it is not ours: the next number would double it. */
async function readRecord(
  repository: Repository,
  name: string,
  clock: Clock,
): Promise<ReleaseRecord | undefined> {
  for (let looks = 1; looks <= MAX_LOOKS; looks += 1) {
    const sha = await repository.readRef(`refs/tags/${name}`);
    if (sha !== undefined) {
      const tag = await repository.readTag(sha);
      const record = tag && parseRecord(name, tag.message, tag.target);
      return record instanceof NotARecord ? undefined : record;
    }
    await clock.sleep(PAUSE * looks);
  }
  throw new KilnError(`GitHub says that the tag ${name} is taken, and does not show it`);
}
