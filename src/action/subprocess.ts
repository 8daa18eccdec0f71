import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { constants } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { getExecOutput } from "@actions/exec";
import { LineSplitter } from "./line-splitter.ts";
import { isSecret } from "./known-secrets.ts";
import type { DetachedProgram, Finished, Subprocess, SubprocessOptions } from "../domain/ports.ts";

/** How often the output of a detached program is read, milliseconds. */
const FOLLOW_INTERVAL = 200;

/** Programs as the runner's machine has them. */
export function createSubprocess(env: NodeJS.ProcessEnv, temporaryFolder: string): Subprocess {
  const inherited = ({ inherits }: SubprocessOptions): Record<string, string> =>
    Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) =>
        value === undefined || !isForChildren(name, env) || isWithheld(name, value, inherits)
          ? []
          : [[name, value]],
      ),
    );
  const environment = (options: SubprocessOptions): Record<string, string> => ({
    ...inherited(options),
    ...options.env,
  });
  return {
    async run(command, args, options) {
      if (options.encoding !== undefined) return runForBytes(command, args, options, environment(options));
      const { exitCode, stdout, stderr } = await getExecOutput(command, [...args], {
        cwd: options.cwd,
        env: environment(options),
        silent: true,
        ignoreReturnCode: true,
        ...(options.input === undefined ? {} : { input: Buffer.from(options.input) }),
      });
      return { code: exitCode, stdout, stderr };
    },
    start: (command, args, options) =>
      startDetached(command, args, options, environment(options), temporaryFolder),
  };
}

/** Like `getExecOutput`, which decodes all output as UTF-8, and takes time that grows with the square of output without lines. */
async function runForBytes(
  command: string,
  args: readonly string[],
  options: SubprocessOptions,
  env: Record<string, string>,
): Promise<Finished> {
  const child = spawn(command, [...args], { cwd: options.cwd, env });
  // A program may end before it has read its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exit, signal) => {
      resolve(exit ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  return {
    code,
    stdout: Buffer.concat(stdout).toString(options.encoding),
    stderr: Buffer.concat(stderr).toString(),
  };
}

/**
 * The step's inputs, its token and secrets among them, are nobody else's business. AWS_MAX_ATTEMPTS, elsewhere a number
 * of retries, is to Packer's Amazon plugin a number of looks two seconds apart: alone it would make Packer give up on
 * an image after seconds.
 */
function isForChildren(name: string, env: NodeJS.ProcessEnv): boolean {
  if (name === "AWS_MAX_ATTEMPTS") return env["AWS_POLL_DELAY_SECONDS"] !== undefined;
  return !name.startsWith("INPUT_") && !name.startsWith("STATE_");
}

/** Whoever needs no secret gets none; what gets tokens in this job's name nobody but Packer, whose templates may ask Vault. */
function isWithheld(name: string, value: string, inherits: SubprocessOptions["inherits"]): boolean {
  if (inherits === "everything") return false;
  if (name.startsWith("PKR_VAR_") || FOR_TOKENS.has(name)) return true;
  return inherits === undefined && isSecret(name, value);
}

const FOR_TOKENS: ReadonlySet<string> = new Set([
  "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
  "ACTIONS_ID_TOKEN_REQUEST_URL",
  "ACTIONS_RUNTIME_TOKEN",
  "PACKER_GITHUB_API_TOKEN",
]);

/**
 * Starts a program in a process group of its own, with its output in a file: when this process is killed, a pipe would
 * break and the program would die without cleaning up (@actions/exec, which only has pipes, is for short calls).
 */
async function startDetached(
  command: string,
  args: readonly string[],
  options: SubprocessOptions & { readonly onLine: (line: string) => void },
  env: Record<string, string>,
  temporaryFolder: string,
): Promise<DetachedProgram> {
  const path = join(temporaryFolder, `kiln-${basename(command)}-${randomUUID()}.log`);
  const output = await open(path, "a+", 0o600);
  const child = spawn(command, [...args], {
    cwd: options.cwd,
    env,
    detached: true,
    stdio: ["ignore", output.fd, output.fd],
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  const exit = followToTheEnd(output, ended, options.onLine);
  return {
    pid: child.pid ?? 0,
    output: path,
    exit,
    stop() {
      child.kill("SIGTERM");
    },
    kill() {
      // The group: the program was started as the leader of one.
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // All of them have ended.
      }
    },
  };
}

async function followToTheEnd(
  output: FileHandle,
  ended: Promise<number>,
  onLine: (line: string) => void,
): Promise<number> {
  try {
    return await follow(output, ended, onLine);
  } finally {
    await output.close();
  }
}

/** Hands on each line that is added to a file until the program has ended, and what is left then. */
async function follow(
  output: FileHandle,
  ended: Promise<number>,
  onLine: (line: string) => void,
): Promise<number> {
  const splitter = new LineSplitter();
  const buffer = Buffer.alloc(65_536);
  let position = 0;
  const readAll = async (): Promise<void> => {
    for (;;) {
      const { bytesRead } = await output.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      for (const line of splitter.add(buffer.subarray(0, bytesRead))) onLine(line);
    }
  };
  const running = Symbol("running");
  let code: number | typeof running = running;
  while (code === running) {
    code = await Promise.race([ended, after(FOLLOW_INTERVAL, running)]);
    await readAll();
  }
  for (const line of splitter.end()) onLine(line);
  return code;
}
