import { CancelledError, TakenOverError } from "../domain/errors.ts";
import { deleteOwnClaims, releaseAbandoned } from "../release/dead-lock.ts";
import { HeldLock } from "../release/held-lock.ts";
import { type Lockable, type LockOrder, takeLock } from "../release/lock.ts";
import type { Ports, Run } from "./ports.ts";
import type { RolloutRequest } from "./request.ts";

/** What is done by one run at a time. */
export interface Exclusive<T> {
  readonly what: Lockable;
  /** The commit that the lock is written on. */
  readonly commit: string;
  /** Done before each pause while another run holds it. */
  readonly meanwhile?: LockOrder["meanwhile"];
  /** What is to be finished where this run dies; one line. */
  readonly notes?: string;
  /** Finishes what a dead run noted in its lock, before that is taken over. */
  readonly inherit?: (message: string) => Promise<void>;
  /** @param contended whether the lock had to be waited for or taken over: then what was observed before may be old */
  readonly work: (contended: boolean, held: Held) => Promise<T>;
}

/** A lock while its work is done. */
export interface Held {
  readonly lock: HeldLock;
  /** Writes into the lock what is to be finished if this run dies. */
  readonly note: (notes: string) => Promise<void>;
}

/** Does something that one run at a time may do. */
export async function holding<T>(
  { what, commit, meanwhile, notes, inherit, work }: Exclusive<T>,
  { run, timeout }: Pick<RolloutRequest, "run" | "timeout">,
  ports: Ports,
): Promise<T> {
  ports.signal.throwIfAborted();
  const order: LockOrder = { ...orderOf(what, commit, run, ports), timeout, meanwhile, notes, inherit };
  const { contended, lock } = await takeLock(order, ports);
  const held = new HeldLock([lock], ports);
  const note = (now: string): Promise<void> =>
    held.note({ ...order, notes: now }, (form) => ports.unfinished.locked(form));
  let result: T;
  try {
    result = await work(contended, { lock: held, note });
  } catch (error) {
    // A cancelled run has seconds left: its post step waits for what is under way and releases the lock then.
    if (!(error instanceof CancelledError)) await letGo(held, run, ports, error);
    throw error;
  }
  await letGo(held, run, ports);
  return result;
}

/** What is left of one blocks nobody. */
async function tidyClaims(run: Run, { repository, log }: Ports): Promise<void> {
  try {
    await deleteOwnClaims(repository, run);
  } catch (error) {
    log.debug(`Claims could not be looked for: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Lets go a lock that a dead run holds, after what it noted there was finished; false where there is none. */
export function releaseDead(
  what: Lockable,
  run: Run,
  ports: Ports,
  inherit?: (message: string) => Promise<void>,
): Promise<boolean> {
  return releaseAbandoned({ ...orderOf(what, run.commit, run, ports), inherit }, ports.repository);
}

function orderOf(
  what: Lockable,
  commit: string,
  run: Run,
  { unfinished }: Ports,
): Omit<LockOrder, "timeout"> {
  const { id, attempt, url, actor } = run;
  return {
    what,
    commit,
    run: { id, attempt, url, actor },
    onIntended: (lock) => unfinished.locked(lock),
    onGone: (lock) => unfinished.unlocked(lock),
  };
}

/** A lock that cannot be released now is released by the post step; what was done stands. */
async function letGo(held: HeldLock, run: Run, ports: Ports, error?: unknown): Promise<void> {
  const { ref } = held;
  try {
    const ended = await held.release();
    // What is not visible now the post step looks for once more.
    if (ended !== "gone") ports.unfinished.unlocked({ ref });
    if ((ended !== "released" || held.wasLost) && !(error instanceof TakenOverError)) {
      ports.log.warning(
        `The lock ${ref} was deleted or replaced while this run held it: another run may have changed the same thing meanwhile`,
      );
    }
    // Claims exist only where refs cannot be changed atomically.
    if (!held.isAtomic && run.attempt !== "1") await tidyClaims(run, ports);
  } catch (cause) {
    ports.log.warning(
      `The lock ${ref} could not be released yet: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}
