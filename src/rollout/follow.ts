import type { InstanceRefresh } from "@aws-sdk/client-auto-scaling";
import { type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { TakenOverError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import type { AwsClients } from "../aws/clients.ts";
import { countFailedReplacements } from "./failed-replacements.ts";
import type { Pace } from "./pace.ts";
import {
  cancelRefresh,
  foreignRefresh,
  describeRefresh,
  type Polling,
  rollBackRefresh,
  watchRefresh,
  whatItBrings,
} from "./refresh.ts";
import { obstacles } from "./stall.ts";
import { type FinalVerdict, verdictOf } from "./verdict.ts";

export interface RolloutTools {
  readonly clients: AwsClients;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly polling: Polling;
  /** Milliseconds; the rollout is rolled back after it. */
  readonly timeout: number;
  /**
   * Asked before a target is changed; throws a TakenOverError if another run has taken over from this one.
   * @param state what state things are in, for that error
   */
  readonly confirmTurn: (state: string) => Promise<void>;
}

/**
 * Stops where another run is known to have taken over; goes on if that cannot be asked now, since what is to be done does not
 * wait until GitHub answers again.
 * @throws TakenOverError
 */
export async function stopIfTakenOver(
  { confirmTurn }: Pick<RolloutTools, "confirmTurn">,
  state: string,
): Promise<void> {
  await confirmTurn(state).catch((error: unknown) => {
    if (error instanceof TakenOverError) throw error;
  });
}

/** Waits until a refresh that is not ours has ended; it is never cancelled. */
export async function waitForForeign(
  tools: RolloutTools,
  target: Target,
  refresh: InstanceRefresh,
  pace: Pace,
): Promise<void> {
  const { clock, log, polling, signal } = tools;
  const deadline = clock.now().getTime() + tools.timeout;
  log.notice(
    `${targetName(target)}: waiting for another instance refresh to end: ${describeRefresh(refresh)}${await whatItBrings(tools.clients, target, refresh)}`,
  );
  await watchRefresh(tools.clients, {
    target,
    id: refresh.InstanceRefreshId ?? "",
    polling,
    pace,
    clock,
    signal,
    patience: tools.timeout,
    onLook: async (look, line) => {
      if (line !== undefined) log.info(`${targetName(target)}: ${line}`);
      if (verdictOf(look).kind !== "pending") return true;
      if (clock.now().getTime() > deadline) throw await foreignRefresh(tools.clients, target, look);
      return false;
    },
  });
}

/** What came of a test. `not-run`: the group wants no instance. A test that could not be carried out has failed. */
export type CheckResult =
  | { readonly kind: "passed" }
  | { readonly kind: "not-run" }
  | { readonly kind: "failed"; readonly why: string };

/** Tests a release at a percentage of the group. Ends early when the signal aborts. */
export type Check = (percentage: number, signal: AbortSignal) => Promise<CheckResult>;

/** What a refresh is held to while it is followed. */
export interface Following {
  readonly target: Target;
  readonly id: string;
  readonly pace: Pace;
  /** Replacements that may fail before it is rolled back; undefined: AWS alone decides, after an hour without progress. */
  readonly maxFailures?: number | undefined;
  /** Asked once at each checkpoint, and with 100 while the refresh bakes; says why it must not go on. */
  readonly check?: Check | undefined;
  /** It leads back already: nothing would be won by rolling it back, so time alone ends the wait. */
  readonly isWayBack?: boolean;
  /** Finds out what is wrong, as soon as something is: on the way back what there is to see goes. */
  readonly explain?: (since: Date | undefined) => Promise<readonly string[]>;
}

export interface Followed {
  readonly refresh: InstanceRefresh;
  readonly verdict: FinalVerdict;
  /** Why Kiln had it rolled back; undefined where it did not. */
  readonly stopped: string | undefined;
  /** What came of the check on the whole group, if it was made while the refresh baked. */
  readonly checked: Exclude<CheckResult, { kind: "failed" }> | undefined;
  /** What was found out about a failure. */
  readonly explained: readonly string[];
}

/**
 * Follows a refresh to its end, a line a change; has it rolled back where time runs out, replacements fail, or the check
 * does not pass. What AWS cannot roll back is cancelled. A way back that takes longer than the timeout is left to AWS, as
 * one that failed.
 */
export async function followRefresh(tools: RolloutTools, following: Following): Promise<Followed> {
  const { target, id, pace } = following;
  const { clock, log } = tools;
  const doubts = new Doubts(tools, following);
  const wayBack = new WayBack(tools, following);
  let stopped: string | undefined;
  let explained: Promise<readonly string[]> | undefined;
  const explain = (look: InstanceRefresh): void => {
    explained ??= following.explain?.(look.StartTime);
  };
  for (;;) {
    const refresh = await watchRefresh(tools.clients, {
      target,
      id,
      pace,
      clock,
      polling: tools.polling,
      signal: tools.signal,
      patience: tools.timeout,
      onLook: async (look, line) => {
        if (line !== undefined) log.info(`${targetName(target)}: ${line}`);
        const verdict = verdictOf(look);
        if (verdict.kind !== "pending") return true;
        if (verdict.rollingBack) explain(look);
        if (following.isWayBack === true || stopped !== undefined || verdict.rollingBack)
          return wayBack.isOverdue();
        stopped = await doubts.about(look);
        return stopped !== undefined;
      },
    });
    const seen = verdictOf(refresh);
    const verdict = seen.kind === "pending" && wayBack.isOverdue() ? await wayBack.lost() : seen;
    if (verdict.kind !== "succeeded" || stopped !== undefined) explain(refresh);
    if (verdict.kind !== "pending") {
      return { refresh, verdict, stopped, checked: doubts.checked, explained: (await explained) ?? [] };
    }
    log.warning(`${targetName(target)}: ${stopped ?? "stopped"}; rolling back`);
    if ((await rollBackRefresh(tools.clients, target, id)) === "impossible") {
      log.warning(`${targetName(target)}: AWS cannot roll this refresh back: it is cancelled`);
      await cancelRefresh(tools.clients, target, id);
    }
  }
}

/** How long the way back takes: it is not given up, but not waited for without end either. */
class WayBack {
  readonly #tools: RolloutTools;
  readonly #following: Following;
  #since: number | undefined;

  constructor(tools: RolloutTools, following: Following) {
    this.#tools = tools;
    this.#following = following;
  }

  /** Counts from when it is first asked. */
  isOverdue(): boolean {
    const now = this.#tools.clock.now().getTime();
    this.#since ??= now;
    return now - this.#since > this.#tools.timeout;
  }

  async lost(): Promise<FinalVerdict> {
    const { clients, timeout } = this.#tools;
    const found = await obstacles(clients, this.#following.target).catch(() => []);
    return {
      kind: "rollback-failed",
      why: `the way back (instance refresh ${this.#following.id}) has taken longer than ${formatDuration(timeout)}; it goes on in AWS by itself${found.length === 0 ? "" : `, held by this: ${found.join("; ")}`}`,
    };
  }
}

/** The reasons to stop a refresh that AWS itself would go on with. */
class Doubts {
  readonly #tools: RolloutTools;
  readonly #following: Following;
  readonly #deadline: number;
  #checkedAt = 0;
  #whole: Followed["checked"];
  #obstaclesTold = false;

  constructor(tools: RolloutTools, following: Following) {
    this.#tools = tools;
    this.#following = following;
    this.#deadline = tools.clock.now().getTime() + tools.timeout;
  }

  get checked(): Followed["checked"] {
    return this.#whole;
  }

  /** The reason to stop it now; undefined where it may go on. */
  async about(refresh: InstanceRefresh): Promise<string | undefined> {
    const { clock, timeout } = this.#tools;
    if (clock.now().getTime() > this.#deadline) {
      return `the timeout of ${formatDuration(timeout)} has passed`;
    }
    return (await this.#check(refresh)) ?? (await this.#failures(refresh));
  }

  async #check(refresh: InstanceRefresh): Promise<string | undefined> {
    const { check, pace } = this.#following;
    const percentage = refresh.Status === "Baking" ? 100 : pace.checkpoint;
    if (check === undefined || percentage === undefined || percentage <= this.#checkedAt) return undefined;
    this.#checkedAt = percentage;
    const result = await check(percentage, this.#tools.signal);
    if (result.kind === "failed") return result.why;
    if (percentage === 100) this.#whole = result;
    return undefined;
  }

  /** Asked only where the next change is overdue: a rollout that goes well costs one request a look. */
  async #failures(refresh: InstanceRefresh): Promise<string | undefined> {
    const { maxFailures, pace, target } = this.#following;
    const { clients, clock, log } = this.#tools;
    if (maxFailures === undefined || refresh.StartTime === undefined) return undefined;
    if (!pace.isOverdue(clock.now().getTime())) return undefined;
    try {
      const failed = await countFailedReplacements(clients, target, refresh.StartTime, maxFailures);
      const count = failed.failedLaunches + failed.replacedAgain.length;
      if (count < maxFailures) {
        if (count === 0) await this.#tellObstacles();
        return undefined;
      }
      const [reason] = failed.messages;
      return `${count} replacements failed${reason === undefined ? "" : ` (${reason})`}`;
    } catch (error) {
      // To be looked at again with the next look: the rollout does not fail because its doubts could not be checked.
      log.debug(
        `The scaling activities could not be read: ${error instanceof Error ? error.message : String(error)}`,
      );
      return undefined;
    }
  }

  /** Nothing fails, and nothing goes on: told once, since AWS itself says nothing for an hour. */
  async #tellObstacles(): Promise<void> {
    const { pace, target } = this.#following;
    const { clients, clock, log } = this.#tools;
    if (this.#obstaclesTold || !pace.isOverdue(clock.now().getTime(), PATIENCE)) return;
    this.#obstaclesTold = true;
    const found = await obstacles(clients, target);
    log.warning(
      `${targetName(target)}: no progress for a while: ${found.length === 0 ? "nothing has failed, and the group shows no reason" : found.join("; ")}`,
    );
  }
}

/** Milliseconds without the progress that was due, after which the group is looked at. */
const PATIENCE = 5 * 60_000;
