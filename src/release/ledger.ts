import type { Application } from "../domain/application.ts";
import { hasCode, KilnError, TakenOverError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import {
  formatReleaseTag,
  LAST_NUMBER,
  type LedgerKey,
  ledgerPath,
  ledgersAbove,
  parseReleaseTag,
} from "../domain/release-tag.ts";
import { NAME_CONFLICT } from "../github/errors.ts";
import type { TagRef } from "../github/read-refs.ts";
import type { Repository } from "../github/repository.ts";
import type { HeldLock } from "./held-lock.ts";
import { formatRecord, NotARecord, parseRecord, type ReleaseRecord } from "./record.ts";

/** Records read per environment: the newest, and some behind it in case of tags that are none. */
const RECORDS_READ = 20;
/** Records that a rollback chooses from; the most that GitHub gives in one request. */
export const HISTORY_READ = 100;

/** Whose records a ledger holds, and where. */
export type LedgerOwner = Pick<Application, "name" | "recordPrefix">;

/** The newest releases of an environment, and the number that the next one gets. */
export interface LedgerPage {
  /** The newest record of this application. */
  readonly newest: ReleaseRecord | undefined;
  /** The records of this application, newest first. */
  readonly records: readonly ReleaseRecord[];
  /** The highest number of a record, whichever application wrote it; 0 if there is none. */
  readonly highestNumber: number;
  /** The number of the next record: no tag has its name, or a name below it. More than LAST_NUMBER: none is left. */
  readonly nextNumber: number;
  /** The annotated tags, newer than the newest record, that are named like records and cannot be read as one. */
  readonly unreadable: readonly string[];
  /** How many tags were read, whatever they are. */
  readonly tags: number;
  /** There may be older tags that were not read. */
  readonly cut: boolean;
}

export const EMPTY_PAGE: LedgerPage = {
  newest: undefined,
  records: [],
  highestNumber: 0,
  nextNumber: 1,
  unreadable: [],
  tags: 0,
  cut: false,
};

/**
 * Reads the newest records of several environments in one request, whatever the history's length. A second request is
 * made only if other tags, whose names sort behind numbers, hide the records of an environment.
 * @throws KilnError if they still hide them, or another ledger's records have names like this one's
 */
export async function readLedger(
  repository: Repository,
  owner: LedgerOwner,
  environments: readonly string[],
  log: Log,
  count = RECORDS_READ,
): Promise<ReadonlyMap<string, LedgerPage>> {
  const { recordPrefix: prefix } = owner;
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
    const cut = refs.length >= count;
    const page = { ...toPage(`${prefix}/${environment}`, refs, owner, log), tags: refs.length, cut };
    pages.set(environment, page);
    if (page.highestNumber === 0 && cut) hidden.push(environment);
    if (page.highestNumber > 0 || (hidden.includes(environment) && count < HISTORY_READ)) continue;
    const below = refs.find((ref) => isBelow({ prefix, environment }, ref));
    if (below !== undefined)
      throw sharedNames(`${prefix}/${environment}`, `${prefix}/${environment}/${below.name}`);
  }
  if (hidden.length === 0) return pages;
  if (count >= HISTORY_READ) throw hiddenRecords(prefix, hidden, count);
  return new Map([...pages, ...(await readLedger(repository, owner, hidden, log, HISTORY_READ))]);
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

/** What one tag below an environment's path is. */
type TagReading =
  | { readonly kind: "record"; readonly record: ReleaseRecord }
  | { readonly kind: "other"; readonly why: string; readonly annotated: boolean };

function readTag(fullName: string, { name, tag }: TagRef): TagReading {
  if (name.includes("/")) return { kind: "other", why: "it is below another path", annotated: false };
  if (tag === undefined) return { kind: "other", why: "it is a lightweight tag", annotated: false };
  const record = parseRecord(fullName, tag.message, tag.target);
  if (!(record instanceof NotARecord)) return { kind: "record", record };
  return { kind: "other", why: record.reason, annotated: parseReleaseTag(fullName) !== undefined };
}

/** Only records raise the number: anybody who can push can create other tags, with any number in their name. */
function toPage(
  path: string,
  refs: readonly TagRef[],
  owner: LedgerOwner,
  log: Log,
): Omit<LedgerPage, "tags" | "cut"> {
  const records: ReleaseRecord[] = [];
  const unread: string[] = [];
  let highestNumber = 0;
  for (const ref of refs) {
    const fullName = `${path}/${ref.name}`;
    const reading = readTag(fullName, ref);
    if (reading.kind === "other") {
      if (reading.annotated) unread.push(fullName);
      log.notice(`The tag ${fullName} is no record: ${reading.why}. It is ignored.`);
      continue;
    }
    const { record } = reading;
    highestNumber = Math.max(highestNumber, record.tag.number);
    if (record.application === owner.name) records.push(record);
    else
      log.notice(
        `The record ${fullName} is of another application, ${record.application}, not of ${owner.name}. It is ignored.`,
      );
  }
  records.sort((a, b) => b.tag.number - a.tag.number);
  const taken = new Set(refs.map(({ name }) => name.split("/")[0]));
  let nextNumber = highestNumber + 1;
  while (taken.has(String(nextNumber).padStart(6, "0"))) nextNumber += 1;
  const unreadable = unread.filter((name) => (parseReleaseTag(name)?.number ?? 0) > highestNumber);
  return { newest: records[0], records, highestNumber, nextNumber, unreadable };
}

/**
 * The tags that keep git from creating any record of an environment: `release` and `release/dev` cannot exist beside
 * `release/dev/000001`. Where any tag is below the environment's path, none of these can exist, and nothing is asked.
 * @returns their full names, without `refs/tags/`
 */
export async function tagsInTheWay(
  repository: Repository,
  { recordPrefix }: LedgerOwner,
  environment: string,
  page: Pick<LedgerPage, "tags">,
): Promise<readonly string[]> {
  if (page.tags > 0) return [];
  const segments = `${recordPrefix}/${environment}`.split("/");
  const names = segments.map((_, index) => segments.slice(0, index + 1).join("/"));
  const refs = names.map((name) => `refs/tags/${name}`);
  const seen = await repository.readRefs({ prefixes: [], count: 0, refs });
  return names.filter((name) => seen.refs.get(`refs/tags/${name}`) !== undefined);
}

/** The highest number of a ledger's records among some of its tags; 0 if none of them is a record. */
export function highestNumber(key: LedgerKey, refs: readonly TagRef[]): number {
  const numbers = refs.map((ref) => {
    const reading = readTag(`${ledgerPath(key)}/${ref.name}`, ref);
    return reading.kind === "record" ? reading.record.tag.number : 0;
  });
  return Math.max(0, ...numbers);
}

/** Numbers tried before giving up: that many others would have to release to the environment in the same seconds. */
const MAX_CLAIMS = 20;

const NOT_RECORDED = "What this run rolled out is not recorded.";

/** Stops a run behind whose back another one has released. */
export function recordedMeanwhile(release: string, state: string): TakenOverError {
  return new TakenOverError(`${release} was recorded by another run meanwhile`, {
    state,
    next: "See what the other run released, with `command: status`. Run this job again only if this commit is to be released after it.",
  });
}

/** What a record is written with. */
export interface RecordTools {
  readonly repository: Repository;
  readonly clock: Clock;
  /** The environment's lock: it is released together with the record. */
  readonly lock: Pick<HeldLock, "ref" | "releaseWith" | "confirmOrRegain">;
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
  const last = Math.min(first + MAX_CLAIMS - 1, LAST_NUMBER);
  let { previous } = record;
  let isRegained = false;
  for (let number = first; number <= last; number += 1) {
    const candidate: ReleaseRecord = { ...record, previous, tag: { ...record.tag, number } };
    const name = formatReleaseTag(candidate.tag);
    const ref = `refs/tags/${name}`;
    const message = formatRecord(candidate, changes);
    const sha = await repository.createTag({ name, message, commit: candidate.commit });
    const creation = [{ ref, from: undefined, to: sha }];
    let written = await lock.releaseWith(creation);
    if (written === "updated") return candidate;
    const seen = await repository.readRef(lock.ref);
    if ((await lock.confirmOrRegain(seen, NOT_RECORDED)) === "regained") {
      isRegained = true;
      if (written === "conflict") written = await lock.releaseWith(creation);
      if (written === "updated") return candidate;
    }
    const claimed = written === "unsupported" ? await claim(repository, ref, sha) : "exists";
    if (claimed === "created") return candidate;
    if (claimed === "blocked") continue;
    const taken = await readRecord(repository, name, clock);
    if (taken === undefined) continue;
    // The images too: a re-run of the same job may release something else.
    if (taken.run === record.run && taken.imageDigest === record.imageDigest) return taken;
    // Of a run that had taken over, and is done: it has changed what this run rolled out.
    if (isRegained) throw recordedMeanwhile(name, NOT_RECORDED);
    await guard?.(taken);
    previous = name;
  }
  const { prefix, environment } = record.tag;
  throw new KilnError(
    `No release number of ${environment} could be claimed in ${last - first + 1} tries, up to ${last}`,
    {
      next: `See which tags are in the way: \`git ls-remote --tags origin '${prefix}*'\`. Delete those that are no records, then run the job again.`,
    },
  );
}

/** Creates a record's ref; `blocked` if somebody has pushed a tag below its name since the ledger was read. */
async function claim(
  repository: Repository,
  ref: string,
  sha: string,
): Promise<"created" | "exists" | "blocked"> {
  try {
    return await repository.createRef(ref, sha);
  } catch (error) {
    if (hasCode(error, NAME_CONFLICT)) return "blocked";
    throw error;
  }
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
