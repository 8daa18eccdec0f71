import { createHash } from "node:crypto";
import type { CommitFiles } from "../../src/github/commit-files.ts";
import type { NewCommit, TagObject } from "../../src/github/git-objects.ts";
import type { RefsSeen, RefsWanted, TagRef } from "../../src/github/read-refs.ts";
import type { RefChange, RefsUpdated } from "../../src/github/ref-updates.ts";
import type { Comparison, Repository, RunState } from "../../src/github/repository.ts";

/** A repository's refs and tag objects, with GitHub's answers. */
export class InMemoryRepository implements Repository {
  readonly refs = new Map<string, string>();
  readonly objects = new Map<string, TagObject & { readonly name: string }>();
  readonly runs = new Map<string, RunState["kind"]>();
  /** The newest attempts of runs; 1 where nothing is said. */
  readonly attempts = new Map<string, number>();
  /** Whether several refs can be changed in one atomic request. */
  atomic = true;
  readonly trees = new Map<string, Readonly<Record<string, string>>>();
  readonly commits = new Map<string, NewCommit>();
  /** By `base...head`. */
  readonly comparisons = new Map<string, Comparison>();
  /** Called with the name of each request that trees, commits and refs of files need. */
  onRequest: (name: string) => void = () => {};
  /** Called before a ref is created: a test's chance to be faster. */
  beforeCreateRef: (ref: string) => void = () => {};
  /** What `newestTags` was asked for. */
  readonly asked: { readonly prefixes: readonly string[]; readonly count: number }[] = [];

  async createTag({ name, message, commit }: { name: string; message: string; commit: string }) {
    const sha = `tag-${this.objects.size + 1}`;
    this.objects.set(sha, { sha, name, message, target: commit });
    return sha;
  }

  async createRef(ref: string, sha: string): Promise<"created" | "exists"> {
    this.beforeCreateRef(ref);
    if (this.refs.has(ref)) return "exists";
    this.refs.set(ref, sha);
    return "created";
  }

  async readRef(ref: string): Promise<string | undefined> {
    return this.refs.get(ref);
  }

  async readTag(sha: string): Promise<TagObject | undefined> {
    return this.objects.get(sha);
  }

  async replaceRef(ref: string, sha: string): Promise<boolean> {
    if (!this.refs.has(ref)) return false;
    this.refs.set(ref, sha);
    return true;
  }

  async deleteRef(ref: string): Promise<void> {
    this.refs.delete(ref);
  }

  async runState(runId: string): Promise<RunState> {
    const kind = this.runs.get(runId) ?? "gone";
    if (kind === "forbidden" || kind === "gone") return { kind };
    return { kind, attempt: this.attempts.get(runId) ?? 1 };
  }

  async updateRefs(changes: readonly RefChange[]): Promise<RefsUpdated> {
    if (!this.atomic) return "unsupported";
    for (const { ref, from } of changes) if (from === undefined) this.beforeCreateRef(ref);
    if (changes.some(({ ref, from }) => this.refs.get(ref) !== from)) return "conflict";
    for (const { ref, to } of changes) {
      if (to === undefined) this.refs.delete(ref);
      else this.refs.set(ref, to);
    }
    return "updated";
  }

  async readRefs({ prefixes, count, refs = [] }: RefsWanted): Promise<RefsSeen> {
    return {
      tags: await this.newestTags(prefixes, count),
      refs: new Map(refs.map((ref) => [ref, this.refs.get(ref)])),
      repositoryId: undefined,
    };
  }

  /** Nothing here has files. */
  async readFile(): Promise<string | undefined> {
    return undefined;
  }

  async isAncestor(commit: string, of: string): Promise<boolean> {
    const found = await this.compare(of, commit);
    return found !== undefined && found.ahead === 0 && found.behind > 0;
  }

  async compare(base: string, head: string): Promise<Comparison | undefined> {
    this.onRequest("compare");
    return this.comparisons.get(`${base}...${head}`);
  }

  async createTree(files: Readonly<Record<string, string>>): Promise<string> {
    this.onRequest("createTree");
    const sha = hashed(Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    this.trees.set(sha, files);
    return sha;
  }

  async createCommit(commit: NewCommit): Promise<string> {
    this.onRequest("createCommit");
    const sha = hashed(commit);
    this.commits.set(sha, commit);
    return sha;
  }

  async treeOf(commit: string): Promise<string> {
    this.onRequest("treeOf");
    return this.commits.get(commit)?.tree ?? "";
  }

  async updateRef(ref: string, sha: string): Promise<"updated" | "refused"> {
    this.onRequest("updateRef");
    const now = this.refs.get(ref);
    const reaches = (from: string | undefined): boolean =>
      from !== undefined && (from === now || reaches(this.commits.get(from)?.parent));
    if (now === undefined || !reaches(sha)) return "refused";
    this.refs.set(ref, sha);
    return "updated";
  }

  async readCommitFiles(revisions: readonly string[]): Promise<ReadonlyMap<string, CommitFiles>> {
    if (revisions.length > 0) this.onRequest("readCommitFiles");
    return new Map(
      revisions.flatMap((revision) => {
        const sha = this.refs.get(revision) ?? revision;
        const commit = this.commits.get(sha);
        if (commit === undefined) return [];
        const parents = commit.parent === undefined ? [] : [commit.parent];
        const files = new Map(Object.entries(this.trees.get(commit.tree) ?? {}));
        return [[revision, { commit: sha, parents, files }] as const];
      }),
    );
  }

  async newestTags(prefixes: readonly string[], count: number): Promise<Map<string, TagRef[]>> {
    this.asked.push({ prefixes, count });
    return new Map(
      prefixes.map((prefix) => [
        prefix,
        [...this.refs.keys()]
          .filter((ref) => ref.startsWith(prefix))
          .toSorted()
          .toReversed()
          .slice(0, count)
          .map((ref) => ({
            name: ref.slice(prefix.length),
            tag: this.objects.get(this.refs.get(ref) ?? ""),
          })),
      ]),
    );
  }

  async rulesAgainst(): Promise<[]> {
    return [];
  }

  /** A tag as somebody pushed it: annotated with a message, or lightweight. */
  push(name: string, message: string | undefined, commit: string): void {
    const sha = message === undefined ? commit : `tag-${this.objects.size + 1}`;
    if (message !== undefined) this.objects.set(sha, { sha, name, message, target: commit });
    this.refs.set(`refs/tags/${name}`, sha);
  }
}

const hashed = (value: unknown): string => createHash("sha1").update(JSON.stringify(value)).digest("hex");
