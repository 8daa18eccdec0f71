import { parseArgsStringToArgv } from "string-argv";
import * as z from "zod";
import { MAX_GROUP_NAME, REGION, STRATEGIES } from "../domain/application.ts";
import { CHECKPOINT_NOTICE_SECONDS } from "../domain/checkpoint.ts";
import { parseDuration } from "../domain/duration.ts";
import { isRefSegment } from "../domain/release-tag.ts";
import { isRepositoryPath } from "../domain/repository-path.ts";
import { patternProblem } from "./patterns.ts";

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
    "must be usable as one segment of a git ref: at most 100 letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'",
  );

const repositoryPath = z
  .string()
  .min(1, "must not be empty")
  .refine(isRepositoryPath, "must be a path inside the repository, relative to its root");

/** A glob that cannot hold a run up. */
const pattern = z.string().superRefine((text, context) => {
  const message = patternProblem(text);
  if (message !== undefined) context.addIssue({ code: "custom", message });
});

const percentage = (minimum: number, maximum: number) =>
  z
    .number()
    .int("must be a whole number of percent")
    .min(minimum, `must be ${minimum} to ${maximum} percent`)
    .max(maximum, `must be ${minimum} to ${maximum} percent`);

/** IAM user guide, IAM identifiers. */
const ROLE_ARN = /^arn:aws[\w-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/;

export const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, "must be a Packer variable's name: letters, digits, '_' and '-'");

const image = z
  .strictObject({
    template: repositoryPath.describe("The Packer template: a file or a folder"),
    inputs: z
      .array(
        z
          .string()
          .min(1, "must not be empty")
          .refine(
            (text) => isRepositoryPath(text.replace(/^!/, "")),
            "must be a path inside the repository, relative to its root",
          )
          .pipe(pattern),
      )
      .min(1, "must name at least one pattern")
      .max(200, "must be at most 200 patterns")
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

/** EC2 API reference, CopyImage, KmsKeyId. */
const KMS_KEY = /^(?:arn:aws[\w-]*:kms:\S+|alias\/[\w/-]+|(?:mrk-)?[0-9a-f-]{32,36})$/;

const target = z
  .strictObject({
    region: z.string().regex(REGION, "must be an AWS region such as eu-west-1"),
    "auto-scaling-group": z
      .string()
      .min(1, "must not be empty")
      .max(MAX_GROUP_NAME, "must be at most 255 characters"),
    "kms-key": z
      .string()
      .regex(KMS_KEY, "must be a KMS key's ARN, id or alias, such as alias/web")
      .optional()
      .describe("The key that this group's image is encrypted with; default: as it was baked"),
  })
  .describe("One Auto Scaling group in one region");

/** As logs and errors name a target. */
const nameOf = (of: z.infer<typeof target>): string => `${of.region}/${of["auto-scaling-group"]}`;

const targets = z
  .array(target)
  .min(1, "must name at least one target")
  .max(20, "must be at most 20 targets")
  .superRefine((list, context) => {
    for (const [index, { region, "kms-key": key }] of list.entries()) {
      const first = list.find((other) => other.region === region);
      if (first === undefined || first["kms-key"] === key) continue;
      const message = `must be the same as that of ${nameOf(first)}: a release has one image a region`;
      context.addIssue({ code: "custom", path: [index, "kms-key"], message });
    }
    const names = list.map(nameOf);
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) === index) continue;
      context.addIssue({
        code: "custom",
        path: [index],
        message: `repeats ${name}: each group may stand here once`,
      });
    }
  })
  .describe("The Auto Scaling groups of this environment, 1 to 20: all get a release, or none keeps it");

const canary = z.union([
  z.number().int("must be a whole number of instances").min(1, "must be at least 1"),
  z.string().regex(/^(?:[1-9]\d?)%$/, "must be a number of instances, or a percentage from 1% to 99%"),
]);

/** What only a shell understands, outside quotes: a variable set or used, an operator, a redirection. */
const SHELL_SYNTAX = /^\s*([A-Za-z_]\w*=\S*)|(?:^|\s)((?:\d?[<>]|[&|;])\S*)|(\$[\w{(]\S*)|(;)(?=\s|$)|(`\S*)/;

const VARIABLE = /\$(?:[A-Za-z_]\w*|[{(])/;

/** What is wrong with a command line; undefined: nothing. */
function commandLineProblem(text: string): string | undefined {
  const forShell = /(?:^|\/)\w*sh$/.test(splitCommand(text)[0] ?? "");
  // The splitter's rules: a quote ends at the next one of its kind, a backslash is a character like others. A variable
  // in double quotes is a habit from the shell, unless it is meant for one.
  const unquoted = text.replace(/"([^"]*)"|'[^']*'/g, (_, inDouble: string | undefined) =>
    forShell ? "quoted" : `quoted${VARIABLE.exec(inDouble ?? "")?.[0] ?? ""}`,
  );
  const open = /["']/.exec(unquoted)?.[0];
  if (open !== undefined) return `has a quote (${open}) that is not closed`;
  const shell = unquoted.trim().includes("\n")
    ? "several lines"
    : SHELL_SYNTAX.exec(unquoted)
        ?.slice(1)
        .find((group) => group !== undefined);
  if (shell !== undefined)
    return `has ${shell}, which only a shell understands, and none is run: name a script, or write command: [bash, -c, "…"]`;
  return beginsWithProgram(splitCommand(text)) ? undefined : NO_PROGRAM;
}

const NO_PROGRAM = "must begin with a program";

function beginsWithProgram([program = ""]: readonly string[]): boolean {
  return program.trim() !== "";
}

/** A command as program and arguments. No shell: what a variable holds cannot become syntax. */
export function splitCommand(command: string | readonly string[]): readonly string[] {
  return typeof command === "string" ? parseArgsStringToArgv(command) : command;
}

const commandLine = z.string().superRefine((text, context) => {
  const message = commandLineProblem(text);
  if (message !== undefined) context.addIssue({ code: "custom", message });
});

const commandWords = z
  .array(z.string())
  .min(1, NO_PROGRAM)
  .refine((words) => words.length === 0 || beginsWithProgram(words), NO_PROGRAM);

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
type Contradiction = readonly [path: readonly (string | number)[], message: string];

const rollout = rolloutKeys
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

const keep = "must be 1 to 100 releases";

const atLeast = (least: string, why: string) =>
  duration.refine(
    (text) => (parseDuration(text) ?? Infinity) >= (parseDuration(least) ?? 0),
    `must be at least ${least}${why}`,
  );

const prune = z
  .strictObject({
    keep: z
      .number()
      .int("must be a whole number of releases")
      .min(1, keep)
      .max(100, keep)
      .optional()
      .describe("The images of that many newest releases of each environment stay. Default: 10"),
    "min-age": atLeast("1d", ": AWS tells that an image was launched a day later")
      .optional()
      .describe("Younger images stay, and those that somebody launched within that time. Default: 7d"),
    grace: atLeast("1h", "")
      .optional()
      .describe("How long an image stays deprecated before it is deregistered. Default: 14d"),
  })
  .describe("Which images the command prune keeps");

const environment = z
  .strictObject({
    branches: z
      .array(z.string().min(1).pipe(pattern))
      .max(200, "must be at most 200 patterns")
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
    "role-to-assume": z
      .string()
      .regex(ROLE_ARN, "must be a role's ARN such as arn:aws:iam::222222222222:role/web-deployer")
      .optional()
      .describe(
        "The role in the targets' account, where that is another than the one that images are baked in",
      ),
    targets,
    rollout: rollout.optional(),
  })
  .superRefine((settings, context) => {
    if (settings["instance-type"] === undefined || settings.rollout?.strategy !== "replace-root-volume")
      return;
    // The CDK's InstanceRefreshStrategy.REPLACE_ROOT_VOLUME: only changes of the image are allowed.
    const message = "cannot be combined with replace-root-volume, which keeps the instances that there are";
    context.addIssue({ code: "custom", path: ["instance-type"], message });
  });

type Environments = Readonly<Record<string, z.infer<typeof environment>>>;

function unknownRequirements(environments: Environments): readonly Contradiction[] {
  return Object.entries(environments).flatMap(([name, { requires }]): Contradiction[] =>
    requires === undefined || (requires !== name && Object.hasOwn(environments, requires))
      ? []
      : [[[name, "requires"], `must be another environment of this file, not "${requires}"`]],
  );
}

/** A group is told from one of another account by the role that the environment's targets are changed with. */
function sharedTargets(environments: Environments): readonly Contradiction[] {
  const owners = new Map<string, string>();
  return Object.entries(environments).flatMap(([name, environment]) =>
    environment.targets.flatMap((target, index): Contradiction[] => {
      const group = nameOf(target);
      const account = environment["role-to-assume"]?.split(":")[4] ?? "";
      const owner = owners.get(`${account} ${group}`) ?? name;
      owners.set(`${account} ${group}`, owner);
      if (owner === name) return [];
      const message = `cannot be ${group}, which environment ${owner} has: each of ${owner} and ${name} would replace the other's releases`;
      return [[[name, "targets", index], message]];
    }),
  );
}

/** GitHub is asked for the records of all of them in one request. */
const MAX_ENVIRONMENTS = 100;

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
      .refine(
        (environments) => Object.keys(environments).length <= MAX_ENVIRONMENTS,
        `must describe at most ${MAX_ENVIRONMENTS} environments`,
      )
      .superRefine((environments, context) => {
        const found = [...unknownRequirements(environments), ...sharedTargets(environments)];
        for (const [path, message] of found) context.addIssue({ code: "custom", path: [...path], message });
      }),
    prune: prune.optional(),
  })
  .meta({ title: "Kiln's config file" });

export type Config = z.infer<typeof configSchema>;
