import { posix } from "node:path";
import { type Document, isAlias, isMap, isScalar, type LineCounter, type Node } from "yaml";
import type * as z from "zod";
import {
  type Application,
  DEFAULT_PRUNE,
  DEFAULT_STRATEGY,
  type Environment,
  type ImageRecipe,
  type PruneSettings,
  type RolloutSettings,
  type SmokeTest,
} from "../domain/application.ts";
import { parseDuration } from "../domain/duration.ts";
import { InvalidInputError, type Problem } from "../domain/errors.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { DEFAULT_RECORD_PREFIX } from "../domain/release-tag.ts";
import { splitCommand } from "./command-line.ts";
import { DEFAULT_SMOKE_TEST_TIMEOUT } from "./rollout-schema.ts";
import { type Config, configSchema } from "./schema.ts";
import { readYaml } from "./yaml-text.ts";

/**
 * The application that a config file describes.
 * @param text the file's content
 * @param file its path as the user knows it, for messages
 * @param defaultName the application's name if the file has none; `undefined`: the file must have one
 * @throws InvalidInputError with every problem, each with its line and column
 */
export function loadConfig(text: string, file: string, defaultName: string | undefined): Application {
  const { document, value, lines } = readYaml(text, file);
  const result = configSchema.safeParse(value);
  const name = result.data?.application ?? defaultName;
  if (result.success && name !== undefined) return toApplication(result.data, document, name);
  const problems = (result.error?.issues ?? []).flatMap((issue) => problemsOf(issue, document, file, lines));
  if (name === undefined && !hasName(value)) problems.push({ where: `${file}:1:1`, message: NAMELESS });
  throw new InvalidInputError(
    problems.sort((a, b) => a.where.localeCompare(b.where, "en", { numeric: true })),
  );
}

/**
 * Tells where things stand in a config file: `file:line:column` of what the keys lead to, or of the nearest thing around it
 * if it is not there.
 */
export function placesInConfig(text: string, file: string): (keys: readonly string[]) => string {
  const { document, lines } = readYaml(text, file);
  return (keys) => {
    const { line, col } = lines.linePos(offsetOf(document, keys, true));
    return `${file}:${line}:${col}`;
  };
}

const NAMELESS =
  "application is missing: a config file other than the default one must name its application, since two files of a repository describe two applications";

/** Whether a file that may have other problems names its application. */
function hasName(value: unknown): boolean {
  return typeof value === "object" && value !== null && "application" in value;
}

/** One schema issue as problems at their places; an unknown key names the nearest known one. */
function problemsOf(
  issue: z.core.$ZodIssue,
  document: Document,
  file: string,
  lines: LineCounter,
): Problem[] {
  const at = (path: readonly PropertyKey[], ofKey: boolean): string => {
    const offset = offsetOf(document, path, ofKey);
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(configSchema, issue.path);
    return issue.keys.map((key) => ({
      where: at([...issue.path, key], true),
      message: `unknown key "${key}"${known.length > 0 ? `; did you mean "${nearestName(key, known)}"? Known here: ${known.join(", ")}` : ""}`,
    }));
  }
  const chosen = chosenForm(issue);
  if (chosen.length > 0) return chosen.flatMap((inner) => problemsOf(inner, document, file, lines));
  const name = issue.path.map(String).join(".");
  const key = issue.code === "invalid_key";
  const message = key ? issue.issues.map((inner) => inner.message).join("; ") : ownMessage(issue);
  const missing =
    (issue.code === "invalid_type" || issue.code === "invalid_union") &&
    document.getIn(issue.path) === undefined;
  return [
    {
      where: at(missing ? issue.path.slice(0, -1) : issue.path, key),
      message: missing
        ? `"${name}" is missing`
        : `${name === "" ? "the file" : `"${name}"`} ${sentence(message)}`,
    },
  ];
}

/** Of a key that can be written in several forms: what is wrong with the one that was chosen, told by the type. */
function chosenForm(issue: z.core.$ZodIssue): readonly z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [];
  const form = issue.errors.find(
    (errors) => !errors.some((error) => error.code === "invalid_type" && error.path.length === 0),
  );
  return (form ?? []).map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** Zod says "Invalid input" of a key with several forms unless its schema has a text. */
function ownMessage(issue: z.core.$ZodIssue): string {
  return issue.code === "invalid_union" && issue.message === "Invalid input"
    ? (issue.errors.flat().at(-1)?.message ?? issue.message)
    : issue.message;
}

/** Zod's own messages start with "Invalid input: expected …"; ours complete "key …". */
function sentence(message: string): string {
  return message
    .replace(/^Invalid input: expected (\w+), received (\w+)$/, "must be $1, not $2")
    .replace(/^Invalid option: expected one of /, "must be one of ");
}

/** Where a key or value stands in the text; for what is not there, the nearest thing around it. */
function offsetOf(document: Document, path: readonly PropertyKey[], ofKey: boolean): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(last));
      const node = (ofKey || length < path.length ? pair?.key : (pair?.value ?? pair?.key)) as
        Node | null | undefined;
      if (node?.range) return node.range[0];
    }
    const node = document.getIn(path.slice(0, length), true) as Node | undefined;
    if (node?.range) return node.range[0];
  }
  return 0;
}

/** The keys that the schema knows at a path. */
function knownKeys(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const { def } = schema._zod as { def: SchemaShape };
  const inner = def.innerType ?? def.in;
  if (inner !== undefined) return knownKeys(inner, path);
  if (def.options !== undefined) return def.options.flatMap((option) => knownKeys(option, path));
  const [first, ...rest] = path;
  if (def.type === "object") {
    const shape = def.shape ?? {};
    if (first === undefined) return Object.keys(shape);
    const next = Object.hasOwn(shape, String(first)) ? shape[String(first)] : undefined;
    return next === undefined ? [] : knownKeys(next, rest);
  }
  const element = def.type === "record" ? def.valueType : def.element;
  return first === undefined || element === undefined ? [] : knownKeys(element, rest);
}

interface SchemaShape {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>;
  readonly valueType?: z.core.$ZodType;
  readonly element?: z.core.$ZodType;
  readonly innerType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly options?: readonly z.core.$ZodType[];
}

function toApplication(config: Config, document: Document, name: string): Application {
  const environments = inFileOrder(config.environments, document);
  // One bake for all environments, whose image is copied to where the others are.
  const imageRegion = environments[0]?.[1].targets[0]?.region;
  return {
    name,
    recordPrefix: config["record-prefix"] ?? DEFAULT_RECORD_PREFIX,
    ...(config.prune === undefined ? {} : { prune: toPrune(config.prune) }),
    image: {
      template: repositoryPath(config.image.template),
      inputs: config.image.inputs,
      vars: Object.fromEntries(
        Object.entries(config.image.vars ?? {}).map(([name, value]) => [
          name,
          variableText(value, document, name),
        ]),
      ),
      varFiles: (config.image["var-files"] ?? []).map(repositoryPath),
      maxAge: parseDuration(config.image["max-age"] ?? ""),
      ...toBuildSettings(config.image),
    },
    environments: environments.map(([name, environment]): Environment => ({
      name,
      branches: [environment.branches ?? []].flat(),
      requires: environment.requires,
      instanceType: environment["instance-type"],
      imageRegion,
      roleToAssume: environment["role-to-assume"],
      targets: environment.targets.map((target) => ({
        region: target.region,
        autoScalingGroup: target["auto-scaling-group"],
        ...(target["kms-key"] === undefined ? {} : { kmsKey: target["kms-key"] }),
      })),
      rollout: toRollout(environment.rollout ?? {}),
    })),
  };
}

/** The keys of `image` that most templates do without; one that is not set is absent. */
function toBuildSettings(
  image: Config["image"],
): Pick<ImageRecipe, "workingDirectory" | "only" | "except" | "formerRepositories"> {
  const { "working-directory": workingDirectory, only, except, "former-repositories": former } = image;
  return {
    ...(workingDirectory === undefined ? {} : { workingDirectory: repositoryPath(workingDirectory) }),
    ...(only === undefined ? {} : { only }),
    ...(except === undefined ? {} : { except }),
    ...(former === undefined ? {} : { formerRepositories: former }),
  };
}

function toPrune(settings: NonNullable<Config["prune"]>): PruneSettings {
  return {
    keep: settings.keep ?? DEFAULT_PRUNE.keep,
    minAge: parseDuration(settings["min-age"] ?? "") ?? DEFAULT_PRUNE.minAge,
    grace: parseDuration(settings.grace ?? "") ?? DEFAULT_PRUNE.grace,
  };
}

/** A path as git writes it: without `./`, doubled or closing slashes; `.` is the whole repository. */
export function repositoryPath(written: string): string {
  return posix.normalize(written).replace(/\/$/, "");
}

/** Objects list keys that look like numbers first, whatever the file's order. */
function inFileOrder(
  environments: Config["environments"],
  document: Document,
): readonly (readonly [name: string, environment: Config["environments"][string]])[] {
  const map = document.get("environments", true);
  const names = isMap(map) ? map.items.map(({ key }) => String(key)) : [];
  return Object.entries(environments).sort(([a], [b]) => names.indexOf(a) - names.indexOf(b));
}

/**
 * A variable's value as Packer takes it. A scalar is passed as it was written: `1.10` stays `1.10`, which YAML reads as
 * the number 1.1. Lists and maps become JSON, which is an HCL expression too.
 */
function variableText(value: unknown, document: Document, name: string): string {
  if (typeof value === "string") return value;
  const written = document.getIn(["image", "vars", name], true);
  const node = isAlias(written) ? written.resolve(document) : written;
  if (isScalar(node) && node.source !== undefined) return node.source;
  return JSON.stringify(value);
}

const seconds = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Math.round((parseDuration(text) ?? 0) / 1000);

function toCanary(canary: number | string): NonNullable<RolloutSettings["canary"]> {
  return typeof canary === "number" ? { instances: canary } : { percentage: Number.parseInt(canary, 10) };
}

function toSmokeTest(
  written: NonNullable<NonNullable<Config["environments"][string]["rollout"]>["smoke-test"]>,
): SmokeTest {
  const { command, timeout = DEFAULT_SMOKE_TEST_TIMEOUT } =
    typeof written === "string" ? { command: written } : written;
  // The schema has seen to it that there is a program.
  const [program = "", ...args] = splitCommand(command);
  return { command: [program, ...args], timeout: seconds(timeout) ?? 0 };
}

function toRollout(settings: NonNullable<Config["environments"][string]["rollout"]>): RolloutSettings {
  const { canary, "smoke-test": smokeTest } = settings;
  return withoutUndefined({
    strategy: settings.strategy ?? DEFAULT_STRATEGY,
    canary: canary === undefined ? undefined : toCanary(canary),
    minHealthy: settings["min-healthy"],
    maxHealthy: settings["max-healthy"],
    instanceWarmup: seconds(settings["instance-warmup"]),
    checkpoints: settings.checkpoints,
    checkpointDelay: seconds(settings["checkpoint-delay"]),
    bakeTime: seconds(settings["bake-time"]),
    alarms: settings.alarms,
    skipMatching: settings["skip-matching"],
    autoRollback: settings["auto-rollback"],
    scaleInProtected: settings["scale-in-protected"],
    standby: settings.standby,
    smokeTest: smokeTest === undefined ? undefined : toSmokeTest(smokeTest),
    maxLaunchFailures: settings["max-launch-failures"],
    order: settings.order,
  });
}

/** Drops the keys whose value is undefined, so that "not set" has one form. */
function withoutUndefined(settings: {
  [K in keyof RolloutSettings]: RolloutSettings[K] | undefined;
}): RolloutSettings {
  return Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  ) as unknown as RolloutSettings;
}
