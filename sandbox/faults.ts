/**
 * Faults on demand. A fault is matched against each request before it is carried out; the first that matches
 * and has not been used up decides.
 */
export interface FaultMatch {
  readonly service?: string;
  /** AWS action or GitHub `METHOD /path`; a string matches exactly, a RegExp is tested. */
  readonly action?: string | RegExp;
  readonly region?: string;
}

export type FaultEffect =
  /** Answer with this error; the request has no effect. */
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly code: string;
      readonly message: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Carry the request out, then answer with this error: the answer was lost. */
  | {
      readonly kind: "reply-after-effect";
      readonly status: number;
      readonly code: string;
      readonly message: string;
    }
  /** Drop the connection before the request has any effect. */
  | { readonly kind: "drop-before" }
  /** Carry the request out, then drop the connection. */
  | { readonly kind: "drop-after" }
  /** Wait this many real milliseconds, then answer as usual. */
  | { readonly kind: "delay"; readonly milliseconds: number };

interface Fault {
  readonly match: FaultMatch;
  readonly effect: FaultEffect;
  skip: number;
  left: number;
}

export class Faults {
  readonly #faults: Fault[] = [];

  /** From the `skip + 1`th matching request on, `times` requests (default 1; Infinity for all) meet `effect`. */
  inject(match: FaultMatch, effect: FaultEffect, options: { skip?: number; times?: number } = {}): void {
    this.#faults.push({ match, effect, skip: options.skip ?? 0, left: options.times ?? 1 });
  }

  /** The effect for this request, if any; counts it as used. */
  take(request: { service: string; action: string; region?: string }): FaultEffect | undefined {
    for (const fault of this.#faults) {
      if (fault.left <= 0 || !matches(fault.match, request)) continue;
      if (fault.skip > 0) {
        fault.skip -= 1;
        continue;
      }
      fault.left -= 1;
      return fault.effect;
    }
    return undefined;
  }

  clear(): void {
    this.#faults.length = 0;
  }
}

function matches(match: FaultMatch, request: { service: string; action: string; region?: string }): boolean {
  if (match.service !== undefined && match.service !== request.service) return false;
  if (match.region !== undefined && match.region !== request.region) return false;
  if (match.action instanceof RegExp) return match.action.test(request.action);
  return match.action === undefined || match.action === request.action;
}
