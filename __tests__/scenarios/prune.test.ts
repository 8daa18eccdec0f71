import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { formatRecord } from "../../src/release/record.ts";
import { RECORD } from "../release/records.ts";
import { DAY, TAGS } from "../image/stored-images.ts";
import { Stage } from "./stage.ts";

/** Old images, retired by the built action as a runner starts it. */

const AWAY = { region: "us-east-1", accountId: HOME.accountId };
/** What the example's base images have in common with ours is nothing; what has our name may be somebody else's. */
const FOREIGN = { ...TAGS, "kiln:repository": "acme/fork" };

class PruneScenario {
  readonly stage: Stage;
  readonly ids: Record<string, string> = {};

  constructor(stage: Stage) {
    this.stage = stage;
  }

  /** Two regions: production's image and an old one in both, and somebody else's. */
  static async open(): Promise<PruneScenario> {
    // On real time: the action's clock is the runner's, and AWS refuses a deprecation in the past.
    const scenario = new PruneScenario(await Stage.open({ ssh: false, speed: 1 }));
    const { stage } = scenario;
    for (const place of [HOME, AWAY]) {
      scenario.image(`old ${place.region}`, "web-old-0123456789ab", 60, TAGS, place);
      const current = scenario.image(`current ${place.region}`, "web-current-0123456789ab", 30, TAGS, place);
      scenario.image(`foreign ${place.region}`, "web-foreign-0123456789ab", 90, FOREIGN, place);
      const template = stage.sandbox.ec2.addLaunchTemplate(place, `web-live-${place.region}`, {
        ImageId: current,
        InstanceType: "t3.small",
      });
      stage.sandbox.autoScaling.addGroup({
        ...place,
        name: "web-live",
        min: 0,
        max: 2,
        desired: 1,
        launchTemplate: { launchTemplateId: template.id, version: "1" },
      });
    }
    await stage.commit("Two regions", {
      ".github/kiln.yml": `application: web
image: { template: packer/web.pkr.hcl }
environments:
  production:
    branches: [main]
    targets:
      - { region: eu-west-1, auto-scaling-group: web-live }
      - { region: us-east-1, auto-scaling-group: web-live }
prune: { keep: 1, grace: 2d }
`,
    });
    await stage.copy.push("main");
    await scenario.record(1, {
      "eu-west-1": scenario.id("current eu-west-1"),
      "us-east-1": scenario.id("current us-east-1"),
    });
    return scenario;
  }

  id(name: string): string {
    return this.ids[name] ?? "";
  }

  image(
    key: string,
    name: string,
    days: number,
    tags: Readonly<Record<string, string>>,
    place = HOME,
  ): string {
    const image = this.stage.sandbox.ec2.addImage(place, { name, tags });
    Object.assign(image, { createdAt: this.stage.sandbox.clock.now() - days * DAY });
    this.ids[key] = image.id;
    return image.id;
  }

  async record(number: number, images: Readonly<Record<string, string>>): Promise<void> {
    const commit = await this.stage.copy.head();
    const tag = { ...RECORD.tag, number };
    const message = formatRecord({ ...RECORD, tag, commit, images: images as typeof RECORD.images }, "");
    const name = `release/production/${String(number).padStart(6, "0")}`;
    this.stage.git(
      "-c",
      "user.name=Ada",
      "-c",
      "user.email=ada@example.com",
      "tag",
      "-a",
      "-m",
      message,
      name,
      commit,
    );
  }

  prune(inputs: Readonly<Record<string, string>> = {}) {
    return this.stage.run({
      event: "schedule",
      ref: "refs/heads/main",
      inputs: { command: "prune", ...inputs },
    });
  }

  /** As if the images had been deprecated that long ago. */
  backdate(days: number): void {
    for (const image of this.stage.sandbox.ec2.images())
      if (image.deprecatedAt !== undefined) image.deprecatedAt -= days * DAY;
  }

  /** The names of images of ours and others' that are there, with what can be seen of them. */
  there(): Record<string, string> {
    const images = new Map(this.stage.sandbox.ec2.images().map((image) => [image.id, image]));
    return Object.fromEntries(
      Object.entries(this.ids).flatMap(([key, id]) => {
        const image = images.get(id);
        if (image === undefined || image.deregisteredAt !== undefined) return [];
        const state = [
          ...(image.deprecatedAt === undefined ? [] : ["deprecated"]),
          ...(image.protection === "disabled" ? [] : ["protected"]),
        ];
        return [[key, state.join(", ") || "there"]];
      }),
    );
  }

  snapshots(): number {
    return this.stage.sandbox.ec2.snapshots().length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
  }
}

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
    stage.git("update-ref", "refs/kiln/lock/production", await stage.copy.head());
    const held = await scenario.prune();
    expect(held.code, held.log).toBe(0);
    expect(writesOf(held.requests)).toEqual([]);
    expect(held.log).toContain("a release to production is under way: refs/kiln/lock/production is held");
    stage.git("update-ref", "-d", "refs/kiln/lock/production");
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
