import { posix } from "node:path";
import picomatch from "picomatch";
import type { ImageRecipe } from "../../domain/application.ts";
import { isRepositoryPath } from "../../domain/repository-path.ts";
import { isWithin } from "./paths.ts";

/** Why a file counts. Of several reasons it has the first. */
export const REASONS = ["template", "variable file", "inputs", "reference", "link"] as const;
export type Reason = (typeof REASONS)[number];

/** Why a file counts, with what says so: a place in the template, or the link that leads to the file. */
export interface Counted {
  readonly reason: Reason;
  readonly because?: string | undefined;
  /** Files below it count although git ignores them: Packer uploads the folder as it is. */
  readonly whole?: boolean;
}

/** A file's name may have line breaks, which a wildcard takes too. */
const GLOB = { dot: true, flags: "s" } as const;

/** What Packer reads of a folder by itself (Packer documentation: templates, variable files). */
const PACKERS_OWN = /\.(?:pkr|auto\.pkrvars)\.(?:hcl|json)$/;

/** Which files of the checkout decide the image. */
export class ContentRules {
  /** The patterns that have to match something. */
  readonly patterns: readonly string[];
  readonly #template: string;
  /** Folders that Packer reads its own files of. */
  readonly #templateFolders = new Set<string>();
  readonly #outputs: ReadonlySet<string>;
  readonly #wanted: readonly ((path: string) => boolean)[];
  readonly #unwanted: readonly ((path: string) => boolean)[];
  readonly #files = new Map<string, Counted>();
  readonly #folders = new Map<string, Counted>();

  /** @param outputs files that the template itself writes */
  constructor(
    recipe: Pick<ImageRecipe, "template" | "inputs">,
    templateIsFolder: boolean,
    outputs: ReadonlySet<string>,
  ) {
    const { inputs = [] } = recipe;
    const template = posix.normalize(recipe.template).replace(/\/$/, "");
    this.#template = template;
    this.#outputs = outputs;
    this.patterns = inputs.filter((pattern) => !pattern.startsWith("!"));
    this.#wanted = this.patterns.map(matcherOf);
    this.#unwanted = inputs
      .filter((pattern) => pattern.startsWith("!"))
      .map((pattern) => matcherOf(pattern.slice(1)));
    if (templateIsFolder) this.addTemplateFolder(template);
    // A stale reuse would be worse than a bake too many.
    else if (this.patterns.length === 0) this.addFolder(posix.dirname(template), { reason: "template" });
  }

  /** Paths that hold all files that can count, so that git need not list the whole checkout. */
  get roots(): string[] {
    const bases = this.patterns
      .map((pattern) => picomatch.scan(pattern).base)
      // An escaped `..` is found out only here.
      .map((base) => (base !== "" && isRepositoryPath(base) ? posix.normalize(base) : "."));
    return [this.#template, ...this.#files.keys(), ...this.#folders.keys(), ...bases];
  }

  /** The folder that is the template, or where a link in its place leads. */
  addTemplateFolder(path: string): void {
    this.#templateFolders.add(path);
    this.addFolder(path, { reason: "template" });
  }

  /** A file that counts whatever `inputs` and git's rules say. */
  addFile(path: string, counted: Counted): void {
    if (!this.#files.has(path)) this.#files.set(path, counted);
  }

  /** A folder whose files count, less what `!` patterns take out and, unless it is `whole`, what git ignores. */
  addFolder(path: string, counted: Counted): void {
    const known = this.#folders.get(path);
    if (known === undefined) this.#folders.set(path, counted);
    else if (counted.whole === true) this.#folders.set(path, { ...known, whole: true });
  }

  /** Why a file counts; undefined if it does not. */
  reasonFor(path: string, ignored: boolean): Counted | undefined {
    const named = this.#files.get(path);
    if (named !== undefined) return named;
    if (this.isReadByPacker(path)) return { reason: "template" };
    if (this.#outputs.has(path) || this.isTakenOut(path)) return undefined;
    let found: Counted | undefined;
    if (this.#folders.size > 0) {
      for (const folder of upward(path)) {
        const counted = this.#folders.get(folder);
        if (counted !== undefined && (!ignored || counted.whole === true)) found = earlier(found, counted);
      }
    }
    return this.#wanted.some((matches) => matches(path)) ? earlier(found, INPUTS) : found;
  }

  /** True for the files that Packer itself reads of the template's folder. */
  isReadByPacker(path: string): boolean {
    return PACKERS_OWN.test(path) && this.#templateFolders.has(posix.dirname(path));
  }

  /** A pattern of `inputs` that matches none of some paths; undefined if each matches one. */
  idlePattern(paths: readonly string[]): string | undefined {
    return this.patterns.find((_, index) => !paths.some((path) => this.#wanted[index]?.(path) === true));
  }

  /** True if the template refers to a path, or to a folder that it lies in: what git ignores there counts too. */
  isWhole(path: string): boolean {
    return [this.#files.get(path), ...upward(path).map((folder) => this.#folders.get(folder))].some(
      (counted) => counted?.whole === true,
    );
  }

  isTakenOut(path: string): boolean {
    return this.#unwanted.some((matches) => matches(path));
  }

  /** True if files below a folder that cannot be listed could count. */
  couldCountBelow(folder: string): boolean {
    if ([...this.#files.keys()].some((path) => isWithin(path, folder))) return true;
    if ([...this.#folders.keys()].some((path) => path !== folder && isWithin(path, folder))) return true;
    if (this.isTakenOut(folder) || this.isTakenOut(`${folder}/any`)) return false;
    return (
      upward(`${folder}/any`).some((path) => this.#folders.has(path)) ||
      this.patterns.some((pattern) => couldMatchBelow(pattern, folder))
    );
  }
}

function matcherOf(pattern: string): (path: string) => boolean {
  return picomatch(pattern, GLOB);
}

/** The folders that a path lies in, the path itself among them: it may be a link in a folder's place. */
function upward(path: string): string[] {
  const found = ["."];
  for (let end = path.indexOf("/"); end !== -1; end = path.indexOf("/", end + 1))
    found.push(path.slice(0, end));
  found.push(path);
  return found;
}

const INPUTS: Counted = { reason: "inputs" };

/** Of two reasons the one that is given. */
function earlier(one: Counted | undefined, other: Counted): Counted {
  if (one === undefined) return other;
  return REASONS.indexOf(other.reason) < REASONS.indexOf(one.reason) ? other : one;
}

function couldMatchBelow(pattern: string, folder: string): boolean {
  const { base } = picomatch.scan(pattern);
  if (base !== "" && isWithin(posix.normalize(base), folder)) return true;
  if (base !== "" && !isWithin(folder, posix.normalize(base))) return false;
  // Of a pattern with braces or brackets the segments cannot be told by their slashes.
  if (/[{}()[\]\\]/.test(pattern)) return true;
  const [segments, names] = [posix.normalize(pattern).split("/"), folder.split("/")];
  for (const [index, name] of names.entries()) {
    const segment = segments[index];
    if (segment?.includes("**") === true) return true;
    if (segment === undefined || !picomatch.isMatch(name, segment, GLOB)) return false;
  }
  return segments.length > names.length;
}
