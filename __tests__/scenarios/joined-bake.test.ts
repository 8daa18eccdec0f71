import { expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { goOnAt } from "./moments.ts";
import { Stage } from "./stage.ts";

test("two runs that need the same content at the same time bake it once, with real Packer", async () => {
  await using stage = await Stage.open();
  await stage.copy.push("develop");
  await stage.copy.push("stage");
  const commit = await stage.copy.head();
  // The bake does not end before the other run has met it.
  const hold = stage.sandbox.clock.holdWhen(() =>
    stage.sandbox.ec2.instances(HOME).some(({ keyName }) => keyName?.startsWith("packer_") === true),
  );
  const onOutput = () => goOnAt(hold, " is locked by octocat's run");
  const [dev, qa] = await Promise.all([
    stage.run({ ref: "refs/heads/develop", commit, runId: 1, onOutput: onOutput() }),
    stage.run({ ref: "refs/heads/stage", commit, runId: 2, onOutput: onOutput() }),
  ]);
  expect(dev.code, dev.log).toBe(0);
  expect(qa.code, qa.log).toBe(0);
  expect(stage.images()).toHaveLength(1);
  expect(new Set([dev.outputs["baked"], qa.outputs["baked"]])).toEqual(new Set(["false", "true"]));
  expect(dev.log + qa.log).toMatch(/the bake of sha256:[0-9a-f]{64} is locked by octocat's run/);
  expect(dev.log + qa.log).toContain("Another run baked this content meanwhile");
  expect(stage.records()).toEqual(["release/dev/000001", "release/qa/000001"]);
  expect(stage.locks()).toEqual([]);
  expect(stage.leftovers()).toEqual([]);
});
