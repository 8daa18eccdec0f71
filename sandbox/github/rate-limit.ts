import type { IncomingMessage } from "node:http";

/** "Rate limits for the REST API": GITHUB_TOKEN has 1,000 requests an hour for a repository. */
const LIMIT = 1000;
const HOUR = 3_600_000;

interface Window {
  used: number;
  readonly reset: number;
}

/**
 * Counts requests for the `x-ratelimit-*` headers, without enforcing the limit: a rehearsal of fourteen days makes
 * more requests in a real hour than a release does, and a refusal is a fault to inject. Real time and not the
 * sandbox's, like the `Date` header: clients compare `x-ratelimit-reset` with their own clock.
 */
export class RateLimit {
  readonly #windows = new Map<string, Window>();

  headers(message: IncomingMessage): Record<string, string> {
    const key = message.headers.authorization ?? "";
    const resource = message.url?.startsWith("/graphql") === true ? "graphql" : "core";
    const known = this.#windows.get(`${resource} ${key}`);
    const now = Date.now();
    const window = known === undefined || known.reset <= now ? { used: 0, reset: now + HOUR } : known;
    this.#windows.set(`${resource} ${key}`, window);
    window.used = Math.min(window.used + 1, LIMIT);
    return {
      "x-ratelimit-limit": String(LIMIT),
      "x-ratelimit-remaining": String(LIMIT - window.used),
      "x-ratelimit-reset": String(Math.ceil(window.reset / 1000)),
      "x-ratelimit-resource": resource,
      "x-ratelimit-used": String(window.used),
    };
  }
}
