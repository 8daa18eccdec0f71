/**
 * The tokens of HCL, in the order in which they are written. Strings, heredocs and the expressions in them are one flat
 * list, as in HCL's own scanner: it takes one pass and no recursion, however deeply they are nested.
 * HCL native syntax specification, https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md (2026-11).
 */

export type TokenKind =
  | "word"
  | "number"
  | "sign"
  | "newline"
  /** The quote that opens a string, or a heredoc's first line. */
  | "open-template"
  | "close-template"
  /** Literal text inside a string or heredoc, unescaped; of a heredoc one line at most. */
  | "text"
  /** `${` and `%{`. */
  | "interpolation"
  | "directive"
  | "close-sequence";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** `<<-`: the lines' common indentation does not count. */
  readonly indented?: boolean;
  /** `${~`, `~}`: white space beside it does not count. */
  readonly trims?: boolean;
}

/** Where the scanner is: in code (a file, or an expression in a template), or in the text of a template. */
type Mode =
  | { readonly kind: "code"; braces: number; readonly isSequence: boolean }
  | { readonly kind: "quoted" }
  | { readonly kind: "heredoc"; readonly marker: string; isLineStart: boolean }
  /** Text that is a template as a whole: a string of a JSON file, a file for `templatefile()`. */
  | { readonly kind: "bare" };

/** The tokens of a file. What is not HCL gives signs; what is not closed ends with the text. */
export function hclTokens(text: string): readonly Token[] {
  return new Scanner(text, { kind: "code", braces: 0, isSequence: false }).tokens();
}

/** The tokens of a text that is one template, without quotes around it or escapes with `\`. */
export function templateTokens(text: string): readonly Token[] {
  return new Scanner(text, { kind: "bare" }).tokens();
}

const PATTERNS = {
  skipped: /[^\S\n]+|(?:#|\/\/)[^\n]*|\/\*[^]*?(?:\*\/|$)/y,
  word: /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}-]*/uy,
  number: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y,
  heredoc: /<<(-?)([\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}-]*)[ \t]*\r?\n/uy,
  sign: /==|!=|<=|>=|&&|\|\||=>|\.\.\.|::|[^]/uy,
  /** Text of a string up to what ends it or begins something. */
  quoted: /[^"\\$%\n]+/y,
  /** Text of a heredoc or a bare template, a line at most. */
  unquoted: /[^$%\n]*\n|[^$%\n]+/y,
  unicode: /\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/y,
} as const;

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

class Scanner {
  readonly #text: string;
  readonly #modes: Mode[];
  readonly #tokens: Token[] = [];
  #at = 0;
  /** Literal text that is not yet a token, and where it begins. */
  #piece: { text: string; start: number } | undefined;

  constructor(text: string, mode: Mode) {
    this.#text = text;
    this.#modes = [mode];
  }

  tokens(): readonly Token[] {
    while (this.#at < this.#text.length) {
      const mode = this.#modes.at(-1);
      if (mode === undefined) break;
      if (mode.kind === "code") this.#code(mode);
      else if (mode.kind === "quoted") this.#quoted();
      else this.#unquoted(mode);
    }
    this.#flush();
    return this.#tokens;
  }

  #code(mode: Extract<Mode, { kind: "code" }>): void {
    const skipped = this.#match(PATTERNS.skipped);
    if (skipped !== null) {
      this.#at += skipped[0].length;
      return;
    }
    const character = this.#text[this.#at];
    if (character === "\n") return this.#push("newline", 1);
    if (character === '"') {
      this.#push("open-template", 1);
      this.#modes.push({ kind: "quoted" });
      return;
    }
    if (this.#heredoc()) return;
    for (const kind of ["word", "number"] as const) {
      const found = this.#match(PATTERNS[kind]);
      if (found !== null) return this.#push(kind, found[0].length);
    }
    this.#sign(mode);
  }

  #heredoc(): boolean {
    const header = this.#match(PATTERNS.heredoc);
    const [opening, dash, marker] = header ?? [];
    if (opening === undefined || marker === undefined) return false;
    this.#push("open-template", opening.length, { indented: dash === "-" });
    this.#modes.push({ kind: "heredoc", marker, isLineStart: true });
    return true;
  }

  #sign(mode: Extract<Mode, { kind: "code" }>): void {
    const closes = mode.isSequence && mode.braces === 0;
    if (closes && this.#text.startsWith("~}", this.#at)) return this.#endSequence(2);
    const sign = this.#match(PATTERNS.sign)?.[0] ?? "";
    if (sign === "}" && closes) return this.#endSequence(1);
    if (sign === "{") mode.braces += 1;
    else if (sign === "}") mode.braces -= 1;
    this.#push("sign", Math.max(sign.length, 1));
  }

  #endSequence(length: number): void {
    this.#push("close-sequence", length, { trims: length === 2 });
    this.#modes.pop();
  }

  #quoted(): void {
    const character = this.#text[this.#at];
    // A line break inside a string is an error in HCL: the string ends there, so that the rest can be read.
    if (character === '"' || character === "\n") {
      this.#flush();
      this.#push("close-template", character === '"' ? 1 : 0);
      this.#modes.pop();
    } else if (character === "\\") this.#escape();
    else if (!this.#sequence()) this.#take(this.#match(PATTERNS.quoted)?.[0] ?? character ?? "");
  }

  #escape(): void {
    const unicode = this.#match(PATTERNS.unicode);
    if (unicode === null) {
      const next = this.#text[this.#at + 1] ?? "";
      // The line break after a `\` ends the string as well.
      this.#take(next === "\n" ? "" : (ESCAPES[next] ?? next), next === "\n" ? 1 : 2);
      return;
    }
    const code = Number.parseInt(unicode[1] ?? unicode[2] ?? "", 16);
    this.#take(code <= 0x10ffff ? String.fromCodePoint(code) : "", unicode[0].length);
  }

  #unquoted(mode: Extract<Mode, { kind: "heredoc" | "bare" }>): void {
    if (mode.kind === "heredoc" && mode.isLineStart && this.#endHeredoc(mode)) return;
    const before = this.#at;
    if (!this.#sequence()) {
      const text = this.#match(PATTERNS.unquoted)?.[0] ?? this.#text[this.#at] ?? "";
      this.#take(text);
    }
    if (mode.kind !== "heredoc") return;
    mode.isLineStart = this.#text[this.#at - 1] === "\n" && this.#at > before;
    if (mode.isLineStart) this.#flush();
  }

  /** The closing line has the marker and white space only; the line break after it is the statement's. */
  #endHeredoc(mode: Extract<Mode, { kind: "heredoc" }>): boolean {
    const newline = this.#text.indexOf("\n", this.#at);
    const end = newline === -1 ? this.#text.length : newline;
    const line = this.#text.slice(this.#at, end);
    if (line.trim() !== mode.marker) return false;
    this.#push("close-template", line.length);
    this.#modes.pop();
    return true;
  }

  /** `${`, `%{` and what escapes them; false if neither is here. */
  #sequence(): boolean {
    const { [this.#at]: sign, [this.#at + 1]: second, [this.#at + 2]: third } = this.#text;
    if (sign !== "$" && sign !== "%") return false;
    if (second === sign && third === "{") {
      this.#take(`${sign}{`, 3);
      return true;
    }
    if (second !== "{") return false;
    this.#flush();
    const trims = third === "~";
    this.#push(sign === "$" ? "interpolation" : "directive", trims ? 3 : 2, { trims });
    this.#modes.push({ kind: "code", braces: 0, isSequence: true });
    return true;
  }

  /** Literal text; `length` is how long it is in the file. */
  #take(text: string, length = text.length): void {
    this.#piece ??= { text: "", start: this.#at };
    this.#piece.text += text;
    this.#at += length;
  }

  #flush(): void {
    if (this.#piece === undefined) return;
    this.#tokens.push({ kind: "text", ...this.#piece, end: this.#at });
    this.#piece = undefined;
  }

  #push(kind: TokenKind, length: number, more: Partial<Token> = {}): void {
    const start = this.#at;
    this.#at += length;
    this.#tokens.push({ kind, text: this.#text.slice(start, this.#at), start, end: this.#at, ...more });
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text);
  }
}
