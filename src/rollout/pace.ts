import type { InstanceRefresh, RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { formatDuration } from "../domain/duration.ts";

/** What is known of a refresh before it is watched. */
export interface PaceFacts {
  /** How many instances the group has. */
  readonly capacity: number;
  /** Seconds that a new instance must be in service before it counts. */
  readonly warmup: number;
  readonly preferences: Pick<
    RefreshPreferences,
    "BakeTime" | "CheckpointDelay" | "CheckpointPercentages" | "MinHealthyPercentage" | "MaxHealthyPercentage"
  >;
  /** What new instances are on, for the line that people read: `ami-…`. */
  readonly image: string;
}

/** Seconds from a launch to an instance in service, where the group's own pace is not known yet. */
const LAUNCH_SECONDS = 60;

/** Milliseconds between two looks. */
const FASTEST = 5000;
const SLOWEST = 60_000;
/** Where a change is overdue, looks become as seldom as this again: it may take AWS an hour to give up. */
const SLOWEST_OVERDUE = 20_000;

/**
 * What the looks at one refresh tell about its pace: when the next change is due, how long it will still take, and the
 * line that people read. Most of a refresh is spent in waits whose length is known (warm-up, checkpoint delay, bake
 * time): looks are seldom until such a wait is about to end, and often then.
 */
export class Pace {
  readonly #facts: PaceFacts;
  #began: number | undefined;
  /** When something last went forward: more instances finished, or more begun. */
  #changed = 0;
  /** When the number of finished instances last changed. */
  #finished: number | undefined;
  /** The last two steps' lengths: from one change of the finished instances to the next. */
  #steps: readonly number[] = [];
  #done = -1;
  #started = -1;
  #line = "";
  #bakingSince: number | undefined;
  #checkpoint: { readonly percentage: number; readonly since: number } | undefined;

  constructor(facts: PaceFacts) {
    this.#facts = facts;
  }

  /** Takes a look into account; `now` in milliseconds. Returns the line to show, or undefined where nothing changed. */
  saw(refresh: InstanceRefresh, now: number): string | undefined {
    this.#began ??= refresh.StartTime?.getTime() ?? now;
    if (this.#changed === 0) this.#changed = this.#began;
    const percentage = refresh.PercentageComplete ?? 0;
    const done = Math.round((percentage * this.#facts.capacity) / 100);
    const started = this.#facts.capacity - (refresh.InstancesToUpdate ?? this.#facts.capacity);
    if (refresh.Status === "Baking") this.#bakingSince ??= now;
    this.#seeCheckpoint(percentage, now);
    if (done !== this.#done) {
      if (this.#finished !== undefined) this.#steps = [...this.#steps.slice(-1), now - this.#finished];
      this.#finished = now;
      this.#done = done;
      this.#changed = now;
    } else if (started > this.#started) {
      // Only more than ever before: replacements that fail make the number fall and rise again.
      this.#changed = Math.max(this.#changed, now);
    }
    this.#started = Math.max(this.#started, started);
    const line = this.#describe(refresh, done, now);
    // What is left shrinks with every look; only a change of the rest is worth a line.
    const lasting = line.replace(/, about [^,]* left$/, "");
    if (lasting === this.#line) return undefined;
    this.#line = lasting;
    return line;
  }

  /** Milliseconds until the next look: when the next change can come, between 5 seconds and a minute from now. */
  nextLook(now: number): number {
    const due = this.#due(now);
    if (now >= due) return Math.min(SLOWEST_OVERDUE, Math.max(FASTEST, (now - due) / 4));
    return Math.min(SLOWEST, Math.max(FASTEST, due - now));
  }

  /**
   * Whether the next change should have come by now: something may be wrong with the new instances.
   * @param grace milliseconds after the moment when it was due
   */
  isOverdue(now: number, grace = LAUNCH_SECONDS * 1000): boolean {
    return now >= this.#due(now) + grace;
  }

  /** The checkpoint that the refresh has come to, in percent; undefined before the first. */
  get checkpoint(): number | undefined {
    return this.#checkpoint?.percentage;
  }

  #seeCheckpoint(percentage: number, now: number): void {
    const crossed = (this.#facts.preferences.CheckpointPercentages ?? []).findLast(
      (checkpoint) => checkpoint < 100 && percentage >= checkpoint,
    );
    // Percentages fall again when the group grows, and the checkpoint is come to once more (user guide: checkpoints).
    if (crossed !== undefined && crossed !== this.#checkpoint?.percentage)
      this.#checkpoint = { percentage: crossed, since: now };
  }

  /** The moment before which nothing can change. */
  #due(now: number): number {
    const { preferences, warmup } = this.#facts;
    if (this.#bakingSince !== undefined) return this.#bakingSince + (preferences.BakeTime ?? 0) * 1000;
    const delayed =
      this.#checkpoint === undefined ? 0 : this.#checkpoint.since + (preferences.CheckpointDelay ?? 0) * 1000;
    // After a checkpoint the next batch begins anew.
    if (delayed > now) return delayed;
    const from = Math.max(this.#changed, delayed);
    // All are done: the refresh itself ends next.
    if (this.#done >= this.#facts.capacity) return from;
    // Two steps of the group's own pace tell when the third is due, as exactly as the looks were.
    const step = this.#steps.length < 2 ? 0 : Math.min(...this.#steps) - FASTEST;
    return Math.max(from + warmup * 1000, (this.#finished ?? from) + step);
  }

  /** Milliseconds that it will still take, by the group's own pace; by its settings before there is one. */
  #left(done: number, now: number): number {
    const { capacity, preferences } = this.#facts;
    const elapsed = now - (this.#began ?? now);
    const waits = this.#waitsAhead(now);
    const own = done > 0 && this.#checkpoint === undefined ? (elapsed / done) * (capacity - done) : undefined;
    const byBatches =
      rolloutSeconds({ ...this.#facts, preferences: withoutWaits(preferences) }, capacity - done) * 1000;
    return (own ?? byBatches) + waits;
  }

  #waitsAhead(now: number): number {
    const { BakeTime = 0, CheckpointDelay = 0, CheckpointPercentages = [] } = this.#facts.preferences;
    const reached = this.#checkpoint?.percentage ?? 0;
    const ahead = CheckpointPercentages.filter(
      (checkpoint) => checkpoint < 100 && checkpoint > reached,
    ).length;
    const rest =
      this.#checkpoint === undefined ? 0 : Math.max(0, this.#checkpoint.since + CheckpointDelay * 1000 - now);
    const bake = BakeTime * 1000 - (this.#bakingSince === undefined ? 0 : now - this.#bakingSince);
    return rest + ahead * CheckpointDelay * 1000 + Math.max(0, bake);
  }

  #describe(refresh: InstanceRefresh, done: number, now: number): string {
    const { capacity, image } = this.#facts;
    const status = refresh.Status ?? "Pending";
    if (status === "RollbackInProgress" || status.startsWith("Rollback")) return rollbackLine(refresh);
    const percentage = refresh.PercentageComplete ?? 0;
    const warming = Math.max(0, capacity - done - (refresh.InstancesToUpdate ?? capacity));
    const parts = [`${done}/${capacity} instances on ${image}`, `${percentage} %`];
    if (status === "InProgress") {
      if (warming > 0) parts.push(`${warming} warming up`);
      if (this.#checkpoint !== undefined && this.#waitsHere(now)) {
        parts.push(`waiting at the checkpoint of ${this.#checkpoint.percentage} %`);
      }
    } else parts.push(WORDS[status] ?? status);
    for (const line of poolLine(refresh)) parts.push(line);
    if (status === "InProgress" || status === "Baking" || status === "Pending") {
      parts.push(`about ${formatDuration(Math.max(1000, this.#left(done, now)))} left`);
    }
    return parts.join(", ");
  }

  #waitsHere(now: number): boolean {
    const delay = (this.#facts.preferences.CheckpointDelay ?? 0) * 1000;
    return this.#checkpoint !== undefined && now < this.#checkpoint.since + delay;
  }
}

const WORDS: Readonly<Record<string, string>> = {
  Pending: "about to start",
  Baking: "baking: AWS watches before it calls it done",
  Successful: "done",
  Failed: "failed",
  Cancelling: "being cancelled",
  Cancelled: "cancelled",
};

/** While it rolls back the percentage falls: shown as the part of what had been replaced that is back. */
function rollbackLine(refresh: InstanceRefresh): string {
  const before = refresh.RollbackDetails?.PercentageCompleteOnRollback ?? 0;
  const now = refresh.PercentageComplete ?? 0;
  if (refresh.Status === "RollbackSuccessful") return "rolled back";
  if (refresh.Status === "RollbackFailed") return "the rollback failed";
  const back = before === 0 ? 0 : Math.round((100 * (before - now)) / before);
  return `rolling back, ${back} % of what was replaced is back`;
}

/** The warm pool is replaced after the live instances, and AWS tells the two apart only for groups that have one. */
function poolLine(refresh: InstanceRefresh): string[] {
  const pool = refresh.ProgressDetails?.WarmPoolProgress;
  return pool === undefined ? [] : [`warm pool ${pool.PercentageComplete ?? 0} %`];
}

function withoutWaits(preferences: PaceFacts["preferences"]): PaceFacts["preferences"] {
  const { MinHealthyPercentage, MaxHealthyPercentage } = preferences;
  return {
    ...(MinHealthyPercentage === undefined ? {} : { MinHealthyPercentage }),
    ...(MaxHealthyPercentage === undefined ? {} : { MaxHealthyPercentage }),
  };
}

/**
 * How long a rollout takes at least, in seconds: batches, each launched and warmed up, and the waits that were asked for
 * (⌈N / batch⌉ × (launch + warm-up) + Σ checkpoint delay + bake time).
 * @param left how many instances are still to be replaced
 */
export function rolloutSeconds(
  { capacity, warmup, preferences }: Omit<PaceFacts, "image">,
  left = capacity,
): number {
  if (capacity <= 0) return 0;
  const { MinHealthyPercentage = 90, MaxHealthyPercentage = 100 } = preferences;
  const batch = Math.max(
    1,
    Math.floor((capacity * MaxHealthyPercentage) / 100) - Math.ceil((capacity * MinHealthyPercentage) / 100),
  );
  const { BakeTime = 0, CheckpointDelay = 0, CheckpointPercentages = [] } = preferences;
  const waits = CheckpointPercentages.filter((checkpoint) => checkpoint < 100).length * CheckpointDelay;
  return Math.ceil(left / batch) * (LAUNCH_SECONDS + warmup) + waits + BakeTime;
}
