import { InvalidInputError, KilnError, type Problem, RolloutError } from "../domain/errors.ts";
import { shortened } from "../domain/printable.ts";
import type { Outcome, Result } from "../domain/result.ts";
import { type AnnotationPlace, workflow } from "./workflow.ts";

/** Problems that are shown one by one; the first ones of a file that is wrong throughout tell enough. */
const MAX_PROBLEMS = 50;

/** The one place where an error becomes what people read: the annotation, and below it state, next step and cause. */
export function reportError(error: unknown): void {
  if (error instanceof InvalidInputError) {
    const { problems } = error;
    for (const problem of problems.slice(0, MAX_PROBLEMS)) reportProblem(problem);
    if (problems.length > MAX_PROBLEMS) workflow.info(`… and ${problems.length - MAX_PROBLEMS} more`);
    workflow.setFailed(
      `${problems.length} ${problems.length === 1 ? "thing is" : "things are"} wrong with what the step was given. Nothing was changed.`,
    );
    return;
  }
  workflow.setFailed(error instanceof Error ? error.message : String(error));
  if (error instanceof KilnError) {
    if (error.state !== undefined) workflow.info(error.state);
    if (error.next !== undefined) workflow.info(`Next: ${error.next}`);
  } else if (error instanceof Error) workflow.info(error.stack ?? "");
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error;
    cause = cause.cause
  ) {
    workflow.debug(`Caused by ${cause.name}: ${cause.stack ?? cause.message}`);
  }
}

function reportProblem({ where, message }: Problem): void {
  workflow.error(`${where}: ${message}`, placeOf(where));
}

/** `file:line:column` as an annotation's place in the file. */
function placeOf(where: string): AnnotationPlace {
  const [, file, line, column] = /^(\S+):(\d+):(\d+)$/.exec(where) ?? [];
  return file === undefined ? {} : { file, startLine: Number(line), startColumn: Number(column) };
}

/** Characters of each part of an error that the result and the summary have; the log has them whole. */
const MAX_TEXT = 32_000;

/** The error as the result states it. */
export function errorResult(error: unknown): NonNullable<Result["error"]> {
  const message = shortened(messageOf(error), MAX_TEXT);
  if (!(error instanceof KilnError)) return { message };
  return {
    message,
    ...(error.state === undefined ? {} : { state: shortened(error.state, MAX_TEXT) }),
    ...(error.next === undefined ? {} : { next: shortened(error.next, MAX_TEXT) }),
  };
}

function messageOf(error: unknown): string {
  if (error instanceof InvalidInputError) {
    const more = error.problems.length - MAX_PROBLEMS;
    const shown = error.problems.slice(0, MAX_PROBLEMS).map(({ where, message }) => `${where}: ${message}`);
    return [...shown, ...(more > 0 ? [`… and ${more} more`] : [])].join("\n");
  }
  return error instanceof Error ? error.message : String(error);
}

export function outcomeOf(error: unknown): Outcome {
  return error instanceof RolloutError && error.rolledBack ? "rolled-back" : "failed";
}
