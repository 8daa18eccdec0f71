import { describe, expect, test } from "vitest";
import { KilnError, type RolloutError } from "../../src/domain/errors.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { ReleaseStage } from "./release-stage.ts";

/** What happens while a refresh runs: tests at checkpoints, alarms, time running out, looks that fail, other people. */

const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const DESCRIBE = { action: "DescribeInstanceRefreshes" };
const MINUTE = 60_000;

async function open(desired = 4): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", desired);
  return stage;
}

const statuses = (stage: ReleaseStage): string[] =>
  stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status);

describe("smoke tests", () => {
  test("run at the checkpoint on the canary and at the end on all, and are told what they test", async () => {
    await using stage = await open(4);
    const released = await stage.release(
      [TARGET],
      { strategy: "canary", smokeTest: { command: ["curl", "-f"], timeout: 60 } },
      { test: { code: 0, takes: 30_000 } },
    );
    expect(released.error, released.log.join("\n")).toBeUndefined();
    const [canary, end] = released.tests;
    expect(released.tests).toHaveLength(2);
    expect(canary).toMatchObject({
      KILN_CHECKPOINT: "25",
      KILN_TARGET: "eu-west-1/web",
      KILN_ENVIRONMENT: "production",
      KILN_RELEASE: "release/production/000001",
      KILN_IMAGE_ID: stage.newImage,
    });
    expect(canary?.["KILN_INSTANCE_IDS"]?.split(" ")).toHaveLength(1);
    expect(canary?.["KILN_INSTANCE_ADDRESSES"]).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(end?.["KILN_CHECKPOINT"]).toBe("100");
    expect(end?.["KILN_INSTANCE_IDS"]?.split(" ")).toHaveLength(4);
    // The checkpoint lasts as long as the test may take, and a minute to notice it.
    expect(stage.sandbox.autoScaling.refreshes("web")[0]?.preferences).toMatchObject({
      checkpointDelay: 120,
    });
  });

  test("one that takes too long rolls the canary back: three of four were never touched", async () => {
    await using stage = await open(4);
    const old = stage.sandbox.autoScaling.group("web").members.map(({ instanceId }) => instanceId);
    const released = await stage.release(
      [TARGET],
      { strategy: "canary", smokeTest: { command: ["sleep"], timeout: 60 } },
      { test: { code: 0, takes: 10 * MINUTE } },
    );
    expect((released.error as Error).message).toMatch(
      /smoke test of eu-west-1\/web at 25 % took longer than 1 min/,
    );
    expect(statuses(stage)).toEqual(["RollbackSuccessful"]);
    const now = stage.sandbox.autoScaling.group("web").members.map(({ instanceId }) => instanceId);
    expect(now.filter((id) => old.includes(id))).toHaveLength(3);
  });

  test("one that fails at the end, when AWS has nothing to roll back any more: Kiln goes back itself", async () => {
    await using stage = await open(2);
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling", smokeTest: { command: ["test"], timeout: 60 } },
      { test: { code: 3 } },
    );
    expect((released.error as RolloutError).rolledBack).toBe(true);
    expect(released.log.join("\n")).toContain("Kiln goes back itself: a refresh to version 1 of web");
    expect(statuses(stage)).toEqual(["Successful", "Successful"]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
    expect(stage.records()).toEqual([]);
  });

  test("with a bake time the last one runs while AWS still can roll back", async () => {
    await using stage = await open(2);
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling", bakeTime: 600, smokeTest: { command: ["test"], timeout: 60 } },
      { test: { code: 3 } },
    );
    expect((released.error as RolloutError).rolledBack).toBe(true);
    expect(statuses(stage)).toEqual(["RollbackSuccessful"]);
    expect(released.tests).toHaveLength(1);
  });

  test("where it is asked for, and the way back in an incident asks nothing", async () => {
    await using stage = await open(2);
    const released = await stage.release(
      [TARGET],
      { strategy: "all-at-once", smokeTest: { command: ["test"], timeout: 60 } },
      { test: { code: 0 } },
    );
    expect(released.error).toBeUndefined();
    expect(released.tests).toHaveLength(1);
  });
});

describe("alarms", () => {
  test.each([
    ["ALARM", /the alarm web-5xx is in ALARM already/],
    ["INSUFFICIENT_DATA", /the alarm web-5xx is in INSUFFICIENT_DATA already/],
  ] as const)("in %s before anything: refused, nothing touched", async (state, says) => {
    await using stage = await open();
    stage.sandbox.autoScaling.setAlarm("web-5xx", state);
    const released = await stage.release([TARGET], { strategy: "rolling", alarms: ["web-5xx"] });
    expect((released.error as Error).message).toMatch(says);
    expect(statuses(stage)).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("that do not exist: refused by name", async () => {
    await using stage = await open();
    const released = await stage.release([TARGET], { strategy: "rolling", alarms: ["web-4xx"] });
    expect((released.error as Error).message).toContain("there is no alarm web-4xx");
  });
});

describe("time", () => {
  test("that runs out rolls back", async () => {
    await using stage = await open();
    stage.setHealth({ [stage.newImage]: { healthyAfter: 40 * MINUTE } });
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling", maxLaunchFailures: 100 },
      { timeout: 10 * MINUTE },
    );
    expect((released.error as RolloutError).rolledBack, released.log.join("\n")).toBe(true);
    expect((released.error as Error).message).toContain("the timeout of 10 min has passed");
    expect(statuses(stage)).toEqual(["RollbackSuccessful"]);
  });

  test("is not lost to AWS's hour: three failed replacements are enough, and the number can be set", async () => {
    await using stage = await open(4);
    stage.setHealth({ [stage.newImage]: { launchFailure: "We currently do not have sufficient capacity." } });
    const three = await stage.release([TARGET], { strategy: "rolling" });
    await using other = await open(4);
    other.setHealth({ [other.newImage]: { launchFailure: "We currently do not have sufficient capacity." } });
    const ten = await other.release([TARGET], { strategy: "rolling", maxLaunchFailures: 10 });
    expect((three.error as Error).message).toMatch(/[3-5] replacements failed/);
    expect((ten.error as Error).message).toMatch(/1[0-2] replacements failed/);
    expect(three.took).toBeLessThan(10 * MINUTE);
    expect(ten.took).toBeGreaterThan(three.took);
  });

  test.each([
    ["AWS's own", "canary", 0.5 * MINUTE],
    ["Kiln's own", "rolling", 1 * MINUTE],
  ] as const)(
    "is given to a way back too, %s: held up for good, it is left to AWS",
    async (_, strategy, takes) => {
      await using stage = await open(4);
      const { autoScaling, clock } = stage.sandbox;
      const suspend = (): void => {
        const [first, second] = statuses(stage);
        // With `rolling` the test comes when AWS has finished: the way back is a refresh of Kiln's.
        if (first === "RollbackInProgress" || second !== undefined)
          autoScaling.suspend("web", "InstanceRefresh");
        else clock.after(1000, suspend);
      };
      const released = await stage.release(
        [TARGET],
        { strategy, smokeTest: { command: ["false"], timeout: 60 } },
        { test: { code: 1, takes }, timeout: 60 * MINUTE, onStart: suspend },
      );
      const error = released.error as RolloutError;
      expect(error.message).toMatch(
        /the release failed and could not be rolled back: (?:the smoke test .* failed with exit code 1; then: )?the way back \(instance refresh \S+\) has taken longer than 1 h; it goes on in AWS by itself, held by this: the process InstanceRefresh is suspended: resume it/,
      );
      expect(error.state).toContain("smoke test of eu-west-1/web");
      expect(stage.records()).toEqual([]);
      expect(released.took).toBeLessThan(3 * 60 * MINUTE);
      autoScaling.resume("web", "InstanceRefresh");
      await stage.finishRun();
      expect(stage.locks()).toEqual([]);
    },
  );
});

describe("looks that fail", () => {
  test.each([
    ["throttling", 400, "Throttling"],
    ["RateExceeded", 400, "RateExceeded"],
    ["a server error", 503, "ServiceUnavailable"],
    ["contention", 500, "ResourceContention"],
  ])("now and then do not fail the rollout: %s", async (_, status, code) => {
    await using stage = await open();
    for (const skip of [2, 8, 15])
      stage.sandbox.faults.inject(
        DESCRIBE,
        { kind: "reply", status, code, message: "later" },
        { skip, times: 3 },
      );
    const released = await stage.release([TARGET], { strategy: "rolling" });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(stage.records()).toHaveLength(1);
  });

  test("for good leave the refresh to go on, and say that a re-run takes it up; which it does", async () => {
    await using stage = await open();
    stage.sandbox.faults.inject(
      DESCRIBE,
      { kind: "reply", status: 403, code: "AccessDenied", message: "no longer" },
      { skip: 3, times: 1 },
    );
    const released = await stage.release([TARGET], { strategy: "rolling" });
    expect(released.error).toBeInstanceOf(KilnError);
    expect((released.error as KilnError).message).toContain(
      "Stopped watching the instance refresh of eu-west-1/web",
    );
    expect((released.error as KilnError).next).toContain("it takes this refresh up");
    expect(statuses(stage)).toEqual(["InProgress"]);
    const again = await stage.release([TARGET], { strategy: "rolling" });
    expect(again.error, again.log.join("\n")).toBeUndefined();
    expect(again.log.join("\n")).toContain("is already running and is taken up");
    expect(statuses(stage)).toEqual(["Successful"]);
    expect(stage.records()).toEqual(["release/production/000001"]);
  });
});

describe("somebody else", () => {
  test("cancels our refresh half-way: Kiln goes back itself", async () => {
    await using stage = await open(4);
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling" },
      {
        onStart: () =>
          stage.sandbox.clock.after(4 * MINUTE, () => stage.call("CancelInstanceRefresh", "web")),
      },
    );
    expect((released.error as RolloutError).rolledBack, released.log.join("\n")).toBe(true);
    expect(statuses(stage)).toEqual(["Cancelled", "Successful"]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
  });

  test("wants a failed refresh left as it is (`auto-rollback: false`): it is, and that is said", async () => {
    await using stage = await open(4);
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling", autoRollback: false },
      {
        onStart: () =>
          stage.sandbox.clock.after(4 * MINUTE, () => stage.call("CancelInstanceRefresh", "web")),
      },
    );
    const error = released.error as RolloutError;
    expect(error.rolledBack).toBe(false);
    expect(error.message).toContain("eu-west-1/web: the rollout failed");
    expect(error.state).toMatch(
      /launches from version 1 of web .*; \d of 4 instances in service run the new version/,
    );
    expect(statuses(stage)).toEqual(["Cancelled"]);
  });

  test("scales the group out meanwhile: all instances are new at the end", async () => {
    await using stage = await open(4);
    const released = await stage.release(
      [TARGET],
      { strategy: "rolling" },
      {
        onStart: () =>
          stage.sandbox.clock.after(3 * MINUTE, () => stage.sandbox.autoScaling.setDesiredCapacity("web", 8)),
      },
    );
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(stage.running("web")).toEqual(Array.from({ length: 8 }, () => stage.newImage));
  });
});

describe("instances with a will of their own", () => {
  test("protected ones that are left alone: released around them, and then there is nothing to do", async () => {
    await using stage = await open(3);
    const [first] = stage.sandbox.autoScaling.group("web").members;
    stage.sandbox.autoScaling.setProtection("web", first?.instanceId ?? "", true);
    const settings = { strategy: "rolling", scaleInProtected: "ignore" } as const;
    const released = await stage.release([TARGET], settings);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toContain("protected from scale-in, is left on the old image");
    expect(stage.running("web").filter((image) => image === stage.oldImage)).toHaveLength(1);
    const again = await stage.release([TARGET], settings);
    expect(again.error).toBeUndefined();
    expect(statuses(stage)).toEqual(["Successful"]);
  });

  test("protected ones are replaced by default, and standby ones are not", async () => {
    await using stage = await open(4);
    const [first, second] = stage.sandbox.autoScaling.group("web").members;
    stage.sandbox.autoScaling.setProtection("web", first?.instanceId ?? "", true);
    stage.sandbox.autoScaling.enterStandby("web", second?.instanceId ?? "");
    const released = await stage.release([TARGET], { strategy: "rolling" });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toContain(`${second?.instanceId ?? "?"} in standby is not replaced`);
    expect(stage.running("web")).toEqual([stage.newImage, stage.newImage, stage.newImage]);
  });
});
