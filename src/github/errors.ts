import { KilnError, RemoteError } from "../domain/errors.ts";
import { headerOf, RateLimitError, statusOf } from "./answers.ts";

/** The code of a ref that git cannot create beside another one: `release/dev/000001` beside `release/dev`. */
export const NAME_CONFLICT = "name-conflict";
/** The code of a request that a ruleset refuses. */
export const RULE_VIOLATION = "rule-violation";

/**
 * An error of the client as one that the person on call can act on.
 * @param what the request in words: `create refs/tags/release/dev/000001`
 */
export function translate(error: unknown, what: string, repository: string): unknown {
  if (!(error instanceof Error) || error instanceof KilnError) return error;
  const status = statusOf(error);
  if (!isAnswered(error)) return unreachable(error, what, repository);
  const said = `GitHub answered ${status ?? "nothing"}: ${error.message}`;
  if (error instanceof RateLimitError) return rateLimited(error, what, repository, said);
  if (status === 401) {
    return new RemoteError("GitHub does not accept the token", {
      code: "401",
      cause: error,
      state: `Could not ${what} in ${repository}. ${said}`,
      next: "Check the `token` input; the default, ${{ github.token }}, is valid for as long as the job runs.",
    });
  }
  if (status === 403) {
    return new RemoteError(`The token may not ${what} in ${repository}`, {
      code: "403",
      cause: error,
      state: said,
      next: permissionToGive(error),
    });
  }
  if (status === 404) {
    return new RemoteError(`GitHub has no repository ${repository}, or the token may not see it`, {
      code: "404",
      cause: error,
      state: `Could not ${what}. ${said}`,
      next: "Check the `token` input and that the job has `permissions: contents: write`.",
    });
  }
  return refused(error, what, repository, said);
}

/** In GitHub's words: rulesets' refusals begin so; the other is reported in microsoft/vscode-remote-repositories-github#122. */
const RULE_VIOLATIONS = /^Repository rule violations found\s*/;
const UPDATE_FAILED = "Reference update failed";

/** An answer that tells what GitHub objects to in its message. */
function refused(error: Error, what: string, repository: string, said: string): RemoteError {
  const { message } = error;
  const status = statusOf(error);
  if (status === 422 && RULE_VIOLATIONS.test(message)) {
    const reasons = message
      .replace(RULE_VIOLATIONS, "")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("- https://docs.github.com/"))
      .join(" ");
    return new RemoteError(`A ruleset of ${repository} forbids to ${what}: ${reasons || message.trim()}`, {
      code: RULE_VIOLATION,
      cause: error,
      state: said,
      next: "See the active rulesets in the repository's settings, under Rules, and those of its organization. Add whoever owns the token to the ruleset's bypass list, or pass the token of a GitHub App that is on it as `token`.",
    });
  }
  if (status === 422 && message.startsWith(UPDATE_FAILED)) {
    return new RemoteError(`Could not ${what} in ${repository}: another ref is above or below that name`, {
      code: NAME_CONFLICT,
      cause: error,
      state: said,
      next: `List the refs that begin alike with \`git ls-remote origin\`, and delete or rename the one in the way.`,
    });
  }
  return new RemoteError(`Could not ${what} in ${repository}`, {
    code: String(status ?? error.name),
    cause: error,
    state: said,
    next:
      status !== undefined && status >= 500
        ? "Run the job again: it resumes where this run stopped. If it fails again, see https://www.githubstatus.com."
        : undefined,
  });
}

/** Whether GitHub answered at all: the client gives an error without an answer the status 500 as well. */
function isAnswered(error: Error): boolean {
  return statusOf(error) !== 500 || ("response" in error && error.response !== undefined);
}

function unreachable(error: Error, what: string, repository: string): RemoteError {
  return new RemoteError("GitHub could not be reached", {
    code: "unreachable",
    cause: error,
    state: `Could not ${what} in ${repository}. There was no answer: ${error.message}`,
    next: "Run the job again: it resumes where this run stopped. If it fails again, see https://www.githubstatus.com, and on a self-hosted runner its network, its proxy (`HTTPS_PROXY`) and the certificates that Node trusts (`NODE_EXTRA_CA_CERTS`).",
  });
}

function rateLimited(error: RateLimitError, what: string, repository: string, said: string): RemoteError {
  return new RemoteError("GitHub's rate limit is used up", {
    code: "rate-limit",
    cause: error,
    state: `Could not ${what} in ${repository}. ${said}`,
    next: `Run the job again after ${error.until.toISOString()}. The limit is the token's: another one, such as a GitHub App's, has its own.`,
  });
}

/**
 * Which permission is missing. The header has it as sets divided by semicolons, any of which will do: `contents=write;
 * contents=write,workflows=write` (troubleshooting the REST API, insufficient permissions).
 */
function permissionToGive(error: Error): string {
  const accepted = headerOf(error, "x-accepted-github-permissions") ?? "contents=write";
  const [first = "", ...others] = accepted.split(";").map((set) => set.trim());
  const wanted = first
    .split(",")
    .map((permission) => `\`permissions: ${permission.replace("=", ": ")}\``)
    .join(" and ");
  const workflows = others.some((set) => set.includes("workflows"))
    ? " For a commit that changes workflow files and is no branch's tip, GitHub also wants the `workflows` permission, which only a GitHub App's or a personal token can have: pass one as `token`."
    : "";
  const ruleset = first.includes("write") ? " A ruleset that restricts tags or refs does the same." : "";
  return `Give the job ${wanted} in the workflow; what is not listed there is none.${workflows}${ruleset}`;
}
