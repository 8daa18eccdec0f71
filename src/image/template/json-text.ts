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

/** Reads what `JSON.parse` has accepted, so that only strings, numbers, words and brackets matter. */
class Reader {
  readonly #text: string;
  readonly #open: Open[] = [];
  #document: JsonValue | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonValue | undefined {
    // The beginning of a string, or a whole token of any other kind.
    const pattern = /"|-?\d[\d.eE+-]*|[a-z]+|[[\]{}]/g;
    for (let found = pattern.exec(this.#text); found !== null; found = pattern.exec(this.#text)) {
      const { 0: token, index: start } = found;
      if (this.#open.length >= MAX_DEPTH) return undefined;
      if (token === '"') pattern.lastIndex = this.#string(start);
      else this.#token(token, { start, end: start + token.length });
    }
    return this.#document;
  }

  #token(token: string, { start, end }: Span): void {
    if (token === "{" || token === "[") {
      this.#open.push({ start, members: [], isObject: token === "{", name: undefined });
    } else if (token === "}" || token === "]") this.#close(end);
    else if (Object.hasOwn(CONSTANTS, token)) {
      this.#add({ kind: "constant", value: CONSTANTS[token] ?? null, start, end });
    } else this.#add({ kind: "number", digits: token, start, end });
  }

  /** @returns where the string ends; no expression finds that, since a long string would take all of its stack */
  #string(start: number): number {
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    end += 1;
    const text = JSON.parse(this.#text.slice(start, end)) as string;
    const open = this.#open.at(-1);
    if (open?.isObject === true && open.name === undefined) open.name = { text, start };
    else this.#add({ kind: "string", text, start, end });
    return end;
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
