import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { createRepository as createBare, type GitHubRepository } from "../../sandbox/github/repository.ts";
import { type GitHubServer, startGitHubServer } from "../../sandbox/github/server.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { createOctokit } from "../../src/github/client.ts";
import { createRepository, type Repository } from "../../src/github/repository.ts";

/** Trees, commits and comparisons by the real client, against the sandbox's GitHub, which stores them with real git. */

const tokens = {
  writer: { login: "deployer", permissions: { contents: "write", actions: "read" } },
} as const;
const REF = `refs/kiln/images/${"d".repeat(64)}`;
const AUTHOR = { name: "ada", email: "ada@users.noreply.github.com" };
const DATE = new Date("2026-11-18T10:05:00.987Z");

let folder: string;
let bare: GitHubRepository;
let server: GitHubServer;
const log = new RequestLog();
const faults = new Faults();

async function open(
  graphql: "on" | "missing" | "forbidden" = "on",
  updateRefs: "any-ref" | "heads-and-tags" = "any-ref",
): Promise<Repository> {
  server = await startGitHubServer({
    clock: createClock(),
    log,
    faults,
    repositories: [bare],
    tokens,
    graphql,
    updateRefs,
  });
  let slept = 0;
  const octokit = createOctokit({
    token: "writer",
    apiUrl: server.apiUrl,
    userAgent: "test",
    clock: {
      now: () => new Date(Date.now() + slept),
      sleep: async (milliseconds) => {
        slept += milliseconds;
      },
    },
    log: { debug: () => undefined, notice: () => undefined },
  });
  return createRepository(octokit, "acme/shop");
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kiln-repository-"));
  bare = await createBare({ owner: "acme", name: "shop", path: join(folder, "shop") });
  await bare.addCommit({ message: "one\n\nbody", files: { "a.txt": "1" } });
});

afterEach(async () => {
  await server.close();
  log.clear();
  faults.clear();
  rmSync(folder, { recursive: true, force: true });
});

const actions = (): string[] => log.entries.map(({ action }) => action);

async function commitOf(
  repository: Repository,
  files: Record<string, string>,
  parent?: string,
): Promise<string> {
  const tree = await repository.createTree(files);
  return repository.createCommit({ tree, parent, message: "Image\n", author: AUTHOR, date: DATE });
}

describe("a commit of files", () => {
  test("is the same one however often it is made, and its ref only moves forward", async () => {
    const repository = await open();
    const first = await commitOf(repository, { "packages.txt": "bash 5.2\n" });
    expect(await commitOf(repository, { "packages.txt": "bash 5.2\n" })).toBe(first);
    expect(await repository.createRef(REF, first)).toBe("created");
    const second = await commitOf(repository, { "packages.txt": "bash 5.3\n" }, first);
    const beside = await commitOf(repository, { "packages.txt": "bash 6\n" });
    expect(await repository.updateRef(REF, second)).toBe("updated");
    expect(await repository.updateRef(REF, second)).toBe("updated");
    expect(await repository.updateRef(REF, beside)).toBe("refused");
    expect(await repository.updateRef(`${REF}0`, beside)).toBe("refused");
    expect(await bare.refTarget(REF)).toBe(second);
    expect(await repository.treeOf(second)).not.toBe(await repository.treeOf(first));
  });

  test("is made once also where an answer is lost", async () => {
    const repository = await open();
    for (const action of ["trees", "commits", "refs"]) {
      faults.inject({ action: `POST /repos/acme/shop/git/${action}` }, { kind: "drop-after" });
    }
    const commit = await commitOf(repository, { "packages.txt": "bash 5.2\n" });
    expect(await repository.createRef(REF, commit)).toBe("created");
    expect(await repository.readRef(REF)).toBe(commit);
    faults.inject({ action: /^PATCH/ }, { kind: "drop-after" });
    const second = await commitOf(repository, { "packages.txt": "bash 5.3\n" }, commit);
    expect(await repository.updateRef(REF, second)).toBe("updated");
  });
});

describe.each(["on", "missing", "forbidden"] as const)("files of commits, with GraphQL %s", (graphql) => {
  test("are read by commit and by ref, with their parents", async () => {
    const repository = await open(graphql);
    const first = await commitOf(repository, { "packages.txt": "bash 5.2\n", "é.txt": "ü\n" });
    const long = "x 1\n".repeat(200_000);
    const second = await commitOf(repository, { "packages.txt": long }, first);
    await repository.createRef(REF, second);
    log.clear();
    const read = await repository.readCommitFiles([first, REF, "0".repeat(40), `${REF}1`]);
    expect(read).toStrictEqual(
      new Map([
        [
          first,
          {
            commit: first,
            parents: [],
            files: new Map([
              ["packages.txt", "bash 5.2\n"],
              ["é.txt", "ü\n"],
            ]),
          },
        ],
        [REF, { commit: second, parents: [first], files: new Map([["packages.txt", long]]) }],
      ]),
    );
    // In GraphQL one request, and one of its own for the text that is too long for it; in REST one an object.
    expect(actions().filter((action) => action !== "POST /graphql")).toHaveLength(graphql === "on" ? 1 : 10);
  });
});

describe("a comparison", () => {
  test("counts both ways, names the newest first, and is asked for once", async () => {
    const repository = await open();
    const [base] = [await bare.refTarget("refs/heads/main")];
    const two = await bare.addCommit({ message: "two\n\nbody", files: { "a.txt": "2" } });
    const three = await bare.addCommit({ message: "three", files: { "a.txt": "3" } });
    log.clear();
    const wanted = {
      ahead: 2,
      behind: 0,
      commits: [
        { commit: three, subject: "three" },
        { commit: two, subject: "two" },
      ],
    };
    expect(await repository.compare(base ?? "", three)).toStrictEqual(wanted);
    expect(await repository.compare(base ?? "", three)).toStrictEqual(wanted);
    expect(await repository.isAncestor(three, base ?? "")).toBe(false);
    expect(actions()).toHaveLength(1);
    expect(await repository.isAncestor(base ?? "", three)).toBe(true);
    expect(await repository.compare(three, base ?? "")).toStrictEqual({ ahead: 0, behind: 2, commits: [] });
    expect(actions()).toHaveLength(2);
  });

  test("of a commit that GitHub does not know is none, and is asked for again", async () => {
    const repository = await open();
    const tip = (await bare.refTarget("refs/heads/main")) ?? "";
    expect(await repository.compare(tip, "0".repeat(40))).toBeUndefined();
    expect(await repository.compare(tip, "0".repeat(40))).toBeUndefined();
    expect(await repository.isAncestor("0".repeat(40), tip)).toBe(false);
    expect(actions()).toHaveLength(3);
  });
});

test("a tag of a commit that GitHub does not have is refused with what to do", async () => {
  const repository = await open();
  const commit = "0123456789abcdef0123456789abcdef01234567";
  await expect(repository.createTag({ name: "v1", message: "v1\n", commit })).rejects.toMatchObject({
    message: "GitHub does not take a tag of commit 0123456789ab",
    code: "422",
    state: expect.stringMatching(
      /^Could not create the tag object v1 in acme\/shop\. GitHub answered 422: .*Object does not exist/,
    ),
    next: expect.stringMatching(/^Push the commit to the repository before this step/),
  });
  const tip = (await bare.refTarget("refs/heads/main")) ?? "";
  expect(await repository.createTag({ name: "v1", message: "v1\n", commit: tip })).toMatch(/^[0-9a-f]{40}$/);
});

describe("refs that change together", () => {
  const LOCK = "refs/kiln/lock/release/dev";
  const TAG = "refs/tags/release/dev/000001";

  /** A record and the lock that it is made under. */
  async function recordUnder(repository: Repository) {
    const commit = (await bare.refTarget("refs/heads/main")) ?? "";
    const [lock, record] = [
      await repository.createTag({ name: "kiln-lock-dev", message: "a lock", commit }),
      await repository.createTag({ name: "release/dev/000001", message: "a record", commit }),
    ];
    await repository.createRef(LOCK, lock);
    log.clear();
    const changes = [
      { ref: TAG, from: undefined, to: record },
      { ref: LOCK, from: lock, to: undefined },
    ];
    return { lock, record, changes };
  }
  const now = () => Promise.all([TAG, LOCK].map((ref) => bare.refTarget(ref)));

  test("are changed in one request, once the repository's id is known from another", async () => {
    const repository = await open();
    const { lock, record, changes } = await recordUnder(repository);
    const seen = await repository.readRefs({
      prefixes: ["refs/tags/release/dev/"],
      count: 1,
      refs: [LOCK, TAG],
    });
    expect(seen.refs).toEqual(
      new Map([
        [LOCK, lock],
        [TAG, undefined],
      ]),
    );
    expect(await repository.updateRefs(changes)).toBe("updated");
    expect(await now()).toEqual([record, undefined]);
    expect(actions()).toEqual(["POST /graphql", "POST /graphql"]);
  });

  test.each([
    ["another run's lock", LOCK],
    ["another record of the number", TAG],
  ])("are not changed over %s", async (_, ref) => {
    const repository = await open();
    const { lock, record, changes } = await recordUnder(repository);
    const other = await repository.createTag({
      name: "other",
      message: "another's",
      commit: (await bare.refTarget("refs/heads/main")) ?? "",
    });
    await bare.updateRefs([{ name: ref, after: other }]);
    expect(await repository.updateRefs(changes)).toBe("conflict");
    expect(await now()).toEqual(ref === TAG ? [other, lock] : [undefined, other]);
    expect(record).not.toBe(other);
  });

  test.each([
    ["the answer was lost", { kind: "drop-after" }],
    [
      "the answer was a server's error",
      { kind: "reply-after-effect", status: 502, code: "", message: "Bad" },
    ],
  ] as const)("are known to be changed when %s and the request was repeated", async (_, effect) => {
    const repository = await open();
    const { record, changes } = await recordUnder(repository);
    await repository.readRefs({ prefixes: [], count: 1, refs: [LOCK] });
    faults.inject({ action: "POST /graphql" }, effect);
    expect(await repository.updateRefs(changes)).toBe("updated");
    expect(await now()).toEqual([record, undefined]);
    faults.inject({ action: "POST /graphql" }, effect);
    // Of deletions alone, that they are gone.
    await bare.createRef(LOCK, record);
    expect(await repository.updateRefs([{ ref: LOCK, from: record, to: undefined }])).toBe("updated");
  });

  test.each([
    ["on", "heads-and-tags"],
    ["missing", "any-ref"],
    ["forbidden", "any-ref"],
  ] as const)(
    "cannot be, with GraphQL %s and updateRefs for %s: nothing changes, and it is tried once",
    async (graphql, scope) => {
      const repository = await open(graphql, scope);
      const { lock, changes } = await recordUnder(repository);
      expect(await repository.updateRefs(changes)).toBe("unsupported");
      expect(await now()).toEqual([undefined, lock]);
      log.clear();
      expect(await repository.updateRefs(changes)).toBe("unsupported");
      expect(actions()).toEqual([]);
    },
  );

  test("fail loudly where GitHub does not say: a token that has ended", async () => {
    const repository = await open();
    const { lock, changes } = await recordUnder(repository);
    const ended = { kind: "reply", status: 401, code: "", message: "Bad credentials" } as const;
    faults.inject({ action: "POST /graphql" }, ended);
    await expect(repository.updateRefs(changes)).rejects.toThrow("GitHub does not accept the token");
    expect(await now()).toEqual([undefined, lock]);
  });
});

test("the state of a run comes with its newest attempt", async () => {
  const repository = await open();
  bare.addRun({ id: 7, run_attempt: 2 });
  bare.addRun({ id: 8, status: "completed", conclusion: "failure" });
  expect(await repository.runState("7")).toEqual({ kind: "active", attempt: 2 });
  expect(await repository.runState("8")).toEqual({ kind: "ended", attempt: 1 });
  expect(await repository.runState("9")).toEqual({ kind: "gone" });
});
