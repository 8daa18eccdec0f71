/** Runs the built action as GitHub's runner does: inputs and the event by environment variables, answers by files. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { OidcJob } from "./github/identity-tokens.ts";
import type { Sandbox } from "./sandbox.ts";
import { TOKEN } from "./sandbox.ts";

export interface Job {
  /** The checked-out repository. */
  readonly workspace: string;
  /** `refs/heads/develop`. */
  readonly ref: string;
  readonly commit: string;
  readonly event?: string;
  /** What GitHub tells about the event. */
  readonly payload?: unknown;
  readonly inputs?: Readonly<Record<string, string>>;
  readonly runId: number;
  readonly attempt?: number;
  /** The job has `id-token: write`: it is told where its OIDC token is. */
  readonly idToken?: boolean;
  /** The GitHub environment that the job runs in, as its OIDC token says. */
  readonly environment?: string;
  /** Over the sandbox's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** False: the whole runner died, and the post step never came. */
  readonly post?: boolean;
  /** Told each piece of output as it comes. */
  readonly onOutput?: (text: string) => void;
  /** Handed the main step's process when it has started, to signal it. */
  readonly onStarted?: (child: ChildProcess) => void;
  /** The same with the post step's process. */
  readonly onPostStarted?: (child: ChildProcess) => void;
}

export interface JobResult {
  readonly code: number;
  /** What both steps printed. */
  readonly log: string;
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** The action's folder. */
const ACTION = join(import.meta.dirname, "..");

/** Runs `main`, then `post` whatever became of it, as a runner does; the run is known to the sandbox's GitHub meanwhile. */
export async function runJob(sandbox: Sandbox, folder: string, job: Job): Promise<JobResult> {
  const temporary = join(folder, `run-${job.runId}-${job.attempt ?? 1}-${Date.now()}`);
  await mkdir(temporary, { recursive: true });
  const file = (name: string): string => join(temporary, name);
  for (const name of ["output", "summary", "state", "env"]) await writeFile(file(name), "");
  await writeFile(file("event.json"), JSON.stringify(job.payload ?? {}));
  if (job.attempt === undefined) sandbox.repository.addRun({ id: job.runId, status: "in_progress" });
  else sandbox.repository.setRunStatus(job.runId, "in_progress");
  const env = { ...environmentOf(sandbox, job, temporary), ...fileVariables(file) };
  const main = await runStep("index.js", env, job);
  const state = parseFile(await readFile(file("state"), "utf8"));
  const stateVariables = Object.fromEntries(
    Object.entries(state).map(([name, value]) => [`STATE_${name}`, value]),
  );
  const post =
    job.post === false
      ? { log: "" }
      : await runStep(
          "post.js",
          { ...env, ...stateVariables },
          { ...job, onStarted: job.onPostStarted ?? (() => {}) },
        );
  sandbox.repository.setRunStatus(job.runId, "completed", main.code === 0 ? "success" : "failure");
  return {
    code: main.code,
    log: main.log + post.log,
    outputs: parseFile(await readFile(file("output"), "utf8")),
    summary: await readFile(file("summary"), "utf8"),
  };
}

function environmentOf(sandbox: Sandbox, job: Job, temporary: string): Record<string, string> {
  const given = { ...defaultInputs(), ...job.inputs };
  const env: Record<string, string | undefined> = {
    PATH: process.env["PATH"],
    HOME: temporary,
    ...sandbox.environment(),
    ...(job.idToken === true ? sandbox.oidcEnvironment(oidcJob(job)) : {}),
    CI: "true",
    GITHUB_ACTIONS: "true",
    GITHUB_ACTOR: "octocat",
    GITHUB_API_URL: sandbox.githubUrl,
    GITHUB_SERVER_URL: "https://github.com",
    GITHUB_REPOSITORY: `${sandbox.repository.owner}/${sandbox.repository.name}`,
    GITHUB_RUN_ID: String(job.runId),
    GITHUB_RUN_ATTEMPT: String(job.attempt ?? 1),
    GITHUB_SHA: job.commit,
    GITHUB_REF: job.ref,
    GITHUB_EVENT_NAME: job.event ?? "push",
    GITHUB_EVENT_PATH: join(temporary, "event.json"),
    GITHUB_WORKSPACE: job.workspace,
    RUNNER_TEMP: temporary,
    ...Object.fromEntries(
      Object.entries(given).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
    ),
    ...job.env,
  };
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

function oidcJob({ ref, commit: sha, runId, attempt = 1, event = "push", environment }: Job): OidcJob {
  return { ref, sha, runId, attempt, event, ...(environment === undefined ? {} : { environment }) };
}

/** The defaults of action.yml, which the runner fills in. */
function defaultInputs(): Record<string, string> {
  return { token: TOKEN };
}

function fileVariables(file: (name: string) => string): Record<string, string> {
  return {
    GITHUB_OUTPUT: file("output"),
    GITHUB_STEP_SUMMARY: file("summary"),
    GITHUB_STATE: file("state"),
    GITHUB_ENV: file("env"),
  };
}

async function runStep(
  script: string,
  env: Record<string, string>,
  job: Job,
): Promise<{ code: number; log: string }> {
  const child = spawn(process.execPath, [join(ACTION, "dist", script)], {
    cwd: job.workspace,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  const hear = (chunk: Buffer): void => {
    log += chunk.toString();
    job.onOutput?.(chunk.toString());
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  job.onStarted?.(child);
  const [code] = (await once(child, "close")) as [number | null];
  return { code: code ?? 128, log };
}

/** Files that steps write: `name=value`, or `name<<delimiter` and lines up to the delimiter; the last one counts. */
function parseFile(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  const lines = text.split("\n");
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    const heredoc = /^(.+?)<<(.+)$/.exec(line);
    if (heredoc !== null) {
      const [, name = "", delimiter = ""] = heredoc;
      const end = lines.indexOf(delimiter, index + 1);
      found[name] = lines.slice(index + 1, end).join("\n");
      index = end;
    } else if (line.includes("="))
      found[line.slice(0, line.indexOf("="))] = line.slice(line.indexOf("=") + 1);
  }
  return found;
}
