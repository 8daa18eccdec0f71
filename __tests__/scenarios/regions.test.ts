import { expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { configWithProduction } from "./config-text.ts";
import { Stage } from "./stage.ts";

/** Environments in different regions: one bake, whose very image is copied to where the others are. */

const AWAY = { region: "us-east-1", accountId: HOME.accountId };
const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };

test("what dev runs in one region goes to production in another, by deploy, rollback and promotion", async () => {
  await using stage = await Stage.open({ ssh: false });
  const { ec2 } = stage.sandbox;
  addGroupOnTemplate(stage.sandbox, { ...AWAY, name: "shop" });
  await stage.commit("Production elsewhere", {
    ".github/kiln.yml": configWithProduction(`    requires: dev
    targets: [{ region: us-east-1, auto-scaling-group: shop }]
`),
  });
  const image = await stage.seedImage();
  expect((await stage.push("develop")).code).toBe(0);
  const first = await stage.push("main");
  expect(first.code, first.log).toBe(0);
  const [copy] = new Set(stage.running("shop"));
  expect(ec2.images(AWAY).find(({ id }) => id === copy)).toMatchObject({ sourceImageId: image });
  expect(first.outputs["image-id"]).toBe(copy);
  expect((await stage.push("main")).outputs["outcome"]).toBe("unchanged");

  await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
  await stage.seedImage();
  expect((await stage.push("develop")).code).toBe(0);
  const promote = { command: "promote", environment: "production", from: "dev" };
  const promoted = await stage.run({ ...dispatch, inputs: promote });
  expect(promoted.code, promoted.log).toBe(0);
  expect(promoted.requests.filter(({ action }) => action === "CopyImage")).toHaveLength(1);
  const back = await stage.run({ ...dispatch, inputs: { command: "rollback", environment: "production" } });
  expect(back.code, back.log).toBe(0);
  expect(new Set(stage.running("shop"))).toEqual(new Set([copy]));
  expect(back.requests.map(({ action }) => action)).not.toContain("CopyImage");
  const status = await stage.run({ ...dispatch, inputs: { command: "status" } });
  expect(status.log).toMatch(/production .*2 of 2 run it +\| none/);
});
