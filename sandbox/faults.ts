/**
 * Faults on demand. A fault is matched against each request before it is carried out; the first that matches
 * and has not been used up decides.
 */
export interface FaultMatch {
  readonly service?: string;
  /** AWS action or GitHub `METHOD /path`; a string matches exactly, a RegExp is tested. */
  readonly action?: string | RegExp;
  readonly region?: string;
  /** Only requests that come after one with this action: reads of what was just made. */
  readonly after?: string | RegExp;
  /** Tells Packer's requests from the action's. */
  readonly userAgent?: RegExp;
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
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Drop the connection before the request has any effect. */
  | { readonly kind: "drop-before" }
  /** Carry the request out, then drop the connection. */
  | { readonly kind: "drop-after" }
  /** Carry the request out, then break the answer off in its middle. */
  | { readonly kind: "cut" }
  /** Never answer, and leave the connection open; the request has no effect. */
  | { readonly kind: "silence-before" }
  /** Carry the request out, then say nothing. */
  | { readonly kind: "silence-after" }
  /** Wait this many real milliseconds, then answer as usual. */
  | { readonly kind: "delay"; readonly milliseconds: number }
  /**
   * Answer as if there were nothing yet: lists are empty, and what GitHub is asked for by name is not found (EC2 developer
   * guide, eventual consistency).
   */
  | { readonly kind: "unseen" }
  /** Carry the request out at once, and answer this many real milliseconds later. */
  | { readonly kind: "late"; readonly milliseconds: number }
  /** Carry the request out at once, and answer when the promise is resolved. */
  | { readonly kind: "held"; readonly until: Promise<unknown> };

interface Fault {
  readonly match: FaultMatch;
  readonly effect: FaultEffect;
  /** Whether a request that it comes after was seen; true where it comes after none. */
  armed: boolean;
  skip: number;
  left: number;
}

interface Request {
  readonly service: string;
  readonly action: string;
  readonly region?: string;
  readonly userAgent?: string;
}

export class Faults {
  readonly #faults: Fault[] = [];

  /** From the `skip + 1`th matching request on, `times` requests (default 1; Infinity for all) meet `effect`. */
  inject(match: FaultMatch, effect: FaultEffect, options: { skip?: number; times?: number } = {}): void {
    const { skip = 0, times: left = 1 } = options;
    this.#faults.push({ match, effect, armed: match.after === undefined, skip, left });
  }

  /** The effect for this request, if any; counts it as used. */
  take(request: Request): FaultEffect | undefined {
    const armed = this.#faults.filter((fault) => fault.armed);
    for (const fault of this.#faults) fault.armed ||= isAction(fault.match.after, request);
    for (const fault of armed) {
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

function matches(match: FaultMatch, request: Request): boolean {
  if (match.userAgent?.test(request.userAgent ?? "") === false) return false;
  if (match.service !== undefined && match.service !== request.service) return false;
  if (match.region !== undefined && match.region !== request.region) return false;
  return isAction(match.action, request);
}

function isAction(wanted: string | RegExp | undefined, { action }: Request): boolean {
  return wanted instanceof RegExp ? wanted.test(action) : wanted === undefined || wanted === action;
}
