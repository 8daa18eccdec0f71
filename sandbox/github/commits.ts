import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { actor, list, nodeId, paged, sha as shaOf, SHA, supplied, text } from "./endpoint.ts";
import { invalid, notFound } from "./errors.ts";
import { git, gitText, readObject, readObjects, writeObject } from "./git.ts";
import type { Actor, Commit } from "./objects.ts";
import { formatCommit, readCommit, utc } from "./objects.ts";

const DOCUMENTATION = "https://docs.github.com/rest";

export const commitEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    pattern: /^\/git\/commits$/,
    needs: "contents=write",
    documentation: `${DOCUMENTATION}/git/commits#create-a-commit`,
    answer: createCommit,
  },
  {
    method: "GET",
    pattern: /^\/git\/commits\/([^/]+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/git/commits#get-a-commit-object`,
    answer: getGitCommit,
  },
  {
    method: "GET",
    pattern: /^\/commits\/(.+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/commits/commits#get-a-commit`,
    answer: getCommit,
  },
  {
    method: "GET",
    pattern: /^\/compare\/(.+?)\.\.\.(.+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/commits/commits#compare-two-commits`,
    answer: compare,
  },
  {
    method: "GET",
    pattern: /^\/branches\/(.+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/branches/branches#get-a-branch`,
    answer: getBranch,
  },
];

const UNVERIFIED = { verified: false, reason: "unsigned", signature: null, payload: null, verified_at: null };

/** The commit that a REST path names: a sha, a branch, a tag, `heads/…`, `tags/…`; not git's revision language. */
export async function resolveCommit(call: Call, name: string): Promise<Commit | undefined> {
  if (/[\s~^:?*[\\]|@\{|\.\./.test(name)) return undefined;
  const object = await readObject(call.repository.path, `${name}^{commit}`);
  return object === undefined ? undefined : readCommit(object);
}

function person(who: Actor): object {
  return { name: who.name, email: who.email, date: utc(who) };
}

/** A commit of the Git database. */
function gitCommitJson(call: Call, commit: Commit): object {
  const { htmlUrl, fullName } = call.repository;
  return {
    sha: commit.oid,
    node_id: nodeId("C", `${fullName}:${commit.oid}`),
    url: `${call.url}/git/commits/${commit.oid}`,
    html_url: `${htmlUrl}/commit/${commit.oid}`,
    author: person(commit.author),
    committer: person(commit.committer),
    message: commit.message.replace(/\n$/, ""),
    tree: { sha: commit.tree, url: `${call.url}/git/trees/${commit.tree}` },
    parents: commit.parents.map((sha) => ({
      sha,
      url: `${call.url}/git/commits/${sha}`,
      html_url: `${htmlUrl}/commit/${sha}`,
    })),
    verification: UNVERIFIED,
  };
}

/** A commit of the repository: the Git commit and the accounts behind it, of which the sandbox knows none. */
function commitJson(call: Call, commit: Commit): object {
  const { htmlUrl, fullName } = call.repository;
  return {
    sha: commit.oid,
    node_id: nodeId("C", `${fullName}:${commit.oid}`),
    url: `${call.url}/commits/${commit.oid}`,
    html_url: `${htmlUrl}/commit/${commit.oid}`,
    commit: {
      author: person(commit.author),
      committer: person(commit.committer),
      message: commit.message.replace(/\n$/, ""),
      tree: { sha: commit.tree, url: `${call.url}/git/trees/${commit.tree}` },
      url: `${call.url}/git/commits/${commit.oid}`,
      comment_count: 0,
      verification: UNVERIFIED,
    },
    author: null,
    committer: null,
    parents: commit.parents.map((sha) => ({
      sha,
      url: `${call.url}/commits/${sha}`,
      html_url: `${htmlUrl}/commit/${sha}`,
    })),
  };
}

async function createCommit(call: Call): Promise<Answer> {
  const { path } = call.repository;
  supplied(call.body, "message", "tree");
  const message = text(call.body, "message");
  const tree = shaOf(call.body, "tree");
  if ((await readObject(path, tree))?.type !== "tree") throw invalid("Tree SHA does not exist");
  const parents = list(call.body, "parents").map(String);
  const known = await readObjects(path, parents);
  if (known.some((parent, index) => parent?.type !== "commit" || parent.oid !== parents[index])) {
    throw invalid("Parent SHA does not exist or is not a commit object");
  }
  const author = actor(call.body, "author", call);
  // "If committer is not set, it's set to the author."
  const committer = call.body["committer"] === undefined ? author : actor(call.body, "committer", call);
  const oid = await writeObject(path, "commit", formatCommit({ tree, parents, author, committer, message }));
  const body = gitCommitJson(call, { oid, tree, parents, author, committer, message });
  return { status: 201, body, headers: { location: `${call.url}/git/commits/${oid}` } };
}

async function getGitCommit(call: Call): Promise<Answer> {
  const sha = call.path[0] ?? "";
  const object = SHA.test(sha) ? await readObject(call.repository.path, sha) : undefined;
  if (object?.type !== "commit") throw notFound();
  return { status: 200, body: gitCommitJson(call, readCommit(object)) };
}

/** 422 and not 404 for what is not there; zizmorcore/zizmor #972 stumbled over it. */
async function getCommit(call: Call): Promise<Answer> {
  const name = call.path[0] ?? "";
  const commit = await resolveCommit(call, name);
  if (commit === undefined) throw invalid(`No commit found for SHA: ${name}`);
  if (/[./]sha(?:\+json)?$/.test(call.accept)) {
    return {
      status: 200,
      body: Buffer.from(commit.oid),
      headers: { "content-type": `${call.accept}; charset=utf-8` },
    };
  }
  return { status: 200, body: commitJson(call, commit) };
}

async function getBranch(call: Call): Promise<Answer> {
  const name = call.path[0] ?? "";
  const commit = await resolveCommit(call, `refs/heads/${name}`);
  if (commit === undefined) throw notFound("Branch not found");
  const self = `${call.url}/branches/${name}`;
  const links = { self, html: `${call.repository.htmlUrl}/tree/${name}` };
  const body = {
    name,
    commit: commitJson(call, commit),
    _links: links,
    protected: false,
    protection: {
      enabled: false,
      required_status_checks: { enforcement_level: "off", contexts: [], checks: [] },
    },
    protection_url: `${self}/protection`,
  };
  return { status: 200, body };
}

/** How far apart two commits are; `commits` is filled by {@link comparedCommits}. The sandbox leaves `files` out. */
async function compare(call: Call): Promise<Answer> {
  const [base = "", head = ""] = call.path;
  const { path, htmlUrl } = call.repository;
  const from = await resolveCommit(call, base);
  const to = await resolveCommit(call, head);
  if (from === undefined || to === undefined) throw notFound();
  const merge = await git(path, ["merge-base", from.oid, to.oid]);
  if (merge.code !== 0) throw notFound(`No common ancestor between ${base} and ${head}.`);
  const counts = await gitText(path, ["rev-list", "--left-right", "--count", `${from.oid}...${to.oid}`]);
  const [behind = 0, ahead = 0] = counts.split("\t").map(Number);
  const mergeBase = await readObject(path, merge.stdout.toString().trim());
  const { commits, headers } = await comparedCommits(call, from.oid, to.oid);
  const html = `${htmlUrl}/compare/${base}...${head}`;
  const body = {
    url: `${call.url}/compare/${base}...${head}`,
    html_url: html,
    permalink_url: `${htmlUrl}/compare/${call.repository.owner}:${from.oid.slice(0, 7)}...${call.repository.owner}:${to.oid.slice(0, 7)}`,
    diff_url: `${html}.diff`,
    patch_url: `${html}.patch`,
    base_commit: commitJson(call, from),
    merge_base_commit: mergeBase === undefined ? null : commitJson(call, readCommit(mergeBase)),
    status: compareStatus(ahead, behind),
    ahead_by: ahead,
    behind_by: behind,
    total_commits: ahead,
    commits: commits.map((commit) => commitJson(call, commit)),
  };
  return { status: 200, body, headers };
}

function compareStatus(ahead: number, behind: number): "identical" | "ahead" | "behind" | "diverged" {
  if (ahead > 0 && behind > 0) return "diverged";
  if (ahead > 0) return "ahead";
  return behind > 0 ? "behind" : "identical";
}

/**
 * The commits of `git log base..head`, oldest first. "When calling this endpoint without any paging parameter, the
 * returned list is limited to 250 commits, and the last commit in the list is the most recent of the comparison."
 */
async function comparedCommits(
  call: Call,
  base: string,
  head: string,
): Promise<{ commits: Commit[]; headers: Readonly<Record<string, string>> }> {
  const { path } = call.repository;
  const revisions = await gitText(path, ["rev-list", "--date-order", `${base}..${head}`]);
  const shas = revisions === "" ? [] : revisions.split("\n").toReversed();
  const { items, headers } =
    call.query.has("page") || call.query.has("per_page")
      ? paged(shas, call, `compare/${call.path.join("...")}`)
      : { items: shas.slice(-250), headers: {} };
  const objects = await readObjects(path, items);
  return { commits: objects.filter((object) => object !== undefined).map(readCommit), headers };
}
