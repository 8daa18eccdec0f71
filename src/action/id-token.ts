import { waitAfter } from "../domain/backoff.ts";
import type { Clock } from "../domain/ports.ts";
import { fetchWithin } from "../github/transport.ts";

/** Milliseconds that one try may take. */
const ANSWER_WITHIN = 15_000;
const MAX_TRIES = 5;
const PAUSE = { first: 500, longest: 8000 };

/** Where a job asks for its token, and with what (GitHub documentation, OpenID Connect reference). */
export interface IdTokenRequest {
  readonly url: string;
  readonly token: string;
}

/** Undefined where the job may not ask: it has no `permissions: id-token: write`. */
export function idTokenRequest(env: NodeJS.ProcessEnv): IdTokenRequest | undefined {
  const [url, token] = [env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]];
  return url === undefined || token === undefined ? undefined : { url, token };
}

/**
 * The job's OIDC token for an audience. The toolkit's own function would do the same, but lies in the module that every
 * command begins with, and brings an HTTP client that takes longer to load than all else until the first error.
 * @throws Error where GitHub does not give one; a server's error and silence are tried again
 */
export async function requestIdToken(
  { url, token }: IdTokenRequest,
  audience: string,
  clock: Clock,
): Promise<string> {
  const fetch = fetchWithin(ANSWER_WITHIN);
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await fetch(`${url}&audience=${encodeURIComponent(audience)}`, {
        headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      });
      if (answer.ok) return tokenIn(await answer.json());
      if (answer.status < 500) throw new RefusedError(`GitHub answered ${answer.status}`);
      throw new Error(`GitHub answered ${answer.status}`);
    } catch (error) {
      if (error instanceof RefusedError || tries >= MAX_TRIES) throw error;
      await clock.sleep(waitAfter(tries, PAUSE, Math.random()));
    }
  }
}

class RefusedError extends Error {}

function tokenIn(answer: unknown): string {
  if (typeof answer === "object" && answer !== null && "value" in answer && typeof answer.value === "string")
    return answer.value;
  throw new RefusedError("GitHub's answer has no token in it");
}
