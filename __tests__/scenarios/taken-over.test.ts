import { expect, test } from "vitest";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/** The built action, which GitHub takes for ended while its refresh runs: another run has taken its lock over. */

const REF = "refs/kiln/lock/release/dev";

/** Another run's lock in the place of this one's. */
async function takeOver(stage: Stage): Promise<string> {
  const run = "https://github.com/acme/web/actions/runs/77";
  const message = `Lock of dev\n\nRun-Id: 77\nAttempt: 1\nRun: ${run}\nActor: mona\n`;
  await stage.copy.git("tag", "-a", "-m", message, "lock-of-dev");
  await stage.copy.git("push", "--quiet", "--force", "origin", `refs/tags/lock-of-dev:${REF}`);
  return stage.git("rev-parse", REF);
}

test.each([
  ["by one atomic request", "any-ref"],
  ["where refs are changed one by one", "heads-and-tags"],
] as const)("a stale run does not record, and leaves the other's lock alone: %s", async (_, updateRefs) => {
  await using stage = await Stage.open({ ssh: false, speed: 30, updateRefs });
  await stage.seedImage();
  const mark = stage.sandbox.log.entries.length;
  const running = stage.push("develop");
  await until("the refresh runs", () =>
    stage.sandbox.log
      .since(mark)
      .some(({ action, status }) => action === "StartInstanceRefresh" && status === 200),
  );
  // After the look that follows the start.
  await until("it is followed", () =>
    stage.sandbox.log
      .since(mark)
      .some(
        ({ action, params }) =>
          action === "DescribeInstanceRefreshes" &&
          JSON.stringify(params).includes("InstanceRefreshIds.member.1"),
      ),
  );
  const others = await takeOver(stage);
  const result = await running;
  expect(result.code).toBe(1);
  expect(result.log).toContain(
    "dev was rolled out, not recorded: release/dev: another run has taken over from this one: mona's run https://github.com/acme/web/actions/runs/77 holds its lock",
  );
  expect(result.summary).toContain("Kiln-Record: 1");
  expect(stage.records()).toEqual([]);
  expect(stage.git("rev-parse", REF)).toBe(others);
  expect(stage.sandbox.autoScaling.refreshes("web-dev").map(({ status }) => status)).toEqual(["Successful"]);
});
