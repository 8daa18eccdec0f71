import { describe, expect, test } from "vitest";
import type { KilnError } from "../../src/domain/errors.ts";
import { VERSIONS_KEPT } from "../../src/rollout/template-retention.ts";
import type { GroupRequest } from "../../sandbox/aws/autoscaling/world.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { ReleaseStage } from "./release-stage.ts";

/** Launch templates in all their forms. */

const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const ROLLING = { strategy: "rolling" } as const;

type Policy = NonNullable<GroupRequest["mixedInstancesPolicy"]>;

/** A stage with a group on a mixed instances policy. */
async function mixed(
  overrides: (stage: ReleaseStage, own: string) => NonNullable<Policy["launchTemplate"]["overrides"]>,
  desired = 4,
): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  const { ec2 } = stage.sandbox;
  const data = { ImageId: stage.oldImage, InstanceType: "t3.small" };
  const base = ec2.addLaunchTemplate(HOME, "web", data);
  const own = ec2.addLaunchTemplate(HOME, "web-own", { ...data, InstanceType: "m5.large" });
  stage.sandbox.autoScaling.addGroup({
    ...HOME,
    name: "web",
    min: 0,
    max: 20,
    desired,
    defaultInstanceWarmup: 60,
    healthCheckType: "ELB",
    mixedInstancesPolicy: {
      launchTemplate: {
        launchTemplateSpecification: { launchTemplateId: base.id, version: "1" },
        overrides: overrides(stage, own.id),
      },
      instancesDistribution: {
        OnDemandPercentageAboveBaseCapacity: "50",
        SpotAllocationStrategy: "lowest-price",
      },
    },
  });
  return stage;
}

const policyOf = (stage: ReleaseStage) =>
  stage.sandbox.autoScaling.group("web").configuration.mixedInstancesPolicy;

describe("a group that follows a moving version", () => {
  test.each(["$Latest", "$Default"])("%s is pinned first, and can be rolled back then", async (written) => {
    await using stage = await ReleaseStage.open();
    const template = stage.sandbox.ec2.addLaunchTemplate(HOME, "web", {
      ImageId: stage.oldImage,
      InstanceType: "t3.small",
    });
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: "web",
      min: 0,
      max: 9,
      desired: 2,
      defaultInstanceWarmup: 60,
      healthCheckType: "ELB",
      launchTemplate: { launchTemplateId: template.id, version: written },
    });
    stage.setHealth({ [stage.newImage]: { healthyAfter: "never" } });
    const failed = await stage.release([TARGET], ROLLING);
    expect((failed.error as Error).message, failed.log.join("\n")).toContain("was rolled back");
    expect(failed.log.join("\n")).toContain(`pinned to version 1 of web, which is what ${written} meant`);
    expect(stage.sandbox.autoScaling.group("web").configuration.launchTemplate?.version).toBe("1");
    expect(stage.running("web")).toEqual([stage.oldImage, stage.oldImage]);
  });
});

describe("an SSM alias as image", () => {
  async function withAlias(): Promise<ReleaseStage> {
    const stage = await ReleaseStage.open();
    stage.sandbox.ec2.setParameter("/web/ami", stage.oldImage);
    const template = stage.sandbox.ec2.addLaunchTemplate(HOME, "web", {
      ImageId: "resolve:ssm:/web/ami",
      InstanceType: "t3.small",
    });
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: "web",
      min: 0,
      max: 9,
      desired: 2,
      defaultInstanceWarmup: 60,
      healthCheckType: "ELB",
      launchTemplate: { launchTemplateId: template.id, version: "1" },
    });
    return stage;
  }

  test("is replaced by the AMI that it means, which is said, before the release", async () => {
    await using stage = await withAlias();
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toContain(
      "pinned to version 2 of web, which is what resolve:ssm:/web/ami meant",
    );
    const versions = stage.versions("web");
    expect(versions.map(({ data }) => data["ImageId"])).toEqual([
      "resolve:ssm:/web/ami",
      stage.oldImage,
      stage.newImage,
    ]);
    expect(stage.running("web")).toEqual([stage.newImage, stage.newImage]);
  });

  test("does not keep a bad release from being rolled back", async () => {
    await using stage = await withAlias();
    stage.setHealth({ [stage.newImage]: { healthyAfter: "never" } });
    const released = await stage.release([TARGET], ROLLING);
    expect((released.error as Error).message, released.log.join("\n")).toContain("was rolled back");
    expect(stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status)).toEqual([
      "RollbackSuccessful",
    ]);
    expect(stage.sandbox.autoScaling.group("web").configuration.launchTemplate?.version).toBe("2");
  });

  test("a run that was killed after pinning finds its version again", async () => {
    await using stage = await withAlias();
    stage.sandbox.faults.inject(
      { action: "UpdateAutoScalingGroup" },
      { kind: "reply", status: 400, code: "ValidationError", message: "killed here" },
    );
    expect((await stage.release([TARGET], ROLLING)).error).toBeDefined();
    expect(stage.versions("web")).toHaveLength(2);
    const again = await stage.release([TARGET], ROLLING);
    expect(again.error, again.log.join("\n")).toBeUndefined();
    expect(stage.versions("web")).toHaveLength(3);
  });
});

describe("a mixed instances policy", () => {
  test("is taken whole: Spot, weights and types stay as they are", async () => {
    await using stage = await mixed(() => [
      { instanceType: "t3.small", weightedCapacity: "1" },
      { instanceType: "t3.large", weightedCapacity: "2" },
    ]);
    const before = policyOf(stage);
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    const after = policyOf(stage);
    expect(after).toEqual({
      ...before,
      launchTemplate: {
        ...before?.launchTemplate,
        launchTemplateSpecification: {
          ...before?.launchTemplate.launchTemplateSpecification,
          version: "2",
        },
      },
    });
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
  });

  test("with an override that has a template of its own: that gets a version too", async () => {
    await using stage = await mixed((_, own) => [
      { instanceType: "m5.large", launchTemplateSpecification: { launchTemplateId: own, version: "1" } },
      { instanceType: "t3.small" },
    ]);
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(stage.versions("web").map(({ data }) => data["ImageId"])).toEqual([
      stage.oldImage,
      stage.newImage,
    ]);
    expect(stage.versions("web-own").map(({ data }) => data)).toMatchObject([
      { ImageId: stage.oldImage, InstanceType: "m5.large" },
      { ImageId: stage.newImage, InstanceType: "m5.large" },
    ]);
    expect(policyOf(stage)?.launchTemplate.overrides?.[0]?.launchTemplateSpecification?.version).toBe("2");
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
    const again = await stage.release([TARGET], ROLLING);
    expect(again.error).toBeUndefined();
    expect(stage.versions("web-own")).toHaveLength(2);
  });

  test("with an override that has an image of its own: it gets the new one, and rolls back to its own", async () => {
    await using stage = await mixed((stage) => [{ instanceType: "t3.small", imageId: stage.oldImage }]);
    stage.setHealth({ [stage.newImage]: { healthyAfter: "never" } });
    const failed = await stage.release([TARGET], ROLLING);
    expect((failed.error as Error).message, failed.log.join("\n")).toContain("was rolled back");
    expect(policyOf(stage)?.launchTemplate.overrides?.[0]?.imageId).toBe(stage.oldImage);
    stage.setHealth({});
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(policyOf(stage)?.launchTemplate.overrides?.[0]?.imageId).toBe(stage.newImage);
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
  });

  test("with an override for another architecture than the image's is refused before anything", async () => {
    await using stage = await mixed(() => [{ instanceType: "t3.small" }, { instanceType: "m7g.large" }]);
    const released = await stage.release([TARGET], ROLLING);
    expect((released.error as Error).message).toMatch(
      /image ami-\w+ is for x86_64, instances of type m7g\.large run arm64/,
    );
    expect(stage.versions("web")).toHaveLength(1);
    expect(stage.locks()).toEqual([]);
  });

  test("whose overrides name the types: the environment's instance type changes nothing, which is said", async () => {
    await using stage = await mixed(() => [{ instanceType: "t3.small" }]);
    const released = await stage.release([TARGET], ROLLING, { environment: { instanceType: "t3.large" } });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(released.log.join("\n")).toContain("`instance-type: t3.large` changes nothing");
  });
});

describe("the environment's instance type", () => {
  test("is put into the new version, and what rolls back has the old one again", async () => {
    await using stage = await ReleaseStage.open();
    stage.addGroup("web", 2);
    const released = await stage.release([TARGET], ROLLING, { environment: { instanceType: "t3.large" } });
    expect(released.error, released.log.join("\n")).toBeUndefined();
    expect(stage.versions("web").at(-1)?.data).toMatchObject({
      InstanceType: "t3.large",
      ImageId: stage.newImage,
    });
    const types = stage.sandbox.autoScaling.group("web").members.map(({ instanceType }) => instanceType);
    expect(new Set(types)).toEqual(new Set(["t3.large"]));
  });
});

describe("what is refused", () => {
  test("a launch configuration, with the steps to move off it", async () => {
    await using stage = await ReleaseStage.open();
    stage.sandbox.autoScaling.addLaunchConfiguration(HOME, {
      launchConfigurationName: "web-lc",
      imageId: stage.oldImage,
      instanceType: "t3.small",
    });
    stage.sandbox.autoScaling.addGroup({
      ...HOME,
      name: "web",
      min: 0,
      max: 9,
      desired: 2,
      launchConfigurationName: "web-lc",
    });
    const { error } = await stage.release([TARGET], ROLLING);
    expect((error as KilnError).message).toContain("launches from the launch configuration web-lc");
    expect((error as KilnError).next).toContain(
      "aws autoscaling update-auto-scaling-group --region eu-west-1",
    );
  });
});

describe("old template versions", () => {
  test("of ours that nothing needs are deleted; others', named and recent ones stay", async () => {
    await using stage = await ReleaseStage.open();
    stage.addGroup("web", 1);
    const [first] = stage.versions("web");
    const data = first?.data ?? {};
    const template = stage.template("web");
    const total = VERSIONS_KEPT + 10;
    for (let version = 2; version <= total; version += 1) {
      const description = version % 2 === 0 ? `Kiln: web ${version}` : "by hand";
      stage.sandbox.ec2.addLaunchTemplateVersion(template, data, description);
    }
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, released.log.join("\n")).toBeUndefined();
    const left = stage.versions("web").map(({ number }) => number);
    // 211 is the release's own; up to 11 lie below the newest 200: 2, 4, 6, 8 and 10 were Kiln's.
    expect(left.filter((number) => number <= 11)).toEqual([1, 3, 5, 7, 9, 11]);
    expect(left).toHaveLength(total + 1 - 5);
    expect(released.log.join("\n")).toContain("Deleted old versions of web: 10, 8, 6, 4, 2");
  });
});
