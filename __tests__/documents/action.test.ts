import { expect, test } from "vitest";
import { parse } from "yaml";
import { INPUT_NAMES, parseInputs } from "../../src/action/inputs.ts";
import { outputsOf } from "../../src/action/outputs.ts";
import { OUTCOMES, type Result } from "../../src/domain/result.ts";
import { parseActionMetadata } from "../../script/generate.ts";
import { exists, readText } from "./markdown.ts";

const text = readText("action.yml");
const metadata = parseActionMetadata(text);

test("action.yml is what a runner takes", () => {
  const action = parse(text) as Record<string, unknown>;
  expect(Object.keys(action)).toEqual([
    "name",
    "description",
    "author",
    "branding",
    "inputs",
    "outputs",
    "runs",
  ]);
  expect(action["name"]).toBe("Kiln");
  // The Marketplace's limit.
  expect(String(action["description"]).length).toBeLessThanOrEqual(125);
  expect(action["branding"]).toEqual({ icon: "layers", color: "orange" });
  expect(action["runs"]).toEqual({ using: "node24", main: "dist/index.js", post: "dist/post.js" });
});

test("the files that action.yml names are built", () => {
  const { runs } = parse(text) as { runs: { main: string; post: string } };
  expect([runs.main, runs.post].filter((path) => !exists(path))).toEqual([]);
});

test("its inputs are the code's", () => {
  expect(Object.keys(metadata.inputs)).toEqual([...INPUT_NAMES]);
});

test("its outputs are those that a result can give", () => {
  expect(Object.keys(metadata.outputs)).toEqual(Object.keys(outputsOf(FULL_RESULT)));
});

test("every input and output says what it is for, as a sentence", () => {
  for (const [name, { description }] of Object.entries({ ...metadata.inputs, ...metadata.outputs }))
    expect(description.trim(), name).toMatch(/^\S.{8,}\.$/);
});

test("its defaults are those that the code applies", () => {
  const defaults = Object.fromEntries(
    Object.entries(metadata.inputs).flatMap(([name, input]) =>
      input.default === undefined ? [] : [[name, input.default]],
    ),
  );
  expect(defaults["token"]).toBe("${{ github.token }}");
  const token = { token: "ghs_example" };
  expect(parseInputs({ ...defaults, ...token }, () => true)).toEqual(parseInputs(token, () => true));
});

test("every outcome is described", () => {
  for (const outcome of OUTCOMES)
    expect(metadata.outputs["outcome"]?.description).toContain(`\`${outcome}\``);
});

const FULL_RESULT: Result = {
  command: "deploy",
  outcome: "succeeded",
  application: "web",
  commit: "0123456789abcdef0123456789abcdef01234567",
  version: "v1",
  image: {
    digest: "sha256:0",
    name: "web-v1-0",
    ids: { "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" },
    baked: true,
  },
  environments: [
    {
      environment: "dev",
      outcome: "succeeded",
      release: "release/dev/000002",
      releaseNumber: 2,
      previousRelease: "release/dev/000001",
      targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev", instanceRefresh: "a" }],
    },
  ],
};
