import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Secrets } from "../../src/domain/secrets.ts";
import { inventoryText, parseInventory as parse } from "../../src/image/inventory.ts";

const parseInventory = (source: string) => parse(source, new Secrets());
const text = (source: string): string => inventoryText(parseInventory(source));

describe("a plain list", () => {
  test.each<[what: string, line: string, read: string]>([
    ["dpkg-query -W", "libc6:amd64\t2.39-0ubuntu8", "libc6:amd64 2.39-0ubuntu8"],
    ["dpkg-query -W with further columns", "bash\t5.2.21\tamd64", "bash 5.2.21"],
    ["apt's name=version", "nginx=1.24.0-2ubuntu7", "nginx 1.24.0-2ubuntu7"],
    ["pip freeze", "requests==2.32.3", "requests 2.32.3"],
    ["name version", "openssl 3.0.13", "openssl 3.0.13"],
    ["dnf list", "bash.x86_64     5.2.26-3.el9     @anaconda", "bash.x86_64 5.2.26-3.el9"],
    ["rpm -qa", "kernel-core-5.14.0-427.el9.x86_64", "kernel-core 5.14.0-427.el9.x86_64"],
    ["rpm -qa's keys", "gpg-pubkey-8483c65d-5ccc5b19", "gpg-pubkey 8483c65d-5ccc5b19"],
    ["apk info -v", "musl-1.2.5-r0", "musl 1.2.5-r0"],
  ])("of %s", (_, line, read) => {
    expect(parseInventory(`${line}\n`)).toMatchObject({ format: "list", ignored: 0 });
    expect(text(line)).toBe(`${read}\n`);
  });

  test("counts what names no package, and skips blanks and comments", () => {
    const source =
      "\uFEFF# installed\n\nInstalled Packages\nremoved\t\nbash 5.2\nthis is a sentence with 5 words\r\n";
    expect(parseInventory(source)).toStrictEqual({
      packages: [{ name: "bash", version: "5.2" }],
      hidden: false,
      format: "list",
      ignored: 3,
    });
  });

  test("keeps a package in several versions as several lines", () => {
    expect(text("kernel 5.14\nkernel 5.15\nkernel 5.14\n")).toBe("kernel 5.14\nkernel 5.15\n");
  });

  test("is sorted by code point, in no locale", () => {
    expect(text("b 1\nB 1\na-b 1\nab 1\n\u{1F600} 1\n\uFF21 1\n")).toBe(
      "B 1\na-b 1\nab 1\nb 1\n\uFF21 1\n\u{1F600} 1\n",
    );
  });

  test("has no control characters, and no line is long", () => {
    const line = text(`a\u0007\u001b[31mb\t1.0\u0000\u2028x\n${"n".repeat(5000)}\t${"1".repeat(5000)}\n`);
    expect(line).toBe(`a[31mb 1.0_x\n${"n".repeat(200)} ${"1".repeat(100)}\n`);
  });
});

describe("an SBOM in JSON", () => {
  test("CycloneDX, with groups, components inside of components, and files that are none", () => {
    const document = {
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      components: [
        { type: "library", group: "@acme", name: "ui", version: "2.0.0" },
        { type: "library", name: "outer", version: "1.0", components: [{ name: "inner", version: "0.1" }] },
        { type: "file", name: "/etc/passwd" },
        { type: "operating-system", name: "ubuntu", version: "24.04" },
        null,
        { name: 5, version: "1" },
      ],
    };
    expect(parseInventory(JSON.stringify(document))).toMatchObject({ format: "cyclonedx", ignored: 3 });
    expect(text(JSON.stringify(document, null, 2))).toBe(
      "@acme/ui 2.0.0\ninner 0.1\nouter 1.0\nubuntu 24.04\n",
    );
  });

  test("SPDX", () => {
    const document = {
      spdxVersion: "SPDX-2.3",
      packages: [
        { name: "bash", versionInfo: "5.2" },
        { name: "image", versionInfo: "NOASSERTION" },
        { name: "no version" },
        { name: "two words", versionInfo: "1 beta" },
      ],
    };
    expect(parseInventory(JSON.stringify(document))).toMatchObject({ format: "spdx", ignored: 2 });
    expect(text(JSON.stringify(document))).toBe("bash 5.2\ntwo_words 1_beta\n");
  });

  test.each(["{", "[]", "{}", '{"components": {}}', '{"packages": "many"}', "[1, 2]"])(
    "that is none: %s",
    (source) => {
      expect(parseInventory(source)).toStrictEqual({
        packages: [],
        format: "unknown",
        ignored: 0,
        hidden: false,
      });
    },
  );

  test("nested without end is read without end of the stack", () => {
    const depth = 2000;
    const source = `${'{"components":[{"name":"a","version":"1"},'.repeat(depth)}{}${"]}".repeat(depth)}`;
    expect(text(source)).toBe("a 1\n");
  });
});

describe("whatever is in it", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9+.-]{0,8}[a-z]$/);
  const version = fc.stringMatching(/^\d[a-z0-9.+:~]{0,8}$/);
  const lines = fc.array(fc.tuple(name, version), { maxLength: 20 });
  const separator = fc.constantFrom(" ", "\t", "=", "==", "  ");

  test("order, duplicates and separators do not matter", () => {
    fc.assert(
      fc.property(lines, separator, separator, fc.gen(), (packages, one, other, gen) => {
        const shuffled = gen(() => fc.shuffledSubarray(packages, { minLength: packages.length }));
        const write = (all: readonly (readonly [string, string])[], by: string): string =>
          all.map((each) => each.join(by)).join("\n");
        expect(text(write([...shuffled, ...shuffled.slice(0, 3)], other))).toBe(text(write(packages, one)));
      }),
    );
  });

  test("it is never an error, and what comes out is well-formed, sorted and unique", () => {
    const wild = fc.oneof(
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.json(),
      fc.array(fc.string({ unit: "binary", maxLength: 20 }), { maxLength: 10 }).map((all) => all.join("\n")),
      fc
        .array(fc.record({ name: fc.string({ unit: "binary" }), version: fc.string({ unit: "binary" }) }))
        .map((components) => JSON.stringify({ components })),
    );
    fc.assert(
      fc.property(wild, (source) => {
        const result = text(source);
        const found = result.split("\n").slice(0, -1);
        for (const line of found)
          expect(line).toMatch(/^[^\s\p{Cc}\p{Cf}\p{Cs}]+ [^\s\p{Cc}\p{Cf}\p{Cs}]+$/u);
        expect(new Set(found).size).toBe(found.length);
        expect(found.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))).toStrictEqual(found);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a secret in an inventory", () => {
  const secrets = new Secrets();
  secrets.add(["hunter2 and\tmore", `long-${"x".repeat(300)}-end`, "pin!4711"]);
  const left = (source: string) => parse(source, secrets);

  test.each<[what: string, source: string, kept: string]>([
    ["in a list", "bash 5.2\ntool 1-pin!4711\n", "bash 5.2\ntool 1-***\n"],
    ["that a blank would cut in two", "hunter2 and\tmore 1.0\n", "*** 1.0\n"],
    ["that is longer than what is kept", `tool 1-long-${"x".repeat(300)}-end\n`, "tool 1-***\n"],
    [
      "in JSON, its letters written in another way",
      '{"components": [{"name": "t", "version": "1-p\\u0069n!4711"}]}',
      "t 1-***\n",
    ],
    [
      "in JSON, with its escapes",
      JSON.stringify({ packages: [{ name: "hunter2 and\tmore", versionInfo: "1" }] }),
      "*** 1\n",
    ],
  ])("%s is left out, and told", (_, source, kept) => {
    const inventory = left(source);
    expect(inventoryText(inventory)).toBe(kept);
    expect(inventory.hidden).toBe(true);
  });

  test("that is not there is not told", () => {
    expect(left("bash 5.2\n").hidden).toBe(false);
  });
});
