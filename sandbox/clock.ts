/**
 * The sandbox's time. Everything that happens later (an image becomes available, an instance warms up,
 * an instance refresh gives up after an hour) is an event on one queue ordered by (time, sequence), so that
 * fourteen days cost microseconds when stepped and are exact when run fast.
 *
 * Two ways to drive it:
 * - stepped (`speed: 0`): nothing happens until `advance` or `runUntil` is called;
 * - running (`speed: 60`): sandbox time passes 60 times as fast as real time.
 *
 * `now()` is never sent in an HTTP `Date` header: the AWS SDK takes a skewed date for a wrong clock and sends
 * every failing call three times.
 */
export interface SandboxClock {
  /** Sandbox time, milliseconds since the epoch. */
  now(): number;
  /** Sandbox time as a Date. */
  date(): Date;
  /** Runs `action` once, `delay` sandbox milliseconds from now. Returns a function that calls it off. */
  after(delay: number, action: () => void): () => void;
  /** Lets `milliseconds` of sandbox time pass, running every event on the way in order. */
  advance(milliseconds: number): void;
  /** Steps from event to event until `done` holds; throws when `limit` sandbox milliseconds pass or no event is left. */
  runUntil(done: () => boolean, limit?: number): void;
  /** Stops real timers. */
  stop(): void;
}

interface Event {
  readonly time: number;
  readonly sequence: number;
  readonly action: () => void;
}

export interface ClockOptions {
  /** Sandbox seconds per real second; 0 (the default) means that only `advance` and `runUntil` move time. */
  readonly speed?: number;
  /** Sandbox time at the start. Default: real time now. */
  readonly start?: Date;
}

/** The one implementation; see {@link SandboxClock}. */
class EventClock implements SandboxClock {
  readonly #speed: number;
  readonly #start: number;
  readonly #startedAt = performance.now();
  readonly #queue: Event[] = [];
  #current: number;
  #sequence = 0;
  /** While an event runs, it is the event's own time, however fast the clock is. */
  #running = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ClockOptions) {
    this.#speed = options.speed ?? 0;
    this.#start = (options.start ?? new Date()).getTime();
    this.#current = this.#start;
  }

  now(): number {
    if (this.#speed > 0 && !this.#running) this.#runDue(this.#start + this.#elapsed() * this.#speed);
    return this.#current;
  }

  date(): Date {
    return new Date(this.now());
  }

  after(delay: number, action: () => void): () => void {
    const event: Event = { time: this.now() + delay, sequence: this.#sequence++, action };
    const index = this.#queue.findIndex((other) => other.time > event.time);
    this.#queue.splice(index === -1 ? this.#queue.length : index, 0, event);
    this.#arm();
    return () => {
      const position = this.#queue.indexOf(event);
      if (position !== -1) this.#queue.splice(position, 1);
    };
  }

  advance(milliseconds: number): void {
    this.#runDue(this.now() + milliseconds);
  }

  runUntil(done: () => boolean, limit = 30 * 24 * 3_600_000): void {
    const end = this.now() + limit;
    while (!done()) {
      const event = this.#queue[0];
      if (event === undefined) throw new Error("runUntil: no event is left and the condition does not hold");
      if (event.time > end) throw new Error(`runUntil: the condition does not hold after ${limit} ms`);
      this.#runDue(event.time);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  #elapsed(): number {
    return performance.now() - this.#startedAt;
  }

  /** Runs all events up to `time`, each at its own time, and leaves the clock at `time`. */
  #runDue(time: number): void {
    for (let event = this.#queue[0]; event !== undefined && event.time <= time; event = this.#queue[0]) {
      this.#queue.shift();
      this.#current = Math.max(this.#current, event.time);
      const nested = this.#running;
      this.#running = true;
      try {
        event.action();
      } finally {
        this.#running = nested;
      }
    }
    this.#current = Math.max(this.#current, time);
  }

  /** Wakes up in real time for the next event, so that things happen also while nobody asks. */
  #arm(): void {
    if (this.#speed <= 0) return;
    clearTimeout(this.#timer);
    const event = this.#queue[0];
    if (event === undefined) return;
    const realDelay = (event.time - this.#start) / this.#speed - this.#elapsed();
    this.#timer = setTimeout(
      () => {
        this.now();
        this.#arm();
      },
      Math.min(Math.max(realDelay, 0), 60_000),
    );
    this.#timer.unref();
  }
}

export function createClock(options: ClockOptions = {}): SandboxClock {
  return new EventClock(options);
}
