import { realpath, stat } from "node:fs/promises";
import { KilnError } from "../domain/errors.ts";
import type { Finished, Subprocess } from "../domain/ports.ts";

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

/** The folder itself is the checkout, not one that it lies in; its owner does not matter. */
export const THIS_CHECKOUT: readonly string[] = ["--git-dir=.git", "--work-tree=."];

/**
 * Runs a git command in the root of a working tree.
 * @returns what it printed, one character per byte (latin1): paths need not be UTF-8
 * @throws KilnError if git is missing, the folder is no working tree, or git fails
 */
export async function runGit(
  repository: GitFolder,
  args: readonly string[],
  { codes = [], ...call }: GitCall = {},
): Promise<string> {
  const { folder } = repository;
  const { code, stdout, stderr } = await askGit(repository, [...THIS_CHECKOUT, ...args], {
    ...call,
    encoding: "latin1",
  });
  if (code === 0 || codes.includes(code)) return stdout;
  const [command = ""] = args;
  throw (
    unreadableCheckout(folder, stderr) ??
    new KilnError(`git ${command} failed in ${folder}`, {
      state: `Nothing was changed. git said: ${stderr.trim()}`,
      next: "Check that actions/checkout has finished in this job, and run the job again.",
    })
  );
}

/**
 * Runs git in a folder that it is told to trust, without what the repository's configuration may start. What it ends with is
 * the caller's to judge.
 * @throws KilnError if git cannot be started
 */
export async function askGit(
  { folder, subprocess }: GitFolder,
  args: readonly string[],
  { settings = {}, ...options }: Pick<GitCall, "settings" | "input"> & { readonly encoding?: "latin1" } = {},
): Promise<Finished> {
  // In a container job the checkout belongs to another user than the one that runs git there.
  const root = await realpath(folder).catch(() => folder);
  const all = Object.entries({ "safe.directory": root, ...SETTINGS, ...settings });
  return subprocess
    .run("git", [...all.flatMap(([name, value]) => ["-c", `${name}=${value}`]), ...args], {
      ...options,
      cwd: root,
      env: ENVIRONMENT,
    })
    .catch(async (cause: unknown) => {
      throw await notStarted(folder, cause);
    });
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
  const isThere = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isThere) return noCheckout(folder, "Nothing was changed. There is no such folder.");
  const isMissing =
    cause instanceof Error &&
    (("code" in cause && cause.code === "ENOENT") || cause.message.startsWith("Unable to locate executable"));
  if (!isMissing) return new KilnError("git could not be started", { state: "Nothing was changed.", cause });
  return new KilnError("git is not installed on this runner", {
    state: "Nothing was changed.",
    next: "Install git before actions/checkout runs, in a container job in the container's image. Without git, actions/checkout downloads the files alone, and they do not say which commit they are.",
    cause,
  });
}

/** Why git does not read a checkout; undefined if it is for another reason. */
export function unreadableCheckout(folder: string, stderr: string): KilnError | undefined {
  const state = `Nothing was changed. git said: ${stderr.trim().slice(0, 300)}`;
  if (isDistrusted(stderr)) {
    return new KilnError(`git does not trust the checkout in ${folder}: it belongs to another user`, {
      state,
      next: `Run \`git config --global --add safe.directory ${folder}\` in a step before this one, or use git 2.38 or newer, which takes that from Kiln.`,
    });
  }
  return /not a git repository/i.test(stderr) ? noCheckout(folder, state) : undefined;
}

/** True if git refuses to read a folder because of its owner. */
export function isDistrusted(stderr: string): boolean {
  return /dubious ownership|unsafe repository/i.test(stderr);
}

function noCheckout(folder: string, state: string): KilnError {
  return new KilnError(`There is no checkout in ${folder}`, {
    state,
    next: "Run actions/checkout before this step. If it has `path`, set `working-directory` to the same path. If it ran before git was installed, it downloaded the files alone: install git first.",
  });
}
