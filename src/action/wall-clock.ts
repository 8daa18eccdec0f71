import { setTimeout as after } from "node:timers/promises";
import type { Clock } from "../domain/ports.ts";

/** Real time. */
export const wallClock: Clock = {
  now: () => new Date(),
  async sleep(milliseconds, signal) {
    try {
      await after(milliseconds, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // Node rejects with an AbortError of its own; who waits wants to know why.
      throw signal?.aborted === true ? signal.reason : error;
    }
  },
};
