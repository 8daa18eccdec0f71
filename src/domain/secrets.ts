import { linesOf, printable } from "./printable.ts";

/** Shorter than this, white space around it aside, a value cannot be hidden: its mask would be everywhere. */
export const SHORTEST_SECRET = 3;

/** In ids, digests and names a shorter one is there by chance; in text for people it is hidden nevertheless. */
const TELLING_LENGTH = 8;

/** What stands where a secret stood, as in the runner's own log. */
const MASK = "***";

/** True where a value can be hidden. */
export function canBeHidden(value: string): boolean {
  return value.trim().length >= SHORTEST_SECRET && !/^\**$/.test(value);
}

/** The value and its lines, as far as they can be hidden: what a log that is masked line by line has to know. */
export function linesToHide(value: string): readonly string[] {
  return [...new Set([value, value.trim(), ...linesOf(value).flatMap((line) => [line, line.trim()])])].filter(
    canBeHidden,
  );
}

/** One way that a secret may be written. */
interface Form {
  readonly length: number;
  /** Where it is in a text, from a position on. */
  find(text: string, from: number): { readonly start: number; readonly end: number } | undefined;
}

/**
 * What nobody may read, and text without it. The runner masks what it prints; this is for what Kiln itself writes, in
 * files, in git and to the runner: the bytes never hold a secret in the first place.
 */
export class Secrets {
  readonly #known = new Set<string>();
  readonly #forms: Form[] = [];

  /** @param values too short ones are left out */
  add(values: Iterable<string>): void {
    for (const value of values) {
      if (this.#known.has(value)) continue;
      this.#known.add(value);
      this.#forms.push(...formsOf(value));
    }
  }

  /** Text for people, with `***` for each secret, each line of one, and each of its encoded forms. */
  redact(text: string): string {
    return hide(text, this.#forms);
  }

  /** A name or an id, which must stay what it is where three of its characters happen to be a secret's. */
  redactFact(text: string): string {
    return hide(
      text,
      this.#forms.filter(({ length }) => length >= TELLING_LENGTH),
    );
  }
}

/** Until nothing is found any more: what is left on both sides of a mask may be another secret together with it. */
function hide(text: string, forms: readonly Form[]): string {
  let result = text;
  // Ends: each turn takes at least one character that is no asterisk away.
  for (;;) {
    const covered = rangesOf(result, forms);
    if (covered.length === 0) return result;
    let position = 0;
    let next = "";
    for (const [start, end] of covered) {
      next += result.slice(position, start) + MASK;
      position = end;
    }
    result = next + result.slice(position);
  }
}

/** Where the forms are, those that overlap as one. */
function rangesOf(text: string, forms: readonly Form[]): readonly (readonly [start: number, end: number])[] {
  const found: [start: number, end: number][] = [];
  for (const form of forms) {
    for (let at = form.find(text, 0); at !== undefined; at = form.find(text, at.start + 1))
      found.push([at.start, at.end]);
  }
  const merged: [start: number, end: number][] = [];
  for (const [start, end] of found.sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** A value as it may be printed: whole and line by line, each plain, escaped and encoded. */
function formsOf(value: string): readonly Form[] {
  const plain = linesToHide(value);
  // As Kiln itself shows what others print.
  const shown = plain.flatMap((text) => [text, printable(text)]).filter(canBeHidden);
  const encoded = [...plain.flatMap(base64), ...wrappedBase64(value)].filter(canBeHidden);
  return [...[...new Set(shown)].map(escapedForm), ...[...new Set(encoded)].map(literalForm)];
}

function literalForm(form: string): Form {
  return {
    length: form.length,
    find(text, from) {
      const start = text.indexOf(form, from);
      return start === -1 ? undefined : { start, end: start + form.length };
    },
  };
}

/**
 * A text in which each character but letters and digits may be escaped, as JSON, HCL, shells, URLs, forms, XML and HTML
 * do it. They differ in which characters they escape, so that whole forms would be too many to list.
 */
function escapedForm(plain: string): Form {
  const parts = plain.match(/[\\'"$%]+|([^])\1*/gu) ?? [];
  const pattern = new RegExp(parts.map((part, index) => partPattern(part, parts[index - 1])).join(""), "g");
  return {
    length: plain.length,
    find(text, from) {
      pattern.lastIndex = from;
      const match = pattern.exec(text);
      return match === null ? undefined : { start: match.index, end: match.index + match[0].length };
    },
  };
}

/**
 * One character, or the same one several times. Several signs that quote and escape each other are only counted: which of
 * them belong to which could be tried in too many ways.
 */
function partPattern(part: string, before: string | undefined): string {
  if (/^[A-Za-z0-9]+$/.test(part)) return part;
  const [sign = ""] = part;
  const count = part.length / sign.length;
  if (sign === "\\" && count === 1) return "(?:\\\\{1,4}|%5[cC])";
  if (isQuoting(sign) && count > 1) {
    return `(?:[\\\\'"$%]|&#?\\w{1,6};|%[0-9A-Fa-f]{2}|\\\\[ux][0-9A-Fa-f]{2,4}){${count},${6 * count}}`;
  }
  const ways = [...new Set(escapesOf(sign))].sort((a, b) => b.length - a.length).map(literal);
  // Backslashes before it, for what was escaped twice; those before may be the part's before.
  const backslashes = before !== undefined && isQuoting(before[0] ?? "") ? "" : "\\\\{0,3}";
  return `(?:${backslashes}(?:${ways.join("|")}))${count > 1 ? `{${count}}` : ""}`;
}

const isQuoting = (sign: string): boolean => "\\'\"$%".includes(sign);

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

const NAMED: Readonly<Record<string, readonly string[]>> = {
  "<": ["&lt;"],
  ">": ["&gt;"],
  "&": ["&amp;"],
  '"': ["&quot;"],
  "'": ["&apos;", "'\\''", `'"'"'`, "''"],
  " ": ["+"],
  $: ["$$"],
  "%": ["%%"],
  "\n": ["\r\n", "\\n", "\\r\\n", "%0D%0A", "%0d%0a"],
};

/** How a character may be written besides as itself. */
function escapesOf(sign: string): readonly string[] {
  const code = sign.codePointAt(0) ?? 0;
  const units = sign.split("").map((unit) => unit.charCodeAt(0).toString(16).padStart(4, "0"));
  const small = units.map((unit) => `\\u${unit}`).join("");
  const percent = [...Buffer.from(sign)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
  const hexadecimal = code.toString(16);
  return [
    sign,
    sign.toWellFormed(),
    ...(NAMED[sign] ?? []),
    JSON.stringify(sign).slice(1, -1),
    small,
    small.toUpperCase().replaceAll("\\U", "\\u"),
    `\\x${hexadecimal.padStart(2, "0")}`,
    percent,
    percent.toUpperCase(),
    `&#${code};`,
    `&#x${hexadecimal};`,
    `&#x${hexadecimal.toUpperCase()};`,
  ];
}

/** Characters of Base64 that are not found by chance. */
const SHORTEST_BASE64 = 4;

/**
 * The characters of Base64 that the text alone decides, whatever is encoded before and behind it (`user:password`, a line
 * end): three forms, by how many bytes are before it.
 */
function base64(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].flatMap((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64");
    const certain = encoded.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6));
    return certain.length < SHORTEST_BASE64
      ? []
      : [certain, certain.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

/** The lines that `base64` and `openssl base64` make of it. */
function wrappedBase64(value: string): readonly string[] {
  const [encoded = ""] = base64(value);
  return [64, 76].flatMap((width) =>
    Array.from({ length: Math.ceil(encoded.length / width) }, (_, line) =>
      encoded.slice(line * width, (line + 1) * width),
    ).filter((line) => line.length >= TELLING_LENGTH),
  );
}
