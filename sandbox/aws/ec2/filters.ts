import { AwsError } from "../query.ts";
import type { Query } from "../query.ts";

/** What a filter of this name looks at. */
export type Fields<T> = Readonly<Record<string, (item: T) => FieldValue>>;
type FieldValue = string | number | boolean | undefined | readonly (string | undefined)[];
type Tags = Readonly<Record<string, string>>;

/**
 * EC2 user guide, Filter resources: the values of one filter are alternatives, several filters must all hold,
 * names and values are case-sensitive, `*` stands for any text and `?` for one character, a backslash escapes them.
 */
export function filtered<T extends { readonly tags: Tags }>(
  query: Query,
  fields: Fields<T>,
  items: readonly T[],
): T[] {
  return filteredWith(query, fields, items, (item) => item.tags);
}

/** The same for things whose tags are elsewhere, or that have none. */
export function filteredWith<T>(
  query: Query,
  fields: Fields<T>,
  items: readonly T[],
  tags: (item: T) => Tags = () => ({}),
): T[] {
  const tests = query.structs("Filter").map((filter) => {
    const name = filter.required("Name");
    const patterns = filter.strings("Value").map(wildcard);
    const read = reader(fields, tags, name);
    return (item: T) => read(item).some((value) => patterns.some((pattern) => pattern.test(value)));
  });
  return items.filter((item) => tests.every((test) => test(item)));
}

function reader<T>(fields: Fields<T>, tags: (item: T) => Tags, name: string): (item: T) => string[] {
  if (name.startsWith("tag:")) return (item) => texts(tags(item)[name.slice("tag:".length)]);
  if (name === "tag-key") return (item) => Object.keys(tags(item));
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (field === undefined) throw new AwsError("InvalidParameterValue", `The filter '${name}' is invalid`);
  return (item) => texts(field(item));
}

function texts(value: FieldValue): string[] {
  const values = typeof value === "object" ? value : [value];
  return values.filter((item) => item !== undefined).map(String);
}

function wildcard(pattern: string): RegExp {
  const source = pattern.replaceAll(/\\.|[^\\]|\\$/gsu, (token) => {
    if (token === "*") return ".*";
    if (token === "?") return ".";
    const literal = token.length > 1 && token.startsWith("\\") ? token.slice(1) : token;
    return literal.replaceAll(/[.*+?^${}()|[\]\\/]/gu, "\\$&");
  });
  return new RegExp(`^${source}$`, "su");
}
