import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import { ACCESS_KEY, HOME } from "../../sandbox/sandbox.ts";
import { configWithProduction } from "./config-text.ts";
import { goOnAfter, standStill } from "./moments.ts";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/** Several targets, smoke tests and credentials that expire, by the built action as a runner starts it. */

const AWAY = { region: "us-east-1", accountId: HOME.accountId };

/** Production in two regions; with more lines of its config where they are given. */
async function twoRegions(more = ""): Promise<Stage> {
  const stage = await Stage.open({ ssh: false });
  addGroupOnTemplate(stage.sandbox, { ...AWAY, name: "web-production-us", template: "web-production" });
  await stage.commit("Two regions", {
    ".github/kiln.yml": configWithProduction(`    targets:
      - { region: eu-west-1, auto-scaling-group: web-production }
      - { region: us-east-1, auto-scaling-group: web-production-us }
${more}`),
  });
  return stage;
}

const refreshes = (stage: Stage, group: string) =>
  stage.sandbox.autoScaling.refreshes(group).map(({ status }) => status);

describe("an environment in two regions", () => {
  test("is released, shown, and rolled back as one", async () => {
    await using stage = await twoRegions();
    const image = await stage.seedImage();
    const first = await stage.push("main");
    expect(first.code, first.log).toBe(0);
    const images = JSON.parse(first.outputs["images"] ?? "{}") as Record<string, string>;
    expect(images["eu-west-1"]).toBe(image);
    expect(new Set(stage.running("web-production-us"))).toEqual(new Set([images["us-east-1"]]));
    expect(JSON.parse(first.outputs["instance-refreshes"] ?? "[]")).toMatchObject([
      { environment: "production", region: "eu-west-1" },
      { environment: "production", region: "us-east-1" },
    ]);
    expect(first.summary).toContain("Targets of production");
    expect(first.summary).toContain("| `us-east-1/web-production-us` | ✅ on the new release |");
    expect(stage.records()).toEqual(["release/production/000001"]);

    await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
    await stage.seedImage();
    const second = await stage.push("main");
    expect(second.code, second.log).toBe(0);
    const again = await stage.push("main");
    expect(again.outputs["outcome"], again.log).toBe("unchanged");

    const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };
    const back = await stage.run({ ...dispatch, inputs: { command: "rollback", environment: "production" } });
    expect(back.code, back.log).toBe(0);
    expect(new Set(stage.running("web-production"))).toEqual(new Set([image]));
    expect(new Set(stage.running("web-production-us"))).toEqual(new Set([images["us-east-1"]]));
    expect(JSON.parse(back.outputs["images"] ?? "{}")).toEqual(images);

    const status = await stage.run({ ...dispatch, inputs: { command: "status", environment: "production" } });
    expect(status.log).toMatch(/production .*6 of 6 run it +\| none/);
  });

  test("a cancel takes both back; post waits for that and lets the lock go", async () => {
    await using stage = await twoRegions();
    await stage.seedImage();
    let child: ChildProcess | undefined;
    const job = stage.push("main", { onStarted: (started) => (child = started) });
    const both = (status: string) =>
      ["web-production", "web-production-us"].every((group) => refreshes(stage, group)[0] === status);
    // Neither goes ahead of the other.
    const begin = await standStill(stage, "a refresh is started", () =>
      ["web-production", "web-production-us"].some((group) => refreshes(stage, group).length > 0),
    );
    await until("both refreshes are started", () => both("Pending"));
    begin.release();
    const hold = await standStill(stage, "both refreshes are in progress", () => both("InProgress"));
    child?.kill("SIGINT");
    await goOnAfter(hold, child, () => both("RollbackInProgress"));
    const result = await job;
    expect(result.code).toBe(1);
    expect(result.log).toContain(
      "Cancelled while eu-west-1/web-production, us-east-1/web-production-us were being rolled out",
    );
    expect(refreshes(stage, "web-production")).toEqual(["RollbackSuccessful"]);
    expect(refreshes(stage, "web-production-us")).toEqual(["RollbackSuccessful"]);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("a cancel when one had finished refreshes that one back", async () => {
    await using stage = await twoRegions("    rollout: { order: sequential, strategy: all-at-once }\n");
    await stage.seedImage();
    let child: ChildProcess | undefined;
    const job = stage.push("main", { onStarted: (started) => (child = started) });
    const hold = await standStill(stage, "the second refresh is in progress", () =>
      refreshes(stage, "web-production-us").includes("InProgress"),
    );
    const before = stage.running("web-production");
    child?.kill("SIGINT");
    await goOnAfter(hold, child, () => refreshes(stage, "web-production-us").includes("RollbackInProgress"));
    const result = await job;
    expect(result.code).toBe(1);
    expect(result.log).toContain("eu-west-1/web-production had finished");
    expect(refreshes(stage, "web-production")).toEqual(["Successful", "Successful"]);
    expect(stage.running("web-production")).not.toEqual(before);
    expect(refreshes(stage, "web-production-us")).toEqual(["RollbackSuccessful"]);
    expect(stage.locks()).toEqual([]);
  });
});

describe("a smoke test", () => {
  const withTest = async (stage: Stage, script: string): Promise<void> => {
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.write("script/smoke", script);
    await stage.copy.chmod("script/smoke", 0o755);
    await stage.commit("A smoke test", {
      ".github/kiln.yml": config.replace(
        /(branches: \[develop\]\n)/,
        '$1    rollout: { smoke-test: { command: "script/smoke --all", timeout: 30s } }\n',
      ),
    });
  };

  test("is run with the instances' addresses; what it prints is in the log, and commands in it are not", async () => {
    await using stage = await Stage.open({ ssh: false });
    await withTest(
      stage,
      '#!/bin/sh\nenv | grep ^KILN_ | sort > smoke.txt\necho "arguments: $*"\necho "::error::boo"\n',
    );
    await stage.seedImage();
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain("  smoke test | arguments: --all");
    expect(result.log).not.toMatch(/^::error::boo/m);
    const env = readFileSync(join(stage.copy.folder, "smoke.txt"), "utf8");
    const [id] = stage.sandbox.autoScaling.group("web-dev").members.map(({ instanceId }) => instanceId);
    expect(env).toContain(`KILN_INSTANCE_IDS=${id ?? "?"}\n`);
    expect(env).toMatch(/^KILN_INSTANCE_ADDRESSES=\d+\.\d+\.\d+\.\d+$/m);
    expect(env).toContain("KILN_TARGET=eu-west-1/web-dev\n");
    expect(env).toContain("KILN_RELEASE=release/dev/000001\n");
  });

  test("that fails takes the release back: red, no record", async () => {
    await using stage = await Stage.open({ ssh: false });
    const before = stage.running("web-dev");
    await withTest(stage, "#!/bin/sh\necho no answer >&2\nexit 7\n");
    await stage.seedImage();
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.outputs["outcome"]).toBe("rolled-back");
    expect(result.log).toContain("  smoke test | no answer");
    expect(result.log).toContain("failed with exit code 7");
    expect(stage.running("web-dev")).toEqual(before);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("that is not there is refused before anything is touched", async () => {
    await using stage = await Stage.open({ ssh: false });
    await withTest(stage, "#!/bin/sh\n");
    await stage.copy.git("rm", "--quiet", "--force", "script/smoke");
    await stage.commit("Gone", {});
    await stage.seedImage();
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The smoke test script/smoke cannot be run");
    expect(refreshes(stage, "web-dev")).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });
});

describe("credentials that expire while it waits", () => {
  const role = { name: "deployer", session: "job" };

  test("are renewed where the job may ask for an OIDC token", async () => {
    await using stage = await Stage.open({ ssh: false });
    Object.assign(stage.sandbox.accounts[ACCESS_KEY] ?? {}, { role });
    await stage.seedImage();
    const job = stage.push("develop", { idToken: true });
    const inProgress = () => refreshes(stage, "web-dev").includes("InProgress");
    const hold = await standStill(stage, "the refresh is in progress", inProgress);
    stage.sandbox.expireCredentials(ACCESS_KEY);
    hold.release();
    const result = await job;
    expect(result.code, result.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
    expect(result.requests.map(({ action }) => action)).toContain("AssumeRoleWithWebIdentity");
  });

  test("else it stops watching, not the rollout, and a re-run takes that up", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const job = stage.push("develop");
    const inProgress = () => refreshes(stage, "web-dev").includes("InProgress");
    const hold = await standStill(stage, "the refresh is in progress", inProgress);
    stage.sandbox.expireCredentials(ACCESS_KEY);
    const result = await job;
    hold.release();
    expect(result.code).toBe(1);
    expect(result.log).toContain("Stopped watching the instance refresh of eu-west-1/web-dev");
    expect(result.log).toContain("Run the job again: it takes this refresh up where it is.");
    Object.assign(stage.sandbox.accounts[ACCESS_KEY] ?? {}, { state: "valid", expiresAt: undefined });
    const again = await stage.run({ runId: 2, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(refreshes(stage, "web-dev")).toEqual(["Successful"]);
    expect(stage.records()).toEqual(["release/dev/000001"]);
  });
});
