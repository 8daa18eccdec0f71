import { randomUUID } from "node:crypto";
import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import type { Digest } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import type { Repository } from "../github/repository.ts";
import { formatHolder, type LockHolder, parseHolder } from "./lock-holder.ts";

export type { LockHolder } from "./lock-holder.ts";

/** A lock that this run holds. */
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

export interface LockOrder {
  readonly what: Lockable;
  /** The commit that the record will tag: whether the token may write on it is found out here. */
  readonly commit: string;
  readonly run: LockHolder;
  /** Milliseconds to wait for a lock that another run holds. */
  readonly timeout: number;
  /** Done before each pause of that wait. */
  readonly meanwhile?: (() => Promise<void>) | undefined;
  /** What is to be finished where this run dies; one line. */
  readonly notes?: string | undefined;
  /** Told each ref before it is created: a run that dies in between has it noted all the same. */
  readonly onIntended?: (lock: Lock) => void;
  /** Told when a ref other than the lock's own is gone again. */
  readonly onGone?: (lock: Lock) => void;
  /** Given the message of a dead run's lock before that is taken over: what it noted there is finished first. */
  readonly inherit?: ((message: string) => Promise<void>) | undefined;
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

export function lockRef(environment: string): string {
  return `refs/kiln/lock/${environment}`;
}

export function environmentLock(environment: string): Lockable {
  return { ref: lockRef(environment), name: environment, tag: `kiln-lock-${environment}` };
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

/**
 * Takes a lock: the creation of a ref, which GitHub does for one run only. A lock whose run has ended is
 * taken over; a live one is waited for.
 * @returns the lock, and whether it had to be waited for or taken over: then what was observed before may be old
 * @throws KilnError where the token may not write (nothing was touched), or the holder does not let go in time
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
    const look = await lookAt({ ref, sha: held }, order.run, repository);
    if (look.kind === "dead") {
      log.notice(`Taking over the lock of ${name}: ${look.holder.url} has ended without releasing it`);
      if (await takeOver({ ref, sha: held }, look.message, lock.sha, order, repository)) continue;
      if (late) throw stillHeld(order, { ...UNREADABLE, whose: look.holder.url, why: BEING_TAKEN });
      await clock.sleep(SHORT_PAUSE, tools.signal);
      continue;
    }
    if (late) throw stillHeld(order, look);
    if (said !== look.whose) {
      log.notice(`${name} is locked by ${look.whose}; waiting for up to ${formatDuration(order.timeout)}`);
      if (look.why !== undefined) log.notice(`${name}: ${look.why}`);
      said = look.whose;
    }
    await order.meanwhile?.();
    await clock.sleep(Math.min(PAUSE, Math.max(0, deadline - clock.now().getTime())), tools.signal);
  }
}

/** The tag object that a lock points at; nothing refers to it yet. */
async function writeHolder(
  { what, commit, run, notes }: Pick<LockOrder, "what" | "commit" | "run" | "notes">,
  repository: Repository,
): Promise<Lock> {
  const message = formatHolder(what.name, run, randomUUID(), notes);
  return { ref: what.ref, sha: await repository.createTag({ name: what.tag, message, commit }) };
}

/**
 * Writes into a lock that is held what is to be finished where this run dies; who takes the lock over reads it. Does nothing
 * where somebody deleted the lock and another run holds it now.
 * @param forms the lock as this run has written it so far
 * @param onIntended told the lock as it will be, before it is
 */
export async function noteOnLock(
  order: Pick<LockOrder, "what" | "commit" | "run" | "notes">,
  forms: readonly Lock[],
  repository: Repository,
  onIntended: (lock: Lock) => void,
): Promise<void> {
  const lock = await writeHolder(order, repository);
  const now = await repository.readRef(lock.ref);
  if (!forms.some(({ sha }) => sha === now)) return;
  onIntended(lock);
  await repository.replaceRef(lock.ref, lock.sha);
}

/** What is known of a lock that another run holds. */
type Look =
  | { readonly kind: "dead"; readonly holder: LockHolder; readonly message: string }
  | {
      readonly kind: "held";
      readonly whose: string;
      /** Why it is not known whether its run has ended. */
      readonly why: string | undefined;
    };

const UNREADABLE = {
  kind: "held",
  whose: "somebody (its lock cannot be read)",
  why: "the lock was not written by Kiln, or was changed: whose it is cannot be told",
} as const;

const BEING_TAKEN = "that run has ended, and another one is just taking its lock over";

/** A run's own earlier attempt has ended, since this one runs; of other runs GitHub is asked. */
async function lookAt(
  { sha }: Lock,
  run: Pick<LockHolder, "id" | "attempt">,
  repository: Repository,
): Promise<Look> {
  const message = (await repository.readTag(sha))?.message ?? "";
  const holder = parseHolder(message);
  if (holder === undefined) return UNREADABLE;
  const whose = `${holder.actor}'s run ${holder.url}`;
  const state = holder.id === run.id ? ownState(holder, run) : await repository.runState(holder.id);
  if (state === "ended") return { kind: "dead", holder, message };
  return { kind: "held", whose, why: WHY_UNKNOWN[state] };
}

/** Of this very attempt it is another job's, which may be at work. */
function ownState(holder: LockHolder, run: Pick<LockHolder, "attempt">): "ended" | "active" {
  return holder.attempt === run.attempt ? "active" : "ended";
}

const WHY_UNKNOWN: Readonly<Record<"active" | "forbidden" | "gone", string | undefined>> = {
  active: undefined,
  forbidden: "whether that run has ended is not known: the token needs `actions: read` to ask",
  gone: "whether that run has ended is not known: GitHub has no such run any more, or the token may not see it",
};

/** Beside all locks: who creates one of these may delete the dead lock that it is named after, and nobody else. */
export const CLAIMS = "refs/kiln/takeover/";

/** Claims that are looked at: there is one for the seconds in which a dead lock is deleted. */
const MOST_CLAIMS = 100;

/** Deletes the claims that earlier attempts of this very run left, which died right after they deleted a dead lock. */
export async function deleteOwnClaims(
  repository: Repository,
  run: Pick<LockHolder, "id" | "attempt">,
): Promise<void> {
  const found = await repository.newestTags([CLAIMS], MOST_CLAIMS);
  for (const { name, tag } of found.get(CLAIMS) ?? []) {
    const holder = parseHolder(tag?.message ?? "");
    if (holder?.id === run.id && holder.attempt !== run.attempt)
      await repository.deleteRef(`${CLAIMS}${name}`);
  }
}

type Takeover = Pick<LockOrder, "run" | "inherit" | "onIntended" | "onGone">;

/**
 * Deletes a dead run's lock, by one of those who may find it at the same time: the ref of a claim is created once. Without
 * it a slow one could delete what a fast one has just taken.
 * @returns false where another run is at it
 */
async function takeOver(
  dead: Lock,
  message: string,
  own: string,
  order: Takeover,
  repository: Repository,
): Promise<boolean> {
  const claim: Lock = { ref: `${CLAIMS}${dead.sha}`, sha: own };
  order.onIntended?.(claim);
  try {
    if (!(await isClaimed(claim, order, repository))) return false;
    try {
      // It may have changed hands before the claim was ours.
      if ((await repository.readRef(dead.ref)) !== dead.sha) return false;
      await order.inherit?.(message);
      await repository.deleteRef(dead.ref);
      return true;
    } finally {
      await repository.deleteRef(claim.ref);
    }
  } finally {
    order.onGone?.(claim);
  }
}

/** Whether the claim is ours. Who claims may have died as well: then the claim is what is taken over, for the next try. */
async function isClaimed(claim: Lock, { run }: Takeover, repository: Repository): Promise<boolean> {
  if ((await repository.createRef(claim.ref, claim.sha)) === "created") return true;
  const other = await repository.readRef(claim.ref);
  if (other === claim.sha) return true;
  if (other === undefined) return false;
  const held: Lock = { ref: claim.ref, sha: other };
  const look = await lookAt(held, run, repository);
  if (look.kind === "dead") await takeOver(held, look.message, claim.sha, { run }, repository);
  return false;
}

function stillHeld({ what, timeout }: LockOrder, { whose, why }: Extract<Look, { kind: "held" }>): KilnError {
  return new KilnError(`${what.name} is still locked by ${whose} after ${formatDuration(timeout)}`, {
    state: ["Nothing was changed.", ...(why === undefined ? [] : [`${sentence(why)}.`])].join(" "),
    next: `Wait for that run, or cancel it, then run this job again. If it has ended for good, with its post step, give this job \`permissions: actions: read\` so that Kiln can see that, or unlock by hand: \`git push origin :${what.ref}\`, or \`gh api -X DELETE repos/{owner}/{repo}/git/${what.ref}\`. Never while it runs: two runs would then change the same thing at once.`,
  });
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Milliseconds between looks for a lock that was written and is not to be seen: GitHub's reads may lag behind its writes. */
const UNSEEN_PAUSES = [500, 1000, 2000];

/**
 * Lets a lock go, if its ref still points at it: nobody else's lock is ever deleted.
 * @param forms the lock as this run has written it, without notes and with them
 * @returns `gone` where somebody deleted it, `replaced` where another run holds it now
 */
export async function releaseLock(
  repository: Repository,
  forms: readonly [Lock, ...Lock[]],
  clock: Pick<Clock, "sleep">,
): Promise<"released" | "gone" | "replaced"> {
  const [{ ref }] = forms;
  for (const pause of [...UNSEEN_PAUSES, undefined]) {
    const now = await repository.readRef(ref);
    if (forms.some(({ sha }) => sha === now)) {
      await repository.deleteRef(ref);
      return "released";
    }
    if (now !== undefined) return "replaced";
    if (pause !== undefined) await clock.sleep(pause);
  }
  return "gone";
}

/** Lets go a lock that a dead run took and did not come to release; what it noted there is finished first. */
export async function releaseAbandoned(
  order: Omit<LockOrder, "timeout">,
  repository: Repository,
): Promise<boolean> {
  const { ref } = order.what;
  const sha = await repository.readRef(ref);
  if (sha === undefined) return false;
  const look = await lookAt({ ref, sha }, order.run, repository);
  if (look.kind !== "dead") return false;
  const own = await writeHolder(order, repository);
  return takeOver({ ref, sha }, look.message, own.sha, order, repository);
}
