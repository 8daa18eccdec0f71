import * as core from "@actions/core";
import { InvalidInputError, KilnError, RolloutError } from "../domain/errors.ts";
import type { Outcome, Result } from "../domain/result.ts";

/** The one place where an error becomes what people read: the annotation, and below it state, next step and cause. */
export function reportError(error: unknown): void {
  if (error instanceof InvalidInputError) {
    for (const problem of error.problems.slice(0, -1))
      core.error(`${problem.where}: ${problem.message}`, placeOf(problem.where));
    const last = error.problems.at(-1);
    if (last !== undefined) core.error(`${last.where}: ${last.message}`, placeOf(last.where));
    core.setFailed(
      `${error.problems.length} ${error.problems.length === 1 ? "thing is" : "things are"} wrong with what the step was given. Nothing was changed.`,
    );
    return;
  }
  core.setFailed(error instanceof Error ? error.message : String(error));
  if (error instanceof KilnError) {
    if (error.state !== undefined) core.info(error.state);
    if (error.next !== undefined) core.info(`Next: ${error.next}`);
  } else if (error instanceof Error) core.info(error.stack ?? "");
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error;
    cause = cause.cause
  ) {
    core.debug(`Caused by ${cause.name}: ${cause.stack ?? cause.message}`);
  }
}

/** `file:line:column` as an annotation's place in the file. */
function placeOf(where: string): core.AnnotationProperties {
  const [, file, line, column] = /^(\S+):(\d+):(\d+)$/.exec(where) ?? [];
  return file === undefined ? {} : { file, startLine: Number(line), startColumn: Number(column) };
}

/** The error as the result states it. */
export function errorResult(error: unknown): NonNullable<Result["error"]> {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof KilnError)) return { message };
  return {
    message,
    ...(error.state === undefined ? {} : { state: error.state }),
    ...(error.next === undefined ? {} : { next: error.next }),
  };
}

export function outcomeOf(error: unknown): Outcome {
  return error instanceof RolloutError && error.rolledBack ? "rolled-back" : "failed";
}
