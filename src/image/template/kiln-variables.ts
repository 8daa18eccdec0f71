import type { Expression } from "./expression.ts";
import type { Declaration } from "./variables.ts";

/** What Kiln sets, in a template that declares it without a value of its own. */
export const KILN_VARIABLES = [
  "image_name",
  "image_version",
  "commit",
  "image_tags",
  "bake_tags",
  "inventory_file",
] as const;
export type KilnVariable = (typeof KILN_VARIABLES)[number];

/** How Packer reads the text of a variable: as it is, or as an HCL expression. */
export type VariableForm = "text" | "expression";

export function isKilnVariable(name: string): name is KilnVariable {
  return (KILN_VARIABLES as readonly string[]).includes(name);
}

/**
 * Whether a variable has a value of its own: a default that is not empty. `""`, `null`, `{}` and `[]` stand for "somebody
 * else sets it".
 */
export function hasOwnValue({ default: value }: Pick<Declaration, "default">): boolean {
  if (value === undefined) return false;
  if (value.kind === "literal") return value.value !== "" && value.value !== null;
  if (value.kind === "list") return value.operands.length > 0;
  return value.kind !== "map" || value.entries.length > 0;
}

/** The variables that Kiln sets: those that a template declares without a value of its own. */
export function setByKiln(declarations: readonly Declaration[]): ReadonlySet<string> {
  return new Set(
    declarations.filter((each) => isKilnVariable(each.name) && !hasOwnValue(each)).map(({ name }) => name),
  );
}

/**
 * How Packer reads the texts of a template's variables (`expressionFromVariableDefinition` in Packer's
 * `hcl2template/types.variables.go`): those of the types `string` and `number`, and without a type, as they are.
 * @returns nothing for a variable whose type only its default's value would tell
 */
export function variableForms(declarations: readonly Declaration[]): ReadonlyMap<string, VariableForm> {
  return new Map(
    declarations.flatMap(({ name, type, default: value }) => {
      const form = type === undefined ? formOfDefault(value) : formOfType(type);
      return form === undefined ? [] : [[name, form] as const];
    }),
  );
}

function formOfType(type: string): VariableForm {
  return ["string", "number", "any"].includes(type) ? "text" : "expression";
}

/** Without a type, a variable has its default's. */
function formOfDefault(value: Expression | undefined): VariableForm | undefined {
  if (value === undefined) return "text";
  if (value.kind === "literal") return typeof value.value === "boolean" ? "expression" : "text";
  if (value.kind === "template" || (value.kind === "call" && value.name === "env")) return "text";
  return ["list", "map", "for"].includes(value.kind) ? "expression" : undefined;
}
