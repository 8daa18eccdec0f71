import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JobResult } from "../../sandbox/runner.ts";
import { Stage } from "./stage.ts";

/** What git keeps of the images, and what a release says that it changes; the built action with real Packer. */

const inventoryOf = (stage: Stage, release: string): string =>
  stage.git(
    "for-each-ref",
    "--format=%(contents:trailers:key=Inventory,valueonly,separator=%x20)",
    `refs/tags/${release}`,
  );
const refOf = (digest: string | undefined): string =>
  `refs/kiln/images/${(digest ?? "").slice("sha256:".length)}`;

describe("two bakes with different packages", () => {
  let stage: Stage;
  let first: JobResult;
  let second: JobResult;

  beforeAll(async () => {
    stage = await Stage.open();
    first = await stage.push("develop");
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Take a newer nginx\n\nKiln-Record: 1\nImage: eu-west-1 ami-0eeeeeeeeeeeeeeee", {
      ".github/kiln.yml": config.replace(/nginx_version: "[^"]*"/, 'nginx_version: "1.26"'),
      "app/public/index.html": "<h1>newer</h1>\n",
      "app/public/about.html": "<h1>about</h1>\n",
    });
    second = await stage.push("develop");
  }, 120_000);

  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  });

  test("are released, each with a commit of what its image is made of", () => {
    expect(first.code, first.log).toBe(0);
    expect(second.code, second.log).toBe(0);
    expect(second.outputs).toMatchObject({ release: "release/dev/000002", baked: "true" });
    for (const [release, { outputs }] of [
      ["release/dev/000001", first],
      ["release/dev/000002", second],
    ] as const) {
      const commit = stage.git("rev-parse", refOf(outputs["image-digest"]));
      expect(inventoryOf(stage, release)).toBe(commit);
      expect(stage.git("ls-tree", "--name-only", commit).split("\n")).toEqual([
        "content.txt",
        "image.json",
        "packages.txt",
      ]);
      expect(JSON.parse(stage.git("show", `${commit}:image.json`))).toMatchObject({
        digest: outputs["image-digest"],
        name: outputs["image-name"],
        images: JSON.parse(outputs["images"] ?? ""),
      });
    }
    expect(() => stage.git("fsck", "--strict")).not.toThrow();
  });

  test("plain git shows the difference of the two images", () => {
    const [a, b] = [inventoryOf(stage, "release/dev/000001"), inventoryOf(stage, "release/dev/000002")];
    const lines = stage.git("diff", "--unified=0", a, b, "--", "packages.txt").split("\n");
    expect(lines.filter((line) => /^[+-][^+-]/.test(line))).toEqual(["-nginx 1.24", "+nginx 1.26"]);
    const content = stage.git("diff", "--unified=0", a, b, "--", "content.txt");
    expect(content).toMatch(/^\+100644 [0-9a-f]{40} app\/public\/about\.html$/m);
    expect(content).toMatch(/^\+var nginx_version [0-9a-f]{64}$/m);
  });

  test("the plan of the second says why it bakes again", () => {
    expect(second.log).toContain(
      "content differs from release/dev/000001: 1 file changed (app/public/index.html), 1 file added (app/public/about.html), variable nginx_version changed",
    );
    expect(first.log).not.toContain("content differs");
  });

  test("a dry run lists all of it", async () => {
    await stage.commit("Something else", { "app/public/index.html": "<h1>else</h1>\n" });
    const result = await stage.run({ inputs: { "dry-run": "true" } });
    expect(result.log).toContain("content since release/dev/000002: changed: app/public/index.html");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
    await stage.copy.git("reset", "--quiet", "--hard", "HEAD~1");
  });

  test("the second's record says what it changes, and no text in it is taken for a trailer", () => {
    const message = stage.git("for-each-ref", "--format=%(contents)", "refs/tags/release/dev/000002");
    const [a, b] = [first.outputs["commit"], second.outputs["commit"]];
    expect(message).toContain(
      [
        "Since release/dev/000001:",
        `- 1 commit: https://github.com/acme/web/compare/${a}...${b}`,
        `  ${b?.slice(0, 7)} Take a newer nginx`,
        "- content: 1 file changed (app/public/index.html), 1 file added (app/public/about.html), variable nginx_version changed",
        "- packages: 1 changed (nginx 1.24 → 1.26)",
        `- launch template of eu-west-1/web-dev: image ${first.outputs["image-id"]} → ${second.outputs["image-id"]}`,
        "",
        "Kiln-Record: 1",
      ].join("\n"),
    );
    const images = stage.git(
      "for-each-ref",
      "--format=%(contents:trailers:key=Image,valueonly)",
      "refs/tags/release/dev/000002",
    );
    expect(images).toBe(`eu-west-1 ${second.outputs["image-id"]}`);
  });

  test("the summary shows the package in a table", () => {
    expect(second.summary).toContain("### Changes of dev since [release/dev/000001]");
    expect(second.summary).toContain("<details><summary>Packages: 1 changed, 0 added, 0 removed</summary>");
    expect(second.summary).toMatch(/\| `nginx` +\| `1\.24` +\| `1\.26` +\|/);
  });

  test("another environment records the same commit, with no request for it", async () => {
    const result = await stage.push("stage");
    expect(result.code, result.log).toBe(0);
    expect(inventoryOf(stage, "release/qa/000001")).toBe(inventoryOf(stage, "release/dev/000002"));
    const kept = result.requests.filter(
      ({ action, params }) =>
        /git\/(?:trees|commits)/.test(action) || JSON.stringify(params).includes("kiln/images"),
    );
    expect(kept).toEqual([]);
  });

  test("a rollback's record says the reverse", async () => {
    const result = await stage.run({
      event: "workflow_dispatch",
      ref: "refs/heads/main",
      inputs: { command: "rollback", environment: "dev", reason: "broken" },
    });
    expect(result.code, result.log).toBe(0);
    const message = stage.git("for-each-ref", "--format=%(contents)", "refs/tags/release/dev/000003");
    const [a, b] = [first.outputs["commit"], second.outputs["commit"]];
    expect(message).toContain(`- takes back 1 commit: https://github.com/acme/web/compare/${a}...${b}`);
    expect(message).toContain(`  ${b?.slice(0, 7)} Take a newer nginx`);
    expect(message).toContain("- packages: 1 changed (nginx 1.26 → 1.24)");
    expect(inventoryOf(stage, "release/dev/000003")).toBe(inventoryOf(stage, "release/dev/000001"));
    expect(result.log).toContain("since release/dev/000002: packages: 1 changed (nginx 1.26 → 1.24)");
  });

  test("a comparison that GitHub refuses is a notice, and the rest is told", async () => {
    stage.sandbox.faults.inject(
      { action: /\/compare\// },
      { kind: "reply", status: 403, code: "403", message: "Resource not accessible by integration" },
    );
    const result = await stage.run({
      event: "workflow_dispatch",
      ref: "refs/heads/main",
      inputs: { command: "rollback", environment: "dev", to: "2", "dry-run": "true" },
    });
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain(
      "::notice::The commits of this release cannot be told: The token may not compare",
    );
    expect(result.log).toContain("since release/dev/000003: packages: 1 changed (nginx 1.24 → 1.26)");
  });

  test("a further bake of the same content is a commit on top of the first", async () => {
    const result = await stage.push("develop", { inputs: { rebake: "always" } });
    expect(result.code, result.log).toBe(0);
    const ref = refOf(result.outputs["image-digest"]);
    expect(stage.git("rev-parse", `${ref}~1`)).toBe(inventoryOf(stage, "release/dev/000002"));
    expect(inventoryOf(stage, "release/dev/000004")).toBe(stage.git("rev-parse", ref));
    expect(stage.git("diff", "--name-only", `${ref}~1`, ref)).toBe("image.json");
  });
});

/** The requests that keep an image's files, in order. */
const KEEPING = [
  "POST /repos/acme/web/git/trees",
  "POST /repos/acme/web/git/commits",
  "POST /repos/acme/web/git/refs",
] as const;

/** Where it dies: one point in every test run, all by `npm run chaos`. */
const DEATHS = KEEPING.flatMap((action) =>
  (["drop-before", "drop-after"] as const).map((kind) => [action, kind] as const),
).slice(process.env["KILN_CHAOS"] === "all" ? 0 : -1);

describe("a run that dies between its bake and the files of its image", () => {
  test.each(DEATHS)(
    "at %s (%s): the next attempt finishes, and keeps what is known",
    async (action, kind) => {
      await using stage = await Stage.open();
      await stage.copy.push("develop");
      let child: ChildProcess | undefined;
      const isKeeping = (entry: { action: string; params: unknown }): boolean =>
        entry.action === action &&
        (action !== KEEPING[2] || JSON.stringify(entry.params).includes("kiln/images"));
      // The first two refs that a deploy with a bake creates may be locks.
      const before = (): number =>
        stage.sandbox.log.entries.filter(({ action: seen }) => seen === action).length;
      const skip = action === KEEPING[2] ? 2 : before();
      stage.sandbox.faults.inject({ action }, { kind }, { skip });
      // Nor is it done again before the signal arrives.
      stage.sandbox.faults.inject({ action }, { kind: "drop-before" }, { skip, times: Infinity });
      const watch = setInterval(() => {
        if (stage.sandbox.log.entries.some(isKeeping)) child?.kill("SIGKILL");
      }, 1);
      await stage.run({ runId: 10, post: false, onStarted: (started) => (child = started) });
      clearInterval(watch);
      stage.sandbox.faults.clear();
      const again = await stage.run({ runId: 10, attempt: 2 });
      expect(again.code, again.log).toBe(0);
      expect(stage.records()).toEqual(["release/dev/000001"]);
      expect(stage.images()).toHaveLength(1);
      expect(again.outputs["baked"]).toBe("false");
      const commit = stage.git("rev-parse", refOf(again.outputs["image-digest"]));
      expect(inventoryOf(stage, "release/dev/000001")).toBe(commit);
      expect(stage.git("rev-list", "--count", commit)).toBe("1");
      // The list of packages died with the runner, unless the ref was there already.
      const files = stage.git("ls-tree", "--name-only", commit).split("\n");
      expect(files).toEqual(expect.arrayContaining(["content.txt", "image.json"]));
      expect(files.includes("packages.txt")).toBe(action === KEEPING[2] && kind === "drop-after");
      expect(stage.locks()).toEqual([]);
    },
  );
});

test("a token that may not write commits leaves a warning and a release", async () => {
  await using stage = await Stage.open();
  stage.sandbox.faults.inject(
    { action: KEEPING[0] },
    { kind: "reply", status: 403, code: "403", message: "Resource not accessible by integration" },
    { times: Infinity },
  );
  const result = await stage.push("develop");
  expect(result.code, result.log).toBe(0);
  expect(result.log).toMatch(/::warning::What ami-\w+ is made of could not be kept in git/);
  expect(inventoryOf(stage, "release/dev/000001")).toBe("");
});
