/**
 * HCL as far as variables need it: which blocks and attributes there are, where, and what is written out in a value
 * (HCL native syntax specification). Nothing is evaluated. What is no HCL gives what could be read of it: whether it is
 * valid, Packer says.
 */

export interface HclAttribute {
  readonly kind: "attribute";
  readonly name: string;
  readonly line: number;
  readonly column: number;
  readonly value: HclValue;
}

export interface HclBlock {
  readonly kind: "block";
  readonly type: string;
  readonly labels: readonly string[];
  readonly body: readonly HclItem[];
}

export type HclItem = HclAttribute | HclBlock;

export interface HclValue {
  /** Strings and numbers that are written out, keys of maps not among them; of a string with `\${…}` what is around it. */
  readonly literals: readonly string[];
  /** The names in `env("NAME")`. */
  readonly environment: readonly string[];
  /** The value is the word `true`. */
  readonly isTrue: boolean;
}

interface Token {
  readonly kind: "word" | "number" | "string" | "sign" | "end-of-line";
  readonly text: string;
  /** Strings: the literal pieces. */
  readonly pieces: readonly string[];
  readonly offset: number;
}

/** The blocks and attributes of a file. */
export function readHcl(text: string): readonly HclItem[] {
  return new Reader(text).body();
}

/** What is written out in one expression. */
export function readHclValue(text: string): HclValue {
  return valueOf(tokensOf(text));
}

class Reader {
  readonly #tokens: readonly Token[];
  readonly #lines: LineStarts;
  #position = 0;

  constructor(text: string) {
    this.#lines = new LineStarts(text);
    this.#tokens = tokensOf(text);
  }

  /** Up to a brace too many, or the end. Blocks in blocks are no recursion: a file may have any number of them. */
  body(): readonly HclItem[] {
    const items: HclItem[] = [];
    const open = [items];
    for (let token = this.#next(); token !== undefined; token = this.#next()) {
      if (token.kind === "sign" && token.text === "}") {
        open.pop();
        if (open.length === 0) break;
      }
      if (token.kind !== "word" && token.kind !== "string") continue;
      const inside: HclItem[] = [];
      const item = this.#item(token, inside);
      if (item !== undefined) open.at(-1)?.push(item);
      if (item?.kind === "block") open.push(inside);
    }
    return items;
  }

  #next(): Token | undefined {
    const token = this.#tokens[this.#position];
    this.#position += 1;
    return token;
  }

  /** An attribute, or a block up to its opening brace. */
  #item(first: Token, body: readonly HclItem[]): HclItem | undefined {
    const labels: string[] = [];
    for (let token = this.#next(); token !== undefined; token = this.#next()) {
      if (token.kind === "word" || token.kind === "string") labels.push(token.text);
      else if (token.text === "{") return { kind: "block", type: first.text, labels, body };
      else if (token.text === "=" && labels.length === 0) return this.#attribute(first);
      else return undefined;
    }
    return undefined;
  }

  /** The value goes to the end of the line, but for what is in brackets. */
  #attribute({ text: name, offset }: Token): HclAttribute {
    const tokens: Token[] = [];
    let depth = 0;
    for (
      let token = this.#tokens[this.#position];
      token !== undefined;
      token = this.#tokens[this.#position]
    ) {
      if (depth === 0 && (token.kind === "end-of-line" || (token.kind === "sign" && token.text === "}")))
        break;
      if (token.kind === "sign")
        depth += "{[(".includes(token.text) ? 1 : "}])".includes(token.text) ? -1 : 0;
      tokens.push(token);
      this.#position += 1;
    }
    return { kind: "attribute", name, ...this.#lines.placeOf(offset), value: valueOf(tokens) };
  }
}

/** Where the lines of a text begin. */
class LineStarts {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) this.#starts.push(at + 1);
  }

  /** Both counted from 1. */
  placeOf(offset: number): { readonly line: number; readonly column: number } {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 };
  }
}

function valueOf(all: readonly Token[]): HclValue {
  const tokens = all.filter(({ kind }) => kind !== "end-of-line");
  const isKey = (index: number): boolean => {
    const next = tokens[index + 1];
    return next?.kind === "sign" && (next.text === "=" || next.text === ":");
  };
  const isOfEnv = (index: number): boolean =>
    tokens[index - 1]?.text === "(" &&
    tokens[index - 2]?.kind === "word" &&
    tokens[index - 2]?.text === "env";
  const strings = tokens.flatMap((token, index) =>
    (token.kind === "string" || token.kind === "number") && !isKey(index) ? [{ token, index }] : [],
  );
  return {
    literals: strings.flatMap(({ token, index }) => (isOfEnv(index) ? [] : token.pieces)),
    environment: strings.flatMap(({ token, index }) => (isOfEnv(index) ? [token.text] : [])),
    isTrue: tokens.length === 1 && tokens[0]?.kind === "word" && tokens[0].text === "true",
  };
}

const PATTERNS = {
  blank: /[^\S\n]+/y,
  comment: /(?:#|\/\/)[^\n]*|\/\*[^]*?(?:\*\/|$)/y,
  word: /[\p{L}_][\p{L}\p{N}_-]*/uy,
  number: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y,
  heredoc: /<<(-?)([\p{L}_][\p{L}\p{N}_-]*)\r?\n/uy,
} as const;

function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  const match = (pattern: RegExp, at: number): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  const closers = lastLines(text);
  let at = 0;
  const push = (kind: Token["kind"], value: string, pieces: readonly string[], length: number): void => {
    tokens.push({ kind, text: value, pieces, offset: at });
    at += length;
  };
  while (at < text.length) {
    const skipped = match(PATTERNS.blank, at) ?? match(PATTERNS.comment, at);
    const heredoc = heredocFrom(match(PATTERNS.heredoc, at), text, closers);
    const word = match(PATTERNS.word, at);
    const number = match(PATTERNS.number, at);
    if (skipped !== null) at += skipped[0].length;
    else if (text[at] === "\n") push("end-of-line", "\n", [], 1);
    else if (heredoc !== undefined) {
      push("string", heredoc.content, [heredoc.content], heredoc.length);
    } else if (text[at] === '"') {
      const { pieces, length } = quoted(text, at);
      push("string", pieces.join(""), pieces, length);
    } else if (word !== null) push("word", word[0], [], word[0].length);
    else if (number !== null) push("number", number[0], [number[0]], number[0].length);
    else push("sign", text[at] ?? "", [], 1);
  }
  return tokens;
}

/** Each line that could end a heredoc, and where it stands last; found out once for all heredocs. */
function lastLines(text: string): () => ReadonlyMap<string, number> {
  let found: Map<string, number> | undefined;
  return () => {
    if (found !== undefined) return found;
    found = new Map();
    let start = 0;
    for (const line of text.split("\n")) {
      found.set(line.trim(), start);
      start += line.length + 1;
    }
    return found;
  };
}

/** A heredoc from its header on, up to the line that is its word; undefined where no line is. */
function heredocFrom(
  header: RegExpExecArray | null,
  text: string,
  closers: () => ReadonlyMap<string, number>,
): { readonly content: string; readonly length: number } | undefined {
  if (header === null) return undefined;
  const [opening, dash, word] = header;
  const begin = header.index + opening.length;
  if (word === undefined || (closers().get(word) ?? -1) < begin) return undefined;
  for (let start = begin; start <= text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline;
    if (text.slice(start, end).trim() === word) {
      const content = text.slice(begin, start);
      return { content: dash === "-" ? unindented(content) : content, length: end - header.index };
    }
    start = end + 1;
  }
  return undefined;
}

function unindented(content: string): string {
  const lines = content.split("\n");
  const depths = lines
    .filter((line) => line.trim() !== "")
    .map((line) => line.length - line.trimStart().length);
  const depth = depths.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
  return lines.map((line) => line.slice(depth)).join("\n");
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/** A quoted string from its first quote on: the text between its templates, and how long it is with its quotes. */
function quoted(
  text: string,
  start: number,
): { readonly pieces: readonly string[]; readonly length: number } {
  const pieces: string[] = [];
  let piece = "";
  let at = start + 1;
  while (at < text.length && text[at] !== '"' && text[at] !== "\n") {
    const rest = text.slice(at, at + 10);
    const unicode = /^\\u([0-9a-fA-F]{4})|^\\U([0-9a-fA-F]{8})/.exec(rest);
    if (unicode !== null) {
      const code = Number.parseInt(unicode[1] ?? unicode[2] ?? "", 16);
      piece += code <= 0x10ffff ? String.fromCodePoint(code) : "";
      at += unicode[0].length;
    } else if (rest.startsWith("\\")) {
      piece += ESCAPES[rest[1] ?? ""] ?? rest[1] ?? "";
      at += 2;
    } else if (rest.startsWith("$${") || rest.startsWith("%%{")) {
      piece += rest.slice(1, 3);
      at += 3;
    } else if (rest.startsWith("${") || rest.startsWith("%{")) {
      pieces.push(piece);
      piece = "";
      at += templateLength(text, at);
    } else {
      piece += rest[0] ?? "";
      at += 1;
    }
  }
  return { pieces: [...pieces, piece].filter((each) => each !== ""), length: at + 1 - start };
}

/** How long a `\${…}` is, with the strings and braces inside of it, and the templates in those. */
function templateLength(text: string, start: number): number {
  // What is open: the braces of a template, or a string (undefined). No recursion: a file may have any number of them.
  const open: (number | undefined)[] = [0];
  for (let at = start + 1; at < text.length; at += 1) {
    const braces = open.at(-1);
    const char = text[at];
    if (braces === undefined) {
      if (char === "\\") at += 1;
      else if (char === '"' || char === "\n") open.pop();
      else if (text.startsWith("$${", at) || text.startsWith("%%{", at)) at += 2;
      else if (text.startsWith("${", at) || text.startsWith("%{", at)) open.push(0);
    } else if (char === '"') open.push(undefined);
    else if (char === "{") open[open.length - 1] = braces + 1;
    else if (char === "}") {
      open[open.length - 1] = braces - 1;
      if (braces > 1) continue;
      open.pop();
      if (open.length === 0) return at + 1 - start;
    }
  }
  return text.length - start;
}
