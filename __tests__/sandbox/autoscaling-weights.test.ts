import { describe, expect, test } from "vitest";
import { minute, place, refusal, setStage } from "./autoscaling-stage.ts";
import { mixed, setMixedStage } from "./autoscaling-mixed.ts";

const overrides = [
  { type: "c5.large", weight: 2 },
  { type: "c5.xlarge", weight: 4 },
];

describe("weights", () => {
  test("are what sizes are counted in, and the last launch may exceed the desired capacity", () => {
    const stage = setMixedStage(overrides, { desired: 7 });
    expect(stage.call("DescribeAutoScalingGroups")["AutoScalingGroups"]).toMatchObject({
      member: [
        {
          DesiredCapacity: 7,
          Instances: {
            member: Array.from({ length: 4 }, () => ({ InstanceType: "c5.large", WeightedCapacity: "2" })),
          },
        },
      ],
    });
    stage.clock.advance(minute);
    expect(stage.members()).toHaveLength(4);
    // Five instances make ten, and three eight: scaling in takes nothing that is needed.
    stage.call("SetDesiredCapacity", { DesiredCapacity: 10 });
    stage.clock.advance(minute);
    expect(stage.members()).toHaveLength(5);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 7 });
    stage.clock.advance(minute);
    expect(stage.members()).toHaveLength(4);
  });

  test("are what percentages are of", () => {
    const stage = setMixedStage(overrides, { desired: 8 });
    const watch = stage.world.watchHealthy("web");
    stage.start(
      { MinHealthyPercentage: 75, MaxHealthyPercentage: 100, InstanceWarmup: 60 },
      mixed("2", overrides),
    );
    const seen = new Set<string>();
    stage.clock.runUntil(() => {
      const { Status, PercentageComplete, InstancesToUpdate } = stage.refresh();
      seen.add(`${PercentageComplete} % ${InstancesToUpdate}`);
      return Status === "Successful";
    });
    expect([...seen]).toStrictEqual([
      "undefined % undefined",
      "0 % 3",
      "25 % 2",
      "50 % 1",
      "75 % 0",
      "100 % 0",
    ]);
    expect([watch.lowest(), watch.lowestUnits()]).toStrictEqual([3, 6]);
    expect(stage.versions()).toStrictEqual(["2", "2", "2", "2"]);
  });

  test("launch first where no unit may be missing", () => {
    const stage = setMixedStage(overrides, { desired: 8, max: 8 });
    const watch = stage.world.watchHealthy("web");
    stage.start(
      { MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 },
      mixed("2", overrides),
    );
    stage.clock.advance(minute);
    expect(stage.versions()).toStrictEqual(["1", "1", "1", "1", "2", "2"]);
    stage.runTo("Successful");
    expect([watch.lowest(), watch.lowestUnits()]).toStrictEqual([4, 8]);
    expect(stage.versions()).toStrictEqual(["2", "2", "2", "2"]);
  });

  test.each([
    { min: 90, max: undefined, lowest: 1 },
    { min: 100, max: 200, lowest: 2 },
  ])("that do not divide the desired capacity are refreshed at $min/$max", ({ min, max, lowest }) => {
    const heavy = [{ type: "c5.xlarge", weight: 4 }];
    const stage = setMixedStage(heavy, { desired: 6 });
    const watch = stage.world.watchHealthy("web");
    stage.start(
      {
        MinHealthyPercentage: min,
        ...(max === undefined ? {} : { MaxHealthyPercentage: max }),
        InstanceWarmup: 60,
      },
      mixed("2", heavy),
    );
    stage.runTo("Successful", "Failed");
    expect(stage.refresh()).toMatchObject({ Status: "Successful", PercentageComplete: 100 });
    expect(watch.lowest()).toBe(lowest);
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });

  test("at or above the desired capacity let all instances be replaced at once", () => {
    const heavy = [{ type: "c5.4xlarge", weight: 10 }];
    const stage = setMixedStage(heavy, { desired: 10 });
    const watch = stage.world.watchHealthy("web");
    stage.start({ MinHealthyPercentage: 90 }, mixed("2", heavy));
    stage.runTo("Successful");
    expect([watch.lowest(), watch.lowestUnits()]).toStrictEqual([0, 0]);
  });

  test("roll back in units as well", () => {
    const stage = setMixedStage(overrides, { desired: 8 });
    stage.start({ MinHealthyPercentage: 75, InstanceWarmup: 60 }, mixed("2", overrides));
    stage.clock.runUntil(() => stage.refresh().PercentageComplete === 50);
    stage.call("RollbackInstanceRefresh");
    expect(stage.refresh().PercentageComplete).toBe(50);
    stage.runTo("RollbackSuccessful");
    expect(stage.versions()).toStrictEqual(["1", "1", "1", "1"]);
  });

  test.each([
    { weights: [0, 1], error: /greater than or equal to 1$/ },
    { weights: [1000, 1], error: /less than or equal to 999$/ },
    { weights: [1, undefined], error: /a weight for each of the overrides/ },
  ])("of $weights are refused", ({ weights, error }) => {
    const stage = setStage();
    const group = {
      ...place,
      name: "other",
      mixedInstancesPolicy: {
        launchTemplate: {
          launchTemplateSpecification: { launchTemplateName: "web", version: "1" },
          overrides: weights.map((weight, index) => ({
            instanceType: `c${index}.large`,
            weightedCapacity: weight === undefined ? undefined : String(weight),
          })),
        },
      },
    };
    expect(refusal(() => stage.world.addGroup(group))).toMatch(error);
  });
});
