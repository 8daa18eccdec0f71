export interface Backoff {
  /** Milliseconds before the second try; each further wait is twice as long. */
  readonly first: number;
  /** The longest wait. */
  readonly longest: number;
}

/**
 * Milliseconds to wait after so many tries that failed. Half of it is chance, so that requests which failed together do
 * not come back together.
 * @param random from 0 to 1
 */
export function waitAfter(tries: number, { first, longest }: Backoff, random: number): number {
  const whole = Math.min(longest, first * 2 ** (tries - 1));
  return Math.round(whole / 2 + (whole / 2) * random);
}
