import {
  CopyImageCommand,
  CreateImageCommand,
  CreateTagsCommand,
  DeleteSnapshotCommand,
  DeregisterImageCommand,
  DescribeImageAttributeCommand,
  DescribeImagesCommand,
  DescribeSnapshotsCommand,
  DisableImageCommand,
  DisableImageDeregistrationProtectionCommand,
  EnableImageCommand,
  EnableImageDeprecationCommand,
  EnableImageDeregistrationProtectionCommand,
  ModifyImageAttributeCommand,
  ModifySnapshotAttributeCommand,
  RegisterImageCommand,
  RunInstancesCommand,
  paginateDescribeImages,
} from "@aws-sdk/client-ec2";
import type { DescribeImagesCommandInput, EC2Client } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { describeImage, home, other, refusal, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";

const second = 1_000;
const hour = 3_600 * second;

/** A running instance to make images of. */
async function runningInstance(stage: Stage): Promise<string> {
  const image = stage.world.addImage(home, { name: `base-${stage.world.images().length}` });
  const run = new RunInstancesCommand({
    ImageId: image.id,
    InstanceType: "t3.micro",
    MinCount: 1,
    MaxCount: 1,
  });
  const { Instances } = await stage.ec2.send(run);
  stage.clock.advance(5 * second);
  return Instances?.[0]?.InstanceId ?? "";
}

async function createImage(stage: Stage, name: string): Promise<string> {
  const InstanceId = await runningInstance(stage);
  const { ImageId } = await stage.ec2.send(new CreateImageCommand({ InstanceId, Name: name }));
  return ImageId ?? "";
}

async function names(ec2: EC2Client, input: DescribeImagesCommandInput): Promise<string[]> {
  const { Images } = await ec2.send(new DescribeImagesCommand(input));
  return (Images ?? []).map((image) => image.Name ?? "").toSorted();
}

describe("making an image", () => {
  test("it is pending, then available; its snapshot completes first; it knows where it comes from", async () => {
    const stage = await setStage();
    const instanceId = await runningInstance(stage);
    const base = stage.world.images()[0];
    const { ImageId = "" } = await stage.ec2.send(
      new CreateImageCommand({
        InstanceId: instanceId,
        Name: "web-1",
        Description: "hello",
        TagSpecifications: [
          { ResourceType: "image", Tags: [{ Key: "app", Value: "web" }] },
          { ResourceType: "snapshot", Tags: [{ Key: "of", Value: "web" }] },
        ],
      }),
    );
    const image = await describeImage(stage.ec2, ImageId);
    expect(image).toMatchObject({
      State: "pending",
      Name: "web-1",
      OwnerId: home.accountId,
      CreationDate: "2026-03-01T12:00:05.000Z",
      Architecture: "x86_64",
      SourceInstanceId: instanceId,
      SourceImageId: base?.id,
      SourceImageRegion: "eu-west-1",
      Public: false,
      Tags: [{ Key: "app", Value: "web" }],
    });
    const SnapshotIds = [image?.BlockDeviceMappings?.[0]?.Ebs?.SnapshotId ?? ""];
    const snapshot = async (): Promise<unknown> =>
      (await stage.ec2.send(new DescribeSnapshotsCommand({ SnapshotIds }))).Snapshots?.[0];
    expect(await snapshot()).toMatchObject({ State: "pending", Tags: [{ Key: "of", Value: "web" }] });
    stage.clock.advance(29 * second);
    expect(await snapshot()).toMatchObject({ State: "completed", Progress: "100%" });
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("pending");
    stage.clock.advance(1 * second);
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("available");
  });

  test("it flaps, NotFound until 150 s after it was seen available", async () => {
    const lag = [
      { from: 0, to: 3 * second },
      { since: "available" as const, from: 10 * second, to: 150 * second },
    ];
    const stage = await setStage({ visibilityLag: { image: lag } });
    const instanceId = await (async () => {
      stage.world.settings.visibilityLag = {};
      const id = await runningInstance(stage);
      stage.world.settings.visibilityLag = { image: lag };
      return id;
    })();
    const { ImageId = "" } = await stage.ec2.send(
      new CreateImageCommand({ InstanceId: instanceId, Name: "web-1" }),
    );
    const missing = { code: "InvalidAMIID.NotFound", message: `The image id '[${ImageId}]' does not exist` };
    expect(await refusal(describeImage(stage.ec2, ImageId))).toEqual(missing);
    stage.clock.advance(3 * second);
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("pending");
    stage.clock.advance(27 * second);
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("available");
    stage.clock.advance(10 * second);
    expect(await refusal(describeImage(stage.ec2, ImageId))).toEqual(missing);
    expect(await names(stage.ec2, { Filters: [{ Name: "name", Values: ["web-1"] }] })).toEqual([]);
    // Writes by id do not find it either.
    const tag = new CreateTagsCommand({ Resources: [ImageId], Tags: [{ Key: "a", Value: "b" }] });
    expect(await refusal(stage.ec2.send(tag))).toEqual(missing);
    expect(stage.world.fleet.image(home, ImageId)).toBeUndefined();
    stage.clock.advance(140 * second);
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("available");
  });

  test("a pending image cannot be launched", async () => {
    const stage = await setStage();
    const ImageId = await createImage(stage, "web-1");
    const run = { ImageId, InstanceType: "t3.micro" as const, MinCount: 1, MaxCount: 1 };
    expect(await refusal(stage.ec2.send(new RunInstancesCommand(run)))).toEqual({
      code: "InvalidAMIID.Unavailable",
      message: `AMI ${ImageId} is pending, and cannot be run.`,
    });
    stage.clock.advance(30 * second);
    await expect(stage.ec2.send(new RunInstancesCommand(run))).resolves.toBeDefined();
  });

  test.each(["failed", "error", "invalid"] as const)("it may end as %s", async (state) => {
    const stage = await setStage();
    const instanceId = await runningInstance(stage);
    stage.world.failNextImage({ state, code: "Client.InternalError", message: "Client error on launch" });
    const create = new CreateImageCommand({ InstanceId: instanceId, Name: "web-1" });
    const { ImageId = "" } = await stage.ec2.send(create);
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("pending");
    stage.clock.advance(hour);
    expect(await describeImage(stage.ec2, ImageId)).toMatchObject({
      State: state,
      StateReason: { Code: "Client.InternalError", Message: "Client error on launch" },
    });
  });

  test("when the answer is lost, the resend meets the name it took itself", async () => {
    const stage = await setStage();
    const InstanceId = await runningInstance(stage);
    stage.faults.inject({ action: "CreateImage" }, { kind: "drop-after" });
    const refused = await refusal(stage.ec2.send(new CreateImageCommand({ InstanceId, Name: "web-1" })));
    const made = stage.world.images().find((image) => image.name === "web-1");
    expect(refused).toEqual({
      code: "InvalidAMIName.Duplicate",
      message: `AMI name web-1 is already in use by AMI ${made?.id}`,
    });
    expect(stage.log.entries.filter((entry) => entry.action === "CreateImage")).toHaveLength(2);
    // The refused resend left no second snapshot behind.
    expect(stage.world.snapshots(home)).toHaveLength(2);
  });

  test("a name is taken per account and region, and stays taken for a while after deregistration", async () => {
    const stage = await setStage({ delays: { nameRelease: 60 * second } });
    const image = stage.world.addImage(home, { name: "web-1" });
    stage.world.addImage({ ...home, region: "us-east-1" }, { name: "web-1" });
    stage.world.addImage(other, { name: "web-1" });
    await stage.ec2.send(new DeregisterImageCommand({ ImageId: image.id }));
    const register = (): Promise<unknown> => stage.ec2.send(new RegisterImageCommand({ Name: "web-1" }));
    expect((await refusal(register())).code).toBe("InvalidAMIName.Duplicate");
    stage.clock.advance(60 * second);
    await expect(register()).resolves.toHaveProperty("ImageId");
  });

  test("bad names and instances in the wrong state are refused", async () => {
    const stage = await setStage();
    const InstanceId = await runningInstance(stage);
    const malformed = stage.ec2.send(new CreateImageCommand({ InstanceId, Name: "a*b" }));
    expect((await refusal(malformed)).code).toBe("InvalidAMIName.Malformed");
    stage.world.fleet.terminate(home, InstanceId);
    expect(await refusal(stage.ec2.send(new CreateImageCommand({ InstanceId, Name: "web-1" })))).toEqual({
      code: "InvalidParameterValue",
      message: "Instance is not in state 'running' or 'stopped'",
    });
  });

  test("RegisterImage has AWS's surprising defaults", async () => {
    const stage = await setStage();
    const { ImageId = "" } = await stage.ec2.send(new RegisterImageCommand({ Name: "bare" }));
    expect(await describeImage(stage.ec2, ImageId)).toMatchObject({
      Architecture: "i386",
      VirtualizationType: "paravirtual",
    });
  });
});

describe("copying an image", () => {
  test("to another region: new id, tags only when asked for, never the permissions; the token replays", async () => {
    const stage = await setStage();
    const source = stage.world.addImage(home, {
      name: "web-1",
      architecture: "arm64",
      tags: { app: "web" },
      launchPermissions: [{ group: "all" }],
    });
    const there = stage.client("AKIAHOME", "us-east-1");
    const request = { Name: "web-1", SourceImageId: source.id, SourceRegion: "eu-west-1" };
    const plain = await there.send(new CopyImageCommand({ ...request, ClientToken: "t1" }));
    const again = await there.send(new CopyImageCommand({ ...request, ClientToken: "t1" }));
    expect(again.ImageId).toBe(plain.ImageId);
    expect(await describeImage(there, plain.ImageId ?? "")).toMatchObject({
      State: "pending",
      Architecture: "arm64",
      SourceImageId: source.id,
      SourceImageRegion: "eu-west-1",
      Public: false,
      Tags: [],
    });
    const tagged = await there.send(new CopyImageCommand({ ...request, Name: "web-2", CopyImageTags: true }));
    stage.clock.advance(30 * second);
    expect(await describeImage(there, tagged.ImageId ?? "")).toMatchObject({
      State: "available",
      Tags: [{ Key: "app", Value: "web" }],
    });
  });

  test("another account's image is copied only with permission, and without its tags", async () => {
    const stage = await setStage();
    const source = stage.world.addImage(other, { name: "web-1", tags: { app: "web" } });
    const copy = new CopyImageCommand({
      Name: "mine",
      SourceImageId: source.id,
      SourceRegion: "eu-west-1",
      CopyImageTags: true,
    });
    expect((await refusal(stage.ec2.send(copy))).code).toBe("AuthFailure");
    await stage.client("AKIAOTHER").send(
      new ModifyImageAttributeCommand({
        ImageId: source.id,
        LaunchPermission: { Add: [{ UserId: home.accountId }] },
      }),
    );
    const { ImageId = "" } = await stage.ec2.send(copy);
    expect((await describeImage(stage.ec2, ImageId))?.Tags).toEqual([]);
  });
});

describe("finding images", () => {
  test("an unknown id, a malformed one, one of another account and one of another region", async () => {
    const stage = await setStage();
    const foreign = stage.world.addImage(other, { name: "theirs" });
    const elsewhere = stage.world.addImage({ ...home, region: "us-east-1" }, { name: "there" });
    for (const id of ["ami-0123456789abcdef0", foreign.id, elsewhere.id]) {
      expect(await refusal(describeImage(stage.ec2, id))).toEqual({
        code: "InvalidAMIID.NotFound",
        message: `The image id '[${id}]' does not exist`,
      });
    }
    expect(await refusal(describeImage(stage.ec2, "web"))).toEqual({
      code: "InvalidAMIID.Malformed",
      message: 'Invalid id: "web" (expecting "ami-...")',
    });
  });

  test("owners: self, amazon, an account; others' images only when public or shared", async () => {
    const stage = await setStage();
    stage.world.addBaseImage({ name: "ubuntu/noble-20260101" });
    stage.world.addImage(home, { name: "mine" });
    stage.world.addImage(other, { name: "shared", launchPermissions: [{ userId: home.accountId }] });
    stage.world.addImage(other, { name: "secret" });
    expect(await names(stage.ec2, {})).toEqual(["mine", "shared", "ubuntu/noble-20260101"]);
    expect(await names(stage.ec2, { Owners: ["self"] })).toEqual(["mine"]);
    expect(await names(stage.ec2, { Owners: ["amazon"] })).toEqual(["ubuntu/noble-20260101"]);
    expect(await names(stage.ec2, { Owners: ["099720109477"] })).toEqual(["ubuntu/noble-20260101"]);
    expect(await names(stage.ec2, { Owners: ["self", other.accountId] })).toEqual(["mine", "shared"]);
    expect(await names(stage.ec2, { ExecutableUsers: ["self"] })).toEqual(["shared"]);
    const there = stage.client("AKIAHOME", "us-east-1");
    expect(await names(there, {})).toEqual(["ubuntu/noble-20260101"]);
  });

  test("filters: values are alternatives, filters all hold, wildcards and case count", async () => {
    const stage = await setStage();
    stage.world.addImage(home, { name: "web-1", tags: { app: "web", "kiln:sha": "abc" } });
    stage.world.addImage(home, { name: "web-22", tags: { app: "web" }, state: "pending" });
    stage.world.addImage(home, { name: "api-1", tags: { app: "api" }, architecture: "arm64" });
    const by = (...filters: [string, ...string[]][]): Promise<string[]> =>
      names(stage.ec2, { Filters: filters.map(([Name, ...Values]) => ({ Name, Values })) });
    expect(await by(["name", "web-*"])).toEqual(["web-1", "web-22"]);
    expect(await by(["name", "web-?"])).toEqual(["web-1"]);
    expect(await by(["name", "WEB-*"])).toEqual([]);
    expect(await by(["name", "web.1"])).toEqual([]);
    expect(await by(["name", String.raw`web-\*`])).toEqual([]);
    expect(await by(["tag:app", "web", "api"], ["state", "available"])).toEqual(["api-1", "web-1"]);
    expect(await by(["tag-key", "kiln:*"])).toEqual(["web-1"]);
    expect(await by(["tag:App", "web"])).toEqual([]);
    expect(await by(["architecture", "arm64"])).toEqual(["api-1"]);
    expect(await by(["is-public", "true"])).toEqual([]);
    expect(await by(["creation-date", "2026-03-01T*"])).toHaveLength(3);
    expect((await refusal(by(["colour", "red"]))).code).toBe("InvalidParameterValue");
  });

  test("pages, and empty pages with a token before each of them", async () => {
    const stage = await setStage();
    for (const number of [1, 2, 3, 4, 5]) stage.world.addImage(home, { name: `web-${number}` });
    const all = async (): Promise<number[]> => {
      const sizes: number[] = [];
      const pages = paginateDescribeImages({ client: stage.ec2, pageSize: 2 }, { Owners: ["self"] });
      for await (const { Images } of pages) sizes.push(Images?.length ?? 0);
      return sizes;
    };
    expect(await all()).toEqual([2, 2, 1]);
    stage.world.settings.emptyPages = ["DescribeImages"];
    expect(await all()).toEqual([0, 2, 0, 2, 0, 1]);
    const combined = new DescribeImagesCommand({
      ImageIds: [stage.world.images()[0]?.id ?? ""],
      MaxResults: 5,
    });
    expect((await refusal(stage.ec2.send(combined))).code).toBe("InvalidParameterCombination");
    const foreign = new DescribeImagesCommand({ NextToken: "bm9uc2Vuc2U", MaxResults: 5 });
    expect((await refusal(stage.ec2.send(foreign))).code).toBe("InvalidNextToken");
  });
});

describe("launch permissions and other attributes", () => {
  test("accounts are added and removed; one attribute a call; bad account ids are refused", async () => {
    const stage = await setStage();
    const { id: ImageId } = stage.world.addImage(home, { name: "web-1" });
    const modify = (input: object): Promise<unknown> =>
      stage.ec2.send(new ModifyImageAttributeCommand({ ImageId, ...input }));
    await modify({ LaunchPermission: { Add: [{ UserId: other.accountId }, { Group: "all" }] } });
    await modify({ LaunchPermission: { Add: [{ UserId: other.accountId }] } });
    await modify({ LaunchPermission: { Remove: [{ Group: "all" }] } });
    const { LaunchPermissions } = await stage.ec2.send(
      new DescribeImageAttributeCommand({ ImageId, Attribute: "launchPermission" }),
    );
    expect(LaunchPermissions).toEqual([{ UserId: other.accountId }]);
    expect(await describeImage(stage.client("AKIAOTHER"), ImageId)).toBeDefined();
    await modify({ Attribute: "launchPermission", OperationType: "remove", UserIds: [other.accountId] });
    expect((await refusal(describeImage(stage.client("AKIAOTHER"), ImageId))).code).toBe(
      "InvalidAMIID.NotFound",
    );
    const bad = modify({ LaunchPermission: { Add: [{ UserId: "12" }] } });
    expect((await refusal(bad)).code).toBe("InvalidAMIAttributeItemValue");
    const two = modify({ Description: { Value: "x" }, LaunchPermission: { Add: [{ Group: "all" }] } });
    expect((await refusal(two)).code).toBe("InvalidParameterCombination");
    await modify({ Description: { Value: "new" } });
    expect((await describeImage(stage.ec2, ImageId))?.Description).toBe("new");
  });

  test("only the owner changes an image", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(other, { name: "web-1", launchPermissions: [{ group: "all" }] });
    const deregister = new DeregisterImageCommand({ ImageId: image.id });
    expect((await refusal(stage.ec2.send(deregister))).code).toBe("AuthFailure");
  });

  test("snapshots are shared of their own", async () => {
    const stage = await setStage();
    stage.world.addImage(home, { name: "web-1" });
    const SnapshotId = stage.world.snapshots()[0]?.id ?? "";
    const theirs = stage.client("AKIAOTHER");
    const look = new DescribeSnapshotsCommand({ SnapshotIds: [SnapshotId] });
    expect((await refusal(theirs.send(look))).code).toBe("InvalidSnapshot.NotFound");
    await stage.ec2.send(
      new ModifySnapshotAttributeCommand({
        SnapshotId,
        CreateVolumePermission: { Add: [{ UserId: other.accountId }] },
      }),
    );
    expect((await theirs.send(look)).Snapshots).toHaveLength(1);
  });
});

describe("retiring an image", () => {
  test("listed, then empty without an error, then not found once nothing refers to it", async () => {
    const stage = await setStage({
      delays: { deregisteredListed: 5 * second, deregisteredEmpty: 20 * second },
    });
    const InstanceId = await runningInstance(stage);
    const ImageId = stage.world.images()[0]?.id ?? "";
    await stage.ec2.send(new DeregisterImageCommand({ ImageId }));
    expect((await describeImage(stage.ec2, ImageId))?.State).toBe("deregistered");
    stage.clock.advance(5 * second);
    expect(await describeImage(stage.ec2, ImageId)).toBeUndefined();
    expect(stage.world.fleet.image(home, ImageId)).toBeUndefined();
    stage.clock.advance(hour);
    expect(await describeImage(stage.ec2, ImageId)).toBeUndefined();
    stage.world.fleet.terminate(home, InstanceId);
    stage.clock.advance(20 * second);
    expect((await refusal(describeImage(stage.ec2, ImageId))).code).toBe("InvalidAMIID.NotFound");
  });

  test("its snapshots go with it on request, and one that another image uses is skipped", async () => {
    const stage = await setStage();
    const first = stage.world.addImage(home, { name: "web-1" });
    const shared = first.blockDevices[0];
    const mine = stage.world.addImage(home, { name: "tmp" }).blockDevices[0];
    if (shared === undefined || mine === undefined) throw new Error("Seeded images have a root device");
    stage.world.addImage(home, { name: "web-2", blockDevices: [shared] });
    const inUse = stage.ec2.send(new DeleteSnapshotCommand({ SnapshotId: shared.snapshotId }));
    expect((await refusal(inUse)).code).toBe("InvalidSnapshot.InUse");
    const deregister = (ImageId: string): Promise<object> =>
      stage.ec2.send(new DeregisterImageCommand({ ImageId, DeleteAssociatedSnapshots: true }));
    expect(await deregister(first.id)).toMatchObject({
      Return: true,
      DeleteSnapshotResults: [{ SnapshotId: shared.snapshotId, ReturnCode: "skipped" }],
    });
    const tmp = stage.world.images().find((image) => image.name === "tmp");
    expect(await deregister(tmp?.id ?? "")).toMatchObject({
      DeleteSnapshotResults: [{ SnapshotId: mine.snapshotId, ReturnCode: "success" }],
    });
    expect(stage.world.snapshots().some((snapshot) => snapshot.id === mine.snapshotId)).toBe(false);
  });

  test("deregistering while pending stops it", async () => {
    const stage = await setStage();
    const ImageId = await createImage(stage, "web-1");
    await stage.ec2.send(new DeregisterImageCommand({ ImageId }));
    stage.clock.advance(hour);
    expect(stage.world.images().find((image) => image.id === ImageId)?.state).toBe("deregistered");
    const again = stage.ec2.send(new DeregisterImageCommand({ ImageId }));
    expect((await refusal(again)).code).toBe("InvalidAMIID.NotFound");
  });

  test("protection refuses, and with a cooldown for 24 hours more", async () => {
    const stage = await setStage();
    const { id: ImageId } = stage.world.addImage(home, { name: "web-1" });
    const protect = new EnableImageDeregistrationProtectionCommand({ ImageId, WithCooldown: true });
    expect((await stage.ec2.send(protect)).Return).toBe("enabled-with-cooldown");
    const deregister = (): Promise<unknown> => stage.ec2.send(new DeregisterImageCommand({ ImageId }));
    expect((await refusal(deregister())).code).toBe("OperationNotPermitted");
    await stage.ec2.send(new DisableImageDeregistrationProtectionCommand({ ImageId }));
    stage.clock.advance(24 * hour - 1);
    expect((await refusal(deregister())).code).toBe("OperationNotPermitted");
    stage.clock.advance(1);
    await expect(deregister()).resolves.toMatchObject({ Return: true });
  });

  test("disabling hides it, ends sharing for good and keeps it from being launched", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web-1", launchPermissions: [{ group: "all" }] });
    await stage.ec2.send(new DisableImageCommand({ ImageId: image.id }));
    expect(await names(stage.ec2, { Owners: ["self"] })).toEqual([]);
    expect(await names(stage.ec2, { Owners: ["self"], IncludeDisabled: true })).toEqual(["web-1"]);
    const run = { ImageId: image.id, InstanceType: "t3.micro" as const, MinCount: 1, MaxCount: 1 };
    expect((await refusal(stage.ec2.send(new RunInstancesCommand(run)))).code).toBe(
      "InvalidAMIID.Unavailable",
    );
    await stage.ec2.send(new EnableImageCommand({ ImageId: image.id }));
    expect(await describeImage(stage.ec2, image.id)).toMatchObject({ State: "available", Public: false });
  });

  test("deprecation hides it from others' listings only; its time is rounded to the minute", async () => {
    const stage = await setStage();
    const image = stage.world.addImage(home, { name: "web-1", launchPermissions: [{ group: "all" }] });
    const DeprecateAt = new Date("2026-03-01T13:00:20Z");
    await stage.ec2.send(new EnableImageDeprecationCommand({ ImageId: image.id, DeprecateAt }));
    expect((await describeImage(stage.ec2, image.id))?.DeprecationTime).toBe("2026-03-01T13:00:00.000Z");
    const theirs = stage.client("AKIAOTHER");
    expect(await names(theirs, {})).toEqual(["web-1"]);
    stage.clock.advance(hour);
    expect(await names(theirs, {})).toEqual([]);
    expect(await names(theirs, { IncludeDeprecated: true })).toEqual(["web-1"]);
    expect(await names(stage.ec2, {})).toEqual(["web-1"]);
    const past = new EnableImageDeprecationCommand({ ImageId: image.id, DeprecateAt: new Date(0) });
    expect((await refusal(stage.ec2.send(past))).code).toBe("InvalidParameterValue");
  });
});
