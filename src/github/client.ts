import { getOctokit } from "@actions/github";
import { retry } from "@octokit/plugin-retry";

export interface GitHubOptions {
  readonly token: string;
  /** `https://api.github.com`, or a server's own. */
  readonly apiUrl: string;
  readonly userAgent: string;
}

export type Octokit = ReturnType<typeof getOctokit>;

/**
 * The official client with its retry plugin: server errors and lost connections are tried again with growing waits,
 * refusals (400, 401, 403, 404, 409, 422) are not.
 */
export function createOctokit(options: GitHubOptions): Octokit {
  return getOctokit(
    options.token,
    {
      baseUrl: options.apiUrl,
      userAgent: options.userAgent,
      retry: { doNotRetry: [400, 401, 403, 404, 409, 410, 422, 451] },
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    },
    retry,
  );
}
