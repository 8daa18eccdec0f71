import { RemoteError } from "../domain/errors.ts";
import { hasStatus } from "./answers.ts";
import { named, type Place, told, unlessMissing } from "./requests.ts";

/** An annotated tag's object, as the API gives it. */
export interface TagObject {
  readonly sha: string;
  readonly message: string;
  /** What the tag points at. */
  readonly target: string;
}

/** The repository's git objects: tags, trees and commits that nothing refers to until a ref is pointed at them. */
export interface GitObjects {
  /** Makes an annotated tag's object; nothing refers to it yet, so that a lost race leaves garbage, not damage. */
  createTag(tag: {
    readonly name: string;
    readonly message: string;
    readonly commit: string;
  }): Promise<string>;
  readTag(sha: string): Promise<TagObject | undefined>;
  /** Makes a tree of files in its top folder: content-addressed, so that asking twice gives the same. */
  createTree(files: Readonly<Record<string, string>>): Promise<string>;
  /** Makes a commit that nothing refers to yet; content-addressed too, since author and date are given. */
  createCommit(commit: NewCommit): Promise<string>;
  /** The tree of a commit. */
  treeOf(commit: string): Promise<string>;
}

/** A commit of a tree on at most one other. */
export interface NewCommit {
  readonly tree: string;
  readonly parent: string | undefined;
  readonly message: string;
  readonly author: { readonly name: string; readonly email: string };
  readonly date: Date;
}

export function gitObjectsOf(place: Place): GitObjects {
  const { git } = place.octokit.rest;
  const { owner, repo } = place;
  return {
    async createTag({ name, message, commit }) {
      try {
        const { data } = await git.createTag({
          owner,
          repo,
          tag: name,
          message,
          object: commit,
          type: "commit",
        });
        return data.sha;
      } catch (error) {
        if (hasStatus(error, 422)) throw notTaggable(name, commit, place, error);
        throw told(error, `create the tag object ${name}`, place);
      }
    },
    async readTag(sha) {
      const answer = await unlessMissing(`read the tag object ${sha}`, place, () =>
        git.getTag({ owner, repo, tag_sha: sha }),
      );
      return answer && { sha, message: answer.data.message, target: answer.data.object.sha };
    },
    async createTree(files) {
      const tree = Object.entries(files).map(
        ([path, content]) => ({ path, mode: "100644", type: "blob", content }) as const,
      );
      const { data } = await named("create a tree", place, () => git.createTree({ owner, repo, tree }));
      return data.sha;
    },
    async createCommit({ tree, parent, message, author, date }) {
      // Without a date of its own a commit that is asked for twice, after a lost answer, would be two.
      const by = { ...author, date: `${date.toISOString().slice(0, 19)}Z` };
      const parents = parent === undefined ? [] : [parent];
      const { data } = await named("create a commit", place, () =>
        git.createCommit({ owner, repo, message, tree, parents, author: by, committer: by }),
      );
      return data.sha;
    },
    async treeOf(commit) {
      const { data } = await named(`read the commit ${commit}`, place, () =>
        git.getCommit({ owner, repo, commit_sha: commit }),
      );
      return data.tree.sha;
    },
  };
}

/** GitHub refuses the tag of a commit that it does not have in the words that it has for any bad request. */
function notTaggable(name: string, commit: string, { owner, repo }: Place, cause: unknown): RemoteError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new RemoteError(`GitHub does not take a tag of commit ${commit.slice(0, 12)}`, {
    code: "422",
    cause,
    state: `Could not create the tag object ${name} in ${owner}/${repo}. GitHub answered 422: ${said}`,
    next: "Push the commit to the repository before this step: a commit that was made in this job, such as a version's, is not on GitHub until then. If it was checked out from another repository, release it there.",
  });
}
