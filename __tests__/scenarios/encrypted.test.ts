import { expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { configWithProduction } from "./config-text.ts";
import { Stage } from "./stage.ts";

/** Production's image is encrypted with its own key: a copy of the very image that dev runs. */

const KEY = "alias/production";
const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };

test("a target with a key of its own runs an encrypted copy; dev's image stays as it was baked", async () => {
  await using stage = await Stage.open({ ssh: false });
  await stage.commit("A key for production", {
    ".github/kiln.yml": configWithProduction(`    requires: dev
    targets: [{ region: eu-west-1, auto-scaling-group: web-production, kms-key: ${KEY} }]
`),
  });
  const plain = await stage.seedImage();
  expect((await stage.push("develop")).code).toBe(0);
  const first = await stage.push("main");
  expect(first.code, first.log).toBe(0);
  const [copy] = new Set(stage.running("web-production"));
  expect(copy).not.toBe(plain);
  const copied = stage.sandbox.ec2.images(HOME).find(({ id }) => id === copy);
  expect(copied).toMatchObject({ tags: { "kiln:kms-key": KEY }, sourceImageId: plain });
  expect(copied?.blockDevices.every(({ encrypted }) => encrypted)).toBe(true);
  const request = first.requests.find(({ action }) => action === "CopyImage");
  expect(request?.params).toMatchObject({ Encrypted: "true", KmsKeyId: KEY });
  expect(JSON.parse(first.outputs["images"] ?? "{}")).toEqual({ "eu-west-1": copy });

  // The copy is not what dev would be given, nor a reason to bake.
  const again = await stage.push("develop");
  expect(again.outputs["outcome"], again.log).toBe("unchanged");
  const same = await stage.push("main");
  expect(same.outputs["outcome"], same.log).toBe("unchanged");

  await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
  await stage.seedImage();
  expect((await stage.push("develop")).code).toBe(0);
  const second = await stage.push("main");
  expect(second.code, second.log).toBe(0);
  const back = await stage.run({ ...dispatch, inputs: { command: "rollback", environment: "production" } });
  expect(back.code, back.log).toBe(0);
  expect(new Set(stage.running("web-production"))).toEqual(new Set([copy]));
  expect(back.requests.map(({ action }) => action)).not.toContain("CopyImage");

  const promoted = await stage.run({
    ...dispatch,
    inputs: { command: "promote", environment: "production", from: "dev" },
  });
  expect(promoted.code, promoted.log).toBe(0);
  expect(promoted.requests.map(({ action }) => action)).not.toContain("CopyImage");
  const status = await stage.run({ ...dispatch, inputs: { command: "status" } });
  expect(status.log).toMatch(/production .*4 of 4 run it +\| none/);
});
