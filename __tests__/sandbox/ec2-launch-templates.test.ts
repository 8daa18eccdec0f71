import {
  CreateLaunchTemplateCommand,
  CreateLaunchTemplateVersionCommand,
  CreateTagsCommand,
  DeleteLaunchTemplateCommand,
  DeleteLaunchTemplateVersionsCommand,
  DescribeLaunchTemplateVersionsCommand,
  DescribeLaunchTemplatesCommand,
  ModifyLaunchTemplateCommand,
  paginateDescribeLaunchTemplateVersions,
} from "@aws-sdk/client-ec2";
import type {
  CreateLaunchTemplateVersionCommandInput,
  CreateLaunchTemplateVersionCommandOutput,
  DescribeLaunchTemplateVersionsCommandInput,
  RequestLaunchTemplateData,
} from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { home, refusal, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";

const data: RequestLaunchTemplateData = {
  InstanceType: "t3.micro",
  KeyName: "ops",
  EbsOptimized: true,
  SecurityGroupIds: ["sg-1", "sg-2"],
  IamInstanceProfile: { Name: "web" },
  MetadataOptions: { HttpTokens: "required", HttpPutResponseHopLimit: 2 },
  BlockDeviceMappings: [
    { DeviceName: "/dev/sda1", Ebs: { SnapshotId: "snap-1", VolumeSize: 9, DeleteOnTermination: true } },
  ],
  NetworkInterfaces: [{ DeviceIndex: 0, Groups: ["sg-3"], AssociatePublicIpAddress: true }],
  TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "app", Value: "web" }] }],
};

async function createTemplate(stage: Stage, name = "web", overrides = {}): Promise<string> {
  const image = stage.world.addImage(home, { name: `base-${name}` });
  const { LaunchTemplate } = await stage.ec2.send(
    new CreateLaunchTemplateCommand({
      LaunchTemplateName: name,
      LaunchTemplateData: { ...data, ImageId: image.id, ...overrides },
      TagSpecifications: [{ ResourceType: "launch-template", Tags: [{ Key: "team", Value: "a" }] }],
    }),
  );
  return LaunchTemplate?.LaunchTemplateId ?? "";
}

function createVersion(
  stage: Stage,
  input: CreateLaunchTemplateVersionCommandInput,
): Promise<CreateLaunchTemplateVersionCommandOutput> {
  return stage.ec2.send(new CreateLaunchTemplateVersionCommand(input));
}

async function versions(
  stage: Stage,
  input: DescribeLaunchTemplateVersionsCommandInput,
): Promise<(number | undefined)[]> {
  const answer = await stage.ec2.send(new DescribeLaunchTemplateVersionsCommand(input));
  return (answer.LaunchTemplateVersions ?? []).map((version) => version.VersionNumber);
}

describe("templates", () => {
  test("one is created with version 1, keeps its data as given, and is found by id, name and tag", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    await createTemplate(stage, "api");
    const find = async (input: object): Promise<unknown> =>
      (await stage.ec2.send(new DescribeLaunchTemplatesCommand(input))).LaunchTemplates?.map(
        (template) => template.LaunchTemplateName,
      );
    expect(await find({ LaunchTemplateIds: [LaunchTemplateId] })).toEqual(["web"]);
    expect(await find({ LaunchTemplateNames: ["api"] })).toEqual(["api"]);
    expect(await find({ Filters: [{ Name: "launch-template-name", Values: ["w*"] }] })).toEqual(["web"]);
    await stage.ec2.send(
      new CreateTagsCommand({ Resources: [LaunchTemplateId], Tags: [{ Key: "x", Value: "y" }] }),
    );
    expect(await find({ Filters: [{ Name: "tag:x", Values: ["y"] }] })).toEqual(["web"]);
    const { LaunchTemplateVersions } = await stage.ec2.send(
      new DescribeLaunchTemplateVersionsCommand({ LaunchTemplateId }),
    );
    expect(LaunchTemplateVersions?.[0]).toMatchObject({
      LaunchTemplateName: "web",
      VersionNumber: 1,
      DefaultVersion: true,
      LaunchTemplateData: data,
    });
  });

  test("names: taken, malformed, unknown", async () => {
    const stage = await setStage();
    await createTemplate(stage);
    const create = (LaunchTemplateName: string): Promise<unknown> =>
      stage.ec2.send(new CreateLaunchTemplateCommand({ LaunchTemplateName, LaunchTemplateData: data }));
    expect((await refusal(create("web"))).code).toBe("InvalidLaunchTemplateName.AlreadyExistsException");
    expect((await refusal(create("a b"))).code).toBe("InvalidLaunchTemplateName.MalformedException");
    const find = (input: object): Promise<unknown> =>
      stage.ec2.send(new DescribeLaunchTemplatesCommand(input));
    expect((await refusal(find({ LaunchTemplateNames: ["x"] }))).code).toBe(
      "InvalidLaunchTemplateName.NotFoundException",
    );
    expect((await refusal(find({ LaunchTemplateIds: ["lt-1"] }))).code).toBe(
      "InvalidLaunchTemplateId.NotFound",
    );
    expect((await refusal(find({ LaunchTemplateIds: ["x"] }))).code).toBe(
      "InvalidLaunchTemplateId.Malformed",
    );
  });

  test("a deleted one is gone", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    await stage.ec2.send(new DeleteLaunchTemplateCommand({ LaunchTemplateId }));
    const gone = versions(stage, { LaunchTemplateId });
    expect((await refusal(gone)).code).toBe("InvalidLaunchTemplateId.NotFound");
  });
});

describe("new versions", () => {
  test("top-level fields replace those of the source version; snapshots of its devices are not inherited", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    const image = stage.world.addImage(home, { name: "web-2" });
    const answer = await stage.ec2.send(
      new CreateLaunchTemplateVersionCommand({
        LaunchTemplateId,
        SourceVersion: "1",
        VersionDescription: "release 2",
        LaunchTemplateData: { ImageId: image.id, MetadataOptions: { HttpEndpoint: "enabled" } },
      }),
    );
    expect(answer.Warning).toBeUndefined();
    expect(answer.LaunchTemplateVersion).toMatchObject({
      VersionNumber: 2,
      DefaultVersion: false,
      VersionDescription: "release 2",
    });
    expect(answer.LaunchTemplateVersion?.LaunchTemplateData).toEqual({
      ...data,
      ImageId: image.id,
      MetadataOptions: { HttpEndpoint: "enabled" },
      BlockDeviceMappings: [{ DeviceName: "/dev/sda1", Ebs: { VolumeSize: 9, DeleteOnTermination: true } }],
    });
  });

  test("snapshots that are given stay; without a source version there is nothing but what is given", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    const BlockDeviceMappings = [{ DeviceName: "/dev/sda1", Ebs: { SnapshotId: "snap-2" } }];
    const merged = await stage.ec2.send(
      new CreateLaunchTemplateVersionCommand({
        LaunchTemplateId,
        SourceVersion: "$Latest",
        LaunchTemplateData: { BlockDeviceMappings },
      }),
    );
    expect(merged.LaunchTemplateVersion?.LaunchTemplateData).toMatchObject({
      InstanceType: "t3.micro",
      BlockDeviceMappings,
    });
    const bare = await stage.ec2.send(
      new CreateLaunchTemplateVersionCommand({
        LaunchTemplateId,
        LaunchTemplateData: { BlockDeviceMappings },
      }),
    );
    expect(bare.LaunchTemplateVersion?.LaunchTemplateData).toEqual({ BlockDeviceMappings });
  });

  test("the same token gives the same version, with other parameters it is refused", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    const request = {
      LaunchTemplateId,
      SourceVersion: "1",
      LaunchTemplateData: data,
      ClientToken: "token-1",
    };
    const create = async (more = {}): Promise<number | undefined> =>
      (await stage.ec2.send(new CreateLaunchTemplateVersionCommand({ ...request, ...more })))
        .LaunchTemplateVersion?.VersionNumber;
    expect(await create()).toBe(2);
    expect(await create()).toBe(2);
    expect((await refusal(create({ VersionDescription: "other" }))).code).toBe("IdempotentParameterMismatch");
    expect(await create({ ClientToken: "token-2" })).toBe(3);
    expect(stage.world.launchTemplateVersions(LaunchTemplateId)).toHaveLength(3);
  });

  test("when the answer is lost, the SDK's own token makes the resend harmless", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    stage.faults.inject({ action: "CreateLaunchTemplateVersion" }, { kind: "drop-after" });
    await createVersion(stage, { LaunchTemplateId, LaunchTemplateData: data });
    expect(stage.log.entries.filter((entry) => entry.action === "CreateLaunchTemplateVersion")).toHaveLength(
      2,
    );
    expect(stage.world.launchTemplateVersions(LaunchTemplateId)).toHaveLength(2);
  });

  test("an image that does not exist is a warning, not an error", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    const { Warning, LaunchTemplateVersion } = await stage.ec2.send(
      new CreateLaunchTemplateVersionCommand({
        LaunchTemplateId,
        LaunchTemplateData: { ImageId: "ami-0123456789abcdef0" },
      }),
    );
    expect(LaunchTemplateVersion?.VersionNumber).toBe(2);
    expect(Warning?.Errors?.[0]?.Code).toBe("InvalidAMIID.NotFound");
  });

  test("unknown templates and source versions are refused", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage);
    const source = createVersion(stage, { LaunchTemplateId, SourceVersion: "7", LaunchTemplateData: data });
    expect(await refusal(source)).toEqual({
      code: "InvalidLaunchTemplateId.VersionNotFound",
      message: `Could not find the specified version 7 for the launch template with ID ${LaunchTemplateId}.`,
    });
    const name = createVersion(stage, { LaunchTemplateName: "x", LaunchTemplateData: data });
    expect((await refusal(name)).code).toBe("InvalidLaunchTemplateName.NotFoundException");
  });
});

describe("versions", () => {
  async function withThree(stage: Stage): Promise<string> {
    const LaunchTemplateId = await createTemplate(stage);
    stage.world.addLaunchTemplateVersion(LaunchTemplateId, { ImageId: "ami-2" });
    stage.world.addLaunchTemplateVersion(LaunchTemplateId, { ImageId: "ami-3" });
    return LaunchTemplateId;
  }

  test("numbers, $Latest, $Default, ranges and filters; newest first", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await withThree(stage);
    const list = (input: object): Promise<unknown> => versions(stage, { LaunchTemplateId, ...input });
    expect(await list({})).toEqual([3, 2, 1]);
    expect(await list({ Versions: ["$Latest"] })).toEqual([3]);
    expect(await list({ Versions: ["$Default"] })).toEqual([1]);
    expect(await list({ Versions: ["1", "$Default", "2"] })).toEqual([1, 2]);
    expect(await list({ MinVersion: "2" })).toEqual([3, 2]);
    expect(await list({ Filters: [{ Name: "image-id", Values: ["ami-2"] }] })).toEqual([2]);
    expect(await list({ Filters: [{ Name: "is-default-version", Values: ["true"] }] })).toEqual([1]);
    expect((await refusal(list({ Versions: ["9"] }))).code).toBe("InvalidLaunchTemplateId.VersionNotFound");
    await createTemplate(stage, "api");
    expect(await versions(stage, { Versions: ["$Latest"] })).toEqual([3, 1]);
    expect((await refusal(versions(stage, {}))).code).toBe("MissingParameter");
  });

  test("pages", async () => {
    const stage = await setStage({ emptyPages: ["DescribeLaunchTemplateVersions"] });
    const LaunchTemplateId = await withThree(stage);
    const sizes: number[] = [];
    const pages = paginateDescribeLaunchTemplateVersions(
      { client: stage.ec2, pageSize: 2 },
      { LaunchTemplateId },
    );
    for await (const { LaunchTemplateVersions } of pages) sizes.push(LaunchTemplateVersions?.length ?? 0);
    expect(sizes).toEqual([0, 2, 0, 1]);
    expect((await refusal(versions(stage, { LaunchTemplateId, MaxResults: 201 }))).code).toBe(
      "InvalidParameterValue",
    );
  });

  test("the default version moves only on request", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await withThree(stage);
    const { LaunchTemplate } = await stage.ec2.send(
      new ModifyLaunchTemplateCommand({ LaunchTemplateId, DefaultVersion: "2" }),
    );
    expect(LaunchTemplate).toMatchObject({ DefaultVersionNumber: 2, LatestVersionNumber: 3 });
    expect(await versions(stage, { LaunchTemplateId, Versions: ["$Default"] })).toEqual([2]);
  });

  test("deleting succeeds in part, refuses the default, and never gives a number again", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await withThree(stage);
    const answer = await stage.ec2.send(
      new DeleteLaunchTemplateVersionsCommand({ LaunchTemplateId, Versions: ["1", "3", "9"] }),
    );
    expect(answer.SuccessfullyDeletedLaunchTemplateVersions).toMatchObject([{ VersionNumber: 3 }]);
    expect(answer.UnsuccessfullyDeletedLaunchTemplateVersions).toMatchObject([
      { VersionNumber: 1, ResponseError: { Code: "unexpectedError" } },
      { VersionNumber: 9, ResponseError: { Code: "launchTemplateVersionDoesNotExist" } },
    ]);
    await createVersion(stage, { LaunchTemplateId, LaunchTemplateData: data });
    expect(await versions(stage, { LaunchTemplateId })).toEqual([4, 2, 1]);
  });

  test("at most 200 are deleted at once", async () => {
    const stage = await setStage();
    const LaunchTemplateId = await createTemplate(stage, "web", data);
    const remove = (count: number) =>
      stage.ec2.send(
        new DeleteLaunchTemplateVersionsCommand({
          LaunchTemplateId,
          Versions: Array.from({ length: count }, (_, index) => String(index + 1)),
        }),
      );
    expect((await refusal(remove(201))).code).toBe("InvalidParameterValue");
    expect((await remove(200)).UnsuccessfullyDeletedLaunchTemplateVersions).toHaveLength(200);
  });

  test("an SSM alias is shown as written, or resolved on request", async () => {
    const stage = await setStage({ ssmParameters: { "/web/ami": "ami-77" } });
    const LaunchTemplateId = await createTemplate(stage, "web", { ImageId: "resolve:ssm:/web/ami" });
    const image = async (ResolveAlias: boolean): Promise<string | undefined> =>
      (await stage.ec2.send(new DescribeLaunchTemplateVersionsCommand({ LaunchTemplateId, ResolveAlias })))
        .LaunchTemplateVersions?.[0]?.LaunchTemplateData?.ImageId;
    expect(await image(false)).toBe("resolve:ssm:/web/ami");
    expect(await image(true)).toBe("ami-77");
  });
});
