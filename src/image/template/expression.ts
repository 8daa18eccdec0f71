import type { Span } from "./source-text.ts";

/**
 * An expression as it is written. HCL, HCL's JSON syntax and the strings of legacy templates all become this; nothing is
 * evaluated. How deeply expressions can be nested is limited where they are read, so that they can be walked recursively.
 */
export type Expression = Span & Shape;

type Shape =
  | {
      readonly kind: "literal";
      readonly value: string | number | boolean | null;
      /** A number as it is written: it may have more digits than a JavaScript number. */
      readonly digits?: string;
    }
  /** A string or heredoc that has something else than text in it. */
  | { readonly kind: "template"; readonly parts: readonly (string | Expression)[] }
  /** `%{ if … }` and its kind, inside a template. */
  | { readonly kind: "directive"; readonly operands: readonly Expression[] }
  | { readonly kind: "name"; readonly name: string }
  /** `var.x`, `local.list[0].name`. */
  | { readonly kind: "access"; readonly of: Expression; readonly steps: readonly Step[] }
  | { readonly kind: "call"; readonly name: string; readonly operands: readonly Expression[] }
  | { readonly kind: "list"; readonly operands: readonly Expression[] }
  | { readonly kind: "map"; readonly entries: readonly MapEntry[] }
  | ForExpression
  | {
      readonly kind: "conditional";
      readonly condition: Expression;
      readonly yes: Expression;
      readonly no: Expression;
    }
  | {
      readonly kind: "operation";
      readonly operators: readonly string[];
      readonly operands: readonly Expression[];
    }
  /** What could not be read: no HCL, or nested too deeply. */
  | { readonly kind: "unreadable" };

export interface ForExpression {
  readonly kind: "for";
  readonly names: readonly string[];
  readonly collection: Expression;
  /** Of `{ for … : key => value }`. */
  readonly key: Expression | undefined;
  readonly value: Expression;
  readonly condition: Expression | undefined;
}

/** `.name`, `[index]`, or a splat (`.*`, `[*]`). */
export type Step = { readonly attribute: string } | { readonly index: Expression } | { readonly splat: true };

export interface MapEntry {
  readonly key: Expression;
  readonly value: Expression;
}

/** An attribute or a block of a template, from whichever syntax. */
export type HclItem = HclAttribute | HclBlock;

export interface HclAttribute extends Span {
  readonly kind: "attribute";
  readonly name: string;
  readonly value: Expression;
}

export interface HclBlock extends Span {
  readonly kind: "block";
  readonly type: string;
  readonly labels: readonly string[];
  readonly body: readonly HclItem[];
}

/** The expressions directly inside an expression, in the order in which they are written. */
export function childrenOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "literal":
    case "name":
    case "unreadable":
      return [];
    case "template":
      return expression.parts.filter((part) => typeof part !== "string");
    case "directive":
    case "call":
    case "list":
    case "operation":
      return expression.operands;
    case "access":
      return [expression.of, ...expression.steps.flatMap((step) => ("index" in step ? [step.index] : []))];
    case "map":
      return expression.entries.flatMap(({ key, value }) => [key, value]);
    case "for": {
      const { collection, key, value, condition } = expression;
      return [collection, key, value, condition].filter((each) => each !== undefined);
    }
    case "conditional":
    default:
      return [expression.condition, expression.yes, expression.no];
  }
}

/** An expression and everything inside it. */
export function* everyExpression(root: Expression): Generator<Expression> {
  const open = [root];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    yield next;
    for (const child of childrenOf(next).toReversed()) open.push(child);
  }
}

/** The first attribute of that name in a block's body. */
export function attributeOf(items: readonly HclItem[], name: string): HclAttribute | undefined {
  return items.find((item): item is HclAttribute => item.kind === "attribute" && item.name === name);
}

/** The blocks of these types in a body, wherever they stand in it. */
export function blocksOf(items: readonly HclItem[], ...types: readonly string[]): readonly HclBlock[] {
  return items.filter((item): item is HclBlock => item.kind === "block" && types.includes(item.type));
}
