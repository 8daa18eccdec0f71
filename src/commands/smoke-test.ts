import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { type SmokeTest, type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import { linesOf, printable } from "../domain/printable.ts";
import type { LedgerKey } from "../domain/release-tag.ts";
import type { ImageId } from "../domain/image.ts";
import type { DetachedProgram } from "../domain/ports.ts";
import { type FailedTest, forgetFailedTest, keepFailedTest, readFailedTest } from "../release/failed-test.ts";
import type { Check, CheckResult } from "../rollout/follow.ts";
import { findNewInstances, type NewInstance } from "../rollout/new-instances.ts";
import type { PinnedVersion } from "../rollout/target-state.ts";
import type { Ports, Unfinished } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";

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

/** The failed tests of one release, kept in the repository while the release is reverted. */
export class FailedTests {
  readonly #order: Pick<ReleaseOrder, "environment" | "request" | "commit">;
  readonly #ports: Pick<Ports, "repository" | "log">;
  #kept: Promise<void> | undefined;
  #found = false;

  constructor(
    order: Pick<ReleaseOrder, "environment" | "request" | "commit">,
    ports: Pick<Ports, "repository" | "log">,
  ) {
    this.#order = order;
    this.#ports = ports;
  }

  get #where(): LedgerKey {
    const { environment, request } = this.#order;
    return { prefix: request.application.recordPrefix, environment: environment.name };
  }

  /** Keeps the first one, at the same time as the release is reverted: one is enough to revert all targets. */
  keep(failed: Omit<FailedTest, "run">): void {
    const { commit, request } = this.#order;
    this.#kept ??= keepFailedTest(
      this.#ports.repository,
      this.#where,
      { ...failed, run: request.run.url },
      commit,
    ).catch((error: unknown) => this.#debug("kept", error));
  }

  /** The test that an earlier run kept as failed. */
  async read(): Promise<FailedTest | undefined> {
    const failed = await readFailedTest(this.#ports.repository, this.#where);
    this.#found ||= failed !== undefined;
    return failed;
  }

  /** Waits until what was kept is written, and deletes it if the release was reverted. */
  async end(isReverted: boolean): Promise<void> {
    await this.#kept;
    if (!isReverted || (this.#kept === undefined && !this.#found)) return;
    await forgetFailedTest(this.#ports.repository, this.#where).catch((error: unknown) =>
      this.#debug("deleted", error),
    );
  }

  #debug(what: string, error: unknown): void {
    this.#ports.log.debug(
      `The note of the failed smoke test could not be ${what}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** What a release's smoke test is run for, on one target. */
export interface TestedTarget {
  readonly target: Target;
  readonly versions: readonly PinnedVersion[];
  readonly imageId: ImageId;
  /** The record's tag that the release will have. */
  readonly release: string;
  /** The refresh that brought the release, as soon as it is known. */
  readonly refreshId: () => string | undefined;
}

/** The smoke test of an environment as the check of a rollout; undefined if it has none. */
export function smokeTestCheck(
  { environment }: Pick<ReleaseOrder, "environment">,
  { target, versions, imageId, release, refreshId }: TestedTarget,
  failedTests: FailedTests,
  ports: Ports,
): Check | undefined {
  const { smokeTest } = environment.rollout;
  if (smokeTest === undefined) return undefined;
  const clients = ports.awsOf(environment);
  return async (checkpoint, signal) => {
    const name = targetName(target);
    const found = await findNewInstances({ ...ports, clients, signal }, target, versions, imageId).catch(
      (error: unknown) => {
        signal.throwIfAborted();
        return error instanceof Error ? error : new Error(String(error));
      },
    );
    if (found instanceof Error) {
      return failed(
        `the smoke test of ${name} at ${checkpoint} % could not be run: its instances could not be looked up: ${found.message}`,
      );
    }
    if (found.desired === 0 && found.instances.length === 0) {
      ports.log.warning(`${name}: the group's desired capacity is 0: the smoke test is not run`);
      return { kind: "not-run" };
    }
    const { instances } = found;
    const subject = { environment: environment.name, target, release, imageId, checkpoint, instances };
    const result = await runSmokeTest(smokeTest, subject, { ...ports, signal });
    const refresh = refreshId();
    if (result.kind === "failed" && refresh !== undefined) {
      const { region, autoScalingGroup: group } = target;
      failedTests.keep({ region, group, refresh, image: imageId, why: result.why });
    }
    return result;
  };
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
 * Runs the smoke test on the runner, its output in the log; no shell reads the command. A test that cannot be run has
 * failed; so has one without an instance to run it on.
 * @throws whatever the signal aborted with
 */
export async function runSmokeTest(
  test: SmokeTest,
  subject: SmokeTestSubject,
  ports: Pick<Ports, "subprocess" | "clock" | "log" | "signal" | "workspace" | "secrets"> & NotesPrograms,
): Promise<CheckResult> {
  const { instances, checkpoint, target } = subject;
  const name = `smoke test of ${targetName(target)} at ${checkpoint} %`;
  if (instances.length === 0) {
    return failed(`the ${name} could not be run: no new instance is in service`);
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
    return failed(`the ${name} could not be run: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const failed = (why: string): CheckResult => ({ kind: "failed", why });

async function resultOf(
  running: DetachedProgram,
  test: SmokeTest,
  name: string,
  { clock, signal, log, unfinished }: Pick<Ports, "clock" | "signal" | "log"> & NotesPrograms,
): Promise<CheckResult> {
  const ended = new AbortController();
  const budget = clock
    .sleep(test.timeout * 1000, AbortSignal.any([ended.signal, signal]))
    .then(() => "timeout" as const)
    // Over before the budget was: by its end, or by a cancel, which is looked at below.
    .catch(() => "over" as const);
  try {
    const first = await Promise.race([running.exit, budget]);
    signal.throwIfAborted();
    if (first === "timeout")
      return failed(`the ${name} took longer than ${formatDuration(test.timeout * 1000)}`);
    const code = first === "over" ? await running.exit : first;
    if (code !== 0) return failed(`the ${name} failed with exit code ${code}`);
    log.info(`The ${name} passed`);
    return { kind: "passed" };
  } finally {
    ended.abort();
    running.kill();
    unfinished.programEnded(running.pid);
  }
}
