import { createPrivateKey } from "node:crypto";
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateKeyPairCommand,
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  DeleteKeyPairCommand,
  DeleteSecurityGroupCommand,
  DeleteTagsCommand,
  DescribeInstanceStatusCommand,
  DescribeInstanceTypesCommand,
  DescribeInstancesCommand,
  DescribeKeyPairsCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeTagsCommand,
  DescribeVolumesCommand,
  DescribeVpcsCommand,
  GetConsoleOutputCommand,
  ImportKeyPairCommand,
  ModifyInstanceAttributeCommand,
  RevokeSecurityGroupEgressCommand,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
  paginateDescribeInstances,
} from "@aws-sdk/client-ec2";
import type { Instance, RunInstancesCommandInput } from "@aws-sdk/client-ec2";
import ssh2 from "ssh2";
import { describe, expect, test } from "vitest";
import { home, other, refusal, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";

const second = 1_000;

async function run(stage: Stage, input: Partial<RunInstancesCommandInput> = {}): Promise<Instance> {
  const ImageId = stage.world.images(home)[0]?.id ?? stage.world.addImage(home, { name: "base" }).id;
  const request = { ImageId, InstanceType: "t3.micro" as const, MinCount: 1, MaxCount: 1, ...input };
  const { Instances } = await stage.ec2.send(new RunInstancesCommand(request));
  const [instance] = Instances ?? [];
  if (instance === undefined) throw new Error("RunInstances answered no instance");
  return instance;
}

async function describeInstance(stage: Stage, InstanceId = ""): Promise<Instance | undefined> {
  const answer = await stage.ec2.send(new DescribeInstancesCommand({ InstanceIds: [InstanceId] }));
  return answer.Reservations?.[0]?.Instances?.[0];
}

async function stateOf(stage: Stage, id = ""): Promise<string | undefined> {
  return (await describeInstance(stage, id))?.State?.Name;
}

describe("an instance's life", () => {
  test("pending, running, stopping, stopped, again running, shutting-down, terminated, gone", async () => {
    const stage = await setStage();
    const { InstanceId: id = "", State } = await run(stage);
    const InstanceIds = [id];
    expect(State).toEqual({ Code: 0, Name: "pending" });
    expect((await refusal(stage.ec2.send(new StopInstancesCommand({ InstanceIds })))).code).toBe(
      "IncorrectInstanceState",
    );
    stage.clock.advance(5 * second);
    expect(await describeInstance(stage, id)).toMatchObject({
      State: { Code: 16, Name: "running" },
      Placement: { AvailabilityZone: "eu-west-1a" },
      RootDeviceName: "/dev/sda1",
      PublicIpAddress: expect.stringMatching(/^203\.0\.113\./),
    });
    const { StoppingInstances } = await stage.ec2.send(new StopInstancesCommand({ InstanceIds }));
    expect(StoppingInstances).toMatchObject([
      { CurrentState: { Code: 64, Name: "stopping" }, PreviousState: { Name: "running" } },
    ]);
    stage.clock.advance(10 * second);
    expect(await stateOf(stage, id)).toBe("stopped");
    await stage.ec2.send(new StartInstancesCommand({ InstanceIds }));
    expect(await stateOf(stage, id)).toBe("pending");
    await stage.ec2.send(new TerminateInstancesCommand({ InstanceIds }));
    expect(await stateOf(stage, id)).toBe("shutting-down");
    stage.clock.advance(20 * second);
    expect(await describeInstance(stage, id)).toMatchObject({
      State: { Code: 48, Name: "terminated" },
      StateReason: { Code: "Client.UserInitiatedShutdown" },
    });
    stage.clock.advance(3_600 * second);
    expect(await refusal(describeInstance(stage, id))).toEqual({
      code: "InvalidInstanceID.NotFound",
      message: `The instance ID '${id}' does not exist`,
    });
  });

  test("the host hears of launches, boots with the key, and of shutdowns", async () => {
    const heard: string[] = [];
    const host = {
      reserve(instanceId: string) {
        heard.push(`reserve ${instanceId}`);
        return { publicIp: "127.0.0.9", privateIp: "127.0.0.9" };
      },
      boot: (instance: { instanceId: string; publicIp: string; publicKey: string | undefined }) => {
        heard.push(`boot ${instance.instanceId} ${instance.publicIp} ${instance.publicKey?.split(" ")[0]}`);
      },
      shutDown: (instanceId: string) => {
        heard.push(`shut down ${instanceId}`);
      },
    };
    const stage = await setStage({}, host);
    await stage.ec2.send(new CreateKeyPairCommand({ KeyName: "k" }));
    const { InstanceId: id, PublicIpAddress } = await run(stage, { KeyName: "k" });
    expect(PublicIpAddress).toBe("127.0.0.9");
    expect(heard).toEqual([`reserve ${id}`]);
    // The key pair is gone before the machine is up, the key is not.
    await stage.ec2.send(new DeleteKeyPairCommand({ KeyName: "k" }));
    stage.clock.advance(5 * second);
    await stage.ec2.send(new StopInstancesCommand({ InstanceIds: [id ?? ""] }));
    expect(heard.slice(1)).toEqual([`boot ${id} 127.0.0.9 ssh-rsa`, `shut down ${id}`]);
  });

  test("volumes go or stay with it as DeleteOnTermination says", async () => {
    const stage = await setStage();
    const { InstanceId = "" } = await run(stage, {
      BlockDeviceMappings: [{ DeviceName: "/dev/sdb", Ebs: { VolumeSize: 3, DeleteOnTermination: false } }],
      TagSpecifications: [{ ResourceType: "volume", Tags: [{ Key: "app", Value: "web" }] }],
    });
    const volumes = async (): Promise<unknown> =>
      (await stage.ec2.send(new DescribeVolumesCommand())).Volumes?.map(({ Size, State, Tags }) => ({
        Size,
        State,
        tag: Tags?.[0]?.Value,
      }));
    expect(await volumes()).toEqual([
      { Size: 8, State: "in-use", tag: "web" },
      { Size: 3, State: "in-use", tag: "web" },
    ]);
    expect((await describeInstance(stage, InstanceId))?.BlockDeviceMappings).toHaveLength(2);
    stage.world.fleet.terminate(home, InstanceId);
    stage.clock.advance(20 * second);
    expect(await volumes()).toEqual([{ Size: 3, State: "available", tag: "web" }]);
  });

  test("invisible at first, where the lag says so", async () => {
    const stage = await setStage({ visibilityLag: { instance: 3 * second } });
    const { InstanceId = "" } = await run(stage);
    expect((await refusal(describeInstance(stage, InstanceId))).code).toBe("InvalidInstanceID.NotFound");
    stage.clock.advance(3 * second);
    expect(await stateOf(stage, InstanceId)).toBe("pending");
  });

  test("status, console and attributes", async () => {
    const stage = await setStage({ consoleOutput: (id) => `hello from ${id}` });
    const { InstanceId = "" } = await run(stage);
    const statuses = async (IncludeAllInstances: boolean): Promise<number | undefined> =>
      (await stage.ec2.send(new DescribeInstanceStatusCommand({ IncludeAllInstances }))).InstanceStatuses
        ?.length;
    expect(await statuses(false)).toBe(0);
    expect(await statuses(true)).toBe(1);
    const { Output = "" } = await stage.ec2.send(new GetConsoleOutputCommand({ InstanceId }));
    expect(Buffer.from(Output, "base64").toString()).toBe(`hello from ${InstanceId}`);
    const protect = { InstanceId, DisableApiTermination: { Value: true } };
    await stage.ec2.send(new ModifyInstanceAttributeCommand(protect));
    const terminate = new TerminateInstancesCommand({ InstanceIds: [InstanceId] });
    expect((await refusal(stage.ec2.send(terminate))).code).toBe("OperationNotPermitted");
  });
});

describe("launching", () => {
  test("refuses what is not there, and what does not fit", async () => {
    const stage = await setStage();
    const arm = stage.world.addImage(home, { name: "arm", architecture: "arm64" });
    const secret = stage.world.addImage(other, { name: "secret" });
    const why = async (input: Partial<RunInstancesCommandInput>): Promise<string> =>
      (await refusal(run(stage, input))).code;
    expect(await refusal(run(stage, { ImageId: arm.id }))).toEqual({
      code: "Unsupported",
      message:
        "The requested instance type's architecture (x86_64) does not match the architecture in the " +
        `manifest for ${arm.id} (arm64)`,
    });
    await expect(run(stage, { ImageId: arm.id, InstanceType: "t4g.micro" })).resolves.toBeDefined();
    await expect(run(stage, { ImageId: arm.id, InstanceType: "c7gn.large" })).resolves.toBeDefined();
    const x86 = { ImageId: stage.world.addImage(home, { name: "x86" }).id };
    expect(await why({ ImageId: "ami-0123456789abcdef0" })).toBe("InvalidAMIID.NotFound");
    expect(await why({ ImageId: secret.id })).toBe("AuthFailure");
    expect(await why({ ...x86, KeyName: "k" })).toBe("InvalidKeyPair.NotFound");
    expect(await why({ ...x86, SecurityGroupIds: ["sg-1"] })).toBe("InvalidGroup.NotFound");
    expect(await why({ ...x86, SubnetId: "subnet-1" })).toBe("InvalidSubnetID.NotFound");
    expect(stage.world.instances(home)).toHaveLength(2);
  });

  test("a dry run says whether it would have succeeded, and launches nothing", async () => {
    const stage = await setStage();
    const { id } = stage.world.addImage(home, { name: "base" });
    const template = stage.world.addLaunchTemplate(home, "web", { ImageId: id, InstanceType: "t3.micro" });
    const LaunchTemplate = { LaunchTemplateId: template.id, Version: "1" };
    const dry = new RunInstancesCommand({ LaunchTemplate, MinCount: 1, MaxCount: 1, DryRun: true });
    expect((await refusal(stage.ec2.send(dry))).code).toBe("DryRunOperation");
    stage.world.setImageState(id, "failed");
    expect((await refusal(stage.ec2.send(dry))).code).toBe("InvalidAMIID.Unavailable");
    expect(stage.world.instances()).toEqual([]);
  });

  test("from a template: the request's fields come first, and EC2 tags the instance", async () => {
    const stage = await setStage();
    const { id } = stage.world.addImage(home, { name: "base" });
    const template = stage.world.addLaunchTemplate(home, "web", {
      ImageId: id,
      InstanceType: "t3.micro",
      "TagSpecification.1.ResourceType": "instance",
      "TagSpecification.1.Tag.1.Key": "app",
      "TagSpecification.1.Tag.1.Value": "web",
    });
    const { Instances } = await stage.ec2.send(
      new RunInstancesCommand({
        LaunchTemplate: { LaunchTemplateName: "web" },
        InstanceType: "t3.small",
        MinCount: 2,
        MaxCount: 2,
      }),
    );
    expect(Instances).toHaveLength(2);
    expect(Instances?.[0]).toMatchObject({ ImageId: id, InstanceType: "t3.small" });
    expect(stage.world.instances()[0]?.tags).toEqual({
      "aws:ec2launchtemplate:id": template.id,
      "aws:ec2launchtemplate:version": "1",
      app: "web",
    });
  });

  test("a token that was used launches nothing more", async () => {
    const stage = await setStage();
    const first = await run(stage, { ClientToken: "t" });
    expect((await run(stage, { ClientToken: "t" })).InstanceId).toBe(first.InstanceId);
    expect((await refusal(run(stage, { ClientToken: "t", EbsOptimized: true }))).code).toBe(
      "IdempotentParameterMismatch",
    );
    expect(stage.world.instances()).toHaveLength(1);
  });

  test("filters and pages", async () => {
    const stage = await setStage();
    for (const app of ["a", "b", "b", "b", "b", "b"]) {
      await run(stage, {
        TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "app", Value: app }] }],
      });
    }
    const sizes: number[] = [];
    const Filters = [
      { Name: "tag:app", Values: ["b"] },
      { Name: "instance-state-name", Values: ["pending", "running"] },
    ];
    for await (const { Reservations } of paginateDescribeInstances(
      { client: stage.ec2, pageSize: 5 },
      { Filters },
    )) {
      sizes.push(Reservations?.length ?? 0);
    }
    expect(sizes).toEqual([5]);
    const all = new DescribeInstancesCommand({ MaxResults: 5 });
    const { NextToken, Reservations } = await stage.ec2.send(all);
    expect(Reservations).toHaveLength(5);
    expect(NextToken).toBeDefined();
    expect((await refusal(stage.ec2.send(new DescribeInstancesCommand({ MaxResults: 4 })))).code).toBe(
      "InvalidParameterValue",
    );
  });
});

describe("the fleet that Auto Scaling gets", () => {
  test("launches what DescribeInstances shows, and terminates it", async () => {
    const stage = await setStage();
    const { fleet } = stage.world;
    const { id: imageId } = stage.world.addImage(home, { name: "web-1" });
    const template = stage.world.addLaunchTemplate(home, "web", {
      ImageId: imageId,
      InstanceType: "t3.micro",
    });
    expect(fleet.image(home, imageId)).toEqual({
      imageId,
      state: "available",
      architecture: "x86_64",
      ownerId: home.accountId,
    });
    expect(fleet.image(other, imageId)).toBeUndefined();
    expect(fleet.launchTemplateVersion(home, { launchTemplateName: "web" })).toEqual({
      launchTemplateId: template.id,
      launchTemplateName: "web",
      version: "1",
      imageId,
      instanceType: "t3.micro",
    });
    const instanceId = fleet.launch(home, {
      imageId,
      instanceType: "m7i.large",
      availabilityZone: "eu-west-1b",
      launchTemplate: { launchTemplateId: template.id, version: "1" },
      tags: { "aws:autoscaling:groupName": "web" },
    });
    expect(await describeInstance(stage, instanceId)).toMatchObject({
      ImageId: imageId,
      InstanceType: "m7i.large",
      Placement: { AvailabilityZone: "eu-west-1b" },
      State: { Name: "pending" },
      Tags: expect.arrayContaining([{ Key: "aws:autoscaling:groupName", Value: "web" }]),
    });
    fleet.terminate(home, instanceId);
    fleet.terminate(home, "i-unknown");
    stage.clock.advance(20 * second);
    expect(await stateOf(stage, instanceId)).toBe("terminated");
  });

  test("refuses as RunInstances does", async () => {
    const stage = await setStage();
    const { fleet } = stage.world;
    const pending = stage.world.addImage(home, { name: "web-1", state: "pending" });
    const request = {
      imageId: pending.id,
      instanceType: "t3.micro",
      availabilityZone: "eu-west-1a",
      launchTemplate: undefined,
      tags: {},
    };
    expect(() => fleet.launch(home, request)).toThrow(`AMI ${pending.id} is pending, and cannot be run.`);
    expect(() => fleet.launch(home, { ...request, imageId: "ami-1" })).toThrow(
      "The image id '[ami-1]' does not exist",
    );
    stage.world.setImageState(pending.id, "available");
    expect(() => fleet.launch(home, { ...request, instanceType: "t4g.micro" })).toThrow(
      "The requested instance type's architecture (arm64) does not match",
    );
    expect(() => fleet.launchTemplateVersion(home, { launchTemplateId: "lt-1" })).toThrow("does not exist");
  });
});

describe("key pairs", () => {
  test("an RSA key is a PKCS#1 PEM that SSH clients read", async () => {
    const stage = await setStage();
    const { KeyMaterial = "", KeyFingerprint } = await stage.ec2.send(
      new CreateKeyPairCommand({ KeyName: "k" }),
    );
    expect(KeyMaterial).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    expect(createPrivateKey(KeyMaterial).asymmetricKeyType).toBe("rsa");
    expect(KeyFingerprint).toMatch(/^(?:[0-9a-f]{2}:){19}[0-9a-f]{2}$/);
    const parsed = ssh2.utils.parseKey(KeyMaterial);
    if (parsed instanceof Error) throw parsed;
    const [, blob] = stage.world.keyPairs()[0]?.publicKey.split(" ") ?? [];
    expect(parsed.getPublicSSH().toString("base64")).toBe(blob);
  });

  test("an ED25519 key is an OpenSSH PEM", async () => {
    const stage = await setStage();
    const create = new CreateKeyPairCommand({ KeyName: "k", KeyType: "ed25519" });
    const { KeyMaterial = "" } = await stage.ec2.send(create);
    const parsed = ssh2.utils.parseKey(KeyMaterial);
    if (parsed instanceof Error) throw parsed;
    expect(parsed.type).toBe("ssh-ed25519");
    const publicKey = stage.world.keyPairs()[0]?.publicKey ?? "";
    expect(publicKey).toContain(parsed.getPublicSSH().toString("base64"));
  });

  test("imported, found, taken, deleted", async () => {
    const stage = await setStage();
    await stage.ec2.send(new CreateKeyPairCommand({ KeyName: "k" }));
    const PublicKeyMaterial = Buffer.from(stage.world.keyPairs()[0]?.publicKey ?? "");
    const imported = await stage.ec2.send(new ImportKeyPairCommand({ KeyName: "i", PublicKeyMaterial }));
    expect(imported.KeyFingerprint).toMatch(/^(?:[0-9a-f]{2}:){15}[0-9a-f]{2}$/);
    const taken = stage.ec2.send(new CreateKeyPairCommand({ KeyName: "i" }));
    expect((await refusal(taken)).code).toBe("InvalidKeyPair.Duplicate");
    await stage.ec2.send(new DeleteKeyPairCommand({ KeyName: "i" }));
    await stage.ec2.send(new DeleteKeyPairCommand({ KeyName: "i" }));
    const gone = stage.ec2.send(new DescribeKeyPairsCommand({ KeyNames: ["i"] }));
    expect((await refusal(gone)).code).toBe("InvalidKeyPair.NotFound");
  });
});

describe("security groups", () => {
  test("rules, and deletion only once no living instance uses it", async () => {
    const stage = await setStage();
    const create = new CreateSecurityGroupCommand({ GroupName: "packer", Description: "temporary" });
    const { GroupId = "" } = await stage.ec2.send(create);
    expect((await refusal(stage.ec2.send(create))).code).toBe("InvalidGroup.Duplicate");
    const ssh = { IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] };
    const authorize = new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions: [ssh] });
    expect((await stage.ec2.send(authorize)).Return).toBe(true);
    expect((await refusal(stage.ec2.send(authorize))).code).toBe("InvalidPermission.Duplicate");
    const all = { IpProtocol: "-1", IpRanges: [{ CidrIp: "0.0.0.0/0" }] };
    await stage.ec2.send(new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions: [all] }));
    const describeGroup = new DescribeSecurityGroupsCommand({ GroupIds: [GroupId] });
    const { SecurityGroups } = await stage.ec2.send(describeGroup);
    expect(SecurityGroups?.[0]).toMatchObject({
      GroupName: "packer",
      IpPermissions: [{ IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] }],
      IpPermissionsEgress: [],
    });
    const { InstanceId = "" } = await run(stage, { SecurityGroupIds: [GroupId] });
    const remove = new DeleteSecurityGroupCommand({ GroupId });
    stage.world.fleet.terminate(home, InstanceId);
    expect(await refusal(stage.ec2.send(remove))).toEqual({
      code: "DependencyViolation",
      message: `resource ${GroupId} has a dependent object`,
    });
    stage.clock.advance(20 * second);
    await stage.ec2.send(remove);
    expect((await refusal(stage.ec2.send(describeGroup))).code).toBe("InvalidGroup.NotFound");
  });
});

describe("tags", () => {
  test("set, replaced, deleted, listed; all of a request's resources or none", async () => {
    const stage = await setStage();
    const { id } = stage.world.addImage(home, { name: "web-1", tags: { app: "web" } });
    const snapshotId = stage.world.snapshots()[0]?.id ?? "";
    const tag = (Resources: string[], tags: Record<string, string>): Promise<unknown> => {
      const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
      return stage.ec2.send(new CreateTagsCommand({ Resources, Tags }));
    };
    await tag([id, snapshotId], { app: "api", sha: "" });
    const { Tags } = await stage.ec2.send(
      new DescribeTagsCommand({ Filters: [{ Name: "key", Values: ["app"] }] }),
    );
    expect(Tags).toEqual([
      { Key: "app", Value: "api", ResourceId: id, ResourceType: "image" },
      { Key: "app", Value: "api", ResourceId: snapshotId, ResourceType: "snapshot" },
    ]);
    expect(stage.world.images()[0]?.tags).toEqual({ app: "api", sha: "" });
    const partly = tag([id, "ami-0123456789abcdef0"], { late: "1" });
    expect((await refusal(partly)).code).toBe("InvalidAMIID.NotFound");
    expect(stage.world.images()[0]?.tags).not.toHaveProperty("late");
    expect((await refusal(tag([id], { "aws:x": "1" }))).code).toBe("InvalidParameterValue");
    const many = Object.fromEntries(Array.from({ length: 51 }, (_, number) => [`t${number}`, "x"]));
    expect((await refusal(tag([id], many))).code).toBe("TagLimitExceeded");
    await stage.ec2.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: "app", Value: "other" }] }));
    await stage.ec2.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: "sha" }] }));
    expect(stage.world.images()[0]?.tags).toEqual({ app: "api" });
  });
});

describe("what every account has", () => {
  test("a default VPC with three subnets per region, and the same ids for the same seed", async () => {
    const stage = await setStage();
    const twin = await setStage();
    const vpcs = new DescribeVpcsCommand({ Filters: [{ Name: "is-default", Values: ["true"] }] });
    const { Vpcs } = await stage.ec2.send(vpcs);
    expect(Vpcs).toHaveLength(1);
    expect((await twin.ec2.send(vpcs)).Vpcs?.[0]?.VpcId).toBe(Vpcs?.[0]?.VpcId);
    const { Subnets } = await stage.ec2.send(new DescribeSubnetsCommand());
    expect(Subnets?.map((subnet) => subnet.AvailabilityZone)).toEqual([
      "eu-west-1a",
      "eu-west-1b",
      "eu-west-1c",
    ]);
    expect((await run(stage)).InstanceId).toBe((await run(twin)).InstanceId);
  });

  test("instance types with their architecture", async () => {
    const stage = await setStage();
    const types = new DescribeInstanceTypesCommand({
      InstanceTypes: ["t4g.nano", "g5.xlarge", "c7gd.large"],
    });
    const { InstanceTypes } = await stage.ec2.send(types);
    expect(InstanceTypes?.map((type) => type.ProcessorInfo?.SupportedArchitectures)).toEqual([
      ["arm64"],
      ["x86_64"],
      ["arm64"],
    ]);
  });
});
