import { describe, expect, test } from "vitest";
import type { RolloutError } from "../../src/domain/errors.ts";
import type { RolloutSettings } from "../../src/domain/application.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { type Released, ReleaseStage } from "./release-stage.ts";

/** "Finished" is not "tested": a record says only what was verified and tested, and a check that fails to be made has failed. */

const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const SMOKE_TEST = { command: ["test"], timeout: 60 } as const;
const CANARY: RolloutSettings = { strategy: "canary", smokeTest: { command: ["test"], timeout: 60 } };
const MINUTE = 60_000;

async function open(desired = 4): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", desired);
  await stage.record("production", 1, stage.oldImage as `ami-${string}`);
  return stage;
}

const statuses = (stage: ReleaseStage): string[] =>
  stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status);

const trailer = (stage: ReleaseStage, key: string): string[] =>
  stage
    .message(stage.records().at(-1) ?? "")
    .split("\n")
    .filter((line) => line.startsWith(`${key}: `));

const textOf = ({ error, log }: Released): string => {
  const { message = "", state = "", next = "" } = (error ?? {}) as Partial<RolloutError>;
  return [message, state, next, ...log].join("\n");
};

/** A run that brings the new image into service and dies before it tests: AWS finishes alone. */
async function diesInRollout(stage: ReleaseStage): Promise<void> {
  stage.sandbox.faults.inject(
    { action: "DescribeInstanceRefreshes" },
    { kind: "reply", status: 403, code: "AccessDenied", message: "the machine is gone" },
    { skip: 2, times: Infinity },
  );
  await stage.release([TARGET], { strategy: "all-at-once", smokeTest: SMOKE_TEST });
  stage.sandbox.faults.clear();
  await stage.finishRun();
  await stage.time.run(stage.time.sleep(60 * MINUTE));
  expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
  expect(stage.records()).toEqual(["release/production/000001"]);
}

const again = (stage: ReleaseStage, code: number): Promise<Released> =>
  stage.release([TARGET], { strategy: "all-at-once", smokeTest: SMOKE_TEST }, { test: { code } });

describe("an image in service that no release records", () => {
  test("is verified and tested before it is recorded, without another refresh", async () => {
    await using stage = await open();
    await diesInRollout(stage);
    const released = await again(stage, 0);
    expect(released.error, textOf(released)).toBeUndefined();
    expect(textOf(released)).toContain(
      "already, but no release records that: verify and test it, and revert it",
    );
    expect(released.tests).toMatchObject([{ KILN_CHECKPOINT: "100", KILN_IMAGE_ID: stage.newImage }]);
    expect(statuses(stage)).toEqual(["Successful"]);
    expect(stage.records()).toHaveLength(2);
    expect([...trailer(stage, "Verified"), ...trailer(stage, "Smoke-Test")]).toEqual([
      "Verified: 4 of 4",
      "Smoke-Test: passed",
    ]);
  });

  test("is reverted if its test fails", async () => {
    await using stage = await open();
    await diesInRollout(stage);
    const released = await again(stage, 3);
    expect((released.error as RolloutError).rolledBack, textOf(released)).toBe(true);
    expect(textOf(released)).toContain("failed with exit code 3");
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
    expect(stage.records()).toEqual(["release/production/000001"]);
    // What ran before is known again: the next run is a rollout like any other.
    const next = await again(stage, 0);
    expect(next.error, textOf(next)).toBeUndefined();
    expect(stage.records()).toHaveLength(2);
  });

  test("is not reverted by guess if AWS does not tell what ran before", async () => {
    await using stage = await open();
    const { id } = stage.sandbox.ec2.addLaunchTemplate(HOME, "by-hand", {
      ImageId: stage.newImage,
      InstanceType: "t3.small",
    });
    stage.addGroup("other", 2, { launchTemplate: { launchTemplateId: id, version: "1" } });
    await stage.record("production", 2, stage.oldImage as `ami-${string}`, "other");
    const target = { region: HOME.region, autoScalingGroup: "other" };
    const released = await stage.release(
      [target],
      { strategy: "rolling", smokeTest: SMOKE_TEST },
      { test: { code: 3 } },
    );
    expect((released.error as RolloutError).rolledBack).toBe(false);
    expect(textOf(released)).toContain("which was not released, and could not be reverted");
    expect(stage.sandbox.autoScaling.refreshes("other")).toEqual([]);
    expect(stage.records()).toEqual(["release/production/000001", "release/production/000002"]);
  });
});

describe("a smoke test that failed right before the process died", () => {
  /** The test fails at the end, and every request of the reversion too. */
  async function failsAndDies(stage: ReleaseStage): Promise<void> {
    const no = { kind: "reply", status: 403, code: "AccessDenied", message: "no" } as const;
    stage.sandbox.faults.inject({ action: "StartInstanceRefresh" }, no, { skip: 1, times: Infinity });
    const released = await again(stage, 3);
    stage.sandbox.faults.clear();
    expect((released.error as RolloutError).rolledBack, textOf(released)).toBe(false);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
  }

  test("is known to the next run, which reverts the image without testing it again", async () => {
    await using stage = await open();
    await failsAndDies(stage);
    const released = await again(stage, 0);
    expect((released.error as RolloutError).rolledBack, textOf(released)).toBe(true);
    expect(textOf(released)).toContain("which ended before it reverted this");
    expect(released.tests).toEqual([]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
    expect(stage.refs("refs/kiln/failed-test/**")).toEqual([]);
  });

  test("says nothing of a later refresh, which is tested", async () => {
    await using stage = await open();
    await failsAndDies(stage);
    // Somebody refreshes the group once more, to what it launches from already.
    stage.call("StartInstanceRefresh", "web");
    await stage.time.run(stage.time.sleep(60 * MINUTE));
    const released = await again(stage, 0);
    expect(released.error, textOf(released)).toBeUndefined();
    expect(released.tests).toHaveLength(1);
  });
});

describe("a check that cannot be made at the canary's checkpoint", () => {
  const denied = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "denied" } as const;
  const throttled = {
    kind: "reply",
    status: 503,
    code: "RequestLimitExceeded",
    message: "slower",
  } as const;
  const unknown = {
    kind: "reply",
    status: 400,
    code: "InvalidInstanceID.NotFound",
    message: "The instance ID does not exist",
  } as const;

  test.each([
    ["denied", denied],
    ["throttled for good", throttled],
  ])("%s: the canary is rolled back", async (_, effect) => {
    await using stage = await open();
    stage.sandbox.faults.inject({ action: "DescribeInstances" }, effect, { times: Infinity });
    const released = await stage.release([TARGET], CANARY, { test: { code: 0 } });
    expect((released.error as RolloutError).rolledBack, textOf(released)).toBe(true);
    expect(textOf(released)).toContain("its instances could not be looked up");
    expect(statuses(stage)).toEqual(["RollbackSuccessful"]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
    expect(stage.records()).toHaveLength(1);
  });

  test.each([
    ["throttled for a while", throttled, 9],
    ["an instance that is not known once", unknown, 1],
  ])("%s: it is made a little later", async (_, effect, times) => {
    await using stage = await open();
    stage.sandbox.faults.inject({ action: "DescribeInstances" }, effect, { times });
    const released = await stage.release([TARGET], CANARY, { test: { code: 0 } });
    expect(released.error, textOf(released)).toBeUndefined();
    expect(released.tests.map(({ KILN_CHECKPOINT }) => KILN_CHECKPOINT)).toEqual(["25", "100"]);
  });

  test("nor rolled back: the error says that AWS goes on, and how to stop it", async () => {
    await using stage = await open();
    stage.sandbox.faults.inject({ action: "DescribeInstances" }, denied, { times: Infinity });
    const no = { kind: "reply", status: 403, code: "AccessDenied", message: "no" } as const;
    stage.sandbox.faults.inject({ action: "RollbackInstanceRefresh" }, no, { times: Infinity });
    const released = await stage.release([TARGET], CANARY, { test: { code: 0 } });
    const error = released.error as RolloutError;
    expect(error.rolledBack).toBe(false);
    expect(error.state).toContain(
      "AWS goes on with it by itself, also past a checkpoint that was not tested",
    );
    expect(error.next).toContain(
      "aws autoscaling rollback-instance-refresh --region eu-west-1 --auto-scaling-group-name 'web'",
    );
  });
});

describe("a group without an instance in service", () => {
  test("that wants one is waited for: the only one was just being replaced", async () => {
    await using stage = await open(1);
    const { autoScaling, clock } = stage.sandbox;
    const terminate = (): void => {
      if (statuses(stage)[0] !== "Successful") return void clock.after(1000, terminate);
      const [member] = autoScaling.group("web").members;
      stage.call("TerminateInstanceInAutoScalingGroup", "web", {
        InstanceId: member?.instanceId ?? "",
        ShouldDecrementDesiredCapacity: "false",
      });
    };
    const released = await stage.release([TARGET], { strategy: "rolling" }, { onStart: terminate });
    expect(released.error, textOf(released)).toBeUndefined();
    expect(trailer(stage, "Verified")).toEqual(["Verified: 1 of 1"]);
  });

  test("that wants one has not been verified, and is reverted", async () => {
    await using stage = await open(1);
    const { autoScaling, clock } = stage.sandbox;
    const terminate = (): void => {
      if (statuses(stage)[0] !== "Successful") return void clock.after(1000, terminate);
      stage.setHealth({ [stage.newImage]: { launchFailure: "no capacity" } });
      const ids = autoScaling.group("web").members.map(({ instanceId }) => instanceId);
      for (const instanceId of ids) {
        stage.call("TerminateInstanceInAutoScalingGroup", "web", {
          InstanceId: instanceId,
          ShouldDecrementDesiredCapacity: "false",
        });
      }
    };
    const released = await stage.release([TARGET], { strategy: "rolling" }, { onStart: terminate });
    expect((released.error as RolloutError).rolledBack, textOf(released)).toBe(true);
    expect(textOf(released)).toContain("no instance is in service, although the group wants 1");
    expect(stage.records()).toEqual(["release/production/000001"]);
  });

  test("that wants none is released with a warning, and the record says so", async () => {
    await using stage = await open(0);
    const released = await stage.release([TARGET], CANARY, { test: { code: 3 } });
    expect(released.error, textOf(released)).toBeUndefined();
    expect(released.tests).toEqual([]);
    expect(textOf(released)).toContain("warning: eu-west-1/web: the group's desired capacity is 0");
    expect([...trailer(stage, "Verified"), ...trailer(stage, "Smoke-Test")]).toEqual([
      "Verified: 0 of 0",
      "Smoke-Test: not-run",
    ]);
  });
});
