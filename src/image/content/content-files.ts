import { stat } from "node:fs/promises";
import { posix } from "node:path";
import type { ImageRecipe } from "../../domain/application.ts";
import { InvalidInputError, KilnError, type Problem } from "../../domain/errors.ts";
import type { GitFolder } from "../git.ts";
import type { FileReference } from "../template/template-facts.ts";
import { type ContentFile, quoted } from "./digest.ts";
import { type Identity, identify } from "./identity.ts";
import { type Resolved, resolvePath } from "./links.ts";
import { byText, diskPath, isWithin } from "./paths.ts";
import { ContentRules, type Counted, type Reason } from "./rules.ts";
import { type TreeEntry, WorkingTree } from "./working-tree.ts";

/** A file that decides the image, and why. */
export interface CountedFile extends ContentFile {
  readonly reason: Reason;
  /** What says so: a place in the template, or the link that leads to the file. */
  readonly because?: string | undefined;
}

/** What the template says about files. */
export interface TemplateFiles {
  readonly references: readonly FileReference[];
  /** Files that the template itself writes, relative to the repository's root. */
  readonly outputs: readonly string[];
}

export interface FoundFiles {
  readonly files: readonly CountedFile[];
  /** Symbolic links among them that lead out of the repository: what is there is no part of the image's identity. */
  readonly linksOutside: readonly string[];
  /** Files that the template needs and that are not there. */
  readonly missing: readonly FileReference[];
}

type FileRecipe = Pick<ImageRecipe, "template" | "varFiles" | "inputs">;

/**
 * The files that decide the image, as they are on disk: the template, variable files, what `inputs` matches, what the
 * template refers to, and what symbolic links among them lead to.
 * @throws KilnError if the checkout cannot be read, lacks content, or names content that is not there
 */
export async function findContentFiles(
  recipe: FileRecipe,
  { references, outputs }: TemplateFiles,
  checkout: GitFolder,
): Promise<FoundFiles> {
  const named = await resolveNamed(recipe, references, checkout.folder);
  const rules = new ContentRules(recipe, await isFolder(checkout.folder, recipe.template), new Set(outputs));
  for (const each of named) addNamed(rules, each);
  const search = new Search(rules, checkout);
  await search.add([...rules.roots, ...named.map(({ resolved }) => pathOf(resolved)).filter(isPath)]);
  refuseIncomplete(search, rules);
  const { files } = search;
  requireContent(named, rules, search);
  return {
    files,
    linksOutside: search.linksOutside.toSorted(byText),
    missing: named.flatMap(({ reference, resolved }) =>
      reference?.required === true && resolved.end.kind === "missing" ? [reference] : [],
    ),
  };
}

/** A path that the config file or the template names, and where it leads. */
interface Named {
  readonly path: string;
  readonly counted: Counted;
  readonly resolved: Resolved;
  readonly reference?: FileReference;
}

async function resolveNamed(
  { template, varFiles }: FileRecipe,
  references: readonly FileReference[],
  folder: string,
): Promise<readonly Named[]> {
  const all: Omit<Named, "resolved">[] = [
    { path: template, counted: { reason: "template" } },
    ...varFiles.map((path) => ({ path, counted: { reason: "variable file" } as const })),
    ...references.map((reference) => ({
      path: reference.path,
      counted: { reason: "reference", because: becauseOf(reference), whole: true } as const,
      reference,
    })),
  ];
  return Promise.all(all.map(async (each) => ({ ...each, resolved: await resolvePath(folder, each.path) })));
}

/** `packer/web.pkr.hcl:12: script` */
function becauseOf({ place: { file, line }, attribute }: FileReference): string {
  return `${file}:${line}: ${attribute}`;
}

/**
 * A named path counts with every link on the way to it.
 * @throws KilnError if Packer reads it, and it lies outside of the repository
 */
function addNamed(rules: ContentRules, { path, counted, resolved, reference }: Named): void {
  for (const link of resolved.links) rules.addFile(link, counted);
  const { end } = resolved;
  if (end.kind === "outside") {
    if (reference === undefined) throw leadsOutside(path);
    return;
  }
  if (end.kind !== "folder") rules.addFile(end.path, counted);
  // What is missing on disk may be a folder of a sparse checkout.
  if (end.kind !== "file" && counted.reason !== "variable file") rules.addFolder(end.path, counted);
  if (end.kind === "folder" && counted.reason === "template") rules.addTemplateFolder(end.path);
}

function leadsOutside(path: string): KilnError {
  return new KilnError(`${quoted(path)} is a symbolic link that leads out of the repository`, {
    state: "Nothing was changed.",
    next: "Commit the file itself: what Packer builds from has to be in the commit that is released.",
  });
}

const pathOf = ({ end }: Resolved): string | undefined => (end.kind === "outside" ? undefined : end.path);
const isPath = (path: string | undefined): path is string => path !== undefined;

async function isFolder(folder: string, path: string): Promise<boolean> {
  return stat(diskPath(folder, path)).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** Lists and identifies what counts, and goes on with what links lead to until nothing new is found. */
class Search {
  readonly tree: WorkingTree;
  readonly linksOutside: string[] = [];
  /** Content that git left out of the checkout. */
  readonly skipped: string[] = [];
  /** Content that is a Git LFS pointer. */
  readonly pointers: string[] = [];
  readonly #rules: ContentRules;
  readonly #folder: string;
  readonly #files = new Map<string, CountedFile>();
  readonly #seen = new Set<string>();

  constructor(rules: ContentRules, checkout: GitFolder) {
    this.#rules = rules;
    this.#folder = checkout.folder;
    this.tree = new WorkingTree(checkout);
  }

  /** By path. */
  get files(): readonly CountedFile[] {
    return [...this.#files.values()].sort((a, b) => byText(a.path, b.path));
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  hasBelow(path: string): boolean {
    return this.#files.has(path) || [...this.#files.keys()].some((file) => isWithin(file, path));
  }

  async add(paths: readonly string[]): Promise<void> {
    for (let wanted = paths; wanted.length > 0;) {
      await this.tree.list(wanted);
      const links = await this.#identify(this.#unseen());
      wanted = (await Promise.all(links.map((link) => this.#follow(link)))).flat();
    }
  }

  /** Entries that count, and that did not before. */
  #unseen(): { readonly entry: TreeEntry; readonly counted: Counted }[] {
    const found = [];
    for (const entry of this.tree.entries.values()) {
      if (this.#seen.has(entry.path)) continue;
      const counted = this.#rules.reasonFor(entry.path, entry.ignored);
      if (counted === undefined) continue;
      this.#seen.add(entry.path);
      found.push({ entry, counted });
    }
    return found;
  }

  /** @returns those that are symbolic links */
  async #identify(
    found: readonly { readonly entry: TreeEntry; readonly counted: Counted }[],
  ): Promise<readonly CountedFile[]> {
    const identities = await identify(
      found.map(({ entry }) => entry),
      this.#folder,
    );
    const links: CountedFile[] = [];
    for (const { entry, counted } of found) {
      const { path, index } = entry;
      const identity: Identity | undefined = identities.get(path);
      if (identity === undefined) {
        // One that is deleted does not count.
        if (index?.skipped === true) this.skipped.push(path);
        continue;
      }
      if (identity.isPointer) this.pointers.push(path);
      const { mode, object } = identity;
      const { reason, because } = counted;
      const file: CountedFile =
        because === undefined ? { path, mode, object, reason } : { path, mode, object, reason, because };
      this.#files.set(path, file);
      if (mode === LINK) links.push(file);
    }
    return links;
  }

  /** @returns what has to be listed, so that what the link leads to counts */
  async #follow({ path }: CountedFile): Promise<readonly string[]> {
    const { links, end } = await resolvePath(this.#folder, path);
    const counted: Counted = { reason: "link", because: path, whole: this.#rules.isWhole(path) };
    for (const link of links) this.#rules.addFile(link, counted);
    if (end.kind === "outside") {
      if (this.#rules.isReadByPacker(path)) throw leadsOutside(path);
      this.linksOutside.push(path);
      return links;
    }
    if (end.kind !== "folder") this.#rules.addFile(end.path, counted);
    if (end.kind !== "file") this.#rules.addFolder(end.path, counted);
    return [...links, end.path];
  }
}

const LINK = "120000";
/** Paths that a message names. */
const NAMED = 5;

function some(paths: readonly string[]): string {
  const more = paths.length > NAMED ? ` and ${paths.length - NAMED} more` : "";
  return `${paths.toSorted().slice(0, NAMED).map(quoted).join(", ")}${more}`;
}

/** @throws InvalidInputError if the checkout lacks content: everything that is missing, with the remedies */
function refuseIncomplete({ pointers, skipped, tree }: Search, rules: ContentRules): void {
  const submodules = [...tree.absentSubmodules].filter((path) => rules.couldCountBelow(path));
  const problem = (paths: readonly string[], message: string): Problem[] =>
    paths.length === 0 ? [] : [{ where: "the checkout", message }];
  const problems = [
    ...problem(
      pointers,
      `has Git LFS pointers in place of files that decide the image: ${some(pointers)}. Set \`lfs: true\` in the step with actions/checkout`,
    ),
    ...problem(
      submodules,
      `lacks submodules whose files decide the image: ${some(submodules)}. Set \`submodules: true\` in the step with actions/checkout`,
    ),
    ...problem(
      skipped,
      `is sparse and lacks files that decide the image: ${some(skipped)}. Add them to \`sparse-checkout\` in the step with actions/checkout, or remove that input; a file that was hidden by hand comes back with \`git update-index --no-skip-worktree\` and \`git checkout\``,
    ),
  ];
  if (problems.length > 0) throw new InvalidInputError(problems);
}

function requireContent(named: readonly Named[], rules: ContentRules, search: Search): void {
  const idle = rules.idlePattern(search.paths);
  if (idle !== undefined) {
    throw new KilnError(`The pattern "${idle}" in the image's inputs matches no file`, {
      state: "Nothing was changed.",
      next: `Correct or remove it; a folder is written "${idle.replace(/\/$/, "")}/**". What it should have named would not count as content.`,
    });
  }
  for (const { path, counted, reference, resolved } of named) {
    const end = pathOf(resolved);
    if (reference !== undefined || (end !== undefined && search.hasBelow(end))) continue;
    throw new KilnError(`The Packer ${counted.reason} ${path} is not in the checkout`, {
      state: "Nothing was changed.",
      next: "Correct the path in the config file: it is relative to the repository's root. If an earlier step of the job writes the file, check that it did.",
    });
  }
}

/** Where a file that is missing lies if its path is taken as relative to the template's folder; undefined if not there either. */
export async function besideTemplate(
  { template }: FileRecipe,
  path: string,
  folder: string,
): Promise<string | undefined> {
  const base = (await isFolder(folder, template)) ? template : posix.dirname(template);
  const place = posix.join(base, path);
  const isThere = await stat(diskPath(folder, place)).then(
    () => true,
    () => false,
  );
  return base !== "." && isThere ? base : undefined;
}
