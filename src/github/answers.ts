/** An answer of GitHub's, as far as it tells whether, and when, the request may be tried again. */
export interface Answer {
  readonly headers: Readonly<Record<string, string | number | undefined>>;
  readonly data?: unknown;
}

/** An answer that says 200 and has errors in it, as GraphQL gives them, with the status that REST would have given. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";
  readonly status: number;
  readonly response: Answer;

  constructor(status: number, message: string, response: Answer) {
    super(message);
    this.status = status;
    this.response = response;
  }
}

/** GitHub's rate limit, primary or secondary, for longer than this request was willing to wait. */
export class RateLimitError extends Error {
  override readonly name = "RateLimitError";
  readonly status: number;
  /** When GitHub takes requests again. */
  readonly until: Date;

  constructor(cause: Error, until: Date) {
    super(cause.message, { cause });
    this.status = statusOf(cause) ?? 403;
    this.until = until;
  }
}

/** The HTTP status of an error of the client; 500 also where there was no answer at all. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && "status" in error && typeof error.status === "number"
    ? error.status
    : undefined;
}

export function hasStatus(error: unknown, ...statuses: readonly number[]): boolean {
  const status = statusOf(error);
  return status !== undefined && statuses.includes(status);
}

/** A header of the answer that an error was made from. */
export function headerOf(error: unknown, name: string): string | undefined {
  const response = error instanceof Error && "response" in error ? (error.response as Answer) : undefined;
  const value = response?.headers[name];
  return value === undefined ? undefined : String(value);
}

/** What a failed request deserves. */
export type Failure =
  /** GitHub has decided; asking again changes nothing. */
  | { readonly kind: "refused" }
  /** No answer, or a server's error. */
  | { readonly kind: "passing" }
  /** What was made a moment ago is not to be seen yet on every server. */
  | { readonly kind: "not-yet" }
  /** @property wait milliseconds, where GitHub says how long */
  | { readonly kind: "rate-limited"; readonly wait: number | undefined };

/** Kiln names no object that it has not just made or read. */
const NOT_YET = /^(?:Object|Tree SHA) does not exist/;

/**
 * The class of an error, by "Best practices for using the REST API" (handle rate limit errors): `retry-after` counts
 * first, then `x-ratelimit-reset` where nothing remains. Both limits answer 403 or 429.
 */
export function failureOf(error: unknown, now: Date): Failure {
  const status = statusOf(error);
  if (status === undefined) return { kind: "refused" };
  if (status >= 500) return { kind: "passing" };
  if (status === 422 && error instanceof Error && NOT_YET.test(error.message)) return { kind: "not-yet" };
  if (status !== 403 && status !== 429) return { kind: "refused" };
  const retryAfter = seconds(headerOf(error, "retry-after"));
  if (retryAfter !== undefined) return { kind: "rate-limited", wait: retryAfter * 1000 };
  const reset = seconds(headerOf(error, "x-ratelimit-reset"));
  if (headerOf(error, "x-ratelimit-remaining") === "0" && reset !== undefined)
    return { kind: "rate-limited", wait: Math.max(0, reset * 1000 - now.getTime()) };
  const limited = status === 429 || (error instanceof Error && /rate limit/i.test(error.message));
  return limited ? { kind: "rate-limited", wait: undefined } : { kind: "refused" };
}

function seconds(header: string | undefined): number | undefined {
  return header !== undefined && /^\d+$/.test(header) ? Number(header) : undefined;
}

/** By the `type` of a GraphQL error; those without an entry are the query's own. */
const GRAPHQL_STATUS: Readonly<Record<string, number>> = {
  RATE_LIMITED: 429,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
};

/**
 * The error in an answer that says 200: GraphQL answers so also where REST would refuse, and for rate limits (rate limits
 * and query limits for the GraphQL API). Undefined where there is none that has a status.
 */
export function errorInAnswer(answer: Answer): AnswerError | undefined {
  const { data } = answer;
  if (typeof data !== "object" || data === null || !("errors" in data) || !Array.isArray(data.errors))
    return undefined;
  for (const found of data.errors as readonly { readonly type?: string; readonly message?: string }[]) {
    const { type = "", message = "" } = found;
    const status = /secondary rate limit/i.test(message)
      ? 429
      : message.startsWith("Something went wrong while executing your query")
        ? 502
        : GRAPHQL_STATUS[type];
    if (status !== undefined) return new AnswerError(status, message, answer);
  }
  return undefined;
}
