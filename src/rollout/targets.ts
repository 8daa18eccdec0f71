import { type Target, targetName } from "../domain/application.ts";
import { RolloutError } from "../domain/errors.ts";
import type { TargetEnd } from "../domain/result.ts";
import type { RolloutTools } from "./follow.ts";
import { WatchLostError } from "./refresh.ts";
import { goBack, takeBack, worstCase } from "./go-back.ts";
import { type NotReleased, notReleased, type RolledOut, rollOut, type TargetRollout } from "./rollout.ts";

export interface TargetsOptions {
  readonly order: "parallel" | "sequential";
  /** Told where a target ended, as soon as that is a fact; and again where it went back afterwards. */
  readonly onEnd: (target: Target, end: TargetEnd, done?: RolledOut) => void;
}

/** One target, and what makes it ready: its region's image may still be on its way. */
export interface RolloutEntry {
  readonly target: Target;
  readonly prepare: () => Promise<TargetRollout>;
}

/** One that is known how to be rolled out: before that nothing was done to it. */
interface Known extends RolloutEntry {
  rollout?: TargetRollout;
}

/** Ends the other targets' rollouts once one has failed: they go back too. */
class SiblingFailed extends Error {
  override readonly name = "SiblingFailed";
}

/**
 * Rolls all targets of a release out: all or nothing. When one fails, those under way are rolled back and those that had
 * finished are refreshed back, in parallel.
 * @throws RolloutError that says where each target ended; whatever the run's signal aborted with
 */
export async function rollOutTargets(
  tools: RolloutTools,
  entries: readonly RolloutEntry[],
  { order, onEnd }: TargetsOptions,
): Promise<readonly RolledOut[]> {
  const targets: readonly Known[] = entries.map((entry) => ({ ...entry }));
  const siblings = new AbortController();
  const each = { ...tools, signal: AbortSignal.any([tools.signal, siblings.signal]) };
  const run = async (known: Known): Promise<Ending> => {
    const ending = await endingOf(async () => {
      known.rollout = await known.prepare();
      return rollOut(each, known.rollout);
    });
    if (ending.kind === "released") onEnd(known.target, "released", ending);
    // A refresh that is only not seen any more goes on by itself, and so may the others.
    else if (!isUnseen(ending)) siblings.abort(new SiblingFailed());
    return ending;
  };
  const endings = order === "parallel" ? await Promise.all(targets.map(run)) : await inTurn(targets, run);
  const released = endings.filter((ending) => ending.kind === "released");
  if (released.length === targets.length) return released;
  // A cancelled run has seconds left, and its own way of using them.
  tools.signal.throwIfAborted();
  const unseen = endings.find(isUnseen);
  if (unseen !== undefined && endings.every((ending) => ending.kind === "released" || isUnseen(ending))) {
    throw unseen.error;
  }
  const error = await allBack(tools, targets, endings, onEnd);
  tools.signal.throwIfAborted();
  throw error;
}

type Ending = RolledOut | NotReleased | { readonly kind: "error"; readonly error: unknown };

function isUnseen(ending: Ending): ending is Ending & { readonly kind: "error" } {
  return ending.kind === "error" && ending.error instanceof WatchLostError;
}

async function endingOf(work: () => Promise<RolledOut | NotReleased>): Promise<Ending> {
  try {
    return await work();
  } catch (error) {
    return { kind: "error", error };
  }
}

async function inTurn(targets: readonly Known[], run: (target: Known) => Promise<Ending>): Promise<Ending[]> {
  const endings: Ending[] = [];
  for (const target of targets) {
    const ending = await run(target);
    endings.push(ending);
    if (ending.kind !== "released") break;
  }
  return endings;
}

/** Brings every target back that can be; the error that the release ends with. */
async function allBack(
  tools: RolloutTools,
  targets: readonly Known[],
  endings: readonly Ending[],
  onEnd: TargetsOptions["onEnd"],
): Promise<unknown> {
  const isSibling = (ending: Ending): boolean =>
    ending.kind === "error" && ending.error instanceof SiblingFailed;
  const first = endings.findIndex(
    (ending) => ending.kind !== "released" && !isSibling(ending) && !isUnseen(ending),
  );
  const failed = targets[first];
  const failedName = failed === undefined ? "another target" : targetName(failed.target);
  const outcomes = await Promise.all(
    targets.map(async ({ target, rollout }, index) => {
      const outcome = await broughtBack(tools, rollout, endings[index], {
        failedName,
        isAlone: targets.length === 1,
      });
      onEnd(target, outcome.end);
      return { ...outcome, name: targetName(target) };
    }),
  );
  const cause = outcomes[first]?.error;
  if (targets.length === 1) return cause;
  const whole = outcomes.every(({ end }) => end === "rolled-back" || end === "unchanged");
  const worst = outcomes.flatMap(({ error }, index) =>
    index === first || error === undefined ? [] : [error],
  );
  return new RolloutError(messageOf(cause), {
    rolledBack: whole,
    state: [
      "Where each target ended:",
      ...outcomes.map(({ name, end }) => `- ${name}: ${IN_WORDS[end]}`),
      ...[cause, ...worst].flatMap((error) => stateOf(error)),
    ].join("\n"),
    next: whole
      ? "The environment runs what it ran before. Correct the image and push again."
      : "Bring the targets that did not go back to what the others run: `command: rollback`, or deploy a release that works.",
    cause,
  });
}

const IN_WORDS: Readonly<Record<TargetEnd, string>> = {
  released: "on the new release",
  "rolled-back": "back on what it ran before",
  unchanged: "untouched",
  failed: "NOT back: see below",
};

interface BroughtBack {
  readonly end: TargetEnd;
  readonly error?: unknown;
}

/** Brings one target back from wherever its rollout stands. */
async function broughtBack(
  tools: RolloutTools,
  rollout: TargetRollout | undefined,
  ending: Ending | undefined,
  { failedName, isAlone }: { readonly failedName: string; readonly isAlone: boolean },
): Promise<BroughtBack> {
  try {
    if (ending === undefined) return { end: "unchanged" };
    // It came not so far that anything was done to it.
    if (rollout === undefined) return { end: "unchanged", ...whatFailed(ending) };
    if (ending.kind === "error" && isAlone) return { end: "failed", error: ending.error };
    if (ending.kind === "released" || ending.kind === "error") {
      const touched = await takeBack(tools, rollout, `${failedName} failed, and targets go together`);
      return { end: touched ? "rolled-back" : "unchanged", ...whatFailed(ending) };
    }
    if (ending.kind === "stuck") {
      return { end: "failed", error: await worstCase(tools, rollout.state, ending.why, ending.why) };
    }
    if (ending.kind === "failed" && rollout.mayGoBack) await goBack(tools, rollout, ending.why);
    const isBack = ending.kind === "rolled-back" || rollout.mayGoBack;
    return {
      end: isBack ? "rolled-back" : "failed",
      error: await notReleased(tools, rollout, ending, isBack),
    };
  } catch (error) {
    return { end: "failed", error };
  }
}

function whatFailed(ending: Ending): { readonly error?: unknown } {
  return ending.kind === "error" && !(ending.error instanceof SiblingFailed) ? { error: ending.error } : {};
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stateOf(error: unknown): string[] {
  if (error === undefined) return [];
  const state = error instanceof RolloutError ? error.state : undefined;
  return [`${messageOf(error)}:`, ...(state === undefined ? [] : [state])];
}
