import { hasCode } from "../domain/errors.ts";
import { hasStatus, RateLimitError } from "./answers.ts";
import type { Octokit } from "./client.ts";
import { translate } from "./errors.ts";

/** An annotated tag's object, as the API gives it. */
export interface TagObject {
  readonly sha: string;
  readonly message: string;
  /** What the tag points at. */
  readonly target: string;
}

/** A ref under a prefix together with the annotated tag it points at (undefined: a lightweight tag). */
export interface TagRef {
  /** Without the prefix. */
  readonly name: string;
  readonly tag: TagObject | undefined;
}

/** A commit and the texts of its files; folders and what is no text are left out. */
export interface CommitFiles {
  readonly commit: string;
  readonly parents: readonly string[];
  readonly files: ReadonlyMap<string, string>;
}

/** How far apart two commits are: what the second one has that the first has not, and the other way round. */
export interface Comparison {
  readonly ahead: number;
  readonly behind: number;
  /** Of those ahead, as many as GitHub shows at once; newest first. */
  readonly commits: readonly { readonly commit: string; readonly subject: string }[];
}

/** The repository's git data and runs, as far as releases need them; errors are translated here, once. */
export interface Repository {
  /** Makes an annotated tag's object; nothing refers to it yet, so that a lost race leaves garbage, not damage. */
  createTag(tag: {
    readonly name: string;
    readonly message: string;
    readonly commit: string;
  }): Promise<string>;
  /** Points a new ref at an object; `created` also where it points there already, `exists` where it is taken. */
  createRef(ref: string, sha: string): Promise<"created" | "exists">;
  /** The sha that a ref points at. */
  readRef(ref: string): Promise<string | undefined>;
  readTag(sha: string): Promise<TagObject | undefined>;
  /** Points a ref at another object, whatever it points at now; false where there is no such ref. */
  replaceRef(ref: string, sha: string): Promise<boolean>;
  /** Deletes a ref; one that is gone already is fine. */
  deleteRef(ref: string): Promise<void>;
  /** Whether a workflow run has ended; `forbidden` where the token may not ask, `gone` where there is no such run. */
  runState(runId: string): Promise<RunState>;
  /** Whether a commit is an ancestor of another; false where GitHub does not know one of them. */
  isAncestor(commit: string, of: string): Promise<boolean>;
  /** Undefined where GitHub does not know one of them. Asked once for two commits: what they are does not change. */
  compare(base: string, head: string): Promise<Comparison | undefined>;
  /** Makes a tree of files in its top folder: content-addressed, so that asking twice gives the same. */
  createTree(files: Readonly<Record<string, string>>): Promise<string>;
  /** Makes a commit that nothing refers to yet; content-addressed too, since author and date are given. */
  createCommit(commit: NewCommit): Promise<string>;
  /** The tree of a commit. */
  treeOf(commit: string): Promise<string>;
  /** Moves a ref forward; `refused` where it would lose a commit, or is gone. */
  updateRef(ref: string, sha: string): Promise<"updated" | "refused">;
  /**
   * The files of several commits, by what was asked for (a commit's id, or a ref's full name), in one request; what there
   * is not is left out.
   */
  readCommitFiles(revisions: readonly string[]): Promise<ReadonlyMap<string, CommitFiles>>;
  /** A file's text at a commit; undefined where there is none. */
  readFile(path: string, commit: string): Promise<string | undefined>;
  /** The newest tags by name under each prefix (`refs/tags/release/dev/`), in one request. */
  newestTags(prefixes: readonly string[], count: number): Promise<ReadonlyMap<string, readonly TagRef[]>>;
}

export type RunState = "active" | "ended" | "forbidden" | "gone";

/** A commit of a tree on at most one other. */
export interface NewCommit {
  readonly tree: string;
  readonly parent: string | undefined;
  readonly message: string;
  readonly author: { readonly name: string; readonly email: string };
  readonly date: Date;
}

export function createRepository(octokit: Octokit, fullName: string): Repository {
  const [owner = "", repo = ""] = fullName.split("/");
  const place = { owner, repo };
  const { git } = octokit.rest;
  const compare = comparer(octokit, fullName);
  return {
    ...commitWriter(octokit, fullName),
    compare,
    async createTag({ name, message, commit }) {
      const { data } = await named(`create the tag object ${name}`, fullName, () =>
        git.createTag({ ...place, tag: name, message, object: commit, type: "commit" }),
      );
      return data.sha;
    },
    async createRef(ref, sha) {
      try {
        await git.createRef({ ...place, ref, sha });
        return "created";
      } catch (error) {
        // 409 and 422 mean "maybe taken", but also a bad name or a lost answer: what the ref points at decides.
        if (!hasStatus(error, 409, 422)) throw translate(error, `create ${ref}`, fullName);
        const found = await readRef(octokit, fullName, ref);
        if (found === sha) return "created";
        // One that is taken but not to be seen was deleted just now, or the read was answered by a server that lags.
        if (found !== undefined || isTaken(error)) return "exists";
        throw translate(error, `create ${ref}`, fullName);
      }
    },
    readRef: (ref) => readRef(octokit, fullName, ref),
    async readTag(sha) {
      const answer = await unlessMissing(`read the tag object ${sha}`, fullName, () =>
        git.getTag({ ...place, tag_sha: sha }),
      );
      return answer && { sha, message: answer.data.message, target: answer.data.object.sha };
    },
    async deleteRef(ref) {
      try {
        await git.deleteRef({ ...place, ref: withoutRefs(ref) });
      } catch (error) {
        if (hasStatus(error, 404)) return;
        // "Reference does not exist", or a refusal, or the answer to what was done already: the ref itself tells.
        const gone = hasStatus(error, 409, 422) && (await readRef(octokit, fullName, ref)) === undefined;
        if (!gone) throw translate(error, `delete ${ref}`, fullName);
      }
    },
    runState: (runId) => runState(octokit, fullName, runId),
    readFile: (path, commit) => readFile(octokit, fullName, path, commit),
    async isAncestor(commit, of) {
      const found = await compare(of, commit);
      return found !== undefined && found.ahead === 0 && found.behind > 0;
    },
    readCommitFiles: (revisions) =>
      withoutGraphql(
        () => readCommitFiles(octokit, fullName, revisions),
        () => readCommitFilesByRest(octokit, fullName, revisions),
      ),
    newestTags: (prefixes, count) =>
      withoutGraphql(
        () => newestTags(octokit, fullName, prefixes, count),
        () => newestTagsByRest(octokit, fullName, prefixes, count),
      ),
  };
}

/** Servers without GraphQL, and tokens that may not use it, are asked by REST. */
async function withoutGraphql<T>(graphql: () => Promise<T>, rest: () => Promise<T>): Promise<T> {
  try {
    return await graphql();
  } catch (error) {
    if (!hasCode(error, "403", "404")) throw error;
    return rest();
  }
}

/** The writes of trees and commits, and of refs that move. */
function commitWriter(
  octokit: Octokit,
  fullName: string,
): Pick<Repository, "createTree" | "createCommit" | "treeOf" | "updateRef" | "replaceRef"> {
  const [owner = "", repo = ""] = fullName.split("/");
  const place = { owner, repo };
  const { git } = octokit.rest;
  return {
    async createTree(files) {
      const tree = Object.entries(files).map(
        ([path, content]) => ({ path, mode: "100644", type: "blob", content }) as const,
      );
      const { data } = await named("create a tree", fullName, () => git.createTree({ ...place, tree }));
      return data.sha;
    },
    async createCommit({ tree, parent, message, author, date }) {
      // Without a date of its own a commit that is asked for twice, after a lost answer, would be two.
      const by = { ...author, date: `${date.toISOString().slice(0, 19)}Z` };
      const parents = parent === undefined ? [] : [parent];
      const { data } = await named("create a commit", fullName, () =>
        git.createCommit({ ...place, message, tree, parents, author: by, committer: by }),
      );
      return data.sha;
    },
    async treeOf(commit) {
      const { data } = await named(`read the commit ${commit}`, fullName, () =>
        git.getCommit({ ...place, commit_sha: commit }),
      );
      return data.tree.sha;
    },
    async replaceRef(ref, sha) {
      try {
        await git.updateRef({ ...place, ref: withoutRefs(ref), sha, force: true });
        return true;
      } catch (error) {
        if (hasStatus(error, 404, 422)) return false;
        throw translate(error, `update ${ref}`, fullName);
      }
    },
    async updateRef(ref, sha) {
      try {
        // Repeated after a lost answer it finds itself done: a ref may move to where it is.
        await git.updateRef({ ...place, ref: withoutRefs(ref), sha, force: false });
        return "updated";
      } catch (error) {
        if (!hasStatus(error, 404, 409, 422)) throw translate(error, `update ${ref}`, fullName);
        return (await readRef(octokit, fullName, ref)) === sha ? "updated" : "refused";
      }
    },
  };
}

/** Comparisons, each asked for once: two commits do not change. What failed or was not there is asked again. */
function comparer(octokit: Octokit, fullName: string): Repository["compare"] {
  const known = new Map<string, Comparison>();
  return async (base, head) => {
    const basehead = `${base}...${head}`;
    const before = known.get(basehead);
    if (before !== undefined) return before;
    const found = await compareCommits(octokit, fullName, basehead);
    if (found !== undefined) known.set(basehead, found);
    return found;
  };
}

/** Without paging parameters GitHub gives the newest 250 commits, oldest first; with them the oldest (REST reference). */
async function compareCommits(
  octokit: Octokit,
  fullName: string,
  basehead: string,
): Promise<Comparison | undefined> {
  const [owner = "", repo = ""] = fullName.split("/");
  const answer = await unlessMissing(`compare ${basehead}`, fullName, () =>
    octokit.rest.repos.compareCommitsWithBasehead({ owner, repo, basehead }),
  );
  if (answer === undefined) return undefined;
  const { ahead_by: ahead, behind_by: behind, commits } = answer.data;
  const shown = commits.map(({ sha, commit }) => ({
    commit: sha,
    subject: commit.message.split("\n")[0] ?? "",
  }));
  return { ahead, behind, commits: shown.toReversed() };
}

interface FilesAnswer {
  readonly oid: string;
  readonly parents: { readonly nodes: readonly { readonly oid: string }[] };
  readonly tree: {
    readonly entries: readonly {
      readonly name: string;
      readonly object: {
        readonly oid: string;
        readonly text?: string | null;
        readonly isTruncated?: boolean;
      } | null;
    }[];
  };
}

/** One GraphQL request with an alias a revision (`object(expression:)` takes what git rev-parse takes). */
async function readCommitFiles(
  octokit: Octokit,
  fullName: string,
  revisions: readonly string[],
): Promise<ReadonlyMap<string, CommitFiles>> {
  if (revisions.length === 0) return new Map();
  const [owner, repo] = fullName.split("/");
  const fields =
    "... on Commit { oid parents(first: 1) { nodes { oid } } tree { entries { name object { oid ... on Blob { text isTruncated } } } } }";
  const query = `query($owner: String!, $repo: String!, ${revisions.map((_, index) => `$r${index}: String!`).join(", ")}) {
    repository(owner: $owner, name: $repo) {
      ${revisions.map((_, index) => `r${index}: object(expression: $r${index}) { ${fields} }`).join("\n")}
    }
  }`;
  const variables = {
    owner,
    repo,
    ...Object.fromEntries(revisions.map((revision, index) => [`r${index}`, revision])),
  };
  const answer = await named("read commits", fullName, () =>
    octokit.graphql<{ repository: Record<string, Partial<FilesAnswer> | null> | null }>(query, variables),
  );
  const read = revisions.map(async (revision, index) => {
    const { oid, parents, tree } = answer.repository?.[`r${index}`] ?? {};
    if (oid === undefined || parents === undefined || tree === undefined) return [];
    const files = tree.entries.map(async ({ name, object }) => {
      if (object?.text === undefined) return [];
      // Long texts are cut in GraphQL; the whole is a request of its own.
      const text = object.isTruncated === true ? await readBlob(octokit, fullName, object.oid) : object.text;
      return text === null ? [] : [[name, text] as const];
    });
    const found: CommitFiles = {
      commit: oid,
      parents: parents.nodes.map((parent) => parent.oid),
      files: new Map((await Promise.all(files)).flat()),
    };
    return [[revision, found] as const];
  });
  return new Map((await Promise.all(read)).flat());
}

/** The same by REST, a request an object. */
async function readCommitFilesByRest(
  octokit: Octokit,
  fullName: string,
  revisions: readonly string[],
): Promise<ReadonlyMap<string, CommitFiles>> {
  const [owner = "", repo = ""] = fullName.split("/");
  const read = revisions.map(async (revision) => {
    const commit = revision.startsWith("refs/") ? await readRef(octokit, fullName, revision) : revision;
    if (commit === undefined) return [];
    const found = await unlessMissing(`read the commit ${commit}`, fullName, () =>
      octokit.rest.git.getCommit({ owner, repo, commit_sha: commit }),
    );
    if (found === undefined) return [];
    const { tree, parents } = found.data;
    const entries = await named(`read the tree ${tree.sha}`, fullName, () =>
      octokit.rest.git.getTree({ owner, repo, tree_sha: tree.sha }),
    );
    const files = await Promise.all(
      entries.data.tree
        .filter(({ type }) => type === "blob")
        .map(async ({ path, sha }) => [path, await readBlob(octokit, fullName, sha)] as const),
    );
    const kept: CommitFiles = { commit, parents: parents.map(({ sha }) => sha), files: new Map(files) };
    return [[revision, kept] as const];
  });
  return new Map((await Promise.all(read)).flat());
}

async function readBlob(octokit: Octokit, fullName: string, sha: string): Promise<string> {
  const [owner = "", repo = ""] = fullName.split("/");
  const { data } = await named(`read the file ${sha}`, fullName, () =>
    octokit.rest.git.getBlob({ owner, repo, file_sha: sha }),
  );
  return Buffer.from(data.content, "base64").toString("utf8");
}

async function readFile(
  octokit: Octokit,
  fullName: string,
  path: string,
  ref: string,
): Promise<string | undefined> {
  const [owner = "", repo = ""] = fullName.split("/");
  const answer = await unlessMissing(`read ${path}`, fullName, () =>
    octokit.rest.repos.getContent({ owner, repo, path, ref }),
  );
  const data = answer?.data;
  if (data === undefined || Array.isArray(data) || !("content" in data)) return undefined;
  return Buffer.from(data.content, "base64").toString("utf8");
}

async function runState(octokit: Octokit, fullName: string, runId: string): Promise<RunState> {
  const [owner = "", repo = ""] = fullName.split("/");
  try {
    const { data } = await octokit.rest.actions.getWorkflowRun({ owner, repo, run_id: Number(runId) });
    return data.status === "completed" ? "ended" : "active";
  } catch (error) {
    // A used-up rate limit is a 403 as well, and no answer.
    if (hasStatus(error, 403) && !(error instanceof RateLimitError)) return "forbidden";
    if (hasStatus(error, 404)) return "gone";
    throw translate(error, `read run ${runId}`, fullName);
  }
}

async function readRef(octokit: Octokit, fullName: string, ref: string): Promise<string | undefined> {
  const [owner = "", repo = ""] = fullName.split("/");
  const answer = await unlessMissing(`read ${ref}`, fullName, () =>
    octokit.rest.git.getRef({ owner, repo, ref: withoutRefs(ref) }),
  );
  return answer?.data.object.sha;
}

interface RefsAnswer {
  readonly nodes: readonly {
    readonly name: string;
    readonly target: {
      readonly __typename: string;
      readonly oid: string;
      readonly message?: string;
      readonly target?: { readonly oid: string };
    };
  }[];
}

/**
 * One GraphQL request with an alias a prefix. ALPHABETICAL descending over zero-padded numbers is newest first;
 * TAG_COMMIT_DATE would sort by the tagged commit's date (GraphQL reference, RefOrderField).
 */
async function newestTags(
  octokit: Octokit,
  fullName: string,
  prefixes: readonly string[],
  count: number,
): Promise<ReadonlyMap<string, readonly TagRef[]>> {
  const [owner, repo] = fullName.split("/");
  const fields = `nodes { name target { __typename oid ... on Tag { message target { oid } } } }`;
  const query = `query($owner: String!, $repo: String!, $count: Int!, ${prefixes.map((_, index) => `$p${index}: String!`).join(", ")}) {
    repository(owner: $owner, name: $repo) {
      ${prefixes.map((_, index) => `p${index}: refs(refPrefix: $p${index}, first: $count, orderBy: {field: ALPHABETICAL, direction: DESC}) { ${fields} }`).join("\n")}
    }
  }`;
  const variables = {
    owner,
    repo,
    count,
    ...Object.fromEntries(prefixes.map((prefix, index) => [`p${index}`, prefix])),
  };
  const answer = await named("list the records", fullName, () =>
    octokit.graphql<{ repository: Record<string, RefsAnswer | null> | null }>(query, variables),
  );
  return new Map(
    prefixes.map((prefix, index) => [prefix, (answer.repository?.[`p${index}`]?.nodes ?? []).map(toTagRef)]),
  );
}

/** The same by REST: the names under each prefix in one request, then the newest tags' objects. */
async function newestTagsByRest(
  octokit: Octokit,
  fullName: string,
  prefixes: readonly string[],
  count: number,
): Promise<ReadonlyMap<string, readonly TagRef[]>> {
  const [owner = "", repo = ""] = fullName.split("/");
  const pages = prefixes.map(async (prefix) => {
    const { data } = await named(`list ${prefix}`, fullName, () =>
      octokit.rest.git.listMatchingRefs({ owner, repo, ref: withoutRefs(prefix) }),
    );
    const newest = data
      .toSorted((a, b) => (a.ref < b.ref ? 1 : -1))
      .slice(0, count)
      .map(async ({ ref, object }): Promise<TagRef> => {
        const name = ref.slice(prefix.length);
        if (object.type !== "tag") return { name, tag: undefined };
        const tag = await named(`read the tag object ${object.sha}`, fullName, () =>
          octokit.rest.git.getTag({ owner, repo, tag_sha: object.sha }),
        );
        return { name, tag: { sha: object.sha, message: tag.data.message, target: tag.data.object.sha } };
      });
    return [prefix, await Promise.all(newest)] as const;
  });
  return new Map(await Promise.all(pages));
}

function toTagRef({ name, target }: RefsAnswer["nodes"][number]): TagRef {
  return {
    name,
    tag:
      target.__typename === "Tag" && target.message !== undefined && target.target !== undefined
        ? { sha: target.oid, message: target.message, target: target.target.oid }
        : undefined,
  };
}

/** In GitHub's words; a name below or above another ref is refused in others. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("Reference already exists");
}

const withoutRefs = (ref: string): string => ref.replace(/^refs\//, "");

async function named<T>(what: string, repository: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw translate(error, what, repository);
  }
}

async function unlessMissing<T>(
  what: string,
  repository: string,
  request: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await request();
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw translate(error, what, repository);
  }
}
