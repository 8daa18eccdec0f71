import { hasCode } from "../domain/errors.ts";
import type { Octokit } from "./client.ts";
import { hasStatus } from "./answers.ts";
import { translate } from "./errors.ts";

/** A client, and the repository that it asks about. */
export interface Place {
  readonly octokit: Octokit;
  readonly owner: string;
  readonly repo: string;
}

export function placeOf(octokit: Octokit, fullName: string): Place {
  const [owner = "", repo = ""] = fullName.split("/");
  return { octokit, owner, repo };
}

/**
 * A request whose errors say what it was for.
 * @param what the request in words: `create refs/tags/release/dev/000001`
 */
export async function named<T>(what: string, place: Place, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw told(error, what, place);
  }
}

/** The same; undefined where GitHub has no such thing. */
export async function unlessMissing<T>(
  what: string,
  place: Place,
  request: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await request();
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw told(error, what, place);
  }
}

/** An error as one that the person on call can act on. */
export const told = (error: unknown, what: string, { owner, repo }: Place): unknown =>
  translate(error, what, `${owner}/${repo}`);

/** Servers without GraphQL, and tokens that may not use it, are asked by REST. */
export async function withoutGraphql<T>(graphql: () => Promise<T>, rest: () => Promise<T>): Promise<T> {
  try {
    return await graphql();
  } catch (error) {
    if (!hasCode(error, "403", "404")) throw error;
    return rest();
  }
}
