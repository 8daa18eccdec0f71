import type { Expression, ForExpression, HclAttribute, HclItem, MapEntry, Step } from "./expression.ts";
import { hclTokens, templateTokens, type Token } from "./hcl-tokens.ts";
import type { Span } from "./source-text.ts";

/**
 * HCL native syntax as far as Kiln needs it: which blocks and attributes there are, where, and what their expressions are
 * made of. Nothing is evaluated. What is not HCL gives what could be read of it: whether it is valid, Packer says.
 */

/** Expressions and blocks that are nested deeper than this are `unreadable`, or count as one level. Real ones have about 10. */
const MAX_DEPTH = 100;

/** The blocks and attributes of a file. */
export function readHcl(text: string): readonly HclItem[] {
  return new Reader(hclTokens(text)).body();
}

/** One expression, such as the value of a variable that a step or the environment passes. */
export function readHclExpression(text: string): Expression {
  return new Reader(hclTokens(text)).wholeExpression();
}

/** A text that is a template as a whole: a string of HCL's JSON syntax, or a file for `templatefile()`. */
export function readHclTemplate(text: string): Expression {
  return new Reader(templateTokens(text)).bareTemplate(text.length);
}

interface OpenBlock {
  readonly items: HclItem[];
  readonly close: (end: number) => void;
}

class Reader {
  readonly #tokens: readonly Token[];
  /** For each token that opens something the index of what closes it. */
  readonly #partners: ReadonlyMap<number, number>;
  #position = 0;
  #depth = 0;
  /** Inside brackets line breaks separate nothing. */
  #skipsNewlines = false;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
    this.#partners = partnersOf(tokens);
  }

  /** Up to a brace too many, or the end. Blocks in blocks are no recursion: a file may have any number of them. */
  body(): readonly HclItem[] {
    const items: HclItem[] = [];
    const open: OpenBlock[] = [{ items, close: () => {} }];
    for (let token = this.#peek(); token !== undefined; token = this.#peek()) {
      const current = open.at(-1);
      if (current === undefined) break;
      if (isSign(token, "}")) {
        current.close(token.end);
        open.pop();
        this.#position += 1;
      } else if (token.kind === "word" || token.kind === "open-template") this.#item(current.items, open);
      else this.#position += 1;
    }
    return items;
  }

  wholeExpression(): Expression {
    this.#skipsNewlines = true;
    return this.#expression();
  }

  bareTemplate(length: number): Expression {
    return { ...this.#template(false), start: 0, end: length };
  }

  /** An attribute, or a block up to its opening brace. */
  #item(items: HclItem[], open: OpenBlock[]): void {
    const first = this.#tokens[this.#position] as Token;
    const [name, ...labels] = this.#labels();
    const sign = this.#peek();
    if (name === undefined) return;
    if (isSign(sign, "=") && labels.length === 0) {
      this.#position += 1;
      items.push(this.#attribute(name, first));
    } else if (isSign(sign, "{")) {
      this.#position += 1;
      const body: HclItem[] = [];
      const block = {
        kind: "block" as const,
        type: name,
        labels,
        body,
        start: first.start,
        end: sign?.end ?? 0,
      };
      items.push(block);
      const close = (end: number): void => void (block.end = end);
      open.push({ items: open.length > MAX_DEPTH ? items : body, close });
    } else if (sign !== undefined) this.#position += 1;
  }

  /** Words and strings in a row: a block's type and labels, or an attribute's name. */
  #labels(): readonly string[] {
    const labels: string[] = [];
    for (let token = this.#peek(); token !== undefined; token = this.#peek()) {
      if (token.kind === "word") {
        labels.push(token.text);
        this.#position += 1;
      } else if (token.kind === "open-template") {
        const label = this.#operand();
        labels.push(label.kind === "literal" ? String(label.value) : "");
      } else break;
    }
    return labels;
  }

  /** The value ends with the line, but for what is in brackets. */
  #attribute(name: string, { start }: Token): HclAttribute {
    const value = this.#expression();
    for (let token = this.#peek(); token !== undefined; token = this.#peek()) {
      if (token.kind === "newline" || isSign(token, "}")) break;
      this.#skipOne();
    }
    return { kind: "attribute", name, value, start, end: value.end };
  }

  #expression(): Expression {
    const start = this.#peek()?.start ?? this.#end();
    if (this.#depth >= MAX_DEPTH) {
      this.#skipOne();
      return { kind: "unreadable", start, end: this.#end() };
    }
    this.#depth += 1;
    const operation = this.#operation(start);
    const whole = this.#takeSign("?") ? this.#conditional(start, operation) : operation;
    this.#depth -= 1;
    return whole;
  }

  #conditional(start: number, condition: Expression): Expression {
    const yes = this.#expression();
    this.#takeSign(":");
    const no = this.#expression();
    return { kind: "conditional", condition, yes, no, start, end: this.#end() };
  }

  /** Operands with operators between them; which binds tighter does not matter here. */
  #operation(start: number): Expression {
    const operands: Expression[] = [];
    const operators: string[] = [];
    for (;;) {
      while (this.#isSign("!", "-")) operators.push(`unary ${this.#next()?.text ?? ""}`);
      operands.push(this.#operand());
      if (!this.#isSign(...OPERATORS)) break;
      operators.push(this.#next()?.text ?? "");
    }
    const [only] = operands;
    if (only !== undefined && operators.length === 0) return only;
    return { kind: "operation", operators, operands, start, end: this.#end() };
  }

  #operand(): Expression {
    const start = this.#peek()?.start ?? this.#end();
    const of = this.#primary(start);
    const steps: Step[] = [];
    for (let step = this.#step(); step !== undefined; step = this.#step()) steps.push(step);
    return steps.length === 0 ? of : { kind: "access", of, steps, start, end: this.#end() };
  }

  #step(): Step | undefined {
    if (this.#takeSign(".")) {
      const name = this.#peek();
      if (isSign(name, "*")) {
        this.#position += 1;
        return { splat: true };
      }
      if (name?.kind !== "word" && name?.kind !== "number") return undefined;
      this.#position += 1;
      return { attribute: name.text };
    }
    if (!this.#isSign("[")) return undefined;
    return this.#bracketed((): Step => {
      if (this.#takeSign("*")) return { splat: true };
      return { index: this.#expression() };
    });
  }

  #primary(start: number): Expression {
    const token = this.#peek();
    if (token?.kind === "word") return this.#word(this.#next() as Token);
    if (token?.kind === "open-template") {
      const opening = this.#next() as Token;
      return { ...this.#template(opening.indented === true), start, end: this.#end() };
    }
    if (token?.kind === "number") {
      this.#position += 1;
      return { kind: "literal", value: Number(token.text), digits: token.text, start, end: token.end };
    }
    if (isSign(token, "(")) return this.#bracketed(() => this.#expression());
    if (isSign(token, "[")) return { ...this.#bracketed(() => this.#list()), start, end: this.#end() };
    if (isSign(token, "{")) return { ...this.#bracketed(() => this.#map(), false), start, end: this.#end() };
    if (token !== undefined && !ENDS.has(token.text) && token.kind !== "newline") this.#position += 1;
    return { kind: "unreadable", start, end: Math.max(start, this.#end()) };
  }

  #word({ text, start, end }: Token): Expression {
    if (Object.hasOwn(CONSTANTS, text))
      return { kind: "literal", value: CONSTANTS[text] ?? null, start, end };
    if (!this.#isSign("(")) return { kind: "name", name: text, start, end };
    const operands = this.#bracketed(() => this.#expressions(")"));
    return { kind: "call", name: text, operands, start, end: this.#end() };
  }

  #list(): Shapeless<"list" | "for"> {
    return this.#for() ?? { kind: "list", operands: this.#expressions("]") };
  }

  #expressions(closer: string): readonly Expression[] {
    const operands: Expression[] = [];
    while (this.#peek() !== undefined && !this.#isSign(closer)) {
      const before = this.#position;
      operands.push(this.#expression());
      this.#takeSign("...");
      if (!this.#takeSign(",") && !this.#isSign(closer) && this.#position === before) break;
    }
    return operands;
  }

  #map(): Shapeless<"map" | "for"> {
    const comprehension = this.#for();
    if (comprehension !== undefined) return comprehension;
    const entries: MapEntry[] = [];
    while (this.#peek() !== undefined && !this.#isSign("}")) {
      if (this.#peek()?.kind === "newline" || this.#isSign(",")) {
        this.#position += 1;
        continue;
      }
      const before = this.#position;
      const key = this.#key();
      if (this.#takeSign("=") || this.#takeSign(":")) entries.push({ key, value: this.#expression() });
      if (this.#position === before) break;
    }
    return { kind: "map", entries };
  }

  /** A word is its own name here, not a variable's. */
  #key(): Expression {
    const token = this.#peek();
    const after = this.#tokens[this.#position + 1];
    if (token?.kind !== "word" || !(isSign(after, "=") || isSign(after, ":"))) return this.#expression();
    this.#position += 1;
    return { kind: "literal", value: token.text, start: token.start, end: token.end };
  }

  /** `for a, b in collection : key => value if condition`, after the opening bracket. */
  #for(): (ForExpression & Shapeless<"for">) | undefined {
    if (this.#peek()?.text !== "for" || this.#peek(1)?.kind !== "word") return undefined;
    this.#skipsNewlines = true;
    this.#position += 1;
    const names: string[] = [];
    for (let token = this.#peek(); token !== undefined && token.text !== "in"; token = this.#peek()) {
      if (token.kind === "word") names.push(token.text);
      else if (token.text !== ",") break;
      this.#next();
    }
    if (this.#peek()?.text === "in") this.#next();
    const collection = this.#expression();
    this.#takeSign(":");
    const first = this.#expression();
    const second = this.#takeSign("=>") ? this.#expression() : undefined;
    this.#takeSign("...");
    const hasCondition = this.#peek()?.text === "if" && this.#next() !== undefined;
    const condition = hasCondition ? this.#expression() : undefined;
    const key = second === undefined ? undefined : first;
    return { kind: "for", names, collection, key, value: second ?? first, condition };
  }

  /** The parts of a string up to its end; one that is only text is a literal. */
  #template(indented: boolean): Shapeless<"literal" | "template"> {
    const parts: (string | Expression)[] = [];
    const lines: string[] = [];
    const pieces = this.#pieces();
    if (indented) unindent(pieces);
    let trims = false;
    pieces.forEach((piece, index) => {
      if (typeof piece.part !== "string") {
        if (lines.length > 0) parts.push(lines.splice(0).join(""));
        parts.push(piece.part);
      } else {
        const start = trims ? piece.part.trimStart() : piece.part;
        lines.push(pieces[index + 1]?.trimsBefore === true ? start.trimEnd() : start);
      }
      trims = piece.trimsAfter === true;
    });
    const rest = lines.join("");
    if (parts.length === 0) return { kind: "literal", value: rest };
    return { kind: "template", parts: rest === "" ? parts : [...parts, rest] };
  }

  #pieces(): Piece[] {
    const pieces: Piece[] = [];
    for (
      let token = this.#tokens[this.#position];
      token !== undefined;
      token = this.#tokens[this.#position]
    ) {
      if (token.kind === "text") {
        pieces.push({ part: token.text });
        this.#position += 1;
      } else if (token.kind === "interpolation" || token.kind === "directive") {
        pieces.push(this.#sequence(token));
      } else {
        if (token.kind === "close-template") this.#position += 1;
        break;
      }
    }
    return pieces;
  }

  #sequence(opening: Token): Piece {
    const isDirective = opening.kind === "directive";
    const operands = this.#bracketed(() => (isDirective ? this.#directive() : [this.#expression()]));
    const [only] = operands;
    const directive = { kind: "directive" as const, operands, start: opening.start, end: this.#end() };
    const part = isDirective || only === undefined ? directive : only;
    const closing = this.#tokens[this.#position - 1];
    return { part, trimsBefore: opening.trims === true, trimsAfter: closing?.trims === true };
  }

  /** `if condition`, `for a in list`, `else`, `endif`, `endfor`. */
  #directive(): readonly Expression[] {
    const keyword = this.#next()?.text;
    if (keyword === "for") while (this.#peek() !== undefined && this.#next()?.text !== "in");
    const operands: Expression[] = [];
    if (keyword === "if" || keyword === "for") operands.push(this.#expression());
    return operands;
  }

  /** What is between two brackets; whatever is left of it is skipped. */
  #bracketed<T>(read: () => T, skipsNewlines = true): T {
    const skippedBefore = this.#skipsNewlines;
    this.#peek();
    const partner = this.#partners.get(this.#position) ?? this.#tokens.length;
    this.#position += 1;
    this.#skipsNewlines = skipsNewlines;
    const inside = read();
    this.#skipsNewlines = skippedBefore;
    this.#position = Math.max(this.#position, partner + 1);
    return inside;
  }

  /** One token, or all that it opens. */
  #skipOne(): void {
    this.#peek();
    this.#position = (this.#partners.get(this.#position) ?? this.#position) + 1;
  }

  #peek(ahead = 0): Token | undefined {
    if (this.#skipsNewlines) while (this.#tokens[this.#position]?.kind === "newline") this.#position += 1;
    return this.#tokens[this.#position + ahead];
  }

  #next(): Token | undefined {
    const token = this.#peek();
    this.#position += 1;
    return token;
  }

  #isSign(...signs: readonly string[]): boolean {
    return isSign(this.#peek(), ...signs);
  }

  #takeSign(sign: string): boolean {
    if (!this.#isSign(sign)) return false;
    this.#position += 1;
    return true;
  }

  /** Where the last token that was read ends. */
  #end(): number {
    return this.#tokens[Math.min(this.#position, this.#tokens.length) - 1]?.end ?? 0;
  }
}

/** An expression without its place. */
type Shapeless<Kind extends Expression["kind"]> =
  Extract<Expression, { kind: Kind }> extends infer Each
    ? Each extends Span
      ? Omit<Each, keyof Span> & { kind: Kind }
      : never
    : never;

interface Piece {
  part: string | Expression;
  readonly trimsBefore?: boolean;
  readonly trimsAfter?: boolean;
}

const CONSTANTS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
const OPERATORS = ["==", "!=", "<=", ">=", "<", ">", "&&", "||", "+", "-", "*", "/", "%"];
const OPENERS: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };
const ENDS: ReadonlySet<string> = new Set([")", "]", "}", ",", ":", "=>", "=", "?"]);

function isSign(token: Token | undefined, ...signs: readonly string[]): boolean {
  return token?.kind === "sign" && signs.includes(token.text);
}

/** Which token closes which: of what is closed in the wrong order only what fits. */
function partnersOf(tokens: readonly Token[]): ReadonlyMap<number, number> {
  const partners = new Map<number, number>();
  const open: { readonly index: number; readonly closer: string }[] = [];
  const close = (closer: string, index: number): void => {
    const opener = open.at(-1);
    if (opener?.closer !== closer) return;
    partners.set(opener.index, index);
    open.pop();
  };
  tokens.forEach(({ kind, text }, index) => {
    if (kind === "sign" && Object.hasOwn(OPENERS, text)) open.push({ index, closer: OPENERS[text] ?? "" });
    else if (kind === "open-template") open.push({ index, closer: "close-template" });
    else if (kind === "interpolation" || kind === "directive") open.push({ index, closer: "close-sequence" });
    else if (kind === "close-template" || kind === "close-sequence") {
      // It ends whatever brackets were left open inside.
      while (open.length > 0 && open.at(-1)?.closer !== kind) open.pop();
      close(kind, index);
    } else if (kind === "sign") close(text, index);
  });
  return partners;
}

/**
 * Takes the indentation that all lines of a `<<-` heredoc share from each of them, as HCL does it: lines of white space only
 * do not count, and keep theirs (hclsyntax, `flushHeredocTemplateParts`).
 */
function unindent(pieces: readonly Piece[]): void {
  const begins = pieces.filter((_, index) => {
    const before = pieces[index - 1]?.part;
    return index === 0 || (typeof before === "string" && before.endsWith("\n"));
  });
  const depths = begins.flatMap(({ part }) => {
    if (typeof part !== "string") return [0];
    const trimmed = part.trimStart();
    return trimmed === "" && part.endsWith("\n") ? [] : [part.length - trimmed.length];
  });
  const least = depths.reduce((low, depth) => Math.min(low, depth), Number.POSITIVE_INFINITY);
  for (const piece of begins) {
    if (typeof piece.part !== "string") continue;
    const isBlank = piece.part.trim() === "" && piece.part.endsWith("\n");
    if (!isBlank) piece.part = piece.part.slice(least);
  }
}
