import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
} from "yaml";
import { InvalidInputError, type Problem } from "../domain/errors.ts";

/** Longest config file, bytes: hundreds of environments. */
export const MAX_CONFIG_BYTES = 64 * 1024;
/** Keys or items of one map or list. */
const MAX_ITEMS = 1000;
/** Maps and lists in each other. */
const MAX_DEPTH = 20;
/** Characters of the whole, once aliases stand for what they mean. */
const MAX_EXPANDED = 1024 * 1024;

/** What can be neither typed nor shown, and is in no program's argument. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;

/** A YAML text that was read, and where its parts stand. */
export interface YamlText {
  readonly document: Document;
  readonly value: unknown;
  readonly lines: LineCounter;
}

/**
 * Reads a YAML text that anybody may have written: within limits of size, number and depth, with keys that are words, and
 * without aliases that mean themselves or multiply.
 * @param file its path as the user knows it, for messages
 * @throws InvalidInputError with every problem, each with its line and column
 */
export function readYaml(text: string, file: string): YamlText {
  const lines = new LineCounter();
  const problem = (offset: number, message: string): Problem => {
    const { line, col } = lines.linePos(offset);
    return { where: `${file}:${Math.max(1, line)}:${Math.max(1, col)}`, message };
  };
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES)
    throw new InvalidInputError([problem(0, `the file is longer than ${MAX_CONFIG_BYTES / 1024} KiB`)]);
  const document = parsed(text, lines);
  if (document === undefined) throw new InvalidInputError([problem(0, TOO_DEEP)]);
  const problems =
    document.errors.length > 0
      ? document.errors.map(({ pos, message }) =>
          problem(pos[0], message.split("\n")[0]?.replace(/ at line \d.*$/, "") ?? ""),
        )
      : oddities(document).map(([offset, message]) => problem(offset, message));
  if (problems.length > 0) throw new InvalidInputError(problems);
  try {
    const value: unknown = document.toJS();
    // It fails where something is a part of itself.
    if ((JSON.stringify(value) ?? "").length <= MAX_EXPANDED) return { document, value, lines };
  } catch {
    // An alias of nothing, of itself, or of too much.
  }
  throw new InvalidInputError([
    problem(firstAlias(document), "an alias means nothing, itself, or too much: write what it stands for"),
  ]);
}

const TOO_DEEP = `is nested more than ${MAX_DEPTH} deep`;

/** Undefined where the parser had not the stack for it. */
function parsed(text: string, lineCounter: LineCounter): Document | undefined {
  try {
    return parseDocument(text, { lineCounter, uniqueKeys: true, merge: false });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Every node, and how deep it stands; by a list of what is still to do, since depth is the writer's. */
function nodesOf(document: Document): (readonly [node: unknown, depth: number])[] {
  const all: (readonly [node: unknown, depth: number])[] = [];
  const waiting: (readonly [node: unknown, depth: number])[] = [[document.contents, 0]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    all.push(next);
    const [node, depth] = next;
    if (!isCollection(node) || depth > MAX_DEPTH) continue;
    for (const item of node.items) {
      if (isNode(item)) waiting.push([item, depth + 1]);
      else waiting.push([(item as { readonly value: unknown }).value, depth + 1]);
    }
  }
  return all;
}

/** What is YAML, but nothing that a config file should hold. */
function oddities(document: Document): (readonly [offset: number, message: string])[] {
  const found: (readonly [offset: number, message: string])[] = [];
  for (const [node, depth] of nodesOf(document)) {
    const offset = offsetOf(node);
    if (depth > MAX_DEPTH) return [[offset, TOO_DEEP]];
    if (isCollection(node) && node.items.length > MAX_ITEMS)
      found.push([offset, `has ${node.items.length} entries, at most ${MAX_ITEMS} are taken`]);
    else if (isMap(node)) for (const { key } of node.items) found.push(...keyOddities(key, offset));
    if (isScalar(node) && typeof node.value === "string" && CONTROL.test(node.value))
      found.push([offset, "holds a control character"]);
  }
  return found.sort(([a], [b]) => a - b);
}

function keyOddities(key: unknown, offset: number): (readonly [offset: number, message: string])[] {
  if (!isScalar(key)) return [[offset, "has a key that is no word"]];
  const at = offsetOf(key);
  if (CONTROL.test(String(key.value))) return [[at, "holds a control character"]];
  // An object of JavaScript has it already.
  return key.value === "__proto__" ? [[at, 'the key "__proto__" is not taken']] : [];
}

function offsetOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}

function firstAlias(document: Document): number {
  const aliases = nodesOf(document).flatMap(([node]) => (isAlias(node) ? [offsetOf(node)] : []));
  return aliases.reduce((first, each) => Math.min(first, each), aliases[0] ?? 0);
}
