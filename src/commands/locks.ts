import { CancelledError } from "../domain/errors.ts";
import {
  deleteOwnClaims,
  type Lock,
  type Lockable,
  type LockOrder,
  noteOnLock,
  releaseAbandoned,
  releaseLock,
  takeLock,
} from "../release/lock.ts";
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
  /**
   * @param contended whether the lock had to be waited for or taken over: then what was observed before may be old
   * @param note writes into the lock what is to be finished where this run dies
   */
  readonly work: (contended: boolean, note: (notes: string) => Promise<void>) => Promise<T>;
}

/** Does something that one run at a time may do. */
export async function holding<T>(
  { what, commit, meanwhile, notes, inherit, work }: Exclusive<T>,
  { run, timeout }: Pick<RolloutRequest, "run" | "timeout">,
  ports: Ports,
): Promise<T> {
  ports.signal.throwIfAborted();
  const order: LockOrder = { ...orderOf(what, commit, run, ports), timeout, meanwhile, notes, inherit };
  if (run.attempt !== "1") await tidyClaims(run, ports);
  const { contended, lock } = await takeLock(order, ports);
  // With notes in it the lock is another object: it is released as whichever it is.
  const forms: [Lock, ...Lock[]] = [lock];
  let result: T;
  try {
    result = await work(contended, (now) =>
      noteOnLock({ ...order, notes: now }, forms, ports.repository, (form) => {
        forms.unshift(form);
        ports.unfinished.locked(form);
      }),
    );
  } catch (error) {
    // A cancelled run has seconds left: its post step waits for what is under way and releases the lock then.
    if (!(error instanceof CancelledError)) await letGo(forms, ports);
    throw error;
  }
  await letGo(forms, ports);
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
async function letGo(forms: readonly [Lock, ...Lock[]], ports: Ports): Promise<void> {
  const [{ ref }] = forms;
  try {
    const ended = await releaseLock(ports.repository, forms, ports.clock);
    // What is not to be seen now the post step looks for once more.
    if (ended !== "gone") ports.unfinished.unlocked({ ref });
    if (ended !== "released") {
      ports.log.warning(
        `The lock ${ref} was deleted or replaced while this run held it: another run may have changed the same thing meanwhile`,
      );
    }
  } catch (error) {
    ports.log.warning(
      `The lock ${ref} could not be released yet: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
