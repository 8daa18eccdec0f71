import { beforeEach, describe, expect, test } from "vitest";
import { RemoteError, TakenOverError } from "../../src/domain/errors.ts";
import { formatReleaseTag, parseReleaseTag } from "../../src/domain/release-tag.ts";
import { HeldLock } from "../../src/release/held-lock.ts";
import { appendRecord, EMPTY_PAGE, readLedger } from "../../src/release/ledger.ts";
import { formatHolder } from "../../src/release/lock-holder.ts";
import { formatRecord, parseRecord, type ReleaseRecord } from "../../src/release/record.ts";
import { recordObstacles } from "../../src/release/recordable.ts";
import { KeptLog } from "../image/programs.ts";
import { InMemoryRepository } from "./in-memory-repository.ts";
import { COMMIT, RECORD } from "./records.ts";

const clock = { now: () => new Date(), sleep: async () => undefined };
let repository: InMemoryRepository;
let log: KeptLog;

beforeEach(() => {
  repository = new InMemoryRepository();
  log = new KeptLog();
});

const record = (number: number, changes: Partial<ReleaseRecord> = {}): ReleaseRecord => ({
  ...RECORD,
  tag: { ...RECORD.tag, number },
  ...changes,
});

function push(written: ReleaseRecord): void {
  repository.push(formatReleaseTag(written.tag), formatRecord(written, ""), written.commit);
}

const OWNER = { name: "web", recordPrefix: "release" };
const read = async (environment = "production") =>
  (await readLedger(repository, OWNER, [environment], log)).get(environment);

describe("the ledger", () => {
  test("of an environment without releases is empty", async () => {
    expect(await read()).toStrictEqual(EMPTY_PAGE);
    expect(log.lines).toStrictEqual([]);
  });

  test("has the newest records, newest first, and the highest number", async () => {
    for (const number of [1, 2, 9, 10, 11]) push(record(number));
    expect(await read()).toStrictEqual({
      newest: record(11),
      records: [11, 10, 9, 2, 1].map((number) => record(number)),
      highestNumber: 11,
      nextNumber: 12,
      unreadable: [],
      tags: 5,
      cut: false,
    });
  });

  test("is found behind other tags that sort before it, by one more request for that environment alone", async () => {
    push(record(7));
    push(record(3, { tag: { prefix: "release", environment: "qa", number: 3 } }));
    for (let tag = 0; tag < 30; tag += 1) repository.push(`release/production/v${tag}`, "mine", COMMIT);
    const pages = await readLedger(repository, OWNER, ["production", "qa"], log);
    expect(pages.get("production")?.newest).toStrictEqual(record(7));
    expect(pages.get("qa")?.highestNumber).toBe(3);
    expect(repository.asked.map(({ prefixes, count }) => [prefixes.length, count])).toStrictEqual([
      [2, 20],
      [1, 100],
    ]);
  });

  test("that nobody can see for other tags is not taken for an empty one", async () => {
    push(record(7));
    for (let tag = 0; tag < 120; tag += 1) repository.push(`release/production/v${tag}`, "mine", COMMIT);
    await expect(read()).rejects.toThrow("hide those that are: release/production/");
  });

  test("reads several environments in one request, a few tags of each", async () => {
    push(record(3));
    push(record(7, { tag: { prefix: "release", environment: "qa", number: 7 } }));
    const pages = await readLedger(repository, OWNER, ["qa", "production", "dev"], log);
    expect([...pages].map(([name, page]) => [name, page.highestNumber])).toStrictEqual([
      ["qa", 7],
      ["production", 3],
      ["dev", 0],
    ]);
    expect(repository.asked).toStrictEqual([
      {
        prefixes: ["refs/tags/release/qa/", "refs/tags/release/production/", "refs/tags/release/dev/"],
        count: 20,
      },
    ]);
  });

  test("does not mix environments whose names begin alike", async () => {
    push(record(7, { tag: { prefix: "release", environment: "production-eu", number: 7 } }));
    expect(await read()).toStrictEqual(EMPTY_PAGE);
  });

  const LATER_FORMAT = formatRecord(record(43), "").replace("Kiln-Record: 1", "Kiln-Record: 2");
  const COPIED = formatRecord(record(42), "");
  const DEEPER = formatRecord(
    record(99, { tag: { prefix: "release/production", environment: "x", number: 99 } }),
    "",
  );
  const IS_LIGHTWEIGHT = "it is a lightweight tag";
  const WRONG_NAME = "its name is not <prefix>/<environment>/<six-digit number>";

  test.each<[what: string, name: string, message: string | undefined, reason: string, next: number]>([
    ["a lightweight tag", "000043", undefined, IS_LIGHTWEIGHT, 44],
    ["a lightweight tag with another number", "000050", undefined, IS_LIGHTWEIGHT, 43],
    ["the highest number of all", "999999", undefined, IS_LIGHTWEIGHT, 43],
    ["a number with more digits", "999999999999999", undefined, IS_LIGHTWEIGHT, 43],
    ["a record whose number has seven digits", "1000000", COPIED, WRONG_NAME, 43],
    ["somebody's annotated tag", "000043", "hello", "its message does not end with a block of trailers", 44],
    [
      "a record of a later format",
      "000043",
      LATER_FORMAT,
      "its format is Kiln-Record: 2; this version reads 1",
      44,
    ],
    [
      "a copied record",
      "000043",
      COPIED,
      "its trailers say release 42 of production, its name release/production/000043",
      44,
    ],
    ["a tag of another form", "v2", "hello", WRONG_NAME, 43],
    ["a deeper tag", "x/000099", DEEPER, "it is below another path", 43],
    ["a tag below the next record's name", "000043/x", "hello", "it is below another path", 44],
  ])("ignores %s with a notice: it raises no number", async (_, name, message, reason, next) => {
    push(record(42));
    const full = `release/production/${name}`;
    repository.push(full, message, COMMIT);
    expect(await read()).toMatchObject({
      newest: record(42),
      records: [record(42)],
      highestNumber: 42,
      nextNumber: next,
    });
    expect(log.lines).toStrictEqual([`notice: The tag ${full} is no record: ${reason}. It is ignored.`]);
  });

  test("ignores a record on another commit than it says, and names it as one that it cannot read", async () => {
    repository.push("release/production/000001", formatRecord(record(1), ""), "f".repeat(40));
    expect(await read()).toMatchObject({
      newest: undefined,
      highestNumber: 0,
      nextNumber: 2,
      unreadable: ["release/production/000001"],
    });
    expect(log.lines[0]).toContain(`it is on commit ${"f".repeat(40)}`);
  });

  test("steps over several names that are taken", async () => {
    push(record(4));
    for (const name of ["000005", "000006/x", "000007", "000009"])
      repository.push(`release/production/${name}`, undefined, COMMIT);
    expect(await read()).toMatchObject({ highestNumber: 4, nextNumber: 8, unreadable: [] });
  });

  test("leaves out another application's records, whose numbers are taken all the same", async () => {
    push(record(41));
    push(record(42, { application: "shop" }));
    expect(await read()).toMatchObject({
      newest: record(41),
      records: [record(41)],
      highestNumber: 42,
      nextNumber: 43,
    });
    expect(log.lines).toStrictEqual([
      "notice: The record release/production/000042 is of another application, shop, not of web. It is ignored.",
    ]);
  });
});

describe("whether a release can be recorded", () => {
  const obstacles = async () =>
    (await recordObstacles(repository, OWNER, "production", (await read()) ?? EMPTY_PAGE)).map(
      ({ message }) => message,
    );

  test("is nothing to ask for where there is a record", async () => {
    push(record(1));
    const page = (await read()) ?? EMPTY_PAGE;
    repository.readRefs = () => Promise.reject(new Error("asked"));
    expect(await recordObstacles(repository, OWNER, "production", page)).toEqual([]);
  });

  test("is so where there is no tag at all", async () => {
    expect(await obstacles()).toEqual([]);
  });

  test.each(["release", "release/production"])("the tag %s is in the way", async (name) => {
    repository.push(name, undefined, COMMIT);
    expect(await obstacles()).toEqual([
      `The tag ${name} keeps git from creating records below release/production/: no release to production could be recorded`,
    ]);
  });

  test("a prefix of several segments is looked at whole", async () => {
    repository.push("release/api", "hello", COMMIT);
    const owner = { name: "web", recordPrefix: "release/api" };
    const found = await recordObstacles(repository, owner, "production", EMPTY_PAGE);
    expect(found.map(({ message }) => message.slice(0, 30))).toEqual(["The tag release/api keeps git "]);
  });

  test("no number is left after the last one", async () => {
    push(record(999_998));
    expect(await obstacles()).toEqual([]);
    push(record(999_999));
    expect(await obstacles()).toEqual([
      "No release number of production is left: the highest tag below release/production/ is 999999, and 999999 is the last",
    ]);
  });
});

describe("ledgers whose names would be mixed up", () => {
  const of = (name: string): ReleaseRecord => {
    const tag = parseReleaseTag(name);
    if (tag === undefined) throw new Error(name);
    return record(1, { tag });
  };
  const readFrom = (prefix: string, environments = ["api"]) =>
    readLedger(repository, { ...OWNER, recordPrefix: prefix }, environments, log);

  test.each([
    ["release/api", "release/api/000001"],
    ["a/b/c", "a/b/000001"],
    ["a/b/c", "a/b/c/000001"],
  ])("%s is refused where another has %s", async (prefix, taken) => {
    push(of(taken));
    await expect(readFrom(prefix, ["dev"])).rejects.toMatchObject({
      message: `The records of ${prefix} would be mixed up with another configuration's: ${taken}`,
      state: "Nothing was changed.",
    });
  });

  test("an environment without records is refused where a longer prefix has them", async () => {
    push(of("release/api/dev/000001"));
    await expect(readFrom("release")).rejects.toThrow(
      "The records of release/api would be mixed up with another configuration's: release/api/dev/000001",
    );
    expect((await readFrom("release/api", ["dev"])).get("dev")?.highestNumber).toBe(1);
    expect((await readFrom("release", ["dev"])).get("dev")?.highestNumber).toBe(0);
  });

  test("a tag that is no record excludes nobody", async () => {
    repository.push("release/api/dev/000001", "hello", COMMIT);
    expect((await readFrom("release")).get("api")).toMatchObject({ highestNumber: 0 });
  });
});

describe.each([
  ["changed atomically", true],
  ["changed one by one", false],
])("a release's record, where refs are %s,", (_way, atomic) => {
  beforeEach(() => {
    repository.atomic = atomic;
  });

  const LOCK = { ref: "refs/kiln/lock/release/production", sha: "lock" };
  const append = (written: ReleaseRecord) => {
    repository.refs.set(LOCK.ref, LOCK.sha);
    const lock = new HeldLock([LOCK], { repository, clock });
    return appendRecord(written, "What changed.", { repository, clock, lock }).finally(() => {
      // Where it was not released together with the record.
      repository.refs.delete(LOCK.ref);
    });
  };
  const recordAt = (name: string) => {
    const tag = repository.objects.get(repository.refs.get(`refs/tags/${name}`) ?? "");
    return tag && parseRecord(name, tag.message, tag.target);
  };

  test("is an annotated tag on the released commit", async () => {
    expect(await append(record(42))).toStrictEqual(record(42));
    expect([...repository.refs]).toStrictEqual([["refs/tags/release/production/000042", "tag-1"]]);
    expect(repository.objects.get("tag-1")).toStrictEqual({
      sha: "tag-1",
      name: "release/production/000042",
      message: formatRecord(record(42), "What changed."),
      target: COMMIT,
    });
  });

  test("takes the next number where another's has it, and says so in its own trailers", async () => {
    push(record(42, { run: "https://github.com/acme/web/actions/runs/2" }));
    repository.push("release/production/000043", undefined, COMMIT);
    const written = record(44, { previous: "release/production/000042" });
    expect(await append(record(42))).toStrictEqual(written);
    expect(recordAt("release/production/000044")).toStrictEqual(written);
  });

  test("takes the next number where another run is faster by a moment", async () => {
    repository.beforeCreateRef = (ref) => {
      if (ref.endsWith("000042") && !repository.refs.has(ref)) push(record(42, { run: "another" }));
    };
    expect((await append(record(42))).tag.number).toBe(43);
    expect(recordAt("release/production/000042")).toMatchObject({ run: "another" });
  });

  test("releases the environment's lock with it, where that is one request", async () => {
    repository.refs.set(LOCK.ref, LOCK.sha);
    const lock = new HeldLock([LOCK], { repository, clock });
    await appendRecord(record(42), "", { repository, clock, lock });
    expect(repository.refs.has(LOCK.ref)).toBe(!atomic);
    expect(lock.isReleased).toBe(atomic);
  });

  test("is not written by a run whose lock another run holds by now", async () => {
    const other = formatHolder(
      "production",
      { id: "7", attempt: "2", url: "https://run/7", actor: "bob" },
      "x",
    );
    repository.push("other-lock", other, COMMIT);
    repository.refs.clear();
    repository.refs.set(LOCK.ref, "tag-1");
    const before = [...repository.refs];
    const lock = new HeldLock([LOCK], { repository, clock });
    const written = appendRecord(record(42), "", { repository, clock, lock });
    await expect(written).rejects.toThrow(TakenOverError);
    await expect(written).rejects.toThrow("bob's run https://run/7 (attempt 2) holds its lock");
    expect([...repository.refs]).toEqual(before);
  });

  test("is written although somebody deleted the lock: it is free, and nothing was released since", async () => {
    const lock = new HeldLock([LOCK], { repository, clock });
    expect((await appendRecord(record(42), "", { repository, clock, lock })).tag.number).toBe(42);
    expect(lock.wasLost).toBe(true);
    await lock.release();
    expect([...repository.refs.keys()]).toEqual(["refs/tags/release/production/000042"]);
  });

  test("is not written after the one of a run that had taken over and is done", async () => {
    push(record(42, { run: "another" }));
    const lock = new HeldLock([LOCK], { repository, clock });
    const written = appendRecord(record(42), "", { repository, clock, lock });
    await expect(written).rejects.toThrow(TakenOverError);
    await expect(written).rejects.toThrow("release/production/000042 was recorded by another run meanwhile");
    expect(await lock.release()).toBe("released");
    expect([...repository.refs.keys()]).toEqual(["refs/tags/release/production/000042"]);
  });

  test("follows one that was recorded meanwhile only as far as the guard allows", async () => {
    push(record(42, { run: "another" }));
    repository.refs.set(LOCK.ref, LOCK.sha);
    const lock = new HeldLock([LOCK], { repository, clock });
    const guard = async ({ tag }: ReleaseRecord) => {
      throw new Error(`older than release ${tag.number}`);
    };
    await expect(appendRecord(record(42), "", { repository, clock, lock, guard })).rejects.toThrow(
      "older than release 42",
    );
    expect(repository.refs.has("refs/tags/release/production/000043")).toBe(false);
  });

  test("that this run has written before is found again, not written twice", async () => {
    const earlier = record(42, { finished: new Date("2026-11-18T10:11:00Z") });
    push(earlier);
    expect(await append(record(42))).toStrictEqual(earlier);
    expect(repository.refs.size).toBe(1);
  });

  test("that is there but not to be seen at first is waited for, not doubled", async () => {
    push(record(42));
    const readRef = repository.readRef.bind(repository);
    let looks = 0;
    repository.readRef = async (ref) => ((looks += 1) < 3 ? undefined : readRef(ref));
    expect(await append(record(42))).toStrictEqual(record(42));
    repository.readRef = async (ref) => (ref === LOCK.ref ? LOCK.sha : undefined);
    await expect(append(record(42))).rejects.toThrow(
      "GitHub says that the tag release/production/000042 is taken, and does not show it",
    );
    expect(repository.refs.size).toBe(1);
  });

  test("of the same run, but another image, takes the next number", async () => {
    push(record(42, { imageDigest: `sha256:${"d".repeat(64)}` }));
    expect((await append(record(42))).tag.number).toBe(43);
  });

  test("takes the next number where somebody pushed a tag below its name meanwhile", async () => {
    // What GitHub answers to an atomic change does not say why: the REST request for the ref does.
    repository.updateRefs = async () => "unsupported";
    const create = repository.createRef.bind(repository);
    repository.createRef = async (ref, sha) => {
      if (ref.endsWith("000042")) throw new RemoteError("in the way", { code: "name-conflict" });
      return create(ref, sha);
    };
    expect((await append(record(42))).tag.number).toBe(43);
  });

  test("never gets a number that no reader accepts", async () => {
    push(record(999_999, { run: "another" }));
    await expect(append(record(999_999))).rejects.toThrow("could be claimed in 1 tries, up to 999999");
    expect(repository.refs.size).toBe(1);
  });

  test("is given up after 20 numbers that others have", async () => {
    for (let number = 1; number <= 25; number += 1) {
      repository.push(`release/production/${String(number).padStart(6, "0")}`, undefined, COMMIT);
    }
    await expect(append(record(1))).rejects.toThrow(
      "No release number of production could be claimed in 20 tries",
    );
    expect(repository.refs.size).toBe(25);
  });
});
