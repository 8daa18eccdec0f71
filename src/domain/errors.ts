/**
 * Errors are for the person on call: what happened and to which resource, what state things are in now, and what to
 * do next. The message alone is a complete sentence; `state` and `next` are further ones.
 */
export interface ErrorDetail {
  /** What state the world is in now: what was changed, what was not. */
  readonly state?: string | undefined;
  /** What to do next. */
  readonly next?: string | undefined;
  readonly cause?: unknown;
}

export class KilnError extends Error {
  override readonly name: string = "KilnError";
  readonly state: string | undefined;
  readonly next: string | undefined;

  constructor(message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.state = detail.state;
    this.next = detail.next;
  }
}

/** One thing that is wrong with what the user wrote, and where. */
export interface Problem {
  /** `input environment`, or a file with line and column: `.github/kiln.yml:12:3`. */
  readonly where: string;
  readonly message: string;
}

/** Bad input: refused before anything is touched, with every problem at once. */
export class InvalidInputError extends KilnError {
  override readonly name = "InvalidInputError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map((problem) => `${problem.where}: ${problem.message}`).join("\n"), {
      state: "Nothing was changed.",
    });
    this.problems = problems;
  }
}

/** The run was cancelled (Ctrl-C, a cancelled workflow). */
export class CancelledError extends KilnError {
  override readonly name = "CancelledError";
}

/** Another run, or a later attempt of this one, has taken over from this run: it must not change anything any more. */
export class TakenOverError extends KilnError {
  override readonly name = "TakenOverError";
}

/** A rollout that did not end in a release; `rolledBack` tells whether the target is back on what it ran before. */
export class RolloutError extends KilnError {
  override readonly name = "RolloutError";
  readonly rolledBack: boolean;

  constructor(message: string, detail: ErrorDetail & { readonly rolledBack: boolean }) {
    super(message, detail);
    this.rolledBack = detail.rolledBack;
  }
}

/** A request that AWS or GitHub refused; `code` is theirs (`ExpiredToken`, `InvalidAMIID.NotFound`, `403`). */
export class RemoteError extends KilnError {
  override readonly name = "RemoteError";
  readonly code: string;

  constructor(message: string, detail: ErrorDetail & { readonly code: string }) {
    super(message, detail);
    this.code = detail.code;
  }
}

/** True for an error that AWS or GitHub answered with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly string[]): error is RemoteError {
  return error instanceof RemoteError && codes.includes(error.code);
}
