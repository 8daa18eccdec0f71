import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import type { InstanceRefresh } from "@aws-sdk/client-auto-scaling";
import { createAwsClients } from "../aws/clients.ts";
import { targetName } from "../domain/application.ts";
import { createOctokit } from "../github/client.ts";
import type { StartedPacker } from "../image/bake.ts";
import { createRepository } from "../github/repository.ts";
import { releaseLock } from "../release/lock.ts";
import { watchRefresh } from "../rollout/refresh.ts";
import { Pace } from "../rollout/pace.ts";
import { verdictOf } from "../rollout/verdict.ts";
import { awsOptions, clientsOf } from "./aws-options.ts";
import { createLog } from "./log.ts";
import { readRunner, type Runner } from "./runner.ts";
import type { StartedRefresh, State } from "./state.ts";
import { wallClock } from "./wall-clock.ts";

/** A cancelled job's later steps have five minutes, less what the runner keeps for itself; milliseconds. */
const PATIENCE = 4 * 60_000;

const log = createLog();

/** Waits for Packer and for the rollback, as long as there is time, then lets the locks go. Each part on its own. */
export async function finish(state: State): Promise<void> {
  const runner = readRunner(process.env);
  const deadline = Date.now() + PATIENCE;
  await Promise.all([
    ...(state.packer === undefined ? [] : [finishPacker(state.packer, runner, deadline)]),
    ...state.refreshes.map((refresh) =>
      attempt("wait for the instance refresh", () => waitForRefresh(refresh, runner, deadline)),
    ),
  ]);
  await attempt("release the lock", () => releaseLocks(state, runner));
  const { folder } = state;
  if (folder !== undefined)
    await attempt("remove the step's private files", () => rm(folder, { recursive: true, force: true }));
}

function finishPacker(packer: StartedPacker, runner: Runner, deadline: number): Promise<void> {
  return attempt("sweep up behind Packer", () => finishBake(packer, runner, deadline));
}

async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warning(`Could not ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Packer cleans up after itself when it is asked to stop; it was, or is now. What it leaves nevertheless goes then. */
async function finishBake(packer: StartedPacker, runner: Runner, deadline: number): Promise<void> {
  if (isAlive(packer.pid) && !(await packerEnds(packer, deadline))) {
    log.warning(
      `Packer (process ${packer.pid}) is still cleaning up; what it leaves carries its name, "packer_…"`,
    );
    return;
  }
  // Only here: most jobs have nothing to sweep up.
  const { sweepBake, tracesOf } = await import("../image/sweep.ts");
  const { region, imageName, output } = packer;
  const traces = { region, imageName, ...(await tracesOf(linesOfFile(output))) };
  const ec2 = await createAwsClients(awsOptions(runner.run)).ec2(region);
  await sweepBake(ec2, traces, { clock: wallClock, log, deadline: new Date(deadline) });
}

/** The beginning of a line that is read; what Packer says of itself is shorter. */
const LINE_READ = 4096;

/** A file's lines, however long the file or one of them is. */
async function* linesOfFile(path: string): AsyncGenerator<string, void> {
  let line = "";
  for await (const chunk of createReadStream(path, "utf8") as AsyncIterable<string>) {
    const [first = "", ...others] = chunk.split("\n");
    line = (line + first).slice(0, LINE_READ);
    for (const other of others) {
      yield line;
      line = other.slice(0, LINE_READ);
    }
  }
  yield line;
}

async function packerEnds({ pid }: StartedPacker, deadline: number): Promise<boolean> {
  log.info("Waiting for Packer to remove its temporary resources");
  process.kill(pid, "SIGTERM");
  while (isAlive(pid)) {
    if (Date.now() > deadline) return false;
    await wallClock.sleep(500);
  }
  log.info("Packer has ended");
  return true;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function waitForRefresh(refresh: StartedRefresh, runner: Runner, deadline: number): Promise<void> {
  const own = createAwsClients(awsOptions(runner.run));
  const clients = clientsOf(own, { name: "post", roleToAssume: refresh.roleToAssume }, runner.run);
  const name = targetName(refresh);
  const pace = new Pace({ capacity: 0, warmup: 0, preferences: {}, image: "" });
  const look = await watchRefresh(clients, {
    target: refresh,
    id: refresh.id,
    polling: { interval: undefined },
    pace,
    clock: wallClock,
    signal: new AbortController().signal,
    onLook: (found, line) => {
      const verdict = verdictOf(found);
      const goesBack = refresh.isBack === true || (verdict.kind === "pending" && verdict.rollingBack);
      if (line !== undefined)
        log.info(`${name}: ${goesBack && refresh.isBack !== true ? line : words(found)}`);
      // A refresh that nobody takes back (`on-cancel: leave`, or killed before it could be asked) is not waited for.
      return verdict.kind !== "pending" || !goesBack || Date.now() > deadline;
    },
  });
  if (verdictOf(look).kind === "pending") {
    log.warning(`${name}: the instance refresh ${refresh.id} goes on in AWS: ${words(look)}`);
  }
}

function words(refresh: InstanceRefresh): string {
  return `${refresh.Status ?? "Pending"}, ${refresh.PercentageComplete ?? 0} %`;
}

async function releaseLocks({ locks }: State, runner: Runner): Promise<void> {
  if (locks.length === 0) return;
  const token = runner.inputs["token"] ?? "";
  const octokit = createOctokit({
    token,
    apiUrl: runner.apiUrl,
    userAgent: "kiln-post",
    clock: wallClock,
    log,
  });
  const repository = createRepository(octokit, runner.run.repository);
  for (const lock of locks) {
    const released = await releaseLock(repository, lock);
    if (released) log.info(`Released the lock ${lock.ref}`);
  }
}
