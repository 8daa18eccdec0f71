import { vi } from "vitest";

/** Waits in real time until something holds; where it does not within so many seconds, the error says what. */
export async function until(what: string, holds: () => boolean, seconds = 170): Promise<void> {
  await vi.waitFor(
    () => {
      if (!holds()) throw new Error(`not within ${seconds} s: ${what}`);
    },
    { timeout: seconds * 1000, interval: 10 },
  );
}
