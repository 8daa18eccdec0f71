import { getOctokit } from "@actions/github";
import { waitAfter } from "../domain/backoff.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { type Answer, errorInAnswer, failureOf, RateLimitError } from "./answers.ts";
import { fetchWithin } from "./transport.ts";

export interface GitHubOptions {
  readonly token: string;
  /** `https://api.github.com`, or a server's own. */
  readonly apiUrl: string;
  readonly userAgent: string;
  readonly clock: Clock;
  readonly log: Pick<Log, "debug" | "notice">;
  /** Ends a wait between two tries; what is asked after it aborted is tidying up, and waits all the same. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds that one try may take. */
  readonly answerWithin?: number | undefined;
  /** Milliseconds that a request is tried for at most, whatever fails; by default as long as its kind of failure deserves. */
  readonly patience?: number | undefined;
  /** From 0 to 1: what spreads the waits. */
  readonly random?: (() => number) | undefined;
}

export type Octokit = ReturnType<typeof getOctokit>;

const ANSWER_WITHIN = 30_000;

/** Server errors and lost connections: how long to wait for the next try, and when to give up. */
const PASSING = { first: 1000, longest: 20_000, giveUpAfter: 120_000 };

/** What was just made, and is not to be seen yet. */
const NOT_YET = { first: 500, longest: 5000, giveUpAfter: 20_000 };

/**
 * Rate limits. Where GitHub does not say how long: a minute, then longer (best practices for using the REST API). A
 * deploy waits for what passes in minutes, as secondary limits do; an hour's limit is for a person to decide about.
 */
const LIMITED = { first: 60_000, longest: 240_000, giveUpAfter: 300_000 };

/**
 * The official client. Each try has an end, and what failed is tried again by its class: no answer and server errors with
 * growing waits, rate limits when GitHub says, refusals never. All of Kiln's requests may be repeated
 * (docs/requests.md, "What may be repeated").
 */
export function createOctokit(options: GitHubOptions): Octokit {
  const octokit = getOctokit(options.token, {
    baseUrl: options.apiUrl,
    userAgent: options.userAgent,
    request: { fetch: fetchWithin(options.answerWithin ?? ANSWER_WITHIN) },
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  });
  octokit.hook.wrap("request", (request, parameters) =>
    persistently(async () => {
      const answer = await request(parameters);
      const error = errorInAnswer(answer as Answer);
      if (error !== undefined) throw error;
      return answer;
    }, options),
  );
  return octokit;
}

async function persistently<T>(request: () => Promise<T>, options: GitHubOptions): Promise<T> {
  const { clock } = options;
  const signal = options.signal?.aborted === true ? undefined : options.signal;
  const began = clock.now().getTime();
  for (let tries = 1; ; tries += 1) {
    try {
      return await request();
    } catch (error) {
      const wait = waitFor(error, tries, began, options);
      if (wait === undefined) throw error;
      await clock.sleep(wait, signal);
    }
  }
}

/**
 * Milliseconds until the next try; undefined: there is none.
 * @throws RateLimitError where GitHub asks for more than a deploy should wait
 */
function waitFor(error: unknown, tries: number, began: number, options: GitHubOptions): number | undefined {
  const { clock, log, random = Math.random } = options;
  const now = clock.now();
  const { patience = Number.POSITIVE_INFINITY } = options;
  const left = (limit: { readonly giveUpAfter: number }): number =>
    began + Math.min(limit.giveUpAfter, patience) - now.getTime();
  const failure = failureOf(error, now);
  if (failure.kind === "refused" || !(error instanceof Error)) return undefined;
  if (failure.kind !== "rate-limited") {
    const limit = failure.kind === "passing" ? PASSING : NOT_YET;
    const wait = waitAfter(tries, limit, random());
    if (wait > left(limit)) return undefined;
    log.debug(`GitHub: ${error.message}; asking again in ${wait} ms`);
    return wait;
  }
  // Not a moment early: what is asked before the time prolongs the limit.
  const least = failure.wait ?? waitAfter(tries, LIMITED, 1);
  if (least > left(LIMITED)) throw new RateLimitError(error, new Date(now.getTime() + least));
  const wait = Math.round(least + random() * Math.max(1000, least / 10));
  log.notice(
    `GitHub asks to wait: ${error.message}. Going on at ${new Date(now.getTime() + wait).toISOString()}`,
  );
  return wait;
}
