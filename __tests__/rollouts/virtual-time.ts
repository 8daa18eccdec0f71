import { setImmediate as turn } from "node:timers/promises";
import type { AssumedRole } from "../../src/aws/assumed-role.ts";
import type { AwsClients } from "../../src/aws/clients.ts";
import type { Clock } from "../../src/domain/ports.ts";
import type { SandboxClock } from "../../sandbox/clock.ts";
import { readsFiles, Sleepers } from "./sleepers.ts";

/** Turns of the event loop by which a request is delayed at most. */
const MOST_TURNS = 8;

/** Real milliseconds without anything to do: on a busy machine what nobody counts, as a program's end, takes its time. */
const IDLE = 10_000;

/**
 * The sandbox's stepped clock as the action's: time passes only while everything that runs is asleep, so that hours take
 * no time and every run is the same. What is on the wire counts as awake.
 */
export class VirtualTime implements Clock {
  readonly #clock: SandboxClock;
  #awake = 0;
  readonly #sleepers: Sleepers;
  /** Shuffles what runs at the same time; 0 to 1. */
  random: () => number = () => 0;

  constructor(clock: SandboxClock) {
    this.#clock = clock;
    this.#sleepers = new Sleepers(clock);
  }

  now(): Date {
    return this.#clock.date();
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return this.#sleepers.sleep(milliseconds, signal);
  }

  /** The clock of what is counted as awake: while it sleeps by this one, it is not. */
  get ofRequests(): Clock {
    return {
      now: () => this.now(),
      sleep: async (milliseconds, signal) => {
        const asleep = this.sleep(milliseconds, signal);
        this.#awake -= 1;
        try {
          await asleep;
        } finally {
          this.#awake += 1;
        }
      },
    };
  }

  /** Counts the promise as awake until it settles. */
  async awake<T>(work: () => Promise<T>): Promise<T> {
    this.#awake += 1;
    try {
      for (let turns = Math.floor(this.random() * MOST_TURNS); turns > 0; turns -= 1) await turn();
      return await work();
    } finally {
      for (let turns = Math.floor(this.random() * MOST_TURNS); turns > 0; turns -= 1) await turn();
      this.#awake -= 1;
    }
  }

  /** The same clients, their requests counted as awake. */
  clients(clients: AwsClients): AwsClients {
    const seen = new WeakMap<object, object>();
    const watched = <T extends object>(client: T): T => {
      const known = seen.get(client);
      if (known !== undefined) return known as T;
      const proxy = new Proxy(client, {
        get: (target, key) =>
          key === "send"
            ? (...args: unknown[]) =>
                this.awake(() => (Reflect.get(target, key) as SendFunction).apply(target, args))
            : (Reflect.get(target, key) as unknown),
      });
      seen.set(client, proxy);
      return proxy;
    };
    return new Proxy(clients, {
      get: (target, key) =>
        key === "as"
          ? (role: AssumedRole) => this.clients(target.as(role))
          : key === "now"
            ? () => target.now()
            : async (region: string) => {
                // The SDK may have to be loaded first: no time passes over that.
                this.#awake += 1;
                try {
                  return watched(
                    await (Reflect.get(target, key) as (region: string) => Promise<object>)(region),
                  );
                } finally {
                  this.#awake -= 1;
                }
              },
    });
  }

  /** The same functions, counted as awake while they run. */
  functions<T extends object>(object: T): T {
    return new Proxy(object, {
      get: (target, key) => {
        const member = Reflect.get(target, key) as unknown;
        if (typeof member !== "function") return member;
        return (...args: unknown[]) =>
          this.awake(async () => (member as (...args: unknown[]) => Promise<unknown>).apply(target, args));
      },
    });
  }

  /** Lets time pass until the work is done. */
  async run<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const ended = work.finally(() => (state.done = true));
    ended.catch(() => undefined);
    for (let active = performance.now(); !state.done;) {
      await this.#quiet();
      if (state.done) break;
      if (this.#sleepers.asleep > 0) {
        this.#sleepers.wakeNext();
        active = performance.now();
      } else if (performance.now() - active > IDLE)
        throw new Error("nothing is awake, nothing asleep, and the work is not done");
    }
    return ended;
  }

  /** Resolves when nothing has been on the wire for some turns of the event loop. */
  async #quiet(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet = this.#awake === 0 && !readsFiles() ? quiet + 1 : 0) await turn();
  }
}

type SendFunction = (...args: unknown[]) => Promise<unknown>;
