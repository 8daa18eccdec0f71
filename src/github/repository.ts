import { hasStatus, RateLimitError } from "./answers.ts";
import type { Octokit } from "./client.ts";
import { type CommitFiles, readCommitFiles, readFile } from "./commit-files.ts";
import { type GitObjects, gitObjectsOf } from "./git-objects.ts";
import { readRefs, type RefsSeen, type RefsWanted, type TagRef } from "./read-refs.ts";
import { type RefChange, RefUpdates, type RefsUpdated } from "./ref-updates.ts";
import { type Refs, refsOf } from "./refs.ts";
import { rulesAgainst, type TagRule } from "./rulesets.ts";
import { type Place, placeOf, told, unlessMissing } from "./requests.ts";

/** How far apart two commits are: what the second one has that the first has not, and the other way round. */
export interface Comparison {
  readonly ahead: number;
  readonly behind: number;
  /** Of those ahead, as many as GitHub shows at once; newest first. */
  readonly commits: readonly { readonly commit: string; readonly subject: string }[];
}

/** What GitHub says of a workflow run; `forbidden` if the token may not ask, `gone` if there is no such run. */
export type RunState =
  | {
      readonly kind: "active" | "ended";
      /** The run's newest attempt: earlier ones have ended, or were given up by GitHub. */
      readonly attempt: number;
    }
  | { readonly kind: "forbidden" }
  | { readonly kind: "gone" };

/** The repository's git data and runs, as far as releases need them; errors are translated here, once. */
export interface Repository extends Refs, GitObjects {
  runState(runId: string): Promise<RunState>;
  /** Whether a commit is an ancestor of another; false where GitHub does not know one of them. */
  isAncestor(commit: string, of: string): Promise<boolean>;
  /** Undefined where GitHub does not know one of them. Asked once for two commits: what they are does not change. */
  compare(base: string, head: string): Promise<Comparison | undefined>;
  /**
   * The files of several commits, by what was asked for (a commit's id, or a ref's full name), in one request; what there
   * is not is left out.
   */
  readCommitFiles(revisions: readonly string[]): Promise<ReadonlyMap<string, CommitFiles>>;
  /** A file's text at a commit; undefined where there is none. */
  readFile(path: string, commit: string): Promise<string | undefined>;
  /** The newest tags by name under each prefix (`refs/tags/release/dev/`), in one request. */
  newestTags(prefixes: readonly string[], count: number): Promise<ReadonlyMap<string, readonly TagRef[]>>;
  /** The same together with what single refs point at. */
  readRefs(wanted: RefsWanted): Promise<RefsSeen>;
  /** Changes several refs in one atomic request. */
  updateRefs(changes: readonly RefChange[]): Promise<RefsUpdated>;
  /** The active rulesets that may keep this token from creating a tag, as far as the token may read them. */
  rulesAgainst(tag: string): Promise<readonly TagRule[]>;
}

export function createRepository(octokit: Octokit, fullName: string): Repository {
  const place = placeOf(octokit, fullName);
  const compare = comparer(place);
  const updates = new RefUpdates(place);
  const read = async (wanted: RefsWanted): Promise<RefsSeen> => {
    const seen = await readRefs(place, wanted);
    updates.learn(seen.repositoryId);
    return seen;
  };
  return {
    ...refsOf(place),
    ...gitObjectsOf(place),
    runState: (runId) => runState(place, runId),
    async isAncestor(commit, of) {
      const found = await compare(of, commit);
      return found !== undefined && found.ahead === 0 && found.behind > 0;
    },
    compare,
    readCommitFiles: (revisions) => readCommitFiles(place, revisions),
    readFile: (path, commit) => readFile(place, path, commit),
    newestTags: async (prefixes, count) => (await read({ prefixes, count })).tags,
    readRefs: read,
    updateRefs: (changes) => updates.apply(changes),
    rulesAgainst: (tag) => rulesAgainst(place, tag),
  };
}

/** Comparisons, each asked for once: two commits do not change. What failed or was not there is asked again. */
function comparer(place: Place): Repository["compare"] {
  const known = new Map<string, Comparison>();
  return async (base, head) => {
    const basehead = `${base}...${head}`;
    const before = known.get(basehead);
    if (before !== undefined) return before;
    const found = await compareCommits(place, basehead);
    if (found !== undefined) known.set(basehead, found);
    return found;
  };
}

/** Without paging parameters GitHub gives the newest 250 commits, oldest first; with them the oldest (REST reference). */
async function compareCommits(place: Place, basehead: string): Promise<Comparison | undefined> {
  const { octokit, owner, repo } = place;
  const answer = await unlessMissing(`compare ${basehead}`, place, () =>
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

async function runState(place: Place, runId: string): Promise<RunState> {
  const { octokit, owner, repo } = place;
  try {
    const { data } = await octokit.rest.actions.getWorkflowRun({ owner, repo, run_id: Number(runId) });
    return { kind: data.status === "completed" ? "ended" : "active", attempt: data.run_attempt ?? 1 };
  } catch (error) {
    // A used-up rate limit is a 403 as well, and no answer.
    if (hasStatus(error, 403) && !(error instanceof RateLimitError)) return { kind: "forbidden" };
    if (hasStatus(error, 404)) return { kind: "gone" };
    throw told(error, `read run ${runId}`, place);
  }
}
