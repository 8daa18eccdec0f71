import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import { HOME } from "../../sandbox/sandbox.ts";
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
function documented(): Map<string, string[]> {
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

test("the requests of deploys, a promotion, a rollback and a status", async () => {
  await using stage = await Stage.open();
  const seen = new Map<string, string[]>();
  const check = (row: string, { requests, code, log }: Awaited<ReturnType<Stage["run"]>>): void => {
    expect(code, `${row}\n${log}`).toBe(0);
    seen.set(row, figures(requests));
  };
  const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };
  check("A first deploy, with a bake", await stage.push("develop"));
  check("The same content to another environment", await stage.push("stage"));
  check("Nothing to do", await stage.push("develop"));
  await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
  await stage.seedImage();
  check("A deploy after another", await stage.push("develop"));
  check(
    "A promotion",
    await stage.run({ ...dispatch, inputs: { command: "promote", environment: "production", from: "dev" } }),
  );
  check("A rollback", await stage.run({ ...dispatch, inputs: { command: "rollback", environment: "dev" } }));
  const config = await stage.copy.read(".github/kiln.yml");
  const more = ["four", "five"].map((name) => {
    const [first] = stage.sandbox.ec2.launchTemplates(HOME);
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: `web-${name}`,
      min: 0,
      max: 1,
      desired: 1,
      launchTemplate: { launchTemplateId: first?.id ?? "", version: "1" },
    });
    return `  ${name}:\n    targets: [{ region: eu-west-1, auto-scaling-group: web-${name} }]\n`;
  });
  await stage.commit("Two more environments", { ".github/kiln.yml": config + more.join("") });
  check("The status of five environments", await stage.run({ ...dispatch, inputs: { command: "status" } }));
  expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(documented()));
});
