import { TakenOverError } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";
import type { RefChange, RefsUpdated } from "../github/ref-updates.ts";
import type { Repository } from "../github/repository.ts";
import { whoseLock } from "./dead-lock.ts";
import { type LockRequest, parseHolder, writeHolder } from "./lock-holder.ts";
import type { Lock } from "./lock-names.ts";

/** Milliseconds between looks for a lock that was written and is not visible: GitHub's reads may lag behind its writes. */
const UNSEEN_PAUSES = [500, 1000, 2000];

export interface HeldLockTools {
  readonly repository: Repository;
  readonly clock: Pick<Clock, "sleep">;
}

/**
 * A lock that this run took. Another run may take it over all the same, when GitHub reports this run as ended although it
 * goes on (a lost self-hosted runner): so whatever depends on the lock asks for it again, or is done together with it.
 */
export class HeldLock {
  readonly ref: string;
  readonly #tools: HeldLockTools;
  /** The lock as this run has written it, without notes and with them; newest first. */
  readonly #forms: [Lock, ...Lock[]];
  #isReleased = false;
  #wasLost = false;
  #isAtomic = true;

  constructor([newest, ...older]: readonly [Lock, ...Lock[]], tools: HeldLockTools) {
    this.ref = newest.ref;
    this.#forms = [newest, ...older];
    this.#tools = tools;
  }

  /** Whether it was released together with what it was for. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** Whether it was gone for a while, and this run took it again. */
  get wasLost(): boolean {
    return this.#wasLost;
  }

  /** False once GitHub has refused to change refs atomically. */
  get isAtomic(): boolean {
    return this.#isAtomic;
  }

  /**
   * Writes into the lock what is to be finished if this run dies; who takes the lock over reads it. Does nothing if another
   * run holds the lock now.
   * @param onIntended told the lock as it will be, before it is
   */
  async note(request: LockRequest, onIntended: (lock: Lock) => void): Promise<void> {
    const { repository } = this.#tools;
    const noted = await writeHolder(request, repository);
    const [before] = this.#forms;
    onIntended(noted);
    this.#forms.unshift(noted);
    if ((await this.#change(before.sha, noted.sha, [])) !== "unsupported") return;
    if (this.#isForm(await repository.readRef(this.ref))) await repository.replaceRef(this.ref, noted.sha);
  }

  /**
   * Sees that the lock is still this run's.
   * @param seen what the lock's ref was seen to point at just now
   * @param state what state things are in, for the error
   * @throws TakenOverError if it is not
   */
  async confirm(seen: string | undefined, state: string): Promise<void> {
    const now = await this.#lookAgain(seen);
    if (!this.#isForm(now)) throw await this.#takenOver(now, state);
  }

  /**
   * The same, but a lock that nobody holds is taken again: somebody unlocked by hand, or another run took it over and is
   * done. What that run recorded is for the caller to see.
   * @throws TakenOverError if another run holds it
   */
  async confirmOrRegain(seen: string | undefined, state: string): Promise<"held" | "regained"> {
    const now = await this.#lookAgain(seen);
    if (this.#isForm(now)) return "held";
    const [{ sha }] = this.#forms;
    const isFree = now === undefined && (await this.#tools.repository.createRef(this.ref, sha)) === "created";
    if (!isFree) throw await this.#takenOver(now, state);
    this.#wasLost = true;
    return "regained";
  }

  /** What the lock's ref points at: the run's own lock as soon as that is seen. */
  async #lookAgain(seen: string | undefined): Promise<string | undefined> {
    const { repository, clock } = this.#tools;
    let now = seen;
    for (const pause of [0, ...UNSEEN_PAUSES]) {
      if (this.#isForm(now)) return now;
      // What one query shows another may not: the server that answered it may lag, or not show such refs.
      if (pause > 0) await clock.sleep(pause);
      now = await repository.readRef(this.ref);
    }
    return now;
  }

  /**
   * Makes other changes and releases the lock in one request, which fails as a whole if the lock is not this run's any
   * more.
   */
  async releaseWith(changes: readonly RefChange[]): Promise<RefsUpdated> {
    const outcome = await this.#change(this.#forms[0].sha, undefined, changes);
    this.#isReleased = outcome === "updated";
    return outcome;
  }

  /**
   * Releases the lock, if it is still this run's: nobody else's lock is ever deleted.
   * @returns `gone` if somebody deleted it, `replaced` if another run holds it now
   */
  async release(): Promise<"released" | "gone" | "replaced"> {
    if (this.#isReleased) return "released";
    const { repository, clock } = this.#tools;
    const outcome = await this.#change(this.#forms[0].sha, undefined, []);
    if (outcome === "updated") return "released";
    for (const pause of [...UNSEEN_PAUSES, undefined]) {
      const now = await repository.readRef(this.ref);
      if (now !== undefined && this.#isForm(now)) return this.#releaseForm(now);
      if (now !== undefined) return "replaced";
      if (pause !== undefined) await clock.sleep(pause);
    }
    return "gone";
  }

  async #releaseForm(sha: string): Promise<"released" | "replaced"> {
    const { repository } = this.#tools;
    if (this.#isAtomic) {
      const outcome = await repository.updateRefs([{ ref: this.ref, from: sha, to: undefined }]);
      if (outcome !== "unsupported") return outcome === "updated" ? "released" : "replaced";
    }
    await repository.deleteRef(this.ref);
    return "released";
  }

  /** Changes the lock together with other refs, from the form in which GitHub has it. */
  async #change(from: string, to: string | undefined, others: readonly RefChange[]): Promise<RefsUpdated> {
    const { repository } = this.#tools;
    if (!this.#isAtomic) return "unsupported";
    const attempt = (form: string): Promise<RefsUpdated> =>
      repository.updateRefs([...others, { ref: this.ref, from: form, to }]);
    let outcome = await attempt(from);
    if (outcome === "conflict") {
      // An earlier note may have failed after it was intended.
      const now = await repository.readRef(this.ref);
      if (now !== undefined && now !== from && this.#isForm(now)) outcome = await attempt(now);
    }
    this.#isAtomic = outcome !== "unsupported";
    return outcome;
  }

  #isForm(sha: string | undefined): boolean {
    return this.#forms.some((form) => form.sha === sha);
  }

  async #takenOver(now: string | undefined, state: string): Promise<TakenOverError> {
    const { repository } = this.#tools;
    const tag = now === undefined ? undefined : await repository.readTag(now);
    const holder = parseHolder(tag?.message ?? "");
    const what = this.ref.replace(/^refs\/kiln\/lock\//, "");
    const who =
      holder === undefined
        ? now === undefined
          ? "its lock was taken over and released, or deleted by hand"
          : "somebody else holds its lock"
        : `${whoseLock(holder)} holds its lock`;
    return new TakenOverError(`${what}: another run has taken over from this one: ${who}`, {
      state: `GitHub took this run for ended. ${state}`,
      next: "See what the other run released, with `command: status`. Run this job again only if this commit is to be released after it.",
    });
  }
}

/**
 * Releases a lock by the forms that were noted of it.
 * @param forms newest first
 */
export function releaseLock(
  repository: Repository,
  forms: readonly [Lock, ...Lock[]],
  clock: Pick<Clock, "sleep">,
): Promise<"released" | "gone" | "replaced"> {
  return new HeldLock(forms, { repository, clock }).release();
}
