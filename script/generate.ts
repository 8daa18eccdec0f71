/**
 * Writes what is derived from one definition elsewhere: the JSON Schemas from the ones that the code checks with, and
 * tables of README and docs from action.yml and the sources. With `--check` nothing is written; what is stale is named, and the exit code is 1.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { markdownTable } from "markdown-table";
import { format, resolveConfig } from "prettier";
import { parse } from "yaml";
import * as z from "zod";
import { resultSchema } from "../src/action/result-schema.ts";
import { configSchema } from "../src/config/schema.ts";
import { FUNCTIONS_OF_THE_BAKE } from "../src/image/template/decided-at-bake.ts";
import {
  FILE_FUNCTIONS,
  REFERENCE_ATTRIBUTES,
  UNCOUNTED_ATTRIBUTES,
} from "../src/image/template/reference-attributes.ts";
import { recordSchema } from "../src/release/record-schema.ts";

const ROOT = join(import.meta.dirname, "..");

export interface GeneratedFile {
  /** Relative to the repository's root. */
  readonly path: string;
  readonly text: string;
}

/** action.yml, as far as documents show it. */
export interface ActionMetadata {
  readonly inputs: Readonly<
    Record<string, { readonly description: string; readonly default?: string; readonly required?: boolean }>
  >;
  readonly outputs: Readonly<Record<string, { readonly description: string }>>;
}

export function parseActionMetadata(text: string): ActionMetadata {
  return parse(text) as ActionMetadata;
}

const SCHEMAS = { config: configSchema, record: recordSchema, result: resultSchema } as const;

/** A schema as files carry it: what a document may hold before defaults, without names that only Zod knows. */
export function toSchemaText(schema: z.core.$ZodType): string {
  const generated = z.toJSONSchema(schema, {
    io: "input",
    override: ({ jsonSchema }) => {
      // Formats that JSON Schema does not have; the pattern beside them says it.
      if (jsonSchema.format === "starts_with") delete jsonSchema.format;
    },
  });
  return `${JSON.stringify(withoutWrapper(generated), null, 2)}\n`;
}

/** A schema that has an id is put into `$defs` and referred to; here it is the document itself. */
function withoutWrapper(schema: z.core.JSONSchema.BaseSchema): z.core.JSONSchema.BaseSchema {
  const { $schema, $ref, $defs } = schema;
  if ($ref === undefined || $defs === undefined) return schema;
  const [only] = Object.values($defs);
  if (only === undefined || Object.keys($defs).length > 1) throw new Error("more than one definition");
  return { ...($schema === undefined ? {} : { $schema }), ...only };
}

export function inputsTable({ inputs }: ActionMetadata): string {
  return markdownTable([
    ["Input", "Default", "Meaning"],
    ...Object.entries(inputs).map(([name, input]) => [
      `\`${name}\``,
      input.default === undefined ? "" : `\`${input.default}\``,
      cell(input.description),
    ]),
  ]);
}

export function outputsTable({ outputs }: ActionMetadata): string {
  return markdownTable([
    ["Output", "Meaning"],
    ...Object.entries(outputs).map(([name, output]) => [`\`${name}\``, cell(output.description)]),
  ]);
}

/** The attributes that name files and folders, by plugin. */
export function referencesTable(): string {
  const rows = new Map<string, string[]>();
  for (const { kind, plugins, attribute } of REFERENCE_ATTRIBUTES) {
    const types = plugins.map((plugin) => (plugin === "*" ? "any" : code(plugin))).join(", ");
    const row = `${types} ${kind === "source" ? "source or builder" : kind}`;
    rows.set(row, [...(rows.get(row) ?? []), code(attribute)]);
  }
  return markdownTable([
    ["Plugin", "Attributes"],
    ...[...rows].map(([plugin, attributes]) => [plugin, attributes.join(", ")]),
  ]);
}

/** The functions that read files, with what their paths are relative to. */
export function fileFunctionsTable(): string {
  return markdownTable([
    ["Function", "A relative path starts from"],
    ...Object.entries(FILE_FUNCTIONS).map(([name, { relativeTo }]) => [
      code(`${name}()`),
      relativeTo === "template" ? "the template's folder" : "Packer's working directory",
    ]),
  ]);
}

const code = (text: string): string => `\`${text}\``;
const codes = (texts: Iterable<string>): string => [...texts].map(code).join(", ");

const cell = (text: string): string => text.trim().replace(/\s+/g, " ").replaceAll("|", "\\|");

/** Replaces what stands between `<!-- name:start -->` and `<!-- name:end -->`. */
export function between(text: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const from = text.indexOf(start);
  const to = text.indexOf(end);
  if (from === -1 || to < from) throw new Error(`there is no ${start} … ${end}`);
  return `${text.slice(0, from + start.length)}\n\n${content}\n\n${text.slice(to)}`;
}

/** Everything that is generated, as it should be. */
export async function generate(): Promise<readonly GeneratedFile[]> {
  const schemas = Object.entries(SCHEMAS).map(([name, schema]): GeneratedFile => ({
    path: `schemas/${name}.schema.json`,
    text: toSchemaText(schema),
  }));
  const metadata = parseActionMetadata(await readFile(join(ROOT, "action.yml"), "utf8"));
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const withTables = between(
    between(readme, "inputs", inputsTable(metadata)),
    "outputs",
    outputsTable(metadata),
  );
  const references = await readFile(join(ROOT, REFERENCES), "utf8");
  const withReferences = Object.entries({
    attributes: referencesTable(),
    functions: fileFunctionsTable(),
    uncounted: `${codes(UNCOUNTED_ATTRIBUTES)}.`,
    "decided-at-bake": `${codes(FUNCTIONS_OF_THE_BAKE)}.`,
  }).reduce((text, [name, content]) => between(text, name, content), references);
  return [
    ...schemas,
    { path: "README.md", text: await formatted("README.md", withTables) },
    { path: REFERENCES, text: await formatted(REFERENCES, withReferences) },
  ];
}

const REFERENCES = "docs/template-references.md";

async function formatted(path: string, text: string): Promise<string> {
  const filepath = join(ROOT, path);
  return format(text, { ...(await resolveConfig(filepath)), filepath });
}

/** Those of the generated files that are not on disk as they should be. */
export async function staleFiles(): Promise<readonly GeneratedFile[]> {
  const files = await generate();
  const current = await Promise.all(
    files.map(({ path }) => readFile(join(ROOT, path), "utf8").catch(() => undefined)),
  );
  return files.filter(({ text }, index) => text !== current[index]);
}

if (import.meta.main) {
  const check = process.argv.includes("--check");
  const stale = await staleFiles();
  for (const { path, text } of stale) {
    if (check) {
      process.stderr.write(`${path} is not current: run \`npm run generate\`\n`);
      process.exitCode = 1;
    } else {
      await mkdir(dirname(join(ROOT, path)), { recursive: true });
      await writeFile(join(ROOT, path), text);
      process.stdout.write(`${path}\n`);
    }
  }
}
