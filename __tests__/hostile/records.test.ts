import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { changesParagraph } from "../../src/release/changes.ts";
import {
  formatRecord,
  MAX_MESSAGE_BYTES,
  NotARecord,
  parseRecord,
  type ReleaseRecord,
} from "../../src/release/record.ts";
import { plainGit } from "../image/programs.ts";
import { recordsWith } from "../release/records.ts";
import { hostile, told, WEAPONS } from "./texts.ts";

/** Texts that make a message long, too. */
const texts = fc.oneof(
  { weight: 20, arbitrary: hostile },
  { weight: 1, arbitrary: hostile.map((text) => text.repeat(400).slice(0, 20_000)) },
);

/** The trailers that a record has, and no others: keys in the order of their first line. */
const KEYS = [
  "Kiln-Record",
  "Application",
  "Environment",
  "Release",
  "Kind",
  "Commit",
  "Version",
  "Image",
  "Image-Name",
  "Image-Digest",
  "Image-Commit",
  "Base-Image",
  "Inventory",
  "Target",
  "Verified",
  "Smoke-Test",
  "Previous",
  "Restores",
  "Promoted-From",
  "Reason",
  "Actor",
  "Run",
  "Started",
  "Finished",
];

const keysOf = (trailers: string): string[] =>
  trailers
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.slice(0, line.indexOf(":")));

/** How many of each trailer a record has. */
function expectedKeys(record: ReleaseRecord): string[] {
  const optional = (key: string, value: unknown): string[] => (value === undefined ? [] : [key]);
  return [
    "Kiln-Record",
    "Application",
    "Environment",
    "Release",
    "Kind",
    "Commit",
    "Version",
    ...Object.keys(record.images).map(() => "Image"),
    "Image-Name",
    "Image-Digest",
    "Image-Commit",
    ...Object.keys(record.baseImages).map(() => "Base-Image"),
    ...optional("Inventory", record.inventory),
    ...record.targets.map(() => "Target"),
    ...optional("Verified", record.verified),
    ...optional("Smoke-Test", record.smokeTest),
    ...optional("Previous", record.previous),
    ...optional("Restores", record.restores),
    ...optional("Promoted-From", record.promotedFrom),
    ...optional("Reason", record.reason),
    "Actor",
    "Run",
    "Started",
    "Finished",
  ];
}

/** A text as a trailer has it. */
const asValue = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();

const prose = fc.oneof(
  texts,
  fc.array(hostile, { maxLength: 8 }).map((parts) => parts.join("\n")),
  // As the product writes it.
  fc.array(hostile, { minLength: 1, maxLength: 5 }).map((subjects) =>
    changesParagraph({
      since: subjects[0] ?? "",
      sameContent: false,
      commits: {
        added: subjects.length,
        takenBack: 0,
        listed: "added",
        newest: subjects.map((subject) => ({ commit: "a".repeat(40), subject })),
        url: "https://github.com/acme/web/compare/a...b",
      },
      targets: subjects.map((target) => ({ target, instanceType: { from: target, to: target } })),
    }),
  ),
);

describe("no text of a record is more than its text", () => {
  test("it is read back, and nothing else is", () => {
    fc.assert(
      fc.property(recordsWith(texts), prose, (record, changes) => {
        const message = formatRecord(record, changes);
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
        expect(message).not.toMatch(/\0|\r/);
        expect(message.isWellFormed()).toBe(true);
        const read = parseRecord(formatReleaseTag(record.tag), message, record.commit);
        if (read instanceof NotARecord) throw new Error(read.reason);
        for (const key of [
          "version",
          "actor",
          "run",
          "reason",
          "previous",
          "restores",
          "promotedFrom",
        ] as const) {
          const value = asValue(record[key] ?? "");
          const found = read[key] ?? "";
          // What is too long is its own beginning, with a mark.
          const isBegun = Buffer.byteLength(value) > 1000 && found.endsWith("…");
          expect(isBegun ? value.startsWith(found.slice(0, -1)) : found === value).toBe(true);
        }
        expect(keysOf(message.slice(message.trimEnd().lastIndexOf("\n\n") + 2))).toEqual(
          expectedKeys(record),
        );
      }),
      told("records of hostile texts", 2000),
    );
  });
});

describe("git agrees", () => {
  let folder: string;
  const git = (args: readonly string[], input?: string): string =>
    execFileSync("git", [...args], {
      cwd: folder,
      env: plainGit(),
      encoding: "utf8",
      ...(input === undefined ? {} : { input }),
    });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "kiln-records-"));
    git(["init", "--quiet"]);
    git(["commit", "--quiet", "--allow-empty", "--message", "first"]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("the trailers are those of the record, by interpret-trailers", () => {
    fc.assert(
      fc.property(recordsWith(texts), prose, (record, changes) => {
        const message = formatRecord(record, changes);
        expect(keysOf(git(["interpret-trailers", "--parse"], message))).toEqual(expectedKeys(record));
      }),
      told("records read by git interpret-trailers", 60),
    );
  });

  test("and of a tag, by for-each-ref", () => {
    const seed = Date.now();
    const some = fc.sample(fc.tuple(recordsWith(texts), prose), { numRuns: 40, seed });
    const head = git(["rev-parse", "HEAD"]).trim();
    const updates = some.map(([record, changes], index) => {
      const header = `object ${head}\ntype commit\ntag t${index}\ntagger Ada <ada@example.org> 1 +0000\n\n`;
      const sha = git(
        ["hash-object", "-t", "tag", "-w", "--stdin"],
        header + formatRecord(record, changes),
      ).trim();
      return `create refs/tags/t${index} ${sha}\n`;
    });
    git(["update-ref", "--stdin"], updates.join(""));
    for (const [index, [record]] of some.entries()) {
      const read = git(["for-each-ref", "--format=%(contents:trailers)", `refs/tags/t${index}`]);
      expect(keysOf(read), `tag ${index} of seed ${seed}`).toEqual(expectedKeys(record));
    }
    process.stdout.write(`records read by git for-each-ref: ${some.length} tried\n`);
  });
});

test("each weapon is one line of each place", () => {
  const record = fc.sample(recordsWith(fc.constantFrom(...WEAPONS)), { numRuns: 200, seed: 1 });
  for (const each of record) {
    const keys = keysOf(formatRecord(each, WEAPONS.join("\n")).trimEnd().split("\n\n").at(-1) ?? "");
    expect(keys.filter((key) => !KEYS.includes(key))).toEqual([]);
  }
});
