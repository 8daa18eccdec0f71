import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTemplateFacts, type TemplateFacts } from "../../../src/image/template/template-facts.ts";

/** Templates that want to stop, crash or mislead the reader. */

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-hostile-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function factsOf(path: string, text: string): Promise<TemplateFacts> {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  return readTemplateFacts(
    { template: path, inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
    folder,
    { environment: {} },
  );
}

const script = (expression: string): string =>
  `build {\n  provisioner "shell" {\n    script = ${expression}\n  }\n}\n`;

const chain = (count: number): string =>
  Array.from({ length: count }, (_, index) => `  l${index} = local.l${index + 1}\n`).join("");

const doubled = (count: number, double: (name: string) => string): string =>
  `locals {\n  l0 = "x"\n  m0 = ["x"]\n${Array.from({ length: count }, (_, index) => double(String(index))).join("")}}\n`;

const loops = (depth: number): string =>
  `${"[for a in local.many : ".repeat(depth)}file("\${a}")${"]".repeat(depth)}`;

const dynamics = (depth: number): string =>
  depth === 0
    ? '      script = "x"\n'
    : `dynamic "b${depth}" {\nfor_each = local.many\ncontent {\n${dynamics(depth - 1)}}\n}\n`;

const MANY = `locals {\n  many = [${'"abc",'.repeat(2000)}]\n}\n`;

/** Each would take hours or all of the memory if it were evaluated to its end. What is not known is said. */
const LARGE: Readonly<Record<string, readonly [text: string, ...unresolved: string[]]>> = {
  "a chain of locals": [`locals {\n${chain(50_000)}}\n${script("local.l0")}`, "script: function"],
  "texts that double": [
    `${doubled(200, (n) => `  l${Number(n) + 1} = "\${local.l${n}}\${local.l${n}}"\n`)}${script("local.l200")}`,
    "script: function",
  ],
  "lists that double": [
    `${doubled(200, (n) => `  m${Number(n) + 1} = concat(local.m${n}, local.m${n})\n`)}${script('join("", local.m200)')}`,
    "script: function",
  ],
  "a replacement that grows": [
    `locals {\n  a = "${"a".repeat(9000)}"\n  b = replace(local.a, "a", local.a)\n}\n${script("local.b")}`,
    "script: function",
  ],
  "loops in loops": [`${MANY}locals {\n  x = ${loops(8)}\n}\n`, "file(): function", "for: function"],
  "dynamic blocks in dynamic blocks": [
    `${MANY}build {\n  provisioner "shell" {\n${dynamics(6)}  }\n}\n`,
    "for_each: function",
  ],
  "maps in maps": [`source "a" "b" {\n  x = ${"{ a = ".repeat(90)}1${" }".repeat(90)}\n}\n`],
  "blocks in blocks": [`source "a" "b" {\n${"c {\n".repeat(50_000)}${"}\n".repeat(50_000)}}\n`],
  "brackets that hide a file": [
    `locals {\n  x = ${"[".repeat(5000)}file("x")${"]".repeat(5000)}\n}\n`,
    "expression: function",
  ],
  "a long list": [`locals {\n  x = [${"1,".repeat(300_000)}]\n}\n`],
  "many attributes": [`source "a" "b" {\n${"x = 1\n".repeat(200_000)}}\n`],
  "a comment of ten million": [`/* ${"x".repeat(10_000_000)} */ ${script('"x"')}`],
  "a text of ten million": [script(`"${"x".repeat(10_000_000)}"`), "script: function"],
};

describe("large and hostile templates are read in good time", () => {
  test.each(Object.entries(LARGE))("%s", { timeout: 60_000 }, async (_, [text, ...unresolved]) => {
    const facts = await factsOf("packer/web.pkr.hcl", text);
    const told = new Set(facts.unresolved.map(({ attribute, why }) => `${attribute}: ${why}`));
    expect([...told]).toStrictEqual(unresolved);
  });

  test.each([
    [
      "a text of ten million",
      `{"provisioners": [{"type": "shell", "script": "${"\\n".repeat(5_000_000)}"}]}`,
    ],
    ["lists in lists", `{"variables": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["many provisioners", `{"provisioners": [${'{"type":"shell"},'.repeat(200_000)}{}]}`],
    ["actions that do not end", `{"builders": [{"type": "a", "x": "${"{{user `".repeat(500_000)}"}]}`],
    ["quotes in actions", `{"builders": [{"type": "a", "x": "{{${'\\"a\\\\\\"'.repeat(100_000)}}}"}]}`],
  ])("legacy JSON: %s", { timeout: 60_000 }, async (_, text) => {
    expect((await factsOf("web.json", text)).sources).toStrictEqual(["web.json"]);
  });
});

test("names of JavaScript's own are names like any other", async () => {
  const names = ["constructor", "__proto__", "toString", "prototype", "hasOwnProperty"];
  const facts = await factsOf(
    "web.pkr.hcl",
    names
      .map(
        (name) =>
          `variable "${name}" { default = env("${name}") }\nlocals {\n ${name} = "${name}.sh"\n}\nsource "${name}" "${name}" {\n ${name} = ${name}(${name})\n}\n${script(`local.${name}`)}${script(`"x\${var.${name}}"`)}`,
      )
      .join(""),
  );
  expect(facts.references.map(({ path }) => path).filter((path) => path !== "x")).toStrictEqual(
    names.map((name) => `${name}.sh`),
  );
  expect(facts.builders.map(({ attributes }) => [...attributes.keys()].join())).toStrictEqual(names);
  const json = `{"build": {"constructor": {"name": 1}, "provisioner": {"constructor": {"toString": {"a": "b"}, "script": "a.sh"}}}, "__proto__": {"length": []}}`;
  expect((await factsOf("web.pkr.json", json)).references.map(({ path }) => path)).toStrictEqual(["a.sh"]);
});

const fragment = fc.constantFrom(
  ...'{}[]()=,.:?"\n%$!&'.split(""),
  "${",
  "%{",
  "{{",
  "}}",
  "<<-E\n",
  "\nE\n",
  "build {\n",
  'provisioner "shell" {\n',
  'provisioner "ansible" {\n',
  'dynamic "provisioner" {\nfor_each = ',
  'labels = ["shell"]\ncontent {\n',
  'source "amazon-ebs" "x" {\n',
  "locals {\n",
  'variable "v" {\n default = ',
  "script = ",
  "scripts = ",
  "playbook_file = ",
  "extra_arguments = ",
  "source = ",
  "override = ",
  "file(",
  "fileset(",
  "templatefile(",
  "env(",
  "concat(",
  "format(",
  "for a in ",
  "path.root",
  "local.a",
  "var.v",
  "a = ",
  '"a/b"',
  '"../.."',
  '"@x"',
  "1",
  "true",
  "null",
  "user `v`",
  "template_dir",
);

describe("any text gives facts, and paths that lead into the repository", () => {
  const check = async (path: string, text: string): Promise<void> => {
    const { references, builders } = await factsOf(path, text);
    for (const reference of references) {
      expect(reference.path).not.toMatch(/^\/|^$|(?:^|\/)\.\.(?:\/|$)/);
      expect(reference.place.line).toBeGreaterThan(0);
    }
    expect(Array.isArray(builders)).toBe(true);
  };

  test("HCL", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fragment, { maxLength: 40 }), async (pieces) => {
        await expect(check("packer/a.pkr.hcl", pieces.join(""))).resolves.toBeUndefined();
      }),
      { numRuns: 1000 },
    );
  });

  const keys = fc.constantFrom(
    "build",
    "provisioner",
    "provisioners",
    "builders",
    "variables",
    "variable",
    "shell",
    "script",
    "type",
    "source",
    "override",
    "post-processors",
    "sensitive-variables",
    "dynamic",
    "content",
    "locals",
    "default",
  );
  const tree = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      fc.array(fragment, { maxLength: 4 }).map((pieces) => pieces.join("")),
      fc.constantFrom("shell", "file", "a/b", "../../x", null, true, 1),
      fc.dictionary(keys, tie("tree"), { maxKeys: 4 }),
      fc.array(tie("tree"), { maxLength: 3 }),
    ),
  })).tree;

  test.each(["packer/a.pkr.json", "packer/a.json"])("JSON: %s", { timeout: 60_000 }, async (path) => {
    await fc.assert(
      fc.asyncProperty(tree, async (value) => {
        await expect(check(path, JSON.stringify(value))).resolves.toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});
