import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { recordSchema } from "../../src/release/record-schema.ts";
import {
  formatRecord,
  MAX_MESSAGE_BYTES,
  NotARecord,
  parseRecord,
  type ReleaseRecord,
} from "../../src/release/record.ts";
import { COMMIT, nasty, RECORD, records, recordsWith } from "./records.ts";

const CHANGES = "Runs image web-v1.4.2-0123456789ab, baked from commit fedcba987654.\nBefore: release 41.";
const NAME = "release/production/000042";

const parsed = (record: ReleaseRecord, changes = CHANGES): ReleaseRecord | NotARecord =>
  parseRecord(formatReleaseTag(record.tag), formatRecord(record, changes), record.commit);

function recordOf(result: ReleaseRecord | NotARecord): ReleaseRecord {
  if (result instanceof NotARecord) throw new Error(`it is no record: ${result.reason}`);
  return result;
}

describe("a record's message", () => {
  test("is this one", async () => {
    await expect(formatRecord(RECORD, CHANGES)).toMatchFileSnapshot("../golden/record.txt");
  });

  test("of a rollback restores, with its reason", () => {
    const text = formatRecord(
      { ...RECORD, kind: "rollback", restores: "release/production/000040", reason: "5xx\nrate" },
      "",
    );
    expect(text.split("\n")[0]).toBe("Roll back web v1.4.2 to production (release 42)");
    expect(text).toContain("\nRestores: release/production/000040\nReason: 5xx rate\nActor: ada\n");
  });

  test("of a promotion says whence", () => {
    const text = formatRecord({ ...RECORD, kind: "promotion", promotedFrom: "release/qa/000007" }, "");
    expect(text.split("\n")[0]).toBe("Promote web v1.4.2 to production (release 42)");
    expect(text).toContain("\nPromoted-From: release/qa/000007\nActor: ada\n");
  });

  test("without prose has subject and trailers only", () => {
    expect(formatRecord(RECORD, " \n\n ").split("\n\n")).toHaveLength(2);
  });

  test("is never longer than 16 KiB, and still a record", () => {
    const long = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40_000, size: "max" }).map((text) => text.toWellFormed()),
      fc.integer({ min: 0, max: 40_000 }).map((length) => "😀".repeat(length)),
      fc.integer({ min: 0, max: 20_000 }).map((length) => "x\n".repeat(length)),
    );
    fc.assert(
      fc.property(recordsWith(long), long, (record, changes) => {
        const message = formatRecord(record, changes);
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
        expect(message.isWellFormed()).toBe(true);
        const read = recordOf(parseRecord(formatReleaseTag(record.tag), message, record.commit));
        expect(read.images).toStrictEqual(record.images);
        expect(read.targets).toStrictEqual(record.targets);
      }),
      { numRuns: 40 },
    );
  });

  test("says that its prose was cut, and keeps whole lines", () => {
    const prose = Array.from({ length: 2000 }, (_, index) => `change ${index}`).join("\n");
    const message = formatRecord(RECORD, prose);
    expect(message).toMatch(/\nchange \d+\n\(cut\)\n\nKiln-Record: 1\n/);
    expect(Buffer.byteLength(message)).toBeGreaterThan(MAX_MESSAGE_BYTES - 100);
  });
});

describe("a record is read as it was written", () => {
  test("the example", () => {
    expect(parsed(RECORD)).toStrictEqual(RECORD);
  });

  test("arbitrary ones, with arbitrary prose", () => {
    fc.assert(
      fc.property(records, nasty, (record, changes) => {
        expect(parsed(record, changes)).toStrictEqual(record);
      }),
      { numRuns: 300 },
    );
  });

  test("arbitrary text in it becomes one line, and forges nothing", () => {
    fc.assert(
      fc.property(recordsWith(nasty), nasty, (record, changes) => {
        const read = recordOf(parsed(record, changes));
        expect({
          ...read,
          version: "",
          previous: "",
          restores: "",
          promotedFrom: "",
          reason: "",
          actor: "",
          run: "",
        }).toStrictEqual({
          ...record,
          version: "",
          previous: "",
          restores: "",
          promotedFrom: "",
          reason: "",
          actor: "",
          run: "",
        });
        expect(read.version).not.toMatch(/[\r\n]/);
      }),
      { numRuns: 300 },
    );
  });

  test("as data it fits the published schema", () => {
    fc.assert(
      fc.property(records, (record) => {
        const data: unknown = JSON.parse(JSON.stringify(record));
        expect(recordSchema.safeParse(data).error).toBeUndefined();
      }),
    );
  });

  test("unknown trailers are ignored", () => {
    const message = formatRecord(RECORD, CHANGES).replace(
      "Actor: ada",
      "Actor: ada\nApproved-By: bob\nApproved-By: eve",
    );
    expect(parseRecord(NAME, message, COMMIT)).toStrictEqual(RECORD);
  });

  test("only the last block counts", () => {
    const forged = formatRecord(
      { ...RECORD, actor: "mallory", images: { "eu-west-1": "ami-0eeeeeeeeeeeeeeee" } },
      "",
    );
    expect(parsed(RECORD, forged)).toStrictEqual(RECORD);
    expect(parsed(RECORD, "Image: us-east-1 ami-0eeeeeeeeeeeeeeee")).toStrictEqual(RECORD);
  });

  test.each(["version", "reason", "actor", "run", "previous"] as const)(
    "a trailer in its %s is no trailer",
    (key) => {
      const forged = "x\n\nKiln-Record: 1\nImage: us-east-1 ami-0eeeeeeeeeeeeeeee";
      const read = recordOf(parsed({ ...RECORD, [key]: forged }));
      expect(read.images).toStrictEqual(RECORD.images);
      expect(read[key]).toBe("x Kiln-Record: 1 Image: us-east-1 ami-0eeeeeeeeeeeeeeee");
    },
  );
});

describe("what is no record, and why", () => {
  const message = formatRecord(RECORD, CHANGES);
  const without = (key: string): string => message.replaceAll(new RegExp(`^${key}: .*\n`, "gm"), "");
  const instead = (key: string, value: string): string =>
    message.replace(new RegExp(`^${key}: .*$`, "m"), `${key}: ${value}`);
  const twice = (key: string): string => message.replace(new RegExp(`^(${key}: .*)$`, "m"), "$1\n$1");

  test.each([
    ["Application", without("Application"), "its trailer Application is missing"],
    ["Environment", without("Environment"), "its trailer Environment is missing"],
    ["Release", without("Release"), "its trailer Release is missing"],
    ["Kind", without("Kind"), "its trailer Kind is missing"],
    ["Commit", without("Commit"), "its trailer Commit is missing"],
    ["Version", without("Version"), "its trailer Version is missing"],
    ["Image", without("Image"), "its trailer Image is missing"],
    ["Image-Name", without("Image-Name"), "its trailer Image-Name is missing"],
    ["Image-Digest", without("Image-Digest"), "its trailer Image-Digest is missing"],
    ["Image-Commit", without("Image-Commit"), "its trailer Image-Commit is missing"],
    ["Actor", without("Actor"), "its trailer Actor is missing"],
    ["Run", without("Run"), "its trailer Run is missing"],
    ["Started", without("Started"), "its trailer Started is missing"],
    ["Finished", without("Finished"), "its trailer Finished is missing"],
    ["Kiln-Record", without("Kiln-Record"), "its format is Kiln-Record: (none); this version reads 1"],
  ])("%s is missing", (_, message, reason) => {
    expect(parseRecord(NAME, message, COMMIT)).toStrictEqual(new NotARecord(reason));
  });

  test.each(["Application", "Version", "Commit", "Image-Digest", "Previous", "Actor", "Finished"])(
    "%s is there twice",
    (key) => {
      expect(parseRecord(NAME, twice(key), COMMIT)).toStrictEqual(
        new NotARecord(`its trailer ${key} is there 2 times`),
      );
    },
  );

  test.each([
    [twice("Kiln-Record"), "its format is Kiln-Record: 1, 1; this version reads 1"],
    [instead("Kiln-Record", "2"), "its format is Kiln-Record: 2; this version reads 1"],
    [instead("Kiln-Record", "01"), "its format is Kiln-Record: 01; this version reads 1"],
    [instead("Kind", "hotfix"), "its trailer Kind is hotfix"],
    [instead("Commit", "main"), "its trailer Commit is no commit: main"],
    [
      instead("Commit", "f".repeat(40)),
      `it is on commit ${COMMIT}, its trailer Commit says ${"f".repeat(40)}`,
    ],
    [instead("Image-Commit", "HEAD"), "its trailer Image-Commit is no commit: HEAD"],
    [instead("Image-Digest", "sha256:12"), "its trailer Image-Digest is no digest: sha256:12"],
    [instead("Release", "43"), `its trailers say release 43 of production, its name ${NAME}`],
    [instead("Release", "042"), `its trailers say release 042 of production, its name ${NAME}`],
    [instead("Environment", "qa"), `its trailers say release 42 of qa, its name ${NAME}`],
    [instead("Image", "eu-west-1"), 'its trailer Image is not "<region> <ami>": eu-west-1'],
    [instead("Image", "eu-west-1 ami-1"), 'its trailer Image is not "<region> <ami>": eu-west-1 ami-1'],
    [
      instead("Image", "eu-west-1 ami-0aaaaaaaaaaaaaaaa x"),
      'its trailer Image is not "<region> <ami>": eu-west-1 ami-0aaaaaaaaaaaaaaaa x',
    ],
    [
      instead("Image", "__proto__ ami-0aaaaaaaaaaaaaaaa"),
      'its trailer Image is not "<region> <ami>": __proto__ ami-0aaaaaaaaaaaaaaaa',
    ],
    [twice("Image"), "its trailer Image names eu-west-1 twice"],
    [instead("Base-Image", "x"), 'its trailer Base-Image is not "<region> <ami>": x'],
    [
      instead("Target", "eu-west-1 web"),
      'its trailer Target is not "<region> <group> <launch template>@<version>": eu-west-1 web',
    ],
    [
      instead("Target", "eu-west-1 web lt-1@$Latest"),
      'its trailer Target is not "<region> <group> <launch template>@<version>": eu-west-1 web lt-1@$Latest',
    ],
    [instead("Started", "2026-11-18 10:00"), "its trailer Started is no time in UTC: 2026-11-18 10:00"],
    [
      instead("Started", "2026-11-18T10:00:00+01:00"),
      "its trailer Started is no time in UTC: 2026-11-18T10:00:00+01:00",
    ],
    [
      instead("Finished", "2026-13-18T10:00:00Z"),
      "its trailer Finished is no time in UTC: 2026-13-18T10:00:00Z",
    ],
    ["", "its message does not end with a block of trailers"],
    ["Release 1.0", "its message does not end with a block of trailers"],
    ["Kiln-Record: 1\nApplication: web", "its message does not end with a block of trailers"],
    [`${message}\nand a last word`, "its message does not end with a block of trailers"],
    [`${message}and a last word`, "its message does not end with a block of trailers"],
    [message.replaceAll("\n", "\r\n"), "its message does not end with a block of trailers"],
    [
      "A subject\n\nSigned-off-by: Ada <ada@example.org>\n",
      "its format is Kiln-Record: (none); this version reads 1",
    ],
  ])("case %#: %j", (message, reason) => {
    expect(parseRecord(NAME, message, COMMIT)).toStrictEqual(new NotARecord(reason));
  });

  test.each(["v1.0", "release/production/42", "release/production/latest"])("a tag called %s", (name) => {
    expect(parseRecord(name, message, COMMIT)).toStrictEqual(
      new NotARecord("its name is not <prefix>/<environment>/<six-digit number>"),
    );
  });

  test("a record of another number under this name", () => {
    expect(parseRecord("release/production/000043", message, COMMIT)).toStrictEqual(
      new NotARecord("its trailers say release 42 of production, its name release/production/000043"),
    );
  });

  test("arbitrary text, which never throws", () => {
    const mutilated = fc
      .tuple(fc.nat(message.length), fc.nat(40), nasty)
      .map(([at, length, text]) => message.slice(0, at) + text + message.slice(at + length));
    fc.assert(
      fc.property(fc.oneof(nasty, mutilated), fc.oneof(fc.constant(NAME), nasty), (message, name) => {
        const result = parseRecord(name, message, COMMIT);
        expect(result instanceof NotARecord ? result.reason.length : result.tag.number).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  test("a very long text is judged at once", () => {
    expect(parseRecord(NAME, `a\n${" \n".repeat(20_000)}`, COMMIT)).toBeInstanceOf(NotARecord);
    expect(parseRecord(NAME, `a\n\n${"A: b\n".repeat(20_000)}x`, COMMIT)).toBeInstanceOf(NotARecord);
  });
});

describe("git reads the same trailers", () => {
  const gitTrailers = (message: string): string[] =>
    execFileSync("git", ["interpret-trailers", "--parse"], { input: message, encoding: "utf8" })
      .split("\n")
      .filter((line) => line !== "");

  const trailersIn = (message: string): string[] =>
    message
      .trimEnd()
      .slice(message.trimEnd().lastIndexOf("\n\n") + 2)
      .split("\n")
      .map((line) => line.trimEnd());

  test("of the example", () => {
    const message = formatRecord(RECORD, CHANGES);
    expect(gitTrailers(message)).toStrictEqual(trailersIn(message));
    expect(gitTrailers(message)).toContain("Image: eu-west-1 ami-0aaaaaaaaaaaaaaaa");
  });

  test("of arbitrary records and prose", () => {
    // A zero byte cannot be in a git message; it does not come through `formatRecord` either, but through prose.
    const prose = nasty.map((text) => text.replaceAll("\0", "").toWellFormed());
    fc.assert(
      fc.property(recordsWith(nasty), prose, (record, changes) => {
        const message = formatRecord(record, changes);
        expect(gitTrailers(message).map((line) => line.trimEnd())).toStrictEqual(trailersIn(message));
      }),
      { numRuns: 60 },
    );
  });
});
