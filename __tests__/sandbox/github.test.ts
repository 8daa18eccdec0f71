import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getOctokit } from "@actions/github";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { createRepository, type GitHubRepository } from "../../sandbox/github/repository.ts";
import {
  type GitHubServer,
  type GitHubServerOptions,
  startGitHubServer,
} from "../../sandbox/github/server.ts";
import { RequestLog } from "../../sandbox/request-log.ts";

/** The sandbox's GitHub through the real Octokit of @actions/github; what it stored is read back with plain git. */

const NOW = new Date("2026-11-20T10:00:00Z");
const tokens = {
  writer: { login: "deployer", permissions: { contents: "write", actions: "read" } },
  flows: { login: "app", permissions: { contents: "write", actions: "read", workflows: true } },
  reader: { login: "reader", permissions: { contents: "read", actions: "none" } },
  stranger: { login: "stranger", permissions: { contents: "none", actions: "none" } },
  old: { login: "deployer", permissions: { contents: "write", actions: "read" }, expired: true },
} as const;
const shop = { owner: "acme", repo: "shop" };
const secret = { owner: "acme", repo: "secret" };

let folder: string;
let repository: GitHubRepository;
let server: GitHubServer;
let first: string;
let second: string;
const log = new RequestLog();
const faults = new Faults();

async function start(options: Partial<GitHubServerOptions> = {}): Promise<GitHubServer> {
  const clock = createClock({ start: NOW });
  return startGitHubServer({ clock, log, faults, repositories: [repository], tokens, ...options });
}

function octokit(
  token: keyof typeof tokens = "writer",
  at: GitHubServer = server,
): ReturnType<typeof getOctokit> {
  return getOctokit(token, { baseUrl: at.apiUrl });
}

function git(...args: string[]): string {
  return execFileSync("git", [`--git-dir=${repository.path}`, ...args], { encoding: "utf8" });
}

/** Creates an annotated tag by the two calls that GitHub asks for; returns the tag object's sha. */
async function tag(name: string, object: string, message = `Release ${name}\n`): Promise<string> {
  const { rest } = octokit();
  const created = await rest.git.createTag({ ...shop, tag: name, message, object, type: "commit" });
  await rest.git.createRef({ ...shop, ref: `refs/tags/${name}`, sha: created.data.sha });
  return created.data.sha;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kiln-github-"));
});

beforeEach(async () => {
  repository = await createRepository({
    owner: "acme",
    name: "shop",
    path: mkdtempSync(join(folder, "shop-")),
  });
  const day = (number: number): Date => new Date(Date.UTC(2026, 10, number));
  first = await repository.addCommit({
    message: "one",
    files: { "a.txt": "1", "dir/b.txt": "b" },
    date: day(1),
  });
  second = await repository.addCommit({ message: "two", files: { "a.txt": "2" }, date: day(2) });
  server = await start();
});

afterEach(async () => {
  await server.close();
  log.clear();
  faults.clear();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("annotated tags", () => {
  const message =
    "Release production #42\n\nTwo commits.\n\nEnvironment: production\nImage: eu-west-1 ami-0abc\n";

  test("are real tag objects that plain git reads", async () => {
    const sha = await tag("release/production/000042", second, message);
    expect(git("cat-file", "tag", sha)).toBe(
      `object ${second}\ntype commit\ntag release/production/000042\n` +
        `tagger deployer <deployer@users.noreply.github.com> ${NOW.getTime() / 1000} +0000\n\n${message}`,
    );
    expect(git("rev-parse", "refs/tags/release/production/000042").trim()).toBe(sha);
    const format = "--format=%(contents:trailers:key=Image,valueonly)";
    expect(git("for-each-ref", format, "refs/tags/release").trim()).toBe("eu-west-1 ami-0abc");
    git("fsck", "--strict");
  });

  test("keep the message and the given tagger, and are read back in UTC", async () => {
    const { rest } = octokit();
    const created = await rest.git.createTag({
      ...shop,
      tag: "v1",
      message: "no newline — «ü»",
      object: first,
      type: "commit",
      tagger: { name: "Ada", email: "ada@example.test", date: "2026-11-19T12:00:00+02:00" },
    });
    expect(git("cat-file", "tag", created.data.sha)).toMatch(
      /tagger Ada <ada@example.test> \d+ \+0200\n\nno newline — «ü»$/,
    );
    const read = await rest.git.getTag({ ...shop, tag_sha: created.data.sha });
    expect(read.data).toEqual(created.data);
    expect(read.data).toMatchObject({
      tag: "v1",
      message: "no newline — «ü»",
      tagger: { name: "Ada", email: "ada@example.test", date: "2026-11-19T10:00:00Z" },
      object: { sha: first, type: "commit" },
      verification: { verified: false, reason: "unsigned" },
    });
  });

  test("need an object that exists and a valid name", async () => {
    const { rest } = octokit();
    const request = { ...shop, tag: "v1", message: "m", object: "1".repeat(40), type: "commit" } as const;
    await expect(rest.git.createTag(request)).rejects.toMatchObject({
      status: 422,
      message: /Object does not exist/,
    });
    await expect(rest.git.createTag({ ...request, object: second, tag: "a..b" })).rejects.toMatchObject({
      status: 422,
    });
    await expect(rest.git.createTag({ ...request, object: second, type: "tree" })).rejects.toMatchObject({
      status: 422,
    });
    await expect(octokit().request("POST /repos/acme/shop/git/tags", { tag: "x" })).rejects.toMatchObject({
      status: 422,
      message: /"message", "object", "type" weren't supplied/,
    });
    await expect(rest.git.getTag({ ...shop, tag_sha: second })).rejects.toMatchObject({ status: 404 });
  });
});

describe("refs", () => {
  test("are claimed once, also by ten at the same moment", async () => {
    const { rest } = octokit();
    const request = { ...shop, ref: "refs/kiln/lock/production", sha: second };
    const attempts = await Promise.allSettled(
      Array.from({ length: 10 }, async () => rest.git.createRef(request)),
    );
    const refusals = attempts.filter((attempt) => attempt.status === "rejected").map(({ reason }) => reason);
    expect(refusals).toHaveLength(9);
    expect(refusals).toEqual(
      refusals.map(() =>
        expect.objectContaining({ status: 422, message: expect.stringMatching(/^Reference already exists/) }),
      ),
    );
    expect(log.entries.filter(({ status }) => status === 201)).toHaveLength(1);
  });

  test.each([
    ["no refs/", "tags/v1", /refs/],
    ["one slash", "refs/v1", /two slashes/],
    ["not a name", "refs/tags/a..b", /^refs\/tags\/a\.\.b is not a valid ref name/],
    ["a space", "refs/tags/a b", /not a valid ref name/],
    ["below an existing ref", "refs/tags/v1/x", /^Reference update failed/],
    ["above an existing ref", "refs/tags/deep", /^Reference update failed/],
    ["a tag object as a branch", "refs/heads/tagged", /^Reference update failed/],
  ])("are refused: %s", async (_, ref, message) => {
    const sha = await tag("v1", second);
    await tag("deep/er", second);
    await expect(octokit().rest.git.createRef({ ...shop, ref, sha })).rejects.toMatchObject({
      status: 422,
      message,
    });
  });

  test("need an object", async () => {
    const request = { ...shop, ref: "refs/tags/x" };
    const { rest } = octokit();
    await expect(rest.git.createRef({ ...request, sha: "1".repeat(40) })).rejects.toMatchObject({
      status: 422,
      message: /^Object does not exist/,
      response: {
        data: { message: "Object does not exist", documentation_url: /git\/refs#create-a-reference/ },
      },
    });
    await expect(rest.git.createRef({ ...request, sha: "1" })).rejects.toMatchObject({ status: 422 });
  });

  test("are read by their exact name, and listed by prefix", async () => {
    const sha = await tag("release/prod/000001", first);
    await tag("release/prod/000002", second);
    await tag("release/prod-eu/000001", second);
    const { rest } = octokit();
    const read = await rest.git.getRef({ ...shop, ref: "tags/release/prod/000001" });
    expect(read.data).toMatchObject({ ref: "refs/tags/release/prod/000001", object: { sha, type: "tag" } });
    await expect(rest.git.getRef({ ...shop, ref: "tags/release/prod" })).rejects.toMatchObject({
      status: 404,
    });
    await expect(rest.git.getRef({ ...shop, ref: "tags/release/prod/00000" })).rejects.toMatchObject({
      status: 404,
    });
    const names = async (ref: string): Promise<string[]> =>
      (await rest.git.listMatchingRefs({ ...shop, ref })).data.map((found) => found.ref);
    expect(await names("tags/release/prod")).toEqual([
      "refs/tags/release/prod-eu/000001",
      "refs/tags/release/prod/000001",
      "refs/tags/release/prod/000002",
    ]);
    expect(await names("tags/release/prod/")).toEqual([
      "refs/tags/release/prod/000001",
      "refs/tags/release/prod/000002",
    ]);
    expect(await names("tags/none")).toEqual([]);
    expect(await names("heads/ma")).toEqual(["refs/heads/main"]);
  });

  test("are listed whole, or in pages when the server pages", async () => {
    for (let number = 1; number <= 5; number++) git("update-ref", `refs/tags/n/${number}`, second);
    const whole = await octokit().rest.git.listMatchingRefs({ ...shop, ref: "tags/n/", per_page: 2 });
    expect(whole.data).toHaveLength(5);
    expect(whole.headers.link).toBeUndefined();
    const paging = await start({ matchingRefs: "paged" });
    const pages = octokit("writer", paging);
    const page = await pages.rest.git.listMatchingRefs({ ...shop, ref: "tags/n/", per_page: 2 });
    expect(page.data.map(({ ref }) => ref)).toEqual(["refs/tags/n/1", "refs/tags/n/2"]);
    expect(page.headers.link).toContain('rel="next"');
    const all = await pages.paginate(pages.rest.git.listMatchingRefs, {
      ...shop,
      ref: "tags/n/",
      per_page: 2,
    });
    expect(all.map(({ ref }) => ref.at(-1))).toEqual(["1", "2", "3", "4", "5"]);
    await paging.close();
  });

  test("move forward, by force, and are deleted once", async () => {
    const { rest } = octokit();
    await rest.git.createRef({ ...shop, ref: "refs/heads/side", sha: first });
    const moved = await rest.git.updateRef({ ...shop, ref: "heads/side", sha: second });
    expect(moved.data.object.sha).toBe(second);
    const back = { ...shop, ref: "heads/side", sha: first };
    await expect(rest.git.updateRef(back)).rejects.toMatchObject({
      status: 422,
      message: /not a fast forward/,
    });
    await rest.git.updateRef({ ...back, force: true });
    expect(git("rev-parse", "refs/heads/side").trim()).toBe(first);
    expect((await rest.git.deleteRef({ ...shop, ref: "heads/side" })).status).toBe(204);
    const gone = { status: 422, message: /^Reference does not exist/ };
    await expect(rest.git.deleteRef({ ...shop, ref: "heads/side" })).rejects.toMatchObject(gone);
    await expect(rest.git.updateRef(back)).rejects.toMatchObject(gone);
  });

  test("an empty repository answers 409", async () => {
    const empty = await createRepository({ owner: "acme", name: "empty", path: join(folder, "empty") });
    const other = await start({ repositories: [empty] });
    const request = { owner: "acme", repo: "empty", ref: "tags/" };
    await expect(octokit("writer", other).rest.git.listMatchingRefs(request)).rejects.toMatchObject({
      status: 409,
    });
    await other.close();
  });
});

describe("permissions", () => {
  test("a token that is unknown or expired is 401", async () => {
    for (const token of ["nonsense", "old"]) {
      const { rest } = getOctokit(token, { baseUrl: server.apiUrl });
      await expect(rest.repos.get(shop)).rejects.toMatchObject({ status: 401, message: /^Bad credentials/ });
    }
    const anonymous = await fetch(`${server.apiUrl}/repos/acme/shop`);
    expect(anonymous.status).toBe(401);
    expect(await anonymous.json()).toMatchObject({ message: "Bad credentials", status: "401" });
  });

  test("writing without contents: write is 403 and names what is missing", async () => {
    const { rest } = octokit("reader");
    const denied = { status: 403, message: /^Resource not accessible by integration/ };
    const request = { ...shop, ref: "refs/tags/x", sha: second };
    await expect(rest.git.createRef(request)).rejects.toMatchObject({
      ...denied,
      response: {
        headers: { "x-accepted-github-permissions": "contents=write; contents=write,workflows=write" },
        data: { documentation_url: "https://docs.github.com/rest/git/refs#create-a-reference" },
      },
    });
    await expect(rest.git.deleteRef({ ...shop, ref: "heads/main" })).rejects.toMatchObject(denied);
    expect(git("rev-parse", "refs/heads/main").trim()).toBe(second);
    expect((await rest.repos.get(shop)).data.permissions?.push).toBe(false);
  });

  test("a private repository is 404 to strangers and its runs need actions: read", async () => {
    const hidden = await createRepository({
      owner: "acme",
      name: "secret",
      path: join(folder, "secret"),
      private: true,
    });
    await hidden.addCommit({ message: "one" });
    hidden.addRun({ id: 7 });
    const other = await start({ repositories: [repository, hidden] });
    const missing = { status: 404, message: /^Not Found/ };
    const stranger = octokit("stranger", other);
    await expect(stranger.rest.repos.get(secret)).rejects.toMatchObject(missing);
    await expect(
      stranger.rest.git.createRef({ ...secret, ref: "refs/tags/x", sha: first }),
    ).rejects.toMatchObject(missing);
    expect((await stranger.rest.repos.get(shop)).status).toBe(200);
    await expect(stranger.graphql('{repository(owner:"acme",name:"secret"){name}}')).rejects.toMatchObject({
      errors: [{ type: "NOT_FOUND", path: ["repository"] }],
    });
    const run = { ...secret, run_id: 7 };
    await expect(octokit("reader", other).rest.actions.getWorkflowRun(run)).rejects.toMatchObject({
      status: 403,
    });
    expect((await octokit("writer", other).rest.actions.getWorkflowRun(run)).data.status).toBe("in_progress");
    await other.close();
  });

  test("a token without contents sees a private repository, and nothing in it", async () => {
    const options = { owner: "acme", name: "bare", path: join(folder, "bare"), private: true };
    const hidden = await createRepository(options);
    await hidden.addCommit({ message: "one" });
    const permissions = { metadata: "read", contents: "none", actions: "none" } as const;
    const other = await start({
      repositories: [hidden],
      tokens: { reader: { login: "octocat", permissions } },
    });
    const bare = { owner: "acme", repo: "bare" };
    const job = octokit("reader", other);
    expect((await job.rest.repos.get(bare)).status).toBe(200);
    await expect(job.rest.git.getRef({ ...bare, ref: "heads/main" })).rejects.toMatchObject({
      status: 403,
      message: /^Resource not accessible by integration/,
      response: { headers: { "x-accepted-github-permissions": "contents=read" } },
    });
    await expect(
      job.graphql(
        '{repository(owner:"acme",name:"bare"){ refs(refPrefix:"refs/heads/",first:1){totalCount}}}',
      ),
    ).rejects.toMatchObject({
      errors: [{ type: "FORBIDDEN", path: ["repository", "refs"] }],
    });
    await other.close();
  });

  test("a commit with workflow changes that is no branch's tip can need workflows", async () => {
    const changed = await repository.addCommit({
      message: "ci",
      files: { ".github/workflows/ci.yml": "on: push" },
    });
    const { rest } = octokit();
    const create = async (ref: string, by = rest): Promise<unknown> =>
      by.git.createRef({ ...shop, ref, sha: changed });
    const denied = { status: 403, message: /^Resource not accessible by integration/ };
    repository.workflowRule = "not-a-branch-tip";
    await create("refs/tags/tip");
    const tip = await repository.addCommit({ message: "next" });
    await expect(create("refs/tags/later")).rejects.toMatchObject(denied);
    await expect(create("refs/kiln/lock/production")).rejects.toMatchObject(denied);
    await create("refs/tags/later", octokit("flows").rest);
    await rest.git.createRef({ ...shop, ref: "refs/tags/plain", sha: tip });
    await rest.git.createRef({ ...shop, ref: "refs/tags/older", sha: first });
    repository.workflowRule = "unreferenced";
    await create("refs/tags/referenced");
    for (const name of ["tip", "later", "referenced"]) git("update-ref", "-d", `refs/tags/${name}`);
    await expect(create("refs/tags/again")).rejects.toMatchObject(denied);
    repository.workflowRule = "off";
    await create("refs/tags/again");
  });
});

describe("GraphQL", () => {
  const listing = `query($owner:String!,$repo:String!,$prefix:String!){ repository(owner:$owner,name:$repo){
    refs(refPrefix:$prefix, first:20, orderBy:{field:ALPHABETICAL,direction:DESC}){
      totalCount pageInfo{hasNextPage endCursor}
      nodes{ name prefix target{ __typename oid ... on Tag { name message tagger{name email date}
        target{ __typename oid ... on Commit {committedDate message} } }
        ... on Commit { subject: messageHeadline } } } } } }`;

  interface Listing {
    repository: {
      refs: {
        totalCount: number;
        pageInfo: { hasNextPage: boolean; endCursor: string };
        nodes: { name: string; prefix: string; target: { oid: string; message: string } }[];
      };
    };
  }

  test("lists records newest first, with their messages, in one request", async () => {
    await tag("release/production/000001", first, "Release production #1\n\nImage: eu-west-1 ami-1\n");
    await tag("release/production/000002", second, "Release production #2\n");
    const sha = await tag("release/production/000010", first, "Rollback\n");
    await tag("release/staging/000099", first);
    const mark = log.entries.length;
    const prefix = "refs/tags/release/production/";
    const { repository: found } = await octokit("reader").graphql<Listing>(listing, { ...shop, prefix });
    expect(found.refs.nodes.map(({ name }) => name)).toEqual(["000010", "000002", "000001"]);
    expect(found.refs).toMatchObject({ totalCount: 3, pageInfo: { hasNextPage: false } });
    expect(found.refs.nodes[0]).toEqual({
      name: "000010",
      prefix,
      target: {
        __typename: "Tag",
        oid: sha,
        name: "release/production/000010",
        message: "Rollback\n",
        tagger: {
          name: "deployer",
          email: "deployer@users.noreply.github.com",
          date: "2026-11-20T10:00:00Z",
        },
        target: { __typename: "Commit", oid: first, committedDate: "2026-11-01T00:00:00Z", message: "one" },
      },
    });
    expect(log.since(mark)).toMatchObject([{ action: "POST /graphql", writes: false, status: 200 }]);
  });

  test("sorts by the tagged commit's date on request, which misplaces a rollback", async () => {
    await tag("r/1", first);
    await tag("r/2", second);
    await tag("r/3", first);
    git("update-ref", "refs/tags/r/4", second);
    const query = `{repository(owner:"acme",name:"shop"){
      refs(refPrefix:"refs/tags/r/",first:10,orderBy:{field:TAG_COMMIT_DATE,direction:DESC}){nodes{name}}}}`;
    const { repository: found } = await octokit().graphql<Listing>(query);
    expect(found.refs.nodes.map(({ name }) => name)).toEqual(["4", "2", "3", "1"]);
  });

  test("takes aliases, several listings, single refs and objects in one query", async () => {
    await tag("release/a/000001", first);
    await tag("release/b/000001", second);
    const one = "first:1,orderBy:{field:ALPHABETICAL,direction:DESC}";
    const result = await octokit().graphql(`{ repository(owner:"ACME",name:"shop"){
      a: refs(refPrefix:"refs/tags/release/a/",${one}){nodes{name target{... on Tag{target{oid}}}}}
      b: refs(refPrefix:"refs/tags/release/b/",${one}){nodes{name target{... on Tag{target{oid}}}}}
      none: refs(refPrefix:"refs/tags/release/c/",${one}){totalCount nodes{name}}
      ref(qualifiedName:"refs/heads/main"){name prefix target{oid}}
      absent: ref(qualifiedName:"refs/heads/none"){name}
      file: object(expression:"main:a.txt"){... on Blob{text}}
      missing: object(oid:"${"1".repeat(40)}"){oid}
      defaultBranchRef{name} } }`);
    expect(result).toEqual({
      repository: {
        a: { nodes: [{ name: "000001", target: { target: { oid: first } } }] },
        b: { nodes: [{ name: "000001", target: { target: { oid: second } } }] },
        none: { totalCount: 0, nodes: [] },
        ref: { name: "main", prefix: "refs/heads/", target: { oid: second } },
        absent: null,
        file: { text: "2" },
        missing: null,
        defaultBranchRef: { name: "main" },
      },
    });
  });

  test("pages with cursors, filters by name, and has GitHub's bounds", async () => {
    for (let number = 1; number <= 5; number++) git("update-ref", `refs/tags/n/${number}`, second);
    const names = async (args: string): Promise<unknown> => {
      const query = `{repository(owner:"acme",name:"shop"){refs(refPrefix:"refs/tags/n/",${args}){nodes{name} pageInfo{hasNextPage endCursor}}}}`;
      const { refs } = (await octokit().graphql<Listing>(query)).repository;
      return [
        refs.nodes.map(({ name }) => name).join(""),
        refs.pageInfo.hasNextPage,
        refs.pageInfo.endCursor,
      ];
    };
    expect(await names("first:2")).toEqual(["12", true, "Mg=="]);
    expect(await names('first:3,after:"Mg=="')).toEqual(["345", false, "NQ=="]);
    expect(await names("last:2")).toEqual(["45", false, "NQ=="]);
    expect(await names('first:2,query:"4"')).toEqual(["4", false, "MQ=="]);
    await expect(names("first:101")).rejects.toMatchObject({ errors: [{ type: "EXCESSIVE_PAGINATION" }] });
    await expect(names('query:"1"')).rejects.toMatchObject({
      errors: [{ type: "MISSING_PAGINATION_BOUNDARIES" }],
    });
    await expect(octokit().graphql(listing, { ...shop, prefix: "refs/tags" })).rejects.toThrow(
      /must end with/,
    );
    await expect(octokit().graphql("{ nonsense }")).rejects.toThrow(/nonsense/);
  });

  test("holds the specification's rule on merging fields: a tag's message may be null, a commit's may not", async () => {
    const query = `{repository(owner:"acme",name:"shop"){object(oid:"${second}"){
      ... on Tag{message} ... on Commit{message}}}}`;
    await expect(octokit().graphql(query)).rejects.toThrow(/conflicting types/);
  });

  test("can be missing or forbidden", async () => {
    for (const [graphql, status] of [
      ["missing", 404],
      ["forbidden", 403],
    ] as const) {
      const other = await start({ graphql });
      await expect(octokit("writer", other).graphql("{__typename}")).rejects.toMatchObject({ status });
      await other.close();
    }
  });

  describe("update refs together", () => {
    const NONE = "0".repeat(40);
    const mutation = `mutation($input: UpdateRefsInput!) { updateRefs(input: $input) { clientMutationId } }`;

    async function updateRefs(
      updates: readonly { name: string; beforeOid?: string; afterOid: string; force?: boolean }[],
      { token = "writer", at = server }: { token?: keyof typeof tokens; at?: GitHubServer } = {},
    ): Promise<string> {
      const query = `{ repository(owner:"acme",name:"shop") { id } }`;
      const found = await octokit("writer", at).graphql<{ repository: { id: string } }>(query);
      const input = { repositoryId: found.repository.id, refUpdates: updates };
      return octokit(token, at)
        .graphql(mutation, { input })
        .then(
          () => "updated",
          (error: unknown) => String(error),
        );
    }
    const refs = (): string[] => git("for-each-ref", "--format=%(refname) %(objectname)").trim().split("\n");

    test("all of them or none", async () => {
      git("update-ref", "refs/kiln/lock/dev", first);
      const record = { name: "refs/tags/r/1", beforeOid: NONE, afterOid: second };
      const lock = { name: "refs/kiln/lock/dev", beforeOid: second, afterOid: NONE };
      expect(await updateRefs([record, lock])).toContain("could not be performed");
      expect(refs()).toEqual([`refs/heads/main ${second}`, `refs/kiln/lock/dev ${first}`]);
      expect(await updateRefs([record, { ...lock, beforeOid: first }])).toBe("updated");
      expect(refs()).toEqual([`refs/heads/main ${second}`, `refs/tags/r/1 ${second}`]);
      // A ref that exists is not created again, and one that is gone is not moved.
      expect(await updateRefs([record])).toContain("could not be performed");
      expect(await updateRefs([{ ...lock, beforeOid: first, afterOid: second }])).toContain(
        "could not be performed",
      );
      expect(log.entries.at(-1)).toMatchObject({ action: "POST /graphql", writes: true, status: 200 });
    });

    test("forward only, unless they are forced", async () => {
      const back = { name: "refs/heads/main", beforeOid: second, afterOid: first };
      expect(await updateRefs([back])).toContain("could not be performed");
      expect(await updateRefs([{ ...back, force: true }])).toBe("updated");
      expect(await updateRefs([{ ...back, beforeOid: first, afterOid: second }])).toBe("updated");
    });

    test("not with a token that may not write, and not objects that do not exist", async () => {
      const made = { name: "refs/tags/r/1", beforeOid: NONE, afterOid: second };
      expect(await updateRefs([made], { token: "reader" })).toContain("Resource not accessible");
      expect(await updateRefs([{ ...made, afterOid: "1".repeat(40) }])).toContain("could not be performed");
      expect(refs()).toEqual([`refs/heads/main ${second}`]);
    });

    test("or refuse those outside of heads and tags", async () => {
      const other = await start({ updateRefs: "heads-and-tags" });
      const made = { name: "refs/kiln/lock/dev", beforeOid: NONE, afterOid: second };
      expect(await updateRefs([made], { at: other })).toContain("could not be performed");
      expect(await updateRefs([{ ...made, name: "refs/tags/r/1" }], { at: other })).toBe("updated");
      await other.close();
    });

    test("also where reads lag behind writes", async () => {
      const made = { name: "refs/tags/r/1", beforeOid: NONE, afterOid: second };
      const query = `{ repository(owner:"acme",name:"shop") { id r0: ref(qualifiedName: "refs/tags/r/1") { name } } }`;
      await updateRefs([made]);
      faults.inject({ action: "POST /graphql" }, { kind: "unseen" });
      expect(await octokit().graphql(query)).toEqual({ repository: { r0: null } });
    });
  });

  test("lists twenty of ten thousand records in one quick request", async () => {
    const records = Array.from({ length: 10_000 }, (_, index) => {
      const name = `release/production/${String(index + 1).padStart(6, "0")}`;
      const message = `Release production #${index + 1}\n\nImage: eu-west-1 ami-${index + 1}\n`;
      const tagger = `tagger T <t@example.test> ${1_700_000_000 + index} +0000`;
      return `tag ${name}\nfrom ${second}\n${tagger}\ndata ${Buffer.byteLength(message)}\n${message}\n`;
    });
    execFileSync("git", [`--git-dir=${repository.path}`, "fast-import", "--quiet"], {
      input: records.join(""),
    });
    const mark = log.entries.length;
    const before = process.cpuUsage();
    const prefix = "refs/tags/release/production/";
    const { repository: found } = await octokit().graphql<Listing>(listing, { ...shop, prefix });
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(5_000);
    expect(log.since(mark)).toHaveLength(1);
    expect(found.refs.totalCount).toBe(10_000);
    expect(found.refs.pageInfo.hasNextPage).toBe(true);
    expect(found.refs.nodes).toHaveLength(20);
    expect(found.refs.nodes[0]?.name).toBe("010000");
    expect(found.refs.nodes[19]?.target.message).toBe(
      "Release production #9981\n\nImage: eu-west-1 ami-9981\n",
    );
  });
});

describe("commits and contents", () => {
  test("compares", async () => {
    const side = await repository.addCommit({ message: "side", branch: "side", parents: [first] });
    const compare = async (basehead: string): Promise<unknown> => {
      const { data } = await octokit().rest.repos.compareCommitsWithBasehead({ ...shop, basehead });
      const messages = data.commits.map(({ commit }) => commit.message);
      return [
        data.status,
        data.ahead_by,
        data.behind_by,
        data.total_commits,
        messages,
        data.merge_base_commit.sha,
      ];
    };
    expect(await compare(`${first}...main`)).toEqual(["ahead", 1, 0, 1, ["two"], first]);
    expect(await compare(`main...${first}`)).toEqual(["behind", 0, 1, 0, [], first]);
    expect(await compare(`main...${second}`)).toEqual(["identical", 0, 0, 0, [], second]);
    expect(await compare("main...side")).toEqual(["diverged", 1, 1, 1, ["side"], first]);
    await tag("v1", side);
    expect(await compare("v1...main")).toEqual(["diverged", 1, 1, 1, ["two"], first]);
    await expect(compare("main...none")).rejects.toMatchObject({ status: 404 });
    await repository.addCommit({ message: "orphan", branch: "orphan", parents: [] });
    await expect(compare("main...orphan")).rejects.toMatchObject({
      status: 404,
      message: /No common ancestor/,
    });
  });

  test("compares with the newest 250 commits, oldest first", async () => {
    const lines = Array.from(
      { length: 300 },
      (_, index) =>
        `commit refs/heads/long\ncommitter T <t@example.test> ${1_800_000_000 + index} +0000\ndata <<E\nc${index}\nE\n${index === 0 ? `from ${first}\n` : ""}\n`,
    );
    execFileSync("git", [`--git-dir=${repository.path}`, "fast-import", "--quiet"], {
      input: lines.join(""),
    });
    const { data } = await octokit().rest.repos.compareCommitsWithBasehead({
      ...shop,
      basehead: `${first}...long`,
    });
    expect(data).toMatchObject({
      total_commits: 300,
      html_url: `https://github.com/acme/shop/compare/${first}...long`,
    });
    expect(data.commits.map(({ commit }) => commit.message)).toEqual(
      Array.from({ length: 250 }, (_, index) => `c${index + 50}`),
    );
  });

  test("builds commits from blobs and trees as git would", async () => {
    const { rest } = octokit();
    const blob = await rest.git.createBlob({
      ...shop,
      content: Buffer.from("new").toString("base64"),
      encoding: "base64",
    });
    const base = await rest.git.getCommit({ ...shop, commit_sha: second });
    const tree = await rest.git.createTree({
      ...shop,
      base_tree: base.data.tree.sha,
      tree: [
        { path: "a.txt", mode: "100644", type: "blob", sha: blob.data.sha },
        { path: "deep/er.txt", mode: "100644", type: "blob", content: "inline" },
        { path: "dir/b.txt", mode: "100644", type: "blob", sha: null },
      ],
    });
    const commit = await rest.git.createCommit({
      ...shop,
      message: "three",
      tree: tree.data.sha,
      parents: [second],
    });
    expect(git("show", "--no-patch", "--format=%an %ae %ct %P %s", commit.data.sha).trim()).toBe(
      `deployer deployer@users.noreply.github.com ${NOW.getTime() / 1000} ${second} three`,
    );
    expect(git("ls-tree", "-r", "--name-only", commit.data.sha).trim()).toBe("a.txt\ndeep/er.txt");
    const read = await rest.git.getTree({ ...shop, tree_sha: commit.data.sha, recursive: "1" });
    expect(read.data.tree.map(({ path }) => path)).toEqual(["a.txt", "deep", "deep/er.txt"]);
    const back = await rest.git.getBlob({ ...shop, file_sha: blob.data.sha });
    expect(Buffer.from(back.data.content, "base64").toString()).toBe("new");
    const missing = "1".repeat(40);
    await expect(rest.git.createCommit({ ...shop, message: "x", tree: missing })).rejects.toMatchObject({
      status: 422,
    });
    await expect(rest.git.getCommit({ ...shop, commit_sha: missing })).rejects.toMatchObject({ status: 404 });
  });

  test("shows commits, branches and files", async () => {
    const { rest } = octokit();
    await tag("v1", first);
    expect((await rest.repos.getCommit({ ...shop, ref: "v1" })).data.sha).toBe(first);
    expect((await rest.repos.getCommit({ ...shop, ref: "heads/main" })).data.commit.message).toBe("two");
    const unknown = { status: 422, message: /^No commit found for SHA: none/ };
    await expect(rest.repos.getCommit({ ...shop, ref: "none" })).rejects.toMatchObject(unknown);
    expect((await rest.repos.getBranch({ ...shop, branch: "main" })).data.commit.sha).toBe(second);
    const branch = { status: 404, message: /^Branch not found/ };
    await expect(rest.repos.getBranch({ ...shop, branch: "none" })).rejects.toMatchObject(branch);
    const file = await rest.repos.getContent({ ...shop, path: "dir/b.txt", ref: first });
    expect(file.data).toMatchObject({ type: "file", name: "b.txt", size: 1, content: "Yg==\n" });
    const raw = await rest.repos.getContent({ ...shop, path: "a.txt", mediaType: { format: "raw" } });
    expect(raw.data).toBe("2");
    const folder = await rest.repos.getContent({ ...shop, path: "" });
    expect(folder.data).toMatchObject([
      { type: "file", path: "a.txt" },
      { type: "dir", path: "dir" },
    ]);
    await expect(rest.repos.getContent({ ...shop, path: "none" })).rejects.toMatchObject({ status: 404 });
    const ref = { status: 404, message: /^No commit found for the ref none/ };
    await expect(rest.repos.getContent({ ...shop, path: "a.txt", ref: "none" })).rejects.toMatchObject(ref);
  });

  test("shows workflow runs", async () => {
    repository.addRun({ id: 5, run_attempt: 2 });
    const run = async (id: number): Promise<unknown> =>
      (await octokit().rest.actions.getWorkflowRun({ ...shop, run_id: id })).data;
    expect(await run(5)).toMatchObject({ id: 5, status: "in_progress", conclusion: null, run_attempt: 2 });
    repository.setRunStatus(5, "completed", "cancelled");
    expect(await run(5)).toMatchObject({ status: "completed", conclusion: "cancelled" });
    await expect(run(6)).rejects.toMatchObject({ status: 404 });
  });
});

describe("the service", () => {
  const ref = { ...shop, ref: "refs/tags/x" };

  test("logs requests with decoded paths and counts them in its headers", async () => {
    await octokit().rest.git.getRef({ ...shop, ref: "heads/main" });
    const { headers } = await octokit().rest.git.createRef({ ...ref, sha: first });
    expect(log.entries).toMatchObject([
      { service: "github", action: "GET /repos/acme/shop/git/ref/heads/main", writes: false, status: 200 },
      {
        action: "POST /repos/acme/shop/git/refs",
        writes: true,
        status: 201,
        at: NOW,
        params: { sha: first },
      },
    ]);
    expect(headers["x-github-request-id"]).toMatch(/^[\w:-]+$/);
    expect(headers).toMatchObject({ "x-ratelimit-limit": "1000", "x-ratelimit-remaining": "998" });
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
  });

  test("meets faults before and after the effect", async () => {
    const { rest } = octokit();
    const action = "POST /repos/acme/shop/git/refs";
    const exists = (name: string): boolean => git("for-each-ref", name) !== "";
    const headers = { "retry-after": "60" };
    faults.inject(
      { action },
      { kind: "reply", status: 403, code: "", message: "You have exceeded a secondary rate limit", headers },
    );
    await expect(rest.git.createRef({ ...ref, sha: first })).rejects.toMatchObject({
      status: 403,
      message: /secondary rate limit/,
      response: { headers },
    });
    faults.inject({ action }, { kind: "drop-before" });
    await expect(rest.git.createRef({ ...ref, sha: first })).rejects.toMatchObject({ status: 500 });
    expect(exists("refs/tags/x")).toBe(false);
    faults.inject({ action }, { kind: "drop-after" });
    await expect(rest.git.createRef({ ...ref, sha: first })).rejects.toMatchObject({ status: 500 });
    expect(exists("refs/tags/x")).toBe(true);
    faults.inject(
      { service: "github", action: /git\/refs$/ },
      { kind: "reply-after-effect", status: 502, code: "", message: "Server Error" },
    );
    await expect(rest.git.createRef({ ...ref, ref: "refs/tags/y", sha: first })).rejects.toMatchObject({
      status: 502,
    });
    expect(exists("refs/tags/y")).toBe(true);
    faults.inject({ action: "POST /graphql" }, { kind: "delay", milliseconds: 50 });
    const before = performance.now();
    await octokit().graphql("{__typename}");
    expect(performance.now() - before).toBeGreaterThan(45);
    expect(log.entries.map(({ status }) => status)).toEqual([403, 0, 0, 502, 200]);
  });

  test("breaks answers off, keeps silent, and does not show what was just made", async () => {
    const authorization = "token writer";
    const url = `${server.apiUrl}/repos/acme/shop/git/ref/tags/z`;
    const read = async (): Promise<number> => (await fetch(url, { headers: { authorization } })).status;
    faults.inject({ action: /^GET/, after: /^POST .*refs$/ }, { kind: "unseen" });
    expect(await read()).toBe(404);
    await octokit().rest.git.createRef({ ...ref, ref: "refs/tags/z", sha: first });
    expect([await read(), await read()]).toEqual([404, 200]);
    faults.inject({ action: "POST /graphql" }, { kind: "unseen" });
    const list =
      '{repository(owner:"acme",name:"shop"){ p0: refs(refPrefix:"refs/tags/",first:1){nodes{name}}}}';
    expect(await octokit().graphql(list)).toEqual({ repository: { p0: { nodes: [] } } });
    faults.inject({ action: /^GET/ }, { kind: "cut" });
    const cut = await fetch(url, { headers: { authorization } });
    await expect(cut.text()).rejects.toThrow("terminated");
    faults.inject({ action: /^GET/ }, { kind: "silence-after" });
    const signal = AbortSignal.timeout(200);
    await expect(fetch(url, { headers: { authorization }, signal })).rejects.toThrow("timeout");
  });

  test("refuses what is not JSON and does not know other paths", async () => {
    const authorization = "token writer";
    const broken = await fetch(`${server.apiUrl}/repos/acme/shop/git/refs`, {
      method: "POST",
      body: "{",
      headers: { authorization },
    });
    expect([broken.status, await broken.json()]).toMatchObject([400, { message: "Problems parsing JSON" }]);
    await expect(octokit().request("GET /repos/acme/shop/nothing")).rejects.toMatchObject({ status: 404 });
    await expect(octokit().rest.repos.get({ owner: "acme", repo: "other" })).rejects.toMatchObject({
      status: 404,
    });
  });
});
