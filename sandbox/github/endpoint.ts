import type { SandboxClock } from "../clock.ts";
import type { GitHubToken, Needs } from "./access.ts";
import { invalid } from "./errors.ts";
import type { Actor } from "./objects.ts";
import type { GitHubRepository } from "./repository.ts";

export type Body = Readonly<Record<string, unknown>>;

/** A REST call that has been authenticated and authorized. */
export interface Call {
  readonly repository: GitHubRepository;
  readonly token: GitHubToken;
  readonly clock: SandboxClock;
  /** What the endpoint's pattern captured, decoded. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly body: Body;
  /** The `Accept` header: some endpoints have a raw form. */
  readonly accept: string;
  /** `http://127.0.0.1:1234/repos/o/r`, for the `url` fields. */
  readonly url: string;
  readonly matchingRefs: MatchingRefs;
}

/**
 * Whether `git/matching-refs` takes `per_page` and `page`. GitHub answers with everything (github/docs #3863,
 * google/go-github #1567 and #3924), while its OpenAPI description has the `Link` header in the response.
 */
export type MatchingRefs = "whole" | "paged";

export interface Answer {
  readonly status: number;
  /** Sent as JSON; a Buffer is sent as it is; absent for 204. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Endpoint {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Matched against the decoded path behind `/repos/{owner}/{repo}`. */
  readonly pattern: RegExp;
  readonly needs: Needs;
  /** The value of `x-accepted-github-permissions`, where it is more than `needs`. */
  readonly accepted?: string;
  /** Page of GitHub's REST reference that describes the endpoint, for `documentation_url`. */
  readonly documentation: string;
  readonly answer: (call: Call) => Promise<Answer>;
}

export const SHA = /^[0-9a-f]{40}$/;

export function isBody(value: unknown): value is Body {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws unless the fields of these names are there. GitHub names all that are absent in one message. */
export function supplied(body: Body, ...names: readonly string[]): void {
  const absent = names.filter((name) => body[name] === undefined || body[name] === null);
  if (absent.length === 0) return;
  const verb = absent.length === 1 ? "wasn't" : "weren't";
  throw invalid(`Invalid request.\n\n${absent.map((name) => `"${name}"`).join(", ")} ${verb} supplied.`);
}

/** A field that must be there and be a string. */
export function text(body: Body, name: string): string {
  supplied(body, name);
  const value = body[name];
  if (typeof value === "string") return value;
  throw invalid(`Invalid request.\n\nFor 'properties/${name}', ${JSON.stringify(value)} is not a string.`);
}

/** A field that must be a full sha. */
export function sha(body: Body, name: string): string {
  const value = text(body, name);
  if (SHA.test(value)) return value;
  throw invalid(`The ${name} parameter must be exactly 40 characters and contain only [0-9a-f].`);
}

/** A field that is a list of something, if it is there. */
export function list(body: Body, name: string): readonly unknown[] {
  const value = body[name] ?? [];
  if (Array.isArray(value)) return value;
  throw invalid(`Invalid request.\n\nFor 'properties/${name}', ${JSON.stringify(value)} is not an array.`);
}

/** `tagger`, `author` and `committer` of a request; the token's login now, where it says nothing. */
export function actor(body: Body, field: string, call: Call): Actor {
  const given = isBody(body[field]) ? body[field] : {};
  const date = given["date"] === undefined ? undefined : text(given, "date");
  const milliseconds = date === undefined ? call.clock.now() : Date.parse(date);
  if (Number.isNaN(milliseconds)) {
    throw invalid(`Invalid request.\n\n"${date}" is not a valid date-time.`);
  }
  const { login } = call.token;
  return {
    name: given["name"] === undefined ? login : text(given, "name"),
    email: given["email"] === undefined ? `${login}@users.noreply.github.com` : text(given, "email"),
    time: Math.floor(milliseconds / 1000),
    zone:
      /([+-]\d{2}):?(\d{2})$/
        .exec(date ?? "")
        ?.slice(1)
        .join("") ?? "+0000",
  };
}

/**
 * One page of `items` and its `Link` header ("Using pagination in the REST API"): 30 a page unless `per_page`
 * says otherwise, at most 100.
 */
export function paged<T>(
  items: readonly T[],
  call: Call,
  suffix: string,
): { items: T[]; headers: Answer["headers"] & {} } {
  const size = Math.min(Math.max(Number(call.query.get("per_page")) || 30, 1), 100);
  const last = Math.max(Math.ceil(items.length / size), 1);
  const page = Math.max(Number(call.query.get("page")) || 1, 1);
  const link = (number: number, relation: string): string => {
    const query = new URLSearchParams(call.query);
    query.set("page", String(number));
    return `<${call.url}/${suffix}?${query.toString()}>; rel="${relation}"`;
  };
  const links = [
    ...(page > 1 ? [link(page - 1, "prev")] : []),
    ...(page < last ? [link(page + 1, "next"), link(last, "last")] : []),
    ...(page > 1 ? [link(1, "first")] : []),
  ];
  return {
    items: items.slice((page - 1) * size, page * size),
    headers: links.length === 0 ? {} : { link: links.join(", ") },
  };
}

/** GitHub's `node_id`s are opaque; that they are stable is all that may be relied on. */
export function nodeId(kind: string, id: string): string {
  return `${kind}_${Buffer.from(id).toString("base64url")}`;
}
