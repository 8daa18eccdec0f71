import { lstat, readlink, realpath } from "node:fs/promises";
import type { Buffer } from "node:buffer";
import { posix } from "node:path";
import { bytesOfPath, diskPath, pathOfBytes } from "./paths.ts";

/** Symbolic links that are followed for one path (Linux: `path_resolution(7)`). */
const MAX_LINKS = 40;

/** Where a path of the checkout ends once its symbolic links are followed. */
export interface Resolved {
  /** Every link on the way that lies in the checkout, in order. */
  readonly links: readonly string[];
  readonly end:
    | { readonly kind: "file" | "folder"; readonly path: string }
    /** Nothing is there; links that lead in a circle end nowhere too. */
    | { readonly kind: "missing"; readonly path: string }
    | { readonly kind: "outside" };
}

/** Follows a path of the checkout, link by link. What lies in `.git` is outside. */
export async function resolvePath(folder: string, path: string): Promise<Resolved> {
  const links: string[] = [];
  const names = path.split("/");
  let at = "";
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === "" || name === ".") continue;
    const here = posix.join(at, name);
    if (isOutside(here)) return { links, end: await throughOutside(folder, path) };
    if (name === "..") {
      at = here === "." ? "" : here;
      continue;
    }
    if (name === ".git") return { links, end: { kind: "outside" } };
    const stat = await lstat(diskPath(folder, here)).catch(() => undefined);
    if (stat?.isSymbolicLink() !== true) {
      at = here;
      if (stat === undefined || (names.length > 0 && !stat.isDirectory())) {
        const missing = posix.join(here, ...names);
        return { links, end: isOutside(missing) ? { kind: "outside" } : { kind: "missing", path: missing } };
      }
      continue;
    }
    links.push(here);
    if (links.length > MAX_LINKS) return { links, end: { kind: "missing", path: here } };
    const target = await linkText(folder, here);
    if (target.startsWith("/")) {
      const below = await belowRoot(folder, target);
      if (below === undefined) return { links, end: { kind: "outside" } };
      at = "";
      names.unshift(...below.split("/"));
    } else names.unshift(...target.split("/"));
  }
  return { links, end: await endAt(folder, at) };
}

const isOutside = (path: string): boolean => path === ".." || path.startsWith("../");

async function endAt(folder: string, at: string): Promise<Resolved["end"]> {
  const stat = await lstat(diskPath(folder, at)).catch(() => undefined);
  const path = at === "" ? "." : at;
  if (stat === undefined) return { kind: "missing", path };
  return { kind: stat.isDirectory() ? "folder" : "file", path };
}

/** A path that leaves the checkout may come back into it. */
async function throughOutside(folder: string, path: string): Promise<Resolved["end"]> {
  const end = await realpath(diskPath(folder, path), "buffer").catch(() => undefined);
  const below = end === undefined ? undefined : await belowRoot(folder, pathOfBytes(end.toString("latin1")));
  if (below === undefined || below.split("/").includes(".git")) return { kind: "outside" };
  return endAt(folder, below === "." ? "" : below);
}

/** An absolute path as one of the checkout; undefined if it is not in it. */
async function belowRoot(folder: string, path: string): Promise<string | undefined> {
  const roots = [folder, await realpath(folder)];
  const root = roots.find((each) => path === each || path.startsWith(`${each}/`));
  return root === undefined ? undefined : path.slice(root.length + 1) || ".";
}

/** Where a link says that it leads. */
export async function linkText(folder: string, path: string): Promise<string> {
  return pathOfBytes((await readlink(diskPath(folder, path), "buffer")).toString("latin1"));
}

/** The same as bytes, which are what git stores of a link. */
export async function linkBytes(folder: string, path: string): Promise<Buffer> {
  return bytesOfPath(await linkText(folder, path));
}
