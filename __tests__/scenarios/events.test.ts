import { rename } from "node:fs/promises";
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { configWithProduction } from "./config-text.ts";
import { ourWrites, Stage } from "./stage.ts";

/** What started the run, and what is checked out, where the two are not one and the same. */

const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };
const pullRequest = {
  event: "pull_request",
  ref: "refs/pull/1/merge",
  payload: { pull_request: { head: { repo: { full_name: "acme/web" } } } },
};
/** Branches and tips that GitHub was asked for: none where the run's own commit is checked out. */
const branchesAsked = (requests: readonly { readonly action: string }[]): string[] =>
  requests.flatMap(({ action }) => (/heads/.test(decodeURIComponent(action)) ? [action] : []));

describe("the commit on the record is the commit in the image", () => {
  test("where actions/checkout has a ref: HEAD is baked, tagged, locked and recorded", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    const main = await stage.copy.head();
    const develop = await stage.commit("Develop", { "app/public/index.html": "<h1>develop</h1>\n" });
    await stage.copy.push("develop");
    await stage.copy.git("checkout", "--quiet", "-B", "develop");
    const image = await stage.seedImage();
    const result = await stage.run({ ...dispatch, commit: main, inputs: { environment: "dev" } });
    expect(result.code, result.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([image]);
    expect(result.outputs).toMatchObject({ commit: develop, version: develop.slice(0, 12) });
    expect(stage.git("rev-parse", "release/dev/000001^{commit}")).toBe(develop);
    expect(stage.git("tag", "-l", "--format=%(contents)", "release/dev/000001")).toContain(
      `Commit: ${develop}`,
    );
    expect(result.log).toContain(
      `Commit ${develop.slice(0, 12)} of develop is checked out, and not ${main.slice(0, 12)}, which this run is for`,
    );
    expect(stage.locks()).toEqual([]);
  });

  test("where a workflow_run has checked out what the other workflow ran for: its branch decides", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    const main = await stage.copy.head();
    const develop = await stage.commit("Develop", { "app/public/index.html": "<h1>develop</h1>\n" });
    await stage.copy.push("develop");
    await stage.copy.git("checkout", "--quiet", "--detach");
    const image = await stage.seedImage();
    const payload = {
      workflow_run: {
        event: "push",
        head_branch: "develop",
        head_sha: develop,
        head_repository: { full_name: "acme/web" },
      },
    };
    const started = { event: "workflow_run", ref: "refs/heads/main", commit: main, payload };
    const wrong = await stage.run({ ...started, inputs: { environment: "production" } });
    expect(wrong.code).toBe(1);
    expect(wrong.log).toContain("production takes only main, and this is the branch develop");
    expect(ourWrites(wrong.requests)).toEqual([]);
    const result = await stage.run(started);
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ environment: "dev", commit: develop });
    expect(stage.running("web-dev")).toEqual([image]);
    expect(stage.records()).toEqual(["release/dev/000001"]);

    await stage.copy.git("checkout", "--quiet", main);
    const unnamed = await stage.run(started);
    expect(unnamed.code).toBe(1);
    expect(unnamed.log).toContain("input environment: is missing: on workflow_run nothing else says which");
    expect(unnamed.log).toContain(
      `The workflow that started this run was for commit ${develop.slice(0, 12)}, and ${main.slice(0, 12)} is checked out`,
    );
  });

  test("a commit that was made in the job is on no branch, and cannot be tagged", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    await stage.copy.push("develop");
    const pushed = await stage.copy.head();
    const made = await stage.commit("Version 2", { "app/version": "2\n" });
    await stage.seedImage();
    const guarded = await stage.run({ commit: pushed });
    expect(guarded.code).toBe(1);
    expect(guarded.log).toContain(
      `dev takes only develop, and commit ${made.slice(0, 12)}, which is checked out, is not on main or develop on GitHub`,
    );
    expect(guarded.log).toContain("If the commit was made in this job, push it first");
    const result = await stage.run({ commit: pushed, inputs: { "any-branch": "true" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain(`GitHub does not take a tag of commit ${made.slice(0, 12)}`);
    expect(result.log).toContain("Push the commit to the repository before this step");
    expect(stage.running("web-dev")).toHaveLength(1);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);

    await stage.copy.push("develop");
    const after = await stage.run({ commit: pushed });
    expect(after.code, after.log).toBe(0);
    expect(stage.git("rev-parse", "release/dev/000001^{commit}")).toBe(made);
  });

  test("an older commit is older by what is checked out, whatever the run is for", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    await stage.copy.push("develop");
    const older = await stage.copy.head();
    const newer = await stage.commit("Newer", { "app/public/index.html": "<h1>newer</h1>\n" });
    await stage.seedImage();
    expect((await stage.push("develop")).code).toBe(0);
    await stage.copy.git("checkout", "--quiet", "--detach", older);
    const result = await stage.run({ commit: newer });
    expect(result.code).toBe(1);
    expect(result.log).toContain(`${older.slice(0, 12)} is older: an ancestor of it`);
  });

  test("other commands read no checkout, and keep the run's commit", async () => {
    await using stage = await Stage.open({ ssh: false });
    const status = await stage.run({
      ...dispatch,
      commit: "0123456789abcdef0123456789abcdef01234567",
      inputs: { command: "status" },
      env: { PATH: "/nowhere" },
    });
    expect(status.code, status.log).toBe(0);
    expect(status.log).not.toContain("is checked out");
  });
});

describe("a push that deletes a branch", () => {
  test("does nothing, although GitHub runs it on the default branch", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    for (const inputs of [
      {},
      { environment: "production" },
      { command: "promote", environment: "qa", from: "dev" },
    ]) {
      const result = await stage.run({
        ref: "refs/heads/main",
        payload: { deleted: true, ref: "refs/heads/feature/x", after: "0".repeat(40) },
        inputs,
      });
      expect(result.code, result.log).toBe(0);
      expect(result.log).toContain("This push deleted refs/heads/feature/x: there is nothing to do");
      expect(result.outputs["outcome"]).toBe("skipped");
      expect(result.summary).toContain("Skipped");
      expect(result.requests).toEqual([]);
    }
  });
});

describe("an environment's branches", () => {
  test("guard it also where the step names it", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    const config = configWithProduction(
      "    targets: [{ region: eu-west-1, auto-scaling-group: web-production }]\n",
    );
    await stage.commit("Configure", {
      ".github/kiln.yml": config.replace(
        "branches: [main]",
        "branches: [main, 'release/*', '!release/*-rc']",
      ),
    });
    const image = await stage.seedImage();
    const inputs = { environment: "production" };
    for (const branch of ["feature/x", "release/1/2", "release/1-rc"]) {
      const refused = await stage.push(branch, { inputs });
      expect(refused.code).toBe(1);
      expect(refused.log).toContain(
        `production takes only main, release/*, !release/*-rc, and this is the branch ${branch}`,
      );
      expect(refused.log).toContain("`any-branch: true`");
      expect(ourWrites(refused.requests)).toEqual([]);
      expect(branchesAsked(refused.requests)).toEqual([]);
    }
    const tag = await stage.run({ ref: "refs/tags/v1", inputs });
    expect(tag.code).toBe(1);
    expect(tag.log).toContain("and refs/tags/v1 is no branch");
    const planned = await stage.run({
      ref: "refs/heads/feature/x",
      inputs: { ...inputs, "dry-run": "true" },
    });
    expect(planned.code, planned.log).toBe(0);
    expect(planned.log).toContain(
      "and this is the branch feature/x: without `dry-run` this deploy is refused",
    );
    const allowed = await stage.run({
      ref: "refs/heads/feature/x",
      inputs: { ...inputs, "any-branch": "true" },
    });
    expect(allowed.code, allowed.log).toBe(0);
    expect(new Set(stage.running("web-production"))).toEqual(new Set([image]));
    const unlisted = await stage.push("release/1/2");
    expect(unlisted.code, unlisted.log).toBe(0);
    expect(unlisted.outputs["outcome"]).toBe("skipped");
  });
});

describe("a pull request of this repository", () => {
  test.each(["bake", "deploy"])("does not %s, and may plan it", async (command) => {
    await using stage = await Stage.open({ ssh: false });
    await stage.copy.push("feature/x");
    const inputs = { command, environment: "dev" };
    const refused = await stage.run({ ...pullRequest, inputs });
    expect(refused.code).toBe(1);
    expect(refused.log).toContain(
      `Kiln does not ${command} on pull_request: what a pull request bakes is used again`,
    );
    expect(refused.log).toContain("`allow-pull-request: true`");
    expect(refused.requests).toEqual([]);
    const planned = await stage.run({ ...pullRequest, inputs: { ...inputs, "dry-run": "true" } });
    expect(planned.code, planned.log).toBe(0);
    expect(planned.outputs["outcome"]).toBe("planned");
    expect(planned.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("bakes where that is allowed", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.copy.push("feature/x");
    const image = await stage.seedImage();
    const inputs = { command: "bake", environment: "dev", "allow-pull-request": "true" };
    const result = await stage.run({ ...pullRequest, inputs });
    expect(result.code, result.log).toBe(0);
    expect(result.outputs).toMatchObject({ outcome: "unchanged", "image-id": image });
  });
});

describe("a checkout that is not the workspace", () => {
  test("is worked in where the step says so", async () => {
    await using stage = await Stage.open({ ssh: false, speed: 240 });
    await stage.copy.push("develop");
    const image = await stage.seedImage();
    const workspace = join(stage.folder, "workspace");
    mkdirSync(workspace);
    await rename(stage.copy.folder, join(workspace, "app"));
    const commit = stage.git("rev-parse", "develop");
    const job = { workspace, commit };
    for (const [directory, problem] of [
      [undefined, "nothing is checked out in"],
      [
        "web",
        "input working-directory: there is no folder web in the workspace. Run actions/checkout with `path: web`",
      ],
    ] as const) {
      const refused = await stage.run({
        ...job,
        inputs: directory === undefined ? {} : { "working-directory": directory },
      });
      expect(refused.code).toBe(1);
      expect(refused.log).toContain(problem);
      expect(refused.log).toContain("`working-directory: app`");
      expect(refused.requests).toEqual([]);
    }
    const inside = await stage.run({
      ...job,
      inputs: { "working-directory": "app/packer", config: "../.github/kiln.yml" },
    });
    expect(inside.code).toBe(1);
    const below = await stage.run({
      ...job,
      inputs: {
        "working-directory": "app/packer",
        environment: "dev",
        template: "web.pkr.hcl",
        region: "eu-west-1",
        "auto-scaling-group": "web-dev",
      },
    });
    expect(below.code).toBe(1);
    expect(below.log).toContain("is the folder packer of a checkout, and not the checkout itself");
    const result = await stage.run({ ...job, inputs: { "working-directory": "app" } });
    expect(result.code, result.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([image]);
    expect(stage.git("rev-parse", "release/dev/000001^{commit}")).toBe(commit);
    expect(readdirSync(workspace)).toEqual(["app"]);
  });

  test("without git it is told that git is missing", async () => {
    await using stage = await Stage.open({ ssh: false });
    const bin = join(stage.folder, "bin");
    mkdirSync(bin);
    for (const name of ["sh"])
      symlinkSync(execFileSync("which", [name], { encoding: "utf8" }).trim(), join(bin, name));
    const result = await stage.push("develop", { env: { PATH: bin } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("git is not installed on this runner");
    expect(result.log).toContain("Install git before actions/checkout runs");
    expect(result.requests).toEqual([]);
  });
});
