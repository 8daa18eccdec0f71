import { lstat } from "node:fs/promises";
import { posix } from "node:path";
import { KilnError } from "../../domain/errors.ts";
import { type GitFolder, recordsOf, runGit } from "../git.ts";
import { diskPath, isWithin, pathOfBytes } from "./paths.ts";

/** A repository whose working tree is, or lies in, the checkout: the checkout itself, a submodule, another checkout. */
export interface NestedRepository extends GitFolder {
  /** Where it lies in the checkout; empty for the checkout itself. */
  readonly prefix: string;
  /** The hash that its object ids are made with. */
  algorithm: "sha1" | "sha256";
}

/** What git's index says about a file. */
export interface IndexEntry {
  /** `100644`, `100755` (executable), `120000` (symbolic link). */
  readonly mode: string;
  /** The object's id: the hash of what git stores, which filters may make different from what is on disk. */
  readonly object: string;
  /** Bytes on disk when git last compared the file with the index. */
  readonly size: number;
  /** The file on disk has not changed since then, and no filter program decides its bytes. */
  readonly unchanged: boolean;
  /** Git does not expect it on disk: a sparse checkout, or `git update-index --skip-worktree`. */
  readonly skipped: boolean;
}

/** A file or symbolic link of the working tree, which may be missing on disk if git tracks it. */
export interface TreeEntry {
  /** Relative to the checkout's root. */
  readonly path: string;
  readonly repository: NestedRepository;
  /** Undefined for a file that git does not track. */
  readonly index: IndexEntry | undefined;
  /** Git's rules (`.gitignore`) say that it is not to be tracked. */
  readonly ignored: boolean;
  /** `.gitattributes` names a filter or an encoding for it, such as `filter=lfs`. */
  readonly filtered: boolean;
}

/** The files of a checkout, as far as they were asked for, with those of the repositories in it. */
export class WorkingTree {
  /** By path. */
  readonly entries = new Map<string, TreeEntry>();
  /** Submodules that are not checked out. */
  readonly absentSubmodules = new Set<string>();
  readonly #root: NestedRepository;
  readonly #listed = new Set<string>();

  constructor({ folder, subprocess }: GitFolder) {
    this.#root = { folder, subprocess, prefix: "", algorithm: "sha1" };
  }

  /**
   * Adds all files at or below some paths; `.` is the whole checkout. Paths that were listed before cost nothing.
   * @throws KilnError if git cannot read the checkout
   */
  async list(paths: Iterable<string>): Promise<void> {
    const roots = fewer([...paths].filter((path) => !isBelowOneOf(path, this.#listed)));
    if (roots.length === 0) return;
    for (const root of roots) this.#listed.add(root);
    await this.#scan(this.#root, roots, false);
  }

  /** @param roots relative to the repository's own root */
  async #scan(repository: NestedRepository, roots: readonly string[], ignored: boolean): Promise<void> {
    const borders = await bordersOf(repository, roots);
    const found = await listFiles(
      repository,
      outermost(roots.map((root) => borders.find((border) => isWithin(root, border)) ?? root)),
      ignored,
    );
    for (const entry of found.entries) this.entries.set(entry.path, entry);
    const nested = found.repositories.map(async (inner): Promise<void> => {
      const path = posix.join(repository.prefix, inner.path);
      const folder = posix.join(repository.folder, inner.path);
      if (!(await exists(diskPath(folder, ".git")))) {
        this.absentSubmodules.add(path);
        return;
      }
      const within = roots
        .filter((root) => isWithin(root, inner.path))
        .map((root) => posix.relative(inner.path, root) || ".");
      await this.#scan(
        { ...this.#root, folder, prefix: path },
        within.length > 0 ? within : ["."],
        ignored || inner.ignored,
      );
    });
    await Promise.all(nested);
  }
}

/** Some paths without those that lie in another of them. */
function outermost(paths: readonly string[]): string[] {
  const distinct = new Set(paths);
  return [...distinct].filter((path) => path === "." || !isBelowOneOf(posix.dirname(path), distinct));
}

/** True if a path is one of some, or lies in one of them. */
function isBelowOneOf(path: string, folders: ReadonlySet<string>): boolean {
  return folders.has(".") || (path !== "." && upward(path).some((folder) => folders.has(folder)));
}

/** Paths that git is given at once: it compares each file with each of them, and a command line has an end. */
const MAX_PATHS = 200;

/** The same with less than {@link MAX_PATHS}: the folders that they lie in, which may hold more. */
function fewer(paths: readonly string[]): string[] {
  const found = outermost(paths);
  return found.length <= MAX_PATHS ? found : fewer(found.map((path) => posix.dirname(path)));
}

/** The submodules and other repositories that some paths lie in, which git does not look into. */
async function bordersOf(repository: NestedRepository, roots: readonly string[]): Promise<readonly string[]> {
  const ancestors = new Set(roots.flatMap((root) => (root === "." ? [] : upward(root))));
  const checks = [...ancestors].map(async (path) =>
    (await exists(diskPath(repository.folder, `${path}/.git`))) ? [path] : [],
  );
  const [present, submodules] = await Promise.all([Promise.all(checks), submodulePaths(repository)]);
  return outermost([...present.flat(), ...submodules.filter((path) => ancestors.has(path))]);
}

/** `a`, `a/b`, `a/b/c` of `a/b/c`. */
function upward(path: string): string[] {
  const names = path.split("/");
  return names.map((_, index) => names.slice(0, index + 1).join("/"));
}

/** Where the submodules belong, checked out or not. */
async function submodulePaths(repository: NestedRepository): Promise<readonly string[]> {
  if (!(await exists(diskPath(repository.folder, ".gitmodules")))) return [];
  // 1: no such key.
  const text = await runGit(
    repository,
    ["config", "-z", "-f", ".gitmodules", "--get-regexp", "^submodule\\..*\\.path$"],
    { codes: [1] },
  );
  return recordsOf(text).map((record) =>
    posix.normalize(pathOfBytes(record.slice(record.indexOf("\n") + 1))),
  );
}

async function exists(place: string | Buffer): Promise<boolean> {
  return lstat(place).then(
    () => true,
    () => false,
  );
}

interface Listed {
  readonly entries: readonly TreeEntry[];
  /** Relative to the root of the repository that they lie in. */
  readonly repositories: readonly { readonly path: string; readonly ignored: boolean }[];
}

/**
 * What git knows about the files below some paths. Repositories in this one are named, not looked into.
 * @param allIgnored the repository itself is ignored by the one that it lies in
 */
async function listFiles(
  repository: NestedRepository,
  paths: readonly string[],
  allIgnored: boolean,
): Promise<Listed> {
  const specs = paths.map((path) => (path === "." ? path : `:(literal)${argument(path)}`));
  const [tracked, changed, untracked, filtered] = await Promise.all([
    // With sizes, which only --debug prints; -v tells what git has been told not to look at.
    runGit(repository, ["ls-files", "-z", "--stage", "-v", "--debug", "--", ...specs]),
    listChanged(repository, specs),
    runGit(repository, ["ls-files", "-z", "--others", "--", ...specs]),
    runGit(repository, ["ls-files", "-z", "--", ...specs, ":(exclude,attr:!filter !working-tree-encoding)"]),
  ]);
  const index = indexRecords(tracked, new Set(changed), new Set(recordsOf(filtered)));
  repository.algorithm = await algorithmOf(repository, index[0]?.object);
  const others = recordsOf(untracked);
  const known = others.length === 0 ? others : await listNotIgnored(repository, specs);
  const notIgnored = new Set(known);
  const isIgnored = (record: string): boolean => allIgnored || !notIgnored.has(record);
  const entries: TreeEntry[] = [];
  const repositories: { path: string; ignored: boolean }[] = [];
  for (const record of index) {
    const path = pathOfBytes(record.path);
    if (record.mode === SUBMODULE) repositories.push({ path, ignored: allIgnored });
    else {
      const { filtered } = record;
      entries.push({
        path: below(repository, path),
        repository,
        index: record,
        ignored: allIgnored,
        filtered,
      });
    }
  }
  for (const record of others) {
    const ignored = isIgnored(record);
    if (record.endsWith("/")) repositories.push({ path: pathOfBytes(record.slice(0, -1)), ignored });
    else {
      const path = below(repository, pathOfBytes(record));
      entries.push({ path, repository, index: undefined, ignored, filtered: false });
    }
  }
  return { entries, repositories };
}

function below({ prefix }: NestedRepository, path: string): string {
  return prefix === "" ? path : `${prefix}/${path}`;
}

async function listNotIgnored(
  repository: NestedRepository,
  specs: readonly string[],
): Promise<readonly string[]> {
  return recordsOf(
    await runGit(repository, ["ls-files", "-z", "--others", "--exclude-standard", "--", ...specs]),
  );
}

const SUBMODULE = "160000";

/** @param object any object's id; undefined if none is known */
async function algorithmOf(
  repository: NestedRepository,
  object: string | undefined,
): Promise<"sha1" | "sha256"> {
  if (object !== undefined) return object.length === 64 ? "sha256" : "sha1";
  // 128, 129: a git that knows of one format only.
  const format = await runGit(repository, ["rev-parse", "--show-object-format"], { codes: [128, 129] });
  return format.trim() === "sha256" ? "sha256" : "sha1";
}

/** An argument of a program is UTF-8: a path that is not has to be listed with the whole folder that it lies in. */
function argument(path: string): string {
  let known = path;
  while (!known.isWellFormed()) known = posix.dirname(known);
  return known === "." ? "" : known;
}

/** Files whose type, mode, size or times differ from the index. None is compared by content, which would run filters. */
async function listChanged(
  repository: NestedRepository,
  specs: readonly string[],
): Promise<readonly string[]> {
  // 1: none.
  const names = await runGit(repository, ["config", "-z", "--name-only", "--get-regexp", "^filter\\."], {
    codes: [1],
  });
  const filters = new Set(recordsOf(names).map((name) => name.slice(0, name.lastIndexOf("."))));
  const settings = Object.fromEntries(
    [...filters].flatMap((filter) => [
      [`${filter}.clean`, ""],
      [`${filter}.process`, ""],
      [`${filter}.required`, "false"],
    ]),
  );
  // Files of the index's own second are compared by content all the same: with the filters off.
  return recordsOf(
    await runGit(repository, ["diff-files", "-z", "--name-only", "--ignore-submodules=all", "--", ...specs], {
      settings,
    }),
  );
}

/** An entry as it is printed: its path in bytes, and whether a filter program or an encoding is set for it. */
interface IndexRecord extends IndexEntry {
  readonly path: string;
  readonly filtered: boolean;
}

/** The records of `git ls-files --stage -v --debug -z`: `H 100644 <object> 0<TAB>path<NUL>`, then lines about the file. */
function indexRecords(
  text: string,
  changed: ReadonlySet<string>,
  filtered: ReadonlySet<string>,
): readonly IndexRecord[] {
  const records: IndexRecord[] = [];
  for (let at = 0; at < text.length;) {
    const tab = text.indexOf("\t", at);
    const end = text.indexOf("\0", tab);
    const size = text.indexOf(SIZE, end);
    const next = text.indexOf("\n", size + 1);
    const header = /^([A-Za-z?]) (\d{6}) ([0-9a-f]{40,64}) (\d)$/.exec(text.slice(at, Math.max(at, tab)));
    const [, tag, mode = "", object = "", stage] = header ?? [];
    if (tag === undefined || end === -1 || size === -1 || next === -1) throw unknownForm(text.slice(at));
    const path = text.slice(tab + 1, end);
    const isFiltered = filtered.has(path);
    records.push({
      path,
      mode,
      object,
      size: Number.parseInt(text.slice(size + SIZE.length, next), 10),
      // Other tags: told to be taken as unchanged (small letters), not expected on disk (S), unmerged (M).
      unchanged: tag === "H" && stage === "0" && !isFiltered && !changed.has(path),
      skipped: tag === "S" || tag === "s",
      filtered: isFiltered,
    });
    at = next + 1;
  }
  return records;
}

const SIZE = "\n  size: ";

function unknownForm(text: string): KilnError {
  return new KilnError("git lists its index in a form that Kiln does not know", {
    state: `Nothing was changed. \`git ls-files --stage -v --debug -z\` printed: ${JSON.stringify(text.slice(0, 200))}`,
    next: "Use the git of the runner's image, or report this with the output of `git --version`.",
  });
}
