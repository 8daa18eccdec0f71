import { formatReleaseTag, type LedgerKey, ledgerPath } from "../domain/release-tag.ts";
import type { RefsSeen } from "../github/read-refs.ts";
import type { Repository } from "../github/repository.ts";
import type { HeldLock } from "./held-lock.ts";
import { highestNumber, recordedMeanwhile } from "./ledger.ts";

/** Tags read to see whether the ledger has moved, some more than the newest record: other tags may sort before it. */
const TAGS_READ = 20;

/**
 * A run's turn to change an environment: it holds the environment's lock, and nothing was released since it planned. Asked
 * right before and right after whatever cannot be undone, since GitHub may have taken this run for ended meanwhile.
 */
export class Turn {
  readonly lock: HeldLock;
  readonly #key: LedgerKey;
  /** The newest record's number when this release was planned. */
  readonly #planned: number;
  readonly #repository: Repository;
  #reading: Promise<RefsSeen> | undefined;

  constructor(lock: HeldLock, key: LedgerKey, planned: number, repository: Repository) {
    this.lock = lock;
    this.#key = key;
    this.#planned = planned;
    this.#repository = repository;
  }

  /**
   * Reads the lock and the newest record again; targets that ask at the same time share a request.
   * @param state what state things are in, for the error
   * @throws TakenOverError if another run has taken over
   */
  async confirm(state: string): Promise<void> {
    const { tags, refs } = await this.#read();
    await this.lock.confirm(refs.get(this.lock.ref), state);
    const highest = highestNumber(this.#key, tags.get(this.#prefix) ?? []);
    if (highest <= this.#planned) return;
    throw recordedMeanwhile(formatReleaseTag({ ...this.#key, number: highest }), state);
  }

  get #prefix(): string {
    return `refs/tags/${ledgerPath(this.#key)}/`;
  }

  #read(): Promise<RefsSeen> {
    this.#reading ??= this.#repository
      .readRefs({ prefixes: [this.#prefix], count: TAGS_READ, refs: [this.lock.ref] })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}
