import {
  AuthorizeSecurityGroupIngressCommand,
  CopyImageCommand,
  CreateImageCommand,
  CreateKeyPairCommand,
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  type EC2Client,
  RunInstancesCommand,
} from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { withMiddleware } from "../../src/aws/middleware.ts";
import type { ImageId } from "../../src/domain/image.ts";
import { type BakeTraces, formatTraces, madeOf, parseTraces } from "../../src/image/bake-traces.ts";
import { sweepBake } from "../../src/image/sweep.ts";
import { home, setStage, type Stage } from "../sandbox/ec2-stage.ts";

const NAME = "packer_6b018955-bda3-14d5-2626-19b67cd00e5a";
const GROUP = "packer_6b018955-2df6-8723-e8ef-682e95149eb9";
const MARK = "acme/web/100/1/0123456789ab";
const IMAGE_NAME = "web-v1-0123456789ab";

/** What Packer has made when it is stopped in the middle of the image. */
async function halfBaked(): Promise<{ stage: Stage; ec2: EC2Client; traces: BakeTraces; image: ImageId }> {
  const stage = await setStage();
  const ec2 = withMiddleware(stage.ec2);
  const base = stage.world.addImage(home, { name: "base" });
  await ec2.send(new CreateKeyPairCommand({ KeyName: NAME }));
  const { GroupId } = await ec2.send(
    new CreateSecurityGroupCommand({ GroupName: GROUP, Description: "Temporary group for Packer" }),
  );
  await ec2.send(
    new AuthorizeSecurityGroupIngressCommand({
      GroupId,
      IpPermissions: [{ IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] }],
    }),
  );
  const { Instances } = await ec2.send(
    new RunInstancesCommand({
      ImageId: base.id,
      InstanceType: "t3.small",
      MinCount: 1,
      MaxCount: 1,
      KeyName: NAME,
      SecurityGroupIds: [GroupId ?? ""],
      BlockDeviceMappings: [{ DeviceName: "/dev/sda1", Ebs: { DeleteOnTermination: false } }],
    }),
  );
  stage.clock.advance(60_000);
  const instance = Instances?.[0]?.InstanceId ?? "";
  const { ImageId } = await ec2.send(new CreateImageCommand({ InstanceId: instance, Name: IMAGE_NAME }));
  return {
    stage,
    ec2,
    traces: {
      region: home.region,
      imageName: IMAGE_NAME,
      mark: MARK,
      keyPair: NAME,
      securityGroup: GROUP,
      instance,
    },
    image: ImageId as ImageId,
  };
}

const toolsOf = (stage: Stage, said: string[] = []) => ({
  clock: {
    now: () => stage.clock.date(),
    sleep: async (milliseconds: number) => stage.clock.advance(milliseconds),
  },
  log: { info: (line: string) => void said.push(line), warning: (line: string) => void said.push(line) },
  deadline: new Date(stage.clock.now() + 240_000),
});

/** What there still is of the bake. */
function left({ world }: Stage): Record<string, number> {
  return {
    instances: world.instances(home).filter(({ state }) => state !== "terminated").length,
    images: world.images(home).filter(({ name, state }) => name === IMAGE_NAME && state !== "deregistered")
      .length,
    keyPairs: world.keyPairs(home).length,
    securityGroups: world.securityGroups(home).filter(({ name }) => name !== "default").length,
  };
}

test("what Packer made is told by its own words, the first of each kind", async () => {
  const output = [
    `==> amazon-ebs.web: Creating temporary keypair: ${NAME}`,
    `==> amazon-ebs.web: Creating temporary security group for this instance: ${GROUP}`,
    "    amazon-ebs.web: Instance ID: i-5758e0b4eef41b927",
    "    amazon-ebs.web: Instance ID: i-0123456789abcdef0",
    "==> amazon-ebs.web: Creating AMI web from instance i-5758e0b4eef41b927",
    "    amazon-ebs.web: AMI: ami-6b9ec1adb3ae0ac0b",
    "==> amazon-ebs.web: Waiting for AMI to become ready...",
  ].join("\n");
  expect(await madeOf(output.split("\n"))).toEqual({
    keyPair: NAME,
    securityGroup: GROUP,
    instance: "i-5758e0b4eef41b927",
  });
});

describe("what a bake that was stopped left", () => {
  test("goes: instance, volume, half-made image with its snapshot, key pair, security group", async () => {
    const { stage, ec2, traces, image: id } = await halfBaked();
    expect(left(stage)).toEqual({ instances: 1, images: 1, keyPairs: 1, securityGroups: 1 });
    const said: string[] = [];
    await sweepBake(ec2, traces, toolsOf(stage, said));
    expect(left(stage)).toEqual({ instances: 0, images: 0, keyPairs: 0, securityGroups: 0 });
    const image = stage.world.images(home).find((other) => other.id === id);
    expect(image?.state ?? "gone").not.toBe("pending");
    expect(said).toHaveLength(5);
    stage.clock.advance(60_000);
    const again: string[] = [];
    await sweepBake(ec2, traces, toolsOf(stage, again));
    expect(again).toEqual([]);
  });

  test("an image that is whole stays, for the next run", async () => {
    const { stage, ec2, traces } = await halfBaked();
    stage.clock.advance(30 * 60_000);
    await sweepBake(ec2, traces, toolsOf(stage));
    expect(left(stage)).toEqual({ instances: 0, images: 1, keyPairs: 0, securityGroups: 0 });
  });

  test.each([
    ["pending", 0, [], "gone"],
    ["whole, and without a tag of ours", 30 * 60_000, [{ Key: "Name", Value: "x" }], "gone"],
    ["whole and tagged, as one that is released", 30 * 60_000, [{ Key: "kiln:digest", Value: "d" }], "stays"],
  ] as const)("an image of its instance under another name, %s", async (_, age, tags, fate) => {
    const { stage, ec2, traces, image } = await halfBaked();
    if (tags.length > 0) await ec2.send(new CreateTagsCommand({ Resources: [image], Tags: [...tags] }));
    stage.clock.advance(age);
    const said: string[] = [];
    await sweepBake(ec2, { ...traces, imageName: "web-v1-ba9876543210" }, toolsOf(stage, said));
    expect(left(stage)).toMatchObject({ instances: 0, images: fate === "stays" ? 1 : 0 });
    expect(said.some((line) => line.startsWith("Removed the half-made image"))).toBe(fate === "gone");
  });

  test("an encrypted copy that is pending goes; one of another name, and a whole one, stay", async () => {
    const { stage, ec2, traces, image } = await halfBaked();
    stage.clock.advance(30 * 60_000);
    const copyOf = async (name: string): Promise<string> => {
      const { ImageId } = await ec2.send(
        new CopyImageCommand({
          SourceImageId: image,
          SourceRegion: home.region,
          Name: name,
          Encrypted: true,
        }),
      );
      return ImageId ?? "";
    };
    const whole = await copyOf("web-whole");
    stage.clock.advance(30 * 60_000);
    const theirs = await copyOf("web-theirs");
    const pending = await copyOf("web-pending");
    const stateOf = (id: string) => stage.world.images(home).find((each) => each.id === id)?.state;
    await sweepBake(ec2, { ...traces, imageName: "web-whole" }, toolsOf(stage));
    expect([whole, theirs, pending].map(stateOf)).toEqual(["available", "pending", "pending"]);
    await sweepBake(ec2, { ...traces, imageName: "web-pending" }, toolsOf(stage));
    expect([whole, theirs, pending].map(stateOf)).toEqual(["available", "pending", "deregistered"]);
  });

  test("nothing known: nothing goes", async () => {
    const { stage, ec2 } = await halfBaked();
    const before = stage.log.entries.length;
    await sweepBake(ec2, { region: home.region, imageName: IMAGE_NAME, mark: MARK }, toolsOf(stage));
    expect(stage.log.entries.slice(before).map(({ action }) => action)).toEqual(["DescribeInstances"]);
  });

  test("goes by the bake's own mark too: a bake that died before Packer told of its instance", async () => {
    const { stage, ec2, traces } = await halfBaked();
    await ec2.send(
      new CreateTagsCommand({
        Resources: [traces.instance ?? ""],
        Tags: [{ Key: "kiln:bake", Value: MARK }],
      }),
    );
    const bare = { region: home.region, imageName: IMAGE_NAME };
    await sweepBake(ec2, { ...bare, mark: "acme/web/100/2/0123456789ab" }, toolsOf(stage));
    expect(left(stage)).toEqual({ instances: 1, images: 1, keyPairs: 1, securityGroups: 1 });
    await sweepBake(ec2, { ...bare, mark: MARK }, toolsOf(stage));
    expect(left(stage)).toEqual({ instances: 0, images: 0, keyPairs: 0, securityGroups: 0 });
  });

  test("is noted in one line, and read again", () => {
    const traces: BakeTraces = {
      region: "eu-west-1",
      imageName: IMAGE_NAME,
      mark: MARK,
      keyPair: NAME,
      instance: "i-1",
    };
    expect(formatTraces(traces)).not.toContain("\n");
    expect(parseTraces(formatTraces(traces))).toEqual(traces);
  });

  test.each([
    ["nothing", undefined],
    ["no JSON", "{"],
    ["something else", '{"region":"eu-west-1"}'],
    ["a region that is none", '{"region":"evil.example/","imageName":"x","mark":"y"}'],
  ])("notes that say %s are none", (_, text) => {
    expect(parseTraces(text)).toBeUndefined();
  });

  test.each<[what: string, forged: (traces: BakeTraces, stage: Stage) => Partial<BakeTraces>]>([
    ["another's instance, with no key of Packer's", (_, stage) => ({ instance: stranger(stage).instance })],
    ["a key pair that Packer did not name", () => ({ keyPair: "team" })],
    ["a security group that Packer did not name", () => ({ securityGroup: "default" })],
  ])("what a provisioner claims stays: %s", async (_, forged) => {
    const { stage, ec2, traces } = await halfBaked();
    await ec2.send(new CreateKeyPairCommand({ KeyName: "team" }));
    const claim = forged(traces, stage);
    await sweepBake(ec2, { ...traces, ...claim }, toolsOf(stage));
    expect(stage.world.keyPairs(home).some(({ name }) => name === "team")).toBe(true);
    expect(stage.world.securityGroups(home).some(({ name }) => name === "default")).toBe(true);
    const other = stage.world.instances(home).find(({ keyName }) => keyName === "team-key");
    expect(other?.state ?? "running").toBe("running");
    expect(stage.world.images(home).find(({ name }) => name === "theirs")?.state ?? "available").toBe(
      "available",
    );
  });

  test("what cannot be removed is said, and the rest goes", async () => {
    const { stage, ec2, traces } = await halfBaked();
    stage.faults.inject(
      { action: "DeregisterImage" },
      { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" },
      { times: 9 },
    );
    const said: string[] = [];
    await sweepBake(ec2, traces, toolsOf(stage, said));
    expect(left(stage)).toMatchObject({ instances: 0, images: 1, keyPairs: 0, securityGroups: 0 });
    expect(said.join("\n")).toContain(
      "the image that it left could not be removed: The role may not do ec2:DeregisterImage",
    );
  });
});

/** Somebody else's instance and image in the same account. */
function stranger(stage: Stage): { readonly instance: string; readonly image: ImageId } {
  const image = stage.world.addImage(home, { name: "theirs" });
  const instance = stage.world.fleet.launch(home, {
    imageId: image.id,
    instanceType: "t3.small",
    availabilityZone: "eu-west-1a",
    launchTemplate: undefined,
    tags: {},
  });
  return { instance, image: image.id as ImageId };
}
