import { describe, expect, test } from "vitest";
import { minute, refusal, second, setStage } from "./autoscaling-stage.ts";
import { mixed, setMixedStage } from "./autoscaling-mixed.ts";
import type { GroupRequest } from "../../sandbox/aws/autoscaling/world.ts";

const before = [{ type: "m5.large", image: "ami-old" }];
const after = [{ type: "m5.large", image: "ami-new" }];

type Stage = ReturnType<typeof setStage>;

function start(stage: Stage, desired: Record<string, string>, preferences: Record<string, unknown> = {}) {
  const fields = [
    ...Object.entries(preferences).map(([key, value]) => [`Preferences.${key}`, String(value)] as const),
    ...Object.entries(desired).map(([key, value]) => [`DesiredConfiguration.${key}`, value] as const),
  ];
  return stage.call("StartInstanceRefresh", { Strategy: "ReplaceRootVolume", ...Object.fromEntries(fields) });
}

const rooted = (group: Partial<GroupRequest> & { readonly settled?: boolean } = {}) =>
  setMixedStage(before, { desired: 2, ...group });

/** The states of the first member, in order and without repetitions. */
function states(stage: Stage, ...until: string[]) {
  const seen: (string | undefined)[] = [];
  stage.clock.runUntil(() => {
    const state = stage.members()[0]?.lifecycleState;
    if (seen.at(-1) !== state) seen.push(state);
    return until.includes(stage.refresh().Status);
  });
  return seen;
}

describe("the ReplaceRootVolume strategy", () => {
  test("gives instances another image, one at a time, and keeps their ids", () => {
    const stage = rooted();
    const ids = stage.members().map((member) => member.instanceId);
    const watch = stage.world.watchHealthy("web");
    start(stage, mixed("1", after), { InstanceWarmup: 60 });
    expect(states(stage, "Successful")).toStrictEqual([
      "InService",
      "ReplacingRootVolume",
      "RootVolumeReplaced",
      "InService",
    ]);
    // Two seconds pending, then twice a minute for the volume, a second, and a minute of warm-up.
    expect(stage.seconds()).toBe(2 + 2 * (60 + 1 + 60));
    expect(watch.lowest()).toBe(1);
    expect(stage.members().map((member) => member.instanceId)).toStrictEqual(ids);
    expect(stage.fleet.launches).toHaveLength(2);
    expect(stage.call("DescribeAutoScalingGroups")["AutoScalingGroups"]).toMatchObject({
      member: [{ Instances: { member: [{ ImageId: "ami-new" }, { ImageId: "ami-new" }] } }],
    });
    expect(stage.call("DescribeInstanceRefreshes")["InstanceRefreshes"]).toMatchObject({
      member: [{ Strategy: "ReplaceRootVolume", PercentageComplete: 100, InstancesToUpdate: 0 }],
    });
    const [override] =
      stage.world.group("web").configuration.mixedInstancesPolicy?.launchTemplate.overrides ?? [];
    expect(override?.imageId).toBe("ami-new");
  });

  test("takes as many at a time as the minimum allows", () => {
    const stage = rooted({ desired: 10 });
    const watch = stage.world.watchHealthy("web");
    start(stage, mixed("1", after), { MinHealthyPercentage: 60, InstanceWarmup: 0 });
    stage.runTo("Successful");
    expect(watch.lowest()).toBe(6);
    expect(new Set(stage.members().map((member) => member.imageId))).toStrictEqual(new Set(["ami-new"]));
  });

  test("waits for terminating and launching hooks", () => {
    const stage = rooted({
      desired: 1,
      lifecycleHooks: [
        { name: "down", transition: "terminating", heartbeatTimeout: 60, defaultResult: "CONTINUE" },
        { name: "up", transition: "launching", heartbeatTimeout: 60, defaultResult: "CONTINUE" },
      ],
    });
    start(stage, mixed("1", after));
    expect(states(stage, "Successful")).toStrictEqual([
      "InService",
      "ReplacingRootVolume:Wait",
      "ReplacingRootVolume:Proceed",
      "RootVolumeReplaced",
      "Pending:Wait",
      "Pending:Proceed",
      "InService",
    ]);
    expect(stage.fleet.launches).toHaveLength(1);
  });

  test("replaces an instance whose volume cannot be replaced", () => {
    const stage = rooted();
    stage.world.setHealth((member) =>
      member.instanceId === "i-00000000000000001" ? { rootVolumeFailure: "The volume is stuck." } : undefined,
    );
    start(stage, mixed("1", after));
    stage.runTo("Successful");
    expect(stage.members().map((member) => [member.instanceId, member.imageId])).toStrictEqual([
      ["i-00000000000000002", "ami-new"],
      ["i-00000000000000003", "ami-new"],
    ]);
    expect(stage.failedActivities()).toMatchObject([
      {
        description: "Replacing root volume of EC2 instance: i-00000000000000001",
        statusMessage: "The volume is stuck.",
      },
    ]);
  });

  test("compares images when it skips what matches", () => {
    const stage = rooted();
    start(stage, mixed("2", before), { SkipMatching: true });
    stage.runTo("Successful");
    expect([stage.seconds(), stage.versions()]).toStrictEqual([2, ["1", "1"]]);
  });

  test("rolls back in place", () => {
    const stage = rooted();
    start(stage, mixed("1", after), { InstanceWarmup: 60 });
    stage.clock.runUntil(() => stage.refresh().PercentageComplete === 50);
    stage.call("RollbackInstanceRefresh");
    stage.runTo("RollbackSuccessful");
    expect(stage.members().map((member) => [member.instanceId, member.imageId])).toStrictEqual([
      ["i-00000000000000001", "ami-old"],
      ["i-00000000000000002", "ami-old"],
    ]);
  });

  test("can be cancelled, which waits for what is being replaced", () => {
    const stage = rooted();
    start(stage, mixed("1", after));
    stage.clock.advance(10 * second);
    stage.call("CancelInstanceRefresh");
    expect(stage.refresh().Status).toBe("Cancelling");
    stage.clock.advance(minute);
    expect(stage.refresh().Status).toBe("Cancelled");
    expect(stage.members().map((member) => member.imageId)).toStrictEqual(["ami-new", "ami-old"]);
  });

  const plain = { "LaunchTemplate.LaunchTemplateName": "web", "LaunchTemplate.Version": "2" };
  test.each<[string, () => Stage, Record<string, string>]>([
    ["must use a mixed instances policy", () => setStage({ desired: 1 }), mixed("1", after)],
    ["desired configuration must contain", rooted, plain],
    ["desired configuration must contain", rooted, {}],
    ["must specify an ImageId", rooted, mixed("1", [...after, { type: "m6i.large" }])],
    ["must specify an ImageId", rooted, mixed("1", [])],
    ["$Latest or $Default", rooted, mixed("$Latest", after)],
    ["warm pool", () => rooted({ warmPool: { minSize: 1 } }), mixed("1", after)],
    ["Elastic Load Balancing", () => rooted({ targetGroupArns: ["arn"] }), mixed("1", after)],
    ["must match", rooted, mixed("1", [{ type: "m6i.large", image: "ami-new" }])],
  ])("is refused: %s", (reason, set, desired) => {
    const stage = set();
    const error = refusal(() => start(stage, desired));
    expect(error).toMatch(/^ValidationError: The ReplaceRootVolume strategy is not available: /);
    expect(error).toContain(reason);
  });

  test("keeps a warm pool from being added", () => {
    const stage = rooted();
    start(stage, mixed("1", after));
    expect(refusal(() => stage.call("PutWarmPool", { MinSize: 1 }))).toMatch(/ReplaceRootVolume/);
  });
});
