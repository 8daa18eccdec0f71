import { expect, test } from "vitest";
import { Stage } from "./stage.ts";

test("two runs that need the same content at the same time bake it once, with real Packer", async () => {
  await using stage = await Stage.open({ speed: 120 });
  await stage.copy.push("develop");
  await stage.copy.push("stage");
  const commit = await stage.copy.head();
  const [dev, qa] = await Promise.all([
    stage.run({ ref: "refs/heads/develop", commit, runId: 1 }),
    stage.run({ ref: "refs/heads/stage", commit, runId: 2 }),
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
