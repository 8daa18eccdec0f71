import { describe, expect, test } from "vitest";
import { minute, second, setStage } from "./autoscaling-stage.ts";

describe("the lowest number of healthy members", () => {
  test.each([
    { desired: 1, preferences: {}, lowest: 0 },
    { desired: 1, preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 200 }, lowest: 1 },
    { desired: 5, preferences: { InstanceWarmup: 60 }, lowest: 4 },
    { desired: 4, preferences: { MinHealthyPercentage: 0 }, lowest: 0 },
  ])("of $desired with $preferences is $lowest", ({ desired, preferences, lowest }) => {
    const stage = setStage({ desired });
    const watch = stage.world.watchHealthy("web");
    expect([watch.lowest(), watch.lowestUnits()]).toStrictEqual([desired, desired]);
    stage.start(preferences);
    stage.runTo("Successful");
    expect([watch.lowest(), watch.lowestUnits()]).toStrictEqual([lowest, lowest]);
    expect(stage.world.watchHealthy("web").lowest()).toBe(desired);
  });

  test("sees what lasts no time at all", () => {
    const stage = setStage({ desired: 1 }, { launch: 0, drain: 0 });
    const watch = stage.world.watchHealthy("web");
    stage.start();
    stage.runTo("Successful");
    expect([stage.seconds(), watch.lowest()]).toStrictEqual([2, 0]);
  });

  test("sees members that cannot serve, though their group only looks at EC2's health checks", () => {
    const stage = setStage({ desired: 2 });
    const watch = stage.world.watchHealthy("web");
    stage.world.setHealth({ "i-00000000000000001": { unhealthyAt: stage.clock.now() + minute } });
    stage.clock.advance(minute - 1);
    expect(watch.lowest()).toBe(2);
    stage.clock.advance(1);
    expect(watch.lowest()).toBe(1);
    expect(stage.versions()).toHaveLength(2);
  });

  test("counts a new member from when it is healthy, not from when it is in service", () => {
    const stage = setStage({ desired: 2, healthCheckType: "ELB", healthCheckGracePeriod: 300 });
    stage.world.setHealth({ "ami-new": { healthyAfter: 90 * second } });
    const watch = stage.world.watchHealthy("web");
    stage.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 0 });
    stage.runTo("Successful");
    expect(watch.lowest()).toBe(2);

    const broken = setStage({ desired: 2 });
    broken.world.setHealth({ "ami-new": { healthyAfter: "never" } });
    const unnoticed = broken.world.watchHealthy("web");
    broken.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 0 });
    broken.runTo("Successful");
    expect(unnoticed.lowest()).toBe(0);
  });
});

test("a thousand instances are refreshed in a moment", () => {
  const stage = setStage({ desired: 1000, max: 1100 });
  const watch = stage.world.watchHealthy("web");
  const began = process.cpuUsage();
  stage.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 110, InstanceWarmup: 60 });
  stage.runTo("Successful");
  expect(new Set(stage.versions())).toStrictEqual(new Set(["2"]));
  expect([stage.versions().length, watch.lowest(), stage.seconds()]).toStrictEqual([1000, 1000, 922]);
  // It takes a fifth of a second of the processor; the limit is for slow machines.
  expect(process.cpuUsage(began).user / 1000).toBeLessThan(3000);
});
