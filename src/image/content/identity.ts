import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, open, realpath } from "node:fs/promises";
import { posix } from "node:path";
import { KilnError } from "../../domain/errors.ts";
import { runGit } from "../git.ts";
import { quoted } from "./digest.ts";
import { linkBytes } from "./links.ts";
import { diskPath } from "./paths.ts";
import type { NestedRepository, TreeEntry } from "./working-tree.ts";

/** What is on disk at a path: git's name for a file of these bytes, and its mode. */
export interface Identity {
  /** `100644`, `100755` (executable), `120000` (symbolic link). */
  readonly mode: string;
  /** The id that git gives to the bytes on disk, without filters: equal for equal bytes. */
  readonly object: string;
  /** The bytes are not the file, but what Git LFS puts in its place. */
  readonly isPointer: boolean;
}

/** Files that are read at the same time. */
const CONCURRENCY = 16;

/**
 * What is on disk at each of some entries; those that are not there are left out. A file is read unless git's index is sure of
 * its bytes: it has not changed since git compared it, no filter program is set for it, and it is exactly as long as what git
 * stores, so that no line ending and no `$Id$` was converted.
 */
export async function identify(
  entries: readonly TreeEntry[],
  folder: string,
): Promise<ReadonlyMap<string, Identity>> {
  const found = new Map<string, Identity>();
  const certain = await certainEntries(entries);
  for (const { path, index } of certain) {
    if (index !== undefined) found.set(path, { mode: index.mode, object: index.object, isPointer: false });
  }
  const read = entries.filter(({ path }) => !found.has(path));
  const behind = await foldersBehindLinks(read, folder);
  const queue = read.values();
  const work = async (): Promise<void> => {
    for (const entry of queue) {
      // To git what is behind a link is not there.
      if (behind.has(posix.dirname(entry.path))) continue;
      const identity = await readIdentity(entry, folder);
      if (identity !== undefined) found.set(entry.path, identity);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return found;
}

/** The entries whose bytes git's index is sure of. */
async function certainEntries(entries: readonly TreeEntry[]): Promise<readonly TreeEntry[]> {
  const unchanged = Map.groupBy(
    entries.filter(({ index }) => index?.unchanged === true),
    ({ repository }) => repository,
  );
  const certain = [...unchanged].map(async ([repository, all]) => {
    // One line per object, in the order in which they are asked for: `<object> <size>`, or that it is missing.
    const text = await runGit(
      repository,
      ["cat-file", "--batch-check=%(objectname) %(objectsize)", "--buffer"],
      { input: all.map(({ index }) => `${index?.object}\n`).join("") },
    );
    let at = 0;
    return all.filter(({ index }) => {
      const isStored = text.startsWith(`${index?.object} ${index?.size}\n`, at);
      at = text.indexOf("\n", at) + 1;
      return isStored;
    });
  });
  return (await Promise.all(certain)).flat();
}

/** The folders of some entries that are a link, or in one: somebody put it in a folder's place. */
async function foldersBehindLinks(
  entries: readonly TreeEntry[],
  folder: string,
): Promise<ReadonlySet<string>> {
  if (entries.length === 0) return new Set();
  const root = await realpath(folder);
  const folders = [...new Set(entries.map(({ path }) => posix.dirname(path)))];
  const behind = await Promise.all(
    folders.map(async (path) => {
      const place = Buffer.from(diskPath(root, path));
      // One that is gone is no link.
      const end = await realpath(place, "buffer").catch(() => place);
      return end.equals(place) ? [] : [path];
    }),
  );
  return new Set(behind.flat());
}

async function readIdentity(entry: TreeEntry, folder: string): Promise<Identity | undefined> {
  const { path, repository } = entry;
  const place = diskPath(folder, path);
  const stat = await lstat(place).catch(() => undefined);
  if (stat?.isSymbolicLink() === true) {
    const text = await linkBytes(folder, path);
    return { mode: "120000", object: blobId(text, repository), isPointer: false };
  }
  if (stat?.isFile() !== true) return undefined;
  let file: FileHandle | undefined;
  try {
    file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { object, start } = await hashFile(file, path, repository);
    return { mode: modeOf(stat.mode), object, isPointer: isPointer(start, entry) };
  } catch (cause) {
    if (cause instanceof KilnError) throw cause;
    throw new KilnError(`The file ${quoted(path)} cannot be read`, {
      state: `Nothing was changed. ${cause instanceof Error ? cause.message : String(cause)}`,
      next: "Make it readable for the user that this step runs as: Packer has to read it too.",
      cause,
    });
  } finally {
    await file?.close();
  }
}

/** As git decides it: by the owner's bit. */
function modeOf(mode: number): string {
  return (mode & 0o100) === 0 ? "100644" : "100755";
}

/** Bytes that are read at once. */
const CHUNK = 1 << 20;
/** Tries for a file that changes while it is read. */
const MAX_TRIES = 3;

async function hashFile(
  file: FileHandle,
  path: string,
  repository: NestedRepository,
): Promise<{ readonly object: string; readonly start: string }> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const { size } = await file.stat();
    const hash = createHash(repository.algorithm).update(`blob ${size}\0`);
    const buffer = Buffer.allocUnsafe(Math.min(size, CHUNK) + 1);
    let start = "";
    let position = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) break;
      const chunk = buffer.subarray(0, bytesRead);
      hash.update(chunk);
      if (position === 0 && size <= MAX_POINTER) start = chunk.toString("latin1");
      position += bytesRead;
    }
    if (position === size) return { object: hash.digest("hex"), start };
  }
  throw new KilnError(`The file ${quoted(path)} changes while Kiln reads it`, {
    state: "Nothing was changed.",
    next: "Let the step that writes it end before this one begins.",
  });
}

function blobId(bytes: Buffer, { algorithm }: NestedRepository): string {
  return createHash(algorithm).update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** Bytes; a pointer is smaller (Git LFS: `docs/spec.md`). */
const MAX_POINTER = 1024;

/**
 * Only where Git LFS could have put the file itself, or would have in the repository that it comes from. Elsewhere such a text
 * is what it is.
 * @param start the file's text, if it is short enough to be a pointer
 */
function isPointer(start: string, { filtered, index }: TreeEntry): boolean {
  if (!filtered && index !== undefined) return false;
  return /^version https:\/\/(?:git-lfs|hawser)\.github\.com\/spec\/v\d+\n/.test(start);
}
