import { KilnError } from "../domain/errors.ts";
import type { Checkout } from "./checkout.ts";
import { fieldOf, textOf } from "./event-payload.ts";
import type { Inputs } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/** Events whose code may be a fork's; `pull_request_target` runs with secrets whosever it is, and is no matter of degree. */
const PULL_REQUEST_EVENTS: ReadonlySet<string> = new Set([
  "pull_request",
  "pull_request_review",
  "pull_request_review_comment",
]);

/** Events that anybody on GitHub can start in a public repository, on its default branch and with its secrets. */
const ANYBODYS_EVENTS: ReadonlySet<string> = new Set([
  "issue_comment",
  "issues",
  "discussion",
  "discussion_comment",
]);

type Event = Pick<Runner, "run" | "payload">;
type Allowed = Pick<Inputs, "command" | "dryRun" | "allowPullRequest" | "allowPullRequestTarget">;

/**
 * Refuses a run whose checked-out code may be a stranger's: config file, template and provisioners are read from there,
 * and would be run with this repository's credentials. Also refuses to bake what a pull request brings, whoever wrote it.
 * Called before anything of the checkout is read.
 * @throws KilnError that says whose code it is and what to do instead
 */
export function refuseForeignCode({ run, payload }: Event, inputs: Allowed): void {
  const { event, repository } = run;
  if (event === "pull_request_target") {
    if (!inputs.allowPullRequestTarget) throw onTarget();
  } else if (event === "workflow_run") {
    if (inputs.allowPullRequestTarget) return;
    const fork = forkOf(fieldOf(payload, "workflow_run", "head_repository"), repository);
    if (fork !== undefined) throw onWorkflowRun(fork);
    const startedBy = textOf(payload, "workflow_run", "event") ?? "pull_request";
    if (PULL_REQUEST_EVENTS.has(startedBy) || startedBy === "pull_request_target")
      refuseToBake(`a workflow_run that a ${startedBy} started`, inputs);
  } else if (PULL_REQUEST_EVENTS.has(event)) {
    // GitHub gives such a run no secrets, and a token that only reads: it may look, at what it can.
    if (inputs.dryRun || inputs.command === "status") return;
    const fork = forkOf(fieldOf(payload, "pull_request", "head", "repo"), repository);
    if (fork !== undefined) throw onPullRequest(fork, inputs.command);
    refuseToBake(event, inputs);
  } else if (event === "merge_group") {
    // A merge queue tries pull requests before they are merged; GitHub runs only this repository's own code for it.
    refuseToBake(event, inputs);
  }
}

/**
 * Refuses a commit that somebody's comment had checked out: on these events GitHub's own commit is the default branch's,
 * so another one is a pull request's, or may be.
 * @throws KilnError that says what to do instead
 */
export function refuseCommentedCode(
  { run, payload }: Event,
  { commit, branch }: Checkout,
  inputs: Allowed,
): void {
  const event = run.event === "workflow_run" ? textOf(payload, "workflow_run", "event") : run.event;
  if (event === undefined || !ANYBODYS_EVENTS.has(event) || commit === run.commit) return;
  if (branch === undefined) {
    if (!inputs.allowPullRequestTarget) throw onComment(event, commit);
  } else if (branch !== run.branch && fieldOf(payload, "issue", "pull_request") !== undefined)
    refuseToBake(`the pull request that this ${event} is about`, inputs);
}

/** Whoever bakes decides what runs: an image of the same content is used again, whoever made it. */
function refuseToBake(what: string, { command, dryRun, allowPullRequest }: Allowed): void {
  if (dryRun || allowPullRequest || (command !== "bake" && command !== "deploy")) return;
  throw new KilnError(
    `Kiln does not ${command} on ${what}: what a pull request bakes is used again for the same content, in production too`,
    {
      state: "Nothing was changed.",
      next: "Use `dry-run: true` on pull requests, and release on `push`, after the merge. If everybody who can open a pull request in this repository may decide what production runs, set `allow-pull-request: true`.",
    },
  );
}

const DANGER = "its code would run with this repository's credentials";

function onTarget(): KilnError {
  return new KilnError(
    `Kiln does not run on pull_request_target: a pull request may be anybody's, and ${DANGER}`,
    {
      state: "Nothing was changed.",
      next: "Release on `push`; look at pull requests on `pull_request` with `dry-run: true`. If this workflow never checks out what a pull request brings, set `allow-pull-request-target: true`.",
    },
  );
}

function onWorkflowRun(fork: string): KilnError {
  return new KilnError(
    `This workflow_run was started by the code of ${fork}: it is not this repository's, and ${DANGER}`,
    {
      state: "Nothing was changed.",
      next: "Release on `push`, or give the trigger `branches` and the job `if: github.event.workflow_run.event == 'push'`. If this workflow never checks out what the other run was for, set `allow-pull-request-target: true`.",
    },
  );
}

function onComment(event: string, commit: string): KilnError {
  return new KilnError(
    `Commit ${commit.slice(0, 12)}, which this ${event} has checked out, is on no branch that Kiln can name: it may be anybody's, and ${DANGER}`,
    {
      state: "Nothing was changed.",
      next: "Check out the default branch, or a branch of this repository by its name. If nothing of a pull request is checked out here, set `allow-pull-request-target: true`.",
    },
  );
}

function onPullRequest(fork: string, command: string): KilnError {
  return new KilnError(`A pull request of ${fork} may not ${command}: ${DANGER}`, {
    state: "Nothing was changed.",
    next: "Use `dry-run: true` or `command: status` on pull requests, and release on `push`, after the merge.",
  });
}

/** The repository that code comes from, where it is another than this one; a deleted fork has no name, and is one. */
function forkOf(origin: unknown, repository: string): string | undefined {
  const name = textOf(origin, "full_name");
  if (name === undefined || !/^[\w.-]{1,100}\/[\w.-]{1,100}$/.test(name)) return "an unknown repository";
  return name.toLowerCase() === repository.toLowerCase() ? undefined : name;
}
