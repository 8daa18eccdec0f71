import ms, { type StringValue } from "ms";

const PATTERN = /^(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|d)$/;

/** A hundred years in milliseconds: a time that far away is still a date. */
const LONGEST = 36_525 * 24 * 60 * 60_000;

/** Milliseconds that `10s`, `60m`, `1.5h` or `30d` mean; undefined for anything else, a bare number included. */
export function parseDuration(text: string): number | undefined {
  const match = PATTERN.exec(text.trim());
  // What is longer than any number that is meant, the library does not read.
  if (match === null || text.length > 50) return undefined;
  const milliseconds = ms(`${match[1] ?? ""}${match[2] ?? ""}` as StringValue);
  return milliseconds <= LONGEST ? milliseconds : undefined;
}

/** `12 s`, `3 min 5 s`, `2 h 10 min`, `43 days`: two units at most, for people. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}
