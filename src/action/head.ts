import { realpath } from "node:fs/promises";
import { KilnError } from "../domain/errors.ts";
import type { Finished, Subprocess } from "../domain/ports.ts";

/** The commit that is checked out. */
export interface Head {
  readonly commit: string;
  /** The local branch of that name; undefined where the commit itself, a tag or a pull request's ref is checked out. */
  readonly branch: string | undefined;
}

/**
 * Reads `HEAD` with one call of git.
 * @throws KilnError where git is missing, or the folder is not the top of a checkout
 */
export async function readHead(folder: string, subprocess: Subprocess): Promise<Head> {
  const { code, stdout, stderr } = await git(folder, subprocess);
  if (code !== 0) throw notReadable(folder, stderr);
  // The folder within the checkout, empty at its top; the commit; the ref that HEAD stands for, or itself.
  const [within = "", commit = "", ref = ""] = stdout.split("\n");
  if (within !== "") throw notTheTop(folder, within);
  if (!/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(commit))
    throw new KilnError(`git does not say which commit is checked out in ${folder}`, {
      state: `Nothing was changed. It said: ${stdout.trim().slice(0, 300)}`,
      next: "Check that the `git` on the runner's PATH is git.",
    });
  return { commit, branch: /^refs\/heads\/(.+)$/.exec(ref)?.[1] };
}

async function git(folder: string, subprocess: Subprocess): Promise<Finished> {
  // In a container job the checkout belongs to another user than the one that runs git there.
  const trusted = await realpath(folder).catch(() => folder);
  const args = ["-c", `safe.directory=${trusted}`, "rev-parse", "--show-prefix", "HEAD"];
  return subprocess
    .run("git", [...args, "--symbolic-full-name", "HEAD"], { cwd: folder, env: { LC_ALL: "C" } })
    .catch((cause: unknown) => {
      throw new KilnError("git is not installed on this runner", {
        state: "Nothing was changed.",
        next: "Install git before actions/checkout runs, in a container job in the container's image. Without git, actions/checkout downloads the files alone, and they do not say which commit they are.",
        cause,
      });
    });
}

function notReadable(folder: string, stderr: string): KilnError {
  const state = `Nothing was changed. git said: ${stderr.trim().slice(0, 300)}`;
  if (stderr.includes("dubious ownership")) {
    return new KilnError(`git does not trust the checkout in ${folder}: it belongs to another user`, {
      state,
      next: `Run \`git config --global --add safe.directory ${folder}\` in a step before this one, or use git 2.38 or newer, which takes that from Kiln.`,
    });
  }
  if (stderr.includes("not a git repository")) {
    return new KilnError(`There is no checkout in ${folder}`, {
      state,
      next: "Run actions/checkout before this step. If it has `path`, set `working-directory` to the same path. If it ran before git was installed, it downloaded the files alone: install git first.",
    });
  }
  return new KilnError(`git cannot read the commit that is checked out in ${folder}`, {
    state,
    next: "Run actions/checkout before this step.",
  });
}

function notTheTop(folder: string, within: string): KilnError {
  const path = within.replace(/\/$/, "");
  return new KilnError(`${folder} is the folder ${path} of a checkout, and not the checkout itself`, {
    state: "Nothing was changed.",
    next: `Take ${path} off the end of \`working-directory\`, or leave that out: the config file's paths start at the repository's root. A config file in that folder is named by \`config\`.`,
  });
}
