import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { isRepositoryPath } from "../domain/repository-path.ts";

/** Where the repository is checked out. */
export interface WorkingDirectory {
  readonly folder: string;
  /** What is wrong with the input `working-directory`. */
  readonly problem: string | undefined;
  /** Where nothing is checked out there: what to do about it. */
  readonly advice: string | undefined;
}

/**
 * The folder that the step works in: the job's, or one in it, for actions/checkout with `path`.
 * @param workspace the job's folder (`GITHUB_WORKSPACE`)
 * @param written the input, as the step set it
 */
export function findWorkingDirectory(workspace: string, written: string | undefined): WorkingDirectory {
  const given = written?.trim() ?? "";
  if (given === "") return { folder: workspace, problem: undefined, advice: adviceFor(workspace, workspace) };
  const wrong = (problem: string): WorkingDirectory => ({ folder: workspace, problem, advice: undefined });
  if (!isRepositoryPath(given)) return wrong("must be a path inside the job's workspace, relative to it");
  const folder = join(workspace, given);
  if (!isFolder(folder))
    return wrong(`there is no folder ${given} in the workspace. ${checkOutAt(given, workspace)}`);
  if (!isInside(folder, workspace)) return wrong(`${given} leads out of the workspace by a symbolic link`);
  return { folder, problem: undefined, advice: adviceFor(folder, workspace) };
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isInside(folder: string, workspace: string): boolean {
  const [root, place] = [realpathSync(workspace), realpathSync(folder)];
  return place === root || place.startsWith(root === sep ? sep : `${root}${sep}`);
}

function checkOutAt(path: string, workspace: string): string {
  return `Run actions/checkout with \`path: ${path}\` before this step${elsewhere(workspace)}`;
}

function adviceFor(folder: string, workspace: string): string | undefined {
  if (isCheckout(folder)) return undefined;
  return `nothing is checked out in ${folder}. Run actions/checkout before this step${elsewhere(workspace)}`;
}

const isCheckout = (folder: string): boolean => existsSync(join(folder, ".git"));

/** Checkouts that are named; there is seldom more than one. */
const MAX_NAMED = 3;

/** The checkouts beside, which `working-directory` may have been meant to name. */
function elsewhere(workspace: string): string {
  const names = foldersIn(workspace).filter((name) => isCheckout(join(workspace, name)));
  if (names.length === 0) return "";
  const shown = names.slice(0, MAX_NAMED).map((name) => `\`working-directory: ${name}\``);
  return `, or set ${shown.join(" or ")}, where there is a checkout`;
}

function foldersIn(workspace: string): readonly string[] {
  try {
    return readdirSync(workspace, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return [];
  }
}
