import { describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { configWithProduction } from "./config-text.ts";
import { Stage } from "./stage.ts";

/** Images are baked in one account; production's groups are in another, in three regions. */

const OTHER = "222222222222";
const ROLE = `arn:aws:iam::${OTHER}:role/deploy/web-deployer`;
const REGIONS = ["eu-west-1", "us-east-1", "ap-southeast-2"] as const;
const GROUP = "shop";

async function open(): Promise<Stage> {
  const stage = await Stage.open({ ssh: false });
  for (const region of REGIONS) addGroupOnTemplate(stage.sandbox, { region, accountId: OTHER, name: GROUP });
  await stage.commit("Production in another account", {
    ".github/kiln.yml": configWithProduction(`    role-to-assume: ${ROLE}
    targets:
${REGIONS.map((region) => `      - { region: ${region}, auto-scaling-group: ${GROUP} }`).join("\n")}
`),
  });
  return stage;
}

const members = (stage: Stage, region: string) =>
  stage.sandbox.autoScaling.group({ region, accountId: OTHER, name: GROUP }).members;

const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };

describe("targets in another account, in three regions", () => {
  test("get the very image, shared with that account only; status and rollback see it too", async () => {
    await using stage = await open();
    const image = await stage.seedImage();
    const first = await stage.push("main");
    expect(first.code, first.log).toBe(0);
    const images = JSON.parse(first.outputs["images"] ?? "{}") as Record<string, string>;
    expect(Object.keys(images).toSorted()).toEqual([...REGIONS].toSorted());
    expect(images["eu-west-1"]).toBe(image);
    for (const region of REGIONS) {
      const running = members(stage, region).map(({ imageId }) => imageId);
      expect(running).toEqual([images[region], images[region]]);
      const copy = stage.sandbox.ec2
        .images({ region, accountId: HOME.accountId })
        .find(({ id }) => id === images[region]);
      expect(copy?.ownerId).toBe(HOME.accountId);
      expect(copy?.launchPermissions).toEqual([{ userId: OTHER }]);
    }
    // Tags do not travel with a shared image: none was written in the other account.
    const session = Object.values(stage.sandbox.accounts).find(({ role }) => role?.name === "web-deployer");
    expect(session?.role).toMatchObject({
      session: "kiln-2",
      tags: { "kiln:repository": "acme/web", "kiln:environment": "production", "kiln:run": "2" },
    });

    await stage.commit("Next", { "app/public/index.html": "<h1>next</h1>\n" });
    await stage.seedImage();
    const second = await stage.push("main");
    expect(second.code, second.log).toBe(0);
    const again = await stage.push("main");
    expect(again.outputs["outcome"], again.log).toBe("unchanged");
    expect(again.requests.filter(({ writes, service }) => writes && service === "ec2")).toEqual([]);

    const back = await stage.run({ ...dispatch, inputs: { command: "rollback", environment: "production" } });
    expect(back.code, back.log).toBe(0);
    for (const region of REGIONS)
      expect(members(stage, region).map(({ imageId }) => imageId)).toEqual([images[region], images[region]]);
    const status = await stage.run({ ...dispatch, inputs: { command: "status", environment: "production" } });
    expect(status.log).toMatch(/production .*6 of 6 run it +\| none/);
  });

  test("a role that lets nobody in is an error before anything is touched", async () => {
    await using stage = await open();
    await stage.seedImage();
    stage.sandbox.closedRoles.add(ROLE);
    const result = await stage.push("main");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The role may not do sts:AssumeRole");
    expect(result.log).toContain(ROLE);
    expect(stage.locks()).toEqual([]);
    expect(result.requests.filter(({ writes }) => writes)).toEqual([]);
  });

  test("a bad image goes back in all regions of that account", async () => {
    await using stage = await open();
    await stage.seedImage();
    const before = REGIONS.map((region) => members(stage, region).map(({ imageId }) => imageId));
    stage.sandbox.autoScaling.setHealth((member) =>
      before.flat().includes(member.imageId) ? undefined : { healthyAfter: "never" },
    );
    const result = await stage.push("main");
    expect(result.code).toBe(1);
    expect(result.outputs["outcome"], result.log).toBe("rolled-back");
    expect(REGIONS.map((region) => members(stage, region).map(({ imageId }) => imageId))).toEqual(before);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });
});
