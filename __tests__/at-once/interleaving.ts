import { setImmediate as turn } from "node:timers/promises";
import type { AssumedRole } from "../../src/aws/assumed-role.ts";
import type { AwsClients } from "../../src/aws/clients.ts";
import type { Clock } from "../../src/domain/ports.ts";
import type { SandboxClock } from "../../sandbox/clock.ts";
import { readsFiles, Sleepers } from "../rollouts/sleepers.ts";
import { randomOf } from "./seeded.ts";

/**
 * Several runs in one process, one step at a time. A step is a request that takes effect, or an answer that arrives; while
 * any run computes, nothing else happens, so that a seed alone decides the order of all steps, and the same seed always
 * gives the same story. Time passes only when nothing is on its way.
 */
export class Interleaving {
  readonly #clock: SandboxClock;
  readonly #random: () => number;
  readonly #order: Order;
  readonly #waiting: Step[] = [];
  #flying = 0;
  readonly #sleepers: Sleepers;
  #steps = 0;
  /** Told each request in the very moment before it takes effect. */
  onRequest: (strand: Strand, request: Request) => void = () => undefined;
  /** Called after each step: what must hold at any time. */
  afterStep: () => void = () => undefined;

  constructor(clock: SandboxClock, seed: number) {
    this.#clock = clock;
    this.#sleepers = new Sleepers(clock);
    this.#random = randomOf(seed);
    this.#order = orderOf(seed, this.#random);
  }

  /** Steps done. */
  get steps(): number {
    return this.#steps;
  }

  strand(name: string): Strand {
    return new Strand(name, this);
  }

  now(): Date {
    return this.#clock.date();
  }

  /** Wakes a little late, as everything does, so that what sleeps equally long does not stay in step. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return this.#sleepers.sleep(milliseconds + Math.floor(this.#random() * LATEST), signal);
  }

  /** One request of a strand: it waits for its turn, takes effect, and its answer waits for its turn. */
  async request<T>(strand: Strand, request: Request, work: () => Promise<T>): Promise<T> {
    await this.#turnOf(strand);
    this.onRequest(strand, request);
    this.#flying += 1;
    try {
      return await work();
    } finally {
      this.#flying -= 1;
      await this.#turnOf(strand);
    }
  }

  /** Lets a strand stand still: nothing of it takes effect, and no answer reaches it, for so many milliseconds. */
  hold(strand: Strand, milliseconds: number): void {
    strand.held = true;
    void this.#sleepers.sleep(milliseconds).then(() => {
      strand.held = false;
    });
  }

  #turnOf(strand: Strand): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ strand, resolve });
    });
  }

  /** Plays until the work is done. */
  async play<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const ended = work.finally(() => (state.done = true));
    ended.catch(() => undefined);
    for (let idle = 0; ; idle += 1) {
      await this.#quiet();
      this.afterStep();
      if (state.done) return ended;
      const ready = this.#waiting.filter(({ strand }) => !strand.held);
      if (ready.length > 0) this.#step(ready);
      else if (this.#sleepers.asleep > 0) this.#sleepers.wakeNext();
      else if (idle > MOST_IDLE) throw new Error("nothing is on its way, nothing sleeps, and it is not done");
      else continue;
      idle = 0;
    }
  }

  #step(ready: readonly Step[]): void {
    this.#steps += 1;
    const { next, stall } = this.#order(ready, this.#steps);
    if (stall !== undefined) {
      this.hold(next.strand, stall);
      return;
    }
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    next.resolve();
  }

  /** Resolves when no run computes any more: nothing flies, and the event loop had nothing to do for some turns. */
  async #quiet(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet = this.#flying === 0 && !readsFiles() ? quiet + 1 : 0) await turn();
  }
}

/** Milliseconds by which a sleeper is late at most. */
const LATEST = 1500;
const MOST_IDLE = 10_000;

/** A request as it is told to those who watch. */
export interface Request {
  /** `StartInstanceRefreshCommand`, or `createRef`. */
  readonly name: string;
  readonly args: readonly unknown[];
}

interface Step {
  readonly strand: Strand;
  readonly resolve: () => void;
}

/** Chooses the next step; `stall`: its run stands still for so many milliseconds instead. */
type Order = (ready: readonly Step[], steps: number) => { readonly next: Step; readonly stall?: number };

/** How a seed orders the steps: by chance alone, by chance with runs that stand still for minutes, or one run ahead of the other. */
function orderOf(seed: number, random: () => number): Order {
  if (seed % 3 === 0) return byPriority(random);
  return seed % 3 === 1 ? byChance(random) : withStalls(random);
}

function byChance(random: () => number): Order {
  return (ready) => ({ next: ready[Math.floor(random() * ready.length)] ?? oops() });
}

/** As long as a runner may be starved, or a request be repeated, between any two steps. */
const LONGEST_STALL = 10 * 60_000;

function withStalls(random: () => number): Order {
  const chance = byChance(random);
  const when = new Set(Array.from({ length: 4 }, () => Math.ceil(random() * 250)));
  return (ready, steps) => {
    const { next } = chance(ready, steps);
    return when.has(steps) ? { next, stall: Math.ceil(random() * LONGEST_STALL) } : { next };
  };
}

/**
 * One run goes ahead as far as it can, and at a few steps falls behind all others: most defects need few such changes, and
 * this finds them with a probability that can be told (Burckhardt and others, "A randomized scheduler with probabilistic
 * guarantees of finding bugs", 2010).
 */
function byPriority(random: () => number): Order {
  const priorities = new Map<Strand, number>();
  const changes = new Set(Array.from({ length: 3 }, () => Math.ceil(random() * 250)));
  let lowest = 0;
  return (ready, steps) => {
    for (const { strand } of ready) if (!priorities.has(strand)) priorities.set(strand, random());
    const of = ({ strand }: Step): number => priorities.get(strand) ?? 0;
    const top = Math.max(...ready.map(of));
    const first = ready.filter((step) => of(step) === top);
    const next = first[Math.floor(random() * first.length)] ?? oops();
    if (changes.has(steps)) {
      lowest -= 1;
      priorities.set(next.strand, lowest);
    }
    return { next };
  };
}

function oops(): never {
  throw new Error("no step is ready");
}

/** What one run does: its clock, and its way to AWS and GitHub. */
export class Strand implements Clock {
  readonly name: string;
  /** It stands still. */
  held = false;
  readonly #interleaving: Interleaving;

  constructor(name: string, interleaving: Interleaving) {
    this.name = name;
    this.#interleaving = interleaving;
  }

  now(): Date {
    return this.#interleaving.now();
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return this.#interleaving.sleep(milliseconds, signal);
  }

  /** The same clients, each of their requests a step. */
  clients(clients: AwsClients): AwsClients {
    const seen = new WeakMap<object, object>();
    const stepped = <T extends object>(client: T): T => {
      const known = seen.get(client);
      if (known !== undefined) return known as T;
      const proxy = new Proxy(client, {
        get: (target, key) => {
          const member = Reflect.get(target, key) as unknown;
          if (key !== "send") return member;
          return (command: { readonly input: unknown }) =>
            this.#interleaving.request(this, { name: command.constructor.name, args: [command.input] }, () =>
              (member as SendFunction).call(target, command),
            );
        },
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
            : async (region: string) =>
                stepped(await (Reflect.get(target, key) as (region: string) => Promise<object>)(region)),
    });
  }

  /** The same functions, each call a step. */
  functions<T extends object>(object: T): T {
    return new Proxy(object, {
      get: (target, key) => {
        const member = Reflect.get(target, key) as unknown;
        if (typeof member !== "function") return member;
        return (...args: unknown[]) =>
          this.#interleaving.request(this, { name: String(key), args }, async () =>
            (member as (...args: unknown[]) => Promise<unknown>).apply(target, args),
          );
      },
    });
  }
}

type SendFunction = (command: unknown) => Promise<unknown>;
