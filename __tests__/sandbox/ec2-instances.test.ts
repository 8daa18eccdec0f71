import {
  CreateLaunchTemplateVersionCommand,
  DescribeInstanceTypesCommand,
  DescribeInstancesCommand,
  DescribeLaunchTemplateVersionsCommand,
  GetConsoleOutputCommand,
} from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { createAutoScalingWorld } from "../../sandbox/aws/autoscaling/world.ts";
import { home, other, refusal, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";

/** An Auto Scaling group of one instance on top of EC2. */
function addGroup(stage: Stage, data: { ImageId: string; InstanceType: string }) {
  const { clock, world } = stage;
  const template = world.addLaunchTemplate(home, "web", data);
  const scaling = createAutoScalingWorld({ clock, fleet: world.fleet });
  const launchTemplate = { launchTemplateId: template.id, version: "1" };
  scaling.addGroup({ ...home, name: "web", min: 0, max: 3, desired: 1, launchTemplate, settled: false });
  return { template, group: () => scaling.group("web") };
}

describe("the console of an instance", () => {
  const output = async (stage: Stage, InstanceId: string): Promise<string> => {
    const command = new GetConsoleOutputCommand({ InstanceId, Latest: true });
    const answer = await stage.ec2.send(command);
    expect(answer).toMatchObject({ InstanceId, Timestamp: stage.clock.date() });
    return Buffer.from(answer.Output ?? "", "base64").toString();
  };

  test("has the lines of its boot, or what the test says of its image", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web" });
    addGroup(stage, { ImageId: image.id, InstanceType: "t3.micro" });
    const id = stage.world.instances()[0]?.id ?? "";
    expect(await output(stage, id)).toMatch(/Linux version[^]*cloud-init[^]*login: $/);
    stage.world.setConsole(image.id, "Kernel panic - not syncing\n");
    expect(await output(stage, id)).toBe("Kernel panic - not syncing\n");
    stage.world.setConsole(image.id, `start${"x".repeat(64 * 1024)}`);
    expect(await output(stage, id)).toBe("x".repeat(64 * 1024));
  });

  test("is there for an hour after the termination, and for no other account", async () => {
    const stage = await setStage({ delays: { terminate: 0 } });
    const image = stage.world.addImage(home, { name: "web" });
    addGroup(stage, { ImageId: image.id, InstanceType: "t3.micro" });
    const InstanceId = stage.world.instances()[0]?.id ?? "";
    const foreign = stage.client("AKIAOTHER").send(new GetConsoleOutputCommand({ InstanceId }));
    expect((await refusal(foreign)).code).toBe("InvalidInstanceID.NotFound");
    stage.world.fleet.terminate(home, InstanceId);
    stage.clock.advance(3_599_000);
    expect(stage.world.instances()[0]?.state).toBe("terminated");
    expect(await output(stage, InstanceId)).toContain("Linux version");
    stage.clock.advance(2000);
    const late = stage.ec2.send(new GetConsoleOutputCommand({ InstanceId }));
    expect((await refusal(late)).code).toBe("InvalidInstanceID.NotFound");
  });
});

describe("instances of a group", () => {
  test("have addresses and names", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web" });
    addGroup(stage, { ImageId: image.id, InstanceType: "t3.micro" });
    const InstanceIds = stage.world.instances().map(({ id }) => id);
    const { Reservations } = await stage.ec2.send(new DescribeInstancesCommand({ InstanceIds }));
    const instance = Reservations?.[0]?.Instances?.[0];
    expect(instance?.PrivateIpAddress).toMatch(/^172\.31\.\d+\.\d+$/);
    expect(instance?.PublicIpAddress).toMatch(/^203\.0\.113\.\d+$/);
    expect(instance?.PrivateDnsName).toBe(
      `ip-${instance?.PrivateIpAddress?.replaceAll(".", "-")}.eu-west-1.compute.internal`,
    );
  });

  test("are of their image's architecture, or are not launched", async () => {
    const stage = await setStage();
    const arm = stage.world.addImage(home, { name: "arm", architecture: "arm64" });
    const { group } = addGroup(stage, { ImageId: arm.id, InstanceType: "t3.micro" });
    expect(group().members).toEqual([]);
    expect(group().activities.at(-1)).toMatchObject({
      statusCode: "Failed",
      statusMessage:
        "The requested instance type's architecture (x86_64) does not match the architecture in the manifest " +
        `for ${arm.id} (arm64). Launching EC2 instance failed.`,
    });
  });

  test("of Graviton run arm64 images", async () => {
    const stage = await setStage();
    const arm = stage.world.addImage(home, { name: "arm", architecture: "arm64" });
    const { group } = addGroup(stage, { ImageId: arm.id, InstanceType: "t4g.small" });
    expect(group().members).toHaveLength(1);
    expect(stage.world.instances()[0]?.architecture).toBe("arm64");
  });
});

describe("instance types", () => {
  test("say what processors they have", async () => {
    const stage = await setStage();
    const both = ["i386", "x86_64"];
    const expected: Record<string, readonly string[]> = {
      "t2.micro": both,
      ...Object.fromEntries(
        ["t3.small", "t3a.nano", "m5.large", "m6i.12xlarge", "c5.metal", "c6i.xlarge", "r5.large"].map(
          (name) => [name, ["x86_64"]],
        ),
      ),
      ...Object.fromEntries(
        ["t4g.micro", "m6g.large", "m7g.medium", "c7g.metal", "r7g.large", "a1.large"].map((name) => [
          name,
          ["arm64"],
        ]),
      ),
    };
    const command = new DescribeInstanceTypesCommand({ InstanceTypes: Object.keys(expected) as never[] });
    const { InstanceTypes = [] } = await stage.ec2.send(command);
    expect(
      Object.fromEntries(
        InstanceTypes.map((type) => [type.InstanceType, type.ProcessorInfo?.SupportedArchitectures]),
      ),
    ).toEqual(expected);
  });

  test("that do not exist are named", async () => {
    const stage = await setStage();
    const InstanceTypes = ["t3.micro", "t9.micro", "m5.huge"] as never[];
    const call = stage.ec2.send(new DescribeInstanceTypesCommand({ InstanceTypes }));
    expect(await refusal(call)).toEqual({
      code: "InvalidInstanceType",
      message: "The following supplied instance types do not exist: [t9.micro, m5.huge]",
    });
  });
});

describe("an image by the name of a parameter", () => {
  const shown = async (stage: Stage, LaunchTemplateId: string, ResolveAlias: boolean) => {
    const command = new DescribeLaunchTemplateVersionsCommand({ LaunchTemplateId, ResolveAlias });
    const { LaunchTemplateVersions = [] } = await stage.ec2.send(command);
    return LaunchTemplateVersions.map((version) => version.LaunchTemplateData?.ImageId);
  };

  test("is the newest, a numbered or a labelled one", async () => {
    const stage = await setStage();
    const { id } = stage.world.addLaunchTemplate(home, "web", { ImageId: "resolve:ssm:/web/ami" });
    stage.world.addLaunchTemplateVersion(id, { ImageId: "resolve:ssm:/web/ami:1" });
    stage.world.addLaunchTemplateVersion(id, { ImageId: "resolve:ssm:/web/ami:stable" });
    stage.world.setParameter("/web/ami", "ami-1");
    stage.world.setParameter("/web/ami", "ami-2", "stable");
    stage.world.setParameter("/web/ami", "ami-3");
    expect(await shown(stage, id, true)).toEqual(["ami-2", "ami-1", "ami-3"]);
    expect(await shown(stage, id, false)).toContain("resolve:ssm:/web/ami:stable");
    stage.world.addLaunchTemplateVersion(id, { ImageId: "resolve:ssm:/web/ami:9" });
    expect((await refusal(shown(stage, id, true))).code).toBe("InvalidParameterValue");
  });

  test("is what a group launches", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web" });
    stage.world.setParameter("/web/ami", image.id);
    addGroup(stage, { ImageId: "resolve:ssm:/web/ami", InstanceType: "t3.micro" });
    expect(stage.world.instances(home).map((instance) => instance.imageId)).toEqual([image.id]);
    expect(stage.world.instances(other)).toEqual([]);
  });
});

test("a launch template has room for so many versions", async () => {
  const stage = await setStage({ launchTemplateVersions: 2 });
  const { id: LaunchTemplateId } = stage.world.addLaunchTemplate(home, "web", { ImageId: "ami-1" });
  const create = () =>
    stage.ec2.send(
      new CreateLaunchTemplateVersionCommand({ LaunchTemplateId, LaunchTemplateData: { ImageId: "ami-2" } }),
    );
  expect((await create()).LaunchTemplateVersion?.VersionNumber).toBe(2);
  expect((await refusal(create())).code).toBe("LaunchTemplateVersionLimitExceeded");
});
