import { clientsOf } from "../../src/action/aws-options.ts";
import { bake } from "../../src/commands/bake.ts";
import { deploy } from "../../src/commands/deploy.ts";
import type { Ports, Unfinished } from "../../src/commands/ports.ts";
import { promote } from "../../src/commands/promote.ts";
import { prune } from "../../src/commands/prune.ts";
import type { RolloutRequest } from "../../src/commands/request.ts";
import { rollback } from "../../src/commands/rollback.ts";
import { status } from "../../src/commands/status.ts";
import { CancelledError, KilnError } from "../../src/domain/errors.ts";
import { completeImages, type ToComplete } from "../../src/image/completion.ts";
import type { EnvironmentResult, Result } from "../../src/domain/result.ts";
import type { Repository } from "../../src/github/repository.ts";
import { releaseLock } from "../../src/release/held-lock.ts";
import type { Lock } from "../../src/release/lock.ts";
import type { Strand } from "./interleaving.ts";
import { PlayedPrograms, TEMPLATE } from "./played-programs.ts";
import { commitOf, type World } from "./world.ts";
import { Secrets } from "../../src/domain/secrets.ts";

/** A job as a workflow starts it. */
export interface Job {
  readonly command: "deploy" | "bake" | "promote" | "rollback" | "prune" | "status";
  /** Default: `acme/web`. */
  readonly repository?: string;
  /** Names; default: all. */
  readonly environments?: readonly string[];
  /** What is checked out. */
  readonly content?: string;
  /** Virtual milliseconds until it begins. */
  readonly after?: number;
  /** Virtual milliseconds from its beginning until somebody cancels it. */
  readonly cancelAfter?: number;
  readonly to?: string;
  readonly from?: string;
  readonly incident?: boolean;
  readonly timeout?: number;
  /** Virtual milliseconds from its beginning until GitHub takes it for ended, although it goes on: a lost self-hosted runner. */
  readonly lostAfter?: number;
  /** The second attempt of this run, by its number. */
  readonly rerunOf?: number;
}

export interface Ended {
  readonly name: string;
  readonly job: Job;
  /** What it says; undefined where the run is green. */
  readonly error: string | undefined;
  readonly log: readonly string[];
  readonly facts: Partial<Result>;
  readonly environments: ReadonlyMap<string, Partial<EnvironmentResult>>;
  /** Virtual times. */
  readonly began: number;
  readonly ended: number;
}

/** What a run leaves to its post step. */
class Left implements Unfinished {
  readonly locks = new Set<Lock>();
  readonly groups = new Set<string>();
  images: ToComplete | undefined;

  locked(lock: Lock): void {
    this.locks.add(lock);
  }

  unlocked({ ref }: Pick<Lock, "ref">): void {
    for (const lock of this.locks) if (lock.ref === ref) this.locks.delete(lock);
  }

  packerStarted(): void {
    // Packer has ended when the command has: nothing is killed here.
  }

  packerEnded(images: ToComplete): void {
    this.images = images;
  }

  bakeFinished(): void {
    this.images = undefined;
  }

  refreshNoted({ autoScalingGroup }: { readonly autoScalingGroup: string }): void {
    this.groups.add(autoScalingGroup);
  }

  programStarted(): void {
    // No smoke test outlives the command either.
  }

  programEnded(): void {
    // The same.
  }
}

/** Runs a job by the action's own code, and its post step; the run has ended then, and GitHub knows it. */
export async function runJob(world: World, job: Job): Promise<Ended> {
  const attempt = job.rerunOf === undefined ? 1 : 2;
  const id = String(job.rerunOf ?? world.nextRun());
  const strand = world.interleaving.strand(`${job.command}${attempt === 1 ? "" : " again"} ${id}`);
  await world.interleaving.sleep(job.after ?? 0);
  const { repository: fullName = "acme/web" } = job;
  const github = world.repository(fullName);
  const repository = strand.functions<Repository>(github);
  github.runs.set(id, "active");
  github.attempts.set(id, attempt);
  const endsOnGitHub = (): void => {
    if (github.attempts.get(id) === attempt) github.runs.set(id, "ended");
  };
  const abort = new AbortController();
  const left = new Left();
  const log: string[] = [];
  let facts: Partial<Result> = {};
  const environments = new Map<string, Partial<EnvironmentResult>>();
  const ports = portsOf(
    world,
    strand,
    { job, log, left, repository, signal: abort.signal },
    {
      publish: (more) => (facts = { ...facts, ...more }),
      publishEnvironment: (name, more) => environments.set(name, { ...environments.get(name), ...more }),
    },
  );
  const began = world.aws.clock.now();
  const callOff =
    job.cancelAfter === undefined
      ? () => undefined
      : world.aws.clock.after(job.cancelAfter, () =>
          abort.abort(new CancelledError("The run was cancelled")),
        );
  const lost =
    job.lostAfter === undefined ? () => undefined : world.aws.clock.after(job.lostAfter, endsOnGitHub);
  let error: unknown;
  try {
    await start(world, job, id, ports);
  } catch (caught) {
    error = caught;
  }
  callOff();
  if (error instanceof CancelledError) {
    if (left.images !== undefined) await completeImages(ports.aws, left.images, { ...ports, signal: NEVER });
    await waitForWayBack(world, strand, left);
  }
  for (const lock of left.locks) await releaseLock(repository, [lock], strand);
  lost();
  endsOnGitHub();
  const ended: Ended = {
    name: strand.name,
    job,
    error: error === undefined ? undefined : inWords(error),
    log,
    facts,
    environments,
    began,
    ended: world.aws.clock.now(),
  };
  world.ended.push(ended);
  return ended;
}

function inWords(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error);
  return [`${error.name}: ${error.message}`, error instanceof KilnError ? error.state : error.stack].join(
    "\n",
  );
}

/** As `action/finish.ts` does it: for some minutes. */
async function waitForWayBack(world: World, strand: Strand, left: Left): Promise<void> {
  const deadline = world.aws.clock.now() + 4 * 60_000;
  const goesOn = (): boolean => [...left.groups].some((group) => world.isRefreshing(group));
  while (goesOn() && world.aws.clock.now() < deadline) await strand.sleep(10_000);
}

async function start(world: World, job: Job, id: string, ports: Ports): Promise<void> {
  const request = requestOf(world, job, id);
  const { command } = job;
  switch (command) {
    case "deploy":
    case "bake": {
      const deployed = {
        ...request,
        version: job.content ?? "",
        vars: {},
        secretVars: {},
        sensitive: new Set<string>(),
        templateEnvironment: {},
        rebake: "auto" as const,
        allowOlder: false,
        allowUnverified: false,
      };
      return command === "deploy" ? deploy(deployed, ports) : bake(deployed, ports);
    }
    case "promote":
      return promote({ ...request, from: job.from ?? "", allowUnverified: false }, ports);
    case "rollback":
      return rollback(
        { ...request, to: job.to ?? "previous", reason: undefined, incident: job.incident ?? false },
        ports,
      );
    case "prune":
      return prune(request, ports);
    case "status":
      return status({ ...request, failOnDrift: false }, ports);
  }
}

function requestOf(world: World, job: Job, id: string): RolloutRequest {
  const repository = job.repository ?? "acme/web";
  const all = world.environments.get(repository) ?? [];
  const wanted = job.environments;
  const environments = all.filter(({ name }) => wanted === undefined || wanted.includes(name));
  return {
    application: {
      name: repository.replace(/^.*\//, ""),
      recordPrefix: "release",
      environments: all,
      image: { template: TEMPLATE, inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
      ...(world.prune === undefined ? {} : { prune: world.prune }),
    },
    environments,
    dryRun: false,
    onCancel: "rollback",
    timeout: job.timeout ?? 2 * 3_600_000,
    pollInterval: undefined,
    run: {
      repository,
      id,
      attempt: job.rerunOf === undefined ? "1" : "2",
      url: `https://github.com/${repository}/actions/runs/${id}`,
      actor: "octocat",
      commit: commitOf(job.content ?? "nothing"),
      branch: "main",
      event: "push",
      serverUrl: "https://github.com",
    },
  };
}

function portsOf(
  world: World,
  strand: Strand,
  {
    job,
    log,
    left,
    repository,
    signal,
  }: {
    readonly job: Job;
    readonly log: string[];
    readonly left: Left;
    readonly repository: Repository;
    readonly signal: AbortSignal;
  },
  facts: Ports["facts"],
): Ports {
  const aws = strand.clients(world.aws.clients);
  const line = (kind: string) => (message: string) =>
    void log.push(`${strand.now().toISOString().slice(11, 19)} ${kind}${message}`);
  return {
    clock: strand,
    signal,
    log: {
      info: line(""),
      debug: () => undefined,
      notice: line("notice: "),
      warning: line("warning: "),
      group: (_, work) => work(),
    },
    aws,
    awsOf: (environment) => clientsOf(aws, environment, { id: "1", repository: "acme/web" }),
    repository,
    subprocess: new PlayedPrograms(strand, world.aws.ec2, commitOf(job.content ?? ""), world.bake, () =>
      world.builds.push(strand.name),
    ),
    facts,
    unfinished: left,
    workspace: NOWHERE,
    temporaryFolder: NOWHERE,
    token: "none",
    secrets: new Secrets(),
  };
}

const NEVER = new AbortController().signal;

/** Nothing is checked out, and no template writes a list of packages. */
const NOWHERE = "/nonexistent/kiln-at-once";
