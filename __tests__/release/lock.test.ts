import { beforeEach, describe, expect, test } from "vitest";
import { CancelledError } from "../../src/domain/errors.ts";
import { CLAIMS, deleteOwnClaims, releaseAbandoned } from "../../src/release/dead-lock.ts";
import { HeldLock, releaseLock } from "../../src/release/held-lock.ts";
import {
  bakeLock,
  environmentLock,
  type Lock,
  type LockHolder,
  type LockOrder,
  lockRef,
  takeLock,
} from "../../src/release/lock.ts";
import { formatHolder } from "../../src/release/lock-holder.ts";
import { KeptLog, VirtualClock } from "../image/programs.ts";
import { InMemoryRepository } from "./in-memory-repository.ts";
import { COMMIT } from "./records.ts";

const REF = "refs/kiln/lock/release/production";
const PRODUCTION = environmentLock({ prefix: "release", environment: "production" });
const RUN: LockHolder = {
  id: "100",
  attempt: "1",
  url: "https://github.com/acme/web/actions/runs/100",
  actor: "ada",
};
const OTHER: LockHolder = {
  id: "200",
  attempt: "1",
  url: "https://github.com/acme/web/actions/runs/200",
  actor: "bob",
};

let repository: InMemoryRepository;
let clock: VirtualClock;
let log: KeptLog;
let controller: AbortController;
/** Whether refs can be changed atomically, or only one by one. */
let atomic = true;

function newRepository(): InMemoryRepository {
  const made = new InMemoryRepository();
  made.atomic = atomic;
  return made;
}

beforeEach(() => {
  repository = newRepository();
  clock = new VirtualClock();
  log = new KeptLog();
  controller = new AbortController();
});

const take = (run = RUN, changes: Partial<LockOrder> = {}) =>
  takeLock(
    { what: PRODUCTION, commit: COMMIT, run, timeout: 3_600_000, ...changes },
    { repository, clock, log, signal: controller.signal },
  );

/** Notes something in a lock, as the run that holds it. */
async function note(
  run: LockHolder,
  notes: string,
  lock: Lock,
  onIntended: (form: Lock) => void = () => undefined,
): Promise<HeldLock> {
  const held = new HeldLock([lock], { repository, clock: NO_TIME });
  await held.note({ what: PRODUCTION, commit: COMMIT, run, notes }, onIntended);
  return held;
}

const NO_TIME = { sleep: async () => undefined };

/** After `times` sleeps something happens. */
function afterSleeps(times: number, event: () => void): void {
  const sleep = clock.sleep.bind(clock);
  clock.sleep = async (milliseconds, signal) => {
    await sleep(milliseconds, signal);
    if (clock.sleeps.length === times) event();
  };
}

describe.each([
  ["changed atomically", true],
  ["changed one by one", false],
])("where refs are %s:", (_way, isAtomic) => {
  beforeEach(() => {
    atomic = isAtomic;
    repository = newRepository();
  });

  describe("a lock that is free", () => {
    test("is taken at once, by a tag object on the commit that the record will tag", async () => {
      expect(await take()).toStrictEqual({ lock: { ref: REF, sha: "tag-1" }, contended: false });
      expect(repository.refs.get(REF)).toBe("tag-1");
      expect(repository.objects.get("tag-1")).toStrictEqual({
        sha: "tag-1",
        name: "kiln-lock-production",
        message: expect.stringMatching(
          new RegExp(
            `^Lock of production\\n\\nRun-Id: 100\\nAttempt: 1\\nRun: ${RUN.url}\\nActor: ada\\nLock-Id: [0-9a-f-]{36}\\n$`,
          ),
        ),
        target: COMMIT,
      });
      expect(clock.sleeps).toStrictEqual([]);
    });

    test("of another environment is another one", async () => {
      await take();
      expect(
        (await take(OTHER, { what: environmentLock({ prefix: "release", environment: "qa" }) })).lock.ref,
      ).toBe("refs/kiln/lock/release/qa");
    });

    test("cannot be taken with a token that may not write: nothing else is tried", async () => {
      const refused = new Error("403");
      repository.createTag = () => Promise.reject(refused);
      await expect(take()).rejects.toBe(refused);
      expect(repository.refs.size).toBe(0);
    });

    test("whose creation's answer was lost is ours", async () => {
      repository.beforeCreateRef = (ref) => repository.refs.set(ref, "tag-1");
      expect(await take()).toStrictEqual({ lock: { ref: REF, sha: "tag-1" }, contended: false });
    });

    test("again at the very moment is taken without a wait", async () => {
      const createRef = repository.createRef.bind(repository);
      let first = true;
      repository.createRef = (ref, sha) => {
        if (!first) return createRef(ref, sha);
        first = false;
        return Promise.resolve("exists");
      };
      expect(await take()).toStrictEqual({ lock: { ref: REF, sha: "tag-1" }, contended: false });
    });
  });

  describe("a lock that another run holds", () => {
    beforeEach(async () => {
      await take(OTHER);
      repository.runs.set("200", "active");
    });

    test("is waited for until it is released", async () => {
      afterSleeps(3, () => repository.refs.delete(REF));
      const { lock, contended } = await take();
      expect(contended).toBe(true);
      expect(repository.refs.get(REF)).toBe(lock.sha);
      expect(clock.sleeps).toStrictEqual([10_000, 10_000, 10_000]);
      expect(log.lines).toStrictEqual([
        `notice: production is locked by bob's run ${OTHER.url}; waiting for up to 1 h`,
      ]);
    });

    test("is taken over as soon as that run has ended", async () => {
      afterSleeps(2, () => repository.runs.set("200", "ended"));
      const { lock, contended } = await take();
      expect(contended).toBe(true);
      expect(repository.refs.get(REF)).toBe(lock.sha);
      expect(log.lines.at(-1)).toBe(
        `notice: Taking over the lock of production: ${OTHER.url} has ended without releasing it`,
      );
    });

    test("names the next holder too", async () => {
      const eve: LockHolder = {
        ...OTHER,
        id: "300",
        url: "https://github.com/acme/web/actions/runs/300",
        actor: "eve",
      };
      repository.runs.set("300", "active");
      afterSleeps(1, () => {
        repository.objects.set("tag-eve", {
          sha: "tag-eve",
          name: "kiln-lock-production",
          message: `Lock of production\n\nRun-Id: ${eve.id}\nAttempt: 1\nRun: ${eve.url}\nActor: eve\n`,
          target: COMMIT,
        });
        repository.refs.set(REF, "tag-eve");
      });
      afterSleeps(2, () => repository.refs.delete(REF));
      await take();
      expect(log.lines.map((line) => line.slice(0, 60))).toStrictEqual([
        `notice: production is locked by bob's run ${OTHER.url}`.slice(0, 60),
        `notice: production is locked by eve's run ${eve.url}`.slice(0, 60),
      ]);
    });

    test.each([
      [
        "the token may not ask",
        "forbidden",
        "whether that run has ended is not known: the token needs `actions: read` to ask",
      ],
      [
        "there is no such run any more",
        "gone",
        "whether that run has ended is not known: GitHub has no such run any more, or the token may not see it",
      ],
    ] as const)("is never taken over where GitHub does not tell: %s", async (_, state, why) => {
      repository.runs.set("200", state);
      const error = await take(RUN, { timeout: 60_000 }).catch((caught: unknown) => caught);
      expect(error).toMatchObject({
        message: `production is still locked by bob's run ${OTHER.url} after 1 min`,
        state: `Nothing was changed. W${why.slice(1)}.`,
      });
      expect(repository.refs.get(REF)).toBe("tag-1");
      expect(log.lines).toContain(`notice: production: ${why}`);
    });

    test("for too long stops the run, which says whose it is and what to do", async () => {
      await expect(take(RUN, { timeout: 25_000 })).rejects.toMatchObject({
        message: `production is still locked by bob's run ${OTHER.url} after 25 s`,
        state: "Nothing was changed.",
        next: expect.stringMatching(
          /`git push origin :refs\/kiln\/lock\/release\/production`, or `gh api -X DELETE repos\/\{owner\}\/\{repo\}\/git\/refs\/kiln\/lock\/release\/production`\. Never while it runs/,
        ),
      });
      expect(clock.sleeps).toStrictEqual([10_000, 10_000, 5000]);
      expect(repository.refs.get(REF)).toBe("tag-1");
    });

    test("is waited for no longer once the run is cancelled", async () => {
      const cancelled = new CancelledError("The run was cancelled");
      afterSleeps(2, () => controller.abort(cancelled));
      await expect(take()).rejects.toBe(cancelled);
      expect(repository.refs.get(REF)).toBe("tag-1");
    });
  });

  describe("a lock that an attempt of another run holds", () => {
    test.each([
      ["an earlier attempt than the one that runs", "1", 2, "active", true],
      ["the attempt that runs", "2", 2, "active", false],
      ["the attempt that has ended", "2", 2, "ended", true],
      ["a later attempt than GitHub's answer knows", "3", 2, "ended", false],
    ] as const)("%s", async (_case, attempt, newest, state, isDead) => {
      await take({ ...OTHER, attempt });
      repository.runs.set("200", state);
      repository.attempts.set("200", newest);
      const taken = take(RUN, { timeout: 0 }).then(
        ({ contended }) => contended,
        (error: unknown) => String(error),
      );
      const wanted = isDead ? "true" : "production is still locked by bob's run";
      expect(String(await taken)).toContain(wanted);
    });
  });

  describe("a lock of this very run", () => {
    test("from an earlier attempt is taken over: that attempt has ended", async () => {
      await take(RUN);
      const { lock, contended } = await take({ ...RUN, attempt: "2" });
      expect(contended).toBe(true);
      expect(repository.refs.get(REF)).toBe(lock.sha);
      expect(clock.sleeps).toStrictEqual([]);
    });

    test("from a later attempt is not taken over: that attempt has superseded this one", async () => {
      await take({ ...RUN, attempt: "2" });
      const held = repository.refs.get(REF);
      await expect(take(RUN)).rejects.toMatchObject({
        name: "TakenOverError",
        message: `production: a later attempt of this run has taken over: ada's run ${RUN.url} (attempt 2)`,
        state: "Nothing was changed. This is attempt 1, which GitHub has given up.",
      });
      expect(repository.refs.get(REF)).toBe(held);
      expect(clock.sleeps).toStrictEqual([]);
    });

    test("from this attempt is another job's: it is waited for", async () => {
      await take(RUN);
      await expect(take(RUN, { timeout: 5000 })).rejects.toThrow(/^production is still locked by ada's run /);
    });
  });

  test.each([
    ["a lightweight ref", undefined],
    ["a message of somebody else", "locked by hand"],
    ["a message that says half of it", "Run-Id: 200\nAttempt: 1\n"],
    ["a run that is no number", "Run-Id: 200/../7\nAttempt: 1\nRun: u\nActor: a\n"],
    ["an attempt that is no number", "Run-Id: 200\nAttempt: -1\nRun: u\nActor: a\n"],
  ])("a lock that cannot be read is never taken over: %s", async (_, message) => {
    repository.push("x", message, COMMIT);
    repository.refs.set(REF, repository.refs.get("refs/tags/x") ?? "");
    const held = repository.refs.get(REF);
    await expect(take(RUN, { timeout: 0 })).rejects.toThrow(
      "production is still locked by somebody (its lock cannot be read) after 0 s",
    );
    expect(repository.refs.get(REF)).toBe(held);
  });

  describe("a dead run's lock", () => {
    const THIRD: LockHolder = { ...RUN, id: "300", actor: "eve", url: RUN.url.replace("100", "300") };

    beforeEach(async () => {
      await take(OTHER);
      repository.runs.set("200", "ended");
      repository.runs.set("100", "active");
      repository.runs.set("300", "active");
    });

    test("goes to exactly one of two that find it at once, wherever the slower one is when the faster one is done", async () => {
      const pauses = 40;
      for (let pausedAt = 0; pausedAt < pauses; pausedAt += 1) {
        repository = newRepository();
        await take(OTHER);
        repository.runs.set("200", "ended").set("100", "active").set("300", "active");
        const slow = new PausedRepository(repository, pausedAt);
        const first = takeLock(
          { what: PRODUCTION, commit: COMMIT, run: RUN, timeout: 60_000 },
          { repository: slow, clock, log, signal: controller.signal },
        );
        await slow.paused;
        const other = take(THIRD, { timeout: 60_000 });
        // The other one goes as far as it can while the first stands still.
        await Promise.race([other.catch(() => undefined), turns(500)]);
        slow.goOn();
        const ends = await Promise.allSettled([first, other]);
        const won = ends.flatMap((end) => (end.status === "fulfilled" ? [end.value.lock.sha] : []));
        expect(won, `paused before request ${pausedAt}`).toEqual([repository.refs.get(REF)]);
        expect([...repository.refs.keys()], `paused before request ${pausedAt}`).toEqual([REF]);
        if (!slow.wasPaused) {
          process.stdout.write(`two takers of a dead lock: ${pausedAt} orders tried, one winner in each\n`);
          return;
        }
      }
      throw new Error("it never came to an end");
    });

    test.skipIf(isAtomic)("is taken over from one that died taking it over", async () => {
      repository.refs.set(`${CLAIMS}tag-1`, "tag-2");
      await repository.createTag({
        name: "x",
        message: repository.objects.get("tag-1")?.message ?? "",
        commit: COMMIT,
      });
      const { lock } = await take();
      expect([...repository.refs]).toEqual([[REF, lock.sha]]);
    });

    test("has what it noted finished before it is gone", async () => {
      await note(OTHER, "an instance", { ref: REF, sha: "tag-1" });
      const seen: string[] = [];
      const { lock } = await take(RUN, {
        inherit: async (message) => {
          seen.push(message);
          // Whoever takes over next finds the notes as well.
          const now = repository.objects.get(repository.refs.get(REF) ?? "")?.message;
          expect(now).toContain("\nNotes: an instance\n");
        },
      });
      expect(seen).toEqual([expect.stringContaining("\nNotes: an instance\n")]);
      expect([...repository.refs]).toEqual([[REF, lock.sha]]);
      expect(repository.objects.get(lock.sha)?.message).not.toContain("Notes");
    });

    test("stays with its notes where finishing them is interrupted", async () => {
      await note(OTHER, "an instance", { ref: REF, sha: "tag-1" });
      const cancelled = new CancelledError("The run was cancelled");
      await expect(take(RUN, { inherit: () => Promise.reject(cancelled) })).rejects.toBe(cancelled);
      expect([...repository.refs]).toEqual([[REF, "tag-2"]]);
    });

    test("is let go by a run that needs it no more; a live one is not", async () => {
      const order = { what: PRODUCTION, commit: COMMIT, run: RUN };
      expect(await releaseAbandoned(order, repository)).toBe(true);
      expect(repository.refs.size).toBe(0);
      expect(await releaseAbandoned(order, repository)).toBe(false);
      await take(THIRD);
      expect(await releaseAbandoned(order, repository)).toBe(false);
      expect(repository.refs.has(REF)).toBe(true);
    });
  });

  test("two jobs of one run that write their locks in the same second do not take each other's for their own", async () => {
    // As git does it: the same text on the same commit in the same second is the same object.
    repository.createTag = async ({ name, message, commit }) => {
      const sha = `tag-${message}`;
      repository.objects.set(sha, { sha, name, message, target: commit });
      return sha;
    };
    await take(RUN);
    await expect(take(RUN, { timeout: 5000 })).rejects.toThrow("still locked");
  });

  test("claims that an earlier attempt of this run left are deleted, and nobody else's", async () => {
    const what = PRODUCTION;
    const claim = async (run: LockHolder): Promise<string> => {
      const message = formatHolder(what.name, run, "x");
      const sha = await repository.createTag({ name: "claim", message, commit: COMMIT });
      const ref = `${CLAIMS}${sha}`;
      await repository.createRef(ref, sha);
      return ref;
    };
    await claim(RUN);
    const kept = [await claim(OTHER), await claim({ ...RUN, attempt: "2" })];
    await deleteOwnClaims(repository, { ...RUN, attempt: "2" });
    expect([...repository.refs.keys()]).toEqual(kept);
  });

  test("a lock is noted before it is taken, and in each form that it gets", async () => {
    const noted: string[] = [];
    const createRef = repository.createRef.bind(repository);
    repository.createRef = (ref, sha) => {
      noted.push(`create ${sha}`);
      return createRef(ref, sha);
    };
    const { lock } = await take(RUN, { onIntended: ({ sha }) => noted.push(`noted ${sha}`) });
    await note(RUN, "x", lock, ({ sha }) => {
      noted.push(`noted ${sha} over ${repository.refs.get(REF) ?? "?"}`);
    });
    expect(noted).toEqual(["noted tag-1", "create tag-1", "noted tag-2 over tag-1"]);
    expect(await releaseLock(repository, [lock], NO_TIME)).toBe("replaced");
    expect(repository.refs.get(REF)).toBe("tag-2");
  });

  test("nothing is noted in a lock that another run holds by now: it stays that run's", async () => {
    const { lock } = await take(RUN);
    repository.refs.delete(REF);
    const { lock: others } = await take(OTHER);
    const held = await note(RUN, "x", lock);
    expect(repository.refs.get(REF)).toBe(others.sha);
    expect(await held.release()).toBe("replaced");
    expect(repository.refs.get(REF)).toBe(others.sha);
  });

  describe("a lock is released", () => {
    test("by its holder", async () => {
      const { lock } = await take();
      expect(await releaseLock(repository, [lock], NO_TIME)).toBe("released");
      expect(repository.refs.has(REF)).toBe(false);
    });

    test("once", async () => {
      const { lock } = await take();
      await releaseLock(repository, [lock], NO_TIME);
      // That it is gone is all that a second release can tell.
      expect(await releaseLock(repository, [lock], NO_TIME)).toBe("gone");
    });

    test("not after another run took it over", async () => {
      const { lock } = await take();
      await take({ ...RUN, attempt: "2" });
      expect(await releaseLock(repository, [lock], NO_TIME)).toBe("replaced");
      expect(repository.refs.get(REF)).toBe("tag-2");
    });

    test("in whichever of its forms it is seen, and where it is seen late", async () => {
      const { lock } = await take();
      await note(RUN, "x", lock);
      const readRef = repository.readRef.bind(repository);
      const slept: number[] = [];
      repository.readRef = async (ref) => (slept.length < 3 ? undefined : readRef(ref));
      const clock = { sleep: async (milliseconds: number) => void slept.push(milliseconds) };
      // As the post step knows it that noted a form which never came to be.
      const forms = [{ ref: REF, sha: "never" }, { ref: REF, sha: "tag-2" }, lock] as const;
      expect(await releaseLock(repository, forms, clock)).toBe("released");
      expect(slept).toEqual([500, 1000, 2000]);
      expect(repository.refs.has(REF)).toBe(false);
    });
  });
});

/** A repository whose one user stands still before a request, for as long as a test likes. */
class PausedRepository extends InMemoryRepository {
  readonly #gate = Promise.withResolvers<void>();
  readonly #paused = Promise.withResolvers<void>();
  #left: number;
  wasPaused = false;

  constructor(real: InMemoryRepository, at: number) {
    super();
    this.#left = at;
    for (const name of [
      "createTag",
      "createRef",
      "readRef",
      "readTag",
      "deleteRef",
      "runState",
      "updateRefs",
    ] as const satisfies readonly (keyof InMemoryRepository)[]) {
      const call = real[name].bind(real) as (...args: unknown[]) => Promise<unknown>;
      Object.assign(this, {
        [name]: async (...args: unknown[]) => {
          await this.#wait();
          return call(...args);
        },
      });
    }
  }

  /** When it stands still, or a while has passed without. */
  get paused(): Promise<unknown> {
    return Promise.race([this.#paused.promise, turns(500)]);
  }

  goOn(): void {
    this.#gate.resolve();
  }

  async #wait(): Promise<void> {
    this.#left -= 1;
    if (this.#left !== -1) return;
    this.wasPaused = true;
    this.#paused.resolve();
    await this.#gate.promise;
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
}

test("a lock's ref is outside of branches and tags", () => {
  expect(lockRef({ prefix: "release", environment: "qa" })).toBe("refs/kiln/lock/release/qa");
});

test("the bake of a content has a lock of its own, beside those of environments, whatever their names", async () => {
  const digest = `sha256:${"ab".repeat(32)}` as const;
  expect(bakeLock(digest)).toEqual({
    ref: `refs/kiln/bake/${"ab".repeat(32)}`,
    name: `the bake of ${digest}`,
    tag: "kiln-bake-abababababab",
  });
});
