import { posix } from "node:path";
import type { ImageRecipe } from "../../domain/application.ts";
import { attributeOf, blocksOf, everyExpression, type Expression, type HclAttribute } from "./expression.ts";
import { readHclExpression } from "./hcl-text.ts";
import type { Place, SourceText } from "./source-text.ts";
import type { TemplateFiles } from "./template-files.ts";
import { Evaluation, type Names, Unknown, type Value } from "./values.ts";

/** An input variable as a template declares it. */
export interface Declaration {
  readonly name: string;
  readonly sensitive: boolean;
  readonly default: Expression | undefined;
  /** HCL2: the type's name, `list` for `list(string)`; `undefined` if there is none. */
  readonly type: string | undefined;
  readonly source: SourceText;
  readonly place: Place;
}

/** A local value: `locals { name = … }`, or a `local "name"` block. */
export interface LocalValue {
  readonly name: string;
  readonly sensitive: boolean;
  readonly value: Expression;
  readonly source: SourceText;
}

/** What else decides the values of a template's variables. */
export interface VariableContext {
  /** The step's environment, for `PKR_VAR_*` and `env()`; absent: `env()` has no known value. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Variables that get a value from elsewhere (secrets, Kiln's own), whatever their default is: it is not known here. */
  readonly elsewhere?: ReadonlySet<string>;
}

/** The variables that a template declares, in the order in which they are written. */
export function declarationsIn({ template }: TemplateFiles): readonly Declaration[] {
  return template.flatMap(({ source, items }) =>
    items.flatMap((item): readonly Declaration[] => {
      if (item.kind !== "block") return [];
      const { type, labels, body, start } = item;
      if (type === "variable") {
        const [name] = labels;
        if (name === undefined) return [];
        const mark = attributeOf(body, "sensitive")?.value;
        return [
          {
            name,
            sensitive: mark !== undefined && isTrue(mark),
            default: attributeOf(body, "default")?.value,
            type: typeName(attributeOf(body, "type")?.value),
            source,
            place: source.placeOf(start),
          },
        ];
      }
      if (type !== "variables") return [];
      return body.flatMap((each) => {
        if (each.kind !== "attribute") return [];
        const place = source.placeOf(each.start);
        return [{ name: each.name, sensitive: false, default: each.value, type: undefined, source, place }];
      });
    }),
  );
}

/** The local values of a template. */
export function localsIn({ template }: TemplateFiles): readonly LocalValue[] {
  return template.flatMap(({ source, items }) => [
    ...blocksOf(items, "locals").flatMap(({ body }) =>
      body.flatMap((item) =>
        item.kind === "attribute" ? [{ name: item.name, sensitive: false, value: item.value, source }] : [],
      ),
    ),
    ...blocksOf(items, "local").flatMap(({ labels: [name], body }) => {
      const value = attributeOf(body, "expression")?.value;
      const mark = attributeOf(body, "sensitive")?.value;
      if (name === undefined || value === undefined) return [];
      return [{ name, sensitive: mark !== undefined && isTrue(mark), value, source }];
    }),
  ]);
}

/** The names in `env("NAME")` of an expression, each with the expression that has it. */
export function environmentIn(
  expression: Expression,
): readonly { readonly name: string; readonly call: Expression }[] {
  return [...everyExpression(expression)].flatMap((each) => {
    if (each.kind !== "call" || each.name !== "env") return [];
    const [name] = each.operands;
    return name?.kind === "literal" && typeof name.value === "string"
      ? [{ name: name.value, call: each }]
      : [];
  });
}

/** The expression is the word `true`, or in legacy templates the value. */
export function isTrue(expression: Expression): boolean {
  return expression.kind === "literal" && expression.value === true;
}

/** `string`, `"string"` (the old spelling), `list` of `list(string)`. */
function typeName(type: Expression | undefined): string | undefined {
  if (type?.kind === "name" || type?.kind === "call") return type.name;
  return type?.kind === "literal" && typeof type.value === "string" ? type.value : undefined;
}

/** The values of a template's variables and locals, as Packer would find them with this recipe and context. */
export function evaluationOf(
  files: TemplateFiles,
  recipe: Pick<ImageRecipe, "vars">,
  folders: { readonly workingDirectory: string; readonly template: string },
  context: VariableContext,
): Evaluation {
  const declared = new Map(declarationsIn(files).map((each) => [each.name, each]));
  const locals = new Map(localsIn(files).map((each) => [each.name, each]));
  const assigned = new Map(
    files.variables.flatMap(({ items }) => items.map(({ name, value }) => [name, value] as const)),
  );
  const names: Names = {
    legacy: files.legacy,
    workingDirectory: folders.workingDirectory,
    root: posix.relative(folders.workingDirectory, folders.template) || ".",
    variable: remembered((name, evaluation) => {
      const variable = declared.get(name);
      if (variable?.sensitive === true || context.elsewhere?.has(name) === true)
        return new Unknown("variable");
      const text = givenText(name, files.legacy, recipe, context, assigned);
      if (text !== undefined) return evaluation.valueOf(typed(text, variable?.type));
      const value = assigned.get(name) ?? variable?.default;
      return value === undefined ? new Unknown("variable") : evaluation.valueOf(value);
    }),
    local: remembered((name, evaluation) => {
      const local = locals.get(name);
      return local === undefined || local.sensitive
        ? new Unknown("variable")
        : evaluation.valueOf(local.value);
    }),
    environment: (name) => {
      const { environment } = context;
      if (environment === undefined) return new Unknown("variable");
      return Object.hasOwn(environment, name) ? (environment[name] ?? "") : "";
    },
  };
  return new Evaluation(names);
}

/** The text of `vars`, which wins over all, or of `PKR_VAR_*`, over which variable files win. */
function givenText(
  name: string,
  legacy: boolean,
  { vars }: Pick<ImageRecipe, "vars">,
  { environment }: VariableContext,
  assigned: ReadonlyMap<string, Expression>,
): string | undefined {
  if (Object.hasOwn(vars, name)) return vars[name];
  return legacy || assigned.has(name) ? undefined : environment?.[`PKR_VAR_${name}`];
}

/** Packer takes a text literally for strings and numbers, and reads it as an expression for every other type. */
function typed(text: string, type: string | undefined): Expression {
  const isLiteral = type === undefined || ["string", "number", "any"].includes(type);
  return isLiteral ? { kind: "literal", value: text, start: 0, end: 0 } : readHclExpression(text);
}

/** Each name's value is found once; one that needs itself is unknown. */
function remembered(find: Names["variable"]): Names["variable"] {
  const known = new Map<string, Value>();
  return (name, evaluation) => {
    const before = known.get(name);
    if (before !== undefined) return before;
    known.set(name, new Unknown("function"));
    const value = find(name, evaluation);
    known.set(name, value);
    return value;
  };
}

/** Where variable files set variables. */
export function assignmentsIn({ variables }: TemplateFiles): readonly {
  readonly name: string;
  readonly value: Expression;
  readonly place: Place;
  readonly source: SourceText;
}[] {
  return variables.flatMap(({ source, items }) =>
    items.map(({ name, value, start }: HclAttribute) => ({
      name,
      value,
      place: source.placeOf(start),
      source,
    })),
  );
}
