import type { Digest } from "../domain/image.ts";
import { type LedgerKey, ledgerPath } from "../domain/release-tag.ts";

/** A lock that a run holds. */
export interface Lock {
  readonly ref: string;
  /** The tag object that the ref points at. */
  readonly sha: string;
}

/** What is locked: one run at a time changes an environment, and one bakes a content. */
export interface Lockable {
  readonly ref: string;
  /** In words, for who waits: `production`. */
  readonly name: string;
  /** The tag object's own name. */
  readonly tag: string;
}

/** An environment's lock, keyed by its ledger: two applications in one repository may both have a `production`. */
export function environmentLock(key: LedgerKey): Lockable {
  const { environment } = key;
  return { ref: lockRef(key), name: environment, tag: `kiln-lock-${environment}` };
}

export function lockRef(key: LedgerKey): string {
  return `refs/kiln/lock/${ledgerPath(key)}`;
}

/** Where the locks of bakes are: beside the environments' locks, whose names could be anything. */
export const BAKE_LOCKS = "refs/kiln/bake/";

export function bakeLock(digest: Digest): Lockable {
  return lockOfBake(digest.slice("sha256:".length));
}

/** The lock of a bake by its ref's last part, the digest's hash. */
export function lockOfBake(hash: string): Lockable {
  return {
    ref: `${BAKE_LOCKS}${hash}`,
    name: `the bake of sha256:${hash}`,
    tag: `kiln-bake-${hash.slice(0, 12)}`,
  };
}
