import { formatDuration } from "../domain/duration.ts";
import { KilnError, TakenOverError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import type { Repository } from "../github/repository.ts";
import {
  type HeldByAnother,
  type LockState,
  readLockState,
  type Takeover,
  takeOver,
  UNREADABLE,
  whoseLock,
} from "./dead-lock.ts";
import { writeHolder } from "./lock-holder.ts";
import type { Lock } from "./lock-names.ts";

export type { LockHolder } from "./lock-holder.ts";
export {
  BAKE_LOCKS,
  bakeLock,
  environmentLock,
  type Lock,
  type Lockable,
  lockOfBake,
  lockRef,
} from "./lock-names.ts";

export interface LockOrder extends Takeover {
  /** Milliseconds to wait for a lock that another run holds. */
  readonly timeout: number;
  /** Done before each pause of that wait. */
  readonly meanwhile?: (() => Promise<void>) | undefined;
}

export interface LockTools {
  readonly repository: Repository;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const PAUSE = 10_000;
/** Between looks at a lock that is just changing hands. */
const SHORT_PAUSE = 1000;

/**
 * Takes a lock: the creation of a ref, which GitHub does for one run only. A lock whose run has ended is
 * taken over; a live one is waited for.
 * @returns the lock, and whether it had to be waited for or taken over: then what was observed before may be old
 * @throws KilnError if the token may not write (nothing was touched), or the holder does not let go in time
 * @throws TakenOverError if a later attempt of this run holds it
 */
export async function takeLock(
  order: LockOrder,
  tools: LockTools,
): Promise<{ lock: Lock; contended: boolean }> {
  const { repository, clock, log } = tools;
  const { ref, name } = order.what;
  const lock = await writeHolder(order, repository);
  order.onIntended?.(lock);
  const deadline = clock.now().getTime() + order.timeout;
  let contended = false;
  let said = "";
  for (;;) {
    tools.signal.throwIfAborted();
    if ((await repository.createRef(ref, lock.sha)) === "created") return { lock, contended };
    const held = await repository.readRef(ref);
    const late = clock.now().getTime() >= deadline;
    if (held === undefined) {
      // Released in this very moment: try again, at a walking pace in case the ref can never be read.
      if (late) throw stillHeld(order, UNREADABLE);
      await clock.sleep(SHORT_PAUSE, tools.signal);
      continue;
    }
    // Our own, its creation's answer was lost.
    if (held === lock.sha) return { lock, contended };
    contended = true;
    const state = await readLockState({ ref, sha: held }, order.run, repository);
    if (state.kind === "superseded") throw superseded(order, state);
    if (state.kind === "dead") {
      const { url } = state.holder;
      log.notice(`Taking over the lock of ${name}: ${url} has ended without releasing it`);
      const taken = await takeOver({ ref, sha: held }, state.message, lock, order, repository);
      if (taken === "taken") return { lock, contended };
      if (taken === "free") continue;
      if (late) throw stillHeld(order, { ...UNREADABLE, whose: url, why: BEING_TAKEN });
      await clock.sleep(SHORT_PAUSE, tools.signal);
      continue;
    }
    if (late) throw stillHeld(order, state);
    if (said !== state.whose) {
      log.notice(`${name} is locked by ${state.whose}; waiting for up to ${formatDuration(order.timeout)}`);
      if (state.why !== undefined) log.notice(`${name}: ${state.why}`);
      said = state.whose;
    }
    await order.meanwhile?.();
    await clock.sleep(Math.min(PAUSE, Math.max(0, deadline - clock.now().getTime())), tools.signal);
  }
}

const BEING_TAKEN = "that run has ended, and another one is just taking its lock over";

function superseded(
  { what, run }: LockOrder,
  { holder }: Extract<LockState, { kind: "superseded" }>,
): TakenOverError {
  return new TakenOverError(
    `${what.name}: a later attempt of this run has taken over: ${whoseLock(holder)}`,
    {
      state: `Nothing was changed. This is attempt ${run.attempt}, which GitHub has given up.`,
      next: `Follow attempt ${holder.attempt} instead.`,
    },
  );
}

function stillHeld({ what, timeout }: LockOrder, { whose, why }: HeldByAnother): KilnError {
  return new KilnError(`${what.name} is still locked by ${whose} after ${formatDuration(timeout)}`, {
    state: ["Nothing was changed.", ...(why === undefined ? [] : [`${sentence(why)}.`])].join(" "),
    next: `Wait for that run, or cancel it, then run this job again. If it has ended for good, with its post step, give this job \`permissions: actions: read\` so that Kiln can see that, or unlock by hand: \`git push origin :${what.ref}\`, or \`gh api -X DELETE repos/{owner}/{repo}/git/${what.ref}\`. Never while it runs: two runs would then change the same thing at once.`,
  });
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
