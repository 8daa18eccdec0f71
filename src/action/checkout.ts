import type { Repository } from "../github/repository.ts";
import { textOf } from "./event-payload.ts";
import type { Head } from "./head.ts";
import type { Runner } from "./runner.ts";

/** What is baked and released: the commit that is checked out, and the branch that it is on. */
export interface Checkout {
  readonly commit: string;
  /** Undefined where it is on none of `candidates`, or there is none: a tag's commit, a pull request's. */
  readonly branch: string | undefined;
  /** The branches that were considered. */
  readonly candidates: readonly string[];
}

/** A push that a run is for. */
export interface Push {
  /** Undefined where a tag was pushed. */
  readonly branch: string | undefined;
}

type Started = Pick<Runner, "run" | "payload">;

/**
 * The push that a run is for: its own, or that of the workflow whose end started it, if what was pushed is checked out.
 * There GitHub's own ref is the default branch, whatever was pushed (events that trigger workflows, `workflow_run`,
 * 2026-11-28).
 */
export function pushOf({ run, payload }: Started, commit: string): Push | undefined {
  if (run.event === "push") return { branch: run.branch };
  if (run.event !== "workflow_run" || textOf(payload, "workflow_run", "event") !== "push") return undefined;
  if (textOf(payload, "workflow_run", "head_sha") !== commit) return undefined;
  return { branch: textOf(payload, "workflow_run", "head_branch") };
}

/**
 * Which branch the commit is on that is checked out. GitHub is asked only where that is not the run's own commit: whether
 * the commit is in the branch that the other workflow ran for, that is checked out by name, or that the run is for.
 */
export async function readCheckout(
  started: Started,
  head: Head,
  repository: Pick<Repository, "readRef" | "isAncestor">,
): Promise<Checkout> {
  const { run, payload } = started;
  const { commit } = head;
  const own = commit === run.commit;
  const isOtherWorkflows = textOf(payload, "workflow_run", "head_sha") === commit;
  const others =
    run.event === "workflow_run" && isOtherWorkflows
      ? textOf(payload, "workflow_run", "head_branch")
      : undefined;
  const candidates = [...new Set([others, own ? undefined : head.branch, run.branch])].filter(
    (name) => name !== undefined,
  );
  for (const branch of candidates) {
    const known = own && branch === run.branch;
    if (known || (await isOnBranch(commit, branch, repository))) return { commit, branch, candidates };
  }
  return { commit, branch: undefined, candidates };
}

/** The name alone says nothing: another workflow's `head_branch` may be a tag's, and a local branch anything. */
async function isOnBranch(
  commit: string,
  branch: string,
  repository: Pick<Repository, "readRef" | "isAncestor">,
): Promise<boolean> {
  if (!isBranchName(branch)) return false;
  const tip = await repository.readRef(`refs/heads/${branch}`);
  return tip !== undefined && (tip === commit || (await repository.isAncestor(commit, tip)));
}

/** As far as it matters for a name in a request's path; 255 bytes are the most that git stores. */
function isBranchName(name: string): boolean {
  return name.length <= 255 && !/[\p{Cc}\p{Cs}\\?*[~^: ]|\.\.|^\/|\/$/u.test(name);
}
