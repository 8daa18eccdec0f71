import * as z from "zod";
import { STRATEGIES } from "../domain/application.ts";
import { parseDuration } from "../domain/duration.ts";
import { isRefSegment } from "../domain/release-tag.ts";

/**
 * The config file's one definition: checked strictly at run time, and published as JSON Schema in `schemas/`.
 * Limits of AWS's API are those of its reference (StartInstanceRefresh, RefreshPreferences).
 */

const MAX_DELAY_SECONDS = 172_800;

const duration = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, "must be a duration such as 90s, 10m, 12h or 30d");

/** A duration that AWS takes in whole seconds, up to 48 hours. */
const apiDuration = duration.refine(
  (text) => (parseDuration(text) ?? 0) <= MAX_DELAY_SECONDS * 1000,
  "must be at most 48h, the longest that AWS takes",
);

const segment = z
  .string()
  .refine(
    isRefSegment,
    "must be usable as one segment of a git ref: letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'",
  );

const repositoryPath = z
  .string()
  .min(1, "must not be empty")
  .refine(
    (path) => !path.startsWith("/") && !path.split("/").includes(".."),
    "must be a path inside the repository, relative to its root",
  );

const percentage = (minimum: number, maximum: number) =>
  z
    .number()
    .int("must be a whole number of percent")
    .min(minimum, `must be ${minimum} to ${maximum} percent`)
    .max(maximum, `must be ${minimum} to ${maximum} percent`);

export const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, "must be a Packer variable's name: letters, digits, '_' and '-'");

const image = z
  .strictObject({
    template: repositoryPath.describe("The Packer template: a file or a folder"),
    inputs: z
      .array(repositoryPath.or(z.string().startsWith("!")))
      .min(1, "must name at least one pattern")
      .optional()
      .describe(
        "Globs of the files that decide the image's content, besides the template. Default: the template's folder",
      ),
    vars: z
      .record(
        variableName,
        z.union([
          z.string(),
          z.number(),
          z.boolean(),
          z.array(z.unknown()),
          z.record(z.string(), z.unknown()),
        ]),
      )
      .optional()
      .describe("Packer variables"),
    "var-files": z.array(repositoryPath).optional().describe("Packer variable files"),
    "max-age": duration.optional().describe("Images older than this are baked anew"),
  })
  .describe("How the image is made");

const target = z.strictObject({
  region: z.string().regex(/^[a-z]{2}(?:-[a-z]+)+-\d$/, "must be an AWS region such as eu-west-1"),
  "auto-scaling-group": z.string().min(1, "must not be empty").max(255, "must be at most 255 characters"),
});

const canary = z.union([
  z.number().int("must be a whole number of instances").min(1, "must be at least 1"),
  z.string().regex(/^(?:[1-9]\d?)%$/, "must be a number of instances, or a percentage from 1% to 99%"),
]);

const rollout = z
  .strictObject({
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
      .optional()
      .describe("CheckpointPercentages"),
    "checkpoint-delay": apiDuration.optional().describe("CheckpointDelay"),
    "bake-time": apiDuration.optional().describe("BakeTime"),
    alarms: z
      .array(z.string().min(1))
      .min(1)
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
  })
  .superRefine((settings, context) => {
    for (const [key, message] of contradictions(settings)) {
      context.addIssue({ code: "custom", path: [key], message });
    }
  })
  .describe("How instances are replaced");

/** Pairs of keys that AWS refuses together (API reference, RefreshPreferences), found before AWS is asked. */
function contradictions(settings: {
  readonly strategy?: string | undefined;
  readonly canary?: unknown;
  readonly "min-healthy"?: number | undefined;
  readonly "max-healthy"?: number | undefined;
  readonly checkpoints?: readonly number[] | undefined;
  readonly "checkpoint-delay"?: string | undefined;
}): readonly (readonly [key: string, message: string])[] {
  const found: (readonly [string, string])[] = [];
  const { "min-healthy": min, "max-healthy": max, checkpoints } = settings;
  if (min !== undefined && max !== undefined && max - min > 100) {
    found.push(["max-healthy", `must be at most 100 percent above min-healthy (${min}), AWS's limit`]);
  }
  if (checkpoints?.some((percent, index) => index > 0 && percent <= (checkpoints[index - 1] ?? 0)) === true) {
    found.push(["checkpoints", "must be ascending, without repetition"]);
  }
  if (checkpoints !== undefined && checkpoints.at(-1) !== 100) {
    found.push([
      "checkpoints",
      "must end with 100: else AWS calls the refresh successful with the rest of the group on the old image",
    ]);
  }
  if (
    settings["checkpoint-delay"] !== undefined &&
    checkpoints === undefined &&
    settings.strategy !== "canary"
  ) {
    found.push(["checkpoint-delay", "needs checkpoints, or the canary strategy"]);
  }
  if (settings.canary !== undefined && settings.strategy !== "canary") {
    found.push(["canary", "needs strategy: canary"]);
  }
  return found;
}

const environment = z.strictObject({
  branches: z
    .array(z.string().min(1))
    .optional()
    .describe("Branches, or globs of branches, whose pushes this environment serves"),
  requires: segment
    .optional()
    .describe("Another environment: only what it has released may be released here"),
  "instance-type": z
    .string()
    .regex(/^[a-z0-9-]+\.[a-z0-9-]+$/, "must be an instance type such as t3.small")
    .optional()
    .describe("The instance type here; default: the launch template's"),
  targets: z
    .array(target)
    .length(1, "must be one target: this version releases to one Auto Scaling group an environment"),
  rollout: rollout.optional(),
});

export const configSchema = z
  .strictObject({
    application: segment.optional().describe("The application's name. Default: the repository's"),
    "record-prefix": segment.optional().describe("The first segment of the records' names. Default: release"),
    image,
    environments: z
      .record(segment, environment)
      .refine(
        (environments) => Object.keys(environments).length > 0,
        "must describe at least one environment",
      )
      .superRefine((environments, context) => {
        for (const [name, { requires }] of Object.entries(environments)) {
          if (requires === undefined || (requires !== name && Object.hasOwn(environments, requires)))
            continue;
          const message = `must be another environment of this file, not "${requires}"`;
          context.addIssue({ code: "custom", path: [name, "requires"], message });
        }
      }),
  })
  .meta({ title: "Kiln's config file" });

export type Config = z.infer<typeof configSchema>;

/** Keys of the product's contract that this version does not carry out yet; refused rather than ignored. */
export const LATER_KEYS: ReadonlySet<string> = new Set([
  "role-to-assume",
  "kms-key",
  "smoke-test",
  "max-launch-failures",
  "order",
]);
