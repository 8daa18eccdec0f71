import { beforeEach, describe, expect, test } from "vitest";
import { CancelledError } from "../../src/domain/errors.ts";
import {
  bakeLock,
  environmentLock,
  type LockHolder,
  type LockOrder,
  lockRef,
  releaseLock,
  takeLock,
} from "../../src/release/lock.ts";
import { KeptLog, VirtualClock } from "../image/programs.ts";
import { InMemoryRepository } from "./in-memory-repository.ts";
import { COMMIT } from "./records.ts";

const REF = "refs/kiln/lock/production";
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

beforeEach(() => {
  repository = new InMemoryRepository();
  clock = new VirtualClock();
  log = new KeptLog();
  controller = new AbortController();
});

const take = (run = RUN, changes: Partial<LockOrder> = {}) =>
  takeLock(
    { what: environmentLock("production"), commit: COMMIT, run, timeout: 3_600_000, ...changes },
    { repository, clock, log, signal: controller.signal },
  );

/** After `times` sleeps something happens. */
function afterSleeps(times: number, event: () => void): void {
  const sleep = clock.sleep.bind(clock);
  clock.sleep = async (milliseconds, signal) => {
    await sleep(milliseconds, signal);
    if (clock.sleeps.length === times) event();
  };
}

describe("a lock that is free", () => {
  test("is taken at once, by a tag object on the commit that the record will tag", async () => {
    expect(await take()).toStrictEqual({ lock: { ref: REF, sha: "tag-1" }, contended: false });
    expect(repository.refs.get(REF)).toBe("tag-1");
    expect(repository.objects.get("tag-1")).toStrictEqual({
      sha: "tag-1",
      name: "kiln-lock-production",
      message: `Lock of production\n\nRun-Id: 100\nAttempt: 1\nRun: ${RUN.url}\nActor: ada\n`,
      target: COMMIT,
    });
    expect(clock.sleeps).toStrictEqual([]);
  });

  test("of another environment is another one", async () => {
    await take();
    expect((await take(OTHER, { what: environmentLock("qa") })).lock.ref).toBe("refs/kiln/lock/qa");
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

  test("is never taken over where GitHub does not tell whether the run has ended", async () => {
    repository.runs.delete("200");
    await expect(take(RUN, { timeout: 60_000 })).rejects.toThrow("still locked");
    expect(repository.refs.get(REF)).toBe("tag-1");
    expect(log.lines).toContain(
      "debug: Whether run 200 has ended is not known: the token needs `actions: read` to ask",
    );
  });

  test("for too long stops the run, which says whose it is and what to do", async () => {
    await expect(take(RUN, { timeout: 25_000 })).rejects.toMatchObject({
      message: `production is still locked by bob's run ${OTHER.url} after 25 s`,
      state: "Nothing was changed.",
      next: expect.stringContaining("gh api -X DELETE repos/{owner}/{repo}/git/refs/kiln/lock/production"),
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

describe("a lock of this very run", () => {
  test("from an earlier attempt is taken over: that attempt has ended", async () => {
    await take(RUN);
    const { lock, contended } = await take({ ...RUN, attempt: "2" });
    expect(contended).toBe(true);
    expect(repository.refs.get(REF)).toBe(lock.sha);
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
])("a lock that cannot be read is never taken over: %s", async (_, message) => {
  repository.push("x", message, COMMIT);
  repository.refs.set(REF, repository.refs.get("refs/tags/x") ?? "");
  const held = repository.refs.get(REF);
  await expect(take(RUN, { timeout: 0 })).rejects.toThrow(
    "production is still locked by somebody (its lock cannot be read) after 0 s",
  );
  expect(repository.refs.get(REF)).toBe(held);
});

describe("a lock is released", () => {
  test("by its holder", async () => {
    const { lock } = await take();
    expect(await releaseLock(repository, lock)).toBe(true);
    expect(repository.refs.has(REF)).toBe(false);
  });

  test("once", async () => {
    const { lock } = await take();
    await releaseLock(repository, lock);
    expect(await releaseLock(repository, lock)).toBe(false);
  });

  test("not after another run took it over", async () => {
    const { lock } = await take();
    await take({ ...RUN, attempt: "2" });
    expect(await releaseLock(repository, lock)).toBe(false);
    expect(repository.refs.get(REF)).toBe("tag-2");
  });
});

test("a lock's ref is outside of branches and tags", () => {
  expect(lockRef("qa")).toBe("refs/kiln/lock/qa");
});

test("the bake of a content has a lock of its own, beside those of environments, whatever their names", async () => {
  const digest = `sha256:${"ab".repeat(32)}` as const;
  expect(bakeLock(digest)).toEqual({
    ref: `refs/kiln/bake/${"ab".repeat(32)}`,
    name: `the bake of ${digest}`,
    tag: "kiln-bake-abababababab",
  });
});
