import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { type SmokeTest, type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import { linesOf, printable } from "../domain/printable.ts";
import type { DetachedProgram } from "../domain/ports.ts";
import type { NewInstance } from "../rollout/new-instances.ts";
import type { Ports, Unfinished } from "./ports.ts";

/** What a smoke test is told about the release; it sees nothing else of Kiln. */
export interface SmokeTestSubject {
  readonly environment: string;
  readonly target: Target;
  /** The record's tag that the release will have. */
  readonly release: string;
  readonly imageId: string;
  /** Percent of the group that is new; 100 at the end. */
  readonly checkpoint: number;
  readonly instances: readonly NewInstance[];
}

/**
 * Sees before anything is touched that the test's program is there: commands that need no checkout may have none.
 * A program without a path is looked for by the system when it is run.
 * @throws KilnError where it cannot be run
 */
export async function proveSmokeTest(
  test: SmokeTest | undefined,
  { workspace }: Pick<Ports, "workspace">,
): Promise<void> {
  const program = test?.command[0];
  if (program === undefined || !program.includes("/")) return;
  try {
    await access(resolve(workspace, program), constants.X_OK);
  } catch (cause) {
    throw new KilnError(`The smoke test ${program} cannot be run: it is not there, or not executable`, {
      state: "Nothing was changed.",
      next: "Check the path in the config file (from the repository's root) and its executable bit, and that a step with actions/checkout comes before this one.",
      cause,
    });
  }
}

interface NotesPrograms {
  readonly unfinished: Pick<Unfinished, "programStarted" | "programEnded">;
}

/** Variables of the test's environment; lists are separated by spaces, all in the same order. */
function environmentOf(subject: SmokeTestSubject): Record<string, string> {
  const { instances } = subject;
  const list = (of: (instance: NewInstance) => string | undefined): string =>
    instances.map((instance) => of(instance) ?? "-").join(" ");
  return {
    KILN_ENVIRONMENT: subject.environment,
    KILN_TARGET: targetName(subject.target),
    KILN_RELEASE: subject.release,
    KILN_IMAGE_ID: subject.imageId,
    KILN_CHECKPOINT: String(subject.checkpoint),
    KILN_INSTANCE_IDS: list(({ id }) => id),
    KILN_INSTANCE_ADDRESSES: list(({ publicAddress, privateAddress }) => publicAddress ?? privateAddress),
    KILN_PRIVATE_ADDRESSES: list(({ privateAddress }) => privateAddress),
  };
}

/**
 * Runs the smoke test on the runner, its output in the log; no shell reads the command.
 * @returns why it did not pass; undefined where it did
 * @throws whatever the signal aborted with
 */
export async function runSmokeTest(
  test: SmokeTest,
  subject: SmokeTestSubject,
  ports: Pick<Ports, "subprocess" | "clock" | "log" | "signal" | "workspace" | "secrets"> & NotesPrograms,
): Promise<string | undefined> {
  const { instances, checkpoint, target } = subject;
  const name = `smoke test of ${targetName(target)} at ${checkpoint} %`;
  if (instances.length === 0) {
    ports.log.warning(`${targetName(target)}: no new instance is in service: the smoke test was not run`);
    return undefined;
  }
  ports.log.info(`Run the ${name}, on ${instances.length} instances: ${test.command.join(" ")}`);
  const [program, ...args] = test.command;
  let running: DetachedProgram;
  try {
    running = await ports.subprocess.start(program, args, {
      cwd: ports.workspace,
      // It may ask AWS, as any step of the job.
      inherits: "job",
      env: environmentOf(subject),
      // Never a line of its own: a line that begins with `::` would be a command to the runner.
      onLine: (text) => {
        for (const line of linesOf(ports.secrets.redact(text)))
          ports.log.info(`  smoke test | ${printable(line)}`);
      },
    });
    // Where this process is killed, the post step ends the test.
    ports.unfinished.programStarted(running.pid);
    return await resultOf(running, test, name, ports);
  } catch (error) {
    ports.signal.throwIfAborted();
    return `the ${name} could not be run: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function resultOf(
  running: DetachedProgram,
  test: SmokeTest,
  name: string,
  { clock, signal, log, unfinished }: Pick<Ports, "clock" | "signal" | "log"> & NotesPrograms,
): Promise<string | undefined> {
  const ended = new AbortController();
  const budget = clock
    .sleep(test.timeout * 1000, AbortSignal.any([ended.signal, signal]))
    .then(() => "timeout" as const)
    // Over before the budget was: by its end, or by a cancel, which is looked at below.
    .catch(() => "over" as const);
  try {
    const first = await Promise.race([running.exit, budget]);
    signal.throwIfAborted();
    if (first === "timeout") return `the ${name} took longer than ${formatDuration(test.timeout * 1000)}`;
    const code = first === "over" ? await running.exit : first;
    if (code !== 0) return `the ${name} failed with exit code ${code}`;
    log.info(`The ${name} passed`);
    return undefined;
  } finally {
    ended.abort();
    running.kill();
    unfinished.programEnded(running.pid);
  }
}
