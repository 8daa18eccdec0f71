import type { SandboxClock } from "../../sandbox/clock.ts";

/** What sleeps by the sandbox's stepped clock, counted: time passes only when those who let it pass say so. */
export class Sleepers {
  readonly #clock: SandboxClock;
  #asleep = 0;
  #woken = 0;

  constructor(clock: SandboxClock) {
    this.#clock = clock;
  }

  get asleep(): number {
    return this.#asleep;
  }

  /** Resolves so many virtual milliseconds later, or rejects as soon as the signal aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (how: () => void): void => {
        signal?.removeEventListener("abort", abort);
        this.#asleep -= 1;
        this.#woken += 1;
        how();
      };
      const abort = (): void => {
        callOff();
        wake(() => reject(signal?.reason as Error));
      };
      this.#asleep += 1;
      const callOff = this.#clock.after(milliseconds, () => wake(resolve));
      if (signal?.aborted === true) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Lets time pass until one of them wakes. */
  wakeNext(): void {
    const before = this.#woken;
    this.#clock.runUntil(() => this.#woken !== before);
  }
}

/** Whether a file is being read, which counts as computing. */
export function readsFiles(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith("FSReq"));
}
