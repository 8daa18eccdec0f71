import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import { TAG } from "../domain/image.ts";
import { shortened } from "../domain/printable.ts";
import { initHint, validationHint } from "./bake-hints.ts";
import type { BakeOrder, BakeReady, BakeTools } from "./bake-order.ts";
import { hclMap } from "./hcl-expression.ts";
import { inventoryFile } from "./inventory-file.ts";
import {
  findPacker,
  type Invocation,
  invocationOf,
  isLegacyTemplate,
  type Packer,
  PACKER_ENVIRONMENT,
  type PackerCall,
  PackerUnavailableError,
  passVariables,
  regionEnvironment,
} from "./packer.ts";
import { hasOwnValue, type KilnVariable, variableForms } from "./template/kiln-variables.ts";
import { readTemplateFiles } from "./template/template-files.ts";
import { type Declaration, declarationsIn } from "./template/variables.ts";
import { automaticVariableFiles } from "./sensitive-variables.ts";

/** Characters of what a short call of Packer printed that are shown when it fails. */
const MAX_OUTPUT = 20_000;

/**
 * Finds Packer, installs the template's plugins where this Packer can (`packer init`), and validates the template with
 * the variables that the bake will have.
 * @throws KilnError where Packer is missing or too old, or the template is invalid
 */
export async function prepareBake(order: BakeOrder, tools: BakeTools): Promise<BakeReady> {
  const { recipe } = order;
  const invocation = await invocationOf(recipe, tools.folder);
  const packer = await findPacker(tools.subprocess, tools.folder);
  const isFolder = await stat(join(tools.folder, recipe.template)).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const legacy = isLegacyTemplate(recipe.template, isFolder);
  const declarations = declarationsIn(await readTemplateFiles(recipe, tools.folder));
  const call = passVariables(
    legacy,
    {
      own: kilnVariables(order, tools, { legacy, declarations }),
      vars: recipe.vars,
      secretVars: order.secretVars,
      varFiles: invocation.varFiles,
      sensitive: order.sensitive,
      forms: variableForms(declarations),
    },
    await readVariableFiles(recipe, isFolder, tools.folder),
    secretFile(tools),
  );
  const { template, selection } = invocation;
  const preparation = { order, tools, call, packer, legacy, cwd: invocation.cwd };
  if (packer.hasInit && !legacy) await run(["init", template], preparation);
  await run(["validate", ...selection, ...call.args, template], preparation);
  return { packer, call };
}

/**
 * Validates the template for a dry run, exactly as a bake would before it begins.
 * @returns what the plan says about it; a runner without Packer, or without its plugins, can still plan
 * @throws KilnError if the template is invalid
 */
export async function rehearseBake(order: BakeOrder, tools: BakeTools): Promise<string> {
  try {
    const { packer } = await prepareBake(order, tools);
    return `the template is valid, says Packer ${packer.version}`;
  } catch (error) {
    if (!(error instanceof PackerUnavailableError)) throw error;
    return `the template was not validated: ${error.message}`;
  }
}

/** The variables that Kiln sets; those that have a value of their own in the template keep it. */
function kilnVariables(
  order: BakeOrder,
  tools: BakeTools,
  { legacy, declarations }: { readonly legacy: boolean; readonly declarations: readonly Declaration[] },
): Readonly<Record<string, string>> {
  const all: Readonly<Record<KilnVariable, string | undefined>> = {
    image_name: order.imageName,
    image_version: order.version,
    commit: order.commit,
    image_tags: legacy ? undefined : hclMap(withoutActions(order.tags)),
    bake_tags: legacy ? undefined : hclMap({ [TAG.bake]: order.mark }),
    inventory_file: inventoryFile(tools),
  };
  const own = new Set(declarations.filter(hasOwnValue).map(({ name }) => name));
  return Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) =>
      value === undefined || own.has(name) ? [] : [[name, value] as const],
    ),
  );
}

/**
 * Packer renders `{{ }}` in the values of tags, and cannot be kept from it; a branch may have such a name. Kiln writes all
 * tags itself after the bake.
 */
function withoutActions(tags: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(tags).filter(([, value]) => !value.includes("{{")));
}

/** The config file's variable files, and those that Packer loads by itself. */
async function readVariableFiles(
  { template, varFiles }: ImageRecipe,
  isFolder: boolean,
  folder: string,
): Promise<readonly string[]> {
  const automatic = isFolder ? await automaticVariableFiles(template, folder) : [];
  return Promise.all([...automatic, ...varFiles].map((file) => readFile(join(folder, file), "utf8")));
}

function secretFile({ temporaryFolder }: BakeTools): string {
  return join(temporaryFolder, "kiln-secret-vars.json");
}

/** What the short calls of Packer before a bake have in common. */
interface Preparation extends Pick<Invocation, "cwd"> {
  readonly packer: Packer;
  readonly legacy: boolean;
  readonly order: BakeOrder;
  readonly tools: BakeTools;
  readonly call: PackerCall;
}

async function run(args: readonly string[], preparation: Preparation): Promise<void> {
  const { order, tools, call, cwd, packer, legacy } = preparation;
  const what = `packer ${args[0] ?? ""}`;
  const finished = await withSecretFile(call, tools, () =>
    tools.subprocess.run("packer", args, {
      cwd,
      inherits: "everything",
      env: {
        ...environment(order),
        ...call.env,
        ...(what === "packer init" ? { PACKER_GITHUB_API_TOKEN: tools.token } : {}),
      },
    }),
  );
  if (finished.code === 0) return;
  const printed = tools.secrets.redact(`${finished.stdout}\n${finished.stderr}`.trim());
  const output = shortened(printed, MAX_OUTPUT);
  const state = `Nothing was changed. \`${what}\` says:\n${output}`;
  const { template } = order.recipe;
  // `packer init` reads the template before it installs anything, and names the line of what is wrong with it.
  if (what === "packer init" && !/^ {0,4}on \S.{0,500} line \d/m.test(output)) {
    throw new PackerUnavailableError(`Packer could not install the plugins that ${template} requires`, {
      state,
      next: initHint(output),
    });
  }
  throw new KilnError(`The Packer template ${template} is not valid`, {
    state,
    next: await validationHint(printed, { recipe: order.recipe, folder: tools.folder, cwd, packer, legacy }),
  });
}

/** What Packer is told by its environment. */
export function environment(order: BakeOrder): Record<string, string> {
  return { ...PACKER_ENVIRONMENT, ...regionEnvironment(order.region) };
}

/** Has the secret variables in a file of their own, which is gone afterwards, while Packer is at work. */
export async function withSecretFile<T>(
  call: PackerCall,
  tools: BakeTools,
  work: () => Promise<T>,
): Promise<T> {
  if (call.secretFile === undefined) return work();
  const path = secretFile(tools);
  await writeFile(path, call.secretFile, { mode: 0o600 });
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}
