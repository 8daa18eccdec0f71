import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import { counts, Stage } from "./stage.ts";

/** The figures of docs/requests.md are those of a run. */

/** AWS and GitHub requests of the action itself; the looks at a running refresh, whose number is its length's, apart. */
function figures(requests: readonly LoggedRequest[]): string[] {
  const looks = requests.filter(
    (request) =>
      request.action === "DescribeInstanceRefreshes" &&
      typeof request.params === "object" &&
      request.params !== null &&
      "InstanceRefreshIds.member.1" in request.params,
  ).length;
  const { aws, github } = counts(requests);
  return [String(aws - looks), looks > 0 ? "yes" : "no", String(github)];
}

/** The table's rows by their first cell. */
function documented(): ReadonlyMap<string, string[]> {
  const text = readFileSync(join(import.meta.dirname, "../../docs/requests.md"), "utf8");
  const table = /<!-- requests:start -->([\s\S]*?)<!-- requests:end -->/.exec(text)?.[1] ?? "";
  const rows = table
    .trim()
    .split("\n")
    .slice(2)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  return new Map(rows.map(([name = "", ...cells]) => [name, cells]));
}

test("the requests of a first deploy, of the same content to another environment, and of nothing to do", async () => {
  await using stage = await Stage.open();
  const table = documented();
  const first = await stage.push("develop");
  expect(figures(first.requests), first.log).toEqual(table.get("A first deploy, with a bake"));
  const second = await stage.push("stage");
  expect(figures(second.requests), second.log).toEqual(table.get("The same content to another environment"));
  const nothing = await stage.push("develop");
  expect(figures(nothing.requests), nothing.log).toEqual(table.get("Nothing to do"));
});
