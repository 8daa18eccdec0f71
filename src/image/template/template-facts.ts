import { readFile, realpath } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import type { ImageRecipe } from "../../domain/application.ts";
import { type BuilderFacts, type BuildFacts, buildersIn, buildsIn } from "./builders.ts";
import { type DecidedAtBake, decidedAtBakeIn } from "./decided-at-bake.ts";
import { readHclTemplate } from "./hcl-text.ts";
import { outputsIn } from "./outputs.ts";
import {
  type FileReference,
  type Folders,
  ReferenceCollector,
  type UnresolvedReference,
} from "./references.ts";
import { type Place, SourceText } from "./source-text.ts";
import { readTemplateFiles, type TemplateFiles } from "./template-files.ts";
import type { Evaluation } from "./values.ts";
import {
  assignmentsIn,
  type Declaration,
  declarationsIn,
  environmentIn,
  evaluationOf,
  type VariableContext,
} from "./variables.ts";

export type { AttributeFact, BuilderFacts, BuildFacts, LiteralValue, PluginUse } from "./builders.ts";
export type { DecidedAtBake } from "./decided-at-bake.ts";
export type { FileReference, UnresolvedReason, UnresolvedReference } from "./references.ts";
export type { Place } from "./source-text.ts";
export type { VariableContext } from "./variables.ts";

/** An input variable that a template declares. */
export interface DeclaredVariable {
  readonly name: string;
  readonly sensitive: boolean;
  /** False if there is no default, and for legacy JSON if it is `null`: Packer then requires a value. */
  readonly hasDefault: boolean;
  /** The names in `env("NAME")` or ``{{env `NAME`}}`` of its default. */
  readonly environment: readonly string[];
  readonly place: Place;
}

/** Where a variable file sets a variable: one of `var-files`, or one that Packer loads by itself. */
export interface VariableAssignment {
  readonly name: string;
  readonly place: Place;
}

/** An environment variable that decides the value of a variable that is not sensitive. */
export interface EnvironmentReference {
  readonly name: string;
  /** The Packer variable whose default reads it. */
  readonly variable: string;
  readonly place: Place;
}

/** What a template says about its inputs, read without Packer. */
export interface TemplateFacts {
  readonly legacy: boolean;
  /** The template's own files: itself, or what Packer reads of its folder. */
  readonly sources: readonly string[];
  /** The variable files in the order in which Packer loads them, those that it loads by itself first. */
  readonly variableFiles: readonly string[];
  readonly references: readonly FileReference[];
  readonly unresolved: readonly UnresolvedReference[];
  /** Files of the repository that a bake writes, such as a manifest; relative to its root. */
  readonly outputs: readonly string[];
  readonly variables: readonly DeclaredVariable[];
  readonly assignments: readonly VariableAssignment[];
  readonly environment: readonly EnvironmentReference[];
  readonly decidedAtBake: readonly DecidedAtBake[];
  readonly builders: readonly BuilderFacts[];
  readonly builds: readonly BuildFacts[];
}

/**
 * What a template refers to and depends on. Files that are missing or broken contribute what could be read of them:
 * whether they are valid, Packer says.
 * @param folder the checkout's root, absolute
 */
export async function readTemplateFacts(
  recipe: ImageRecipe,
  folder: string,
  context: VariableContext = {},
): Promise<TemplateFacts> {
  const files = await readTemplateFiles(recipe, folder);
  const folders: Folders = {
    repository: folder,
    workingDirectory: await workingDirectoryOf(recipe, folder),
    template: resolve(folder, files.folder),
  };
  const evaluation = evaluationOf(files, recipe, folders, context);
  const collected = await referencesOf(files, evaluation, folders);
  const declarations = declarationsIn(files);
  return {
    legacy: files.legacy,
    sources: files.template.map(({ source }) => source.path),
    variableFiles: files.variables.map(({ source }) => source.path),
    references: unique(collected.flatMap(({ references }) => references)),
    unresolved: unique(collected.flatMap(({ unresolved }) => unresolved)),
    outputs: outputsIn(files, evaluation, folders),
    variables: declarations.map(declaredVariable),
    assignments: assignmentsIn(files).map(({ name, place }) => ({ name, place })),
    environment: declarations.filter(({ sensitive }) => !sensitive).flatMap(environmentOf),
    decidedAtBake: decidedAtBakeIn(files),
    builders: buildersIn(files, evaluation),
    builds: buildsIn(files, evaluation),
  };
}

/** A symbolic link is followed: a `..` in a path starts from where it leads to. One that leads out is refused elsewhere. */
async function workingDirectoryOf(
  { workingDirectory }: Pick<ImageRecipe, "workingDirectory">,
  folder: string,
): Promise<string> {
  if (workingDirectory === undefined) return folder;
  const place = resolve(folder, workingDirectory);
  const [root, real] = await Promise.all([folder, place].map((path) => realpath(path).catch(() => path)));
  const inside = relative(root ?? folder, real ?? place);
  return inside.startsWith("..") ? place : resolve(folder, inside);
}

async function referencesOf(
  { template }: TemplateFiles,
  evaluation: Evaluation,
  folders: Folders,
): Promise<readonly ReferenceCollector[]> {
  const collected = template.map(({ source, items }) => {
    const collector = new ReferenceCollector(source, evaluation, folders);
    collector.collect(items);
    return collector;
  });
  const read = async (
    isRead: (reference: FileReference) => boolean,
    collect: (collector: ReferenceCollector, text: string) => void,
  ): Promise<readonly ReferenceCollector[]> => {
    const all = collected.flatMap(({ references }) => references.filter(isRead).map(({ path }) => path));
    const collectors = [...new Set(all)].map(async (path) => {
      const text = await readFile(join(folders.repository, path), "utf8").catch(() => "");
      const collector = new ReferenceCollector(new SourceText(path, text), evaluation, folders);
      collect(collector, text);
      return collector;
    });
    return Promise.all(collectors);
  };
  const inside = await Promise.all([
    // A file for `templatefile()` may call functions too, except `templatefile()` itself.
    read(
      ({ attribute }) => attribute === "templatefile()",
      (collector, text) => collector.collectFunctions(readHclTemplate(text)),
    ),
    read(
      ({ attribute, path }) =>
        attribute === "ansible.cfg" || (attribute === "ansible_env_vars" && path.endsWith(".cfg")),
      (collector) => collector.collectAnsibleConfig(),
    ),
  ]);
  return [...collected, ...inside.flat()];
}

function declaredVariable(declaration: Declaration): DeclaredVariable {
  const { name, sensitive, place, default: value } = declaration;
  const environment = environmentOf(declaration).map((reference) => reference.name);
  return { name, sensitive, hasDefault: value !== undefined, environment: [...new Set(environment)], place };
}

function environmentOf({
  name: variable,
  default: value,
  source,
}: Declaration): readonly EnvironmentReference[] {
  if (value === undefined) return [];
  return environmentIn(value).map(({ name, call }) => ({
    name,
    variable,
    place: source.placeOf(call.start),
  }));
}

/** Each once: a loop may find the same again and again. */
function unique<T extends FileReference | UnresolvedReference>(found: readonly T[]): readonly T[] {
  return [...new Map(found.map((each) => [JSON.stringify(each), each])).values()];
}
