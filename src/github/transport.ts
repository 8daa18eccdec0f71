import { defaults } from "@actions/github/lib/utils";

type Fetch = (url: string, options: RequestInit) => Promise<Response>;

/** Statuses whose answers have no body, so that a Response with one cannot be made (Fetch standard, null body status). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * The client's own fetch, which goes through the runner's proxy, with an end: the whole answer within so many
 * milliseconds, or an error. The body is read here, because the client takes one that breaks off for an empty one
 * (@octokit/request, getResponseData). A signal set in a hook would not do: hooks get the first options again, whatever
 * the outer one passes on (before-after-hook).
 */
export function fetchWithin(milliseconds: number): Fetch {
  const { fetch } = defaults.request as { readonly fetch: Fetch };
  return async (url, options) => {
    const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(milliseconds) });
    const body = await answer.arrayBuffer();
    const { status, statusText } = answer;
    return new Response(WITHOUT_BODY.has(status) ? null : body, {
      status,
      statusText,
      headers: [...answer.headers],
    });
  };
}
