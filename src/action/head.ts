import { KilnError } from "../domain/errors.ts";
import type { Finished, Subprocess } from "../domain/ports.ts";
import { askGit, isDistrusted, THIS_CHECKOUT, unreadableCheckout } from "../image/git.ts";

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
  const args = ["rev-parse", "--show-prefix", "HEAD", "--symbolic-full-name", "HEAD"];
  const found = await askGit({ folder, subprocess }, args);
  if (found.code === 0 || !isDistrusted(found.stderr)) return found;
  // Before 2.38 git takes no `safe.directory` from Kiln; a repository that is named it reads.
  const named = await askGit({ folder, subprocess }, [...THIS_CHECKOUT, ...args]);
  return named.code === 0 ? named : found;
}

function notReadable(folder: string, stderr: string): KilnError {
  return (
    unreadableCheckout(folder, stderr) ??
    new KilnError(`git cannot read the commit that is checked out in ${folder}`, {
      state: `Nothing was changed. git said: ${stderr.trim().slice(0, 300)}`,
      next: "Run actions/checkout before this step.",
    })
  );
}

function notTheTop(folder: string, within: string): KilnError {
  const path = within.replace(/\/$/, "");
  return new KilnError(`${folder} is the folder ${path} of a checkout, and not the checkout itself`, {
    state: "Nothing was changed.",
    next: `Take ${path} off the end of \`working-directory\`, or leave that out: the config file's paths start at the repository's root. A config file in that folder is named by \`config\`.`,
  });
}
