import { execFileSync } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { globSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readText, ROOT } from "./markdown.ts";

/** The repository's own workflows are what an attacker would like to change: they have no more rights than they use. */

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: unknown;
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly permissions?: Readonly<Record<string, string>>;
        readonly container?: string;
        readonly steps: readonly Step[];
        readonly "timeout-minutes"?: number;
      }
    >
  >;
}

const PATHS = globSync(".github/workflows/*.yml", { cwd: ROOT }).toSorted();

test("there are workflows", () => {
  expect(PATHS.map((path) => path.replace(/^.*\//, ""))).toEqual(["chaos.yml", "ci.yml", "release.yml"]);
});

describe.each(PATHS)("%s", (path) => {
  const text = readText(path);
  const workflow = parse(text) as Workflow;
  const jobs = Object.entries(workflow.jobs);
  const steps = jobs.flatMap(([, job]) => job.steps);

  test("has no permissions but those that a job names, each with a reason", () => {
    expect(workflow.permissions).toEqual({});
    for (const [name, { permissions }] of jobs) expect(permissions, name).toBeDefined();
    const granted = text.match(/^ {6}[a-z-]+: (?:read|write).*$/gm) ?? [];
    expect(granted.length).toBeGreaterThan(0);
    expect(granted.filter((line) => !/ # to /.test(line))).toEqual([]);
  });

  test("pins actions by commit, with the version beside, and containers by digest", () => {
    const used = text.match(/^.*\buses: .*$/gm) ?? [];
    expect(
      used.filter((line) => !/uses: [\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)),
    ).toEqual([]);
    const containers = jobs.flatMap(([, { container }]) => container ?? []);
    expect(containers.filter((image) => !/@sha256:[0-9a-f]{64}$/.test(image))).toEqual([]);
  });

  test("keeps no token in the checkout, and ends", () => {
    const checkouts = steps.filter(({ uses }) => uses?.startsWith("actions/checkout@"));
    for (const { with: inputs } of checkouts) expect(inputs).toMatchObject({ "persist-credentials": false });
    for (const [name, job] of jobs) expect(job["timeout-minutes"], name).toBeGreaterThan(0);
  });

  test("is not started by strangers with rights, and puts no expression into a script", () => {
    expect(Object.keys(workflow.on)).not.toContain("pull_request_target");
    expect(steps.filter(({ run }) => run?.includes("${{") === true)).toEqual([]);
  });
});

test("only the release may write", () => {
  const writing = PATHS.filter((path) => /: write/.test(readText(path)));
  expect(writing).toEqual([".github/workflows/release.yml"]);
});

describe("the notes of a release", () => {
  async function notes(tag: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "kiln-notes-"));
    try {
      await cp(join(ROOT, "script/release-notes"), join(folder, "script/release-notes"));
      await writeFile(join(folder, "package.json"), '{\n  "name": "kiln",\n  "version": "1.2.0",\n}\n');
      await writeFile(
        join(folder, "CHANGELOG.md"),
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n- new\n\n## [1.1.0]\n\n- old\n",
      );
      return execFileSync(join(folder, "script/release-notes"), [tag], { encoding: "utf8", stdio: "pipe" });
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("are the changelog's section", async () => {
    expect((await notes("v1.2.0")).trim()).toBe("- new");
  });

  test("are refused for another version than the package's", async () => {
    await expect(notes("v1.1.0")).rejects.toThrow("package.json has version 1.2.0, not 1.1.0");
  });
});
