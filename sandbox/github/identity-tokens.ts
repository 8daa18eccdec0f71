/**
 * GitHub's OIDC provider, as a job with `id-token: write` finds it (GitHub documentation, OpenID Connect reference):
 * two variables, and an endpoint that answers with a JSON Web Token. Nobody has the key to verify a token with: the
 * sandbox's AWS asks this provider instead.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Answer } from "./endpoint.ts";
import { GitHubError } from "./errors.ts";

/** What the token says of the job that asks for it. */
export interface OidcJob {
  /** Default: `refs/heads/main`. */
  readonly ref?: string;
  readonly sha?: string;
  readonly runId?: number;
  readonly attempt?: number;
  /** Default: `push`. */
  readonly event?: string;
  /** The GitHub environment that the job runs in: the subject names it in place of the ref. */
  readonly environment?: string;
}

/** Real times, for what checks them has the real clock. */
export interface OidcClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly [claim: string]: string | number;
}

export interface IdentityProvider {
  /** The variables of a job, with a bearer token of its own. `url` is the server's. */
  environment(url: string, job: OidcJob): Record<string, string>;
  /** The answer to a request for a token. Throws GitHubError. */
  answer(headers: IncomingHttpHeaders, query: URLSearchParams): Answer;
  /** What a token says that this provider issued; undefined for all others. */
  claims(token: string): OidcClaims | undefined;
}

/** Where the endpoint is below the server's URL; GitHub has it on a host of its own. */
export const IDENTITY_PATH = "/idtoken";

const ISSUER = "https://token.actions.githubusercontent.com";

export function createIdentityProvider(repository: {
  readonly owner: string;
  readonly name: string;
}): IdentityProvider {
  const jobs = new Map<string, OidcJob>();
  const issued = new Map<string, OidcClaims>();
  return {
    environment(url, job) {
      const bearer = randomBytes(24).toString("base64url");
      jobs.set(bearer, job);
      return {
        ACTIONS_ID_TOKEN_REQUEST_URL: `${url}${IDENTITY_PATH}/${job.runId ?? 1}?api-version=2.0`,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer,
      };
    },
    answer(headers, query) {
      const bearer = /^bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1] ?? "";
      const job = jobs.get(bearer);
      if (job === undefined) throw new GitHubError(401, "Bad credentials");
      const claims = claimsOf(repository, job, query.get("audience"));
      const token = signed(claims);
      issued.set(token, claims);
      return { status: 200, body: { value: token } };
    },
    claims: (token) => issued.get(token),
  };
}

function claimsOf(
  { owner, name }: { readonly owner: string; readonly name: string },
  job: OidcJob,
  audience: string | null,
): OidcClaims {
  const { ref = "refs/heads/main", sha = "0".repeat(40), runId = 1, attempt = 1, event = "push" } = job;
  const repository = `${owner}/${name}`;
  const now = Math.floor(Date.now() / 1000);
  const { environment } = job;
  const context = environment === undefined ? `ref:${ref}` : `environment:${environment}`;
  return {
    jti: randomUUID(),
    iss: ISSUER,
    sub: `repo:${repository}:${event === "pull_request" && environment === undefined ? "pull_request" : context}`,
    // The default audience is the URL of the repository's owner.
    aud: audience ?? `https://github.com/${owner}`,
    ...(environment === undefined ? {} : { environment }),
    ref,
    sha,
    repository,
    repository_owner: owner,
    actor: "octocat",
    event_name: event,
    ref_type: ref.startsWith("refs/tags/") ? "tag" : "branch",
    run_id: String(runId),
    run_attempt: String(attempt),
    runner_environment: "github-hosted",
    iat: now,
    nbf: now,
    // Five minutes, as GitHub's tokens live.
    exp: now + 300,
  };
}

function signed(claims: OidcClaims): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = part({ typ: "JWT", alg: "RS256", kid: "sandbox" });
  return `${header}.${part(claims)}.${randomBytes(256).toString("base64url")}`;
}
