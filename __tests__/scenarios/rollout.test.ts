import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { Job } from "../../sandbox/runner.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { goOnAfter, goOnAt, isTakenDown, standStill } from "./moments.ts";
import { ourWrites, Stage } from "./stage.ts";

/** Rollouts that do not go as they should, and what is already there being found. */

const refreshes = (stage: Stage, group = "web-dev") => stage.sandbox.autoScaling.refreshes(group);

/** What is so, in words, and how that is seen. */
type Moment = readonly [what: string, holds: (stage: Stage) => boolean];

const REFRESHES: Moment = [
  "the refresh is in progress",
  (stage) => refreshes(stage).some((refresh) => refresh.status === "InProgress"),
];

const BAKES: Moment = [
  "the build instance runs",
  ({ sandbox }) =>
    sandbox.ec2
      .instances(HOME)
      .some((instance) => instance.keyName !== undefined && instance.state === "running"),
];

/** A push to develop whose process gets a signal at a moment. Time stands still from then on. */
async function signalled(
  stage: Stage,
  signal: "SIGINT" | "SIGKILL",
  [what, holds]: Moment,
  job: Partial<Job> = {},
) {
  let child: ChildProcess | undefined;
  const ended = stage.push("develop", { ...job, onStarted: (started) => (child = started) });
  const hold = await standStill(stage, what, () => holds(stage));
  child?.kill(signal);
  return { ended, hold, child };
}

/** The same; time goes on when the process has ended, or what it takes back is on its way back. */
async function interrupted(
  stage: Stage,
  signal: "SIGINT" | "SIGKILL",
  moment: Moment,
): ReturnType<Stage["push"]> {
  const { ended, hold, child } = await signalled(stage, signal, moment);
  const isBack = () => refreshes(stage).at(-1)?.status === "RollbackInProgress" || isTakenDown(stage);
  await goOnAfter(hold, child, isBack);
  return ended;
}

describe("a refresh that fails", () => {
  test("an image that is never healthy is rolled back: red, the old version, no record, no lock", async () => {
    await using stage = await Stage.open({ ssh: false });
    const before = stage.running("web-qa");
    const image = await stage.seedImage();
    stage.sandbox.autoScaling.setHealth({ [image]: { healthyAfter: "never" } });
    const result = await stage.push("stage");
    expect(result.code).toBe(1);
    expect(result.outputs["outcome"]).toBe("rolled-back");
    expect(result.log).toMatch(/::error::eu-west-1\/web-qa: the rollout was rolled back: /);
    expect(result.log).toContain("The group launches from version 1 of web-qa");
    expect(stage.running("web-qa")).toEqual(before);
    expect(stage.sandbox.autoScaling.group("web-qa").configuration).toMatchObject({
      launchTemplate: { version: "1" },
    });
    expect(refreshes(stage, "web-qa").map((refresh) => refresh.status)).toEqual(["RollbackSuccessful"]);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
    expect(result.summary).toContain("Rolled back");
  });

  test("launches that fail name AWS's reason", async () => {
    await using stage = await Stage.open({ ssh: false });
    const image = await stage.seedImage();
    const reason =
      "We currently do not have sufficient t3.small capacity in the Availability Zone you requested. Launching EC2 instance failed.";
    stage.sandbox.autoScaling.setHealth({ [image]: { launchFailure: reason } });
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("sufficient t3.small capacity");
    expect(result.summary).toContain("sufficient t3.small capacity");
    expect(stage.records()).toEqual([]);
  });

  test("time runs out: rolled back before AWS gives up", async () => {
    await using stage = await Stage.open({ ssh: false });
    const image = await stage.seedImage();
    stage.sandbox.autoScaling.setHealth({ [image]: { healthyAfter: "never" } });
    const result = await stage.push("develop", { inputs: { timeout: "2s" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("the timeout of 2 s has passed; rolling back");
    expect(result.outputs["outcome"]).toBe("rolled-back");
    expect(refreshes(stage).map((refresh) => refresh.status)).toEqual(["RollbackSuccessful"]);
  });
});

describe("cancelled and killed", () => {
  test("a cancel during the rollout rolls it back; post waits for that and releases the lock", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const result = await interrupted(stage, "SIGINT", REFRESHES);
    expect(result.code).toBe(1);
    expect(result.log).toContain("Cancelled while eu-west-1/web-dev was being rolled out");
    expect(refreshes(stage).map((refresh) => refresh.status)).toEqual(["RollbackSuccessful"]);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("`on-cancel: leave` leaves it, and the re-run takes it up and records it: one refresh, one release", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const leave = { inputs: { "on-cancel": "leave" } };
    const { ended, hold } = await signalled(stage, "SIGINT", REFRESHES, leave);
    expect((await ended).code).toBe(1);
    expect(stage.locks()).toEqual([]);
    const onOutput = goOnAt(hold, "is already running and is taken up");
    const again = await stage.run({ runId: 2, attempt: 2, onOutput });
    expect(again.code, again.log).toBe(0);
    expect(again.log).toContain("is already running and is taken up");
    expect(refreshes(stage).map((refresh) => refresh.status)).toEqual(["Successful"]);
    expect(stage.records()).toEqual(["release/dev/000001"]);
  });

  test("killed in the middle without post: the next attempt takes over the lock and the refresh, and doubles nothing", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const { ended, hold } = await signalled(stage, "SIGKILL", REFRESHES, { post: false });
    await ended;
    expect(stage.locks()).toEqual(["refs/kiln/lock/release/dev"]);
    const onOutput = goOnAt(hold, "version 2 of web-dev is there already");
    const again = await stage.run({ runId: 2, attempt: 2, onOutput });
    expect(again.code, again.log).toBe(0);
    expect(again.log).toContain("Taking over the lock of dev");
    expect(again.log).toContain("version 2 of web-dev is there already");
    expect(refreshes(stage)).toHaveLength(1);
    expect(stage.records()).toEqual(["release/dev/000001"]);
    expect(stage.locks()).toEqual([]);
  });

  test("a cancel during the bake: Packer cleans up, nothing is left, the lock is released", async () => {
    await using stage = await Stage.open();
    const result = await interrupted(stage, "SIGINT", BAKES);
    expect(result.code).toBe(1);
    expect(result.log).toContain("The bake was cancelled");
    expect(stage.leftovers()).toEqual([]);
    expect(stage.images()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("killed during the bake: post waits until Packer, which outlives us, has cleaned up", async () => {
    await using stage = await Stage.open();
    const result = await interrupted(stage, "SIGKILL", BAKES);
    expect(result.log).toContain("Waiting for Packer to remove its temporary resources");
    expect(result.log).toContain("Packer has ended");
    expect(stage.leftovers()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });
});

describe("what is already there", () => {
  test("a group on $Latest is pinned to what that means, before the new version is made", async () => {
    await using stage = await Stage.open({ ssh: false });
    const image = await stage.seedImage();
    const template = stage.sandbox.ec2.launchTemplates(HOME).find((each) => each.name === "web-dev");
    const base = stage.sandbox.ec2.launchTemplateVersions(template?.id ?? "")[0]?.data ?? {};
    stage.sandbox.ec2.addLaunchTemplateVersion(template?.id ?? "", base);
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: "web-floating",
      min: 1,
      max: 2,
      desired: 1,
      defaultInstanceWarmup: 10,
      launchTemplate: { launchTemplateId: template?.id ?? "", version: "$Latest" },
    });
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Use the floating group", {
      ".github/kiln.yml": config.replace("web-dev", "web-floating"),
    });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain("pinned to version 2 of web-dev, which is what $Latest meant");
    expect(ourWrites(result.requests).slice(2, 5)).toEqual([
      "UpdateAutoScalingGroup",
      "CreateLaunchTemplateVersion",
      "StartInstanceRefresh",
    ]);
    expect(stage.running("web-floating")).toEqual([image]);
  });

  test("a refresh that is not ours is waited for, then ours begins", async () => {
    await using stage = await Stage.open({ ssh: false });
    const image = await stage.seedImage();
    stage.sandbox.log.clear();
    const { AutoScalingClient, StartInstanceRefreshCommand } = await import("@aws-sdk/client-auto-scaling");
    const client = new AutoScalingClient({
      region: HOME.region,
      endpoint: stage.sandbox.awsUrl,
      credentials: { accessKeyId: "AKIASANDBOX000000000", secretAccessKey: "x" },
    });
    await client.send(
      new StartInstanceRefreshCommand({
        AutoScalingGroupName: "web-dev",
        Preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 200 },
      }),
    );
    const waiting = "eu-west-1/web-dev: waiting for another instance refresh to end";
    const hold = await standStill(stage, REFRESHES[0], () => REFRESHES[1](stage));
    const result = await stage.push("develop", { onOutput: goOnAt(hold, waiting) });
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain(waiting);
    expect(refreshes(stage).map((refresh) => refresh.status)).toEqual(["Successful", "Successful"]);
    expect(stage.running("web-dev")).toEqual([image]);
  });

  test("an answer to StartInstanceRefresh that was lost: the refresh that it started is taken up", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    stage.sandbox.faults.inject(
      { service: "autoscaling", action: "StartInstanceRefresh" },
      { kind: "reply-after-effect", status: 500, code: "InternalFailure", message: "lost" },
    );
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(refreshes(stage)).toHaveLength(1);
    expect(result.requests.filter((request) => request.action === "StartInstanceRefresh")).toHaveLength(1);
  });

  test("a StartInstanceRefresh that is throttled, then answered with an error, is tried again", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const start = { service: "autoscaling", action: "StartInstanceRefresh" };
    const { faults } = stage.sandbox;
    faults.inject(start, { kind: "reply", status: 400, code: "Throttling", message: "Rate exceeded" });
    faults.inject(start, { kind: "reply", status: 500, code: "InternalFailure", message: "oops" });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(refreshes(stage)).toHaveLength(1);
  });

  test("describes that fail now and then do not fail the rollout", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    stage.sandbox.faults.inject(
      { service: "autoscaling", action: "DescribeInstanceRefreshes" },
      { kind: "reply", status: 400, code: "RateExceeded", message: "Rate exceeded" },
      { skip: 2, times: 3 },
    );
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
  });
});

describe("the record and the lock", () => {
  test("rolled out but not recorded: red, the record in the summary; the next run writes it and rolls nothing out", async () => {
    await using stage = await Stage.open({ ssh: false, updateRefs: "heads-and-tags" });
    await stage.seedImage();
    stage.sandbox.faults.inject(
      { service: "github", action: "POST /repos/acme/web/git/refs" },
      { kind: "reply", status: 403, code: "Forbidden", message: "Resource not accessible by integration" },
      // The lock's ref, and the one of what is kept of the image, come before.
      { skip: 2 },
    );
    const failed = await stage.push("develop");
    expect(failed.code).toBe(1);
    expect(failed.log).toContain("dev was rolled out, not recorded");
    expect(failed.summary).toContain("Kiln-Record: 1");
    expect(failed.summary).toContain("Environment: dev");
    expect(stage.records()).toEqual([]);
    const again = await stage.push("develop");
    expect(again.code, again.log).toBe(0);
    expect(again.outputs["release"]).toBe("release/dev/000001");
    expect(refreshes(stage)).toHaveLength(1);
  });

  test("the answer to the record's creation was lost: one record", async () => {
    await using stage = await Stage.open({ ssh: false, updateRefs: "heads-and-tags" });
    await stage.seedImage();
    stage.sandbox.faults.inject(
      { service: "github", action: "POST /repos/acme/web/git/refs" },
      { kind: "reply-after-effect", status: 502, code: "Bad Gateway", message: "Bad Gateway" },
      // The lock's ref, and the one of what is kept of the image, come before.
      { skip: 2 },
    );
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
  });

  test("a lock that a live run holds is waited for, saying whose it is; nothing is touched", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    await holdLock(stage, 77);
    stage.sandbox.repository.addRun({ id: 77, status: "in_progress" });
    const result = await stage.push("develop", { inputs: { timeout: "1s" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("dev is locked by mona's run https://github.com/acme/web/actions/runs/77");
    expect(result.log).toContain("dev is still locked by mona's run");
    expect(stage.locks()).toEqual(["refs/kiln/lock/release/dev"]);
    expect(refreshes(stage)).toEqual([]);
  });

  test("a lock whose run has ended is taken over", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    await holdLock(stage, 77);
    stage.sandbox.repository.addRun({ id: 77, status: "completed", conclusion: "cancelled" });
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain("Taking over the lock of dev");
    expect(stage.locks()).toEqual([]);
  });

  test("other people's tags under the prefix are named and ignored, and raise no number", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    await stage.copy.git("tag", "release/dev/000007");
    await stage.copy.git("tag", "-a", "-m", "mine", "release/dev/latest");
    await stage.copy.git("push", "--quiet", "--tags", "origin");
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    expect(result.outputs["release"]).toBe("release/dev/000001");
    expect(result.log).toContain("The tag release/dev/000007 is no record: it is a lightweight tag");
  });
});

/** A lock as another run's would be. */
async function holdLock(stage: Stage, run: number): Promise<void> {
  const message = `Lock of dev\n\nRun-Id: ${run}\nAttempt: 1\nRun: https://github.com/acme/web/actions/runs/${run}\nActor: mona\n`;
  await stage.copy.git("tag", "-a", "-m", message, "lock-of-dev");
  await stage.copy.git("push", "--quiet", "origin", "refs/tags/lock-of-dev:refs/kiln/lock/release/dev");
}
