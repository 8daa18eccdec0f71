/**
 * The sandbox's time. Everything that happens later (an image becomes available, an instance warms up,
 * an instance refresh gives up after an hour) is an event on one queue ordered by (time, sequence), so that
 * fourteen days cost microseconds when stepped and are exact when run fast.
 *
 * Two ways to drive it:
 * - stepped (`speed: 0`): nothing happens until `advance` or `runUntil` is called;
 * - running (`speed: 60`): sandbox time passes 60 times as fast as real time.
 *
 * `now()` is sent in the HTTP `Date` header of AWS's successful answers only: the AWS SDK takes a skewed date for a
 * wrong clock, and would send every failing call three times.
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
  /**
   * Runs what happens next without waiting for it, but skips at most `limit` sandbox milliseconds. Returns false where
   * nothing is to happen, or time stands still.
   */
  skip(limit: number): boolean;
  /**
   * Stops time as soon as `condition` holds, however slow the machine is. It is checked after every event, and whenever
   * the time is asked for. While time stands still, only `advance` and `runUntil` move it.
   */
  holdWhen(condition: () => boolean): Hold;
  /** Stops real timers. */
  stop(): void;
}

/** Time that is to stand still; see {@link SandboxClock.holdWhen}. */
export interface Hold {
  /** Whether time stands still. Asking for it checks the condition, too: what no event brings (a line of a log) holds time. */
  isReached(): boolean;
  /** Lets time go on, from where it stands. */
  release(): void;
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
  /** Sandbox time and real time from which a running clock is counted. */
  #start: number;
  #startedAt = performance.now();
  readonly #queue: Event[] = [];
  #current: number;
  #sequence = 0;
  /** While an event runs or a condition is checked, time stands still, however fast the clock is. */
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  /** What time is to stand still at. */
  #condition: (() => boolean) | undefined;
  #held = false;

  constructor(options: ClockOptions) {
    this.#speed = options.speed ?? 0;
    this.#start = (options.start ?? new Date()).getTime();
    this.#current = this.#start;
  }

  now(): number {
    if (this.#running) return this.#current;
    this.#checkHold();
    if (this.#speed > 0 && !this.#held) this.#runDue(this.#start + this.#elapsed() * this.#speed);
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
    this.#restart();
  }

  runUntil(done: () => boolean, limit = 30 * 24 * 3_600_000): void {
    const end = this.now() + limit;
    while (!done()) {
      const event = this.#queue[0];
      if (event === undefined) throw new Error("runUntil: no event is left and the condition does not hold");
      if (event.time > end) throw new Error(`runUntil: the condition does not hold after ${limit} ms`);
      this.#runDue(event.time);
    }
    this.#restart();
  }

  skip(limit: number): boolean {
    const now = this.now();
    const event = this.#queue[0];
    if (this.#held || event === undefined) return false;
    this.#runDue(Math.min(event.time, now + limit));
    this.#restart();
    return true;
  }

  holdWhen(condition: () => boolean): Hold {
    if (this.#condition !== undefined || this.#held) throw new Error("holdWhen: another hold is set");
    this.#condition = condition;
    let isReleased = false;
    return {
      isReached: () => {
        this.now();
        return this.#held && !isReleased;
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#condition = undefined;
        this.#held = false;
        this.#restart();
      },
    };
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  /** Counts a running clock from the time that it shows. */
  #restart(): void {
    this.#start = this.#current;
    this.#startedAt = performance.now();
    this.#arm();
  }

  #checkHold(): void {
    if (this.#condition === undefined) return;
    // What the condition looks at may ask for the time.
    this.#running = true;
    try {
      if (!this.#condition()) return;
    } finally {
      this.#running = false;
    }
    this.#condition = undefined;
    this.#held = true;
  }

  #elapsed(): number {
    return performance.now() - this.#startedAt;
  }

  /** Runs all events up to `time`, each at its own time, and leaves the clock at `time`, or where it is to stand still. */
  #runDue(time: number): void {
    const wasHeld = this.#held;
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
      if (nested) continue;
      this.#checkHold();
      if (this.#held && !wasHeld) return;
    }
    this.#current = Math.max(this.#current, time);
  }

  /** Wakes up in real time for the next event, so that things happen also while nobody asks. */
  #arm(): void {
    if (this.#speed <= 0) return;
    clearTimeout(this.#timer);
    if (this.#held) return;
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
