import { readRef } from "./refs.ts";
import { named, type Place, unlessMissing, withoutGraphql } from "./requests.ts";

/** A commit and the texts of its files; folders and what is no text are left out. */
export interface CommitFiles {
  readonly commit: string;
  readonly parents: readonly string[];
  readonly files: ReadonlyMap<string, string>;
}

/**
 * The files of several commits, by what was asked for (a commit's id, or a ref's full name), in one request; what there
 * is not is left out.
 */
export function readCommitFiles(
  place: Place,
  revisions: readonly string[],
): Promise<ReadonlyMap<string, CommitFiles>> {
  return withoutGraphql(
    () => readByGraphql(place, revisions),
    () => readByRest(place, revisions),
  );
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
async function readByGraphql(
  place: Place,
  revisions: readonly string[],
): Promise<ReadonlyMap<string, CommitFiles>> {
  if (revisions.length === 0) return new Map();
  const { octokit, owner, repo } = place;
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
  const answer = await named("read commits", place, () =>
    octokit.graphql<{ repository: Record<string, Partial<FilesAnswer> | null> | null }>(query, variables),
  );
  const read = revisions.map(async (revision, index) => {
    const { oid, parents, tree } = answer.repository?.[`r${index}`] ?? {};
    if (oid === undefined || parents === undefined || tree === undefined) return [];
    const files = tree.entries.map(async ({ name, object }) => {
      if (object?.text === undefined) return [];
      // Long texts are cut in GraphQL; the whole is a request of its own.
      const text = object.isTruncated === true ? await readBlob(place, object.oid) : object.text;
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
async function readByRest(
  place: Place,
  revisions: readonly string[],
): Promise<ReadonlyMap<string, CommitFiles>> {
  const { octokit, owner, repo } = place;
  const read = revisions.map(async (revision) => {
    const commit = revision.startsWith("refs/") ? await readRef(place, revision) : revision;
    if (commit === undefined) return [];
    const found = await unlessMissing(`read the commit ${commit}`, place, () =>
      octokit.rest.git.getCommit({ owner, repo, commit_sha: commit }),
    );
    if (found === undefined) return [];
    const { tree, parents } = found.data;
    const entries = await named(`read the tree ${tree.sha}`, place, () =>
      octokit.rest.git.getTree({ owner, repo, tree_sha: tree.sha }),
    );
    const files = await Promise.all(
      entries.data.tree
        .filter(({ type }) => type === "blob")
        .map(async ({ path, sha }) => [path, await readBlob(place, sha)] as const),
    );
    const kept: CommitFiles = { commit, parents: parents.map(({ sha }) => sha), files: new Map(files) };
    return [[revision, kept] as const];
  });
  return new Map((await Promise.all(read)).flat());
}

async function readBlob(place: Place, sha: string): Promise<string> {
  const { octokit, owner, repo } = place;
  const { data } = await named(`read the file ${sha}`, place, () =>
    octokit.rest.git.getBlob({ owner, repo, file_sha: sha }),
  );
  return Buffer.from(data.content, "base64").toString("utf8");
}

/** A file's text at a commit; undefined where there is none. */
export async function readFile(place: Place, path: string, ref: string): Promise<string | undefined> {
  const { octokit, owner, repo } = place;
  const answer = await unlessMissing(`read ${path}`, place, () =>
    octokit.rest.repos.getContent({ owner, repo, path, ref }),
  );
  const data = answer?.data;
  if (data === undefined || Array.isArray(data) || !("content" in data)) return undefined;
  return Buffer.from(data.content, "base64").toString("utf8");
}
