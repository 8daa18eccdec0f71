/** An answer that is not a success, in the words that GitHub uses. */
export class GitHubError extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = "GitHubError";
    this.status = status;
    this.headers = headers;
  }
}

/** Also the answer where something private must not be told from something absent. */
export function notFound(message = "Not Found"): GitHubError {
  return new GitHubError(404, message);
}

/** "Validation failed, or the endpoint has been spammed": the 422 of every endpoint of the Git database. */
export function invalid(message: string): GitHubError {
  return new GitHubError(422, message);
}

/**
 * What GITHUB_TOKEN and other installation tokens are told when a permission is missing. The header is GitHub's
 * ("Troubleshooting the REST API", "Resource not accessible"): sets of permissions divided by semicolons.
 */
export function forbidden(accepted: string): GitHubError {
  return new GitHubError(403, "Resource not accessible by integration", {
    "x-accepted-github-permissions": accepted,
  });
}
