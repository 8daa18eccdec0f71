import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ReleaseChanges } from "../../src/domain/changes.ts";
import {
  boundedContent,
  changesParagraph,
  compareContent,
  comparePackages,
  describeChanges,
  describeContent,
  describePackages,
  listContent,
  shownSubject,
} from "../../src/release/changes.ts";
import { formatRecord, MAX_MESSAGE_BYTES, parseRecord } from "../../src/release/record.ts";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { nasty, RECORD } from "./records.ts";

describe("packages", () => {
  test("that are changed, added, removed, and in several versions", () => {
    const before = "bash 5.2\ncurl 8.4\nkernel 5.14\nkernel 5.15\nsame 1\n";
    const after = "bash 5.3\njq 1.7\nkernel 5.15\nkernel 5.16\nsame 1\nsame 2\n";
    expect(comparePackages(before, after)).toStrictEqual({
      counts: { changed: 2, added: 2, removed: 1 },
      changed: [
        { name: "bash", from: "5.2", to: "5.3" },
        { name: "kernel", from: "5.14", to: "5.16" },
      ],
      added: [
        { name: "jq", version: "1.7" },
        { name: "same", version: "2" },
      ],
      removed: [{ name: "curl", version: "8.4" }],
    });
  });

  test("are told by number and name, the first three of each", () => {
    const list = (version: string): string =>
      ["a", "b", "c", "d"].map((name) => `${name} ${version}\n`).join("");
    expect(describePackages(comparePackages(list("1"), `${list("2")}e 1\n`))).toBe(
      "4 changed (a 1 → 2, b 1 → 2, c 1 → 2, …), 1 added (e 1)",
    );
    expect(describePackages(comparePackages(list("1"), list("1")))).toBe("the same");
  });

  test("the other way round are the reverse", () => {
    const list = fc
      .uniqueArray(fc.tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2")), { selector: String })
      .map((all) => all.map((each) => `${each.join(" ")}\n`).join(""));
    fc.assert(
      fc.property(list, list, (a, b) => {
        const [there, back] = [comparePackages(a, b), comparePackages(b, a)];
        expect(back.added).toStrictEqual(there.removed);
        expect(back.changed.map(({ name, from, to }) => ({ name, from: to, to: from }))).toStrictEqual(
          there.changed,
        );
      }),
    );
  });

  test("are kept up to 200 of each, and counted all", () => {
    const many = Array.from({ length: 1000 }, (_, index) => `p${String(index).padStart(4, "0")} 1\n`).join(
      "",
    );
    const found = comparePackages("", many);
    expect(found.counts.added).toBe(1000);
    expect(found.added).toHaveLength(200);
  });
});

describe("content", () => {
  const [a, b, hash] = ["a".repeat(40), "b".repeat(40), "c".repeat(64)];
  const BEFORE = `template packer/web.pkr.hcl\n100644 ${a} app/a b.py\n100644 ${a} app/old\n100644 ${a} x\nvar nginx ${hash}\nvar zone ${hash}\n`;
  const AFTER = `template packer/web.pkr.hcl\n100644 ${b} app/a b.py\n100644 ${a} app/new\n100755 ${a} x\nvar nginx ${"d".repeat(64)}\nvar tier ${hash}\n`;

  test("that differs in files, modes and variables", () => {
    const changes = compareContent(BEFORE, AFTER);
    expect(describeContent(changes)).toBe(
      "2 files changed (app/a b.py, x), 1 file added (app/new), 1 file removed (app/old), variable nginx changed, variable tier added, variable zone removed",
    );
    expect(listContent(changes)).toStrictEqual([
      "changed: app/a b.py",
      "changed: x",
      "added: app/new",
      "removed: app/old",
      "variable: nginx changed",
      "variable: tier added",
      "variable: zone removed",
    ]);
  });

  test("that is the same says nothing", () => {
    expect(describeContent(compareContent(BEFORE, BEFORE))).toBe("");
  });

  test("of another template says so", () => {
    expect(describeContent(compareContent("template a\n", "template b\n"))).toBe("template: a → b");
  });

  test("of another format is compared as far as it goes, and says that the format is another", () => {
    const old = `template t\n100644 ${a} x\n100644 ${a} y\nvar nginx 1\n`;
    const now = `format 2\ntemplate t\n100644 ${a} x\n100644 ${a} y\nvar nginx 1\n`;
    expect(describeContent(compareContent(old, now))).toBe("digest format: 1 → 2");
    expect(describeContent(compareContent(old, `${now}100644 ${a} z\nenv PKR_VAR_zone 1\n`))).toBe(
      "1 file added (z), digest format: 1 → 2, variable PKR_VAR_zone of the environment added",
    );
    expect(describeContent(compareContent(now, now))).toBe("");
  });

  test("with other settings of Packer names them", () => {
    const list = (...lines: string[]): string => ["format 2", "template t", ...lines, ""].join("\n");
    const changes = compareContent(
      list("var-file a", "var-file b", "only web"),
      list("working-directory packer", "var-file b", "var-file a"),
    );
    expect(listContent(changes)).toStrictEqual([
      "working directory: none → packer",
      "variable files: a, b → b, a",
      "only: web → none",
    ]);
    expect(describeContent(changes)).toBe(listContent(changes).join(", "));
  });

  test("shows few names, the end of long ones, and counts all", () => {
    const files = Array.from(
      { length: 500 },
      (_, index) => `100644 ${a} ${"d/".repeat(200)}${String(index)}\n`,
    );
    const changes = compareContent("template t\n", `template t\n${files.join("")}`);
    const told = describeContent(boundedContent(changes));
    expect(told).toMatch(/^500 files added \(….{98,99}, ….{98,99}, ….{98,99}, …\)$/);
    expect(listContent(changes)).toHaveLength(500);
    expect(boundedContent(changes).added).toHaveLength(200);
  });
});

const URL = "https://github.com/acme/web/compare/a...b";
const CHANGES: ReleaseChanges = {
  since: "release/production/000041",
  sameContent: false,
  commits: {
    added: 7,
    takenBack: 0,
    listed: "added",
    newest: [
      { commit: "1".repeat(40), subject: "Newest" },
      { commit: "2".repeat(40), subject: "Older" },
    ],
    url: URL,
  },
  packages: comparePackages("nginx 1.24\n", "nginx 1.26\n"),
  baseImage: { from: "ami-0bbbbbbbbbbbbbbbb", to: "ami-0cccccccccccccccc" },
  targets: [
    {
      target: "eu-west-1/web",
      image: { from: "ami-a", to: "ami-b" },
      instanceType: { from: "t3.small", to: "t3.large" },
    },
  ],
};

describe("a release's changes", () => {
  test("as the paragraph of a record", () => {
    expect(changesParagraph(CHANGES)).toBe(
      [
        "Since release/production/000041:",
        `- 7 commits: ${URL}`,
        "  1111111 Newest",
        "  2222222 Older",
        "  … and 5 more",
        "- packages: 1 changed (nginx 1.24 → 1.26)",
        "- base image: ami-0bbbbbbbbbbbbbbbb → ami-0cccccccccccccccc",
        "- launch template of eu-west-1/web: image ami-a → ami-b, instance type t3.small → t3.large",
      ].join("\n"),
    );
  });

  test("of which nothing is known are no paragraph", () => {
    expect(changesParagraph({ since: "release/dev/000001", sameContent: true })).toBe("");
  });

  test.each<[added: number, takenBack: number, text: string]>([
    [1, 0, "1 commit"],
    [0, 3, "takes back 3 commits"],
    [2, 1, "2 commits, takes back 1 commit"],
    [0, 0, "no commits"],
  ])("with %i commits and %i taken back", (added, takenBack, text) => {
    const commits = { added, takenBack, listed: "added", newest: [], url: URL } as const;
    expect(describeChanges({ since: "x", sameContent: false, commits })).toStrictEqual([
      { text: `${text}: ${URL}`, below: [] },
    ]);
  });

  test("a commit's subject is one short line", () => {
    expect(shownSubject("Fix\rit\u2028now\u0000 ##[error]")).toBe("Fix it now ## [error]");
    expect(shownSubject("😀".repeat(300))).toMatch(/^(?:😀)+…$/u);
    expect(shownSubject("x".repeat(300))).toHaveLength(100);
  });

  test("text from outside forges no trailer, and the record stays one", () => {
    const subject = nasty.filter((text) => text.isWellFormed());
    fc.assert(
      fc.property(fc.array(subject, { maxLength: 5 }), subject, (subjects, name) => {
        const newest = subjects.map((each) => ({ commit: "1".repeat(40), subject: shownSubject(each) }));
        const paragraph = changesParagraph({
          ...CHANGES,
          commits: { added: 9, takenBack: 0, listed: "added", newest, url: URL },
          packages: comparePackages("", `${name} 1\n${name}\n`),
          content: compareContent("", `100644 ${"a".repeat(40)} ${name}\nvar ${name} 1\n`),
        });
        const message = formatRecord(RECORD, paragraph);
        expect(parseRecord(formatReleaseTag(RECORD.tag), message, RECORD.commit)).toStrictEqual(RECORD);
        expect(Buffer.byteLength(message)).toBeLessThan(MAX_MESSAGE_BYTES / 2);
      }),
      { numRuns: 300 },
    );
  });
});
