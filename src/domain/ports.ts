/** Time, as everything that waits sees it: tests bring a virtual one. */
export interface Clock {
  now(): Date;
  /** Resolves after `milliseconds`; rejects with the signal's reason as soon as it aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/** What people read while it happens. */
export interface Log {
  info(message: string): void;
  debug(message: string): void;
  /** Shown as an annotation on the run too. */
  notice(message: string): void;
  warning(message: string): void;
  /** Runs `work` with its lines folded under `title`; groups do not nest. */
  group<T>(title: string, work: () => Promise<T>): Promise<T>;
}

export interface Finished {
  /** Exit code. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SubprocessOptions {
  readonly cwd: string;
  /**
   * What it gets of this process's environment. Default: nothing secret. `job`: what another step of the job would have.
   * `everything`: also what is meant for Packer's templates. The step's inputs and its state nobody gets.
   */
  readonly inherits?: "job" | "everything";
  /** Added to that. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input. */
  readonly input?: string;
  /** How standard output becomes text. Default: `utf8`. `latin1`: one character per byte, for what need not be UTF-8. */
  readonly encoding?: "latin1";
}

/** A program that goes on when this process dies, writing to a file that is followed. */
export interface DetachedProgram {
  readonly pid: number;
  /** The file that it writes to, also after this process has died. */
  readonly output: string;
  /** Resolves with the exit code (128 + number for a signal). */
  readonly exit: Promise<number>;
  /** Asks it to stop and clean up after itself (SIGTERM). */
  stop(): void;
  /** Ends it and all that it started, at once (SIGKILL); nothing where they have ended. */
  kill(): void;
}

export interface Subprocess {
  /** Runs a program to its end; a non-zero exit is not an error. Rejects with code `ENOENT` where it does not exist. */
  run(command: string, args: readonly string[], options: SubprocessOptions): Promise<Finished>;
  /** Starts a program in its own process group; each line that it prints, to either stream, is handed to `onLine`. */
  start(
    command: string,
    args: readonly string[],
    options: SubprocessOptions & { readonly onLine: (line: string) => void },
  ): Promise<DetachedProgram>;
}
