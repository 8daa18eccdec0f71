import { formatReleaseTag, parseReleaseTag } from "../domain/release-tag.ts";
import type { ReleaseRecord } from "./record.ts";

/** Which release is to be restored, or why that cannot be said. */
export type RestoreChoice =
  | { readonly kind: "found"; readonly record: ReleaseRecord }
  | { readonly kind: "none"; readonly why: string };

/**
 * The release that a rollback's `to` means: `previous`, a number, a record's tag, a commit (7 or more hexadecimal
 * digits), or a version. Where a commit or version was released several times with one image, the newest counts; with
 * different images it is ambiguous.
 * @param history an environment's records, newest first
 */
export function chooseRestore(history: readonly ReleaseRecord[], to: string): RestoreChoice {
  const [current] = history;
  if (current === undefined) return { kind: "none", why: "there is no release yet" };
  if (to === "previous") return previousOf(history, current);
  if (/^\d{1,6}$/.test(to))
    return only(
      history.filter((record) => record.tag.number === Number(to)),
      `release ${to}`,
      history,
    );
  const tag = parseReleaseTag(to);
  if (tag !== undefined) {
    return only(
      history.filter((record) => formatReleaseTag(record.tag) === to),
      `record ${to}`,
      history,
    );
  }
  const versions = history.filter((record) => record.version === to);
  if (versions.length > 0) return newestOfOneImage(versions, `version ${to}`);
  if (/^[0-9a-f]{7,64}$/.test(to)) {
    const commits = history.filter((record) => record.commit.startsWith(to));
    const ambiguous = new Set(commits.map((record) => record.commit)).size > 1;
    if (ambiguous) return { kind: "none", why: `commit ${to} is ambiguous: give more digits` };
    if (commits.length > 0) return newestOfOneImage(commits, `commit ${to}`);
  }
  return {
    kind: "none",
    why: `no release is "${to}": neither a number, nor a record's tag, nor a commit (7 or more digits), nor a version`,
  };
}

function only(
  found: readonly ReleaseRecord[],
  what: string,
  history: readonly ReleaseRecord[],
): RestoreChoice {
  const [record] = found;
  if (record !== undefined) return { kind: "found", record: originOf(record, history) };
  return { kind: "none", why: `there is no ${what} among the last ${history.length} releases` };
}

function newestOfOneImage(found: readonly ReleaseRecord[], what: string): RestoreChoice {
  const [newest] = found;
  if (newest !== undefined && found.every((record) => sameImage(record, newest)))
    return { kind: "found", record: newest };
  return {
    kind: "none",
    why: `${what} was released with several images: give one of the numbers ${found.map((record) => record.tag.number).join(", ")}`,
  };
}

/**
 * The newest release before the current one that ran another image and that no later rollback has left: two rollbacks
 * in a row go back two releases, never forward to the broken one.
 */
function previousOf(history: readonly ReleaseRecord[], current: ReleaseRecord): RestoreChoice {
  const leftBy = rollbacksThatLeft(history);
  const position = originOf(current, history).tag.number;
  for (const record of history) {
    if (record.tag.number >= position || leftBy(record) !== undefined) continue;
    const origin = originOf(record, history);
    if (!sameImage(origin, current)) return { kind: "found", record: origin };
  }
  return { kind: "none", why: `no release before ${formatReleaseTag(current.tag)} ran another image` };
}

/**
 * The rollback that left a release as bad, if one did.
 * @param history an environment's records
 */
export function rollbacksThatLeft(
  history: readonly ReleaseRecord[],
): (record: ReleaseRecord) => ReleaseRecord | undefined {
  const byTag = new Map(history.map((record) => [formatReleaseTag(record.tag), record]));
  const left = new Map<ReleaseRecord, ReleaseRecord>();
  for (const record of history) {
    const { kind, previous } = record;
    const before = kind === "rollback" && previous !== undefined ? byTag.get(previous) : undefined;
    if (before === undefined) continue;
    const origin = originOf(before, history);
    // Leaving a rollback leaves the release that it had restored. One that goes forward again leaves nothing as bad, nor
    // does one that restores what ran before: it stopped something that was never recorded.
    if (originOf(record, history).tag.number < origin.tag.number)
      left.set(before, record).set(origin, record);
  }
  return (record) => left.get(record);
}

/** The release whose image a record states: for a rollback, the one that it restores, as far as it is known. */
export function originOf(record: ReleaseRecord, history: readonly ReleaseRecord[]): ReleaseRecord {
  const { restores } = record;
  if (restores === undefined) return record;
  const restored = history.find(
    (other) => formatReleaseTag(other.tag) === restores && other.tag.number < record.tag.number,
  );
  return restored === undefined ? record : originOf(restored, history);
}

function sameImage(a: ReleaseRecord, b: ReleaseRecord): boolean {
  return Object.entries(a.images).some(([region, id]) => b.images[region] === id);
}
