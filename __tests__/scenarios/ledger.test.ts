import { rm } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { standStill } from "./moments.ts";
import { counts, isPacker, ourWrites, Stage } from "./stage.ts";
import { until } from "./until.ts";

/** Rollback, promotion and status: what runs where, and the way back. */

const dispatch = (command: string, inputs: Readonly<Record<string, string>>) => ({
  event: "workflow_dispatch",
  ref: "refs/heads/main",
  inputs: { command, ...inputs },
});

/** Releases of `count` different contents to dev, each with an image as an earlier run left it. */
async function releases(stage: Stage, count: number): Promise<string[]> {
  const images: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    await stage.commit(`Change ${number}`, { "app/public/index.html": `<h1>${number}</h1>\n` });
    images.push(await stage.seedImage());
    const result = await stage.push("develop", { inputs: { version: `v1.${number}` } });
    expect(result.code, result.log).toBe(0);
  }
  return images;
}

const restored = (stage: Stage): string[] =>
  stage
    .git("for-each-ref", "--format=%(contents:trailers:key=Restores,valueonly)", "refs/tags/release/dev/**")
    .split("\n")
    .filter(Boolean);

describe("rollback", () => {
  test("goes back one release at a time, never forward to the one that was left, and wherever it is told", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [first, second, third] = await releases(stage, 3);
    // Neither a checkout nor Packer is needed.
    await rm(stage.copy.folder, { recursive: true, force: true });
    const run = (inputs: Record<string, string>) =>
      stage.run({
        ...dispatch("rollback", { environment: "dev", ...inputs }),
        workspace: stage.folder,
        commit: stage.git("rev-parse", "develop"),
        env: { PATH: "/nonexistent" },
      });
    const back = await run({ reason: "The third was bad\nKind: deploy" });
    expect(back.code, back.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([second]);
    expect(back.outputs).toMatchObject({
      release: "release/dev/000004",
      "image-id": second,
      baked: "false",
      version: "v1.2",
    });
    const trailers = stage.git(
      "for-each-ref",
      "--format=%(contents:trailers:only,unfold)",
      "refs/tags/release/dev/000004",
    );
    expect(trailers).toContain("Kind: rollback\n");
    expect(trailers).toContain("Restores: release/dev/000002\n");
    expect(trailers).toContain("Reason: The third was bad Kind: deploy\n");
    expect(stage.git("rev-parse", "release/dev/000004^{commit}")).toBe(
      stage.git("rev-parse", "release/dev/000002^{commit}"),
    );

    const further = await run({});
    expect(further.code, further.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([first]);

    const none = await run({});
    expect(none.code).toBe(1);
    expect(none.log).toContain("no release before release/dev/000005 ran another image");
    expect(ourWrites(none.requests)).toEqual([]);

    const forward = await run({ to: "3" });
    expect(forward.code, forward.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([third]);
    expect(restored(stage)).toEqual(["release/dev/000002", "release/dev/000001", "release/dev/000003"]);
    expect(forward.requests.some(isPacker)).toBe(false);
    expect(stage.locks()).toEqual([]);
  });

  test("takes a tag, a commit or a version; what is unknown changes nothing and shows what there is", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [first, second, third] = await releases(stage, 3);
    const commit = stage.git("rev-parse", "release/dev/000001^{commit}");
    for (const [to, image] of [
      ["release/dev/000002", second],
      [commit.slice(0, 9), first],
      ["v1.3", third],
    ] as const) {
      const result = await stage.run(dispatch("rollback", { environment: "dev", to }));
      expect(result.code, result.log).toBe(0);
      expect(stage.running("web-dev")).toEqual([image]);
    }
    stage.sandbox.ec2.setImageState(first ?? "", "deregistered");
    const unknown = await stage.run(dispatch("rollback", { environment: "dev", to: "v9" }));
    expect(unknown.code).toBe(1);
    expect(unknown.log).toContain('no release is "v9"');
    expect(unknown.log).toMatch(/\| 1 +\| deploy +\| v1\.1 .*no: the image is (?:gone|deregistered)/);
    expect(unknown.log).toMatch(/\| 2 +\| deploy +\| v1\.2 .*\| yes/);
    expect(unknown.summary).toContain("v1.2");
    expect(unknown.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("while a deploy's refresh is still running, AWS rolls that refresh back, and the record says so", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [first] = await releases(stage, 1);
    await stage.commit("Something bad", { "app/public/index.html": "<h1>bad</h1>\n" });
    await stage.seedImage();
    const deploying = stage.push("develop", { runId: 50 });
    const second = () => stage.sandbox.autoScaling.refreshes("web-dev")[1]?.status;
    const hold = await standStill(
      stage,
      "the second refresh is in progress",
      () => second() === "InProgress",
    );
    const rollingBack = stage.run({
      ...dispatch("rollback", { environment: "dev", reason: "Pages are red" }),
      runId: 51,
    });
    await until("it is rolled back", () => second() === "RollbackInProgress");
    hold.release();
    const back = await rollingBack;
    expect(back.code, back.log).toBe(0);
    expect((await deploying).code).toBe(1);
    expect(stage.sandbox.autoScaling.refreshes("web-dev").map((refresh) => refresh.status)).toEqual([
      "Successful",
      "RollbackSuccessful",
    ]);
    expect(stage.running("web-dev")).toEqual([first]);
    expect(stage.records()).toEqual(["release/dev/000001", "release/dev/000002"]);
    expect(restored(stage)).toEqual(["release/dev/000001"]);
    expect(stage.locks()).toEqual([]);
  });

  test("an incident goes all at once and asks no alarm", async () => {
    await using stage = await Stage.open({ ssh: false });
    stage.sandbox.autoScaling.setAlarm("web-5xx", "OK");
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Watch an alarm", {
      ".github/kiln.yml": config.replace("web-dev }]", "web-dev }]\n    rollout: { alarms: [web-5xx] }"),
    });
    const [first] = await releases(stage, 2);
    stage.sandbox.autoScaling.setAlarm("web-5xx", "ALARM");
    const result = await stage.run(dispatch("rollback", { environment: "dev", incident: "true" }));
    expect(result.code, result.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([first]);
    const start = result.requests.find((request) => request.action === "StartInstanceRefresh");
    expect(start?.params).toMatchObject({
      "Preferences.MinHealthyPercentage": "100",
      "Preferences.MaxHealthyPercentage": "200",
    });
    expect(JSON.stringify(start?.params)).not.toContain("Alarm");
  });
});

describe("a record that is forged launches nothing", () => {
  async function forge(change: (message: string, stage: Stage) => string, commit?: string) {
    const stage = await Stage.open({ ssh: false });
    await releases(stage, 2);
    const message = change(
      stage.git("for-each-ref", "--format=%(contents)", "refs/tags/release/dev/000001"),
      stage,
    )
      .replace("Release: 1", "Release: 3")
      .replace("(release 1)", "(release 3)");
    await stage.copy.git("fetch", "--quiet", "--tags", "origin");
    await stage.copy.git(
      "tag",
      "-a",
      "-m",
      message,
      "release/dev/000003",
      commit ?? "release/dev/000001^{commit}",
    );
    await stage.copy.git("push", "--quiet", "origin", "release/dev/000003");
    const result = await stage.run(dispatch("rollback", { environment: "dev", to: "3" }));
    return { stage, result };
  }

  test("an image that belongs to another account", async () => {
    const foreign = "ami-0f0f0f0f0f0f0f0f0";
    const { stage, result } = await forge((message, { sandbox }) => {
      const image = sandbox.ec2.addImage(
        { ...HOME, accountId: "999999999999" },
        { name: "evil", launchPermissions: [{ group: "all" }] },
      );
      return message.replace(/ami-\w+/, image.id);
    });
    await using _ = stage;
    expect(foreign).not.toBe("");
    expect(result.code).toBe(1);
    expect(result.log).toContain("the image belongs to account 999999999999");
    expect(ourWrites(result.requests)).toEqual([]);
  });

  test("an image whose digest is another", async () => {
    const { stage, result } = await forge((message, { sandbox }) => {
      const image = sandbox.ec2.addImage(HOME, {
        name: "other",
        tags: { "kiln:digest": `sha256:${"1".repeat(64)}` },
      });
      return message.replace(/ami-\w+/, image.id);
    });
    await using _ = stage;
    expect(result.code).toBe(1);
    expect(result.log).toContain("the image's kiln:digest is sha256:1111");
    expect(ourWrites(result.requests)).toEqual([]);
  });

  test.each([
    ["kiln:application", "api", "the image's kiln:application is api, not web"],
    ["kiln:repository", "acme/api", "the image's kiln:repository is acme/api, not acme/web"],
  ])("an image with its own digest, whose %s is another's", async (key, value, why) => {
    const { stage, result } = await forge((message, { sandbox }) => {
      const digest = `sha256:${"1".repeat(64)}`;
      const image = sandbox.ec2.addImage(HOME, {
        name: "other",
        tags: {
          "kiln:application": "web",
          "kiln:repository": "acme/web",
          "kiln:digest": digest,
          [key]: value,
        },
      });
      return message.replace(/ami-\w+/, image.id).replace(/sha256:[0-9a-f]{64}/g, digest);
    });
    await using _ = stage;
    expect(result.code).toBe(1);
    expect(result.log).toContain(why);
    expect(ourWrites(result.requests)).toEqual([]);
  });

  test("a record of another application", async () => {
    const { stage, result } = await forge((message) =>
      message.replace("Application: web", "Application: api"),
    );
    await using _ = stage;
    expect(result.code).toBe(1);
    expect(result.log).toContain("is of another application, api, not of web. It is ignored");
    expect(ourWrites(result.requests)).toEqual([]);
  });

  test("trailers hidden in the prose, an unknown format, and a commit that is another are no records", async () => {
    for (const [change, reason] of [
      [(message: string) => `${message}\n\nAnd that is all.\n`, "does not end with a block of trailers"],
      [
        (message: string) => message.replace("Kiln-Record: 1", "Kiln-Record: 2"),
        "its format is Kiln-Record: 2",
      ],
      [
        (message: string) => message.replace(/^Commit: \w+$/m, `Commit: ${"0".repeat(40)}`),
        "its trailer Commit says 0000",
      ],
    ] as const) {
      const { stage, result } = await forge(change);
      await using _ = stage;
      expect(result.code).toBe(1);
      expect(result.log).toContain("The tag release/dev/000003 is no record");
      expect(result.log).toContain(reason);
      expect(ourWrites(result.requests)).toEqual([]);
    }
  });
});

describe("promotion", () => {
  test("takes the very image of another environment, never bakes, and says where it is from", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [image] = await releases(stage, 1);
    const early = await stage.run(dispatch("promote", { environment: "production", from: "qa" }));
    expect(early.code).toBe(1);
    expect(early.log).toContain("qa has no release yet");
    const result = await stage.run(dispatch("promote", { environment: "qa", from: "dev" }));
    expect(result.code, result.log).toBe(0);
    expect(new Set(stage.running("web-qa"))).toEqual(new Set([image]));
    const trailers = stage.git(
      "for-each-ref",
      "--format=%(contents:trailers:only)",
      "refs/tags/release/qa/000001",
    );
    expect(trailers).toContain("Kind: promotion\n");
    expect(trailers).toContain("Promoted-From: release/dev/000001\n");
    expect(result.requests.some(isPacker)).toBe(false);
  });

  test("`requires` lets only what the other environment released through, and is promote's default", async () => {
    await using stage = await Stage.open({ ssh: false });
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Require qa", {
      ".github/kiln.yml": config.replace("branches: [main]", "branches: [main]\n    requires: qa"),
    });
    const proven = await stage.seedImage();
    const refused = await stage.push("main");
    expect(refused.code).toBe(1);
    expect(refused.log).toContain("production takes only what qa has proven, and qa has not released it");
    expect(refused.log).toContain("qa runs no release");
    expect(ourWrites(refused.requests)).toEqual([]);

    expect((await stage.push("stage")).code).toBe(0);
    // A newer bake of the same content exists: production still gets the one that qa ran.
    const newer = stage.sandbox.ec2.images(HOME).find((image) => image.id === proven);
    stage.sandbox.ec2.addImage(HOME, { name: `${newer?.name}-2`, tags: newer?.tags ?? {} });
    const released = await stage.push("main");
    expect(released.code, released.log).toBe(0);
    expect(new Set(stage.running("web-production"))).toEqual(new Set([proven]));

    await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
    const next = await stage.seedImage();
    expect((await stage.push("stage")).code).toBe(0);
    const promoted = await stage.run(dispatch("promote", { environment: "production" }));
    expect(promoted.code, promoted.log).toBe(0);
    expect(new Set(stage.running("web-production"))).toEqual(new Set([next]));
  });
});

describe("the backward guard", () => {
  test("an older commit is refused, unless it is allowed", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [first] = await releases(stage, 2);
    const older = stage.git("rev-parse", "release/dev/000001^{commit}");
    await stage.copy.git("checkout", "--quiet", "--detach", older);
    const refused = await stage.run({ commit: older });
    expect(refused.code).toBe(1);
    expect(refused.log).toContain("is older: an ancestor of it");
    expect(ourWrites(refused.requests)).toEqual([]);
    const allowed = await stage.run({ commit: older, inputs: { "allow-older": "true" } });
    expect(allowed.code, allowed.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([first]);
  });
});

describe("the way back", () => {
  test("is proved at every deploy, and said to be missing when it is", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [, second] = await releases(stage, 2);
    await stage.commit("Third", { "app/public/index.html": "<h1>3</h1>\n" });
    await stage.seedImage();
    const fine = await stage.push("develop", { inputs: { "dry-run": "false" } });
    expect(fine.log).toContain(`Way back: release/dev/000002 (${second}) can be restored`);
    stage.sandbox.ec2.setImageState(fine.outputs["image-id"] ?? "", "disabled");
    await stage.commit("Fourth", { "app/public/index.html": "<h1>4</h1>\n" });
    await stage.seedImage();
    const lost = await stage.push("develop");
    expect(lost.code, lost.log).toBe(0);
    expect(lost.log).toContain("No way back to release/dev/000003");
  });
});

describe("status", () => {
  test("says what runs where, and how it differs from the records", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [image] = await releases(stage, 1);
    expect((await stage.push("stage")).code).toBe(0);
    const fine = await stage.run(dispatch("status", {}));
    expect(fine.code, fine.log).toBe(0);
    expect(fine.requests.filter((request) => request.writes)).toEqual([]);
    expect(counts(fine.requests).github).toBe(1);
    const result = JSON.parse(fine.outputs["result"] ?? "") as { status: Record<string, unknown>[] };
    expect(result.status.map((entry) => entry["environment"])).toEqual(["dev", "qa", "production"]);
    expect(result.status[0]).toMatchObject({
      release: "release/dev/000001",
      version: "v1.1",
      imageId: image,
      inService: 1,
      running: 1,
      drift: [],
    });
    expect(result.status[2]).toMatchObject({ drift: ["there is no release yet"] });
    expect(fine.summary).toContain("release/qa/000001");

    // Somebody changes qa by hand.
    const template = stage.sandbox.ec2.launchTemplates(HOME).find((each) => each.name === "web-qa");
    stage.sandbox.autoScaling.setDesiredCapacity("web-qa", 3);
    const { AutoScalingClient, UpdateAutoScalingGroupCommand } = await import("@aws-sdk/client-auto-scaling");
    const client = new AutoScalingClient({
      region: HOME.region,
      endpoint: stage.sandbox.awsUrl,
      credentials: { accessKeyId: "AKIASANDBOX000000000", secretAccessKey: "x" },
    });
    await client.send(
      new UpdateAutoScalingGroupCommand({
        AutoScalingGroupName: "web-qa",
        LaunchTemplate: { LaunchTemplateId: template?.id ?? "", Version: "1" },
        DesiredCapacity: 4,
      }),
    );
    stage.sandbox.clock.advance(10 * 60_000);
    const drifted = await stage.run(dispatch("status", { "fail-on-drift": "true", environment: "qa" }));
    expect(drifted.code).toBe(1);
    expect(drifted.log).toMatch(/of 4 instances run ami-\w+/);
    expect(drifted.log).toContain("the group launches from version 1 of web-qa");
  });

  test("works without GraphQL, by REST", async () => {
    await using stage = await Stage.open({ ssh: false, graphql: "forbidden" });
    await releases(stage, 2);
    const result = await stage.run(dispatch("status", { environment: "dev" }));
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain("release/dev/000002");
  });
});

describe("a ledger of 10,000 records", () => {
  test("the newest and the previous release take one request", async () => {
    await using stage = await Stage.open({ ssh: false });
    const [first] = await releases(stage, 2);
    const message = stage.git("for-each-ref", "--format=%(contents)", "refs/tags/release/dev/000001");
    const commit = stage.git("rev-parse", "release/dev/000001^{commit}");
    const second = stage.git("for-each-ref", "--format=%(contents)", "refs/tags/release/dev/000002");
    const newestCommit = stage.git("rev-parse", "release/dev/000002^{commit}");
    const { execFileSync } = await import("node:child_process");
    const tags: string[] = [];
    for (let number = 3; number <= 10_000; number += 1) {
      const newest = number === 10_000;
      const text = (newest ? second : message)
        .replace(/^Release: \d+$/m, `Release: ${number}`)
        .trimEnd()
        .concat("\n");
      tags.push(
        `tag release/dev/${String(number).padStart(6, "0")}\nfrom ${newest ? newestCommit : commit}\ntagger A <a@example.com> 1700000000 +0000\ndata ${Buffer.byteLength(text)}\n${text}\n`,
      );
    }
    execFileSync("git", ["fast-import", "--quiet"], {
      cwd: stage.sandbox.repository.path,
      input: tags.join(""),
    });
    const planned = await stage.run(dispatch("rollback", { environment: "dev", "dry-run": "true" }));
    expect(planned.code, planned.log).toBe(0);
    expect(planned.log).toContain(`reuse ${first}`);
    expect(planned.log).toContain("record it as release/dev/010001");
    // One for the history, one for what an earlier run may have stopped, one for the release's own look; two for what changes
    // between the releases.
    expect(counts(planned.requests).github).toBe(5);
  });
});
