import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RolloutSettings, STRATEGIES } from "../../src/domain/application.ts";
import { refreshPreferences } from "../../src/rollout/strategy.ts";

const DEFAULTS: RefreshPreferences = {
  SkipMatching: true,
  AutoRollback: true,
  ScaleInProtectedInstances: "Refresh",
  StandbyInstances: "Ignore",
};

describe("the preferences of a strategy, by capacity", () => {
  test.each<[capacity: number, rollingMax: number, canary: number[], recycleMin: number]>([
    [0, 110, [100], 0],
    [1, 200, [100], 0],
    [2, 150, [50, 100], 50],
    [3, 134, [33, 100], 66],
    [4, 125, [25, 100], 75],
    [9, 112, [11, 100], 88],
    [10, 110, [10, 100], 90],
    [11, 110, [9, 100], 90],
    [100, 110, [1, 100], 90],
    [1000, 110, [1, 100], 90],
  ])("%i instances", (capacity, rollingMax, canary, recycleMin) => {
    expect(STRATEGIES.map((strategy) => refreshPreferences({ strategy }, capacity))).toStrictEqual([
      { ...DEFAULTS, MinHealthyPercentage: 100, MaxHealthyPercentage: rollingMax },
      {
        ...DEFAULTS,
        MinHealthyPercentage: 100,
        MaxHealthyPercentage: rollingMax,
        CheckpointPercentages: canary,
        CheckpointDelay: 300,
      },
      { ...DEFAULTS, MinHealthyPercentage: 100, MaxHealthyPercentage: 200 },
      { ...DEFAULTS, MinHealthyPercentage: recycleMin, MaxHealthyPercentage: 100 },
    ]);
  });

  test("always leave a legal slot", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...STRATEGIES),
        fc.integer({ min: 1, max: 10_000 }),
        (strategy, capacity) => {
          const { MinHealthyPercentage: min = NaN, MaxHealthyPercentage: max = NaN } = refreshPreferences(
            { strategy },
            capacity,
          );
          const floor = Math.ceil((capacity * min) / 100);
          const ceiling = Math.floor((capacity * max) / 100);
          expect(floor < capacity || ceiling > capacity).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("never go below capacity but with recycle", () => {
    for (const strategy of ["rolling", "canary", "all-at-once"] as const) {
      for (const capacity of [0, 1, 2, 3, 10, 100]) {
        expect(refreshPreferences({ strategy }, capacity).MinHealthyPercentage).toBe(100);
      }
    }
  });
});

describe("a canary's share", () => {
  test.each<[canary: RolloutSettings["canary"], capacity: number, checkpoints: number[]]>([
    [{ instances: 1 }, 20, [5, 100]],
    [{ instances: 2 }, 3, [66, 100]],
    [{ instances: 3 }, 3, [100]],
    [{ instances: 9 }, 3, [100]],
    [{ instances: 1 }, 300, [1, 100]],
    [{ percentage: 10 }, 20, [10, 100]],
    [{ percentage: 10 }, 2, [10, 100]],
    [{ percentage: 99 }, 0, [99, 100]],
  ])("%j of %i instances: %j", (canary, capacity, checkpoints) => {
    expect(
      refreshPreferences({ strategy: "canary", ...(canary && { canary }) }, capacity).CheckpointPercentages,
    ).toStrictEqual(checkpoints);
  });

  test("of so many instances is reached by exactly so many", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(99), (capacity, more) => {
        const instances = 1 + (more % capacity);
        const [share = NaN] =
          refreshPreferences({ strategy: "canary", canary: { instances } }, capacity).CheckpointPercentages ??
          [];
        const reached = Array.from({ length: capacity }, (_, index) => index + 1).find(
          (count) => (100 * count) / capacity >= share,
        );
        expect(reached).toBe(instances);
      }),
      { numRuns: 500 },
    );
  });
});

describe("what the user sets", () => {
  test("overrides the strategy, in the API's names", () => {
    expect(
      refreshPreferences(
        {
          strategy: "rolling",
          minHealthy: 90,
          maxHealthy: 120,
          instanceWarmup: 0,
          checkpoints: [20, 100],
          checkpointDelay: 0,
          bakeTime: 600,
          alarms: ["web-5xx", "web-latency"],
          skipMatching: false,
          autoRollback: false,
          scaleInProtected: "wait",
          standby: "terminate",
        },
        4,
      ),
    ).toStrictEqual({
      MinHealthyPercentage: 90,
      MaxHealthyPercentage: 120,
      SkipMatching: false,
      AutoRollback: false,
      ScaleInProtectedInstances: "Wait",
      StandbyInstances: "Terminate",
      InstanceWarmup: 0,
      CheckpointPercentages: [20, 100],
      CheckpointDelay: 0,
      BakeTime: 600,
      AlarmSpecification: { Alarms: ["web-5xx", "web-latency"] },
    });
  });

  test("checkpoints of one's own without a delay have five minutes", () => {
    expect(refreshPreferences({ strategy: "rolling", checkpoints: [50, 100] }, 4)).toMatchObject({
      CheckpointPercentages: [50, 100],
      CheckpointDelay: 300,
    });
  });

  test.each([
    ["refresh", "Refresh"],
    ["ignore", "Ignore"],
    ["wait", "Wait"],
  ] as const)("scale-in-protected %s is %s", (scaleInProtected, value) => {
    expect(refreshPreferences({ strategy: "rolling", scaleInProtected }, 4).ScaleInProtectedInstances).toBe(
      value,
    );
  });

  test("keeps the pair within AWS's limits, whichever of the two it is", () => {
    const percent = (min: number, max: number) => fc.option(fc.integer({ min, max }), { nil: undefined });
    fc.assert(
      fc.property(
        fc.constantFrom(...STRATEGIES),
        percent(0, 100),
        percent(100, 200),
        fc.integer({ min: 0, max: 200 }),
        (strategy, minHealthy, maxHealthy, capacity) => {
          fc.pre((maxHealthy ?? 100) - (minHealthy ?? 100) <= 100);
          const { MinHealthyPercentage: min = NaN, MaxHealthyPercentage: max = NaN } = refreshPreferences(
            {
              strategy,
              ...(minHealthy === undefined ? {} : { minHealthy }),
              ...(maxHealthy === undefined ? {} : { maxHealthy }),
            },
            capacity,
          );
          expect(max - min).toBeLessThanOrEqual(100);
          expect(max).toBeGreaterThanOrEqual(100);
          expect(max).toBeLessThanOrEqual(200);
          expect(min).toBeGreaterThanOrEqual(0);
          expect([minHealthy ?? min, maxHealthy ?? max]).toStrictEqual([min, max]);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
