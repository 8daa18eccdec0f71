import { describe, expect, test } from "vitest";
import { CancelledError, RemoteError } from "../../src/domain/errors.ts";
import type { TargetsOptions } from "../../src/rollout/targets.ts";
import { WatchLostError } from "../../src/rollout/refresh.ts";
import { FakeGroup, type Step } from "./fake-auto-scaling.ts";
import { failureOf, IMAGE, RELEASE, rolloutOf, SAVED, stage } from "./target-stage.ts";

const web = () => new FakeGroup("eu-west-1", "web", ["i-w1", "i-w2"]);
const worker = () => new FakeGroup("us-east-1", "worker", ["i-x1", "i-x2"]);
const versionsOf = (group: FakeGroup): string[] => group.instances.map(({ version }) => version);

const GOES_ON: Step = { Status: "InProgress", PercentageComplete: 50, InstancesToUpdate: 1 };
/** So many looks that show the same. */
const times = (looks: number, step: Step): Step[] => Array.from({ length: looks }, () => step);
const DONE: Step = { Status: "Successful", PercentageComplete: 100, InstancesToUpdate: 0 };
/** Rolled back by AWS, after so many looks. */
const rolledBack = (looks: number): Step[] => [
  ...times(looks, GOES_ON),
  { Status: "RollbackSuccessful", StatusReason: "the alarm web-5xx" },
];
const FAILED: Step[] = [GOES_ON, { Status: "Failed", StatusReason: "no capacity" }];
const LOST = new RemoteError("The role may not look", { code: "AccessDenied" });
const IRREVERSIBLE = new RemoteError("cannot", { code: "IrreversibleInstanceRefresh" });

describe("a release of several targets", () => {
  test.each(["parallel", "sequential"] as const)("is one where all succeed, %s", async (order) => {
    const groups = [web(), worker()];
    const { run, ends, started } = stage(groups);
    expect(await run(order)).toMatchObject([
      {
        kind: "released",
        refresh: { id: "web-1", adopted: false, took: 300_000 },
        inService: 2,
        checked: "none",
        verified: [{ id: "i-w1" }, { id: "i-w2" }],
      },
      { kind: "released", refresh: { id: "worker-1" }, verified: [{ id: "i-x1" }, { id: "i-x2" }] },
    ]);
    expect(ends).toStrictEqual(["web released", "worker released"]);
    expect(started).toStrictEqual(["web-1", "worker-1"]);
    expect(groups.map(({ version }) => version)).toStrictEqual(["8", "8"]);
    expect(groups.flatMap((group) => group.started)).toMatchObject([
      { Strategy: "Rolling", DesiredConfiguration: RELEASE },
      { Strategy: "Rolling", DesiredConfiguration: RELEASE },
    ]);
  });

  test("begins with all at once in parallel, and with the second after the first in turn", async () => {
    const order = async (how: TargetsOptions["order"]): Promise<string[]> => {
      const seen: string[] = [];
      const groups = [web(), worker()];
      groups[0]?.courses.push([GOES_ON, GOES_ON, DONE]);
      const { run } = stage(groups, {
        beforeAnswer: (operation, group) => {
          if (operation === "StartInstanceRefresh") seen.push(`${group.name} starts`);
          if (operation === "DescribeAutoScalingGroups") seen.push(`${group.name} is verified`);
        },
      });
      await run(how);
      return seen;
    };
    expect((await order("parallel")).slice(0, 2)).toStrictEqual(["web starts", "worker starts"]);
    expect(await order("sequential")).toStrictEqual([
      "web starts",
      "web is verified",
      "worker starts",
      "worker is verified",
    ]);
  });

  test("in turn stops at the first that fails, and leaves the rest untouched", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push(rolledBack(2));
    const { run, ends } = stage(groups);
    const error = await failureOf(run("sequential"));
    expect(error.message).toBe("eu-west-1/web: the rollout was rolled back: the alarm web-5xx");
    expect(error.rolledBack).toBe(true);
    expect(error.state?.split("\n").slice(0, 3)).toStrictEqual([
      "Where each target ended:",
      "- eu-west-1/web: back on what it ran before",
      "- us-east-1/worker: untouched",
    ]);
    expect(error.next).toContain("runs what it ran before");
    expect(ends.toSorted()).toStrictEqual(["web rolled-back", "worker unchanged"]);
    expect(groups[1].started).toStrictEqual([]);
  });

  test.each(["parallel", "sequential"] as const)(
    "that cannot be prepared are untouched, %s: nothing was rolled back",
    async (order) => {
      const groups = [web(), worker()] as const;
      const { run, ends } = stage(groups, { unprepared: "the copy of the image failed" });
      const error = await failureOf(run(order));
      expect(error.message).toBe("the copy of the image failed");
      expect(error.rolledBack).toBe(false);
      expect(error.state).toContain("- eu-west-1/web: untouched\n- us-east-1/worker: untouched");
      expect(ends.toSorted()).toStrictEqual(["web unchanged", "worker unchanged"]);
      expect(groups.flatMap((group) => group.started)).toStrictEqual([]);
    },
  );

  test("in turn takes the first back when the second fails", async () => {
    const groups = [web(), worker(), new FakeGroup("ap-south-1", "cron")] as const;
    groups[1].courses.push(rolledBack(2));
    const { run, ends } = stage(groups);
    const error = await failureOf(run("sequential"));
    expect(error.rolledBack).toBe(true);
    expect(groups.map((group) => group.started.length)).toStrictEqual([2, 1, 0]);
    expect(groups.map(versionsOf)).toStrictEqual([
      ["7", "7"],
      ["7", "7"],
      ["7", "7"],
    ]);
    expect(ends[0]).toBe("web released");
    expect(ends.slice(1).toSorted()).toStrictEqual([
      "cron unchanged",
      "web rolled-back",
      "worker rolled-back",
    ]);
  });

  test("refreshes back what had finished when another was rolled back", async () => {
    const groups = [web(), worker()] as const;
    groups[1].courses.push(rolledBack(10));
    const { run, ends, started, log } = stage(groups);
    const error = await failureOf(run());
    expect(groups[0].started[1]).toStrictEqual({
      AutoScalingGroupName: "web",
      Strategy: "Rolling",
      DesiredConfiguration: SAVED,
      Preferences: {
        MinHealthyPercentage: 100,
        MaxHealthyPercentage: 150,
        InstanceWarmup: 60,
        ScaleInProtectedInstances: "Refresh",
        StandbyInstances: "Ignore",
        SkipMatching: true,
        AutoRollback: false,
      },
    });
    expect(groups[0].rollbacks).toBe(0);
    expect(groups.map(versionsOf)).toStrictEqual([
      ["7", "7"],
      ["7", "7"],
    ]);
    expect(started).toStrictEqual(["web-1", "worker-1", "web-2"]);
    expect(error).toMatchObject({
      message: "us-east-1/worker: the rollout was rolled back: the alarm web-5xx",
      rolledBack: true,
    });
    expect(error.state?.split("\n").slice(0, 3)).toStrictEqual([
      "Where each target ended:",
      "- eu-west-1/web: back on what it ran before",
      "- us-east-1/worker: back on what it ran before",
    ]);
    expect(ends.slice(0, 1)).toStrictEqual(["web released"]);
    expect(ends.slice(1).toSorted()).toStrictEqual(["web rolled-back", "worker rolled-back"]);
    expect(log.lines.find((line) => line.startsWith("warning: eu-west-1/web"))).toContain(
      "us-east-1/worker failed, and targets go together",
    );
  });

  test("has AWS roll back what is under way when another fails", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([GOES_ON]);
    groups[1].courses.push(rolledBack(3));
    const { run } = stage(groups);
    const error = await failureOf(run());
    expect(error.message).toBe("us-east-1/worker: the rollout was rolled back: the alarm web-5xx");
    expect(error.rolledBack).toBe(true);
    expect(groups[0]).toMatchObject({ rollbacks: 1, cancels: 0, version: "7" });
    expect(groups[0].started).toHaveLength(1);
    expect(versionsOf(groups[0])).toStrictEqual(["7", "7"]);
  });

  test("cancels what AWS cannot roll back, and refreshes it back", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([GOES_ON]);
    groups[0].onRollback = IRREVERSIBLE;
    groups[1].courses.push(rolledBack(3));
    const { run } = stage(groups);
    const error = await failureOf(run());
    expect(error.rolledBack).toBe(true);
    expect(groups[0].cancels).toBe(1);
    expect(groups[0].started.map(({ DesiredConfiguration }) => DesiredConfiguration)).toStrictEqual([
      RELEASE,
      SAVED,
    ]);
    expect(versionsOf(groups[0])).toStrictEqual(["7", "7"]);
  });

  test("waits for a target that AWS is rolling back already when another fails", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([
      GOES_ON,
      ...times(8, { Status: "RollbackInProgress", PercentageComplete: 20 }),
      { Status: "RollbackSuccessful", StatusReason: "the alarm web-5xx" },
    ]);
    groups[1].courses.push(rolledBack(3));
    const { run, ends } = stage(groups);
    const error = await failureOf(run());
    expect(error.rolledBack).toBe(true);
    expect(groups[0].started).toHaveLength(1);
    expect(groups[0].refreshes[0]?.description.Status).toBe("RollbackSuccessful");
    expect(versionsOf(groups[0])).toStrictEqual(["7", "7"]);
    expect(ends.toSorted()).toStrictEqual(["web rolled-back", "worker rolled-back"]);
  });

  test("leaves a target that another refresh is in the way of as it is, and takes the other back", async () => {
    const groups = [web(), worker()] as const;
    groups[1].start({ AutoScalingGroupName: "worker" });
    groups[1].courses.push([]);
    const { run, ends } = stage(groups);
    const error = await failureOf(run());
    expect(error.message).toContain("Another instance refresh of us-east-1/worker is in the way");
    expect(error.rolledBack).toBe(true);
    expect(error.state).toContain("- us-east-1/worker: untouched");
    expect(groups[1]).toMatchObject({ rollbacks: 0, cancels: 0 });
    expect(versionsOf(groups[0])).toStrictEqual(["7", "7"]);
    expect(ends).toContain("worker unchanged");
  });

  test("does not undo the other where one can only not be seen any more", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([GOES_ON, LOST]);
    groups[1].courses.push([...times(10, GOES_ON), DONE]);
    const { run, ends } = stage(groups);
    const error: unknown = await run().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(WatchLostError);
    expect(error).toMatchObject({ next: expect.stringContaining("Run the job again") });
    expect(ends).toStrictEqual(["worker released"]);
    expect(groups.map(({ rollbacks, started }) => [rollbacks, started.length])).toStrictEqual([
      [0, 1],
      [0, 1],
    ]);
    expect(versionsOf(groups[1])).toStrictEqual(["8", "8"]);
  });

  test("in turn does not begin with the second where the first cannot be seen any more", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([LOST]);
    const { run } = stage(groups);
    await expect(run("sequential")).rejects.toBeInstanceOf(WatchLostError);
    expect(groups[1].started).toStrictEqual([]);
  });

  test("blames the target that failed, not the one that could not be seen any more", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([LOST, GOES_ON]);
    groups[1].courses.push(rolledBack(5));
    const error = await failureOf(stage(groups).run());
    expect(error.message).toBe("us-east-1/worker: the rollout was rolled back: the alarm web-5xx");
    expect(groups[0].rollbacks).toBe(1);
  });

  test("sees a look that fails in passing again", async () => {
    const group = web();
    const throttled = new RemoteError("slower", { code: "Throttling" });
    group.courses.push([throttled, throttled, GOES_ON, throttled, DONE]);
    await expect(stage([group]).run()).resolves.toMatchObject([{ kind: "released" }]);
  });
});

describe("the worst case", () => {
  test("names each instance where the way back fails", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([DONE], FAILED);
    groups[1].courses.push(rolledBack(10));
    const { run, ends } = stage(groups);
    const error = await failureOf(run());
    expect(error.rolledBack).toBe(false);
    expect(error.message).toBe("us-east-1/worker: the rollout was rolled back: the alarm web-5xx");
    expect(error.state).toContain("- eu-west-1/web: NOT back: see below");
    expect(error.state).toContain(
      "eu-west-1/web: the release failed and could not be rolled back: the refresh back ended failed: no capacity",
    );
    expect(error.state).toContain(
      "The release failed because: us-east-1/worker failed, and targets go together.",
    );
    expect(error.state).toContain("- i-w1: version 7, InService, healthy");
    expect(error.state).toContain("- i-w2: version 8, InService, healthy");
    expect(error.next).toContain("`command: rollback`");
    expect(ends).toContain("web failed");
  });

  test("names each instance where AWS's own rollback fails", async () => {
    const group = web();
    group.courses.push([GOES_ON, { Status: "RollbackFailed", StatusReason: "no quota" }]);
    const { run, ends } = stage([group]);
    const error = await failureOf(run());
    expect(error).toMatchObject({
      rolledBack: false,
      message: "eu-west-1/web: the release failed and could not be rolled back: no quota",
    });
    expect(error.state).toContain("- i-w1: version 8, InService, healthy");
    expect(error.state).toContain("- i-w2: version 7, InService, healthy");
    expect(group.started).toHaveLength(1);
    expect(ends).toStrictEqual(["web failed"]);
  });

  test("of one target does not keep another from going back", async () => {
    const groups = [web(), worker()] as const;
    groups[0].courses.push([GOES_ON, { Status: "RollbackFailed", StatusReason: "no quota" }]);
    const error = await failureOf(stage(groups).run());
    expect(error.rolledBack).toBe(false);
    expect(error.state).toContain("- us-east-1/worker: back on what it ran before");
    expect(versionsOf(groups[1])).toStrictEqual(["7", "7"]);
  });

  test("says so where the group cannot be read either", async () => {
    const group = web();
    let isGone = false;
    group.courses.push([GOES_ON, { Status: "RollbackFailed", StatusReason: "no quota" }]);
    const { run } = stage([group], {
      beforeAnswer: (operation) => {
        isGone ||= operation === "DescribeScalingActivities";
        if (isGone && operation === "DescribeAutoScalingGroups") throw LOST;
      },
    });
    expect((await failureOf(run())).state).toContain("The group could not be read.");
  });
});

describe("a release of one target", () => {
  test("that failed is refreshed back, and says that it is", async () => {
    const group = web();
    group.courses.push(FAILED);
    const { run, ends } = stage([group]);
    const error = await failureOf(run());
    expect(error).toMatchObject({
      message: "eu-west-1/web: the rollout was rolled back: no capacity",
      rolledBack: true,
    });
    expect(error.state).toContain(
      "The group launches from version 7 of web (ami-of-7); 0 of 2 instances in service run the new version.",
    );
    expect(group.started.map(({ DesiredConfiguration }) => DesiredConfiguration)).toStrictEqual([
      RELEASE,
      SAVED,
    ]);
    expect(ends).toStrictEqual(["web rolled-back"]);
  });

  test("that failed is left where the user wants that", async () => {
    const group = web();
    group.courses.push(FAILED);
    const { run, ends } = stage([group], { changes: { mayGoBack: false } });
    const error = await failureOf(run());
    expect(error).toMatchObject({
      message: "eu-west-1/web: the rollout failed: no capacity",
      rolledBack: false,
    });
    expect(error.state).toContain("1 of 2 instances in service run the new version.");
    expect(group.started).toHaveLength(1);
    expect(group.rollbacks).toBe(0);
    expect(ends).toStrictEqual(["web failed"]);
  });

  test("goes back where the check at the end does not pass", async () => {
    const group = web();
    const { run } = stage([group], {
      changes: { check: async (percentage) => ({ kind: "failed", why: `no at ${percentage} %` }) },
    });
    const error = await failureOf(run());
    expect(error.message).toBe("eu-west-1/web: the rollout was rolled back: no at 100 %");
    expect(versionsOf(group)).toStrictEqual(["7", "7"]);
  });

  test("is checked once while it bakes, and not again at the end", async () => {
    const group = web();
    const checked: number[] = [];
    const baking: Step = { Status: "Baking", PercentageComplete: 100, InstancesToUpdate: 0 };
    group.courses.push([GOES_ON, baking, baking, DONE]);
    const { run } = stage([group], {
      changes: {
        check: async (percentage) => {
          checked.push(percentage);
          return { kind: "passed" };
        },
      },
    });
    await run();
    expect(checked).toStrictEqual([100]);
  });

  test("is rolled back by AWS where the check at a checkpoint does not pass", async () => {
    const group = web();
    group.courses.push([GOES_ON]);
    const checked: number[] = [];
    const { run } = stage([group], {
      changes: {
        pace: {
          capacity: 2,
          warmup: 60,
          preferences: { CheckpointPercentages: [50, 100], CheckpointDelay: 600 },
          image: IMAGE,
        },
        check: async (percentage) => {
          checked.push(percentage);
          return { kind: "failed", why: "the test failed" };
        },
      },
    });
    const error = await failureOf(run());
    expect(error.message).toBe("eu-west-1/web: the rollout was rolled back: the test failed");
    expect(checked).toStrictEqual([50]);
    expect(group).toMatchObject({ rollbacks: 1, version: "7" });
    expect(group.started).toHaveLength(1);
  });

  test.each<[what: string, maxFailures: number, rollbacks: number]>([
    ["is rolled back by AWS once too many replacements failed", 3, 1],
    ["goes on while fewer replacements failed than may", 4, 0],
  ])("%s", async (_, maxFailures, rollbacks) => {
    const group = web();
    group.courses.push([...times(60, GOES_ON), DONE]);
    const reason = "The AMI ID ami-1 does not exist.";
    group.activities = [1, 2, 3].map((minute) => ({
      ActivityId: String(minute),
      AutoScalingGroupName: "web",
      Cause: "",
      StartTime: new Date(Date.parse("2026-11-18T10:00:00Z") + minute * 60_000),
      Description: "Launching a new EC2 instance",
      StatusCode: "Failed",
      StatusMessage: reason,
    }));
    const { run } = stage([group], { changes: { maxFailures } });
    const message = await run().then(
      () => "released",
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    expect(message).toBe(
      rollbacks === 0
        ? "released"
        : `eu-west-1/web: the rollout was rolled back: 3 replacements failed (${reason} (3 times))`,
    );
    expect(group.rollbacks).toBe(rollbacks);
  });

  test("does not look at replacements while the next change is not overdue", async () => {
    const group = web();
    let asked = 0;
    const { run } = stage([group], {
      beforeAnswer: (operation) => {
        if (operation === "DescribeScalingActivities") asked += 1;
      },
    });
    group.courses.push([GOES_ON, GOES_ON, DONE]);
    await run();
    expect(asked).toBe(0);
  });

  test("is rolled back when its time is over", async () => {
    const group = web();
    group.courses.push([GOES_ON]);
    const error = await failureOf(stage([group], { timeout: 600_000 }).run());
    expect(error.message).toBe(
      "eu-west-1/web: the rollout was rolled back: the timeout of 10 min has passed",
    );
    expect(group.rollbacks).toBe(1);
  });

  test("is not sent forward again when the way back takes longer than its time", async () => {
    const group = web();
    group.courses.push([DONE], [...times(300, GOES_ON), DONE]);
    const { run } = stage([group], {
      changes: { check: async () => ({ kind: "failed", why: "no" }) },
      timeout: 600_000,
    });
    await run().catch(() => {});
    expect(group.rollbacks).toBe(0);
  });

  test("counts as back although an instance that is left alone was on an older version before", async () => {
    const group = web();
    group.courses.push(FAILED);
    group.instances = [...group.instances, { id: "i-w3", version: "5", isProtected: true }];
    const rollout = rolloutOf(group);
    const { run } = stage([group], {
      changes: { preferences: { ...rollout.preferences, ScaleInProtectedInstances: "Ignore" } },
    });
    expect(await failureOf(run())).toMatchObject({
      rolledBack: true,
      message: "eu-west-1/web: the rollout was rolled back: no capacity",
    });
  });
});

describe("a cancelled run", () => {
  const REASON = new CancelledError("cancelled");

  test("ends with the reason, and nothing more is asked of AWS", async () => {
    const groups = [web(), worker()] as const;
    const cancel = new AbortController();
    groups[0].courses.push([GOES_ON]);
    groups[1].courses.push([GOES_ON]);
    let looks = 0;
    const { run, ends } = stage(groups, {
      signal: cancel.signal,
      beforeAnswer: () => {
        looks += 1;
        if (looks === 8) cancel.abort(REASON);
      },
    });
    await expect(run()).rejects.toBe(REASON);
    expect(groups.map(({ rollbacks }) => rollbacks)).toStrictEqual([0, 0]);
    expect(ends).toStrictEqual([]);
  });

  test("that had not begun starts nothing", async () => {
    const groups = [web(), worker()] as const;
    await expect(stage(groups, { signal: AbortSignal.abort(REASON) }).run()).rejects.toBe(REASON);
    expect(groups.flatMap(({ started }) => started)).toStrictEqual([]);
  });

  test("ends with the reason on the way back too", async () => {
    const groups = [web(), worker()] as const;
    const cancel = new AbortController();
    groups[0].courses.push([DONE], [GOES_ON]);
    groups[1].courses.push(rolledBack(10));
    const { run } = stage(groups, {
      signal: cancel.signal,
      beforeAnswer: (_, group) => {
        if (group.started.length === 2) cancel.abort(REASON);
      },
    });
    await expect(run()).rejects.toBe(REASON);
  });
});
