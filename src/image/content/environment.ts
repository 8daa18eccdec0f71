import type { ImageRecipe } from "../../domain/application.ts";
import type { TemplateFacts } from "../template/template-facts.ts";

/** Packer variables that Kiln sets itself, for every template that declares them. They say which bake it is, not of what. */
export const KILNS_OWN: ReadonlySet<string> = new Set([
  "bake_tags",
  "commit",
  "image_name",
  "image_tags",
  "image_version",
  "inventory_file",
]);

/**
 * The variables of the environment that decide a Packer variable which is not sensitive: `PKR_VAR_*`, and what `env()` in a
 * default names. Variables that `vars`, a variable file or a secret sets get no value from the environment.
 * @param env the job's environment without secrets
 * @param secretVars names of variables that the step passes as secrets
 */
export function decidingEnvironment(
  { legacy, variables, assignments, environment }: TemplateFacts,
  { vars }: Pick<ImageRecipe, "vars">,
  secretVars: Iterable<string>,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const set = new Set([...Object.keys(vars), ...secretVars, ...assignments.map(({ name }) => name)]);
  const decided: Record<string, string> = {};
  // Legacy templates do not read `PKR_VAR_*`.
  for (const { name, sensitive } of legacy ? [] : variables) {
    const value = env[`PKR_VAR_${name}`];
    if (sensitive || set.has(name) || KILNS_OWN.has(name) || value === undefined) continue;
    decided[`PKR_VAR_${name}`] = value;
    set.add(name);
  }
  for (const { name, variable } of environment) {
    // Packer takes a variable that is not set as an empty one.
    if (!set.has(variable)) decided[name] = env[name] ?? "";
  }
  return decided;
}
