import { KilnError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import {
  formatReleaseTag,
  type LedgerKey,
  ledgerPath,
  ledgersAbove,
  parseReleaseTag,
} from "../domain/release-tag.ts";
import type { TagRef } from "../github/read-refs.ts";
import type { Repository } from "../github/repository.ts";
import type { HeldLock } from "./held-lock.ts";
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
 * @throws KilnError if they hide them all the same, or another ledger's records have names like this one's
 */
export async function readLedger(
  repository: Repository,
  prefix: string,
  environments: readonly string[],
  log: Log,
  count = RECORDS_READ,
): Promise<ReadonlyMap<string, LedgerPage>> {
  const refPrefix = (environment: string): string => `refs/tags/${ledgerPath({ prefix, environment })}/`;
  // Numbers count from 1, and records are never deleted: the first one shows that a ledger is in use.
  const above = ledgersAbove(prefix).map((key) => `refs/tags/${formatReleaseTag({ ...key, number: 1 })}`);
  const seen = await repository.readRefs({ prefixes: environments.map(refPrefix), count, refs: above });
  const taken = above.find((ref) => seen.refs.get(ref) !== undefined);
  if (taken !== undefined) throw sharedNames(prefix, taken.replace("refs/tags/", ""));
  const pages = new Map<string, LedgerPage>();
  const hidden: string[] = [];
  for (const environment of environments) {
    const refs = seen.tags.get(refPrefix(environment)) ?? [];
    const page = toPage(`${prefix}/${environment}`, refs, log);
    pages.set(environment, page);
    if (page.newest === undefined && refs.length >= count) hidden.push(environment);
    if (page.highestNumber > 0 || (hidden.includes(environment) && count < HISTORY_READ)) continue;
    const below = refs.find((ref) => isBelow({ prefix, environment }, ref));
    if (below !== undefined)
      throw sharedNames(`${prefix}/${environment}`, `${prefix}/${environment}/${below.name}`);
  }
  if (hidden.length === 0) return pages;
  if (count >= HISTORY_READ) throw hiddenRecords(prefix, hidden, count);
  return new Map([...pages, ...(await readLedger(repository, prefix, hidden, log, HISTORY_READ))]);
}

/** Whether a tag is a record of a ledger whose prefix is the whole name of this one. */
function isBelow(key: LedgerKey, { name, tag }: TagRef): boolean {
  const fullName = `${ledgerPath(key)}/${name}`;
  if (!name.includes("/") || tag === undefined || parseReleaseTag(fullName) === undefined) return false;
  return !(parseRecord(fullName, tag.message, tag.target) instanceof NotARecord);
}

function sharedNames(ledger: string, tag: string): KilnError {
  return new KilnError(`The records of ${ledger} would be mixed up with another configuration's: ${tag}`, {
    state: "Nothing was changed.",
    next: "Give this configuration a `record-prefix` that is not the prefix and an environment of another one: `release` with an environment `api` excludes `release/api`.",
  });
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

/** The highest number that a ledger's tags have; 0 if there is none. */
export function highestNumber(key: LedgerKey, refs: readonly TagRef[]): number {
  return Math.max(0, ...refs.map(({ name }) => parseReleaseTag(`${ledgerPath(key)}/${name}`)?.number ?? 0));
}

/** Numbers tried before giving up: that many others would have to release to the environment in the same seconds. */
const MAX_CLAIMS = 20;

/** What a record is written with. */
export interface RecordTools {
  readonly repository: Repository;
  readonly clock: Clock;
  /** The environment's lock: it is released together with the record. */
  readonly lock: Pick<HeldLock, "ref" | "releaseWith" | "confirm">;
  /** Throws if the release must not follow one that was recorded meanwhile. */
  readonly guard?: ((newest: ReleaseRecord) => Promise<void>) | undefined;
}

/**
 * Writes a release's record and releases the environment's lock: the tag object, then one request that creates the ref and
 * deletes the lock, and fails if the lock is not this run's any more. Where refs cannot be changed together the lock is read
 * first, and released later. The ref's creation is the atomic claim of the number: if it is taken, the tag there decides.
 * Our own record of the same run is success, another's means the next number.
 * @throws TakenOverError if another run has taken the lock over: nothing is recorded
 * @throws KilnError if it cannot be written
 */
export async function appendRecord(
  record: ReleaseRecord,
  changes: string,
  { repository, clock, lock, guard }: RecordTools,
): Promise<ReleaseRecord> {
  const first = record.tag.number;
  let { previous } = record;
  for (let number = first; number < first + MAX_CLAIMS; number += 1) {
    const candidate: ReleaseRecord = { ...record, previous, tag: { ...record.tag, number } };
    const name = formatReleaseTag(candidate.tag);
    const ref = `refs/tags/${name}`;
    const message = formatRecord(candidate, changes);
    const sha = await repository.createTag({ name, message, commit: candidate.commit });
    const written = await lock.releaseWith([{ ref, from: undefined, to: sha }]);
    if (written === "updated") return candidate;
    await lock.confirm(await repository.readRef(lock.ref), "What this run rolled out is not recorded.");
    if (written === "unsupported" && (await repository.createRef(ref, sha)) === "created") return candidate;
    const taken = await readRecord(repository, name, clock);
    if (taken === undefined) continue;
    // The images too: a re-run of the same job may release something else.
    if (taken.run === record.run && taken.imageDigest === record.imageDigest) return taken;
    await guard?.(taken);
    previous = name;
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
