import fc from "fast-check";
import { expect, test } from "vitest";
import { mixed, setMixedStage } from "./autoscaling-mixed.ts";

const story = fc.record({
  desired: fc.integer({ min: 1, max: 12 }),
  weights: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
  min: fc.integer({ min: 0, max: 100 }),
  surge: fc.option(fc.integer({ min: 0, max: 100 })),
  warmPool: fc.option(fc.integer({ min: 0, max: 4 })),
  hooked: fc.boolean(),
  pickOverride: fc.constantFrom("first", "spread"),
  countTerminating: fc.boolean(),
  grownBy: fc.integer({ min: -3, max: 3 }),
  rollsBack: fc.boolean(),
});

test("any group is refreshed, or rolled back, to the end and left as large as it should be", () => {
  fc.assert(
    fc.property(
      story,
      ({ desired, weights, min, surge, warmPool, hooked, grownBy, rollsBack, ...options }) => {
        const overrides = weights.map((weight, index) => ({ type: `c${index}.large`, weight }));
        const stage = setMixedStage(
          overrides,
          {
            desired,
            ...(warmPool === null ? {} : { warmPool: { minSize: warmPool, maxGroupPreparedCapacity: 0 } }),
            lifecycleHooks: hooked
              ? [{ name: "boot", transition: "launching", heartbeatTimeout: 60, defaultResult: "CONTINUE" }]
              : [],
          },
          options,
        );
        const watch = stage.world.watchHealthy("web");
        const max = surge === null ? undefined : Math.max(100, Math.min(200, min + surge));
        stage.start(
          {
            MinHealthyPercentage: min,
            ...(max === undefined ? {} : { MaxHealthyPercentage: max }),
            InstanceWarmup: 45,
          },
          mixed("2", overrides),
        );
        stage.clock.advance(100_000);
        const isActive = () => stage.refresh().EndTime === undefined;
        const wanted = Math.max(1, desired + grownBy);
        stage.world.setDesiredCapacity("web", wanted);
        if (rollsBack && isActive()) stage.call("RollbackInstanceRefresh");
        stage.runTo("Successful", "RollbackSuccessful", "Failed", "RollbackFailed");
        const ended = stage.refresh().Status;
        expect(ended).toMatch(/Successful$/);
        stage.clock.advance(600_000);
        const versions = new Set(stage.versions());
        expect(versions).toStrictEqual(new Set([ended === "Successful" ? "2" : "1"]));
        const heaviest = Math.max(...weights);
        const units = stage.members().reduce((sum, member) => sum + Number(member.weightedCapacity), 0);
        expect(units).toBeGreaterThanOrEqual(wanted);
        expect(units).toBeLessThan(wanted + heaviest);
        expect(stage.world.group("web").warm).toHaveLength(warmPool ?? 0);
        // Whole instances: no more than one of them below the floor, as long as the size did not change.
        const floor = Math.ceil((desired * min) / 100);
        expect(grownBy === 0 ? watch.lowestUnits() : floor).toBeGreaterThanOrEqual(floor - heaviest);
      },
    ),
    { numRuns: 300 },
  );
});
