/**
 * The arithmetic of an instance refresh: how many instances may go and how many may come now. Pure functions.
 * Percentages are of the desired capacity (API reference, RefreshPreferences); the minimum rounds up (older API
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

export interface Standing {
  readonly desired: number;
  /** In service, healthy and warmed up: a warming instance does not count towards the minimum. */
  readonly ready: number;
  /** On their way, warming or unhealthy: counts towards the maximum. */
  readonly pending: number;
  readonly terminating: number;
  /** Ready instances that are to be replaced. */
  readonly victims: number;
  /** Instances to be replaced that serve nobody: taking them costs no capacity. */
  readonly idle: number;
  /** How many more may be launched before the next checkpoint. */
  readonly allowance: number;
}

export interface Step {
  readonly terminate: number;
  readonly terminateIdle: number;
  readonly launch: number;
}

const rest: Step = { terminate: 0, terminateIdle: 0, launch: 0 };

/** One step; ask again after it is taken, until nothing is left to do now. */
export function nextStep(now: Standing, limits: Bounds, countTerminating = false): Step {
  const live = now.ready + now.pending;
  const surplus = surplusVictims(now);
  if (surplus > 0) return { ...rest, terminate: surplus };

  const unneeded = Math.min(now.idle, Math.max(0, live - now.desired));
  if (unneeded > 0) return { ...rest, terminateIdle: unneeded };
  const idle = Math.min(now.idle, now.allowance);
  if (idle > 0) return { ...rest, terminateIdle: idle, launch: idle };

  const settled = now.pending === 0 && now.terminating === 0 && now.ready === now.desired;
  const fallback = settled ? limits.fallback : undefined;
  const mayGo = fallback === "terminate-first" ? 1 : Math.max(0, now.ready - limits.floor);
  const swap = live <= now.desired ? Math.min(mayGo, now.allowance, now.victims) : 0;
  if (swap > 0) return { ...rest, terminate: swap, launch: swap };

  const counted = live + (countTerminating ? now.terminating : 0);
  const mayCome = fallback === "launch-first" ? 1 : Math.max(0, limits.ceiling - counted);
  if (limits.ceiling <= now.desired && fallback !== "launch-first") return rest;
  const stillNeeded = Math.max(0, now.victims - Math.max(0, live - now.desired));
  return { ...rest, launch: Math.min(mayCome, now.allowance, stillNeeded) };
}

/** Old instances that are no longer needed because their replacements are ready. */
export function surplusVictims(now: Pick<Standing, "ready" | "desired" | "victims">): number {
  return Math.min(Math.max(now.ready - now.desired, 0), now.victims);
}

/** How many instances make `percentage` of `count`: 20 % of 4 is 1 (user guide: Checkpoints, small groups overshoot). */
export function share(percentage: number, count: number): number {
  return Math.ceil((percentage * count) / 100);
}

export function percentage(part: number, whole: number, rounding: "down" | "nearest" | "up"): number {
  if (whole <= 0) return 100;
  const round = { down: Math.floor, nearest: Math.round, up: Math.ceil }[rounding];
  return Math.min(100, Math.max(0, round((100 * part) / whole)));
}
