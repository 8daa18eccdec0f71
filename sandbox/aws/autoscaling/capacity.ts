/**
 * The arithmetic of an instance refresh: how many instances may go and how many may come now. Pure functions.
 * Percentages are of the desired capacity, in capacity units where there are weights (API reference, RefreshPreferences); the minimum rounds up (older API
 * reference: "rounded up to the nearest integer"), the rounding of the maximum is not documented.
 */
export interface HealthyRange {
  readonly min: number;
  /** Undefined: neither the request nor an instance maintenance policy gave one. */
  readonly max: number | undefined;
  readonly maintenancePolicy: boolean;
}

export interface CapacityRules {
  readonly roundMax: "down" | "up";
  readonly countTerminating: boolean;
  /** MaxSize where it caps the surge. */
  readonly cap: number | undefined;
}

export interface Bounds {
  /** No fewer ready instances than this. */
  readonly floor: number;
  /** No more instances than this, ready or on their way. */
  readonly ceiling: number;
  /**
   * What gives way when floor and ceiling leave no slot. User guide, Start an instance refresh: the legacy default
   * without a maximum is "Terminate and launch", which violates the minimum; every other method violates the maximum.
   */
  readonly fallback: "terminate-first" | "launch-first" | undefined;
}

export function bounds(desired: number, range: HealthyRange, rules: CapacityRules): Bounds {
  const floor = Math.ceil((desired * range.min) / 100);
  const maximum = (desired * (range.max ?? 100)) / 100;
  const rounded = rules.roundMax === "up" ? Math.ceil(maximum) : Math.floor(maximum);
  const ceiling = Math.min(rounded, Math.max(rules.cap ?? rounded, desired));
  if (floor !== desired || ceiling !== desired || desired === 0)
    return { floor, ceiling, fallback: undefined };
  if (range.max === undefined && !range.maintenancePolicy && range.min < 100)
    return { floor, ceiling, fallback: "terminate-first" };
  const mayGrow = rules.cap === undefined || rules.cap > desired;
  return { floor, ceiling, fallback: mayGrow ? "launch-first" : undefined };
}

/** All in capacity units, which are instances where the group has no weights. */
export interface Standing {
  readonly desired: number;
  /** In service, healthy and warmed up: a warming instance does not count towards the minimum. */
  readonly ready: number;
  /** On their way, warming or unhealthy: counts towards the maximum. */
  readonly pending: number;
  readonly terminating: number;
  /** Weights of the ready instances that are to be replaced, who goes first comes first. */
  readonly victims: readonly number[];
  /** Weights of the instances to be replaced that serve nobody: taking them costs no capacity. */
  readonly idle: readonly number[];
  /** How much more may be launched before the next checkpoint. */
  readonly allowance: number;
}

export interface Step {
  /** Instances, the first of `victims`. */
  readonly terminate: number;
  /** Instances, the first of `idle`. */
  readonly terminateIdle: number;
  /** Capacity units. */
  readonly launch: number;
}

const rest: Step = { terminate: 0, terminateIdle: 0, launch: 0 };

/** One step; ask again after it is taken, until nothing is left to do now. */
export function nextStep(now: Standing, limits: Bounds, countTerminating = false): Step {
  const live = now.ready + now.pending;
  const over = Math.max(0, live - now.desired);
  const surplus = surplusVictims(now);
  if (surplus > 0) return { ...rest, terminate: surplus };

  const unneeded = fitting(now.idle, over);
  if (unneeded > 0) return { ...rest, terminateIdle: unneeded };
  const idle = covering(now.idle, now.allowance);
  if (idle > 0) return { ...rest, terminateIdle: idle, launch: replacing(now.idle, idle, over) };

  const quiet = now.pending === 0 && now.terminating === 0;
  const fallback = quiet && now.ready >= now.desired ? limits.fallback : undefined;
  const counted = live + (countTerminating ? now.terminating : 0);
  const mayCome = fallback === "launch-first" ? 1 : Math.max(0, limits.ceiling - counted);
  const grows = limits.ceiling > now.desired || fallback === "launch-first";
  const stillNeeded = Math.max(0, sum(now.victims) - over);
  const launch = grows ? Math.min(mayCome, now.allowance, stillNeeded) : 0;

  const mayGo = fallback === "terminate-first" ? 1 : Math.max(0, now.ready - limits.floor);
  const units = Math.min(mayGo, now.allowance);
  // With weights a group may have more than it desires and yet no instance to spare.
  const swaps = fitting(now.victims, over) === 0 && units > 0;
  // An instance is replaced whole: where none fits and none can come first, one goes all the same (user guide, Instance
  // refresh overview: with weights at or above the desired capacity all instances may be replaced at once).
  const whole = quiet && launch === 0 ? Math.min(1, now.victims.length) : 0;
  const swap = swaps ? fitting(now.victims, units) || whole : 0;
  if (swap > 0) return { ...rest, terminate: swap, launch: replacing(now.victims, swap, over) };
  return { ...rest, launch };
}

/** How many old instances are no longer needed because their replacements are ready. */
export function surplusVictims(now: Pick<Standing, "ready" | "desired" | "victims">): number {
  return fitting(now.victims, now.ready - now.desired);
}

/** How many of the first weights go into so many units. */
function fitting(weights: readonly number[], units: number): number {
  let [count, taken] = [0, 0];
  for (const weight of weights) {
    taken += weight;
    if (taken > units) break;
    count += 1;
  }
  return count;
}

/** How many of the first weights it takes to make up so many units. */
function covering(weights: readonly number[], units: number): number {
  let [count, taken] = [0, 0];
  for (const weight of weights) {
    if (taken >= units) break;
    taken += weight;
    count += 1;
  }
  return count;
}

/** What must come for the first `count` weights to go, less what the group has too much already. */
function replacing(weights: readonly number[], count: number, over: number): number {
  return Math.max(0, sum(weights.slice(0, count)) - over);
}

function sum(weights: readonly number[]): number {
  return weights.reduce((total, weight) => total + weight, 0);
}

/** How many instances of these weights so many units are; what goes beyond them counts as instances of one unit. */
export function instancesFor(weights: readonly number[], units: number): number {
  return covering(weights, units) + Math.max(0, units - sum(weights));
}

/** How many units make `percentage` of `count`: 20 % of 4 is 1 (user guide: Checkpoints, small groups overshoot). */
export function share(percentage: number, count: number): number {
  return Math.ceil((percentage * count) / 100);
}

export function percentage(part: number, whole: number, rounding: "down" | "nearest" | "up"): number {
  if (whole <= 0) return 100;
  const round = { down: Math.floor, nearest: Math.round, up: Math.ceil }[rounding];
  return Math.min(100, Math.max(0, round((100 * part) / whole)));
}
