import { CancelledError } from "../domain/errors.ts";
import { type Lock, type LockOrder, releaseLock, takeLock } from "../release/lock.ts";
import type { Ports } from "./ports.ts";
import type { RolloutRequest } from "./request.ts";

/** A lock that is wanted: on the commit that it is written on, and what is done while another run holds it. */
type WantedLock = Pick<LockOrder, "what" | "commit" | "meanwhile">;

/**
 * Does something that one run at a time may do.
 * @param work told whether the lock had to be waited for or taken over: then what was observed before may be old
 */
export async function holding<T>(
  wanted: WantedLock,
  { run, timeout }: Pick<RolloutRequest, "run" | "timeout">,
  ports: Ports,
  work: (contended: boolean) => Promise<T>,
): Promise<T> {
  const { id, attempt, url, actor } = run;
  const { lock, contended } = await takeLock({ ...wanted, run: { id, attempt, url, actor }, timeout }, ports);
  ports.unfinished.locked(lock);
  let result: T;
  try {
    result = await work(contended);
  } catch (error) {
    // A cancelled run has seconds left: its post step waits for what is under way and releases the lock then.
    if (!(error instanceof CancelledError)) await letGo(lock, ports);
    throw error;
  }
  await letGo(lock, ports);
  return result;
}

/** A lock that cannot be released now is released by the post step; what was done stands. */
async function letGo(lock: Lock, ports: Ports): Promise<void> {
  try {
    await releaseLock(ports.repository, lock);
    ports.unfinished.unlocked(lock);
  } catch (error) {
    ports.log.warning(
      `The lock ${lock.ref} could not be released yet: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
