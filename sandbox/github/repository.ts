import type { Ruleset } from "./rulesets.ts";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { git, gitText, NO_OBJECT, readObject, writeObject } from "./git.ts";
import { formatCommit } from "./objects.ts";

/**
 * When a ref on a commit that changes `.github/workflows` needs a token with `workflows`.
 * - `off`: never.
 * - `unreferenced`: when no branch and no tag points at the commit; GitHub changelog, 2023-11-02, "GitHub Actions –
 *   Enforcing workflow scope when creating a release".
 * - `not-a-branch-tip`: when no branch points at it, whatever tags do; mathieudutour/github-tag-action #138.
 * The reports conflict and GitHub has not documented it for `git/refs`, so that tests must run it both ways.
 */
export type WorkflowRule = "off" | "unreferenced" | "not-a-branch-tip";

export interface RepositoryOptions {
  readonly owner: string;
  readonly name: string;
  /** Where the bare repository is made. */
  readonly path: string;
  readonly private?: boolean;
  readonly defaultBranch?: string;
  readonly workflowRule?: WorkflowRule;
}

/** A workflow run, as `GET actions/runs/{id}` shows it. */
export interface WorkflowRun {
  readonly id: number;
  status: "queued" | "in_progress" | "completed";
  conclusion: "success" | "failure" | "cancelled" | "timed_out" | "skipped" | "neutral" | null;
  run_attempt: number;
  html_url: string;
}

/** A commit made without the API, as a push would. */
export interface SeedCommit {
  readonly message: string;
  /** Contents by path; null deletes. What is not named stays as in the parent. */
  readonly files?: Readonly<Record<string, string | null>>;
  /** The branch that moves to the commit. Default: the default branch; null: none. */
  readonly branch?: string | null;
  /** Default: the branch's tip, if there is one. */
  readonly parents?: readonly string[];
  readonly date?: Date;
}

/** One entry of a tree to build; `sha` null removes the path. */
export interface TreeEntry {
  readonly path: string;
  readonly mode: string;
  readonly sha: string | null;
}

/** What became of a ref that was to be written. */
export type RefOutcome = "done" | "exists" | "missing" | "rejected";

/** One ref of several that change together or not at all; zeros mean that there is no such ref. */
export interface RefUpdate {
  readonly name: string;
  /** What the ref must point at; absent: anything. */
  readonly before?: string;
  readonly after: string;
}

/** A repository that the sandbox's GitHub serves; its data is a real bare repository at `path`. */
export class GitHubRepository {
  readonly owner: string;
  readonly name: string;
  readonly path: string;
  readonly private: boolean;
  readonly defaultBranch: string;
  workflowRule: WorkflowRule;
  readonly runs = new Map<number, WorkflowRun>();
  /** May be added to while running. */
  readonly rulesets: Ruleset[] = [];
  /** Once true it stays so; saves a process a request. */
  #hasRefs = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: RepositoryOptions) {
    this.owner = options.owner;
    this.name = options.name;
    this.path = options.path;
    this.private = options.private ?? false;
    this.defaultBranch = options.defaultBranch ?? "main";
    this.workflowRule = options.workflowRule ?? "off";
  }

  get fullName(): string {
    return `${this.owner}/${this.name}`;
  }

  get htmlUrl(): string {
    return `https://github.com/${this.fullName}`;
  }

  addRun(run: Partial<WorkflowRun> & { readonly id: number }): WorkflowRun {
    const added: WorkflowRun = {
      status: "in_progress",
      conclusion: null,
      run_attempt: 1,
      html_url: `${this.htmlUrl}/actions/runs/${run.id}`,
      ...run,
    };
    this.runs.set(run.id, added);
    return added;
  }

  setRunStatus(
    id: number,
    status: WorkflowRun["status"],
    conclusion: WorkflowRun["conclusion"] = status === "completed" ? "success" : null,
  ): void {
    const run = this.runs.get(id);
    if (run === undefined) throw new Error(`no run ${id} in ${this.fullName}`);
    run.status = status;
    run.conclusion = conclusion;
  }

  /** Makes a commit as a push would, without the API and its permissions. Returns its sha. */
  async addCommit(commit: SeedCommit): Promise<string> {
    const branch = commit.branch === undefined ? this.defaultBranch : commit.branch;
    const tip = branch === null ? undefined : (await readObject(this.path, `refs/heads/${branch}`))?.oid;
    const parents = commit.parents ?? (tip === undefined ? [] : [tip]);
    const entries = await Promise.all(
      Object.entries(commit.files ?? {}).map(async ([path, content]) => ({
        path,
        mode: "100644",
        sha: content === null ? null : await writeObject(this.path, "blob", content),
      })),
    );
    const time = Math.floor((commit.date ?? new Date()).getTime() / 1000);
    const author = { name: "Seed", email: "seed@example.test", time, zone: "+0000" };
    const tree = await this.writeTree(parents[0], entries);
    if (tree === undefined) throw new Error(`the commit ${JSON.stringify(commit.message)} cannot be built`);
    const message = commit.message.endsWith("\n") ? commit.message : `${commit.message}\n`;
    const text = formatCommit({ tree, parents, author, committer: author, message });
    const oid = await writeObject(this.path, "commit", text);
    if (branch !== null) await gitText(this.path, ["update-ref", `refs/heads/${branch}`, oid]);
    return oid;
  }

  /** The tree of `base` with `entries` laid over it; undefined when git refuses them. */
  async writeTree(base: string | undefined, entries: readonly TreeEntry[]): Promise<string | undefined> {
    const index = join(this.path, `index-${randomUUID()}`);
    const run = async (args: string[], input = ""): Promise<boolean> =>
      (await git(this.path, args, { index, input })).code === 0;
    try {
      if (!(await run(base === undefined ? ["read-tree", "--empty"] : ["read-tree", base]))) return undefined;
      for (const entry of entries.filter(({ mode }) => mode === "040000")) {
        if (!(await run(["read-tree", `--prefix=${entry.path}/`, entry.sha ?? NO_OBJECT]))) return undefined;
      }
      const lines = entries
        .filter(({ mode }) => mode !== "040000")
        .map(({ path, mode, sha }) => `${sha === null ? `0 ${NO_OBJECT}` : `${mode} ${sha}`}\t${path}\0`);
      if (!(await run(["update-index", "-z", "--index-info"], lines.join("")))) return undefined;
      const result = await git(this.path, ["write-tree"], { index });
      return result.code === 0 ? result.stdout.toString().trim() : undefined;
    } finally {
      await rm(index, { force: true });
    }
  }

  /** Without a single ref: GitHub then answers 409 to what reads or writes the Git database. */
  async isEmpty(): Promise<boolean> {
    this.#hasRefs ||= (await gitText(this.path, ["for-each-ref", "--count=1"])) !== "";
    return !this.#hasRefs;
  }

  /** Creates a ref; git itself decides who was first, and refuses a name below or above an existing one. */
  async createRef(name: string, oid: string): Promise<RefOutcome> {
    return this.#inTurn(async () => {
      if ((await this.refTarget(name)) !== undefined) return "exists";
      return (await git(this.path, ["update-ref", name, oid, NO_OBJECT])).code === 0 ? "done" : "rejected";
    });
  }

  async updateRef(name: string, oid: string, expected: string): Promise<RefOutcome> {
    return this.#inTurn(async () =>
      (await git(this.path, ["update-ref", name, oid, expected])).code === 0 ? "done" : "rejected",
    );
  }

  /** Changes several refs in one transaction of git's. */
  async updateRefs(updates: readonly RefUpdate[]): Promise<"done" | "rejected"> {
    const line = ({ name, before = "", after }: RefUpdate): string => `update ${name}\0${after}\0${before}\0`;
    return this.#inTurn(async () => {
      const input = updates.map(line).join("");
      return (await git(this.path, ["update-ref", "-z", "--stdin"], { input })).code === 0
        ? "done"
        : "rejected";
    });
  }

  async deleteRef(name: string): Promise<RefOutcome> {
    return this.#inTurn(async () => {
      const oid = await this.refTarget(name);
      if (oid === undefined) return "missing";
      return (await git(this.path, ["update-ref", "-d", name, oid])).code === 0 ? "done" : "rejected";
    });
  }

  /** The object that exactly this ref points at, not peeled. */
  async refTarget(name: string): Promise<string | undefined> {
    const result = await git(this.path, ["show-ref", "--verify", "--hash", "--", name]);
    return result.code === 0 ? result.stdout.toString().trim() : undefined;
  }

  /** Whether the workflow rule forbids a token without `workflows` a ref on `oid`. */
  async needsWorkflows(oid: string): Promise<boolean> {
    if (this.workflowRule === "off") return false;
    const commit = await readObject(this.path, `${oid}^{commit}`);
    if (commit === undefined) return false;
    const places = this.workflowRule === "unreferenced" ? ["refs/heads/", "refs/tags/"] : ["refs/heads/"];
    const pointing = ["for-each-ref", "--count=1", `--points-at=${commit.oid}`, ...places];
    if ((await gitText(this.path, pointing)) !== "") return false;
    const changes = ["diff-tree", "--root", "-m", "-r", "--no-commit-id", "--name-only", commit.oid];
    return (await gitText(this.path, [...changes, "--", ".github/workflows"])) !== "";
  }

  /**
   * Refs are written one after another, so that of two creations at the same moment one succeeds and the other
   * meets an existing ref, instead of git's lock file.
   */
  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

export async function createRepository(options: RepositoryOptions): Promise<GitHubRepository> {
  const repository = new GitHubRepository(options);
  await gitText(options.path, ["init", "--quiet", "--bare", `--initial-branch=${repository.defaultBranch}`]);
  return repository;
}
