import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import type { InstanceRefresh } from "@aws-sdk/client-auto-scaling";
import { type AwsClients, createAwsClients } from "../aws/clients.ts";
import type { NotedRefresh } from "../commands/ports.ts";
import { type Target, targetName } from "../domain/application.ts";
import { parseDuration } from "../domain/duration.ts";
import { createOctokit } from "../github/client.ts";
import type { StartedPacker } from "../image/bake-order.ts";
import { createRepository } from "../github/repository.ts";
import type { ToComplete } from "../image/completion.ts";
import { Secrets } from "../domain/secrets.ts";
import { releaseLock } from "../release/held-lock.ts";
import { isFor, recentRefreshes, rollBackRefresh, watchRefresh } from "../rollout/refresh.ts";
import { Pace } from "../rollout/pace.ts";
import { verdictOf } from "../rollout/verdict.ts";
import { awsOptions, clientsOf } from "./aws-options.ts";
import { knownSecrets } from "./known-secrets.ts";
import { createLog } from "./log.ts";
import { readRunner, type Runner } from "./runner.ts";
import type { State } from "./state.ts";
import { wallClock } from "./wall-clock.ts";

/** A cancelled job's later steps have five minutes, less what the runner keeps for itself; milliseconds. */
const PATIENCE = 4 * 60_000;

const log = createLog();

/** Waits for Packer and for the rollback, as long as there is time, then lets the locks go. Each part on its own. */
export async function finish(state: State): Promise<void> {
  const runner = readRunner(process.env);
  const deadline = Date.now() + PATIENCE;
  for (const pid of state.programs) endProgram(pid);
  await Promise.all([
    ...(state.packer === undefined ? [] : [finishPacker(state.packer, state.images, runner, deadline)]),
    ...state.refreshes.map((refresh) =>
      attempt("finish the instance refresh", () => finishRefresh(refresh, state.cancelled, runner, deadline)),
    ),
  ]);
  await attempt("release the lock", () => releaseLocks(state, runner));
  const { folder } = state;
  if (folder !== undefined)
    await attempt("remove the step's private files", () => rm(folder, { recursive: true, force: true }));
}

async function finishPacker(
  packer: StartedPacker,
  images: ToComplete | undefined,
  runner: Runner,
  deadline: number,
): Promise<void> {
  let isComplete = false;
  if (images !== undefined) {
    await attempt("complete the image that Packer made", async () => {
      await completeBake(images, runner, deadline);
      isComplete = true;
    });
  }
  if (!isComplete) await attempt("sweep up behind Packer", () => finishBake(packer, runner, deadline));
}

/** Packer had ended with 0: its image is completed, so that the next run uses it. */
async function completeBake(images: ToComplete, runner: Runner, deadline: number): Promise<void> {
  const { completeImages } = await import("../image/completion.ts");
  const secrets = new Secrets();
  secrets.add(knownSecrets(process.env).map(({ value }) => value));
  const signal = AbortSignal.timeout(Math.max(0, deadline - Date.now()));
  const clients = createAwsClients(awsOptions(runner.run));
  const { id, name } = await completeImages(clients, images, { clock: wallClock, signal, log, secrets });
  log.info(`Completed ${id} (${name}), which this run had baked: the next run uses it`);
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
  const [{ sweepBake }, { madeOf }] = await Promise.all([
    import("../image/sweep.ts"),
    import("../image/bake-traces.ts"),
  ]);
  const { region, imageName, mark, output } = packer;
  const made = await madeOf(linesOfFile(output));
  await sweepBake(
    createAwsClients(awsOptions(runner.run)),
    { ...made, region, imageName, mark, from: "output" },
    { clock: wallClock, log, deadline: new Date(deadline), repositories: [runner.run.repository] },
  );
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

/** A smoke test whose run was killed: it and all that it started would go on for nobody. */
function endProgram(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
    log.info(`Ended the smoke test (process ${pid}) that was still running`);
  } catch {
    // All of them have ended.
  }
}

/**
 * Waits for a refresh that is on its way back. One that the cancelled run had no time to ask AWS to roll back is rolled back
 * now; one that nobody takes back (`on-cancel: leave`, or the process was killed without a cancel) is left alone.
 */
async function finishRefresh(
  refresh: NotedRefresh,
  cancelled: State["cancelled"],
  runner: Runner,
  deadline: number,
): Promise<void> {
  const own = createAwsClients(awsOptions(runner.run));
  const clients = clientsOf(own, { name: "post", roleToAssume: refresh.roleToAssume }, runner.run);
  const name = targetName(refresh);
  const id = refresh.id ?? (await startedUnseen(clients, refresh));
  if (id === undefined) return;
  let mayAsk = cancelled === "rollback" && refresh.isBack !== true;
  let goesBack = refresh.isBack === true;
  const look = await watchRefresh(clients, {
    target: refresh,
    id,
    polling: { interval: parseDuration(runner.inputs["poll-interval"] ?? "") },
    pace: new Pace({ capacity: 0, warmup: 0, preferences: {}, image: "" }),
    clock: wallClock,
    signal: new AbortController().signal,
    patience: Math.max(0, deadline - Date.now()),
    onLook: async (found, line) => {
      const verdict = verdictOf(found);
      goesBack ||= verdict.kind === "pending" && verdict.rollingBack;
      if (line !== undefined)
        log.info(`${name}: ${goesBack && refresh.isBack !== true ? line : words(found)}`);
      if (verdict.kind !== "pending" || Date.now() > deadline) return true;
      if (goesBack) return false;
      if (!mayAsk) return true;
      mayAsk = false;
      return !(await takeBack(clients, refresh, id));
    },
  });
  tellEnd(name, id, look, goesBack);
}

/** The refresh that was being started as the process died: told by what it brings. */
async function startedUnseen(clients: AwsClients, { brings, ...target }: NotedRefresh) {
  if (brings === undefined) return undefined;
  const [newest] = await recentRefreshes(clients, target);
  const { launchTemplate: LaunchTemplateId, version: Version } = brings;
  const isIt = newest !== undefined && isFor(newest, { LaunchTemplate: { LaunchTemplateId, Version } });
  return isIt ? newest.InstanceRefreshId : undefined;
}

/** True where AWS is at it now. */
async function takeBack(clients: AwsClients, target: Target, id: string): Promise<boolean> {
  const answer = await rollBackRefresh(clients, target, id);
  if (answer === "impossible") return false;
  log.info(`${targetName(target)}: the run was cancelled: the instance refresh ${id} is rolled back`);
  return true;
}

/** What has become of a refresh when the job's time is over; where it is not over, AWS finishes it by itself. */
function tellEnd(name: string, id: string, look: InstanceRefresh, wasToGoBack: boolean): void {
  const verdict = verdictOf(look);
  if (verdict.kind === "pending") {
    const how = verdict.rollingBack
      ? "is still being rolled back; AWS finishes that by itself"
      : "goes on in AWS";
    log.warning(`${name}: the instance refresh ${id} ${how}: ${words(look)}`);
  } else if (verdict.kind === "succeeded" && !wasToGoBack) {
    log.warning(
      `${name}: the instance refresh ${id} has succeeded: the group runs the new image. Run the job again: it records that`,
    );
  } else log.info(`${name}: the instance refresh ${id} has ended: ${words(look)}`);
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
  await Promise.all(
    [...Map.groupBy(locks.toReversed(), ({ ref }) => ref)].map(async ([ref, [first, ...forms]]) => {
      if (first === undefined) return;
      const ended = await releaseLock(repository, [first, ...forms], wallClock);
      if (ended === "released") log.info(`Released the lock ${ref}`);
    }),
  );
}
