import type { Expression } from "./expression.ts";
import type { Span } from "./source-text.ts";

/**
 * Strings of Packer's template engine, `{{ … }}` (Go's text/template). Actions that Kiln knows become the expressions that
 * mean the same in HCL: ``{{user `x`}}`` is `var.x`, `{{template_dir}}` is `abspath(path.root)`, `{{pwd}}` is `path.cwd`. Every
 * other action becomes a call of its first word, which nothing evaluates.
 * https://developer.hashicorp.com/packer/docs/templates/legacy_json_templates/engine (2026-11)
 */

/** The parts of a text: literal text, and the expressions between braces. */
export function goTemplateParts(text: string, span: Span): readonly (string | Expression)[] {
  const parts: (string | Expression)[] = [];
  let at = 0;
  for (let open = text.indexOf("{{"); open !== -1; open = text.indexOf("{{", at)) {
    const close = text.indexOf("}}", open + 2);
    if (close === -1) break;
    if (open > at) parts.push(text.slice(at, open));
    parts.push(actionOf(text.slice(open + 2, close), span));
    at = close + 2;
  }
  if (at < text.length || parts.length === 0) parts.push(text.slice(at));
  return parts;
}

/** A string of a legacy template as an expression. */
export function goTemplate(text: string, span: Span): Expression {
  const parts = goTemplateParts(text, span);
  const [only] = parts;
  if (parts.length === 1 && typeof only === "string") return { kind: "literal", value: only, ...span };
  return { kind: "template", parts, ...span };
}

/** Whether a text has actions of the template engine in it. */
export function hasActions(text: string): boolean {
  return text.includes("{{");
}

/** Longer actions are not taken apart. */
const MAX_ACTION = 1000;
const WORD = /[\w.$]+|`[^`]*`|"(?:[^"\\]|\\.)*"|\S/g;

function actionOf(action: string, span: Span): Expression {
  if (action.length > MAX_ACTION) return { kind: "unreadable", ...span };
  const words = (action.match(WORD) ?? []).filter((word, index, all) => !isTrim(word, index, all.length));
  const [name = "", ...operands] = words;
  const texts = operands.map(literalOf);
  const isSimple = texts.every((text) => text !== undefined);
  const [first] = texts;
  if (name === "user" && isSimple && first !== undefined && texts.length === 1) {
    return access("var", first, span);
  }
  if (name === "pwd" && texts.length === 0) return access("path", "cwd", span);
  if (name === "template_dir" && texts.length === 0) {
    return { kind: "call", name: "abspath", operands: [access("path", "root", span)], ...span };
  }
  const literals = texts.map((text): Expression => ({ kind: "literal", value: text ?? "", ...span }));
  if (isSimple) return { kind: "call", name, operands: literals, ...span };
  return { kind: "operation", operators: ["{{}}"], operands: namesIn(words, span), ...span };
}

/** `{{-` and `-}}`. */
function isTrim(word: string, index: number, length: number): boolean {
  return word === "-" && (index === 0 || index === length - 1);
}

function literalOf(word: string): string | undefined {
  if (word.startsWith("`") && word.length > 1) return word.slice(1, -1);
  if (!word.startsWith('"') || word.length < 2) return undefined;
  return word.slice(1, -1).replaceAll(/\\(.)/g, "$1");
}

/** Of an action that is more than a call: the variables and functions in it. */
function namesIn(words: readonly string[], span: Span): readonly Expression[] {
  return words.flatMap((word, index): readonly Expression[] => {
    if (!/^\w+$/.test(word)) return [];
    const text = literalOf(words[index + 1] ?? "");
    if (word === "user" && text !== undefined) return [access("var", text, span)];
    const operands: readonly Expression[] =
      text === undefined ? [] : [{ kind: "literal", value: text, ...span }];
    return [{ kind: "call", name: word, operands, ...span }];
  });
}

function access(root: string, attribute: string, span: Span): Expression {
  return { kind: "access", of: { kind: "name", name: root, ...span }, steps: [{ attribute }], ...span };
}
