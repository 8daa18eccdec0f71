import { readFile } from "node:fs/promises";
import { KilnError } from "../domain/errors.ts";
import type { Inputs } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/** Events whose code may be a fork's; `pull_request_target` runs with secrets whosever it is, and is no matter of degree. */
const PULL_REQUEST_EVENTS: ReadonlySet<string> = new Set([
  "pull_request",
  "pull_request_review",
  "pull_request_review_comment",
]);

/**
 * Refuses a run whose checked-out code may be a stranger's: config file, template and provisioners are read from there,
 * and would be run with this repository's credentials. Called before any of them is read.
 * @throws KilnError that says whose code it is and what to do instead
 */
export async function refuseForeignCode(
  { run, eventPath }: Pick<Runner, "run" | "eventPath">,
  inputs: Pick<Inputs, "command" | "dryRun" | "allowPullRequestTarget">,
): Promise<void> {
  const { event, repository } = run;
  if (event === "pull_request_target") {
    if (!inputs.allowPullRequestTarget) throw onTarget();
  } else if (event === "workflow_run") {
    if (inputs.allowPullRequestTarget) return;
    const started = fieldOf(await readPayload(eventPath), "workflow_run");
    const fork = forkOf(fieldOf(started, "head_repository"), repository);
    if (fork !== undefined) throw onWorkflowRun(fork);
  } else if (PULL_REQUEST_EVENTS.has(event)) {
    // GitHub gives such a run no secrets, and a token that only reads: it may look, at what it can.
    if (inputs.dryRun || inputs.command === "status") return;
    const head = fieldOf(fieldOf(await readPayload(eventPath), "pull_request"), "head");
    const fork = forkOf(fieldOf(head, "repo"), repository);
    if (fork !== undefined) throw onPullRequest(fork, inputs.command);
  }
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

function onPullRequest(fork: string, command: string): KilnError {
  return new KilnError(`A pull request of ${fork} may not ${command}: ${DANGER}`, {
    state: "Nothing was changed.",
    next: "Use `dry-run: true` or `command: status` on pull requests, and release on `push`, after the merge.",
  });
}

/** The repository that code comes from, where it is another than this one; a deleted fork has no name, and is one. */
function forkOf(origin: unknown, repository: string): string | undefined {
  const name = fieldOf(origin, "full_name");
  if (typeof name !== "string" || !/^[\w.-]{1,100}\/[\w.-]{1,100}$/.test(name))
    return "an unknown repository";
  return name.toLowerCase() === repository.toLowerCase() ? undefined : name;
}

/** What GitHub tells about the event; undefined where that cannot be read, and then nothing is known to be ours. */
async function readPayload(path: string | undefined): Promise<unknown> {
  if (path === undefined) return undefined;
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}
