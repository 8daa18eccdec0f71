import type { Repository, TagObject, TagRef } from "../../src/github/repository.ts";

/** A repository's refs and tag objects, with GitHub's answers. */
export class InMemoryRepository implements Repository {
  readonly refs = new Map<string, string>();
  readonly objects = new Map<string, TagObject & { readonly name: string }>();
  readonly runs = new Map<string, "active" | "ended" | "unknown">();
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

  async deleteRef(ref: string): Promise<void> {
    this.refs.delete(ref);
  }

  async runState(runId: string) {
    return this.runs.get(runId) ?? "unknown";
  }

  /** Nothing here has files. */
  async readFile(): Promise<string | undefined> {
    return undefined;
  }

  /** Nothing here has a history. */
  async isAncestor(): Promise<boolean> {
    return false;
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

  /** A tag as somebody pushed it: annotated with a message, or lightweight. */
  push(name: string, message: string | undefined, commit: string): void {
    const sha = message === undefined ? commit : `tag-${this.objects.size + 1}`;
    if (message !== undefined) this.objects.set(sha, { sha, name, message, target: commit });
    this.refs.set(`refs/tags/${name}`, sha);
  }
}
