import { MAX_GROUP_NAME, REGION, type Strategy, STRATEGIES } from "../domain/application.ts";
import { parseDuration } from "../domain/duration.ts";
import { InvalidInputError, type Problem } from "../domain/errors.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { isRepositoryPath } from "../domain/repository-path.ts";
import { canBeHidden, SHORTEST_SECRET } from "../domain/secrets.ts";
import { parseVariables } from "./variables.ts";
import type { WorkingDirectory } from "./working-directory.ts";

/** The commands of this version. */
export const COMMANDS = ["deploy", "bake", "promote", "rollback", "status", "prune"] as const;
export type Command = (typeof COMMANDS)[number];

const REBAKE = ["auto", "always", "never"] as const;
const ON_CANCEL = ["rollback", "leave"] as const;

/** The names of all inputs, as in action.yml; a test holds the two together. */
export const INPUT_NAMES = [
  "command",
  "environment",
  "config",
  "working-directory",
  "to",
  "from",
  "reason",
  "version",
  "vars",
  "secret-vars",
  "rebake",
  "dry-run",
  "allow-older",
  "allow-unverified",
  "any-branch",
  "allow-pull-request",
  "allow-pull-request-target",
  "incident",
  "on-cancel",
  "fail-on-drift",
  "timeout",
  "poll-interval",
  "token",
  "application",
  "template",
  "region",
  "auto-scaling-group",
  "strategy",
] as const;
export type InputName = (typeof INPUT_NAMES)[number];

/** One environment that the step itself describes, instead of a config file. */
export interface InlineEnvironment {
  readonly application: string | undefined;
  readonly template: string;
  readonly region: string;
  readonly autoScalingGroup: string;
  readonly strategy: Strategy | undefined;
}

/** The inputs, checked: every value is one that the command can work with. */
export interface Inputs {
  readonly command: Command;
  readonly environment: string | undefined;
  readonly config: string;
  /** rollback: which release to restore. */
  readonly to: string;
  /** promote: the environment whose image to take; undefined: the one that the environment requires. */
  readonly from: string | undefined;
  readonly reason: string | undefined;
  readonly version: string | undefined;
  readonly vars: Readonly<Record<string, string>>;
  readonly secretVars: Readonly<Record<string, string>>;
  readonly rebake: (typeof REBAKE)[number];
  readonly dryRun: boolean;
  readonly allowOlder: boolean;
  /** Accept a release of the required environment in which no instance was verified. */
  readonly allowUnverified: boolean;
  /** deploy: release also from a branch that the environment does not list. */
  readonly anyBranch: boolean;
  /** deploy, bake: bake also what a pull request of this repository brings. */
  readonly allowPullRequest: boolean;
  /** Run also where the code may be a stranger's. */
  readonly allowPullRequestTarget: boolean;
  readonly incident: boolean;
  readonly failOnDrift: boolean;
  readonly onCancel: (typeof ON_CANCEL)[number];
  /** Milliseconds. */
  readonly timeout: number;
  /** Milliseconds. */
  readonly pollInterval: number | undefined;
  readonly token: string;
  /** Undefined where a config file describes the environments. */
  readonly inline: InlineEnvironment | undefined;
}

/** Two hours: longer than AWS takes to give a stuck refresh up, shorter than a job may last. */
const DEFAULT_TIMEOUT = "2h";
export const DEFAULT_CONFIG = ".github/kiln.yml";
const INLINE_NAMES = ["template", "region", "auto-scaling-group"] as const;

/**
 * Checks all inputs at once.
 * @param given every input that the step set, by name; absent and empty mean the same
 * @param configExists whether there is a file at a path of the repository
 * @param place what was found out about the folder that the repository should be checked out in
 * @throws InvalidInputError with every problem
 */
export function parseInputs(
  given: Readonly<Record<string, string>>,
  configExists: (path: string) => boolean,
  place: Pick<WorkingDirectory, "problem" | "advice"> = { problem: undefined, advice: undefined },
): Inputs {
  const problems: Problem[] = [];
  const report = (name: string, message: string): void => {
    problems.push({ where: `input ${name}`, message });
  };
  const text = (name: InputName): string | undefined => given[name]?.trim() || undefined;
  reportUnknown(given, report);

  const command = text("command") ?? "deploy";
  const config = text("config") ?? DEFAULT_CONFIG;
  const inputs = {
    command: oneOf("command", command, COMMANDS, report),
    environment: text("environment"),
    config,
    to: text("to") ?? "previous",
    from: text("from"),
    reason: text("reason"),
    version: text("version"),
    vars: variables("vars", given["vars"] ?? "", report),
    secretVars: variables("secret-vars", given["secret-vars"] ?? "", report),
    rebake: oneOf("rebake", text("rebake") ?? "auto", REBAKE, report),
    dryRun: boolean("dry-run", text("dry-run") ?? "false", report),
    allowUnverified: boolean("allow-unverified", text("allow-unverified") ?? "false", report),
    allowOlder: boolean("allow-older", text("allow-older") ?? "false", report),
    anyBranch: boolean("any-branch", text("any-branch") ?? "false", report),
    allowPullRequest: boolean("allow-pull-request", text("allow-pull-request") ?? "false", report),
    allowPullRequestTarget: boolean(
      "allow-pull-request-target",
      text("allow-pull-request-target") ?? "false",
      report,
    ),
    incident: boolean("incident", text("incident") ?? "false", report),
    failOnDrift: boolean("fail-on-drift", text("fail-on-drift") ?? "false", report),
    onCancel: oneOf("on-cancel", text("on-cancel") ?? "rollback", ON_CANCEL, report),
    timeout: duration("timeout", text("timeout") ?? DEFAULT_TIMEOUT, "5d", report) ?? 0,
    pollInterval: duration("poll-interval", text("poll-interval"), "1h", report),
    token: text("token") ?? "",
    // A path that leads elsewhere is reported below, and looked up nowhere; nor is anything in a folder that is none.
    inline:
      isRepositoryPath(config) && place.problem === undefined
        ? inlineEnvironment(text, { config, exists: configExists(config), advice: place.advice }, report)
        : undefined,
  };
  if (place.problem !== undefined) report("working-directory", place.problem);
  reportMisplaced(inputs.command, text, report);
  reportUnfit(inputs, report);
  if (inputs.token === "")
    report("token", "is empty; leave it out for the job's own token, ${{ github.token }}");
  reportShortSecrets(inputs.secretVars, report);
  const both = Object.keys(inputs.vars).filter((name) => Object.hasOwn(inputs.secretVars, name));
  for (const name of both) report("secret-vars", `"${name}" is in vars too`);
  if (problems.length > 0) throw new InvalidInputError(problems);
  return inputs;
}

type Report = (name: string, message: string) => void;

function reportUnknown(given: Readonly<Record<string, string>>, report: Report): void {
  for (const name of Object.keys(given)) {
    if ((INPUT_NAMES as readonly string[]).includes(name)) continue;
    report(name, `there is no such input; did you mean "${nearestName(name, INPUT_NAMES)}"?`);
  }
}

/** What would mean something else than the user thinks: a `to` without `command: rollback` must not deploy. */
const ONLY_FOR: readonly (readonly [name: InputName, ...commands: [Command, ...Command[]]])[] = [
  ["to", "rollback"],
  ["incident", "rollback"],
  ["from", "promote"],
  ["allow-older", "deploy"],
  ["allow-unverified", "deploy", "promote"],
  ["any-branch", "deploy"],
  ["allow-pull-request", "deploy", "bake"],
  ["fail-on-drift", "status"],
];
/** Commands that release to one environment, which nothing but the input can name. */
const NEEDS_ENVIRONMENT: ReadonlySet<Command> = new Set(["promote", "rollback"]);
/** Commands that bake read the checked-out files; for the others GitHub can be asked for the config file. */
const NEEDS_CHECKOUT: ReadonlySet<string> = new Set(["deploy", "bake"]);

function reportMisplaced(
  command: Command,
  text: (name: InputName) => string | undefined,
  report: Report,
): void {
  for (const [name, ...commands] of ONLY_FOR) {
    const value = text(name);
    if (value === undefined || value === "false" || commands.includes(command)) continue;
    const which = commands.map((only) => `\`command: ${only}\``).join(" and ");
    report(name, `is for ${which}; the command is ${command}`);
  }
  if (NEEDS_ENVIRONMENT.has(command) && text("environment") === undefined) {
    report("environment", `is missing: ${command} needs to be told which`);
  }
}

/** Characters of a version; a tag of an image takes no more (EC2 user guide: tag restrictions). */
const MAX_VERSION = 256;
/** Characters of a reason; a record keeps about as much. */
const MAX_REASON = 1000;
const OUTSIDE = "must be a path inside the repository, relative to its root";

/** Texts that would be cut, or be something else, where they are used. */
function reportUnfit({ config, version, reason, token, inline }: Inputs, report: Report): void {
  if (!isRepositoryPath(config)) report("config", OUTSIDE);
  if (version !== undefined && version.length > MAX_VERSION)
    report("version", `must be at most ${MAX_VERSION} characters`);
  if (version !== undefined && /[\p{Cc}\p{Zl}\p{Zp}]/u.test(version)) report("version", "must be one line");
  if (reason !== undefined && reason.length > MAX_REASON)
    report("reason", `must be at most ${MAX_REASON} characters`);
  if (/[^\x21-\x7e]/.test(token)) report("token", "has characters that no token has");
  if (inline === undefined) return;
  if (inline.template !== "" && !isRepositoryPath(inline.template)) report("template", OUTSIDE);
  if (inline.region !== "" && !REGION.test(inline.region))
    report("region", `"${inline.region}" is no AWS region such as eu-west-1`);
  if (inline.autoScalingGroup.length > MAX_GROUP_NAME)
    report("auto-scaling-group", `must be at most ${MAX_GROUP_NAME} characters`);
}

function oneOf<T extends string>(
  name: string,
  value: string,
  allowed: readonly [T, ...T[]],
  report: Report,
): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) report(name, `"${value}" is not one of ${allowed.join(", ")}`);
  return found ?? allowed[0];
}

function boolean(name: string, value: string, report: Report): boolean {
  if (value !== "true" && value !== "false") report(name, `"${value}" is neither true nor false`);
  return value === "true";
}

/** @param most the longest that makes sense: no job lasts longer, and a timer of Node's would be over at once */
function duration(name: string, value: string | undefined, most: string, report: Report): number | undefined {
  if (value === undefined) return undefined;
  const parsed = parseDuration(value);
  if (parsed === undefined || parsed <= 0)
    report(name, `"${value}" is not a duration such as 10s, 60m or 2h`);
  else if (parsed > (parseDuration(most) ?? 0)) report(name, `"${value}" is longer than ${most}`);
  return parsed;
}

/** Variables of an input. Of a secret nothing is repeated: in a text that is not well-formed, anything may be a piece of it. */
function variables(name: "vars" | "secret-vars", text: string, report: Report): Record<string, string> {
  const found = parseVariables(text, (problem) => {
    const at = `line ${problem.line}`;
    const plain = name === "vars";
    if (problem.kind === "malformed") {
      report(name, `${at} is neither NAME=value nor NAME<<END${plain ? `: "${problem.text}"` : ""}`);
    } else if (problem.kind === "open") {
      report(name, `${at} begins a value that no line${plain ? ` "${problem.delimiter}"` : ""} ends`);
    } else if (problem.kind === "reserved") {
      report(name, `${at}: "${problem.name}" is not taken as a name`);
    } else report(name, plain ? `"${problem.name}" is set twice` : `${at} sets a variable again`);
  });
  return found;
}

/** What cannot be hidden: a mask of one or two characters would be all over the log. */
function reportShortSecrets(secretVars: Readonly<Record<string, string>>, report: Report): void {
  for (const [name, value] of Object.entries(secretVars)) {
    if (value.trim() === "" || canBeHidden(value)) continue;
    report(
      "secret-vars",
      `the value of "${name}" is too short to be masked: a secret has ${SHORTEST_SECRET} characters or more; pass what is none in vars`,
    );
  }
}

/** The config file, as far as its being there decides what the step has to say. */
interface ConfigFile {
  readonly config: string;
  readonly exists: boolean;
  /** Where nothing is checked out: what to do about it. */
  readonly advice: string | undefined;
}

function inlineEnvironment(
  text: (name: InputName) => string | undefined,
  { config, exists, advice }: ConfigFile,
  report: Report,
): InlineEnvironment | undefined {
  const names = [...INLINE_NAMES, "application", "strategy"] as const;
  const set = names.filter((name) => text(name) !== undefined);
  if (exists) {
    for (const name of set) report(name, `is for use without a config file, and there is one: ${config}`);
    return undefined;
  }
  if (set.length === 0) {
    if (!NEEDS_CHECKOUT.has(text("command") ?? "deploy")) return undefined;
    report(
      "config",
      advice !== undefined
        ? `there is no file ${config}: ${advice}`
        : `there is no file ${config} in the repository; write one, or describe one environment in the step with environment, ${INLINE_NAMES.join(", ")}`,
    );
    return undefined;
  }
  const command = text("command") ?? "deploy";
  if (command === "prune") {
    const given = set.map((name) => `\`${name}\``).join(", ");
    report(
      "command",
      `prune needs the config file, not ${given}: environments that it does not know may need an image`,
    );
    return undefined;
  }
  const needed = NEEDS_CHECKOUT.has(command)
    ? INLINE_NAMES
    : INLINE_NAMES.filter((name) => name !== "template");
  for (const name of ["environment", ...needed] as const) {
    if (text(name) === undefined)
      report(name, "is missing: without a config file the step describes the environment");
  }
  const strategy = text("strategy");
  return {
    application: text("application"),
    template: text("template") ?? "",
    region: text("region") ?? "",
    autoScalingGroup: text("auto-scaling-group") ?? "",
    strategy: strategy === undefined ? undefined : oneOf("strategy", strategy, STRATEGIES, report),
  };
}
