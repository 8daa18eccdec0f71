import { createHash } from "node:crypto";
import { posix } from "node:path";
import picomatch from "picomatch";
import type { ImageRecipe } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { Digest } from "../domain/image.ts";
import type { Subprocess } from "../domain/ports.ts";
import { isRepositoryPath } from "../domain/repository-path.ts";

/** Raised when the list below means something else; it is part of every digest. */
const FORMAT = 1;

/** One file that decides the image's content: git's mode and object id, whether git tracks it or not. */
export interface ContentFile {
  readonly path: string;
  /** `100644`, `100755` (executable), `120000` (symbolic link), `160000` (submodule). */
  readonly mode: string;
  /** The object's id, equal for equal content at any checkout depth and with any line-ending setting. */
  readonly object: string;
}

/** SHA-256 over the canonical list: format, template, files by path, variables by name. A pure function. */
export function digestOf(
  template: string,
  files: readonly ContentFile[],
  vars: Readonly<Record<string, string>>,
): Digest {
  const lines = [
    ["kiln-digest", FORMAT],
    ["template", template],
    ...files
      .toSorted((a, b) => byText(a.path, b.path))
      .map(({ mode, object, path }) => ["file", mode, object, path]),
    ...Object.entries(vars)
      .sort(([a], [b]) => byText(a, b))
      .map(([name, value]) => ["var", name, value]),
  ];
  // A JSON text a line: unambiguous whatever the paths and values contain.
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

/**
 * The same list for people, a line each, as git keeps it beside the image: the template, `mode object path`, and
 * `var NAME <SHA-256 of the value>`. Values are hashed: they may be long, and only whether they differ is asked. Of
 * sensitive ones even that is left out, since a short secret can be found by its hash.
 */
export function contentList(
  template: string,
  files: readonly ContentFile[],
  vars: Readonly<Record<string, string>>,
  sensitive: ReadonlySet<string>,
): string {
  const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
  const lines = [
    `template ${quoted(template)}`,
    ...files
      .toSorted((a, b) => byText(a.path, b.path))
      .map(({ mode, object, path }) => `${mode} ${object} ${quoted(path)}`),
    ...Object.entries(vars)
      .sort(([a], [b]) => byText(a, b))
      .map(([name, value]) => `var ${quoted(name)} ${sensitive.has(name) ? "sensitive" : hash(value)}`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A path may contain a line break: what could be read as something else is a JSON text, as git itself quotes such paths. */
const quoted = (path: string): string =>
  /[\p{Cc}\p{Zl}\p{Zp}"\\]/u.test(path) ? JSON.stringify(path) : path;

/** The workspace, as far as the digest asks it. */
export interface Checkout {
  readonly folder: string;
  readonly commit: string;
  readonly subprocess: Subprocess;
}

/**
 * The files that decide the image's content: what the commit holds, and what the working tree has besides it or
 * changed, since Packer reads the working tree.
 * @throws KilnError where git does not know the commit, the folder is no repository, or the template is not there
 */
export async function contentFiles(recipe: ImageRecipe, checkout: Checkout): Promise<readonly ContentFile[]> {
  // Independent of each other: the commit's tree, what differs from it, and what git does not track.
  const [tree, changed, untracked] = await Promise.all([
    listTree(checkout),
    git(checkout, ["diff", "--name-only", "--no-renames", "-z", checkout.commit, "--"]).catch(() => ""),
    git(checkout, ["--literal-pathspecs", "ls-files", "--others", "-z", "--", ...searchRoots(recipe)]),
  ]);
  const working = await withFoldersOpened([...records(changed), ...records(untracked)], checkout);
  const decides = contentMatcher(recipe, [...tree.map(({ path }) => path), ...working]);
  const files = new Map(tree.filter((file) => decides(file.path)).map((file) => [file.path, file]));
  for (const path of records(changed)) files.delete(path);
  for (const file of await hashWorkingFiles([...new Set(working.filter(decides))], checkout))
    files.set(file.path, file);
  requireFiles(recipe, [...files.keys()], checkout);
  return [...files.values()];
}

/** A file's name may have line breaks, which a wildcard takes too. */
const GLOB = { dot: true, flags: "s" } as const;

/** Which paths decide the content. Without `inputs`: all of the template's folder; a stale reuse would be worse than a bake too many. */
function contentMatcher(recipe: ImageRecipe, paths: readonly string[]): (path: string) => boolean {
  const { template, inputs } = recipe;
  const isTemplate = (path: string): boolean => isWithin(path, template) || recipe.varFiles.includes(path);
  if (inputs === undefined) {
    const folder = paths.includes(template) ? posix.dirname(template) : template;
    return (path) => isTemplate(path) || isWithin(path, folder);
  }
  const wanted = picomatch(
    inputs.filter((pattern) => !pattern.startsWith("!")),
    GLOB,
  );
  const unwanted = picomatch(
    inputs.filter((pattern) => pattern.startsWith("!")).map((pattern) => pattern.slice(1)),
    GLOB,
  );
  return (path) => isTemplate(path) || (wanted(path) && !unwanted(path));
}

/** Whether a path is this file, or below this folder; `.` is the whole repository. */
const isWithin = (path: string, fileOrFolder: string): boolean =>
  fileOrFolder === "." || path === fileOrFolder || path.startsWith(`${fileOrFolder}/`);

/** The folders below which untracked files can matter, so that git need not walk the whole tree. */
function searchRoots(recipe: ImageRecipe): string[] {
  const bases = recipe.inputs
    ?.filter((pattern) => !pattern.startsWith("!"))
    .map((pattern) => picomatch.scan(pattern).base)
    // An escaped `..` is found out only here.
    .map((base) => (isRepositoryPath(base) ? base : ".")) ?? [posix.dirname(recipe.template)];
  return [...new Set([recipe.template, ...recipe.varFiles, ...bases])].map((base) =>
    base === "" ? "." : base,
  );
}

async function listTree(checkout: Checkout): Promise<ContentFile[]> {
  const text = await git(checkout, ["ls-tree", "-r", "-z", "--full-tree", checkout.commit]);
  return records(text).flatMap((record) => {
    const match = /^(\d+) \w+ ([0-9a-f]+)\t(.*)$/s.exec(record);
    const [, mode, object, path] = match ?? [];
    return mode === undefined || object === undefined || path === undefined ? [] : [{ path, mode, object }];
  });
}

/** Git names a repository within this one (checked out into it, or a changed submodule) as one path: its files count. */
async function withFoldersOpened(paths: readonly string[], checkout: Checkout): Promise<string[]> {
  const { lstat, readdir } = await import("node:fs/promises");
  const opened = paths.map(async (path) => {
    const place = posix.join(checkout.folder, path);
    const stat = await lstat(place).catch(() => undefined);
    if (stat?.isDirectory() !== true) return [path];
    // With types it does not follow links to folders, which may lead anywhere.
    const below = await readdir(place, { recursive: true, withFileTypes: true });
    const names = below.map((entry) => posix.relative(place, posix.join(entry.parentPath, entry.name)));
    const own = names.filter((name) => !name.split("/").includes(".git"));
    return own.map((name) => posix.join(path, name));
  });
  return (await Promise.all(opened)).flat();
}

/** Files of the working tree, hashed by git itself, so that a file has the same id before and after it is committed. */
async function hashWorkingFiles(paths: readonly string[], checkout: Checkout): Promise<ContentFile[]> {
  if (paths.length === 0) return [];
  const { lstat, readlink } = await import("node:fs/promises");
  const behindLinks = await foldersBehindLinks(paths, checkout);
  const found = await Promise.all(
    paths.map(async (path) => ({
      path,
      // To git what is behind a link is not there.
      stat: behindLinks.has(posix.dirname(path))
        ? undefined
        : await lstat(posix.join(checkout.folder, path)).catch(() => undefined),
    })),
  );
  const links = found.filter(({ stat }) => stat?.isSymbolicLink() === true);
  const regular = found.filter(({ stat }) => stat?.isFile() === true);
  const ids = await git(
    checkout,
    ["hash-object", "--stdin-paths"],
    regular.map(({ path }) => `${gitQuoted(path)}\n`).join(""),
  );
  const linkFiles = links.map(async ({ path }) => ({
    path,
    mode: "120000",
    object: (
      await git(checkout, ["hash-object", "--stdin"], await readlink(posix.join(checkout.folder, path)))
    ).trim(),
  }));
  const objects = ids.split("\n");
  return [
    ...regular.map(({ path, stat }, index) => ({
      path,
      mode: ((stat?.mode ?? 0) & 0o111) === 0 ? "100644" : "100755",
      object: objects[index] ?? "",
    })),
    ...(await Promise.all(linkFiles)),
  ];
}

/** The folders of some paths that are a link, or in one: somebody put it in a folder's place. */
async function foldersBehindLinks(
  paths: readonly string[],
  { folder }: Checkout,
): Promise<ReadonlySet<string>> {
  const { realpath } = await import("node:fs/promises");
  const root = await realpath(folder);
  const folders = [...new Set(paths.map((path) => posix.dirname(path)))];
  const behind = await Promise.all(
    folders.map(async (path) => {
      const place = posix.join(root, path);
      // One that is gone is no link.
      return (await realpath(place).catch(() => place)) === place ? [] : [path];
    }),
  );
  return new Set(behind.flat());
}

/** A path as git quotes it: one line, whatever line breaks it has. */
function gitQuoted(path: string): string {
  // oxlint-disable-next-line no-control-regex
  const escaped = path.replace(/[\0-\x1f\x7f"\\]/g, (character) => {
    return `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`;
  });
  return `"${escaped}"`;
}

function requireFiles(recipe: ImageRecipe, paths: readonly string[], checkout: Checkout): void {
  const idle = recipe.inputs?.find(
    (pattern) => !pattern.startsWith("!") && !paths.some((path) => picomatch.isMatch(path, pattern, GLOB)),
  );
  if (idle !== undefined) {
    throw new KilnError(`The pattern "${idle}" in the image's inputs matches no file`, {
      state: "Nothing was changed.",
      next: `Correct or remove it; a folder is written "${idle.replace(/\/$/, "")}/**". What it should have named would not count as content.`,
    });
  }
  for (const [what, wanted] of [
    ["template", recipe.template],
    ...recipe.varFiles.map((file) => ["variable file", file] as const),
  ] as const) {
    if (paths.some((path) => isWithin(path, wanted))) continue;
    throw new KilnError(
      `The Packer ${what} ${wanted} is not in the repository at commit ${checkout.commit.slice(0, 12)}`,
      {
        state: "Nothing was changed.",
        next: `Correct the path in the config file; it is relative to the repository's root.`,
      },
    );
  }
}

const records = (text: string): string[] => text.split("\0").filter((record) => record !== "");

async function git(checkout: Checkout, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await checkout.subprocess.run("git", args, {
    cwd: checkout.folder,
    // Quoting and locale are fixed, so that the same tree gives the same list everywhere.
    env: { LC_ALL: "C", GIT_OPTIONAL_LOCKS: "0", GIT_TERMINAL_PROMPT: "0" },
    ...(input === undefined ? {} : { input }),
  });
  if (code === 0) return stdout;
  throw gitError(checkout, args[0] ?? "", stderr);
}

function gitError(checkout: Checkout, command: string, stderr: string): KilnError {
  const state = `git ${command}: ${stderr.trim()}`;
  if (/not a git repository|dubious ownership/i.test(stderr)) {
    return new KilnError(`${checkout.folder} is not a git checkout that git will read`, {
      state,
      next: "Run actions/checkout before this step.",
    });
  }
  return new KilnError(`git does not know commit ${checkout.commit} in this checkout`, {
    state,
    next: "Check that actions/checkout has checked out the commit that this run is for (its `ref` input), before this step.",
  });
}
