import type { InstanceRefresh, RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pace, type PaceFacts, rolloutSeconds } from "../../src/rollout/pace.ts";

const START = Date.parse("2026-11-18T10:00:00Z");
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const IMAGE = "ami-0aaaaaaaaaaaaaaaa";

const FACTS: PaceFacts = {
  capacity: 10,
  warmup: 300,
  preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 120 },
  image: IMAGE,
};
const paceOf = (changes: Partial<PaceFacts> = {}): Pace => new Pace({ ...FACTS, ...changes });

/** A look at a refresh that started at {@link START}. */
const look = (changes: Partial<InstanceRefresh> = {}): InstanceRefresh => ({
  InstanceRefreshId: "r-1",
  Status: "InProgress",
  StartTime: new Date(START),
  PercentageComplete: 0,
  InstancesToUpdate: 10,
  ...changes,
});
/** At this percentage, with so many more on their way. */
const at = (percentage: number, warming = 0): InstanceRefresh =>
  look({ PercentageComplete: percentage, InstancesToUpdate: 10 - percentage / 10 - warming });

describe("the line of a look", () => {
  test.each<
    [what: string, facts: Partial<PaceFacts>, refresh: InstanceRefresh, seconds: number, line: string]
  >([
    [
      "before it starts",
      {},
      { Status: "Pending" },
      0,
      `0/10 instances on ${IMAGE}, 0 %, about to start, about 30 min left`,
    ],
    ["when it has started", {}, at(0), 0, `0/10 instances on ${IMAGE}, 0 %, about 30 min left`],
    [
      "with instances that warm up",
      {},
      at(60, 2),
      360,
      `6/10 instances on ${IMAGE}, 60 %, 2 warming up, about 4 min left`,
    ],
    ["at half, by its own pace", {}, at(50), 600, `5/10 instances on ${IMAGE}, 50 %, about 10 min left`],
    [
      "when all are done but AWS does not say so yet",
      {},
      at(100),
      600,
      `10/10 instances on ${IMAGE}, 100 %, about 1 s left`,
    ],
    [
      "at a checkpoint",
      { preferences: { ...FACTS.preferences, CheckpointPercentages: [10, 100], CheckpointDelay: 600 } },
      at(10),
      360,
      `1/10 instances on ${IMAGE}, 10 %, waiting at the checkpoint of 10 %, about 40 min left`,
    ],
    [
      "before two checkpoints, with the waits at both",
      { preferences: { ...FACTS.preferences, CheckpointPercentages: [10, 50, 100], CheckpointDelay: 600 } },
      at(0),
      0,
      `0/10 instances on ${IMAGE}, 0 %, about 50 min left`,
    ],
    [
      "before it bakes, with the bake time",
      { preferences: { ...FACTS.preferences, BakeTime: 600 } },
      at(50),
      600,
      `5/10 instances on ${IMAGE}, 50 %, about 20 min left`,
    ],
    [
      "while it bakes",
      { preferences: { ...FACTS.preferences, BakeTime: 1800 } },
      look({ Status: "Baking", PercentageComplete: 100, InstancesToUpdate: 0 }),
      1800,
      `10/10 instances on ${IMAGE}, 100 %, baking: AWS watches before it calls it done, about 30 min left`,
    ],
    [
      "with a warm pool",
      {},
      look({
        PercentageComplete: 100,
        InstancesToUpdate: 0,
        ProgressDetails: { WarmPoolProgress: { PercentageComplete: 40, InstancesToUpdate: 3 } },
      }),
      600,
      `10/10 instances on ${IMAGE}, 100 %, warm pool 40 %, about 1 s left`,
    ],
    [
      "with a warm pool that has not begun",
      {},
      look({ PercentageComplete: 50, InstancesToUpdate: 5, ProgressDetails: { WarmPoolProgress: {} } }),
      600,
      `5/10 instances on ${IMAGE}, 50 %, warm pool 0 %, about 10 min left`,
    ],
    [
      "when it is done",
      {},
      look({ Status: "Successful", PercentageComplete: 100, InstancesToUpdate: 0 }),
      900,
      `10/10 instances on ${IMAGE}, 100 %, done`,
    ],
    ["when it failed", {}, { ...at(40), Status: "Failed" }, 900, `4/10 instances on ${IMAGE}, 40 %, failed`],
    [
      "while it is cancelled",
      {},
      { ...at(40), Status: "Cancelling" },
      900,
      `4/10 instances on ${IMAGE}, 40 %, being cancelled`,
    ],
    [
      "when it was cancelled",
      {},
      { ...at(40), Status: "Cancelled" },
      900,
      `4/10 instances on ${IMAGE}, 40 %, cancelled`,
    ],
    [
      "in a status of the future",
      {},
      { ...at(40), Status: "Pondering" as "Failed" },
      900,
      `4/10 instances on ${IMAGE}, 40 %, Pondering`,
    ],
    [
      "while it rolls back",
      {},
      look({
        Status: "RollbackInProgress",
        PercentageComplete: 20,
        RollbackDetails: { PercentageCompleteOnRollback: 60 },
      }),
      900,
      "rolling back, 67 % of what was replaced is back",
    ],
    [
      "when it begins to roll back",
      {},
      look({
        Status: "RollbackInProgress",
        PercentageComplete: 60,
        RollbackDetails: { PercentageCompleteOnRollback: 60 },
      }),
      900,
      "rolling back, 0 % of what was replaced is back",
    ],
    [
      "while it rolls back what had not begun",
      {},
      look({ Status: "RollbackInProgress", RollbackDetails: { PercentageCompleteOnRollback: 0 } }),
      900,
      "rolling back, 0 % of what was replaced is back",
    ],
    ["when it is rolled back", {}, look({ Status: "RollbackSuccessful" }), 900, "rolled back"],
    ["when that failed", {}, look({ Status: "RollbackFailed" }), 900, "the rollback failed"],
  ])("%s", (_, facts, refresh, seconds, line) => {
    expect(paceOf(facts).saw(refresh, START + seconds * SECOND)).toBe(line);
  });

  test("comes once for each change, and not for what only passes", () => {
    const pace = paceOf({
      preferences: { ...FACTS.preferences, CheckpointPercentages: [20, 100], CheckpointDelay: 300 },
    });
    const looks: readonly (readonly [minute: number, refresh: InstanceRefresh])[] = [
      [0, { Status: "Pending" }],
      [0.5, { Status: "Pending" }],
      [1, at(0)],
      [2, at(0)],
      [3, at(0, 2)],
      [4, at(0, 2)],
      [8, at(20)],
      [9, at(20)],
      [14, at(20)],
      [15, at(20)],
      [16, look({ Status: "Successful", PercentageComplete: 100, InstancesToUpdate: 0 })],
      [17, look({ Status: "Successful", PercentageComplete: 100, InstancesToUpdate: 0 })],
    ];
    const lines = looks.flatMap(([minute, refresh]) => {
      const line = pace.saw(refresh, START + minute * MINUTE);
      return line === undefined ? [] : [`${minute}: ${line.replace(/, about [^,]* left$/, "")}`];
    });
    expect(lines).toStrictEqual([
      `0: 0/10 instances on ${IMAGE}, 0 %, about to start`,
      `1: 0/10 instances on ${IMAGE}, 0 %`,
      `3: 0/10 instances on ${IMAGE}, 0 %, 2 warming up`,
      `8: 2/10 instances on ${IMAGE}, 20 %, waiting at the checkpoint of 20 %`,
      `14: 2/10 instances on ${IMAGE}, 20 %`,
      `16: 10/10 instances on ${IMAGE}, 100 %, done`,
    ]);
  });

  test("never says the same twice in a row, whatever is seen", () => {
    fc.assert(
      fc.property(
        fc.array(anyLook, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 100 }),
        (looks, capacity) => {
          const pace = paceOf({ capacity });
          let now = START;
          for (const refresh of looks) {
            now += MINUTE;
            const line = pace.saw(refresh, now);
            expect(line ?? "").not.toMatch(/NaN|undefined|Infinity|\n/);
            // Again at the same moment: nothing can have changed.
            expect(pace.saw(refresh, now)).toBeUndefined();
          }
        },
      ),
    );
  });
});

const STATUSES = [
  "Pending",
  "InProgress",
  "Baking",
  "Cancelling",
  "RollbackInProgress",
  "RollbackSuccessful",
  "Successful",
] as const;
/** Any look that AWS might answer, sensible or not. */
const anyLook: fc.Arbitrary<InstanceRefresh> = fc
  .record(
    {
      Status: fc.constantFrom(...STATUSES),
      StartTime: fc.integer({ min: -3600, max: 3600 }).map((seconds) => new Date(START + seconds * SECOND)),
      PercentageComplete: fc.integer({ min: 0, max: 100 }),
      InstancesToUpdate: fc.integer({ min: 0, max: 200 }),
    },
    { requiredKeys: ["Status"] },
  )
  .map((refresh) => refresh);

const anyPreferences: fc.Arbitrary<PaceFacts["preferences"]> = fc.record(
  {
    BakeTime: fc.integer({ min: 0, max: 172_800 }),
    CheckpointDelay: fc.integer({ min: 0, max: 172_800 }),
    CheckpointPercentages: fc
      .uniqueArray(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 5 })
      .map((list) => list.toSorted((a, b) => a - b)),
    MinHealthyPercentage: fc.integer({ min: 0, max: 100 }),
    MaxHealthyPercentage: fc.integer({ min: 100, max: 200 }),
  },
  { requiredKeys: [] },
);

describe("the next look", () => {
  test("is always between 5 seconds and a minute away, whatever was seen and whenever", () => {
    fc.assert(
      fc.property(
        fc.record({
          capacity: fc.integer({ min: 0, max: 500 }),
          warmup: fc.integer({ min: 0, max: 7200 }),
          preferences: anyPreferences,
        }),
        fc.array(fc.tuple(anyLook, fc.integer({ min: 0, max: 7200 })), { maxLength: 30 }),
        (facts, looks) => {
          const pace = paceOf(facts);
          let now = START;
          for (const [refresh, seconds] of looks) {
            pace.saw(refresh, now);
            for (const later of [0, seconds, 100_000]) {
              const wait = pace.nextLook(now + later * SECOND);
              expect(wait >= 5 * SECOND && wait <= MINUTE).toBe(true);
            }
            now += seconds * SECOND;
          }
        },
      ),
    );
  });

  test("before any look comes within a minute", () => {
    expect(paceOf().nextLook(START)).toBeLessThanOrEqual(MINUTE);
    expect(paceOf().nextLook(START)).toBeGreaterThanOrEqual(5 * SECOND);
  });

  const CHECKPOINT: RefreshPreferences = {
    ...FACTS.preferences,
    CheckpointPercentages: [10, 100],
    CheckpointDelay: 600,
  };
  const BAKING: RefreshPreferences = { ...FACTS.preferences, BakeTime: 600 };
  const baking = look({ Status: "Baking", PercentageComplete: 100, InstancesToUpdate: 0 });

  test.each<
    [
      what: string,
      facts: Partial<PaceFacts>,
      refresh: InstanceRefresh,
      waits: readonly (readonly [secondsLater: number, wait: number])[],
    ]
  >([
    [
      "while instances warm up",
      {},
      at(0, 2),
      [
        [0, 60],
        [200, 60],
        [250, 50],
        [290, 10],
        [297, 5],
        [300, 5],
        [320, 5],
        [340, 10],
        [380, 20],
        [4000, 20],
      ],
    ],
    [
      "without a warm-up",
      { warmup: 0 },
      at(0),
      [
        [0, 5],
        [20, 5],
        [60, 15],
        [600, 20],
      ],
    ],
    [
      "at a checkpoint",
      { preferences: CHECKPOINT },
      at(10),
      [
        [0, 60],
        [500, 60],
        [570, 30],
        [598, 5],
        // Then the next batch warms up.
        [601, 60],
        [880, 20],
        [896, 5],
      ],
    ],
    [
      "while it bakes",
      { preferences: BAKING },
      baking,
      [
        [0, 60],
        [530, 60],
        [560, 40],
        [599, 5],
        [600, 5],
        [660, 15],
      ],
    ],
    [
      "when all are done and only the end is missing",
      {},
      at(100),
      [
        [0, 5],
        [40, 10],
      ],
    ],
  ])("%s", (_, facts, refresh, waits) => {
    const pace = paceOf(facts);
    pace.saw(refresh, START);
    expect(waits.map(([later]) => [later, pace.nextLook(START + later * SECOND) / SECOND])).toStrictEqual(
      waits,
    );
  });

  test("goes by the shorter of the group's last two steps, where both take longer than the warm-up", () => {
    const pace = paceOf({ warmup: 60 });
    const waitAt = (seconds: number): number => pace.nextLook(START + seconds * SECOND) / SECOND;
    pace.saw(at(0), START);
    pace.saw(at(20), START + 600 * SECOND);
    // One step tells nothing yet: after the warm-up.
    expect(waitAt(640)).toBe(20);
    pace.saw(at(40), START + 1100 * SECOND);
    // 500 seconds after the last change, less the exactness of a look.
    expect([1500, 1575, 1595].map(waitAt)).toStrictEqual([60, 20, 5]);
    pace.saw(at(60), START + 1900 * SECOND);
    expect([2300, 2375, 2395].map(waitAt)).toStrictEqual([60, 20, 5]);
    pace.saw(at(80), START + 2700 * SECOND);
    // The short one is forgotten: 800 seconds.
    expect([3400, 3475, 3495].map(waitAt)).toStrictEqual([60, 20, 5]);
  });

  test("of a whole refresh by batches costs few requests", () => {
    const pace = paceOf();
    let requests = 0;
    let now = START;
    // Five batches of two, each 330 seconds.
    const end = START + 5 * 330 * SECOND;
    while (now < end) {
      requests += 1;
      const batches = Math.floor((now - START) / (330 * SECOND));
      pace.saw(at(batches * 20, 2), now);
      now += pace.nextLook(now);
    }
    // Every 5 seconds it would be 330.
    expect(requests).toBeLessThan(65);
    // The end is not slept through.
    expect(now - end).toBeLessThanOrEqual(20 * SECOND);
  });
});

describe("a change is overdue", () => {
  test.each<
    [what: string, facts: Partial<PaceFacts>, refresh: InstanceRefresh, notYet: number, overdue: number]
  >([
    ["after the warm-up and a minute", {}, at(0, 2), 359, 360],
    ["after a minute without a warm-up", { warmup: 0 }, at(0), 59, 60],
    [
      "after the checkpoint's delay, the warm-up and a minute",
      { preferences: { ...FACTS.preferences, CheckpointPercentages: [10, 100], CheckpointDelay: 600 } },
      at(10),
      959,
      960,
    ],
    [
      "after the bake time and a minute",
      { preferences: { ...FACTS.preferences, BakeTime: 600 } },
      look({ Status: "Baking", PercentageComplete: 100, InstancesToUpdate: 0 }),
      659,
      660,
    ],
    ["after a minute, where all are done", {}, at(100), 59, 60],
  ])("%s", (_, facts, refresh, notYet, overdue) => {
    const pace = paceOf(facts);
    pace.saw(refresh, START);
    expect(pace.isOverdue(START)).toBe(false);
    expect(pace.isOverdue(START + notYet * SECOND)).toBe(false);
    expect(pace.isOverdue(START + overdue * SECOND)).toBe(true);
  });

  test("no more once something changes", () => {
    const pace = paceOf();
    pace.saw(at(0), START);
    expect(pace.isOverdue(START + 400 * SECOND)).toBe(true);
    pace.saw(at(0, 2), START + 400 * SECOND);
    expect(pace.isOverdue(START + 400 * SECOND)).toBe(false);
    pace.saw(at(0, 2), START + 700 * SECOND);
    expect(pace.isOverdue(START + 759 * SECOND)).toBe(false);
    expect(pace.isOverdue(START + 760 * SECOND)).toBe(true);
    pace.saw(at(20), START + 770 * SECOND);
    expect(pace.isOverdue(START + 770 * SECOND)).toBe(false);
  });
});

test("replacements that fail and begin again are no change: it becomes overdue all the same", () => {
  const pace = paceOf();
  for (const [minute, warming] of [0, 2, 0, 2, 1, 2, 0].entries()) {
    pace.saw(at(0, warming), START + minute * MINUTE);
  }
  // The last that counts was the second begun, after a minute.
  expect(pace.isOverdue(START + (60 + 359) * SECOND)).toBe(false);
  expect(pace.isOverdue(START + (60 + 360) * SECOND)).toBe(true);
});

describe("checkpoints", () => {
  const preferences = {
    ...FACTS.preferences,
    CheckpointPercentages: [10, 50, 100],
    CheckpointDelay: 60,
  };

  test("are reported as they are crossed, the last one below 100 until the end", () => {
    const pace = paceOf({ preferences });
    const seen = [0, 9, 10, 30, 50, 90, 100].map((percentage, minute) => {
      pace.saw(at(percentage), START + minute * MINUTE);
      return [percentage, pace.checkpoint];
    });
    expect(seen).toStrictEqual([
      [0, undefined],
      [9, undefined],
      [10, 10],
      [30, 10],
      [50, 50],
      [90, 50],
      [100, 50],
    ]);
  });

  test.each<[what: string, preferences: PaceFacts["preferences"]]>([
    ["where there are none", FACTS.preferences],
    ["at 100 only", { ...FACTS.preferences, CheckpointPercentages: [100], CheckpointDelay: 60 }],
  ])("are not reported %s", (_, these) => {
    const pace = paceOf({ preferences: these });
    pace.saw(at(100), START);
    expect(pace.checkpoint).toBeUndefined();
  });

  test("that are jumped over count as the last of them", () => {
    const pace = paceOf({ preferences });
    pace.saw(at(80), START);
    expect(pace.checkpoint).toBe(50);
  });

  test("are come to once more where the percentage fell meanwhile", () => {
    const pace = paceOf({ preferences });
    pace.saw(at(50), START);
    pace.saw(at(20), START + MINUTE);
    expect(pace.checkpoint).toBe(10);
    pace.saw(at(50), START + 30 * MINUTE);
    expect(pace.checkpoint).toBe(50);
    expect(pace.nextLook(START + 30 * MINUTE)).toBe(MINUTE);
  });
});

describe("a rollout takes at least", () => {
  test.each<
    [capacity: number, min: number | undefined, max: number | undefined, warmup: number, seconds: number]
  >([
    [0, 100, 110, 60, 0],
    [-1, 100, 110, 60, 0],
    [1, 100, 200, 60, 120],
    [4, 100, 125, 60, 480],
    [10, 100, 110, 240, 3000],
    [10, 90, 120, 240, 1200],
    // No room at all: one at a time.
    [4, 100, 100, 0, 240],
    [4, 100, 200, 0, 60],
    // AWS's own defaults.
    [20, undefined, undefined, 0, 600],
  ])("%i instances at %s/%s with a warm-up of %i: %i s", (capacity, min, max, warmup, seconds) => {
    const preferences = {
      ...(min === undefined ? {} : { MinHealthyPercentage: min }),
      ...(max === undefined ? {} : { MaxHealthyPercentage: max }),
    };
    expect(rolloutSeconds({ capacity, warmup, preferences })).toBe(seconds);
  });

  test.each<[what: string, preferences: PaceFacts["preferences"], more: number]>([
    ["the bake time", { BakeTime: 600 }, 600],
    ["each checkpoint's delay", { CheckpointPercentages: [10, 50, 100], CheckpointDelay: 300 }, 600],
    ["no delay at 100 %", { CheckpointPercentages: [100], CheckpointDelay: 300 }, 0],
    ["no delay that no checkpoint has", { CheckpointDelay: 300 }, 0],
  ])("also %s", (_, preferences, more) => {
    const plain = rolloutSeconds(FACTS);
    expect(rolloutSeconds({ ...FACTS, preferences: { ...FACTS.preferences, ...preferences } })).toBe(
      plain + more,
    );
  });
});
