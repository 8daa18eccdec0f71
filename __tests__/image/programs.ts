import { spawn } from "node:child_process";
import { once } from "node:events";
import { buffer, text } from "node:stream/consumers";
import type { Clock, Finished, Log, Subprocess, SubprocessOptions } from "../../src/domain/ports.ts";

/** Real programs, for git; the environment is this process's, less what would make git's answers its user's. */
export const realPrograms: Subprocess = {
  async run(command, args, options) {
    const child = spawn(command, [...args], { cwd: options.cwd, env: { ...plainGit(), ...options.env } });
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
    const [stdout, stderr, [code]] = await Promise.all([
      buffer(child.stdout),
      text(child.stderr),
      once(child, "close") as Promise<[number]>,
    ]);
    return { code, stdout: stdout.toString(options.encoding ?? "utf8"), stderr };
  },
  start: () => Promise.reject(new Error("nothing is started here")),
};

/** No configuration but the repository's own, and a fixed identity. */
export function plainGit(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_AUTHOR_NAME: "Ada",
    GIT_AUTHOR_EMAIL: "ada@example.org",
    GIT_COMMITTER_NAME: "Ada",
    GIT_COMMITTER_EMAIL: "ada@example.org",
  };
}

export interface Call {
  readonly command: string;
  readonly args: readonly string[];
  readonly options: SubprocessOptions;
}

/** Programs that answer from a script, and what they were called with. */
export class ScriptedPrograms implements Subprocess {
  readonly calls: Call[] = [];
  readonly started: Call[] = [];
  stops = 0;
  kills = 0;
  /** What `run` answers; a missing program by default. */
  answer: (call: Call) => Finished = () => {
    throw Object.assign(new Error("spawn ENOENT"), { code: "ENOENT" });
  };
  /** What a started program prints, and the code it ends with. */
  output: readonly string[] = [];
  exitCode = 0;
  /** Called before each line, with its index. */
  beforeLine: (index: number) => void = () => {};
  /** Called when the program runs, before it prints. */
  onStart: (call: Call) => void = () => {};

  async run(command: string, args: readonly string[], options: SubprocessOptions): Promise<Finished> {
    const call = { command, args, options };
    this.calls.push(call);
    return this.answer(call);
  }

  async start(
    command: string,
    args: readonly string[],
    options: SubprocessOptions & { readonly onLine: (line: string) => void },
  ) {
    const call = { command, args, options };
    this.started.push(call);
    this.onStart(call);
    const play = async (): Promise<number> => {
      await Promise.resolve();
      for (const [index, line] of this.output.entries()) {
        this.beforeLine(index);
        options.onLine(line);
      }
      return this.exitCode;
    };
    return {
      pid: 4242,
      output: "packer.log",
      exit: Promise.resolve().then(play),
      stop: () => {
        this.stops += 1;
      },
      kill: () => {
        this.kills += 1;
      },
    };
  }
}

/** Time that only passes when it is told to, or slept through. */
export class VirtualClock implements Clock {
  #now: number;
  readonly sleeps: number[] = [];

  constructor(start = "2026-11-18T10:00:00Z") {
    this.#now = Date.parse(start);
  }

  now(): Date {
    return new Date(this.#now);
  }

  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleeps.push(milliseconds);
    this.pass(milliseconds);
  }
}

/** Keeps each line with its level. */
export class KeptLog implements Log {
  readonly lines: string[] = [];

  info(message: string): void {
    this.lines.push(message);
  }

  debug(message: string): void {
    this.lines.push(`debug: ${message}`);
  }

  notice(message: string): void {
    this.lines.push(`notice: ${message}`);
  }

  warning(message: string): void {
    this.lines.push(`warning: ${message}`);
  }

  group<T>(title: string, work: () => Promise<T>): Promise<T> {
    this.lines.push(`group: ${title}`);
    return work();
  }
}
