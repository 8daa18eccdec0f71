import {
  AttachVolumeCommand,
  CreateFleetCommand,
  CreateImageCommand,
  CreateLaunchTemplateCommand,
  CreateSnapshotCommand,
  CreateTagsCommand,
  DescribeInstancesCommand,
  DescribeSnapshotsCommand,
  DescribeVolumesCommand,
  DetachVolumeCommand,
  type EC2Client,
  RegisterImageCommand,
  RunInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { describeImage, home, refusal, setStage, type Stage } from "./ec2-stage.ts";

/** What Packer's other builders ask besides what `amazon-ebs` does, by the SDK: Spot Instances and surrogate volumes. */

const TEMPLATE = "packer-fleet-launch-template-9R1Xz2j";

async function withTemplate(stage: Stage): Promise<string> {
  const base = stage.world.addImage(home, { name: "base" });
  const { LaunchTemplate } = await stage.ec2.send(
    new CreateLaunchTemplateCommand({
      LaunchTemplateName: TEMPLATE,
      LaunchTemplateData: {
        ImageId: base.id,
        InstanceMarketOptions: { MarketType: "spot" },
        TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: "bake of web" }] }],
      },
    }),
  );
  return LaunchTemplate?.LaunchTemplateId ?? "";
}

const fleet = (types: readonly ("t3.medium" | "m5.large")[], change: object = {}) =>
  new CreateFleetCommand({
    Type: "instant",
    LaunchTemplateConfigs: [
      {
        LaunchTemplateSpecification: { LaunchTemplateName: TEMPLATE, Version: "1" },
        Overrides: types.map((InstanceType) => ({ InstanceType })),
      },
    ],
    TargetCapacitySpecification: { TotalTargetCapacity: 1, DefaultTargetCapacityType: "spot" },
    ...change,
  });

async function instance(ec2: EC2Client, id: string) {
  const { Reservations } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }));
  return Reservations?.[0]?.Instances?.[0];
}

describe("CreateFleet", () => {
  test("launches a Spot Instance from a launch template's version, with AWS's own tags and a request", async () => {
    const stage = await setStage();
    const templateId = await withTemplate(stage);
    const tagged = { TagSpecifications: [{ ResourceType: "fleet", Tags: [{ Key: "Name", Value: "f" }] }] };
    const { FleetId, Instances, Errors } = await stage.ec2.send(fleet(["t3.medium", "m5.large"], tagged));
    expect(FleetId).toMatch(/^fleet-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(Errors ?? []).toEqual([]);
    expect(Instances).toEqual([
      expect.objectContaining({
        Lifecycle: "spot",
        InstanceType: "t3.medium",
        LaunchTemplateAndOverrides: expect.objectContaining({
          LaunchTemplateSpecification: { LaunchTemplateId: templateId, Version: "1" },
        }) as unknown,
      }),
    ]);
    const id = Instances?.[0]?.InstanceIds?.[0] ?? "";
    const launched = await instance(stage.ec2, id);
    expect(launched).toMatchObject({ InstanceLifecycle: "spot", InstanceType: "t3.medium" });
    expect(Object.fromEntries((launched?.Tags ?? []).map(({ Key, Value }) => [Key, Value]))).toEqual({
      Name: "bake of web",
      "aws:ec2launchtemplate:id": templateId,
      "aws:ec2launchtemplate:version": "1",
      "aws:ec2:fleet-id": FleetId,
    });
    const request = launched?.SpotInstanceRequestId ?? "";
    await stage.ec2.send(new CreateTagsCommand({ Resources: [request], Tags: [{ Key: "a", Value: "b" }] }));
    expect(stage.world.spotRequests(home)).toEqual([
      expect.objectContaining({ id: request, tags: { a: "b" } }),
    ]);
  });

  test("takes the next override where there is no capacity, and tells each that failed", async () => {
    const stage = await setStage({ withoutSpotCapacity: ["t3.medium"] });
    await withTemplate(stage);
    const { Instances, Errors } = await stage.ec2.send(fleet(["t3.medium", "m5.large"]));
    expect(Instances?.map(({ InstanceType }) => InstanceType)).toEqual(["m5.large"]);
    expect(Errors).toEqual([
      expect.objectContaining({ ErrorCode: "InsufficientInstanceCapacity", Lifecycle: "spot" }),
    ]);
  });

  test("without any capacity answers with errors and no instance", async () => {
    const stage = await setStage({ withoutSpotCapacity: ["t3.medium"] });
    await withTemplate(stage);
    const { Instances, Errors } = await stage.ec2.send(fleet(["t3.medium"]));
    expect([Instances ?? [], Errors?.length]).toEqual([[], 1]);
    expect(stage.world.instances(home)).toEqual([]);
    expect(stage.world.spotRequests(home)).toEqual([]);
  });

  test("On-Demand Instances have no request; other types of fleets are not known", async () => {
    const stage = await setStage();
    await withTemplate(stage);
    const target = { TotalTargetCapacity: 2, DefaultTargetCapacityType: "on-demand" };
    const { Instances } = await stage.ec2.send(fleet(["t3.medium"], { TargetCapacitySpecification: target }));
    expect(Instances?.flatMap(({ InstanceIds }) => InstanceIds)).toHaveLength(2);
    expect(stage.world.instances(home).map(({ spotRequestId }) => spotRequestId)).toEqual([
      undefined,
      undefined,
    ]);
    const { code } = await refusal(stage.ec2.send(fleet(["t3.medium"], { Type: "maintain" })));
    expect(code).toBe("UnsupportedOperation");
  });

  test("an instance of a one-time request cannot be stopped; images can be made of it while it runs", async () => {
    const stage = await setStage();
    await withTemplate(stage);
    const { Instances } = await stage.ec2.send(fleet(["t3.medium"]));
    const id = Instances?.[0]?.InstanceIds?.[0] ?? "";
    stage.clock.advance(60_000);
    const { code, message } = await refusal(stage.ec2.send(new StopInstancesCommand({ InstanceIds: [id] })));
    expect([code, message]).toEqual([
      "UnsupportedOperation",
      expect.stringContaining("one-time Spot Instance request") as string,
    ]);
    const { ImageId } = await stage.ec2.send(new CreateImageCommand({ InstanceId: id, Name: "spot" }));
    expect((await describeImage(stage.ec2, ImageId ?? ""))?.SourceInstanceId).toBe(id);
  });
});

/** An instance with a second volume, stopped, as a surrogate build has it. */
async function withSurrogate(stage: Stage): Promise<{ id: string; root: string; volume: string }> {
  const base = stage.world.addImage(home, { name: "base" });
  const { Instances } = await stage.ec2.send(
    new RunInstancesCommand({
      ImageId: base.id,
      InstanceType: "t3.small",
      MinCount: 1,
      MaxCount: 1,
      BlockDeviceMappings: [{ DeviceName: "/dev/xvdf", Ebs: { VolumeSize: 4, DeleteOnTermination: true } }],
    }),
  );
  const id = Instances?.[0]?.InstanceId ?? "";
  stage.clock.advance(60_000);
  const { Volumes } = await stage.ec2.send(
    new DescribeVolumesCommand({ Filters: [{ Name: "attachment.instance-id", Values: [id] }] }),
  );
  const at = (device: string): string =>
    Volumes?.find(({ Attachments }) => Attachments?.[0]?.Device === device)?.VolumeId ?? "";
  return { id, root: at("/dev/sda1"), volume: at("/dev/xvdf") };
}

describe("a surrogate volume", () => {
  test("becomes a snapshot, and that an image that was made from no instance and no image", async () => {
    const stage = await setStage();
    const { volume } = await withSurrogate(stage);
    const tags = [{ ResourceType: "snapshot" as const, Tags: [{ Key: "a", Value: "b" }] }];
    const made = await stage.ec2.send(
      new CreateSnapshotCommand({ VolumeId: volume, Description: "Packer: now", TagSpecifications: tags }),
    );
    expect(made).toMatchObject({ State: "pending", VolumeId: volume, VolumeSize: 4 });
    const SnapshotId = made.SnapshotId ?? "";
    stage.clock.advance(20_000);
    const { Snapshots } = await stage.ec2.send(
      new DescribeSnapshotsCommand({
        OwnerIds: ["self"],
        Filters: [{ Name: "volume-id", Values: [volume] }],
      }),
    );
    expect(Snapshots).toEqual([
      expect.objectContaining({ SnapshotId, State: "completed", Description: "Packer: now" }),
    ]);
    const { ImageId = "" } = await stage.ec2.send(
      new RegisterImageCommand({
        Name: "surrogate",
        Architecture: "x86_64",
        VirtualizationType: "hvm",
        RootDeviceName: "/dev/xvda",
        BlockDeviceMappings: [{ DeviceName: "/dev/xvda", Ebs: { SnapshotId } }],
      }),
    );
    stage.clock.advance(60_000);
    const image = await describeImage(stage.ec2, ImageId);
    expect(image).toMatchObject({ State: "available", RootDeviceName: "/dev/xvda" });
    expect([image?.SourceInstanceId, image?.SourceImageId]).toEqual([undefined, undefined]);
    expect(image?.BlockDeviceMappings?.map(({ Ebs }) => [Ebs?.SnapshotId, Ebs?.VolumeSize])).toEqual([
      [SnapshotId, 4],
    ]);
  });

  test("takes the root volume's place while the instance is stopped, for CreateImage", async () => {
    const stage = await setStage();
    const { id, root, volume } = await withSurrogate(stage);
    const detach = (VolumeId: string) => stage.ec2.send(new DetachVolumeCommand({ VolumeId }));
    const attach = (VolumeId: string, Device: string) =>
      stage.ec2.send(new AttachVolumeCommand({ VolumeId, InstanceId: id, Device }));
    expect((await refusal(detach(root))).code).toBe("OperationNotPermitted");
    expect((await refusal(attach(volume, "/dev/xvdg"))).code).toBe("VolumeInUse");
    await stage.ec2.send(new StopInstancesCommand({ InstanceIds: [id] }));
    stage.clock.advance(60_000);
    await detach(volume);
    expect((await refusal(detach(volume))).code).toBe("IncorrectState");
    expect((await refusal(attach(volume, "/dev/sda1"))).message).toContain("already in use");
    await detach(root);
    await attach(volume, "/dev/sda1");
    const { ImageId = "" } = await stage.ec2.send(new CreateImageCommand({ InstanceId: id, Name: "swap" }));
    const image = await describeImage(stage.ec2, ImageId);
    expect(image?.BlockDeviceMappings?.map(({ Ebs }) => Ebs?.VolumeSize)).toEqual([4]);
    await stage.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    stage.clock.advance(60_000);
    // One was never attached again, the other does not end with the instance.
    expect(stage.world.volumes(home).map((each) => each.id)).toEqual([root, volume]);
  });
});
