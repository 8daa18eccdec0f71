import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RolloutSettings, STRATEGIES } from "../../src/domain/application.ts";
import { CHECKPOINT_NOTICE_SECONDS } from "../../src/domain/checkpoint.ts";
import { refreshPreferences, refreshStrategy } from "../../src/rollout/strategy.ts";

const LAUNCH_FIRST = ["rolling", "canary", "all-at-once"] as const;

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

  test("never go below capacity but where instances go first", () => {
    for (const strategy of LAUNCH_FIRST) {
      for (const capacity of [0, 1, 2, 3, 10, 100]) {
        expect(refreshPreferences({ strategy }, capacity).MinHealthyPercentage).toBe(100);
      }
    }
  });
});

describe("the preferences of a group whose instances have weights", () => {
  test.each<
    [capacity: number, weight: number, rollingMax: number, canary: readonly number[], recycleMin: number]
  >([
    // As without weights.
    [20, 1, 110, [5, 100], 90],
    [20, 2, 110, [5, 100], 90],
    // The heaviest is more than 10 %.
    [20, 3, 115, [5, 100], 85],
    [20, 8, 140, [5, 100], 60],
    [6, 4, 167, [16, 100], 33],
    // Half of the group, and all of it.
    [16, 8, 150, [6, 100], 50],
    [8, 8, 200, [12, 100], 0],
    // Heavier than the group: the user guide says that AWS may replace all at once. No maximum helps.
    [4, 8, 200, [25, 100], 0],
    [1, 50, 200, [100], 0],
  ])("%i units, the heaviest instance has %i", (capacity, weight, rollingMax, canary, recycleMin) => {
    const launchFirst = { ...DEFAULTS, MinHealthyPercentage: 100, MaxHealthyPercentage: rollingMax };
    const inPlace = { ...DEFAULTS, MinHealthyPercentage: recycleMin, MaxHealthyPercentage: 100 };
    expect(
      Object.fromEntries(
        STRATEGIES.map((strategy) => [strategy, refreshPreferences({ strategy }, capacity, weight)]),
      ),
    ).toStrictEqual({
      rolling: launchFirst,
      canary: { ...launchFirst, CheckpointPercentages: canary, CheckpointDelay: 300 },
      "all-at-once": { ...launchFirst, MaxHealthyPercentage: 200 },
      recycle: inPlace,
      "replace-root-volume": inPlace,
    });
  });

  test.each<[canary: RolloutSettings["canary"], instances: number | undefined, checkpoints: number[]]>([
    // Checkpoints count instances: five of the twenty that make up 100 units.
    [{ instances: 5 }, 20, [25, 100]],
    [{ instances: 1 }, 3, [33, 100]],
    [{ instances: 20 }, 20, [100]],
    [{ percentage: 10 }, 20, [10, 100]],
    [{ instances: 1 }, 0, [100]],
    // As many instances as there can be: a canary of at most five, and of one.
    [{ instances: 5 }, undefined, [5, 100]],
    [{ instances: 1 }, undefined, [1, 100]],
  ])("a canary of %j, %j instances of 100 units: %j", (canary, instances, checkpoints) => {
    expect(
      refreshPreferences({ strategy: "canary", ...(canary && { canary }) }, 100, 5, instances)
        .CheckpointPercentages,
    ).toStrictEqual(checkpoints);
  });

  const share = fc.oneof(
    fc.record({ percentage: fc.integer({ min: 1, max: 99 }) }),
    fc.record({ instances: fc.integer({ min: 1, max: 3000 }) }),
  );
  const fleet = [fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 50 })] as const;

  test.each(STRATEGIES)("%s keeps to the API's limits", (strategy) => {
    fc.assert(
      fc.property(...fleet, share, fc.boolean(), (capacity, weight, canary, tested) => {
        const {
          MinHealthyPercentage: min = NaN,
          MaxHealthyPercentage: max = NaN,
          CheckpointPercentages: checkpoints = [100],
          CheckpointDelay: delay = 0,
        } = refreshPreferences(
          { strategy, canary, ...(tested && { smokeTest: { command: ["a"], timeout: 169_200 } }) },
          capacity,
          weight,
        );
        for (const percent of [min, max, delay, ...checkpoints]) expect(percent).toSatisfy(Number.isInteger);
        expect(min).toSatisfy((percent: number) => percent >= 0 && percent <= 100);
        expect(max).toSatisfy((percent: number) => percent >= 100 && percent <= 200);
        expect(max - min).toBeLessThanOrEqual(100);
        expect(delay).toSatisfy((seconds: number) => seconds >= 0 && seconds <= 172_800);
        expect(checkpoints).toStrictEqual([...new Set(checkpoints)].toSorted((a, b) => a - b));
        expect(checkpoints[0]).toBeGreaterThanOrEqual(1);
        expect(checkpoints.at(-1)).toBe(100);
      }),
      { numRuns: 500 },
    );
  });

  test.each(LAUNCH_FIRST)("%s has room for one of the heaviest more", (strategy) => {
    fc.assert(
      fc.property(...fleet, (capacity, weight) => {
        const { MaxHealthyPercentage: max = NaN } = refreshPreferences({ strategy }, capacity, weight);
        // Twice the capacity is all that AWS takes.
        expect(Math.floor((capacity * max) / 100) - capacity).toBeGreaterThanOrEqual(
          Math.min(weight, capacity),
        );
      }),
      { numRuns: 2000 },
    );
  });

  test.each(["recycle", "replace-root-volume"] as const)("%s lets one of the heaviest go", (strategy) => {
    fc.assert(
      fc.property(...fleet, (capacity, weight) => {
        const { MinHealthyPercentage: min = NaN } = refreshPreferences({ strategy }, capacity, weight);
        expect(capacity - Math.ceil((capacity * min) / 100)).toBeGreaterThanOrEqual(
          Math.min(weight, capacity),
        );
      }),
      { numRuns: 2000 },
    );
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

  test.each<[settings: Partial<RolloutSettings>, delay: number | undefined]>([
    [{ strategy: "canary" }, 300],
    [{ strategy: "canary", smokeTest: { command: ["a"], timeout: 300 } }, 300 + CHECKPOINT_NOTICE_SECONDS],
    [{ strategy: "canary", smokeTest: { command: ["a"], timeout: 30 } }, 30 + CHECKPOINT_NOTICE_SECONDS],
    [
      { checkpoints: [50, 100], smokeTest: { command: ["a"], timeout: 900 } },
      900 + CHECKPOINT_NOTICE_SECONDS,
    ],
    [{ strategy: "canary", checkpointDelay: 600, smokeTest: { command: ["a"], timeout: 300 } }, 600],
    // Without a checkpoint the test is run at the end only, and AWS refuses a delay.
    [{ smokeTest: { command: ["a"], timeout: 300 } }, undefined],
  ])("a checkpoint lasts as long as the smoke test may need: %j", (settings, delay) => {
    expect(refreshPreferences({ strategy: "rolling", ...settings }, 10).CheckpointDelay).toBe(delay);
  });

  test("what Kiln sees to itself is no preference of AWS's", () => {
    const settings = { maxLaunchFailures: 5, order: "sequential" } as const;
    expect(refreshPreferences({ strategy: "rolling", ...settings }, 10)).toStrictEqual(
      refreshPreferences({ strategy: "rolling" }, 10),
    );
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

test.each(STRATEGIES)("the API's strategy of %s", (strategy) => {
  expect(refreshStrategy({ strategy })).toBe(
    strategy === "replace-root-volume" ? "ReplaceRootVolume" : "Rolling",
  );
});
