import type { Span } from "./source-text.ts";

/** A JSON value with its place. */
export type JsonValue = Span &
  (
    | { readonly kind: "string"; readonly text: string }
    | { readonly kind: "number"; readonly digits: string }
    | { readonly kind: "constant"; readonly value: boolean | null }
    | { readonly kind: "list"; readonly items: readonly JsonValue[] }
    | { readonly kind: "object"; readonly members: readonly JsonMember[] }
  );

export interface JsonMember extends Span {
  readonly name: string;
  readonly value: JsonValue;
}

/** Values that are nested deeper than this make a file unreadable. */
const MAX_DEPTH = 200;

/**
 * The value of a JSON text, with places, which `JSON.parse` does not give.
 * @returns `undefined` if the text is not JSON, or nested too deeply
 */
export function readJsonText(text: string): JsonValue | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return new Reader(text).document();
}

/** The members of an object; none of anything else. */
export function membersOf(value: JsonValue | undefined): readonly JsonMember[] {
  return value?.kind === "object" ? value.members : [];
}

/** What a member of that name has; JSON readers take the last of several. */
export function memberOf(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return membersOf(value).findLast((member) => member.name === name)?.value;
}

/** The items of a list; of anything else itself. */
export function itemsOf(value: JsonValue | undefined): readonly JsonValue[] {
  if (value === undefined) return [];
  return value.kind === "list" ? value.items : [value];
}

/** The text of a string. */
export function textOf(value: JsonValue | undefined): string | undefined {
  return value?.kind === "string" ? value.text : undefined;
}

interface Open {
  readonly start: number;
  /** The members or items so far; a list's have no names. */
  readonly members: { readonly name: string; readonly start: number; readonly value: JsonValue }[];
  readonly isObject: boolean;
  /** The name that the next value belongs to. */
  name: { readonly text: string; readonly start: number } | undefined;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[a-z]+|[[\]{}]/g;

/** Reads what `JSON.parse` has accepted, so that only strings, numbers, words and brackets matter. */
class Reader {
  readonly #text: string;
  readonly #open: Open[] = [];
  #document: JsonValue | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonValue | undefined {
    for (const { 0: token, index: start } of this.#text.matchAll(TOKEN)) {
      const end = start + token.length;
      if (token === "{" || token === "[") {
        if (this.#open.length >= MAX_DEPTH) return undefined;
        this.#open.push({ start, members: [], isObject: token === "{", name: undefined });
      } else if (token === "}" || token === "]") this.#close(end);
      else if (token.startsWith('"')) this.#string(JSON.parse(token) as string, { start, end });
      else if (token in CONSTANTS)
        this.#add({ kind: "constant", value: CONSTANTS[token] ?? null, start, end });
      else this.#add({ kind: "number", digits: token, start, end });
    }
    return this.#document;
  }

  #string(text: string, span: Span): void {
    const open = this.#open.at(-1);
    if (open?.isObject === true && open.name === undefined) open.name = { text, start: span.start };
    else this.#add({ kind: "string", text, ...span });
  }

  #close(end: number): void {
    const open = this.#open.pop();
    if (open === undefined) return;
    const { start, members, isObject } = open;
    this.#add(
      isObject
        ? {
            kind: "object",
            members: members.map((member) => ({ ...member, end: member.value.end })),
            start,
            end,
          }
        : { kind: "list", items: members.map(({ value }) => value), start, end },
    );
  }

  #add(value: JsonValue): void {
    const open = this.#open.at(-1);
    if (open === undefined) this.#document = value;
    else open.members.push({ name: open.name?.text ?? "", start: open.name?.start ?? value.start, value });
    if (open !== undefined) open.name = undefined;
  }
}

const CONSTANTS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
