/**
 * The AWS JSON 1.0 protocol, as far as a service needs it that speaks the Query protocol as well (Smithy documentation,
 * AWS JSON 1.0 protocol and awsQueryCompatible trait): operations see the same decoded parameters and return the same
 * content for both.
 */
import type { AwsError } from "./query.ts";

export interface JsonTarget {
  /** `GraniteServiceVersion20100801` */
  readonly service: string;
  readonly action: string;
}

/** What the header `X-Amz-Target` names: `GraniteServiceVersion20100801.DescribeAlarms`. */
export function jsonTarget(header: string | readonly string[] | undefined): JsonTarget | undefined {
  if (typeof header !== "string") return undefined;
  const dot = header.lastIndexOf(".");
  return { service: header.slice(0, Math.max(dot, 0)), action: header.slice(dot + 1) };
}

/** The body's members under the names that the Query protocol has for them. A body that is no JSON has none. */
export function jsonFields(body: string): [name: string, value: string][] {
  try {
    return fieldsOf(JSON.parse(body), "");
  } catch {
    return [];
  }
}

function fieldsOf(value: unknown, path: string): [name: string, value: string][] {
  if (value === null || value === undefined) return [];
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => fieldsOf(item, below(`member.${index + 1}`)));
  }
  if (typeof value === "object") {
    return Object.entries(value).flatMap(([key, item]) => fieldsOf(item, below(key)));
  }
  return [[path, typeof value === "string" ? value : JSON.stringify(value)]];
}

/** Dates as seconds since the epoch, `{ member: [...] }` as a list, no undefined. */
export function jsonResult(value: unknown): unknown {
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value)) return value.map(jsonResult);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && item !== null);
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === "member") return jsonResult(only[1]);
  return Object.fromEntries(entries.map(([key, item]) => [key, jsonResult(item)] as const));
}

/** The header is what a client takes the code from where the service once spoke the Query protocol. */
export function jsonError({ code, message, status }: AwsError): {
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
} {
  return {
    body: { __type: code, message },
    headers: { "x-amzn-query-error": `${code};${status >= 500 ? "Receiver" : "Sender"}` },
  };
}
