import { readFileSync } from "node:fs";
import { KilnError } from "../domain/errors.ts";
import type { Runner } from "./runner.ts";

/** What GitHub tells about the event that started the run; undefined where that cannot be read. */
export function readPayload(path: string | undefined): unknown {
  if (path === undefined || path === "") return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** A field of an object, and nothing that it has from its prototype. */
export function fieldOf(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const name of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[name];
  }
  return found;
}

/** The same of a field that is a text. */
export function textOf(value: unknown, ...path: readonly string[]): string | undefined {
  const found = fieldOf(value, ...path);
  return typeof found === "string" && found !== "" ? found : undefined;
}

/**
 * The full name of the ref whose deletion started the run. GitHub runs such a push on the default branch: `GITHUB_REF` and
 * `GITHUB_SHA` are that branch's, and only the payload tells (events that trigger workflows, `push`, 2026-11-28).
 * @returns undefined for any other event
 * @throws KilnError for a push of which nothing is known: it may be such a one
 */
export function deletedRef({ run, payload }: Pick<Runner, "run" | "payload">): string | undefined {
  if (run.event !== "push") return undefined;
  if (typeof payload !== "object" || payload === null) {
    throw new KilnError("Kiln cannot read the push that started this run", {
      state: "Nothing was changed. Whether it deleted a branch is not known.",
      next: "Leave GITHUB_EVENT_PATH and the file that it names as the runner made them, then run the job again.",
    });
  }
  if (fieldOf(payload, "deleted") !== true) return undefined;
  return textOf(payload, "ref") ?? "a ref";
}
