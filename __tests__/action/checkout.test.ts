import { describe, expect, test } from "vitest";
import { pushOf, readCheckout } from "../../src/action/checkout.ts";
import { deletedRef } from "../../src/action/event-payload.ts";
import type { Head } from "../../src/action/head.ts";
import { readRunner, type Runner } from "../../src/action/runner.ts";

const RUN = "a".repeat(40);
const OTHER = "b".repeat(40);
const TIP = "c".repeat(40);

function runner(event: string, ref: string, payload: unknown = {}): Runner {
  const read = readRunner({
    GITHUB_WORKSPACE: "/w",
    RUNNER_TEMP: "/t",
    GITHUB_REPOSITORY: "acme/web",
    GITHUB_RUN_ID: "1",
    GITHUB_SHA: RUN,
    GITHUB_REF: ref,
    GITHUB_EVENT_NAME: event,
  });
  return { ...read, payload };
}

/** A repository with branches and the commits before their tips, and what it was asked. */
class Branches {
  readonly asked: string[] = [];
  readonly #tips: Readonly<Record<string, string>>;
  readonly #before: Readonly<Record<string, readonly string[]>>;

  constructor(
    tips: Readonly<Record<string, string>>,
    before: Readonly<Record<string, readonly string[]>> = {},
  ) {
    this.#tips = tips;
    this.#before = before;
  }

  async readRef(ref: string): Promise<string | undefined> {
    this.asked.push(ref);
    return Object.hasOwn(this.#tips, ref) ? this.#tips[ref] : undefined;
  }

  async isAncestor(commit: string, of: string): Promise<boolean> {
    this.asked.push(`${commit[0]} before ${of[0]}`);
    return this.#before[of]?.includes(commit) === true;
  }
}

const at = (commit: string, branch?: string): Head => ({ commit, branch });
const workflowRun = (fields: object): unknown => ({ workflow_run: { event: "push", ...fields } });

describe("the branch that the checked-out commit is on", () => {
  test("is the run's own where the run's commit is checked out, and nobody is asked", async () => {
    const branches = new Branches({});
    const checkout = await readCheckout(runner("push", "refs/heads/release/1"), at(RUN, "main"), branches);
    expect(checkout).toMatchObject({ commit: RUN, branch: "release/1" });
    expect(branches.asked).toEqual([]);
  });

  test.each(["refs/tags/v1", "refs/pull/1/merge"])("is none for %s, and nobody is asked", async (ref) => {
    const branches = new Branches({ "refs/heads/v1": RUN });
    expect((await readCheckout(runner("push", ref), at(RUN), branches)).branch).toBeUndefined();
    expect(branches.asked).toEqual([]);
  });

  test.each<[what: string, head: Head, branch: string | undefined, asked: string[]]>([
    ["the one that is checked out by name", at(OTHER, "develop"), "develop", ["refs/heads/develop"]],
    [
      "the one that is checked out by name, which has gone on",
      at("d".repeat(40), "develop"),
      "develop",
      ["refs/heads/develop", "d before b"],
    ],
    [
      "the run's, of which an earlier commit is checked out",
      at("e".repeat(40)),
      "main",
      ["refs/heads/main", "e before c"],
    ],
    ["the run's, of which the newest is checked out", at(TIP), "main", ["refs/heads/main"]],
    [
      "none, for a commit that GitHub does not have",
      at("f".repeat(40), "main"),
      undefined,
      ["refs/heads/main", "f before c"],
    ],
    [
      "none of that name",
      at("f".repeat(40), "hotfix"),
      undefined,
      ["refs/heads/hotfix", "refs/heads/main", "f before c"],
    ],
    ["none that is no name", at("f".repeat(40), "../tags/v1"), undefined, ["refs/heads/main", "f before c"]],
  ])("is %s", async (_, head, branch, asked) => {
    const branches = new Branches(
      { "refs/heads/main": TIP, "refs/heads/develop": OTHER },
      { [TIP]: ["e".repeat(40)], [OTHER]: ["d".repeat(40)] },
    );
    const checkout = await readCheckout(runner("workflow_dispatch", "refs/heads/main"), head, branches);
    expect(checkout).toMatchObject({ commit: head.commit, branch });
    expect(branches.asked).toEqual(asked);
  });
});

describe("a workflow_run, which GitHub runs on the default branch", () => {
  const branches = (): Branches =>
    new Branches({ "refs/heads/main": TIP, "refs/heads/develop": OTHER }, { [TIP]: [RUN] });
  const started = (fields: object): Runner => runner("workflow_run", "refs/heads/main", workflowRun(fields));

  test("is of the branch that the other workflow ran for, where its commit is checked out", async () => {
    const of = started({ head_branch: "develop", head_sha: OTHER });
    expect((await readCheckout(of, at(OTHER), branches())).branch).toBe("develop");
    expect(pushOf(of, OTHER)).toEqual({ branch: "develop" });
  });

  test("is of that branch also where the default branch is at the same commit", async () => {
    const of = started({ head_branch: "develop", head_sha: RUN });
    const same = new Branches({ "refs/heads/main": RUN, "refs/heads/develop": RUN });
    expect((await readCheckout(of, at(RUN, "main"), same)).branch).toBe("develop");
    expect(pushOf(of, RUN)).toEqual({ branch: "develop" });
  });

  test("is of the default branch where that is what is checked out, and for no push", async () => {
    const of = started({ head_branch: "develop", head_sha: OTHER });
    const asked = branches();
    expect((await readCheckout(of, at(RUN, "main"), asked)).branch).toBe("main");
    expect(asked.asked).toEqual([]);
    expect(pushOf(of, RUN)).toBeUndefined();
  });

  test("of a push to the default branch asks nobody", async () => {
    const asked = branches();
    const of = started({ head_branch: "main", head_sha: RUN });
    expect((await readCheckout(of, at(RUN, "main"), asked)).branch).toBe("main");
    expect(asked.asked).toEqual([]);
  });

  test("for a tag that is named as a branch is of no branch", async () => {
    const of = started({ head_branch: "develop", head_sha: "f".repeat(40) });
    const checkout = await readCheckout(of, at("f".repeat(40)), branches());
    expect(checkout.branch).toBeUndefined();
    expect(checkout.candidates).toEqual(["develop", "main"]);
  });

  test.each(["pull_request", "schedule", "release"])("of a %s is for no push", (event) => {
    expect(pushOf(started({ event, head_branch: "develop", head_sha: OTHER }), OTHER)).toBeUndefined();
  });

  test.each([{}, { workflow_run: null }, { workflow_run: { event: "push", head_sha: 1 } }, undefined])(
    "of which %j is told is for no push",
    async (payload) => {
      const of = runner("workflow_run", "refs/heads/main", payload);
      expect(pushOf(of, OTHER)).toBeUndefined();
      expect((await readCheckout(of, at(RUN), branches())).branch).toBe("main");
    },
  );
});

test("what another event's payload says of a workflow counts for nothing", async () => {
  const payload = workflowRun({ head_branch: "develop", head_sha: OTHER });
  const branches = new Branches({ "refs/heads/develop": OTHER });
  const of = runner("repository_dispatch", "refs/heads/main", payload);
  expect(pushOf(of, OTHER)).toBeUndefined();
  expect((await readCheckout(of, at(OTHER), branches)).branch).toBeUndefined();
});

describe("a push", () => {
  test("is of its branch, or of none", () => {
    expect(pushOf(runner("push", "refs/heads/a/b"), OTHER)).toEqual({ branch: "a/b" });
    expect(pushOf(runner("push", "refs/tags/v1"), OTHER)).toEqual({ branch: undefined });
    expect(pushOf(runner("workflow_dispatch", "refs/heads/main"), OTHER)).toBeUndefined();
  });

  test.each<[what: string, event: string, payload: unknown, deleted: string | undefined]>([
    ["that deletes a branch", "push", { deleted: true, ref: "refs/heads/feature/x" }, "refs/heads/feature/x"],
    ["that deletes what is not told", "push", { deleted: true }, "a ref"],
    ["that deletes nothing", "push", { deleted: false, ref: "refs/heads/main" }, undefined],
    ["that does not say", "push", {}, undefined],
    ["that says something else", "push", { deleted: "true" }, undefined],
    ["that is none", "workflow_dispatch", { deleted: true, ref: "refs/heads/x" }, undefined],
    ["that is none and says nothing", "schedule", undefined, undefined],
  ])("%s", (_, event, payload, deleted) => {
    expect(deletedRef(runner(event, "refs/heads/main", payload))).toBe(deleted);
  });

  test.each([undefined, null, 1, "x"])(
    "of which %j is told may have deleted a branch: it is refused",
    (payload) => {
      expect(() => deletedRef({ ...runner("push", "refs/heads/main"), payload })).toThrow(
        "Kiln cannot read the push that started this run",
      );
    },
  );
});
