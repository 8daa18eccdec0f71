import { type Backoff, waitAfter } from "../domain/backoff.ts";
import type { Clock } from "../domain/ports.ts";

/** What the SDK says of a failed try, and hands back for the next (@smithy/types, RetryStrategyV2). */
interface Failed {
  readonly errorType: "THROTTLING" | "TRANSIENT" | "SERVER_ERROR" | "CLIENT_ERROR";
  /** What was thrown. */
  readonly error?: unknown;
  /** `retry-after`, which EC2 and Auto Scaling do not send. */
  readonly retryAfterHint?: Date | undefined;
}

interface Token {
  readonly began: number;
  getRetryCount(): number;
  /** Milliseconds that the SDK still waits: none, the strategy has waited. */
  getRetryDelay(): number;
}

/** The part of the SDK's retry strategies that its middleware uses. */
export interface RetryStrategy {
  acquireInitialRetryToken(scope: string): Promise<Token>;
  refreshRetryTokenForRetry(token: Token, failed: Failed): Promise<Token>;
  recordSuccess(): void;
}

/**
 * By class of error. Throttling is by account and region, and passes when the others have had their turn: EC2 refills its
 * buckets each second (EC2 developer guide, request throttling). A server's error or a lost connection is over at once,
 * or takes long.
 */
const WAITS: Readonly<Partial<Record<Failed["errorType"], Backoff>>> = {
  THROTTLING: { first: 1000, longest: 20_000 },
  TRANSIENT: { first: 200, longest: 10_000 },
  SERVER_ERROR: { first: 200, longest: 10_000 },
};

/** Tries of one request, the first included. */
export const MAX_ATTEMPTS = 8;
/** Tries where the host has no address: a region that does not exist never gets one, and a resolver's trouble is short. */
const MAX_LOOKUPS = 3;
/** Milliseconds after which no further try begins; a try has its own end. */
const GIVE_UP_AFTER = 120_000;

export interface Retrying {
  readonly maxAttempts: number;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
}

/**
 * Repeats what may pass, with growing waits of which half is chance, for at most two minutes. The SDK's own strategy tries
 * a server's error again for less than a second in all (@smithy/core, StandardRetryStrategy).
 */
export function retryStrategy({ maxAttempts, clock, random }: Retrying): RetryStrategy {
  const token = (began: number, retries: number): Token => ({
    began,
    getRetryCount: () => retries,
    getRetryDelay: () => 0,
  });
  return {
    acquireInitialRetryToken: async () => token(clock.now().getTime(), 0),
    async refreshRetryTokenForRetry(last, { errorType, error }) {
      const tries = last.getRetryCount() + 1;
      if (isNameUnknown(error) && tries >= MAX_LOOKUPS) throw new Error("the host has no address");
      const backoff = WAITS[errorType];
      // The SDK then throws what the request failed with.
      if (backoff === undefined || tries >= maxAttempts) throw new Error("not to be tried again");
      const wait = waitAfter(tries, backoff, random());
      if (clock.now().getTime() + wait > last.began + GIVE_UP_AFTER) throw new Error("tried for too long");
      await clock.sleep(wait);
      return token(last.began, tries);
    },
    recordSuccess: () => undefined,
  };
}

function isNameUnknown(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOTFOUND";
}
