import type { Clock } from "../domain/ports.ts";

/** The time by AWS's own clock, which its answers tell in their `Date` header. */
export class AwsTime {
  readonly #clock: Pick<Clock, "now">;
  /** Milliseconds that AWS is ahead of this machine. */
  #ahead: number | undefined;

  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /** Takes the time from an answer; one without a date changes nothing. */
  note(response: unknown): void {
    const date = Date.parse(dateOf(response) ?? "");
    if (!Number.isNaN(date)) this.#ahead = date - this.#clock.now().getTime();
  }

  /** Undefined as long as no answer had a date. */
  now(): Date | undefined {
    return this.#ahead === undefined ? undefined : new Date(this.#clock.now().getTime() + this.#ahead);
  }
}

/** The header of the SDK's HTTP response, whose names are in lower case. */
function dateOf(response: unknown): string | undefined {
  if (typeof response !== "object" || response === null || !("headers" in response)) return undefined;
  const { headers } = response;
  if (typeof headers !== "object" || headers === null || !("date" in headers)) return undefined;
  return typeof headers.date === "string" ? headers.date : undefined;
}
