import { describe, expect, test } from "vitest";
import { RolloutError } from "../../src/domain/errors.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { ReleaseStage } from "./release-stage.ts";

/** Several targets: one release, one record; all or nothing. */

const AWAY = { region: "us-east-1", accountId: HOME.accountId };
const here = { region: HOME.region, autoScalingGroup: "web" };
const there = { region: AWAY.region, autoScalingGroup: "web-us" };
const second = { region: HOME.region, autoScalingGroup: "web-2" };

const versionOf = (stage: ReleaseStage, group: string): string | undefined =>
  stage.sandbox.autoScaling.group(group).configuration.launchTemplate?.version;
const statuses = (stage: ReleaseStage, group: string): string[] =>
  stage.sandbox.autoScaling.refreshes(group).map(({ status }) => status);

async function open(): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", 3);
  stage.addGroup("web-2", 2);
  stage.addGroup("web-us", 2, {}, AWAY);
  return stage;
}

describe("two targets", () => {
  test("in two regions: the image is copied, both are released, one record names both", async () => {
    await using stage = await open();
    const released = await stage.release([here, there], { strategy: "rolling" });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(stage.records()).toEqual(["release/production/000001"]);
    const [copy] = new Set(stage.running("web-us"));
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
    const message = stage.message("release/production/000001");
    expect(message).toContain(`Image: eu-west-1 ${stage.newImage}\nImage: us-east-1 ${copy ?? "?"}`);
    expect(message).toMatch(/^Target: eu-west-1 web lt-\S+@2\nTarget: us-east-1 web-us lt-\S+@2$/m);
    const image = stage.sandbox.ec2.images(AWAY).find(({ id }) => id === copy);
    expect(image?.tags).toMatchObject({ "kiln:application": "web" });
    const snapshots = image?.blockDevices.flatMap(({ snapshotId }) => snapshotId ?? []) ?? [];
    expect(stage.sandbox.ec2.snapshots(AWAY).filter(({ id }) => snapshots.includes(id))).toMatchObject([
      { tags: { "kiln:application": "web" } },
    ]);
  });

  test("in two regions: the first begins while the copy for the other is still being made", async () => {
    await using stage = await ReleaseStage.open({ ec2: { delays: { image: 600_000 } } });
    stage.addGroup("web", 3);
    stage.addGroup("web-us", 2, {}, AWAY);
    const began = stage.sandbox.clock.now();
    const released = await stage.release([here, there], { strategy: "rolling" });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    const startOf = (group: string): number =>
      (stage.sandbox.autoScaling.refreshes(group)[0]?.startTime ?? 0) - began;
    expect(startOf("web")).toBeLessThan(60_000);
    expect(startOf("web-us")).toBeGreaterThanOrEqual(600_000);
    expect(stage.message("release/production/000001")).toMatch(/^Image: us-east-1 ami-/m);
  });

  test("in two regions: a copy that fails takes back what had begun in the first", async () => {
    await using stage = await ReleaseStage.open({ ec2: { delays: { image: 100_000 } } });
    stage.addGroup("web", 20);
    stage.addGroup("web-us", 2, {}, AWAY);
    stage.sandbox.ec2.failNextImage({ state: "failed" });
    const released = await stage.release([here, there], { strategy: "rolling" });
    expect(released.error, released.log.join("\n")).toBeInstanceOf(RolloutError);
    expect((released.error as RolloutError).message).toMatch(/Image ami-\w+ in us-east-1 is failed/);
    expect((released.error as RolloutError).state).toContain("- us-east-1/web-us: untouched");
    expect(statuses(stage, "web")).toEqual(["RollbackSuccessful"]);
    expect(stage.records()).toEqual([]);
    expect(stage.locks()).toEqual([]);
  });

  test("in parallel take as long as the longer one, in turn as long as both", async () => {
    await using stage = await open();
    const alone = await stage.release([here], { strategy: "rolling" });
    await using other = await open();
    const parallel = await other.release([here, second], { strategy: "rolling" });
    await using third = await open();
    const sequential = await third.release([here, second], { strategy: "rolling", order: "sequential" });
    expect(parallel.error ?? sequential.error).toBeUndefined();
    expect(parallel.took).toBeLessThan(alone.took * 1.2);
    expect(sequential.took).toBeGreaterThan(alone.took * 1.5);
    const order = sequential.log.filter((line) => /instance refresh \S+ started|runs ami/.test(line));
    expect(order.map((line) => line.split(":")[0])).toEqual([
      "eu-west-1/web",
      "eu-west-1/web",
      "eu-west-1/web-2",
      "eu-west-1/web-2",
    ]);
  });

  test.each(["parallel", "sequential"] as const)(
    "%s: when the second fails, the first goes back too: nothing is recorded",
    async (order) => {
      await using stage = await open();
      stage.setHealth((member, group) =>
        group === "web-2" && member.imageId === stage.newImage ? { healthyAfter: "never" } : undefined,
      );
      const before = [stage.running("web"), stage.running("web-2")];
      const released = await stage.release([here, second], { strategy: "all-at-once", order });
      const { error } = released;
      expect(error).toBeInstanceOf(RolloutError);
      if (!(error instanceof RolloutError)) return;
      expect(error.rolledBack).toBe(true);
      expect(error.message).toMatch(
        /^eu-west-1\/web-2: the rollout was rolled back: \d+ replacements failed/,
      );
      expect(error.state).toContain("- eu-west-1/web: back on what it ran before");
      expect(error.state).toContain("- eu-west-1/web-2: back on what it ran before");
      expect([stage.running("web"), stage.running("web-2")]).toEqual(before);
      expect([versionOf(stage, "web"), versionOf(stage, "web-2")]).toEqual(["1", "1"]);
      // The first had finished: AWS cannot roll that back, a refresh to the saved version does.
      expect(statuses(stage, "web")).toEqual(["Successful", "Successful"]);
      expect(stage.records()).toEqual([]);
      expect(stage.locks()).toEqual([]);
      expect(released.facts.targets).toMatchObject([
        { autoScalingGroup: "web", ended: "rolled-back" },
        { autoScalingGroup: "web-2", ended: "rolled-back" },
      ]);
    },
  );

  test("in turn: when the first fails, the second is untouched", async () => {
    await using stage = await open();
    stage.setHealth({ [stage.newImage]: { launchFailure: "Client.InternalError: Client error on launch." } });
    const released = await stage.release([here, second], { strategy: "rolling", order: "sequential" });
    expect(released.error).toBeInstanceOf(RolloutError);
    expect((released.error as RolloutError).state).toContain("- eu-west-1/web-2: untouched");
    expect((released.error as RolloutError).state).toContain("Known cause: ");
    expect(statuses(stage, "web-2")).toEqual([]);
  });

  test("one still under way when the other fails is rolled back by AWS", async () => {
    await using stage = await ReleaseStage.open();
    stage.addGroup("web", 20);
    stage.addGroup("web-2", 2);
    stage.setHealth((member, group) =>
      group === "web-2" && member.imageId === stage.newImage ? { healthyAfter: "never" } : undefined,
    );
    const released = await stage.release([here, second], { strategy: "rolling", maxHealthy: 105 });
    expect((released.error as RolloutError).rolledBack, released.log.join("\n")).toBe(true);
    expect(statuses(stage, "web")).toEqual(["RollbackSuccessful"]);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.oldImage]));
  });

  test("one refused at its start: the other goes back", async () => {
    await using stage = await open();
    stage.sandbox.faults.inject(
      { action: "StartInstanceRefresh", region: AWAY.region },
      { kind: "reply", status: 400, code: "ValidationError", message: "Not this one." },
    );
    const released = await stage.release([here, there], { strategy: "rolling" });
    expect((released.error as Error).message).toContain("Not this one.");
    expect(stage.running("web")).toEqual(Array.from({ length: 3 }, () => stage.oldImage));
    expect(versionOf(stage, "web")).toBe("1");
    expect(stage.records()).toEqual([]);
  });
});

describe("the worst case", () => {
  test("a way back that fails too names every instance and what it runs", async () => {
    await using stage = await open();
    stage.setHealth((member, group) => {
      if (group === "web-2" && member.imageId === stage.newImage) return { healthyAfter: "never" };
      // The old image cannot be launched any more either.
      if (group === "web" && member.imageId === stage.oldImage && member.ordinal > 20)
        return { launchFailure: "The AMI ID does not exist. Launching EC2 instance failed." };
      return undefined;
    });
    const released = await stage.release([here, second], { strategy: "all-at-once" });
    const error = released.error as RolloutError;
    expect(error).toBeInstanceOf(RolloutError);
    expect(error.rolledBack).toBe(false);
    expect(error.state).toContain("- eu-west-1/web: NOT back: see below");
    expect(error.state).toContain("- eu-west-1/web-2: back on what it ran before");
    expect(error.state).toMatch(/- i-[0-9a-f]+: version 2, InService, healthy/);
    expect(error.state).toContain("before the release it was 1");
    expect(released.facts.targets).toMatchObject([{ ended: "failed" }, { ended: "rolled-back" }]);
    expect(stage.records()).toEqual([]);
  });
});
