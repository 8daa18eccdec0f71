import { realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import { KilnError } from "../domain/errors.ts";
import type { Subprocess } from "../domain/ports.ts";

/** A folder that is a git repository's working tree, and the programs to ask git with. */
export interface GitFolder {
  /** The root of the working tree. */
  readonly folder: string;
  readonly subprocess: Subprocess;
}

/**
 * Settings that override the repository's and the user's own. Git then compares every file's mode, type and times with
 * its index, and starts no program that the repository's configuration names.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  "core.checkStat": "default",
  "core.fileMode": "true",
  "core.fsmonitor": "false",
  "core.hooksPath": "/dev/null",
  "core.ignoreCase": "false",
  "core.symlinks": "true",
  "core.trustctime": "true",
  "core.untrackedCache": "false",
};

const ENVIRONMENT = {
  LC_ALL: "C",
  GIT_OPTIONAL_LOCKS: "0",
  GIT_TERMINAL_PROMPT: "0",
  // A partial clone would fetch what it lacks, one request per object.
  GIT_NO_LAZY_FETCH: "1",
  GIT_LITERAL_PATHSPECS: "0",
  GIT_GLOB_PATHSPECS: "0",
  GIT_NOGLOB_PATHSPECS: "0",
  GIT_ICASE_PATHSPECS: "0",
} as const;

export interface GitCall {
  /** Added to {@link SETTINGS}. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Standard input. */
  readonly input?: string;
  /** Exit codes besides 0 that are an answer. */
  readonly codes?: readonly number[];
}

/**
 * Runs a git command in the root of a working tree.
 * @returns what it printed, one character per byte (latin1): paths need not be UTF-8
 * @throws KilnError if git is missing, the folder is no working tree, or git fails
 */
export async function runGit(
  { folder, subprocess }: GitFolder,
  args: readonly string[],
  { settings = {}, input, codes = [] }: GitCall = {},
): Promise<string> {
  const root = await realpath(folder).catch(() => folder);
  const options = Object.entries({ ...SETTINGS, "safe.directory": root, ...settings });
  const finished = await subprocess
    .run(
      "git",
      [
        // The folder itself, not one that it lies in.
        "--git-dir=.git",
        "--work-tree=.",
        ...options.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
        ...args,
      ],
      {
        cwd: root,
        encoding: "latin1",
        env: { ...ENVIRONMENT, GIT_CEILING_DIRECTORIES: posix.dirname(root) },
        ...(input === undefined ? {} : { input }),
      },
    )
    .catch(async (cause: unknown) => {
      throw await notStarted(folder, cause);
    });
  if (finished.code === 0 || codes.includes(finished.code)) return finished.stdout;
  throw gitError(folder, args[0] ?? "", finished.stderr);
}

/** The records of a list that git ends with NUL (`-z`). */
export function recordsOf(text: string): string[] {
  const records = text.split("\0");
  // What follows the last NUL.
  records.pop();
  return records;
}

async function notStarted(folder: string, cause: unknown): Promise<KilnError> {
  // A folder that does not exist is reported like a missing program.
  if (
    !(await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    ))
  )
    return noCheckout(folder, "Nothing was changed. There is no such folder.");
  const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
  if (!isMissing) return new KilnError("git could not be started", { state: "Nothing was changed.", cause });
  return new KilnError("git is not installed on this runner", {
    state: `Nothing was changed. Kiln reads ${folder} with git.`,
    next: "Install git in the job's container or on the runner, before actions/checkout runs: without git it downloads the files without a repository.",
    cause,
  });
}

function gitError(folder: string, command: string, stderr: string): KilnError {
  const state = `Nothing was changed. git ${command}: ${stderr.trim()}`;
  if (/not a git repository/i.test(stderr)) return noCheckout(folder, state);
  if (/dubious ownership|unsafe repository/i.test(stderr)) {
    return new KilnError(`git refuses to read ${folder}, which belongs to another user`, {
      state,
      next: `Run \`git config --global --add safe.directory "$GITHUB_WORKSPACE"\` in a step before this one.`,
    });
  }
  return new KilnError(`git ${command} failed in ${folder}`, {
    state,
    next: "Check that actions/checkout has finished in this job, and run the job again.",
  });
}

function noCheckout(folder: string, state: string): KilnError {
  return new KilnError(`${folder} is not a git checkout`, {
    state,
    next: "Run actions/checkout before this step. If it runs with `path`, give this step the same folder as `working-directory`.",
  });
}
