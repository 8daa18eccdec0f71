import type { ImageRecipe } from "../domain/application.ts";
import type { Problem } from "../domain/errors.ts";
import type { Expression } from "./template/expression.ts";
import { readHclExpression } from "./template/hcl-text.ts";
import { readTemplateFiles } from "./template/template-files.ts";
import { assignmentsIn, declarationsIn, environmentIn, localsIn } from "./template/variables.ts";
import { literalsIn } from "./template/literals.ts";

export { automaticVariableFiles } from "./template/template-files.ts";

/** What a template says is sensitive, and the values that are written down for it. */
export interface SensitiveVariables {
  readonly names: ReadonlySet<string>;
  readonly values: readonly { readonly name: string; readonly value: string }[];
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
  const files = await readTemplateFiles(recipe, folder);
  const declared = [
    ...declarationsIn(files).map((each) => ({ ...each, value: each.default })),
    ...localsIn(files),
  ].filter(({ sensitive }) => sensitive);
  const names = new Set(declared.map(({ name }) => name));
  const written = [...declared, ...assignmentsIn(files).filter(({ name }) => names.has(name))];
  const found = written.flatMap(({ name, value }) =>
    value === undefined ? [] : valuesIn(value, files.legacy, env).map((text) => ({ name, value: text })),
  );
  const given = [...names].flatMap((name) => {
    const set = [recipe.vars[name], files.legacy ? undefined : env[`PKR_VAR_${name}`]];
    return set.flatMap((text) =>
      text === undefined ? [] : givenValues(text).map((value) => ({ name, value })),
    );
  });
  return { names, values: [...found, ...given] };
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
  const files = await readTemplateFiles(recipe, folder);
  if (files.legacy) return [];
  return assignmentsIn(files).flatMap(({ name, place: { file, line, column } }) =>
    names.has(name)
      ? [
          {
            where: `${file}:${line}:${column}`,
            message: `sets "${name}", a secret that the step passes too. Packer would take this file's value: remove it here`,
          },
        ]
      : [],
  );
}

/** What is written out in an expression, and the values of the environment variables that it names. */
function valuesIn(
  value: Expression,
  legacy: boolean,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  // In a legacy template, the text around `{{ }}` is as a rule a separator that other text has too.
  const literals = legacy && value.kind === "template" ? [] : literalsIn(value);
  return [
    ...literals,
    ...environmentIn(value).flatMap(({ name }) => (Object.hasOwn(env, name) ? (env[name] ?? []) : [])),
  ];
}

/** A variable's value as a step or the environment has it: the text itself, and of a list or map what is in it. */
function givenValues(text: string): readonly string[] {
  return [text, ...(/^\s*[[{]/.test(text) ? literalsIn(readHclExpression(text)) : [])];
}
