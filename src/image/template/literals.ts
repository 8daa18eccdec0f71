import { childrenOf, type Expression } from "./expression.ts";

/**
 * The strings and numbers that are written out in an expression: of a string with templates in it the text around them. The
 * keys of maps and the names in `env()` are not among them.
 */
export function literalsIn(expression: Expression): readonly string[] {
  if (expression.kind === "literal") {
    const { value, digits } = expression;
    if (digits !== undefined) return [digits];
    return typeof value === "string" && value !== "" ? [value] : [];
  }
  if (expression.kind === "template") return expression.parts.filter((part) => typeof part === "string");
  if (expression.kind === "map") return expression.entries.flatMap(({ value }) => literalsIn(value));
  if (expression.kind === "call" && expression.name === "env") return [];
  return childrenOf(expression).flatMap(literalsIn);
}
