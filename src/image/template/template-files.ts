import { readdir, readFile, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import type { ImageRecipe } from "../../domain/application.ts";
import { isLegacyTemplate } from "../packer.ts";
import type { HclAttribute, HclItem } from "./expression.ts";
import { readHcl } from "./hcl-text.ts";
import { readJsonAttributes, readJsonTemplate } from "./json-template.ts";
import { readLegacyAttributes, readLegacyTemplate } from "./legacy-template.ts";
import { SourceText } from "./source-text.ts";

/** A file of the template with its blocks, or a variable file with its attributes. */
export interface TemplateFile<Item = HclItem> {
  readonly source: SourceText;
  readonly items: readonly Item[];
}

/** The files that make up a template, as Packer reads them. */
export interface TemplateFiles {
  readonly legacy: boolean;
  /** The folder of the template, relative to the repository's root. */
  readonly folder: string;
  readonly template: readonly TemplateFile[];
  /** Those that Packer loads by itself first, then `var-files` in their order: the last assignment wins. */
  readonly variables: readonly TemplateFile<HclAttribute>[];
}

/**
 * Reads a template and its variable files. What is missing is left out: Packer and the digest both ask for it.
 * @param folder the checkout's root
 */
export async function readTemplateFiles(
  { template, varFiles }: Pick<ImageRecipe, "template" | "varFiles">,
  folder: string,
): Promise<TemplateFiles> {
  const names = await namesIn(template, folder);
  const legacy = isLegacyTemplate(template, names !== undefined);
  const own = names === undefined ? [template] : inPackersOrder(names, ".pkr");
  const automatic = names === undefined ? [] : inPackersOrder(names, ".auto.pkrvars");
  const [texts, variables] = await Promise.all([
    readAll(own, folder),
    readAll([...automatic, ...varFiles], folder),
  ]);
  return {
    legacy,
    folder: names === undefined ? posix.dirname(template) : posix.normalize(template),
    template: texts.map((source) => ({ source, items: itemsOf(source, legacy) })),
    variables: variables.map((source) => ({ source, items: attributesOf(source, legacy) })),
  };
}

/** The variable files that Packer loads by itself: only for a template that is a folder. */
export async function automaticVariableFiles(template: string, folder: string): Promise<readonly string[]> {
  const names = await namesIn(template, folder);
  return names === undefined ? [] : inPackersOrder(names, ".auto.pkrvars");
}

/** The files in a template's folder, not below it; `undefined` if the template is not a folder. */
async function namesIn(template: string, folder: string): Promise<readonly string[] | undefined> {
  const found = await stat(join(folder, template)).catch(() => undefined);
  if (found?.isDirectory() !== true) return undefined;
  return (await readdir(join(folder, template))).sort().map((name) => posix.join(template, name));
}

/** Packer reads all HCL files by name, then all JSON files (`hcl2template/parser.go`). */
function inPackersOrder(names: readonly string[], kind: string): readonly string[] {
  return ["hcl", "json"].flatMap((syntax) => names.filter((name) => name.endsWith(`${kind}.${syntax}`)));
}

async function readAll(paths: readonly string[], folder: string): Promise<readonly SourceText[]> {
  const texts = await Promise.all(
    paths.map(async (path) => ({
      path,
      text: await readFile(join(folder, path), "utf8").catch(() => undefined),
    })),
  );
  return texts.flatMap(({ path, text }) => (text === undefined ? [] : [new SourceText(path, text)]));
}

function itemsOf({ path, text }: SourceText, legacy: boolean): readonly HclItem[] {
  if (legacy) return readLegacyTemplate(text);
  return path.endsWith(".json") ? readJsonTemplate(text) : readHcl(text);
}

function attributesOf({ path, text }: SourceText, legacy: boolean): readonly HclAttribute[] {
  if (legacy) return readLegacyAttributes(text);
  if (path.endsWith(".json") || /^\s*\{/.test(text)) return readJsonAttributes(text);
  return readHcl(text).filter((item) => item.kind === "attribute");
}
