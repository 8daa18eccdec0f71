import { randomUUID } from "node:crypto";
import { printable, shortened } from "../domain/printable.ts";
import type { Repository } from "../github/repository.ts";
import type { Lock, Lockable } from "./lock-names.ts";

/** Who holds a lock: a run of a workflow. */
export interface LockHolder {
  readonly id: string;
  readonly attempt: string;
  readonly url: string;
  readonly actor: string;
}

/**
 * The message of the tag object that a lock points at.
 * @param name what is locked, in words
 * @param unique tells it from what another job of the same run writes in the same second: git would take them for one
 * @param notes what is to be finished where the holder dies; one line
 */
export function formatHolder(name: string, run: LockHolder, unique: string, notes?: string): string {
  const lines = [`Run-Id: ${run.id}`, `Attempt: ${run.attempt}`, `Run: ${run.url}`, `Actor: ${run.actor}`];
  lines.push(`Lock-Id: ${unique}`);
  if (notes !== undefined) lines.push(`${NOTES}: ${notes}`);
  return `Lock of ${name}\n\n${lines.map((line) => printable(line.replace(/[\r\n]/g, " "))).join("\n")}\n`;
}

/** What a lock is written from. */
export interface LockRequest {
  readonly what: Lockable;
  /** The commit that the record will tag: whether the token may write on it is found out here. */
  readonly commit: string;
  readonly run: LockHolder;
  /** What is to be finished where this run dies; one line. */
  readonly notes?: string | undefined;
}

/** Makes the tag object that a lock points at; nothing refers to it yet. */
export async function writeHolder(
  { what, commit, run, notes }: LockRequest,
  repository: Pick<Repository, "createTag">,
): Promise<Lock> {
  const message = formatHolder(what.name, run, randomUUID(), notes);
  return { ref: what.ref, sha: await repository.createTag({ name: what.tag, message, commit }) };
}

/** `undefined` if the lock was not written by Kiln. Run and attempt must be numbers, since GitHub is asked about them. */
export function parseHolder(message: string): LockHolder | undefined {
  const [id, attempt, url, actor] = ["Run-Id", "Attempt", "Run", "Actor"].map((key) => valueOf(key, message));
  if (id === undefined || attempt === undefined || url === undefined || actor === undefined) return undefined;
  return /^\d{1,15}$/.test(id) && /^\d{1,6}$/.test(attempt) ? { id, attempt, url, actor } : undefined;
}

/** What the holder noted for who takes its lock over. */
export function notesOf(message: string): string | undefined {
  return valueOf(NOTES, message);
}

/** Characters of a lock's message that are read, and of a line of it: anybody who may push can have written it. */
const MAX_MESSAGE = 10_000;
const MAX_FIELD = 500;
const NOTES = "Notes";
const MAX_NOTES = 4000;

function valueOf(key: string, message: string): string | undefined {
  const lines = message.slice(0, MAX_MESSAGE).split("\n");
  const line = lines.find((each) => each.startsWith(`${key}: `));
  const text = line === undefined ? "" : printable(line.slice(key.length + 2));
  return text === "" ? undefined : shortened(text, key === NOTES ? MAX_NOTES : MAX_FIELD);
}
