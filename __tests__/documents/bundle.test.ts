import { posix } from "node:path";
import { expect, test } from "vitest";
import { parseAst } from "rollup/parseAst";
import { readText } from "./markdown.ts";

/** The files of dist/ that Node reads before the first line of one of them runs. */
function loadedBy(path: string, seen = new Set<string>()): Set<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const node of parseAst(readText(path)).body) {
    if (node.type !== "ImportDeclaration" && node.type !== "ExportNamedDeclaration") continue;
    const from = node.source?.value;
    if (typeof from === "string" && from.startsWith("."))
      loadedBy(posix.join(posix.dirname(path), from), seen);
  }
  return seen;
}

// A wrong input is told before any client is read from disk: an HTTP client alone took twice the time of all the rest.
test.each(["dist/index.js", "dist/post.js"])("%s begins with little", (path) => {
  const loaded = [...loadedBy(path)];
  const bytes = loaded.reduce((sum, file) => sum + Buffer.byteLength(readText(file)), 0);
  expect(loaded.length).toBeGreaterThan(1);
  expect(bytes, loaded.join(", ")).toBeLessThan(100_000);
});
