import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Secrets } from "../../src/domain/secrets.ts";
import { outputsOf, overallOutcome, PublishedFacts } from "../../src/action/outputs.ts";
import { resultSchema } from "../../src/action/result-schema.ts";
import type { EnvironmentResult, Outcome, Result } from "../../src/domain/result.ts";
import { RESULTS } from "./results.ts";

describe("every result fits the published schema", () => {
  test.each(Object.entries(RESULTS))("%s", (_, result: Result) => {
    const { result: text = "" } = outputsOf(result);
    expect(resultSchema.safeParse(JSON.parse(text)).error).toBeUndefined();
    expect(JSON.parse(text)).toStrictEqual(result);
  });

  test.each([
    { ...RESULTS.released, outcome: "great" },
    { ...RESULTS.released, colour: "red" },
    { command: "deploy", outcome: "failed" },
    { ...RESULTS.released, image: { digest: "md5:1" } },
  ])("but not anything: case %#", (result) => {
    expect(resultSchema.safeParse(result).success).toBe(false);
  });
});

describe("the outputs of a result", () => {
  test("of a release are those of the last environment that was reached", () => {
    const { result: _, ...outputs } = outputsOf(RESULTS.released);
    expect(outputs).toStrictEqual({
      outcome: "succeeded",
      environment: "production",
      release: "release/production/000042",
      "release-number": "42",
      "previous-release": "release/production/000041",
      commit: "0123456789abcdef0123456789abcdef01234567",
      version: "v1.4.2",
      "image-id": "ami-0aaaaaaaaaaaaaaaa",
      images: '{"eu-west-1":"ami-0aaaaaaaaaaaaaaaa"}',
      "image-name": "web-v1.4.2-0123456789ab",
      "image-digest": RESULTS.released.image.digest,
      baked: "true",
      "instance-refreshes":
        '[{"environment":"production","region":"eu-west-1","auto-scaling-group":"web-production","id":"r-1"}]',
    });
  });

  test("are only what is a fact", () => {
    expect(Object.keys(outputsOf(RESULTS.refused))).toStrictEqual(["outcome", "result"]);
    expect(Object.keys(outputsOf(RESULTS.skipped))).toStrictEqual(["outcome", "commit", "version", "result"]);
  });

  test("name the image in the first target's region", () => {
    const ids = { "us-east-1": "ami-0ddddddddddddddddd", "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" } as const;
    expect(outputsOf({ ...RESULTS.released, image: { ...RESULTS.released.image, ids } })["image-id"]).toBe(
      "ami-0aaaaaaaaaaaaaaaa",
    );
  });
});

describe("the outcome of a run", () => {
  const of = (...outcomes: Outcome[]): Outcome =>
    overallOutcome({
      command: "deploy",
      outcome: "skipped",
      environments: outcomes.map((outcome, index): EnvironmentResult => ({
        environment: String(index),
        outcome,
      })),
    });

  test.each<[outcomes: Outcome[], overall: Outcome]>([
    [[], "skipped"],
    [["unchanged"], "unchanged"],
    [["unchanged", "succeeded"], "succeeded"],
    [["succeeded", "unchanged"], "succeeded"],
    [["planned", "unchanged"], "planned"],
    [["succeeded", "rolled-back"], "rolled-back"],
    [["rolled-back", "failed"], "failed"],
    [["succeeded", "failed"], "failed"],
  ])("%j is %s", (outcomes, overall) => {
    expect(of(...outcomes)).toBe(overall);
  });
});

describe("facts are published as outputs at once", () => {
  let folder: string;
  let file: string;
  const before = process.env["GITHUB_OUTPUT"];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "unit-outputs-"));
    file = join(folder, "output");
    writeFileSync(file, "");
    process.env["GITHUB_OUTPUT"] = file;
  });

  afterEach(() => {
    if (before === undefined) delete process.env["GITHUB_OUTPUT"];
    else process.env["GITHUB_OUTPUT"] = before;
    rmSync(folder, { recursive: true, force: true });
  });

  /** What the runner reads: the last value of each name counts. */
  const outputs = (): Record<string, string> =>
    Object.fromEntries(
      [...readFileSync(file, "utf8").matchAll(/^(.+)<<(ghadelimiter_\S+)\n([\s\S]*?)\n?\2$/gm)].map(
        ([, name = "", , value = ""]) => [name, value],
      ),
    );

  test("a run has failed until it has not", () => {
    const facts = new PublishedFacts("deploy", new Secrets());
    expect(outputs()["outcome"]).toBe("failed");
    facts.publish({ outcome: "skipped" });
    expect(outputs()["outcome"]).toBe("skipped");
  });

  test("facts about the image and an environment add up", () => {
    const facts = new PublishedFacts("deploy", new Secrets());
    const { digest } = RESULTS.released.image;
    const ids = { "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" } as const;
    facts.publish({ commit: "c", image: { digest } });
    facts.publish({ image: { digest, ids, baked: true } });
    facts.publishEnvironment("qa", { plan: ["a"] });
    facts.publishEnvironment("qa", { outcome: "succeeded", release: "release/qa/000001" });
    expect(facts.result).toStrictEqual({
      command: "deploy",
      outcome: "failed",
      commit: "c",
      image: { digest, ids, baked: true },
      environments: [{ environment: "qa", outcome: "succeeded", plan: ["a"], release: "release/qa/000001" }],
    });
    expect(outputs()).toMatchObject({ environment: "qa", release: "release/qa/000001", baked: "true" });
    expect(JSON.parse(outputs()["result"] ?? "")).toStrictEqual(facts.result);
  });

  test("a value is written once, until it changes", () => {
    const facts = new PublishedFacts("deploy", new Secrets());
    facts.publish({ commit: "c" });
    facts.publish({ version: "v1" });
    expect(readFileSync(file, "utf8").match(/^commit<</gm)).toHaveLength(1);
  });

  test("an environment's release is not the next environment's", () => {
    const facts = new PublishedFacts("deploy", new Secrets());
    facts.publishEnvironment("dev", {
      outcome: "succeeded",
      release: "release/dev/000001",
      releaseNumber: 1,
    });
    facts.publishEnvironment("qa", { outcome: "failed" });
    expect(outputs()).toMatchObject({ environment: "qa", release: "", "release-number": "" });
  });
});
