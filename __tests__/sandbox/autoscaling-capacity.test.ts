import { describe, expect, test } from "vitest";
import { bounds } from "../../sandbox/aws/autoscaling/capacity.ts";
import { second, setStage } from "./autoscaling-stage.ts";

interface Row {
  readonly desired: number;
  readonly min: number;
  readonly max?: number;
  readonly floor: number;
  readonly ceiling: number;
  /** Fewest ready and most ready, warming or launching members at any moment. */
  readonly lowest: number;
  readonly highest: number;
}

const rows: Row[] = [
  { desired: 1, min: 90, floor: 1, ceiling: 1, lowest: 0, highest: 1 },
  { desired: 1, min: 100, max: 200, floor: 1, ceiling: 2, lowest: 1, highest: 2 },
  { desired: 1, min: 100, max: 100, floor: 1, ceiling: 1, lowest: 1, highest: 2 },
  { desired: 2, min: 90, floor: 2, ceiling: 2, lowest: 1, highest: 2 },
  { desired: 2, min: 100, max: 150, floor: 2, ceiling: 3, lowest: 2, highest: 3 },
  { desired: 3, min: 100, max: 110, floor: 3, ceiling: 3, lowest: 3, highest: 4 },
  { desired: 4, min: 90, max: 150, floor: 4, ceiling: 6, lowest: 4, highest: 6 },
  { desired: 5, min: 90, floor: 5, ceiling: 5, lowest: 4, highest: 5 },
  { desired: 7, min: 85, max: 115, floor: 6, ceiling: 8, lowest: 6, highest: 8 },
  { desired: 9, min: 90, floor: 9, ceiling: 9, lowest: 8, highest: 9 },
  { desired: 10, min: 90, floor: 9, ceiling: 10, lowest: 9, highest: 10 },
  { desired: 10, min: 80, max: 100, floor: 8, ceiling: 10, lowest: 8, highest: 10 },
  { desired: 10, min: 100, max: 110, floor: 10, ceiling: 11, lowest: 10, highest: 11 },
  { desired: 10, min: 90, max: 120, floor: 9, ceiling: 12, lowest: 9, highest: 12 },
  { desired: 10, min: 0, max: 100, floor: 0, ceiling: 10, lowest: 0, highest: 10 },
  { desired: 100, min: 90, max: 120, floor: 90, ceiling: 120, lowest: 90, highest: 120 },
];

describe("how many instances a refresh takes at a time", () => {
  test.each(rows)("$desired instances at $min/$max", (row) => {
    const { desired, min, max } = row;
    const limits = bounds(
      desired,
      { min, max, maintenancePolicy: false },
      { roundMax: "down", countTerminating: false, cap: undefined },
    );
    expect([limits.floor, limits.ceiling]).toStrictEqual([row.floor, row.ceiling]);

    const stage = setStage({ desired });
    stage.start({
      MinHealthyPercentage: min,
      InstanceWarmup: 60,
      ...(max === undefined ? {} : { MaxHealthyPercentage: max }),
    });
    let [lowest, highest] = [desired, desired];
    stage.clock.runUntil(() => {
      const live = stage.members().filter((member) => member.lifecycleState !== "Terminating");
      const ready = live.filter(
        (member) => (member.inServiceAt ?? Infinity) + 60 * second <= stage.clock.now(),
      ).length;
      lowest = Math.min(lowest, ready);
      highest = Math.max(highest, live.length);
      return stage.refresh().Status === "Successful";
    });
    expect([lowest, highest]).toStrictEqual([row.lowest, row.highest]);
    expect(stage.versions()).toStrictEqual(Array.from({ length: desired }, () => "2"));
  });

  test("rounding of the maximum is a choice", () => {
    const range = { min: 100, max: 110, maintenancePolicy: false };
    const up = bounds(3, range, { roundMax: "up", countTerminating: false, cap: undefined });
    expect(up).toStrictEqual({ floor: 3, ceiling: 4, fallback: undefined });
  });

  test("a maintenance policy launches first where there is no slot", () => {
    const policy = bounds(
      2,
      { min: 90, max: undefined, maintenancePolicy: true },
      { roundMax: "down", countTerminating: false, cap: undefined },
    );
    expect(policy.fallback).toBe("launch-first");
  });

  test("MaxSize caps the surge only where that is chosen", () => {
    const group = { desired: 2, max: 2 };
    const free = setStage(group);
    free.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 150 });
    free.runTo("Successful", "Failed");
    expect(free.refresh().Status).toBe("Successful");

    const capped = setStage(group, { maxSizeCapsSurge: true });
    capped.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 150 });
    capped.runTo("Successful", "Failed");
    expect(capped.refresh().Status).toBe("Failed");
    expect(capped.versions()).toStrictEqual(["1", "1"]);
  });
});

describe("the timeline of four instances at 100/150", () => {
  const timeline = (countTerminating: boolean) => {
    const stage = setStage({ desired: 4 }, { countTerminating, pending: 0 });
    stage.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 });
    const seen: (string | number | undefined)[][] = [];
    const look = () => {
      const states = stage
        .members()
        .map((member) => `${member.launchTemplate?.version}${member.lifecycleState}`);
      const count = (state: string) => states.filter((text) => text === state).length;
      const { Status, PercentageComplete, InstancesToUpdate } = stage.refresh();
      const serving = `${count("1InService")}+${count("2InService")}/${count("2Pending")}/${count("1Terminating")}`;
      seen.push([stage.seconds(), serving, Status, PercentageComplete, InstancesToUpdate]);
    };
    look();
    stage.clock.runUntil(() => {
      if (seen.at(-1)?.[0] !== stage.seconds()) look();
      return stage.refresh().Status === "Successful";
    });
    return seen;
  };

  test("terminating instances do not count", () => {
    expect(timeline(false)).toStrictEqual([
      [0, "4+0/2/0", "InProgress", 0, 2],
      [30, "4+2/0/0", "InProgress", 0, 2],
      [90, "2+2/2/2", "InProgress", 50, 0],
      [110, "2+2/2/0", "InProgress", 50, 0],
      [120, "2+4/0/0", "InProgress", 50, 0],
      [180, "0+4/0/2", "InProgress", 100, 0],
      [200, "0+4/0/0", "Successful", 100, 0],
    ]);
  });

  test("terminating instances count", () => {
    expect(timeline(true)).toStrictEqual([
      [0, "4+0/2/0", "InProgress", 0, 2],
      [30, "4+2/0/0", "InProgress", 0, 2],
      [90, "2+2/0/2", "InProgress", 50, 2],
      [110, "2+2/2/0", "InProgress", 50, 0],
      [140, "2+4/0/0", "InProgress", 50, 0],
      [200, "0+4/0/2", "InProgress", 100, 0],
      [220, "0+4/0/0", "Successful", 100, 0],
    ]);
  });
});
