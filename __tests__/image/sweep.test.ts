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
      from: "output",
      keyPairs: [NAME],
      securityGroups: [GROUP],
      instances: [instance],
    },
    image: ImageId as ImageId,
  };
}

/** Clients that have one region. */
const only = (ec2: EC2Client) => ({ ec2: async () => ec2 });

const toolsOf = (stage: Stage, said: string[] = []) => ({
  clock: {
    now: () => stage.clock.date(),
    sleep: async (milliseconds: number) => stage.clock.advance(milliseconds),
  },
  log: { info: (line: string) => void said.push(line), warning: (line: string) => void said.push(line) },
  deadline: new Date(stage.clock.now() + 240_000),
  repositories: ["acme/web"],
  run: "https://github.com/acme/web/actions/runs/100",
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

test("what Packer made is told by its own words, the first of each kind in each build", async () => {
  const output = [
    `==> amazon-ebs.web: Creating temporary keypair: ${NAME}`,
    `==> amazon-ebs.web: Creating temporary security group for this instance: ${GROUP}`,
    "    amazon-ebs.web: Instance ID: i-5758e0b4eef41b927",
    "    amazon-ebs.web: Instance ID: i-0123456789abcdef0",
    "    amazon-ebs.worker: Instance ID: i-0fffffffffffffff0",
    "==> amazon-ebs.web: Creating AMI web from instance i-5758e0b4eef41b927",
    "    amazon-ebs.web: AMI: ami-6b9ec1adb3ae0ac0b",
    "==> amazon-ebs.web: Waiting for AMI to become ready...",
    "    amazon-ebs.web: Copying to: us-east-1",
    "    amazon-ebs.web: eu-west-1: ami-0123456789abcdef0",
    "==> Builds finished. The artifacts of successful builds are:",
    "--> amazon-ebs.web: AMIs were created:",
    "eu-west-1: ami-6b9ec1adb3ae0ac0b",
  ].join("\n");
  expect(await madeOf(output.split("\n"))).toEqual({
    keyPairs: [NAME],
    securityGroups: [GROUP],
    instances: ["i-5758e0b4eef41b927", "i-0fffffffffffffff0"],
    images: ["ami-6b9ec1adb3ae0ac0b"],
    copiedTo: ["us-east-1"],
    artifacts: ["eu-west-1 ami-6b9ec1adb3ae0ac0b"],
  });
});

describe("what a bake that was stopped left", () => {
  test("goes: instance, volume, half-made image with its snapshot, key pair, security group", async () => {
    const { stage, ec2, traces, image: id } = await halfBaked();
    expect(left(stage)).toEqual({ instances: 1, images: 1, keyPairs: 1, securityGroups: 1 });
    const said: string[] = [];
    await sweepBake(only(ec2), traces, toolsOf(stage, said));
    expect(left(stage)).toEqual({ instances: 0, images: 0, keyPairs: 0, securityGroups: 0 });
    const image = stage.world.images(home).find((other) => other.id === id);
    expect(image?.state ?? "gone").not.toBe("pending");
    expect(said).toHaveLength(5);
    stage.clock.advance(60_000);
    const again: string[] = [];
    await sweepBake(only(ec2), traces, toolsOf(stage, again));
    expect(again).toEqual([]);
  });

  test.each([
    ["pending", 0, [], "gone"],
    ["available", 30 * 60_000, [], "gone"],
    ["available, with a tag of the template", 30 * 60_000, [{ Key: "Name", Value: "x" }], "gone"],
    ["marked complete", 30 * 60_000, [{ Key: "kiln:digest", Value: "d" }], "stays"],
    ["another repository's", 30 * 60_000, [{ Key: "kiln:repository", Value: "acme/fork" }], "stays"],
  ] as const)("an image of its instance, %s, under its name or another", async (_, age, tags, fate) => {
    for (const imageName of [IMAGE_NAME, "web-v1-ba9876543210"]) {
      const { stage, ec2, traces, image } = await halfBaked();
      if (tags.length > 0) await ec2.send(new CreateTagsCommand({ Resources: [image], Tags: [...tags] }));
      stage.clock.advance(age);
      const { removed } = await sweepBake(only(ec2), { ...traces, imageName }, toolsOf(stage));
      expect(left(stage)).toMatchObject({ instances: 0, images: fate === "stays" ? 1 : 0 });
      expect(removed).toEqual(fate === "gone" ? [`${image} in eu-west-1`] : []);
    }
  });

  test("an encrypted copy goes, pending or whole; one of another name stays, and one that is marked", async () => {
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
    const marked = await copyOf("web-marked");
    await ec2.send(
      new CreateTagsCommand({ Resources: [marked], Tags: [{ Key: "kiln:digest", Value: "d" }] }),
    );
    // What was copied is gone once Packer has its copy: it said which it was.
    const said = { ...traces, images: [image] };
    const states: (string | undefined)[][] = [];
    for (const imageName of ["web-marked", "web-whole", "web-pending"]) {
      await sweepBake(only(ec2), { ...said, imageName }, toolsOf(stage));
      states.push([marked, whole, pending, theirs].map(stateOf));
    }
    expect(states).toEqual([
      ["pending", "available", "pending", "pending"],
      ["pending", "deregistered", "pending", "pending"],
      ["pending", "deregistered", "deregistered", "pending"],
    ]);
  });

  test("nothing known: nothing goes", async () => {
    const { stage, ec2 } = await halfBaked();
    const before = stage.log.entries.length;
    const unknown = { region: home.region, imageName: IMAGE_NAME, mark: MARK, from: "note" } as const;
    const { removed, left: named } = await sweepBake(only(ec2), unknown, toolsOf(stage));
    expect(stage.log.entries.slice(before).map(({ action }) => action)).toEqual([
      "DescribeInstances",
      "DescribeImages",
    ]);
    expect(removed).toEqual([]);
    expect(named).toEqual([expect.stringContaining("AWS does not show that this bake made it")]);
  });

  test("goes by the bake's own mark too: a bake that died before Packer told of its instance", async () => {
    const { stage, ec2, traces } = await halfBaked();
    await ec2.send(
      new CreateTagsCommand({
        Resources: traces.instances === undefined ? [] : [...traces.instances],
        Tags: [{ Key: "kiln:bake", Value: MARK }],
      }),
    );
    const bare = { region: home.region, imageName: IMAGE_NAME, from: "note" } as const;
    await sweepBake(only(ec2), { ...bare, mark: "acme/web/100/2/0123456789ab" }, toolsOf(stage));
    expect(left(stage)).toEqual({ instances: 1, images: 1, keyPairs: 1, securityGroups: 1 });
    await sweepBake(only(ec2), { ...bare, mark: MARK }, toolsOf(stage));
    expect(left(stage)).toEqual({ instances: 0, images: 0, keyPairs: 0, securityGroups: 0 });
  });

  test("after its instance is gone: an image goes by its tags, or is named", async () => {
    const mine = {
      "kiln:repository": "acme/web",
      "kiln:run": "https://github.com/acme/web/actions/runs/100",
    };
    for (const [tags, fate] of [
      [mine, 0],
      [{ ...mine, "kiln:run": "https://github.com/acme/web/actions/runs/99" }, 1],
      [{}, 1],
    ] as const) {
      const { stage, ec2, traces, image } = await halfBaked();
      const { instances: _, ...noted } = traces;
      const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
      if (Tags.length > 0) await ec2.send(new CreateTagsCommand({ Resources: [image], Tags }));
      const swept = await sweepBake(only(ec2), { ...noted, from: "note" }, toolsOf(stage));
      expect(left(stage)).toMatchObject({ images: fate });
      expect(swept.left).toHaveLength(fate);
    }
  });

  test("an image that was registered from a snapshot goes: Packer said which it is", async () => {
    const { stage, ec2, traces } = await halfBaked();
    const { id } = stage.world.addImage(home, { name: "web-registered" });
    const surrogate = { ...traces, imageName: "web-registered" };
    await sweepBake(only(ec2), surrogate, toolsOf(stage));
    const state = () => stage.world.images(home).find((each) => each.id === id)?.state;
    expect(state()).toBe("available");
    await sweepBake(only(ec2), { ...surrogate, images: [id] }, toolsOf(stage));
    expect(state()).toBe("deregistered");
  });
});

describe("what a bake notes in its lock", () => {
  const hash = `0123456789ab${"c".repeat(52)}`;
  const known = { hash, repository: "acme/web" };
  const traces: BakeTraces = {
    region: "eu-west-1",
    imageName: IMAGE_NAME,
    mark: MARK,
    from: "note",
    keyPairs: [NAME],
    securityGroups: [GROUP],
    instances: ["i-5758e0b4eef41b927"],
    copiedTo: ["us-east-1"],
    ended: {
      ids: { "eu-west-1": "ami-6b9ec1adb3ae0ac0b", "us-east-1": "ami-0123456789abcdef0" },
      commit: "c".repeat(40),
      version: "v1",
      branch: "feature/ü",
    },
  };
  const without = (changes: object): string =>
    JSON.stringify({ ...(JSON.parse(formatTraces(traces)) as object), ...changes });

  test("is one line, and read again; what only its own job may believe is left out", () => {
    const noted = formatTraces({ ...traces, images: ["ami-1"], artifacts: ["eu-west-1 ami-1"] });
    expect(noted).not.toContain("\n");
    const run = { repository: "acme/web", id: "100", attempt: "1" };
    expect(parseTraces(noted, known)).toEqual({ ...traces, run });
    expect(parseTraces(noted, { ...known, repository: "acme/fork" })?.mark).toBe(
      "acme/fork/100/1/0123456789ab",
    );
    expect(noted.length).toBeLessThan(4000);
  });

  test.each<[what: string, text: string | undefined]>([
    ["nothing", undefined],
    ["no JSON", "{"],
    ["something else", '{"region":"eu-west-1"}'],
    ["a region that is none", without({ region: "evil.example/" })],
    ["a name with wildcards", without({ imageName: "web-*-k*" })],
    ["a name with a wildcard, and the digest", without({ imageName: "web-?-0123456789ab" })],
    ["another content's name", without({ imageName: "web-v1-ba9876543210" })],
    ["a name that somebody gave by hand", without({ imageName: `${IMAGE_NAME}-debug-grace` })],
    ["no run", without({ run: undefined })],
    ["a run with a wildcard", without({ run: { id: "*", attempt: "1" } })],
    ["an instance with a wildcard", without({ instances: ["i-*"] })],
    ["no list of instances", without({ instances: "i-5758e0b4eef41b927" })],
    ["a key pair that Packer did not name", without({ keyPairs: ["team"] })],
    ["a security group that Packer did not name", without({ securityGroups: ["packer_*"] })],
    ["a region with a slash that was copied to", without({ copiedTo: ["us-east-1/"] })],
    ["an image's id with a wildcard", without({ ended: { ...traces.ended, ids: { "eu-west-1": "ami-*" } } })],
    ["an image in no region", without({ ended: { ...traces.ended, ids: { "*": "ami-6b9ec1adb3ae0ac0b" } } })],
    ["a commit that is none", without({ ended: { ...traces.ended, commit: "HEAD" } })],
    ["a version of two lines", without({ ended: { ...traces.ended, version: "a\nb" } })],
    ["too many instances", without({ instances: Array.from({ length: 31 }, () => "i-5758e0b4eef41b927") })],
  ])("that says %s is nothing", (_, text) => {
    expect(parseTraces(text, known)).toBeUndefined();
  });
});

describe("what anybody claims is not believed", () => {
  test.each<[what: string, victim: (stage: Stage, ec2: EC2Client) => Promise<void>]>([
    ["another bake's instance, which has no mark", async () => undefined],
    [
      "another bake's instance, which has its own mark",
      async (stage, ec2) => {
        const Resources = stage.world.instances(home).map(({ id }) => id);
        const Tags = [{ Key: "kiln:bake", Value: "acme/fork/7/1/0123456789ab" }];
        await ec2.send(new CreateTagsCommand({ Resources, Tags }));
      },
    ],
  ])("a note that names %s ends nothing", async (_, victim) => {
    const { stage, ec2, traces } = await halfBaked();
    await victim(stage, ec2);
    const said: string[] = [];
    await sweepBake(only(ec2), { ...traces, from: "note" }, toolsOf(stage, said));
    expect(left(stage)).toEqual({ instances: 1, images: 1, keyPairs: 1, securityGroups: 1 });
    expect(said.join("\n")).toContain("is left alone");
  });

  test.each<[what: string, forged: (traces: BakeTraces, stage: Stage) => Partial<BakeTraces>]>([
    [
      "another's instance, with no key of Packer's",
      (_, stage) => ({ instances: [stranger(stage).instance] }),
    ],
    ["a key pair that Packer did not name", () => ({ keyPairs: ["team"] })],
    ["a security group that Packer did not name", () => ({ securityGroups: ["default"] })],
    ["another's image", (_, stage) => ({ images: [stranger(stage).image] })],
  ])("what a provisioner claims stays: %s", async (_, forged) => {
    const { stage, ec2, traces } = await halfBaked();
    await ec2.send(new CreateKeyPairCommand({ KeyName: "team" }));
    const claim = forged(traces, stage);
    await sweepBake(only(ec2), { ...traces, ...claim }, toolsOf(stage));
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
    await sweepBake(only(ec2), traces, toolsOf(stage, said));
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
