import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ContentFile,
  contentList,
  digestOf,
  type ImageContent,
} from "../../src/image/content/digest.ts";

const A: ContentFile = { path: "packer/a.sh", mode: "100755", object: "a".repeat(40) };
const B: ContentFile = { path: "packer/web.pkr.hcl", mode: "100644", object: "b".repeat(40) };

const content = (changes: Partial<ImageContent> = {}): ImageContent => ({
  template: "packer/web.pkr.hcl",
  varFiles: ["a.pkrvars.hcl", "b.pkrvars.hcl"],
  files: [A, B],
  vars: { nginx: "1.26" },
  sensitive: new Set(),
  environment: { PKR_VAR_zone: "x" },
  ...changes,
});

describe("the digest of a content", () => {
  test("is this one: a change of it bakes everybody's images once more", () => {
    expect(digestOf(content())).toBe(
      "sha256:ed407a672df4f3c2c03008804ba8dddef15ba1d93fd41c9932d7f3ab55fc6b51",
    );
  });

  const base = digestOf(content());

  test.each<[what: string, changes: Partial<ImageContent>]>([
    ["another template", { template: "packer/api.pkr.hcl" }],
    ["another content of a file", { files: [{ ...A, object: "c".repeat(40) }, B] }],
    ["another mode", { files: [{ ...A, mode: "100644" }, B] }],
    ["another path", { files: [{ ...A, path: "packer/b.sh" }, B] }],
    [
      "swapped contents",
      {
        files: [
          { ...A, object: B.object },
          { ...B, object: A.object },
        ],
      },
    ],
    ["a file less", { files: [A] }],
    ["another value", { vars: { nginx: "1.27" } }],
    ["another variable", { vars: { apache: "1.26" } }],
    ["a variable less", { vars: {} }],
    ["an empty variable more", { vars: { nginx: "1.26", empty: "" } }],
    ["another value in the environment", { environment: { PKR_VAR_zone: "y" } }],
    ["a variable of the environment less", { environment: {} }],
    ["a variable of the environment in place of one of `vars`", { vars: {}, environment: { nginx: "1.26" } }],
    ["another order of variable files", { varFiles: ["b.pkrvars.hcl", "a.pkrvars.hcl"] }],
    ["a variable file less", { varFiles: ["a.pkrvars.hcl"] }],
    ["a working directory", { workingDirectory: "packer" }],
    ["only some builds", { only: ["amazon-ebs.web"] }],
    ["without some builds", { except: ["amazon-ebs.web"] }],
  ])("is another with %s", (_, changes) => {
    expect(digestOf(content(changes))).not.toBe(base);
  });

  test.each<[what: string, one: Partial<ImageContent>, other: Partial<ImageContent>]>([
    ["the order of files", { files: [A, B] }, { files: [B, A] }],
    ["the order of builds", { only: ["a", "b"] }, { only: ["b", "a", "b"] }],
    ["the repository's root as working directory", {}, { workingDirectory: "." }],
    ["no builds that are left out", {}, { except: [] }],
    [
      "the value of a sensitive variable",
      { vars: { pin: "4711" }, sensitive: new Set(["pin"]) },
      { vars: { pin: "4712" }, sensitive: new Set(["pin"]) },
    ],
  ])("does not depend on %s", (_, one, other) => {
    expect(digestOf(content(one))).toBe(digestOf(content(other)));
  });

  const text = fc.string({ unit: "binary", maxLength: 12 });
  const file = fc.record({
    path: text,
    mode: fc.constantFrom("100644", "100755", "120000"),
    object: fc.stringMatching(/^[0-9a-f]{4}$/),
  });
  const files = fc.uniqueArray(file, { selector: ({ path }) => path, maxLength: 6 });
  const vars = fc.dictionary(fc.stringMatching(/^[a-z"\\,]{1,6}$/), text, {
    maxKeys: 4,
    noNullPrototype: true,
  });

  test("does not depend on the order in which files and variables come", () => {
    fc.assert(
      fc.property(files, vars, fc.gen(), (files, vars, gen) => {
        const shuffled = gen(() => fc.shuffledSubarray(files, { minLength: files.length }));
        const reversed = Object.fromEntries(Object.entries(vars).toReversed());
        expect(digestOf(content({ files: shuffled, vars: reversed, environment: reversed }))).toBe(
          digestOf(content({ files, vars, environment: vars })),
        );
      }),
    );
  });

  test("is the same for two contents only if they are the same", () => {
    const some = fc.record({
      template: text,
      varFiles: fc.array(text, { maxLength: 3 }),
      files,
      vars,
      environment: vars,
    });
    fc.assert(
      fc.property(some, some, (a, b) => {
        const sorted = (texts: readonly string[]): string[] => texts.toSorted((a, b) => (a < b ? -1 : 1));
        const entries = (of: Readonly<Record<string, string>>): string[] =>
          sorted(Object.entries(of).map((entry) => JSON.stringify(entry)));
        const canonical = (of: typeof a): string =>
          JSON.stringify([
            of.template,
            of.varFiles,
            sorted(of.files.map(({ path, mode, object }) => JSON.stringify([path, mode, object]))),
            entries(of.vars),
            entries(of.environment),
          ]);
        expect(digestOf(content(a)) === digestOf(content(b))).toBe(canonical(a) === canonical(b));
      }),
    );
  });

  test("cannot be forged by a path or value that looks like the list itself", () => {
    const object = "a".repeat(40);
    const path = 'a"]\n["var","x","1';
    expect(digestOf(content({ files: [{ path, mode: "100644", object }], vars: {} }))).not.toBe(
      digestOf(content({ files: [{ path: "a", mode: "100644", object }], vars: { x: "1" } })),
    );
    expect(digestOf(content({ vars: { a: '1"]\n["var","b","2' } }))).not.toBe(
      digestOf(content({ vars: { a: "1", b: "2" } })),
    );
  });
});

/** The list's lines about files and variables. */
const linesOf = (changes: Partial<ImageContent>): string[] =>
  contentList(content({ template: "t", varFiles: [], files: [], vars: {}, environment: {}, ...changes }))
    .split("\n")
    .slice(2, -1);

describe("the digest's list for people", () => {
  test("is the format, what Packer is told, the files by path, and the variables with their values hashed", () => {
    expect(
      contentList(
        content({
          files: [B, A],
          vars: { zone: "x", nginx: "1.26" },
          workingDirectory: "packer",
          only: ["amazon-ebs.web"],
          except: ["b", "a"],
        }),
      ),
    ).toBe(
      [
        "format 2",
        "template packer/web.pkr.hcl",
        "working-directory packer",
        "var-file a.pkrvars.hcl",
        "var-file b.pkrvars.hcl",
        "only amazon-ebs.web",
        "except a",
        "except b",
        `100755 ${"a".repeat(40)} packer/a.sh`,
        `100644 ${"b".repeat(40)} packer/web.pkr.hcl`,
        "var nginx e6948df00b73e50021ad832568623183bf0b43a739d693f144ca4d0588f2c5b7",
        "var zone 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "env PKR_VAR_zone hidden",
        "",
      ].join("\n"),
    );
  });

  test("has nothing of a sensitive variable's value, not even its hash", () => {
    expect(linesOf({ vars: { pin: "4711", zone: "x" }, sensitive: new Set(["pin"]) })).toStrictEqual([
      "var pin sensitive",
      "var zone 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    ]);
  });

  test("is one line per item, whatever a path contains", () => {
    const odd = { ...A, path: 'a"b\nvar x 1' };
    const bytes = { ...A, path: "b\udce9" };
    expect(linesOf({ files: [odd, bytes] })).toStrictEqual([
      `100755 ${"a".repeat(40)} ${String.raw`"a\"b\nvar x 1"`}`,
      `100755 ${"a".repeat(40)} ${String.raw`"b\udce9"`}`,
    ]);
  });

  test("is another wherever the digest is, but for the values of the environment, which it hides", () => {
    const path = fc.string({ unit: "binary", maxLength: 6 });
    const file = fc.record({
      path,
      mode: fc.constantFrom("100644", "100755"),
      object: fc.constantFrom("a", "b"),
    });
    const files = fc.uniqueArray(file, { selector: (each) => each.path, maxLength: 3 });
    const vars = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), {
      noNullPrototype: true,
    });
    const some = fc.record({ files, vars, environment: vars, varFiles: fc.subarray(["x", "y"]) });
    fc.assert(
      fc.property(some, some, (a, b) => {
        const hidden = (of: typeof a): typeof a => ({
          ...of,
          environment: Object.fromEntries(Object.keys(of.environment).map((name) => [name, "1" as const])),
        });
        expect(contentList(content(a)) === contentList(content(b))).toBe(
          digestOf(content(hidden(a))) === digestOf(content(hidden(b))),
        );
      }),
    );
  });
});
