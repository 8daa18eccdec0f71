import { targetName } from "../domain/application.ts";
import { RolloutError } from "../domain/errors.ts";
import type { TargetEnd } from "../domain/result.ts";
import type { RolloutTools } from "./follow.ts";
import { WatchLostError } from "./refresh.ts";
import { goBack, takeBack, worstCase } from "./go-back.ts";
import { type NotReleased, notReleased, type RolledOut, rollOut, type TargetRollout } from "./rollout.ts";

export interface TargetsOptions {
  readonly order: "parallel" | "sequential";
  /** Told where a target ended, as soon as that is a fact; and again where it went back afterwards. */
  readonly onEnd: (rollout: TargetRollout, end: TargetEnd, done?: RolledOut) => void;
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
  rollouts: readonly TargetRollout[],
  { order, onEnd }: TargetsOptions,
): Promise<readonly RolledOut[]> {
  const siblings = new AbortController();
  const each = { ...tools, signal: AbortSignal.any([tools.signal, siblings.signal]) };
  const run = async (rollout: TargetRollout): Promise<Ending> => {
    const ending = await endingOf(() => rollOut(each, rollout));
    if (ending.kind === "released") onEnd(rollout, "released", ending);
    // A refresh that is only not seen any more goes on by itself, and so may the others.
    else if (!isUnseen(ending)) siblings.abort(new SiblingFailed());
    return ending;
  };
  const endings = order === "parallel" ? await Promise.all(rollouts.map(run)) : await inTurn(rollouts, run);
  const released = endings.filter((ending) => ending.kind === "released");
  if (released.length === rollouts.length) return released;
  // A cancelled run has seconds left, and its own way of using them.
  tools.signal.throwIfAborted();
  const unseen = endings.find(isUnseen);
  if (unseen !== undefined && endings.every((ending) => ending.kind === "released" || isUnseen(ending))) {
    throw unseen.error;
  }
  const error = await allBack(tools, rollouts, endings, onEnd);
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

async function inTurn(
  rollouts: readonly TargetRollout[],
  run: (rollout: TargetRollout) => Promise<Ending>,
): Promise<Ending[]> {
  const endings: Ending[] = [];
  for (const rollout of rollouts) {
    const ending = await run(rollout);
    endings.push(ending);
    if (ending.kind !== "released") break;
  }
  return endings;
}

/** Brings every target back that can be; the error that the release ends with. */
async function allBack(
  tools: RolloutTools,
  rollouts: readonly TargetRollout[],
  endings: readonly Ending[],
  onEnd: TargetsOptions["onEnd"],
): Promise<unknown> {
  const isSibling = (ending: Ending): boolean =>
    ending.kind === "error" && ending.error instanceof SiblingFailed;
  const first = endings.findIndex(
    (ending) => ending.kind !== "released" && !isSibling(ending) && !isUnseen(ending),
  );
  const failed = rollouts[first];
  const failedName = failed === undefined ? "another target" : targetName(failed.state.target);
  const outcomes = await Promise.all(
    rollouts.map(async (rollout, index) => {
      const outcome = await broughtBack(tools, rollout, endings[index], {
        failedName,
        isAlone: rollouts.length === 1,
      });
      onEnd(rollout, outcome.end);
      return { ...outcome, name: targetName(rollout.state.target) };
    }),
  );
  const cause = outcomes[first]?.error;
  if (rollouts.length === 1) return cause;
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
  rollout: TargetRollout,
  ending: Ending | undefined,
  { failedName, isAlone }: { readonly failedName: string; readonly isAlone: boolean },
): Promise<BroughtBack> {
  try {
    if (ending === undefined) return { end: "unchanged" };
    if (ending.kind === "error" && isAlone) return { end: "failed", error: ending.error };
    if (ending.kind === "released" || ending.kind === "error") {
      const touched = await takeBack(tools, rollout, `${failedName} failed, and targets go together`);
      const error =
        ending.kind === "error" && !(ending.error instanceof SiblingFailed) ? ending.error : undefined;
      return { end: touched ? "rolled-back" : "unchanged", ...(error === undefined ? {} : { error }) };
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stateOf(error: unknown): string[] {
  if (error === undefined) return [];
  const state = error instanceof RolloutError ? error.state : undefined;
  return [`${messageOf(error)}:`, ...(state === undefined ? [] : [state])];
}
