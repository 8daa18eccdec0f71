import * as z from "zod";
import { STRATEGIES } from "../domain/application.ts";
import { CHECKPOINT_NOTICE_SECONDS } from "../domain/checkpoint.ts";
import { parseDuration } from "../domain/duration.ts";
import { commandLine, commandWords } from "./command-line.ts";
import { apiDuration, type Contradiction, duration, percentage } from "./values.ts";

/** The keys of `rollout`; limits of AWS's API are those of its reference (StartInstanceRefresh, RefreshPreferences). */

const canary = z.union([
  z.number().int("must be a whole number of instances").min(1, "must be at least 1"),
  z.string().regex(/^(?:[1-9]\d?)%$/, "must be a number of instances, or a percentage from 1% to 99%"),
]);

export const DEFAULT_SMOKE_TEST_TIMEOUT = "5m";
const MAX_SMOKE_TEST_SECONDS = 47 * 3600;

const smokeTest = z
  .union(
    [
      commandLine.describe("The command line; its timeout is 5m"),
      z.strictObject({
        command: z
          .union([commandLine, commandWords], {
            error: "must be a command line, or a list of the program and its arguments",
          })
          .describe("A command line, or a list of the program and its arguments"),
        timeout: duration
          .refine((text) => {
            const milliseconds = parseDuration(text) ?? 1000;
            // A checkpoint waits for the test and a minute, at most AWS's 48 hours.
            return milliseconds >= 1000 && milliseconds <= MAX_SMOKE_TEST_SECONDS * 1000;
          }, "must be 1s to 47h")
          .optional()
          .describe("1s to 47h; longer counts as failed. Default: 5m"),
      }),
    ],
    { error: "must be a command line, or a map with command and timeout" },
  )
  .describe(
    "A command that the runner runs against the new instances at each checkpoint and at the end; failing rolls back. No shell is run: quotes group words, nothing else is special",
  );

const rolloutKeys = z.strictObject({
  strategy: z
    .enum(STRATEGIES)
    .optional()
    .describe("A named set of the keys below, which override it. Default: rolling"),
  canary: canary.optional().describe("How many instances go first with the canary strategy: 1, or 10%"),
  "min-healthy": percentage(0, 100).optional().describe("MinHealthyPercentage"),
  "max-healthy": percentage(100, 200).optional().describe("MaxHealthyPercentage"),
  "instance-warmup": apiDuration.optional().describe("InstanceWarmup"),
  checkpoints: z
    .array(percentage(1, 100))
    .min(1, "must not be empty")
    .refine(
      (list) => list.every((percent, index) => index === 0 || percent > (list[index - 1] ?? 0)),
      "must be ascending, without repetition",
    )
    .refine(
      (list) => list.at(-1) === 100,
      "must end with 100: else AWS calls the refresh successful with the rest of the group on the old image",
    )
    .optional()
    .describe("CheckpointPercentages, ascending, the last is 100"),
  "checkpoint-delay": apiDuration
    .optional()
    .describe("CheckpointDelay. Default: 5m, or with a smoke test its timeout and 1m"),
  "bake-time": apiDuration.optional().describe("BakeTime"),
  alarms: z
    .array(z.string().min(1, "must not be empty").max(255, "must be at most 255 characters"))
    .min(1, "must name at least one alarm")
    .max(10, "must be at most 10 alarms, AWS's limit")
    .optional()
    .describe("AlarmSpecification"),
  "skip-matching": z.boolean().optional().describe("SkipMatching. Default: true"),
  "auto-rollback": z.boolean().optional().describe("AutoRollback. Default: true"),
  "scale-in-protected": z
    .enum(["refresh", "ignore", "wait"])
    .optional()
    .describe("ScaleInProtectedInstances. Default: refresh"),
  standby: z.enum(["terminate", "ignore", "wait"]).optional().describe("StandbyInstances. Default: ignore"),
  "smoke-test": smokeTest.optional(),
  "max-launch-failures": z
    .number()
    .int("must be a whole number")
    .min(1, "must be 1 to 100")
    .max(100, "must be 1 to 100")
    .optional()
    .describe("Replacements that may fail before the rollout is rolled back. Default: 3"),
  order: z
    .enum(["parallel", "sequential"])
    .optional()
    .describe("How several targets are taken. Default: parallel"),
});

type RolloutKeys = z.infer<typeof rolloutKeys>;

export const rollout = rolloutKeys
  .superRefine((settings, context) => {
    const found = [
      ...healthContradictions(settings),
      ...checkpointContradictions(settings),
      ...repeatedAlarms(settings),
    ];
    for (const [path, message] of found) context.addIssue({ code: "custom", path: [...path], message });
  })
  .describe("How instances are replaced");

/**
 * Bounds that leave AWS no way to replace anything. RefreshPreferences: the maximum is at most 100 percent above the
 * minimum, and where both cannot be kept AWS exceeds the maximum that was set.
 */
function healthContradictions(settings: RolloutKeys): readonly Contradiction[] {
  const { strategy = "rolling", "min-healthy": min, "max-healthy": max } = settings;
  if (strategy === "replace-root-volume") return rootVolumeContradictions(min, max);
  if (min !== undefined && max !== undefined && max - min > 100) {
    return [[["max-healthy"], `must be at most 100 percent above min-healthy (${min}), AWS's limit`]];
  }
  // Recycle's own maximum is 100; the others' own minimum is.
  const lowest = min ?? (strategy === "recycle" ? undefined : 100);
  const highest = max ?? (strategy === "recycle" ? 100 : undefined);
  if (lowest !== 100 || highest !== 100) return [];
  const key = max === undefined ? "min-healthy" : "max-healthy";
  const other = max === undefined ? "max-healthy" : "min-healthy";
  const origin = settings[other] === undefined ? ` (the default of ${strategy})` : "";
  return [
    [
      [key],
      `of 100 with ${other} of 100${origin} lets no instance go and none be added, and AWS would exceed the maximum: write min-healthy: 100 with max-healthy: 110, or a lower min-healthy`,
    ],
  ];
}

/** AWS's page "Replace root volumes during instance refresh": the instances stay, and reboot onto the new volume. */
function rootVolumeContradictions(
  min: number | undefined,
  max: number | undefined,
): readonly Contradiction[] {
  const found: Contradiction[] = [];
  if (min === 100) {
    found.push([
      ["min-healthy"],
      "must be less than 100 with replace-root-volume: an instance is out of service while its volume is replaced",
    ]);
  }
  if (max !== undefined && max > 100)
    found.push([["max-healthy"], "must be 100 with replace-root-volume, which adds no instances"]);
  return found;
}

/** RefreshPreferences: a delay needs checkpoints. */
function checkpointContradictions(settings: RolloutKeys): readonly Contradiction[] {
  const found: Contradiction[] = [];
  const { strategy, canary, checkpoints, "checkpoint-delay": delay } = settings;
  if (canary !== undefined && strategy !== "canary") {
    found.push([["canary"], "needs strategy: canary"]);
  } else if (canary !== undefined && checkpoints !== undefined) {
    found.push([["canary"], "cannot be combined with checkpoints: both say how many go first"]);
  }
  if (delay !== undefined && checkpoints === undefined && strategy !== "canary")
    return [...found, [["checkpoint-delay"], "needs checkpoints, or the canary strategy"]];
  return [...found, ...delayContradictions(settings)];
}

/** The API has no call that goes on from a checkpoint: AWS does after the delay, whatever the test finds then. */
function delayContradictions(settings: RolloutKeys): readonly Contradiction[] {
  const { "checkpoint-delay": delay, "smoke-test": test } = settings;
  const timeout = typeof test === "object" ? test.timeout : undefined;
  const available = parseDuration(delay ?? "");
  const limit = parseDuration(timeout ?? DEFAULT_SMOKE_TEST_TIMEOUT);
  if (test === undefined || available === undefined || limit === undefined) return [];
  const needed = Math.round(limit / 1000) + CHECKPOINT_NOTICE_SECONDS;
  if (Math.round(available / 1000) >= needed) return [];
  return [
    [
      ["checkpoint-delay"],
      `must be at least ${needed}s, the smoke test's timeout (${timeout ?? DEFAULT_SMOKE_TEST_TIMEOUT}) and a minute to notice the checkpoint: AWS goes on by itself after the delay`,
    ],
  ];
}

function repeatedAlarms({ alarms = [] }: RolloutKeys): readonly Contradiction[] {
  return alarms.flatMap((alarm, index): Contradiction[] =>
    alarms.indexOf(alarm) === index ? [] : [[["alarms", index], `repeats ${alarm}`]],
  );
}
