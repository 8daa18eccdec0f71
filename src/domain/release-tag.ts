/** The name of a record: `release/production/000042`, prefix, environment and number. */
export interface ReleaseTag {
  readonly prefix: string;
  readonly environment: string;
  /** From 1 to {@link LAST_NUMBER}. */
  readonly number: number;
}

/** Whose records, locks and markers something is about: one application's ledger, and one of its environments. */
export interface LedgerKey {
  /** The config file's `record-prefix`: one or more segments. */
  readonly prefix: string;
  readonly environment: string;
}

/** `release/production`: what the names of a ledger's refs have in common. */
export const ledgerPath = ({ prefix, environment }: LedgerKey): string => `${prefix}/${environment}`;

export const DEFAULT_RECORD_PREFIX = "release";

/**
 * Zero-padded so that names sort by age everywhere. Never more: a seventh digit would sort before the sixth
 * (`1000000` before `999999`), and anybody can push a tag with a number so high that no next one is exact.
 */
const DIGITS = 6;
/** The highest number that a release can have. */
export const LAST_NUMBER = 10 ** DIGITS - 1;

export function formatReleaseTag(tag: ReleaseTag): string {
  return `${tag.prefix}/${tag.environment}/${String(tag.number).padStart(DIGITS, "0")}`;
}

/** The tag that a name means, or undefined where it is not one of ours (somebody else's tag under the prefix). */
export function parseReleaseTag(name: string): ReleaseTag | undefined {
  const match = /^(.+)\/([^/]+)\/(\d{6})$/.exec(name);
  const [, prefix, environment, digits] = match ?? [];
  if (prefix === undefined || environment === undefined || digits === undefined) return undefined;
  const tag = { prefix, environment, number: Number(digits) };
  return tag.number > 0 && isRecordPrefix(prefix) && isRefSegment(environment) ? tag : undefined;
}

const MAX_PREFIX_SEGMENTS = 5;
const MAX_PREFIX_LENGTH = 150;

/** Whether a name can be what the records' names begin with: some segments of a git ref, `release` or `release/api`. */
export function isRecordPrefix(name: string): boolean {
  const segments = name.split("/");
  return (
    name.length <= MAX_PREFIX_LENGTH &&
    segments.length <= MAX_PREFIX_SEGMENTS &&
    segments.every((segment) => isRefSegment(segment))
  );
}

/**
 * The ledgers whose records a prefix's own would be mixed up with: the records of environment `api` under `release` have
 * names like those of the whole prefix `release/api`.
 */
export function ledgersAbove(prefix: string): readonly LedgerKey[] {
  const segments = prefix.split("/");
  return segments.slice(1).map((environment, index) => ({
    prefix: segments.slice(0, index + 1).join("/"),
    environment,
  }));
}

/**
 * Whether a name can be one segment of a git ref and of a tag's name: `[A-Za-z0-9._-]+`, less what git itself refuses
 * (git check-ref-format) and what makes refs too long for GitHub: no leading dot, no `..`, no `.lock` at the end, no dot at the end.
 */
export function isRefSegment(name: string): boolean {
  return (
    /^[A-Za-z0-9._-]{1,100}$/.test(name) &&
    !name.startsWith(".") &&
    !name.startsWith("-") &&
    !name.endsWith(".") &&
    !name.endsWith(".lock") &&
    !name.includes("..")
  );
}
