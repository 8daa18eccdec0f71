import * as z from "zod";
import { MAX_GROUP_NAME, REGION } from "../domain/application.ts";
import { parseDuration } from "../domain/duration.ts";
import { isRepositoryPath } from "../domain/repository-path.ts";
import { rollout } from "./rollout-schema.ts";
import {
  branchPattern,
  type Contradiction,
  duration,
  pattern,
  recordPrefix,
  repositoryPath,
  segment,
} from "./values.ts";

/** The config file's one definition: checked strictly at run time, and published as JSON Schema in `schemas/`. */

/** IAM user guide, IAM identifiers. */
const ROLE_ARN = /^arn:aws[\w-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/;

const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, "must be a Packer variable's name: letters, digits, '_' and '-'");

/** How GitHub names a repository. */
const REPOSITORY = /^[A-Za-z0-9-]{1,39}\/[A-Za-z0-9._-]{1,100}$/;

/** Names or globs of builds, as Packer's `-only` and `-except` take them; a comma would separate two. */
const buildNames = (key: string) =>
  z
    .array(
      z
        .string()
        .regex(
          /^[^\s,-][^\s,]{0,199}$/,
          `must be the name of a build such as amazon-ebs.web, one per item of ${key}`,
        ),
    )
    .min(1, "must name at least one build")
    .max(50, "must be at most 50 builds");

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
        "Globs of the files that decide the image, besides the template and what it refers to; `!` takes files out. Default: the template's folder",
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
    "working-directory": repositoryPath
      .optional()
      .describe(
        "The folder that Packer runs in, which relative paths in the template start from. Default: the repository's root",
      ),
    only: buildNames("only")
      .optional()
      .describe("The only builds of the template that Packer runs (`packer build -only`)"),
    except: buildNames("except")
      .optional()
      .describe("Builds of the template that Packer leaves out (`packer build -except`)"),
    "former-repositories": z
      .array(z.string().regex(REPOSITORY, "must be OWNER/NAME"))
      .max(20, "must be at most 20 repositories")
      .optional()
      .describe(
        "Earlier names of this repository, `OWNER/NAME`: images that were baked under them stay usable after a rename",
      ),
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

const ONLY_NEGATED = "must have a pattern without ! too: those with ! only take branches away";

const environment = z
  .strictObject({
    branches: z
      .union(
        [
          branchPattern.refine((text) => !text.startsWith("!"), ONLY_NEGATED),
          z
            .array(branchPattern)
            .max(200, "must be at most 200 patterns")
            .refine(
              (texts) => texts.length === 0 || texts.some((text) => !text.startsWith("!")),
              ONLY_NEGATED,
            ),
        ],
        { error: "must be a pattern, or a list of patterns" },
      )
      .optional()
      .describe(
        "The branches that may be released here, as patterns of GitHub's `on.push.branches`; a push to one of them is. Default: any branch may, by the step's `environment`",
      ),
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
    application: segment
      .optional()
      .describe(
        "The application's name. Default: the repository's; required in a config file other than the default one",
      ),
    "record-prefix": recordPrefix
      .optional()
      .describe("What the records' names begin with: release, or release/api. Default: release"),
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
