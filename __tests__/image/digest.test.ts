import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ContentFile, contentList, digestOf } from "../../src/image/digest.ts";

const A: ContentFile = { path: "packer/a.sh", mode: "100755", object: "a".repeat(40) };
const B: ContentFile = { path: "packer/web.pkr.hcl", mode: "100644", object: "b".repeat(40) };

describe("the digest of a content", () => {
  test("is this one: a change of it bakes everybody's images anew", () => {
    expect(digestOf("packer/web.pkr.hcl", [A, B], { nginx: "1.26", zone: "x" })).toBe(
      "sha256:0ab5510eb18ce2e16a153861a4856ab0ef8480b710c63ab4ad7556f7c218cfb7",
    );
  });

  const base = digestOf("packer/web.pkr.hcl", [A, B], { nginx: "1.26" });

  test.each<[what: string, template: string, files: ContentFile[], vars: Record<string, string>]>([
    ["another template", "packer/api.pkr.hcl", [A, B], { nginx: "1.26" }],
    ["another content", "packer/web.pkr.hcl", [{ ...A, object: "c".repeat(40) }, B], { nginx: "1.26" }],
    ["another mode", "packer/web.pkr.hcl", [{ ...A, mode: "100644" }, B], { nginx: "1.26" }],
    ["another path", "packer/web.pkr.hcl", [{ ...A, path: "packer/b.sh" }, B], { nginx: "1.26" }],
    [
      "swapped contents",
      "packer/web.pkr.hcl",
      [
        { ...A, object: B.object },
        { ...B, object: A.object },
      ],
      { nginx: "1.26" },
    ],
    ["a file less", "packer/web.pkr.hcl", [A], { nginx: "1.26" }],
    ["another value", "packer/web.pkr.hcl", [A, B], { nginx: "1.27" }],
    ["another variable", "packer/web.pkr.hcl", [A, B], { apache: "1.26" }],
    ["a variable less", "packer/web.pkr.hcl", [A, B], {}],
    ["an empty variable more", "packer/web.pkr.hcl", [A, B], { nginx: "1.26", empty: "" }],
  ])("is another with %s", (_, template, files, vars) => {
    expect(digestOf(template, files, vars)).not.toBe(base);
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
      fc.property(text, files, vars, fc.gen(), (template, files, vars, gen) => {
        const shuffled = gen(() => fc.shuffledSubarray(files, { minLength: files.length }));
        const reversed = Object.fromEntries(Object.entries(vars).toReversed());
        expect(digestOf(template, shuffled, reversed)).toBe(digestOf(template, files, vars));
      }),
    );
  });

  test("is the same for two contents only where they are the same", () => {
    const content = fc.record({ template: text, files, vars });
    fc.assert(
      fc.property(content, content, (a, b) => {
        const sorted = (texts: readonly string[]): string[] => texts.toSorted((a, b) => (a < b ? -1 : 1));
        const canonical = (content: typeof a): string =>
          JSON.stringify([
            content.template,
            sorted(content.files.map(({ path, mode, object }) => JSON.stringify([path, mode, object]))),
            sorted(Object.entries(content.vars).map((entry) => JSON.stringify(entry))),
          ]);
        const digests = [a, b].map(({ template, files, vars }) => digestOf(template, files, vars));
        expect(digests[0] === digests[1]).toBe(canonical(a) === canonical(b));
      }),
    );
  });

  test("cannot be forged by a path or value that looks like the list itself", () => {
    const object = "a".repeat(40);
    expect(digestOf("t", [{ path: 'a"]\n["var","x","1', mode: "100644", object }], {})).not.toBe(
      digestOf("t", [{ path: "a", mode: "100644", object }], { x: "1" }),
    );
    expect(digestOf("t", [], { a: '1"]\n["var","b","2' })).not.toBe(digestOf("t", [], { a: "1", b: "2" }));
  });
});

const NONE: ReadonlySet<string> = new Set();

describe("the digest's list for people", () => {
  test("is the template, the files by path, and the variables with their values hashed", () => {
    expect(contentList("packer/web.pkr.hcl", [B, A], { zone: "x", nginx: "1.26" }, NONE)).toBe(
      [
        "template packer/web.pkr.hcl",
        `100755 ${"a".repeat(40)} packer/a.sh`,
        `100644 ${"b".repeat(40)} packer/web.pkr.hcl`,
        "var nginx e6948df00b73e50021ad832568623183bf0b43a739d693f144ca4d0588f2c5b7",
        "var zone 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "",
      ].join("\n"),
    );
  });

  test("has nothing of a sensitive variable's value, not even its hash", () => {
    const list = contentList("t", [], { pin: "4711", zone: "x" }, new Set(["pin"]));
    expect(list.split("\n").slice(1)).toStrictEqual([
      "var pin sensitive",
      "var zone 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
      "",
    ]);
  });

  test("is a line each, whatever a path contains", () => {
    const odd = { ...A, path: 'a"b\nvar x 1' };
    expect(contentList("t", [odd], {}, NONE).split("\n")).toStrictEqual([
      "template t",
      `100755 ${"a".repeat(40)} ${String.raw`"a\"b\nvar x 1"`}`,
      "",
    ]);
  });

  test("is another wherever the digest is", () => {
    const path = fc.string({ unit: "binary", maxLength: 6 });
    const file = fc.record({
      path,
      mode: fc.constantFrom("100644", "100755"),
      object: fc.constantFrom("a", "b"),
    });
    const list = fc.uniqueArray(file, { selector: (each) => each.path, maxLength: 3 });
    const vars = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), {
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(list, list, vars, vars, (a, b, varsA, varsB) => {
        expect(contentList("t", a, varsA, NONE) === contentList("t", b, varsB, NONE)).toBe(
          digestOf("t", a, varsA) === digestOf("t", b, varsB),
        );
      }),
    );
  });
});
