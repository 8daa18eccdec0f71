import type { Repository } from "../github/repository.ts";
import { type LockHolder, type LockRequest, notesOf, parseHolder, writeHolder } from "./lock-holder.ts";
import type { Lock } from "./lock-names.ts";

/** What is known of a lock that this run does not hold. */
export type LockState =
  /** Its attempt has ended: it may be taken over. */
  | { readonly kind: "dead"; readonly holder: LockHolder; readonly message: string }
  | HeldByAnother
  /** A later attempt of this very run holds it: GitHub has given this attempt up. */
  | { readonly kind: "superseded"; readonly holder: LockHolder };

export interface HeldByAnother {
  readonly kind: "held";
  readonly whose: string;
  /** Why it is not known whether its run has ended. */
  readonly why: string | undefined;
}

export const UNREADABLE: HeldByAnother = {
  kind: "held",
  whose: "somebody (its lock cannot be read)",
  why: "the lock was not written by Kiln, or was changed: whose it is cannot be told",
};

/** In words: whose a lock is. */
export const whoseLock = ({ actor, url, attempt }: LockHolder): string =>
  `${actor}'s run ${url}${attempt === "1" ? "" : ` (attempt ${attempt})`}`;

/** Reads a lock that this run does not hold, and whether who wrote it has ended. */
export async function readLockState(
  { sha }: Lock,
  run: Pick<LockHolder, "id" | "attempt">,
  repository: Repository,
): Promise<LockState> {
  const message = (await repository.readTag(sha))?.message ?? "";
  const holder = parseHolder(message);
  if (holder === undefined) return UNREADABLE;
  const state = await stateOfHolder(holder, run, repository);
  if (state === "ended") return { kind: "dead", holder, message };
  if (state === "superseded") return { kind: "superseded", holder };
  return { kind: "held", whose: whoseLock(holder), why: WHY_UNKNOWN[state] };
}

/**
 * Whether the attempt that wrote a lock has ended. GitHub starts an attempt when it takes the one before for ended, and
 * tells only the newest attempt's status (REST reference, workflow runs, run_attempt). Jobs of one attempt run at the same
 * time.
 */
async function stateOfHolder(
  holder: LockHolder,
  run: Pick<LockHolder, "id" | "attempt">,
  repository: Pick<Repository, "runState">,
): Promise<"ended" | "active" | "superseded" | "forbidden" | "gone"> {
  const attempt = Number(holder.attempt);
  if (holder.id === run.id) {
    const own = Number(run.attempt);
    if (attempt === own) return "active";
    return attempt < own ? "ended" : "superseded";
  }
  const state = await repository.runState(holder.id);
  if (state.kind === "forbidden" || state.kind === "gone") return state.kind;
  if (attempt < state.attempt) return "ended";
  // An answer about an earlier attempt than the one that wrote the lock is old.
  return attempt === state.attempt ? state.kind : "active";
}

const WHY_UNKNOWN: Readonly<Record<"active" | "forbidden" | "gone", string | undefined>> = {
  active: undefined,
  forbidden: "whether that run has ended is not known: the token needs `actions: read` to ask",
  gone: "whether that run has ended is not known: GitHub has no such run any more, or the token may not see it",
};

/** A dead lock, and what takes it over. */
export interface Takeover extends LockRequest {
  /** Told each ref before it is created: a run that dies in between has it noted all the same. */
  readonly onIntended?: ((lock: Lock) => void) | undefined;
  /** Told when a ref other than the lock's own is gone again. */
  readonly onGone?: ((lock: Lock) => void) | undefined;
  /** Given the message of a dead run's lock before that is gone: what it noted there is finished first. */
  readonly inherit?: ((message: string) => Promise<void>) | undefined;
}

/**
 * Takes a dead run's lock over, by exactly one of those who may find it at the same time.
 * @param own what the lock is to point at
 * @returns `taken`: it is this run's. `free`: it is gone, and anybody may take it. `lost`: another run was faster.
 */
export async function takeOver(
  dead: Lock,
  message: string,
  own: Lock,
  takeover: Takeover,
  repository: Repository,
): Promise<"taken" | "free" | "lost"> {
  const { inherit } = takeover;
  const notes = inherit === undefined ? undefined : notesOf(message);
  // Until what the dead run noted is finished, the lock has its notes: this run may die as well.
  const first = notes === undefined ? own : await writeHolder({ ...takeover, notes }, repository);
  const { ref } = dead;
  const swapped = await repository.updateRefs([{ ref, from: dead.sha, to: first.sha }]);
  if (swapped === "unsupported") return takeOverByClaim(dead, message, own, takeover, repository);
  if (swapped === "conflict") return "lost";
  if (first === own) return "taken";
  try {
    await inherit?.(message);
  } catch (error) {
    await repository.updateRefs([{ ref, from: first.sha, to: dead.sha }]);
    throw error;
  }
  const settled = await repository.updateRefs([{ ref, from: first.sha, to: own.sha }]);
  return settled === "updated" ? "taken" : "lost";
}

/** Lets go a lock that a dead run took and did not come to release; what it noted there is finished first. */
export async function releaseAbandoned(takeover: Takeover, repository: Repository): Promise<boolean> {
  const { ref } = takeover.what;
  const sha = await repository.readRef(ref);
  if (sha === undefined) return false;
  const dead: Lock = { ref, sha };
  const state = await readLockState(dead, takeover.run, repository);
  if (state.kind !== "dead") return false;
  if (takeover.inherit === undefined || notesOf(state.message) === undefined) {
    const released = await repository.updateRefs([{ ref, from: sha, to: undefined }]);
    if (released !== "unsupported") return released === "updated";
  }
  const own = await writeHolder(takeover, repository);
  const taken = await takeOver(dead, state.message, own, takeover, repository);
  if (taken === "taken") await repository.updateRefs([{ ref, from: own.sha, to: undefined }]);
  return taken !== "lost";
}

/*
 * Without atomic updates of refs: whoever creates the claim of a dead lock may delete that lock, and nobody else. A slow run
 * could otherwise delete what a fast one has just taken.
 */

/** Where claims are: beside all locks, each named after the object of the dead lock that it is for. */
export const CLAIMS = "refs/kiln/takeover/";

/** Claims that are looked at: there is one for the seconds in which a dead lock is deleted. */
const MOST_CLAIMS = 100;

/** Deletes the claims that earlier attempts of this run left, which died right after they deleted a dead lock. */
export async function deleteOwnClaims(
  repository: Repository,
  run: Pick<LockHolder, "id" | "attempt">,
): Promise<void> {
  const found = await repository.newestTags([CLAIMS], MOST_CLAIMS);
  for (const { name, tag } of found.get(CLAIMS) ?? []) {
    const holder = parseHolder(tag?.message ?? "");
    if (holder?.id === run.id && Number(holder.attempt) < Number(run.attempt))
      await repository.deleteRef(`${CLAIMS}${name}`);
  }
}

async function takeOverByClaim(
  dead: Lock,
  message: string,
  own: Lock,
  takeover: Omit<Takeover, keyof LockRequest> & Pick<Takeover, "run">,
  repository: Repository,
): Promise<"free" | "lost"> {
  const claim: Lock = { ref: `${CLAIMS}${dead.sha}`, sha: own.sha };
  takeover.onIntended?.(claim);
  try {
    if (!(await isClaimed(claim, takeover, repository))) return "lost";
    try {
      // It may have changed hands before the claim was ours.
      if ((await repository.readRef(dead.ref)) !== dead.sha) return "lost";
      await takeover.inherit?.(message);
      await repository.deleteRef(dead.ref);
      return "free";
    } finally {
      await repository.deleteRef(claim.ref);
    }
  } finally {
    takeover.onGone?.(claim);
  }
}

/** Whether the claim is ours. Who claims may have died as well: then the claim is what is taken over, for the next try. */
async function isClaimed(
  claim: Lock,
  { run }: Pick<Takeover, "run">,
  repository: Repository,
): Promise<boolean> {
  if ((await repository.createRef(claim.ref, claim.sha)) === "created") return true;
  const other = await repository.readRef(claim.ref);
  if (other === claim.sha) return true;
  if (other === undefined) return false;
  const held: Lock = { ref: claim.ref, sha: other };
  const state = await readLockState(held, run, repository);
  if (state.kind === "dead") await takeOverByClaim(held, state.message, claim, { run }, repository);
  return false;
}
