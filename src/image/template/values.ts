import { posix } from "node:path";
import type { Expression, ForExpression, Step } from "./expression.ts";
import { goTemplateParts, hasActions } from "./go-template.ts";

/** Why a value is not known before the bake. */
export type UnknownReason = "variable" | "function";

/** A value that is not known before the bake. */
export class Unknown {
  readonly reason: UnknownReason;
  /** The names of files that `fileset()` finds: the folder that it looks in counts already. */
  readonly isFileName: boolean;

  constructor(reason: UnknownReason, isFileName = false) {
    this.reason = reason;
    this.isFileName = isFileName;
  }
}

export type Value =
  string | number | boolean | null | readonly Value[] | ReadonlyMap<string, Value> | Unknown;

/** Names that have a value: `var`, `local`, the folders of `path`, and what a loop binds. */
export interface Names {
  readonly variable: (name: string, evaluation: Evaluation) => Value;
  readonly local: (name: string, evaluation: Evaluation) => Value;
  readonly environment: (name: string) => Value;
  /** The template's folder, as Packer says it: relative to its working directory. */
  readonly root: string;
  /** Packer's working directory, absolute. */
  readonly workingDirectory: string;
  /** In HCL2 templates only plugins render `{{ … }}`, and they know no variables or folders. */
  readonly legacy: boolean;
}

/** Work that one template's values may cost, in values and characters; what is left then is unknown. */
const MAX_WORK = 2_000_000;
/** Values inside values, locals that refer to locals among them. */
const MAX_DEPTH = 300;
const MAX_TEXT = 10_000;
const MAX_ITEMS = 10_000;

/**
 * Finds the values of expressions as far as they are made of literals, variables and locals with known values, and the few
 * functions that paths are made with. A hostile template cannot make it take long: work, depth and sizes are limited, and
 * what is beyond them is unknown.
 */
export class Evaluation {
  readonly #names: Names;
  #work = 0;
  #depth = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  /** Whether no more work is done: every further value is unknown. */
  get isExhausted(): boolean {
    return this.#work > MAX_WORK;
  }

  /** Counts work that is done beside values, such as a walk through an expression. */
  spend(): void {
    this.#work += 1;
  }

  /** @param bound what loops around the expression have bound */
  valueOf(expression: Expression, bound: ReadonlyMap<string, Value> = NOTHING): Value {
    this.#work += 1;
    if (this.isExhausted || this.#depth >= MAX_DEPTH) return new Unknown("function");
    this.#depth += 1;
    const value = this.#limited(this.#valueOf(expression, bound));
    this.#depth -= 1;
    return value;
  }

  /** The names that a loop binds, once for each item; `undefined` if the collection is not known. */
  iterations(
    loop: Pick<ForExpression, "names" | "collection">,
    bound: ReadonlyMap<string, Value>,
  ): readonly ReadonlyMap<string, Value>[] | undefined {
    const entries = entriesOf(this.valueOf(loop.collection, bound));
    if (entries === undefined) return undefined;
    this.#work += entries.length;
    if (this.isExhausted) return undefined;
    return entries.map(([key, value]) => {
      const [first = "", second] = loop.names;
      const names: [string, Value][] =
        second === undefined
          ? [[first, value]]
          : [
              [first, key],
              [second, value],
            ];
      return new Map([...bound, ...names]);
    });
  }

  #limited(value: Value): Value {
    if (typeof value === "string") {
      this.#work += value.length;
      return value.length > MAX_TEXT ? new Unknown("function") : value;
    }
    const size = Array.isArray(value) ? value.length : value instanceof Map ? value.size : 0;
    this.#work += size;
    return size > MAX_ITEMS ? new Unknown("function") : value;
  }

  #valueOf(expression: Expression, bound: ReadonlyMap<string, Value>): Value {
    switch (expression.kind) {
      case "literal":
        return typeof expression.value === "string" ? this.#rendered(expression) : expression.value;
      case "template":
        return this.#joined(expression.parts, bound);
      case "name":
        return bound.get(expression.name) ?? new Unknown("function");
      case "access":
        return this.#access(expression.of, expression.steps, bound);
      case "call":
        return this.#call(expression.name, expression.operands, bound);
      case "list":
        return expression.operands.map((each) => this.valueOf(each, bound));
      case "map":
        return new Map(
          expression.entries.flatMap(({ key, value }) => {
            const name = asText(this.valueOf(key, bound));
            return typeof name === "string" ? [[name, this.valueOf(value, bound)] as const] : [];
          }),
        );
      case "for":
        return this.#loop(expression, bound);
      case "conditional":
        return this.#conditional(expression, bound);
      case "operation":
        return this.#operation(expression, bound);
      case "directive":
      case "unreadable":
      default:
        return new Unknown("function");
    }
  }

  /** Plugins render `{{ … }}` of a string in an HCL2 template themselves. */
  #rendered({ value, start, end }: Extract<Expression, { kind: "literal" }>): Value {
    const text = String(value);
    if (this.#names.legacy || !hasActions(text)) return text;
    const parts = goTemplateParts(text, { start, end });
    return parts.every((part) => typeof part === "string") ? text : new Unknown("function");
  }

  #joined(parts: readonly (string | Expression)[], bound: ReadonlyMap<string, Value>): Value {
    const [only] = parts;
    // HCL: a template that is one interpolation has its value, whatever its type is.
    if (parts.length === 1 && only !== undefined && typeof only !== "string" && only.kind !== "directive") {
      return this.valueOf(only, bound);
    }
    let text = "";
    for (const part of parts) {
      const value = asText(typeof part === "string" ? part : this.valueOf(part, bound));
      if (value instanceof Unknown) return value;
      text += value;
      if (text.length > MAX_TEXT) return new Unknown("function");
    }
    if (!this.#names.legacy && hasActions(text)) return new Unknown("function");
    return text;
  }

  #access(of: Expression, steps: readonly Step[], bound: ReadonlyMap<string, Value>): Value {
    let rest = steps;
    let value: Value = new Unknown("function");
    const [first] = steps;
    if (of.kind === "name" && !bound.has(of.name)) {
      const name = first === undefined ? undefined : this.#stepName(first, bound);
      value = typeof name === "string" ? this.#named(of.name, name) : value;
      rest = steps.slice(1);
    } else value = this.valueOf(of, bound);
    for (const step of rest) {
      if (value instanceof Unknown) return value;
      value = itemOf(value, this.#stepName(step, bound));
    }
    return value;
  }

  #stepName(step: Step, bound: ReadonlyMap<string, Value>): string | Unknown {
    if ("attribute" in step) return step.attribute;
    return "index" in step ? asText(this.valueOf(step.index, bound)) : new Unknown("function");
  }

  #named(root: string, name: string): Value {
    if (root === "var") return this.#names.variable(name, this);
    if (root === "local") return this.#names.local(name, this);
    if (root === "path" && name === "root") return this.#names.root;
    if (root === "path" && name === "cwd") return this.#names.workingDirectory;
    return new Unknown("function");
  }

  #call(name: string, operands: readonly Expression[], bound: ReadonlyMap<string, Value>): Value {
    const values = operands.map((each) => this.valueOf(each, bound));
    if (name === "fileset") return new Unknown("function", true);
    if (name === "abspath")
      return onText(values, (path) => posix.resolve(this.#names.workingDirectory, path));
    if (name === "env") {
      const [variable] = values;
      return typeof variable === "string" ? this.#names.environment(variable) : new Unknown("function");
    }
    const run = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    const unknown = values.find((value) => value instanceof Unknown);
    if (run === undefined) return unknown?.isFileName === true ? unknown : new Unknown("function");
    return unknown ?? run(values);
  }

  #loop(loop: ForExpression, bound: ReadonlyMap<string, Value>): Value {
    const collection = this.valueOf(loop.collection, bound);
    if (collection instanceof Unknown) return collection;
    const iterations = this.iterations(loop, bound);
    if (iterations === undefined || loop.condition !== undefined) return new Unknown("function");
    const { key } = loop;
    if (key === undefined) return iterations.map((each) => this.valueOf(loop.value, each));
    const entries = iterations.flatMap((each) => {
      const name = asText(this.valueOf(key, each));
      return typeof name === "string" ? [[name, this.valueOf(loop.value, each)] as const] : [];
    });
    return new Map(entries);
  }

  #conditional(
    { condition, yes, no }: Extract<Expression, { kind: "conditional" }>,
    bound: ReadonlyMap<string, Value>,
  ): Value {
    const value = this.valueOf(condition, bound);
    if (value === true || value === "true") return this.valueOf(yes, bound);
    if (value === false || value === "false") return this.valueOf(no, bound);
    return value instanceof Unknown ? value : new Unknown("function");
  }

  /** Comparisons, and chains of one logical operator: paths are not made by arithmetic. */
  #operation(
    { operators, operands }: Extract<Expression, { kind: "operation" }>,
    bound: ReadonlyMap<string, Value>,
  ): Value {
    const [operator = "", ...more] = operators;
    const values = operands.map((each) => this.valueOf(each, bound));
    if (operators.every((each) => each === "&&")) return logical(values, false);
    if (operators.every((each) => each === "||")) return logical(values, true);
    const unknown = values.find((value) => value instanceof Unknown);
    if (unknown !== undefined) return unknown;
    const [left, right] = values;
    if (more.length > 0 || left === undefined) return new Unknown("function");
    if (operator === "unary !" && typeof left === "boolean") return !left;
    const isScalar = [left, right].every((value) => value === null || typeof value !== "object");
    if (right === undefined || !isScalar || !["==", "!="].includes(operator)) return new Unknown("function");
    return (left === right) === (operator === "==");
  }
}

/** @param decides the operand that decides alone, whatever the others are: `false` for `&&`, `true` for `||` */
function logical(values: readonly Value[], decides: boolean): Value {
  const texts = values.map(asText);
  if (texts.includes(String(decides))) return decides;
  return texts.every((text) => text === String(!decides)) ? !decides : new Unknown("function");
}

const NOTHING: ReadonlyMap<string, Value> = new Map();

/** A value as it stands in a string; lists and maps have no text. */
export function asText(value: Value): string | Unknown {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return value instanceof Unknown ? value : new Unknown("function");
}

function itemOf(value: Value, name: string | Unknown): Value {
  if (name instanceof Unknown) return name;
  if (value instanceof Map) return (value as ReadonlyMap<string, Value>).get(name) ?? new Unknown("function");
  if (isList(value) && /^\d{1,9}$/.test(name)) return value[Number(name)] ?? new Unknown("function");
  return new Unknown("function");
}

function entriesOf(value: Value): readonly (readonly [string | number, Value])[] | undefined {
  if (isList(value)) return value.map((each, index) => [index, each] as const);
  return value instanceof Map ? [...(value as ReadonlyMap<string, Value>)] : undefined;
}

function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

function onText(values: readonly Value[], change: (text: string) => Value): Value {
  const [value, ...more] = values;
  if (value === undefined || more.length > 0) return new Unknown("function");
  const text = asText(value);
  return text instanceof Unknown ? text : change(text);
}

/** The texts among some values; `undefined` if there is anything else. */
function textsOf(values: readonly Value[]): readonly string[] | undefined {
  const texts = values.map(asText).filter((text) => typeof text === "string");
  return texts.length === values.length ? texts : undefined;
}

const WRONG = new Unknown("function");

function replaced(
  values: readonly Value[],
  change: (texts: readonly string[]) => Value,
  count: number,
): Value {
  const texts = textsOf(values);
  return texts === undefined || texts.length !== count ? WRONG : change(texts);
}

function flattened(values: readonly Value[], depth: number): readonly Value[] {
  return values.flatMap((value) => (isList(value) && depth > 0 ? flattened(value, depth - 1) : [value]));
}

/** The functions that paths are made with (https://developer.hashicorp.com/packer/docs/templates/hcl_templates/functions, 2026-11). */
const FUNCTIONS: Readonly<Record<string, (values: readonly Value[]) => Value>> = {
  basename: (values) => onText(values, (path) => posix.basename(path)),
  dirname: (values) => onText(values, (path) => posix.dirname(path)),
  pathexpand: (values) => onText(values, (path) => path),
  lower: (values) => onText(values, (text) => text.toLowerCase()),
  upper: (values) => onText(values, (text) => text.toUpperCase()),
  trimspace: (values) => onText(values, (text) => text.trim()),
  trimprefix: (values) =>
    replaced(
      values,
      ([text = "", prefix = ""]) => (text.startsWith(prefix) ? text.slice(prefix.length) : text),
      2,
    ),
  trimsuffix: (values) =>
    replaced(
      values,
      ([text = "", suffix = ""]) =>
        text.endsWith(suffix) ? text.slice(0, text.length - suffix.length) : text,
      2,
    ),
  replace: (values) =>
    replaced(
      values,
      // A replacement could make the text grow by a thousand times before it is looked at.
      ([text = "", old = "", by = ""]) =>
        old === "" || by.length > MAX_REPLACEMENT ? WRONG : text.replaceAll(old, () => by),
      3,
    ),
  concat: (values) => (values.every(isList) ? flattened(values, 1) : WRONG),
  flatten: ([list]) => (isList(list) ? flattened(list, MAX_NESTING) : WRONG),
  compact: ([list]) => (isList(list) ? list.filter((each) => each !== null && each !== "") : WRONG),
  distinct: ([list]) => (isList(list) ? [...new Set(list)] : WRONG),
  join: ([separator, ...lists]) => {
    const texts = textsOf(flattened(lists, 1));
    return typeof separator !== "string" || texts === undefined ? WRONG : texts.join(separator);
  },
  split: (values) =>
    replaced(values, ([separator = "", text = ""]) => (separator === "" ? WRONG : text.split(separator)), 2),
  format: ([pattern, ...values]) => {
    const texts = textsOf(values);
    if (typeof pattern !== "string" || texts === undefined) return WRONG;
    const pieces = pattern.split(/%[sdv]/);
    if (pieces.length !== texts.length + 1 || pieces.some((piece) => piece.includes("%"))) return WRONG;
    return pieces.map((piece, index) => `${piece}${texts[index] ?? ""}`).join("");
  },
  coalesce: (values) => values.find((value) => value !== null && value !== "") ?? WRONG,
  lookup: ([map, name, fallback]) => {
    if (!(map instanceof Map) || typeof name !== "string") return WRONG;
    return (map as ReadonlyMap<string, Value>).get(name) ?? fallback ?? WRONG;
  },
  keys: ([map]) => (map instanceof Map ? [...(map as ReadonlyMap<string, Value>).keys()].sort() : WRONG),
  merge: (maps) =>
    maps.every((map): map is ReadonlyMap<string, Value> => map instanceof Map)
      ? new Map(maps.flatMap((map) => [...map]))
      : WRONG,
};

const MAX_REPLACEMENT = 1000;
const MAX_NESTING = 20;
