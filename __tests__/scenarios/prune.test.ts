import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { PruneScenario } from "./prune-scenario.ts";
import { Stage } from "./stage.ts";

/** Old images, retired by the built action as a runner starts it. */

const writesOf = (requests: readonly { readonly writes: boolean; readonly action: string }[]): string[] =>
  requests.filter(({ writes }) => writes).map(({ action }) => action);

describe("prune", () => {
  test("deprecates in all regions, waits, and deregisters with the snapshots", async () => {
    await using scenario = await PruneScenario.open();
    const planned = await scenario.prune({ "dry-run": "true" });
    expect(planned.code, planned.log).toBe(0);
    expect(planned.outputs["outcome"]).toBe("planned");
    expect(writesOf(planned.requests)).toEqual([]);
    expect(planned.summary).toMatch(
      /\| us-east-1 \| ami-\w+ \| web-old-0123456789ab +\| 60 days \| 8 GB +\| to be deprecated /,
    );

    const first = await scenario.prune();
    expect(first.code, first.log).toBe(0);
    expect(first.outputs["outcome"]).toBe("succeeded");
    const deprecated = {
      "old eu-west-1": "deprecated",
      "current eu-west-1": "protected",
      "foreign eu-west-1": "there",
      "old us-east-1": "deprecated",
      "current us-east-1": "protected",
      "foreign us-east-1": "there",
    };
    expect(scenario.there()).toEqual(deprecated);

    const second = await scenario.prune();
    expect(second.outputs["outcome"], second.log).toBe("unchanged");
    expect(writesOf(second.requests)).toEqual([]);

    scenario.backdate(3);
    const snapshots = scenario.snapshots();
    const last = await scenario.prune();
    expect(last.code, last.log).toBe(0);
    expect(writesOf(last.requests)).toEqual(["DeregisterImage", "DeregisterImage"]);
    expect(scenario.snapshots()).toBe(snapshots - 2);
    expect(Object.keys(scenario.there())).toEqual(
      Object.keys(deprecated).filter((key) => !key.startsWith("old")),
    );
    expect(last.summary).toContain("## ✅ Pruned");
    expect(last.summary).toContain("2 images kept. Snapshots of 16 GB went.");
    const result = JSON.parse(last.outputs["result"] ?? "{}") as { prune?: { images: unknown[] } };
    expect(result.prune?.images).toMatchObject([
      { region: "eu-west-1", imageId: scenario.id("old eu-west-1"), action: "deregistered", gigabytes: 8 },
      { region: "us-east-1", imageId: scenario.id("old us-east-1"), action: "deregistered", gigabytes: 8 },
    ]);
  });

  test("takes a deprecation back where a rollback needs the image, and stops for a release under way", async () => {
    await using scenario = await PruneScenario.open();
    await scenario.prune();
    scenario.backdate(3);
    const { stage } = scenario;
    stage.git("update-ref", "refs/kiln/lock/release/production", await stage.copy.head());
    const held = await scenario.prune();
    expect(held.code, held.log).toBe(0);
    expect(writesOf(held.requests)).toEqual([]);
    expect(held.log).toContain(
      "a release to production is under way: refs/kiln/lock/release/production is held",
    );
    stage.git("update-ref", "-d", "refs/kiln/lock/release/production");
    await scenario.record(2, { "eu-west-1": scenario.id("old eu-west-1") });
    const back = await scenario.prune();
    expect(back.code, back.log).toBe(0);
    expect(scenario.there()).toEqual({
      "old eu-west-1": "protected",
      "current eu-west-1": "protected",
      "foreign eu-west-1": "there",
      "current us-east-1": "protected",
      "foreign us-east-1": "there",
    });
  });

  test("does nothing where a group cannot be read, and is red where an image cannot be changed", async () => {
    await using scenario = await PruneScenario.open();
    const { faults } = scenario.stage.sandbox;
    const denied = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" } as const;
    faults.inject({ action: "DescribeAutoScalingGroups", region: "us-east-1" }, denied);
    const blind = await scenario.prune();
    expect(blind.code).toBe(1);
    expect(blind.outputs["outcome"]).toBe("failed");
    expect(blind.log).toContain("Nothing was pruned. What a target needs could not be found out");
    expect(writesOf(blind.requests)).toEqual([]);

    faults.inject({ action: "EnableImageDeprecation", region: "eu-west-1" }, denied);
    const partly = await scenario.prune();
    expect(partly.code).toBe(1);
    expect(partly.outputs["outcome"]).toBe("failed");
    expect(partly.log).toContain("An image could not be pruned as planned");
    expect(partly.summary).toMatch(
      /not deprecated: The role may not do ec2:EnableImageDeprecation in eu-west-1/,
    );
    expect(scenario.there()).toMatchObject({ "old eu-west-1": "there", "old us-east-1": "deprecated" });

    const again = await scenario.prune();
    expect(again.code, again.log).toBe(0);
    expect(writesOf(again.requests)).toEqual(["EnableImageDeprecation"]);
  });

  test("is refused where no config file names the environments", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.copy.git("rm", "--quiet", ".github/kiln.yml");
    await stage.commit("No config", {});
    const result = await stage.run({
      event: "schedule",
      inputs: { command: "prune", environment: "dev", region: HOME.region, "auto-scaling-group": "web-dev" },
    });
    expect(result.code).toBe(1);
    expect(result.log).toContain("prune needs the config file, not `region`, `auto-scaling-group`");
    expect(result.requests.filter(({ service }) => service !== "github")).toEqual([]);
  });
});
