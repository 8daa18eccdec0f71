import type { ImageRecipe } from "../../domain/application.ts";
import type { TemplateFacts } from "../template/template-facts.ts";

/**
 * The variables of the environment that decide a Packer variable which is not sensitive: `PKR_VAR_*`, and what `env()` in a
 * default names. Variables that `vars`, a variable file, a secret or Kiln sets get no value from the environment.
 * @param env the job's environment without secrets
 * @param elsewhere names of variables that the step passes as secrets, and of those that Kiln sets
 */
export function decidingEnvironment(
  { legacy, variables, assignments, environment }: TemplateFacts,
  { vars }: Pick<ImageRecipe, "vars">,
  elsewhere: Iterable<string>,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const set = new Set([...Object.keys(vars), ...elsewhere, ...assignments.map(({ name }) => name)]);
  const decided: Record<string, string> = {};
  // Legacy templates do not read `PKR_VAR_*`.
  for (const { name, sensitive } of legacy ? [] : variables) {
    const value = env[`PKR_VAR_${name}`];
    if (sensitive || set.has(name) || value === undefined) continue;
    decided[`PKR_VAR_${name}`] = value;
    set.add(name);
  }
  for (const { name, variable } of environment) {
    // Packer takes a variable that is not set as an empty one.
    if (!set.has(variable)) decided[name] = env[name] ?? "";
  }
  return decided;
}
