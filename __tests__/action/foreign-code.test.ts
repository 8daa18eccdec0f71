import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { refuseCommentedCode, refuseForeignCode } from "../../src/action/foreign-code.ts";
import { COMMANDS } from "../../src/action/inputs.ts";
import { readRunner } from "../../src/action/runner.ts";
import { KilnError } from "../../src/domain/errors.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-events-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const DEPLOY = {
  command: "deploy",
  dryRun: false,
  allowPullRequest: false,
  allowPullRequestTarget: false,
} as const;

/** What the action says of a run that an event started; undefined: it goes on. */
async function refusal(
  event: string,
  payload: unknown,
  inputs: Partial<Parameters<typeof refuseForeignCode>[1]> = {},
): Promise<KilnError | undefined> {
  const path = join(folder, "event.json");
  await writeFile(path, typeof payload === "string" ? payload : JSON.stringify(payload));
  const runner = readRunner({
    GITHUB_WORKSPACE: "/w",
    RUNNER_TEMP: "/t",
    GITHUB_REPOSITORY: "acme/web",
    GITHUB_RUN_ID: "1",
    GITHUB_SHA: "a".repeat(40),
    GITHUB_REF: "refs/pull/1/merge",
    GITHUB_EVENT_NAME: event,
    GITHUB_EVENT_PATH: path,
  });
  try {
    refuseForeignCode(runner, { ...DEPLOY, ...inputs });
    return undefined;
  } catch (error) {
    if (error instanceof KilnError) return error;
    throw error;
  }
}

const pullRequest = (repo: unknown): unknown => ({ pull_request: { head: { repo } } });
const workflowRun = (head_repository: unknown, event = "pull_request"): unknown => ({
  workflow_run: { event, head_repository },
});
const OWN = { full_name: "acme/web" };
const FORK = { full_name: "mallory/web" };

describe("pull_request_target", () => {
  test.each(COMMANDS)("is refused for %s", async (command) => {
    const error = await refusal("pull_request_target", pullRequest(OWN), { command });
    expect(error?.message).toBe(
      "Kiln does not run on pull_request_target: a pull request may be anybody's, and its code would run with this repository's credentials",
    );
    expect(error?.state).toBe("Nothing was changed.");
    expect(error?.next).toContain("allow-pull-request-target: true");
  });

  test("is refused for a dry run too, which reads config and template", async () => {
    expect(await refusal("pull_request_target", pullRequest(OWN), { dryRun: true })).toBeDefined();
  });

  test("runs where it is allowed", async () => {
    const allowed = { allowPullRequestTarget: true };
    expect(await refusal("pull_request_target", pullRequest(FORK), allowed)).toBeUndefined();
  });
});

describe("a workflow_run", () => {
  test.each([
    ["of a fork's pull request", workflowRun(FORK)],
    ["of a fork's push, if there were one", workflowRun(FORK, "push")],
    ["of a deleted fork", workflowRun(null)],
    ["without head repository", { workflow_run: { event: "pull_request" } }],
    ["whose payload is nothing", {}],
    ["whose payload is no JSON", "{"],
    ["whose names are in the prototype only", '{"__proto__":{"workflow_run":{"head_repository":1}}}'],
  ])("%s is refused, also for a dry run", async (_, payload) => {
    expect((await refusal("workflow_run", payload, { dryRun: true }))?.message).toMatch(
      /^This workflow_run was started by the code of (mallory\/web|an unknown repository): /,
    );
  });

  test("of this repository runs", async () => {
    expect(await refusal("workflow_run", workflowRun(OWN, "push"))).toBeUndefined();
    expect(await refusal("workflow_run", workflowRun({ full_name: "Acme/Web" }, "push"))).toBeUndefined();
  });

  describe.each(["pull_request", "pull_request_target", "pull_request_review"])(
    "that a %s started",
    (event) => {
      test.each(["deploy", "bake"] as const)("does not %s, unless that is allowed", async (command) => {
        expect((await refusal("workflow_run", workflowRun(OWN, event), { command }))?.message).toBe(
          `Kiln does not ${command} on a workflow_run that a ${event} started: what a pull request bakes is used again for the same content, in production too`,
        );
        const allowed = { command, allowPullRequest: true };
        expect(await refusal("workflow_run", workflowRun(OWN, event), allowed)).toBeUndefined();
      });

      test("looks, and does what bakes nothing", async () => {
        expect(await refusal("workflow_run", workflowRun(OWN, event), { dryRun: true })).toBeUndefined();
        expect(
          await refusal("workflow_run", workflowRun(OWN, event), { command: "rollback" }),
        ).toBeUndefined();
      });
    },
  );

  test("that nothing says the start of bakes nothing", async () => {
    const payload = { workflow_run: { head_repository: OWN } };
    expect((await refusal("workflow_run", payload))?.message).toContain("that a pull_request started");
  });

  test("of a fork runs where it is allowed", async () => {
    expect(
      await refusal("workflow_run", workflowRun(FORK), { allowPullRequestTarget: true }),
    ).toBeUndefined();
  });
});

describe("a pull request of a fork", () => {
  const changing = COMMANDS.filter((command) => command !== "status");

  test.each(changing)("may not %s", async (command) => {
    const error = await refusal("pull_request", pullRequest(FORK), { command });
    expect(error?.message).toBe(
      `A pull request of mallory/web may not ${command}: its code would run with this repository's credentials`,
    );
  });

  test.each(["pull_request_review", "pull_request_review_comment"])("may not on %s", async (event) => {
    expect(await refusal(event, pullRequest(FORK))).toBeDefined();
  });

  test("that was deleted may not either, nor one that nothing tells of", async () => {
    expect(await refusal("pull_request", pullRequest(null))).toBeDefined();
    expect(await refusal("pull_request", "not json")).toBeDefined();
  });

  test("is not allowed by what is for pull_request_target", async () => {
    expect(await refusal("pull_request", pullRequest(FORK), { allowPullRequestTarget: true })).toBeDefined();
  });

  test("may look: status, and a dry run", async () => {
    expect(await refusal("pull_request", pullRequest(FORK), { command: "status" })).toBeUndefined();
    expect(await refusal("pull_request", pullRequest(FORK), { dryRun: true })).toBeUndefined();
  });

  test("has a name that is a name, or none", async () => {
    const error = await refusal("pull_request", pullRequest({ full_name: "x/y\n::add-mask::z" }));
    expect(error?.message).toContain("of an unknown repository may not");
  });
});

test("a merge queue bakes nothing before the merge, unless that is allowed", async () => {
  for (const command of ["deploy", "bake"] as const) {
    const error = await refusal("merge_group", {}, { command });
    expect(error?.message).toContain(`Kiln does not ${command} on merge_group: `);
    expect(await refusal("merge_group", {}, { command, dryRun: true })).toBeUndefined();
    expect(await refusal("merge_group", {}, { command, allowPullRequest: true })).toBeUndefined();
  }
  expect(await refusal("merge_group", {}, { command: "rollback" })).toBeUndefined();
});

test.each(["push", "workflow_dispatch", "schedule", "release"])(
  "what %s started is not asked",
  async (event) => {
    expect(await refusal(event, pullRequest(FORK))).toBeUndefined();
  },
);

describe("a pull request of this repository", () => {
  const events = ["pull_request", "pull_request_review", "pull_request_review_comment"];
  const bakes = ["deploy", "bake"] as const;

  test.each(events.flatMap((event) => bakes.map((command) => [event, command] as const)))(
    "%s does not %s",
    async (event, command) => {
      const error = await refusal(event, pullRequest(OWN), { command });
      expect(error?.message).toBe(
        `Kiln does not ${command} on ${event}: what a pull request bakes is used again for the same content, in production too`,
      );
      expect(error?.state).toBe("Nothing was changed.");
      expect(error?.next).toContain("`allow-pull-request: true`");
    },
  );

  test.each(bakes)("may %s where that is allowed, a fork's still not", async (command) => {
    const allowed = { command, allowPullRequest: true };
    expect(await refusal("pull_request", pullRequest(OWN), allowed)).toBeUndefined();
    expect((await refusal("pull_request", pullRequest(FORK), allowed))?.message).toContain("mallory/web");
  });

  test("is not allowed by what is for pull_request_target", async () => {
    expect(await refusal("pull_request", pullRequest(OWN), { allowPullRequestTarget: true })).toBeDefined();
  });

  test.each(bakes)("may plan a %s", async (command) => {
    expect(await refusal("pull_request", pullRequest(OWN), { command, dryRun: true })).toBeUndefined();
  });

  test.each(COMMANDS.filter((command) => command !== "deploy" && command !== "bake"))(
    "may %s, which bakes nothing",
    async (command) => {
      expect(await refusal("pull_request", pullRequest(OWN), { command })).toBeUndefined();
    },
  );
});

describe("a commit that a comment had checked out", () => {
  const SHA = "a".repeat(40);
  const OTHER = "b".repeat(40);
  const onPull = { issue: { pull_request: { url: "https://api.github.com/…" } } };

  function refused(
    event: string,
    checkout: { readonly commit: string; readonly branch: string | undefined },
    payload: unknown,
    inputs: Partial<Parameters<typeof refuseCommentedCode>[2]> = {},
  ): string {
    const { run } = readRunner({
      GITHUB_WORKSPACE: "/w",
      RUNNER_TEMP: "/t",
      GITHUB_REPOSITORY: "acme/web",
      GITHUB_RUN_ID: "1",
      GITHUB_SHA: SHA,
      GITHUB_REF: "refs/heads/main",
      GITHUB_EVENT_NAME: event,
    });
    try {
      refuseCommentedCode({ run, payload }, { ...checkout, candidates: [] }, { ...DEPLOY, ...inputs });
      return "";
    } catch (error) {
      if (error instanceof KilnError) return error.message;
      throw error;
    }
  }

  test.each(["issue_comment", "issues", "discussion", "discussion_comment"])(
    "on %s may be anybody's where it is on no branch, also for a dry run",
    (event) => {
      const checkout = { commit: OTHER, branch: undefined };
      const message =
        /^Commit b{12}, which this \w+ has checked out, is on no branch that Kiln can name: it may be anybody's/;
      expect(refused(event, checkout, onPull)).toMatch(message);
      expect(refused(event, checkout, {}, { dryRun: true, allowPullRequest: true })).toMatch(message);
      expect(refused(event, checkout, onPull, { allowPullRequestTarget: true })).toBe("");
    },
  );

  test("may be anybody's where a workflow that a comment started has ended", () => {
    const checkout = { commit: OTHER, branch: undefined };
    const startedBy = (event: string): unknown => ({ workflow_run: { event } });
    expect(refused("workflow_run", checkout, startedBy("issue_comment"))).toMatch(
      /^Commit b{12}, which this issue_comment has checked out, is on no branch that Kiln can name/,
    );
    expect(refused("workflow_run", checkout, startedBy("push"))).toBe("");
  });

  test("is a pull request's where the comment is on one", () => {
    const checkout = { commit: OTHER, branch: "feature/x" };
    expect(refused("issue_comment", checkout, onPull)).toMatch(
      /^Kiln does not deploy on the pull request that this issue_comment is about: /,
    );
    expect(refused("issue_comment", checkout, onPull, { allowPullRequest: true })).toBe("");
    expect(refused("issue_comment", checkout, onPull, { dryRun: true })).toBe("");
  });

  test.each([
    ["the default branch's own", "issue_comment", { commit: SHA, branch: "main" }, onPull],
    ["the default branch's newest", "issue_comment", { commit: OTHER, branch: "main" }, onPull],
    [
      "another branch's, asked for in an issue",
      "issue_comment",
      { commit: OTHER, branch: "develop" },
      { issue: {} },
    ],
    ["of whoever may start the workflow", "workflow_dispatch", { commit: OTHER, branch: undefined }, {}],
    ["pushed", "push", { commit: OTHER, branch: undefined }, {}],
  ])("%s is none", (_, event, checkout, payload) => {
    expect(refused(event, checkout, payload)).toBe("");
  });
});
