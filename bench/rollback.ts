/**
 * The way back from a release that is still being rolled out, in seconds of the sandbox's clock: `rollback`, which has
 * AWS roll the running refresh back, beside what a script does: wait for the refresh to end, then deploy the old commit.
 * Four instances, 30 s to launch, 30 s to warm up, 20 s to drain; begun when half of them were replaced.
 */
import { setTimeout as after } from "node:timers/promises";
import { Stage } from "../__tests__/scenarios/stage.ts";

const GROUP = "web-production";

async function halfWay(stage: Stage): Promise<void> {
  while ((stage.sandbox.autoScaling.refreshes(GROUP).at(-1)?.percentageComplete ?? 0) < 50) await after(10);
}

/** A stage on which a second release is half rolled out; the run of that deploy goes on. */
async function secondReleaseHalfWay(stage: Stage) {
  await stage.seedImage();
  await stage.push("main");
  const old = await stage.copy.head();
  await stage.commit("Bad", { "app/public/index.html": "<h1>bad</h1>\n" });
  await stage.seedImage();
  const deploying = stage.push("main", { runId: 100 });
  while (stage.sandbox.autoScaling.refreshes(GROUP).length < 2) await after(10);
  await halfWay(stage);
  return { old, deploying };
}

async function byRollback(): Promise<number> {
  await using stage = await Stage.open({ ssh: false, speed: 20 });
  const { deploying } = await secondReleaseHalfWay(stage);
  const start = stage.sandbox.clock.now();
  await stage.run({
    event: "workflow_dispatch",
    runId: 101,
    inputs: { command: "rollback", environment: "production" },
  });
  const seconds = (stage.sandbox.clock.now() - start) / 1000;
  await deploying;
  return seconds;
}

async function byDeploy(): Promise<number> {
  await using stage = await Stage.open({ ssh: false, speed: 20 });
  const { old, deploying } = await secondReleaseHalfWay(stage);
  const start = stage.sandbox.clock.now();
  await deploying;
  await stage.copy.git("checkout", "--quiet", "--detach", old);
  await stage.run({ ref: "refs/heads/main", commit: old, runId: 101, inputs: { "allow-older": "true" } });
  return (stage.sandbox.clock.now() - start) / 1000;
}

const [rollback, deploy] = [await byRollback(), await byDeploy()];
process.stdout.write(
  `rollback: ${rollback.toFixed(0)} s\ndeploy of the old commit: ${deploy.toFixed(0)} s\n`,
);
