import { CreateTagsCommand } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { withMiddleware } from "../../src/aws/middleware.ts";
import { type Digest, type ImageId, TAG } from "../../src/domain/image.ts";
import { Secrets } from "../../src/domain/secrets.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import { adoptable, completeImages, type ToComplete, whyNotAdoptable } from "../../src/image/completion.ts";
import { home, other, setStage, type Stage } from "../sandbox/ec2-stage.ts";
import { KeptLog, VirtualClock } from "./programs.ts";

const DIGEST: Digest = `sha256:${"0123456789ab".padEnd(64, "c")}`;
const NAME = "web-v1-0123456789ab";
const AWAY = { ...home, region: "us-east-1" };
const OWNER = {
  account: home.accountId,
  application: "web",
  repositories: ["acme/web"],
  digest: DIGEST,
};

const image = (changes: Partial<CatalogueImage> = {}): CatalogueImage => ({
  id: "ami-0aaaaaaaaaaaaaaaa",
  name: NAME,
  region: "eu-west-1",
  state: "available",
  stateReason: undefined,
  owner: home.accountId,
  architecture: "x86_64",
  created: new Date("2026-11-08T10:00:00Z"),
  baseImage: undefined,
  sourceInstance: "i-5758e0b4eef41b927",
  copiedFrom: undefined,
  snapshots: [],
  tags: {},
  ...changes,
});

describe("an image that a note names", () => {
  const noted = { imageName: NAME, region: "eu-west-1", instances: ["i-5758e0b4eef41b927"] };

  test.each<[what: string, changes: Partial<CatalogueImage>]>([
    ["untagged", {}],
    ["tagged by the template", { tags: { [TAG.application]: "web", [TAG.repository]: "acme/web" } }],
    ["marked already", { tags: { [TAG.digest]: DIGEST } }],
    ["still pending", { state: "pending" }],
    ["registered from a snapshot", { sourceInstance: undefined }],
    [
      "copied in its region, to be encrypted",
      { sourceInstance: undefined, copiedFrom: { region: "eu-west-1", id: "ami-0bbbbbbbbbbbbbbbb" } },
    ],
  ])("may be completed if it is %s", (_, changes) => {
    expect(whyNotAdoptable(image(changes), noted, OWNER)).toBeUndefined();
  });

  test.each<[what: string, found: CatalogueImage | undefined, why: string]>([
    ["gone", undefined, "it is gone"],
    ["another account's", image({ owner: other.accountId }), `it belongs to account ${other.accountId}`],
    [
      "of another name",
      image({ name: `${NAME}-debug-grace` }),
      `its name is ${NAME}-debug-grace, and the bake's was ${NAME}`,
    ],
    [
      "of another instance",
      image({ sourceInstance: "i-0ddddddddddddddd0" }),
      "it was made from i-0ddddddddddddddd0, which the bake did not note",
    ],
    [
      "copied from elsewhere",
      image({ sourceInstance: undefined, copiedFrom: { region: "us-east-1", id: "ami-0bbbbbbbbbbbbbbbb" } }),
      "it is a copy from us-east-1, and the bake ran in eu-west-1",
    ],
    ...(
      [
        [TAG.application, "api"],
        [TAG.repository, "acme/fork"],
        [TAG.digest, `sha256:${"d".repeat(64)}`],
      ] as const
    ).map(
      ([key, value]) =>
        [
          `tagged with another ${key}`,
          image({ tags: { [key]: value } }),
          "its tags name another application, repository or content",
        ] as [string, CatalogueImage, string],
    ),
  ])("is left alone if it is %s", (_, found, why) => {
    expect(whyNotAdoptable(found, noted, OWNER)).toBe(why);
  });

  test("of another application's name is left alone", () => {
    const theirs = { ...noted, imageName: "shop-v1-0123456789ab" };
    expect(whyNotAdoptable(image({ name: theirs.imageName }), theirs, OWNER)).toContain(
      "its name is shop-v1",
    );
  });

  test("is looked up in each region; a copy that is gone is left out", async () => {
    const stage = await setStage();
    const { clients } = clientsOf(stage);
    const sourceInstanceId = "i-5758e0b4eef41b927";
    const { id } = stage.world.addImage(home, { name: NAME, sourceInstanceId });
    const traces = {
      ...noted,
      mark: "m",
      from: "note",
      ended: {
        ids: { "eu-west-1": id as ImageId, "us-east-1": "ami-0ccccccccccccccc0" as ImageId },
        commit: "c".repeat(40),
        version: "v1",
      },
    } as const;
    expect(await adoptable(clients, traces, OWNER)).toEqual({ ids: { "eu-west-1": id } });
    const elsewhere = { ...traces, region: "us-east-1" };
    expect(await adoptable(clients, elsewhere, OWNER)).toEqual({
      why: "ami-0ccccccccccccccc0 in us-east-1: it is gone",
    });
    const nowhere = { ...traces, region: "eu-north-1" };
    expect(await adoptable(clients, nowhere, OWNER)).toEqual({
      why: "the note names no image in eu-north-1",
    });
  });
});

function clientsOf(stage: Stage) {
  const clock = new VirtualClock();
  const ec2 = async (region: string) => withMiddleware(stage.client("AKIAHOME", region));
  const secrets = new Secrets();
  const tools = { clock, log: new KeptLog(), secrets, signal: new AbortController().signal };
  return { clients: { ec2 }, tools, clock, secrets };
}

/** An image of a bake, and Packer's copy of it. */
function baked(stage: Stage, name = NAME): ToComplete {
  const { id } = stage.world.addImage(home, { name, sourceInstanceId: "i-5758e0b4eef41b927" });
  const copy = stage.world.addImage(AWAY, { name, sourceImageId: id, sourceImageRegion: home.region });
  return {
    region: home.region,
    ids: { [home.region]: id as ImageId, [AWAY.region]: copy.id as ImageId },
    account: home.accountId,
    digest: DIGEST,
    tags: { [TAG.application]: "web", [TAG.repository]: "acme/web" },
    baseImage: "ami-0eeeeeeeeeeeeeee0",
  };
}

const tagsOf = (stage: Stage, { ids }: ToComplete, { region } = home) =>
  stage.world.images({ ...home, region }).find(({ id }) => id === ids[region])?.tags;

describe("the images of a bake that ended well", () => {
  test("are tagged and marked in one request each, the copies first, their snapshots with them", async () => {
    const stage = await setStage();
    const { clients, tools } = clientsOf(stage);
    const what = baked(stage);
    const done = await completeImages(clients, what, tools);
    const all = { ...what.tags, [TAG.digest]: DIGEST, [TAG.baseImage]: "ami-0eeeeeeeeeeeeeee0", Name: NAME };
    expect(tagsOf(stage, what)).toEqual(all);
    expect(tagsOf(stage, what, AWAY)).toEqual({ ...all, [TAG.copyOf]: what.ids[home.region] });
    expect(done).toMatchObject({ id: what.ids[home.region], tags: all, baseImage: "ami-0eeeeeeeeeeeeeee0" });
    const writes = stage.log.entries.filter(({ writes: isWrite }) => isWrite);
    expect(writes.map(({ action, region }) => [action, region])).toEqual([
      ["CreateTags", AWAY.region],
      ["CreateTags", home.region],
    ]);
    const snapshot = stage.world.images(home).find(({ name }) => name === NAME)?.blockDevices[0]?.snapshotId;
    expect(stage.world.snapshots(home).find(({ id }) => id === snapshot)?.tags).toEqual(all);
  });

  test("are not tagged again by an attempt that comes later", async () => {
    const stage = await setStage();
    const { clients, tools } = clientsOf(stage);
    const what = baked(stage);
    await completeImages(clients, what, tools);
    const before = stage.log.entries.length;
    await completeImages(clients, { ...what, tags: { [TAG.application]: "other" } }, tools);
    expect(stage.log.since(before).filter(({ writes }) => writes)).toEqual([]);
  });

  test.each<
    [
      what: string,
      change: (what: ToComplete, stage: Stage, secrets: Secrets) => Promise<ToComplete>,
      error: string,
    ]
  >([
    [
      "that belong to another account",
      async (what) => ({ ...what, account: "999999999999" }),
      "it belongs to account 111122223333, and the bake runs in 999999999999",
    ],
    [
      "that are marked as another content's",
      async (what, stage) => {
        const Tags = [{ Key: TAG.digest, Value: "sha256:other" }];
        await stage.ec2.send(new CreateTagsCommand({ Resources: [what.ids[home.region] ?? ""], Tags }));
        return what;
      },
      "it is marked as another content's",
    ],
    [
      "that have a secret in their name",
      async (what, _, secrets) => {
        secrets.add(["v1-0123456789"]);
        return what;
      },
      "The template puts a secret into the name of the image",
    ],
  ])("%s are not marked", async (_, change, error) => {
    const stage = await setStage();
    const { clients, tools, secrets } = clientsOf(stage);
    const what = await change(baked(stage), stage, secrets);
    await expect(completeImages(clients, what, tools)).rejects.toThrow(error);
    for (const place of [home, AWAY]) expect(tagsOf(stage, what, place)?.[TAG.digest]).not.toBe(DIGEST);
  });

  test("are marked again for five minutes while EC2 does not know them, and then not", async () => {
    for (const [times, ends] of [
      [5, "marked"],
      [Infinity, "not"],
    ] as const) {
      const stage = await setStage();
      const { clients, tools, clock } = clientsOf(stage);
      const what = { ...baked(stage) };
      const unknown = { kind: "reply", status: 400, code: "InvalidAMIID.NotFound", message: "no" } as const;
      stage.faults.inject({ action: "CreateTags", region: home.region }, unknown, { times });
      const began = clock.now().getTime();
      const done = await completeImages(clients, what, tools).then(
        () => "marked",
        () => "not",
      );
      expect(done).toBe(ends);
      const minutes = (clock.now().getTime() - began) / 60_000;
      // No further try begins that would end after five minutes.
      expect(minutes).toBeGreaterThan(ends === "not" ? 4.5 : 0);
      expect(minutes).toBeLessThanOrEqual(5);
      expect(tagsOf(stage, what)?.[TAG.digest]).toBe(ends === "not" ? undefined : DIGEST);
    }
  });

  test("that cannot be marked for another reason are not tried again", async () => {
    const stage = await setStage();
    const { clients, tools } = clientsOf(stage);
    const denied = { kind: "reply", status: 403, code: "UnauthorizedOperation", message: "no" } as const;
    stage.faults.inject({ action: "CreateTags" }, denied, { times: 99 });
    await expect(completeImages(clients, baked(stage), tools)).rejects.toThrow("ec2:CreateTags");
    expect(
      stage.log.entries.filter(({ action, region }) => action === "CreateTags" && region === home.region),
    ).toEqual([]);
  });
});
