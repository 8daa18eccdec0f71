import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { byDefaults, byKiln, DEFAULTS, MARKED, row } from "../../bench/rollouts.ts";

/** docs/rollouts.md: its figures are those of a run; virtual time makes them the same everywhere. */

function documented(): string[][] {
  const text = readFileSync(join(import.meta.dirname, "../../docs/rollouts.md"), "utf8");
  const table = MARKED.exec(text)?.[0] ?? "";
  return table
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

test.each(["rolling", "canary", "all-at-once", "recycle"] as const)(
  "the row of ten instances: %s",
  async (strategy) => {
    expect(documented()).toContainEqual(row(strategy, 10, await byKiln(strategy, 10)));
  },
);

test("the row of ten instances: the API's defaults", async () => {
  expect(documented()).toContainEqual(row(DEFAULTS, 10, await byDefaults(10)));
});
