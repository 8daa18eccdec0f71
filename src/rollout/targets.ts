import { type Target, targetName } from "../domain/application.ts";
import { KilnError, RolloutError, TakenOverError } from "../domain/errors.ts";
import type { TargetEnd } from "../domain/result.ts";
import type { RolloutTools } from "./follow.ts";
import { WatchLostError } from "./refresh.ts";
import { GroupChangedError } from "./verify.ts";
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
  const taken = endings.find(isTakenOver);
  if (taken !== undefined) throw taken.error;
  const unseen = endings.find(isUnseen);
  if (unseen !== undefined && endings.every((ending) => ending.kind === "released" || isUnseen(ending))) {
    throw goesOnUntested(unseen.error, targets, endings);
  }
  const error = await allBack(tools, targets, endings, onEnd);
  tools.signal.throwIfAborted();
  throw error;
}

type Ending = RolledOut | NotReleased | { readonly kind: "error"; readonly error: unknown };

function isUnseen(ending: Ending): ending is Ending & { readonly kind: "error" } {
  return ending.kind === "error" && ending.error instanceof WatchLostError;
}

/** What this run started is the other run's business then, and is neither followed nor taken back. */
function isTakenOver(ending: Ending): ending is Ending & { readonly kind: "error" } {
  return ending.kind === "error" && ending.error instanceof TakenOverError;
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
      const outcome = await broughtBack(tools, rollout, endings[index], failedName);
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
    // Where preparation failed, as when a copy of the image fails, nothing was rolled out that could be rolled back.
    rolledBack: whole && outcomes.some(({ end }) => end === "rolled-back"),
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

/** Reverts one target from wherever its rollout stands. */
async function broughtBack(
  tools: RolloutTools,
  rollout: TargetRollout | undefined,
  ending: Ending | undefined,
  failedName: string,
): Promise<BroughtBack> {
  try {
    if (ending === undefined) return { end: "unchanged" };
    // Preparation failed; the target was never touched.
    if (rollout === undefined) return { end: "unchanged", ...whatFailed(ending) };
    if (rollout.kind === "in-service" && !rollout.mayGoBack)
      return unknownBefore(rollout, ending, failedName);
    if (ending.kind === "error") return await afterError(tools, rollout, ending.error, failedName);
    if (ending.kind === "released") {
      const touched = await takeBack(tools, rollout, `${failedName} failed, and targets go together`);
      return { end: touched ? "rolled-back" : "unchanged" };
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

/** A target that an earlier run released, and of which AWS does not tell what it ran before. */
function unknownBefore(
  { state: { target }, imageId }: TargetRollout,
  ending: Ending,
  failedName: string,
): BroughtBack {
  const why =
    ending.kind === "error"
      ? messageOf(ending.error)
      : ending.kind === "released"
        ? `${failedName} failed, and targets go together`
        : ending.why;
  const error = new RolloutError(
    `${targetName(target)} runs ${imageId}, which was not released, and could not be reverted: ${why}`,
    {
      rolledBack: false,
      state:
        "What the group ran before is not known: its launch template version was not made by Kiln, or the one before it is gone. Nothing was recorded.",
      next: "Run `command: rollback` with `to` naming the release that is to run, or deploy a release that works.",
      cause: ending.kind === "error" ? ending.error : undefined,
    },
  );
  return { end: "failed", error };
}

/**
 * Reverts a target whose rollout ended in an error: what could not be found out has not passed, and the refresh would go on
 * in AWS by itself.
 */
async function afterError(
  tools: RolloutTools,
  rollout: TargetRollout,
  error: unknown,
  failedName: string,
): Promise<BroughtBack> {
  const { target } = rollout.state;
  if (error instanceof GroupChangedError) return { end: "failed", error };
  const isSibling = error instanceof SiblingFailed;
  const why = isSibling ? `${failedName} failed, and targets go together` : messageOf(error);
  if (!isSibling && !rollout.mayGoBack) return { end: "failed", error };
  try {
    const touched = await takeBack(tools, rollout, why);
    if (isSibling) return { end: touched ? "rolled-back" : "unchanged" };
    return touched
      ? { end: "rolled-back", error: revertedAfter(error, target) }
      : { end: "unchanged", error };
  } catch (whyNot) {
    tools.signal.throwIfAborted();
    // The worst case says all that is to be said.
    if (isSibling || whyNot instanceof RolloutError || whyNot instanceof TakenOverError) throw whyNot;
    return { end: "failed", error: notReverted(error, whyNot, target) };
  }
}

function revertedAfter(error: unknown, target: Target): RolloutError {
  return new RolloutError(`${targetName(target)}: the rollout was rolled back: ${messageOf(error)}`, {
    rolledBack: true,
    state: [...stateLines(error), "The group runs what it ran before. Nothing was recorded."].join("\n"),
    next: error instanceof KilnError ? error.next : "Run the job again.",
    cause: error,
  });
}

function notReverted(error: unknown, whyNot: unknown, target: Target): RolloutError {
  return new RolloutError(`${targetName(target)}: ${messageOf(error)}`, {
    rolledBack: false,
    state: [
      ...stateLines(error),
      `The rollout could not be rolled back either: ${messageOf(whyNot)}. If its instance refresh is still running, AWS goes on with it by itself, also past a checkpoint that was not tested. Nothing was recorded.`,
    ].join("\n"),
    next: `To stop it: ${rollbackCommand(target)}. Then correct what the message names and run the job again.`,
    cause: error,
  });
}

/** The refreshes of a run that cannot look at them any more. */
function goesOnUntested(error: unknown, targets: readonly Known[], endings: readonly Ending[]): unknown {
  const untested = targets.filter(
    ({ rollout }, index) => rollout?.check !== undefined && endings[index]?.kind === "error",
  );
  if (!(error instanceof WatchLostError) || untested.length === 0) return error;
  const names = untested.map(({ target }) => targetName(target)).join(", ");
  return new WatchLostError(error.message, {
    state: `${error.state ?? ""} AWS goes on past checkpoints, and the smoke test of ${names} is not run until the job is run again.`,
    next: `${error.next ?? ""} To stop it instead: ${untested.map(({ target }) => rollbackCommand(target)).join("; ")}.`,
    cause: error,
  });
}

/** What a person can run where Kiln cannot (AWS CLI reference, rollback-instance-refresh). */
function rollbackCommand({ region, autoScalingGroup }: Target): string {
  return `\`aws autoscaling rollback-instance-refresh --region ${region} --auto-scaling-group-name '${autoScalingGroup.replaceAll("'", "'\\''")}'\``;
}

function whatFailed(ending: Ending): { readonly error?: unknown } {
  return ending.kind === "error" && !(ending.error instanceof SiblingFailed) ? { error: ending.error } : {};
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const stateLines = (error: unknown): string[] =>
  error instanceof KilnError && error.state !== undefined ? [error.state] : [];

function stateOf(error: unknown): string[] {
  if (error === undefined) return [];
  const state = error instanceof RolloutError ? error.state : undefined;
  return [`${messageOf(error)}:`, ...(state === undefined ? [] : [state])];
}
