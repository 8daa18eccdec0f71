import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import type { Problem } from "../domain/errors.ts";
import { type HclItem, type HclValue, readHcl, readHclValue } from "./hcl-text.ts";
import { isLegacyTemplate } from "./packer.ts";

/** What a template says is sensitive, and the values that are written down for it. */
export interface SensitiveVariables {
  readonly names: ReadonlySet<string>;
  readonly values: readonly { readonly name: string; readonly value: string }[];
}

/** A file of the template or of its variables, as it is on disk. */
interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Sources {
  readonly legacy: boolean;
  readonly template: readonly SourceFile[];
  /** The config file's, and for a folder those that Packer loads by itself. */
  readonly variables: readonly SourceFile[];
}

/** A variable as a template declares it, or a file sets it. */
interface Found extends HclValue {
  readonly name: string;
  readonly where: string;
}

/** What one file has of variables. */
interface Declared {
  readonly name: string;
  readonly sensitive: boolean;
  readonly value: HclValue;
}

/**
 * The variables that a template marks sensitive (`sensitive = true`, or `sensitive-variables` of legacy JSON), with every
 * value that is written out for them: defaults, variable files, `vars`, and the environment. Packer itself does not tell:
 * `packer inspect` hides the values from 1.15.1 on, and shows the names only to people. What the template computes, or asks
 * of Vault, nobody can know beforehand.
 */
export async function sensitiveVariables(
  recipe: ImageRecipe,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<SensitiveVariables> {
  const sources = await readSources(recipe, folder);
  const declared = sources.template
    .flatMap((file) => declaredIn(file, sources.legacy))
    .filter(({ sensitive }) => sensitive);
  const names = new Set(declared.map(({ name }) => name));
  const given = [...names].flatMap((name) => {
    const set = [recipe.vars[name], sources.legacy ? undefined : env[`PKR_VAR_${name}`]];
    return set.flatMap((text) => (text === undefined ? [] : [{ name, value: writtenOut(text) }]));
  });
  const inFiles = sources.variables.flatMap(setIn).filter(({ name }) => names.has(name));
  const all = [...declared, ...given, ...inFiles.map((found) => ({ name: found.name, value: found }))];
  return {
    names,
    values: all.flatMap(({ name, value: { literals, environment } }) =>
      [...literals, ...environment.flatMap((variable) => env[variable] ?? [])].map((value) => ({
        name,
        value,
      })),
    ),
  };
}

/**
 * Where a file sets a variable that may only go to Packer by environment: the file would win, and Packer would bake with
 * another value than it was given. Legacy templates get theirs by a file that comes last.
 */
export async function overriddenSecrets(
  recipe: ImageRecipe,
  folder: string,
  names: ReadonlySet<string>,
): Promise<readonly Problem[]> {
  const { legacy, variables } = await readSources(recipe, folder);
  if (legacy) return [];
  return variables.flatMap(setIn).flatMap(({ name, where }) =>
    names.has(name)
      ? [
          {
            where,
            message: `sets "${name}", a secret that the step passes too. Packer would take this file's value: remove it here`,
          },
        ]
      : [],
  );
}

/** The variable files that Packer loads by itself: only for a template that is a folder. */
export async function automaticVariableFiles(template: string, folder: string): Promise<readonly string[]> {
  return (await filesOf(template, folder)).filter((name) => /\.auto\.pkrvars\.(?:hcl|json)$/.test(name));
}

async function readSources({ template, varFiles }: ImageRecipe, folder: string): Promise<Sources> {
  const names = await filesOf(template, folder);
  const isFolder = !names.includes(template);
  const read = async (paths: readonly string[]): Promise<SourceFile[]> =>
    (
      await Promise.all(
        // What is not there, is said later: Packer and the digest both want it.
        paths.map(async (path) => ({
          path,
          text: await readFile(join(folder, path), "utf8").catch(() => ""),
        })),
      )
    ).filter(({ text }) => text !== "");
  const automatic = isFolder ? await automaticVariableFiles(template, folder) : [];
  return {
    legacy: isLegacyTemplate(template, isFolder),
    template: await read(isFolder ? names.filter((name) => /\.pkr\.(?:hcl|json)$/.test(name)) : names),
    variables: await read([...automatic, ...varFiles]),
  };
}

/** The template itself, or the files of its folder; Packer does not look below. */
async function filesOf(template: string, folder: string): Promise<readonly string[]> {
  const found = await stat(join(folder, template)).catch(() => undefined);
  if (found?.isDirectory() !== true) return [template];
  return (await readdir(join(folder, template))).sort().map((name) => join(template, name));
}

function declaredIn({ path, text }: SourceFile, legacy: boolean): readonly Declared[] {
  if (legacy) return declaredInLegacy(readJson(text));
  if (path.endsWith(".json")) return declaredInJson(readJson(text));
  return readHcl(text).flatMap((item) => {
    if (item.kind !== "block" || !(item.type in VALUE_KEYS)) return [];
    const value = attribute(item.body, VALUE_KEYS[item.type] ?? "")?.value ?? NOTHING;
    const sensitive = attribute(item.body, "sensitive")?.value.isTrue === true;
    return item.labels.slice(0, 1).map((name) => ({ name, sensitive, value }));
  });
}

/** The blocks that can be marked, and where each has its value. */
const VALUE_KEYS: Readonly<Record<string, string>> = { variable: "default", local: "expression" };
const NOTHING: HclValue = { literals: [], environment: [], isTrue: false };

function attribute(items: readonly HclItem[], name: string) {
  return items.find((item) => item.kind === "attribute" && item.name === name) as
    Extract<HclItem, { kind: "attribute" }> | undefined;
}

/** HCL's JSON syntax: a block's label is a key, and several blocks are a list. */
function declaredInJson(document: unknown): readonly Declared[] {
  return Object.entries(VALUE_KEYS).flatMap(([type, key]) =>
    bodies(fieldsOf(document)[type]).flatMap((labelled) =>
      Object.entries(labelled).flatMap(([name, body]) =>
        bodies(body).map((fields) => ({
          name,
          sensitive: fields["sensitive"] === true,
          value: jsonValue(fields[key]),
        })),
      ),
    ),
  );
}

/** Packer's documentation, "Legacy JSON templates": `{{env `NAME`}}` is allowed in the defaults of variables. */
function declaredInLegacy(document: unknown): readonly Declared[] {
  const { variables, "sensitive-variables": marked } = fieldsOf(document);
  const names: readonly unknown[] = Array.isArray(marked) ? marked : [];
  const defaults = fieldsOf(variables);
  return names.flatMap((name) => {
    if (typeof name !== "string") return [];
    const { literals } = jsonValue(defaults[name]);
    const environment = literals.flatMap((text) =>
      [...text.matchAll(/\{\{\s*env\s+[`"]([^`"]+)[`"]\s*\}\}/g)].flatMap(([, variable = ""]) => variable),
    );
    const plain = literals.filter((text) => !text.includes("{{"));
    return [{ name, sensitive: true, value: { literals: plain, environment, isTrue: false } }];
  });
}

/** What a variable file sets, with its place. */
function setIn({ path, text }: SourceFile): readonly Found[] {
  if (!path.endsWith(".json") && !/^\s*\{/.test(text)) {
    return readHcl(text).flatMap((item) =>
      item.kind === "attribute"
        ? [{ name: item.name, where: `${path}:${item.line}:${item.column}`, ...item.value }]
        : [],
    );
  }
  return Object.entries(fieldsOf(readJson(text))).map(([name, value]) => ({
    name,
    where: placeOfKey(path, text, name),
    ...jsonValue(value),
  }));
}

function placeOfKey(path: string, text: string, name: string): string {
  const before = text.slice(0, Math.max(0, text.indexOf(JSON.stringify(name)))).split("\n");
  return `${path}:${before.length}:${(before.at(-1) ?? "").length + 1}`;
}

/** A variable's value as a step or the environment has it: the text itself, and of a list or map what is in it. */
function writtenOut(text: string): HclValue {
  const inside = /^\s*[[{]/.test(text) ? readHclValue(text).literals : [];
  return { literals: [text, ...inside], environment: [], isTrue: false };
}

function jsonValue(value: unknown): HclValue {
  return { literals: textsIn(value), environment: [], isTrue: false };
}

function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value === "number") return [String(value)];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

function bodies(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return (Array.isArray(value) ? value : [value]).map(fieldsOf);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
