import type { IncomingHttpHeaders } from "node:http";
import { forbidden, GitHubError, notFound } from "./errors.ts";
import type { GitHubRepository } from "./repository.ts";

/** A token, by the permissions that a workflow's `permissions:` block can give it. */
export interface GitHubToken {
  readonly login: string;
  readonly permissions: {
    /** What a job's token always has for its own repository, and cannot be without: it sees that there is one. */
    readonly metadata?: "read";
    readonly contents: "read" | "write" | "none";
    readonly actions: "read" | "none";
    /** Cannot be given to GITHUB_TOKEN; an App's or a person's token may have it. */
    readonly workflows?: boolean;
  };
  readonly expired?: boolean;
}

export type GitHubTokens = Readonly<Record<string, GitHubToken>>;

/** What an endpoint asks of a token. */
export type Needs = "metadata=read" | "contents=read" | "contents=write" | "actions=read";

/** The token of a request. The sandbox serves nobody without one, as every call of an action carries one. */
export function authenticate(headers: IncomingHttpHeaders, tokens: GitHubTokens): GitHubToken {
  const match = /^(?:bearer|token) +(\S+)$/i.exec(headers.authorization ?? "");
  const token = match?.[1] === undefined ? undefined : tokens[match[1]];
  if (token === undefined || token.expired === true) throw new GitHubError(401, "Bad credentials");
  return token;
}

/** Whether the token sees the repository at all. */
export function sees(token: GitHubToken, repository: GitHubRepository): boolean {
  const { contents, actions, metadata } = token.permissions;
  return !repository.private || contents !== "none" || actions !== "none" || metadata === "read";
}

/** Whether it sees what is in the repository. What is public can be read with any token. */
export function reads(token: GitHubToken, repository: GitHubRepository): boolean {
  return !repository.private || token.permissions.contents !== "none";
}

/** Throws what GitHub answers when the token may not do this. */
export function authorize(
  token: GitHubToken,
  repository: GitHubRepository,
  needs: Needs,
  accepted: string,
): void {
  if (!sees(token, repository)) throw notFound();
  const { contents, actions } = token.permissions;
  const allowed: Record<Needs, boolean> = {
    "metadata=read": true,
    "contents=read": reads(token, repository),
    "contents=write": contents === "write",
    "actions=read": !repository.private || actions === "read",
  };
  if (!allowed[needs]) throw forbidden(accepted);
}
