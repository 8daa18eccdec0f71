import { realpath, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { Subprocess } from "../domain/ports.ts";
import { hclExpression } from "./hcl-expression.ts";
import type { VariableForm } from "./template/kiln-variables.ts";

/** A Packer that was found, and what it can do. */
export interface Packer {
  readonly version: string;
  /** From 1.7.0 `packer init` installs the plugins that a template requires. */
  readonly hasInit: boolean;
}

/** HCL2 templates, and `PKR_VAR_*` for them, are complete from this version on. */
const OLDEST: Version = [1, 6, 0];

type Version = readonly [major: number, minor: number, patch: number];

/** What every call of Packer gets: no telemetry, no colours. */
export const PACKER_ENVIRONMENT = { CHECKPOINT_DISABLE: "1", PACKER_NO_COLOR: "1" } as const;

/** Where Packer bakes, whatever the job's own environment says: `env("AWS_REGION")` in a template means this region. */
export function regionEnvironment(region: string): Readonly<Record<string, string>> {
  return { AWS_REGION: region, AWS_DEFAULT_REGION: region };
}

/** Packer cannot do its work on this runner, whatever the template says: it is missing, or its plugins are. */
export class PackerUnavailableError extends KilnError {}

/**
 * Finds Packer on the PATH and its version.
 * @throws PackerUnavailableError where it is missing, too old, or something else of that name (cracklib's `packer`)
 */
export async function findPacker(subprocess: Subprocess, folder: string): Promise<Packer> {
  const next = "Add a step with hashicorp/setup-packer (or install Packer on the runner) before this one.";
  const found = await subprocess
    .run("packer", ["version"], { cwd: folder, env: PACKER_ENVIRONMENT })
    .catch((cause: unknown) => {
      throw new PackerUnavailableError("Packer is not installed on this runner", {
        state: "Nothing was changed.",
        next,
        cause,
      });
    });
  const match = /Packer v(\d+)\.(\d+)\.(\d+)/.exec(found.stdout);
  if (found.code !== 0 || match === null) {
    throw new PackerUnavailableError("The `packer` on this runner's PATH is not HashiCorp's Packer", {
      state: `\`packer version\` ended with ${found.code}: ${(found.stdout + found.stderr).trim().slice(0, 300)}`,
      next,
    });
  }
  const version: Version = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (isOlder(version, OLDEST)) {
    throw new PackerUnavailableError(
      `Packer ${version.join(".")} is too old: Kiln needs ${OLDEST.join(".")} or newer`,
      {
        state: "Nothing was changed.",
        next,
      },
    );
  }
  return { version: version.join("."), hasInit: !isOlder(version, [1, 7, 0]) };
}

function isOlder(version: Version, than: Version): boolean {
  const index = version.findIndex((part, position) => part !== than[position]);
  return index !== -1 && (version[index] ?? 0) < (than[index] ?? 0);
}

/** How Packer itself tells the two kinds of template apart: by the name's ending; a folder is HCL2. */
export function isLegacyTemplate(template: string, isFolder: boolean): boolean {
  return !isFolder && !/\.pkr\.(?:hcl|json)$/.test(template);
}

/** A path as an argument: one that begins like an option is none. */
export function pathArgument(path: string): string {
  return path.startsWith("-") ? `./${path}` : path;
}

/** Where Packer runs, and what it is called with because of that. */
export interface Invocation {
  /** Packer's working directory. */
  readonly cwd: string;
  /** The template as an argument, relative to `cwd`. */
  readonly template: string;
  /** Relative to `cwd`. */
  readonly varFiles: readonly string[];
  /** The options `-only` and `-except`, which `validate` and `build` take and `init` does not. */
  readonly selection: readonly string[];
}

/**
 * How Packer is called for a recipe. The paths of a recipe are relative to the repository's root; Packer resolves the
 * arguments, and relative paths in the template, against its working directory.
 * @param folder the repository's folder
 * @throws KilnError if `working-directory` is not a folder of the repository
 */
export async function invocationOf(recipe: ImageRecipe, folder: string): Promise<Invocation> {
  const { template, varFiles, workingDirectory, only, except } = recipe;
  const selection = [
    ...(only === undefined ? [] : [`-only=${only.join(",")}`]),
    ...(except === undefined ? [] : [`-except=${except.join(",")}`]),
  ];
  if (workingDirectory === undefined) {
    return { cwd: folder, template: pathArgument(template), varFiles, selection };
  }
  // Packer's `..` starts from the folder that a symbolic link leads to.
  const [root, cwd] = await Promise.all([realpath(folder), realFolder(join(folder, workingDirectory))]);
  if (cwd === undefined || (cwd !== root && !cwd.startsWith(`${root}${sep}`))) {
    throw new KilnError(`The working-directory ${workingDirectory} is not a folder of the repository`, {
      state: "Nothing was changed.",
      next: "Correct `image.working-directory` in the config file. It is relative to the repository's root.",
    });
  }
  const fromThere = (path: string): string => relative(cwd, join(root, path)) || ".";
  return { cwd, template: pathArgument(fromThere(template)), varFiles: varFiles.map(fromThere), selection };
}

/** The folder at a path, without symbolic links; undefined if there is none. */
async function realFolder(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path);
    return (await stat(real)).isDirectory() ? real : undefined;
  } catch {
    return undefined;
  }
}

export interface Variables {
  /** What Kiln tells every template; ignored where the template does not declare it. */
  readonly own: Readonly<Record<string, string>>;
  readonly vars: Readonly<Record<string, string>>;
  readonly secretVars: Readonly<Record<string, string>>;
  readonly varFiles: readonly string[];
  /** Variables that the template marks sensitive: no arguments, whoever sets them. */
  readonly sensitive: ReadonlySet<string>;
  /** HCL2: how Packer reads each variable, as far as the template says so. */
  readonly forms: ReadonlyMap<string, VariableForm>;
}

export interface PackerCall {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Written to a private file for the time of the call, and named by `-var-file`. */
  readonly secretFile: string | undefined;
}

/**
 * How the variables reach Packer, so that each arrives as it was given, whatever it contains. HCL2: by `PKR_VAR_*`, which are ignored where undeclared; a variable that a var file
 * sets too goes by `-var` besides, since var files would win over the environment. Legacy JSON templates do not read the
 * environment: `-var`, and for secrets a file, since arguments can be seen by every process of the machine.
 * @param varFileTexts the content of the var files
 * @param secretFile where the secrets of a legacy template can be written
 */
export function passVariables(
  legacy: boolean,
  variables: Variables,
  varFileTexts: readonly string[],
  secretFile: string,
): PackerCall {
  const files = variables.varFiles.map((file) => `-var-file=${file}`);
  const asArgument = ([name, value]: readonly [string, string]): string[] => ["-var", `${name}=${value}`];
  const isSensitive = ([name]: readonly [string, string]): boolean => variables.sensitive.has(name);
  if (legacy) {
    const plain = Object.entries({ ...variables.own, ...variables.vars });
    const secrets = { ...Object.fromEntries(plain.filter(isSensitive)), ...variables.secretVars };
    const some = Object.keys(secrets).length > 0;
    return {
      args: [
        ...files,
        ...plain.filter((entry) => !isSensitive(entry)).flatMap(asArgument),
        ...(some ? [`-var-file=${secretFile}`] : []),
      ],
      env: {},
      secretFile: some ? JSON.stringify(secrets) : undefined,
    };
  }
  const asData = (values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, formed(value, variables.forms.get(name))]),
    );
  const vars = asData(variables.vars);
  const environment = { ...variables.own, ...vars, ...asData(variables.secretVars) };
  return {
    args: [
      ...files,
      ...Object.entries(vars)
        .filter((entry) => !isSensitive(entry) && isSetIn(varFileTexts, entry[0]))
        .flatMap(asArgument),
    ],
    env: Object.fromEntries(Object.entries(environment).map(([name, value]) => [`PKR_VAR_${name}`, value])),
    secretFile: undefined,
  };
}

/** A value as Packer has to be given it. If the form is not known, a list or map is taken for an expression. */
function formed(value: string, form: VariableForm | undefined): string {
  const isExpression =
    form === undefined ? /^\s*[[{]/.test(value) && /[$%]\{/.test(value) : form === "expression";
  return isExpression ? hclExpression(value) : value;
}

function isSetIn(texts: readonly string[], name: string): boolean {
  // At a line's beginning only its own blanks: line breaks before it would be looked through from each of them.
  const assignment = new RegExp(`(?:^[ \\t]*|[{,]\\s*)"?${name.replaceAll("-", "\\-")}"?\\s*[=:]`, "m");
  return texts.some((text) => assignment.test(text));
}
