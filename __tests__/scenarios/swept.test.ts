import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { processesOf } from "./machine.ts";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/**
 * A bake that is cancelled or killed at any stage leaves nothing: real Packer, signals as GitHub sends them. Where the
 * machine dies there is no post step, and the next attempt sweeps up: at two of the stages, at all by `npm run chaos`.
 */

const ALL = process.env["KILN_CHAOS"] === "all";

const build = (stage: Stage) =>
  stage.sandbox.ec2.instances(HOME).find(({ keyName }) => keyName?.startsWith("packer_") === true);

const STAGES: readonly (readonly [name: string, reached: (stage: Stage) => boolean])[] = [
  ["the key pair is made", (stage) => stage.sandbox.ec2.keyPairs(HOME).length > 0],
  ["the instance is launched", (stage) => build(stage) !== undefined],
  ["the instance runs", (stage) => build(stage)?.state === "running"],
  ["the instance is stopped", (stage) => build(stage)?.state === "stopped"],
  [
    "the image is pending",
    (stage) => stage.sandbox.ec2.images(HOME).some(({ state }) => state === "pending"),
  ],
];

/** Nothing of the bake is there; an image that is whole may be, for the next run. */
function expectNothingLeft(stage: Stage, log: string): void {
  expect(stage.leftovers(), log).toEqual([]);
  const images = stage.sandbox.ec2.images(HOME).filter(({ ownerId }) => ownerId === HOME.accountId);
  expect(
    images.filter(({ state }) => state === "pending"),
    log,
  ).toEqual([]);
  expect(stage.locks(), log).toEqual([]);
}

/** Whether the bake's lock names all that Packer has made so far: it does a moment after that was made. */
function isNoted(stage: Stage): boolean {
  const { ec2 } = stage.sandbox;
  const lock = stage.git("for-each-ref", "--format=%(contents)", "refs/kiln/bake/**");
  const groups = ec2.securityGroups(HOME).filter(({ name }) => name !== "default");
  const made = [...ec2.keyPairs(HOME), ...groups].map(({ name }) => name);
  return [...made, build(stage)?.id ?? ""].every((name) => lock.includes(name));
}

describe.each(STAGES)("when %s", (name, reached) => {
  test.skipIf(!ALL && !["the key pair is made", "the image is pending"].includes(name))(
    "the machine dies: the re-run sweeps up, and releases",
    async () => {
      await using stage = await Stage.open({ speed: 240, ec2: { delays: { image: 480_000 } } });
      const job = stage.push("develop", { post: false });
      await until("the stage", () => reached(stage));
      await until("what Packer made is noted", () => {
        if (!isNoted(stage)) return false;
        for (const pid of processesOf(stage.folder)) process.kill(pid, "SIGKILL");
        return true;
      });
      expect((await job).code).not.toBe(0);
      expect(stage.leftovers()).not.toEqual([]);
      const again = await stage.run({ runId: 1, attempt: 2 });
      expect(again.code, again.log).toBe(0);
      expect(again.log).toContain("Looking for what the bake of web-");
      expect(stage.records()).toEqual(["release/dev/000001"]);
      expect(stage.images()).toHaveLength(1);
      expectNothingLeft(stage, again.log);
    },
  );

  test.each(["SIGINT", "SIGKILL"] as const)("%s: post sweeps up, and the re-run releases", async (signal) => {
    await using stage = await Stage.open({ speed: 240, ec2: { delays: { image: 480_000 } } });
    let child: ChildProcess | undefined;
    const job = stage.push("develop", { onStarted: (started) => (child = started) });
    await until("the stage", () => reached(stage));
    child?.kill(signal);
    const result = await job;
    expect(result.code).not.toBe(0);
    expectNothingLeft(stage, result.log);
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
    expect(stage.images()).toHaveLength(1);
    expectNothingLeft(stage, again.log);
  });
});
