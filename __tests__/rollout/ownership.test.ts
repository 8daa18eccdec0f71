import { describe, expect, test } from "vitest";
import { RemoteError, TakenOverError } from "../../src/domain/errors.ts";
import { WatchLostError } from "../../src/rollout/refresh.ts";
import { FakeGroup, type Step } from "./fake-auto-scaling.ts";
import { failureOf, RELEASE, stage } from "./target-stage.ts";

/** Kiln changes a group only while it is its turn, and undoes only what it did itself. */

const web = () => new FakeGroup("eu-west-1", "web", ["i-w1", "i-w2"]);
const GOES_ON: Step = { Status: "InProgress", PercentageComplete: 50, InstancesToUpdate: 1 };
const CANCELLED: Step = { Status: "Cancelled", StatusReason: "cancelled by a user" };
const FIX = { LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "9" } };

/** Somebody cancels the running refresh in the console and starts one to version 9. */
function fixByHand(group: FakeGroup, course: Step[] = [GOES_ON]): void {
  const running = group.active;
  if (running === undefined) throw new Error("nothing is running");
  running.description.Status = "Cancelled";
  running.course.splice(0, Infinity, CANCELLED);
  group.courses.unshift(course);
  group.start({ AutoScalingGroupName: group.name, DesiredConfiguration: FIX });
}

describe("a refresh that somebody else started after cancelling the release's", () => {
  test.each([
    ["still runs", [GOES_ON]],
    ["has ended", [{ Status: "Successful" }]],
  ] as const)("is left alone when the release's test fails: it %s", async (_, course) => {
    const group = web();
    group.courses.push([GOES_ON]);
    const { run, ends } = stage([group], {
      changes: {
        pace: { capacity: 2, warmup: 60, preferences: { CheckpointPercentages: [50, 100] }, image: "ami" },
        check: async () => {
          fixByHand(group, [...course]);
          group.look("web-2");
          return { kind: "failed", why: "no answer on port 80" };
        },
      },
    });
    const error = await failureOf(run());
    expect(error).toMatchObject({
      rolledBack: false,
      message: expect.stringMatching(
        /^eu-west-1\/web: the release failed \(no answer on port 80\), and another instance refresh has changed the group since: web-2, /,
      ),
      state: "This run did not start that refresh and leaves it alone. Nothing was recorded.",
    });
    expect([group.rollbacks, group.cancels]).toEqual([0, 0]);
    expect(group.started).toHaveLength(2);
    expect(ends).toEqual(["web failed"]);
  });

  test("is left alone when another target fails", async () => {
    const [group, other] = [web(), new FakeGroup("us-east-1", "worker")];
    group.courses.push([GOES_ON]);
    other.courses.push([GOES_ON, GOES_ON, { Status: "RollbackSuccessful", StatusReason: "an alarm" }]);
    const { run } = stage([group, other], {
      beforeAnswer: (operation, asked) => {
        const ofOther = asked === other && operation === "DescribeInstanceRefreshes";
        if (ofOther && group.active?.description.InstanceRefreshId === "web-1") fixByHand(group);
      },
    });
    const error = await failureOf(run());
    expect(error.rolledBack).toBe(false);
    expect(error.state).toContain("another instance refresh has changed the group since: web-2");
    expect([group.rollbacks, group.cancels]).toEqual([0, 0]);
    expect(group.started).toHaveLength(2);
  });

  test("that AWS takes for the release's, because it began between look and request, is told", async () => {
    const group = web();
    group.courses.push([GOES_ON]);
    const { run } = stage([group], {
      changes: {
        pace: { capacity: 2, warmup: 60, preferences: { CheckpointPercentages: [50, 100] }, image: "ami" },
        check: async () => ({ kind: "failed", why: "no" }),
      },
      beforeAnswer: (operation) => {
        if (operation === "RollbackInstanceRefresh") fixByHand(group);
      },
    });
    await expect(run()).rejects.toThrow(
      "eu-west-1/web: the instance refresh web-1 ended just before it was to be rolled back, and AWS rolled back web-2 instead",
    );
  });
});

describe("a run that another one has taken over from", () => {
  const takenOver = () => new TakenOverError("bob's run holds its lock", { state: "s", next: "n" });

  test("starts nothing", async () => {
    const group = web();
    const states: string[] = [];
    const { run } = stage([group], {
      confirmTurn: async (state) => {
        states.push(state);
        throw takenOver();
      },
    });
    await expect(run()).rejects.toThrow(TakenOverError);
    expect(group.started).toEqual([]);
    expect(states).toEqual(["No instance refresh was started on eu-west-1/web."]);
  });

  test("between the look and the start has what it started rolled back", async () => {
    const group = web();
    let asked = 0;
    const { run } = stage([group], {
      confirmTurn: async () => {
        asked += 1;
        if (asked === 2) throw takenOver();
      },
    });
    await expect(run()).rejects.toMatchObject({ name: "TakenOverError", state: "s AWS rolls it back." });
    expect(group.rollbacks).toBe(1);
    expect(group.started).toHaveLength(1);
  });

  test("does not take back what it had released, nor any other target", async () => {
    const groups = [web(), new FakeGroup("us-east-1", "worker")] as const;
    let lost = false;
    const { run } = stage(groups, {
      changes: {
        check: async () => {
          lost = true;
          return { kind: "failed", why: "no" };
        },
      },
      confirmTurn: async () => {
        if (lost) throw takenOver();
      },
    });
    await expect(run()).rejects.toThrow("bob's run holds its lock");
    for (const group of groups) expect([group.rollbacks, group.started.length]).toEqual([0, 1]);
  });

  test("is not assumed while GitHub cannot be asked: a running refresh is followed to its end", async () => {
    const group = web();
    let asked = 0;
    const { run, log } = stage([group], {
      confirmTurn: async () => {
        asked += 1;
        if (asked === 2) throw new Error("GitHub is down");
      },
    });
    expect(await run()).toMatchObject([{ kind: "released" }]);
    expect(log.lines.join("\n")).toContain(
      "whether another run has taken over could not be asked: GitHub is down",
    );
  });
});

describe("a refresh of an earlier attempt", () => {
  test.each([
    ["still runs", [GOES_ON, GOES_ON, { Status: "Successful" }]],
    ["has ended well since it was seen", [{ Status: "Successful" }]],
  ] as const)("is adopted and not started again: it %s", async (_, course) => {
    const group = web();
    group.courses.push([...course]);
    group.start({ AutoScalingGroupName: "web", DesiredConfiguration: RELEASE });
    const { run } = stage([group], { seen: { ...group.active?.description } });
    expect(await run()).toMatchObject([{ kind: "released", refresh: { id: "web-1", adopted: true } }]);
    expect(group.started).toHaveLength(1);
  });

  test("that was rolled back since it was seen is not adopted: the release is started", async () => {
    const group = web();
    group.courses.push([{ Status: "RollbackSuccessful" }]);
    group.start({ AutoScalingGroupName: "web", DesiredConfiguration: RELEASE });
    const { run } = stage([group], { seen: { ...group.active?.description } });
    expect(await run()).toMatchObject([{ kind: "released", refresh: { id: "web-2", adopted: false } }]);
  });

  test("that ends between AWS's refusal of a start and the look is not started again", async () => {
    const group = web();
    group.courses.push([{ Status: "Successful" }]);
    group.start({ AutoScalingGroupName: "web", DesiredConfiguration: RELEASE });
    let refused = false;
    const { run } = stage([group], {
      beforeAnswer: (operation) => {
        if (operation === "StartInstanceRefresh") refused = true;
        else if (refused && operation === "DescribeInstanceRefreshes") group.look("web-1");
      },
    });
    expect(await run()).toMatchObject([{ kind: "released", refresh: { id: "web-1", adopted: true } }]);
    expect(group.started).toHaveLength(1);
  });
});

test("looks that fail in passing end with the timeout too", async () => {
  const group = web();
  const { run, clock } = stage([group], {
    timeout: 5000,
    beforeAnswer: (operation) => {
      if (operation !== "DescribeInstanceRefreshes") return;
      clock.pass(2000);
      throw new RemoteError("Rate exceeded", { code: "Throttling" });
    },
  });
  const began = clock.now().getTime();
  await expect(run()).rejects.toThrow(
    "Stopped watching the instance refresh of eu-west-1/web: Rate exceeded",
  );
  expect(clock.now().getTime() - began).toBeLessThan(20_000);
});

test("a refresh that AWS does not show is not looked for longer than the timeout", async () => {
  const group = web();
  const { run, clock } = stage([group], {
    timeout: 5000,
    beforeAnswer: (operation) => {
      // Answers are empty from the moment in which it was started.
      if (operation === "DescribeInstanceRefreshes") group.refreshes.length = 0;
    },
  });
  const began = clock.now().getTime();
  const error: unknown = await run().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(WatchLostError);
  expect(error).toMatchObject({
    message: "AWS has not shown the instance refresh web-1 of eu-west-1/web for 5 s",
    state: "Whether the refresh goes on is not known. Nothing was recorded.",
  });
  expect(clock.now().getTime() - began).toBeLessThan(15_000);
});
