import { CopyImageCommand, CreateTagsCommand } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { withMiddleware } from "../../src/aws/middleware.ts";
import { type ImageId, TAG } from "../../src/domain/image.ts";
import { type CatalogueImage, describeImage } from "../../src/image/catalogue.ts";
import { copyName, copyTo, findCopy } from "../../src/image/copies.ts";
import { home, setStage, type Stage } from "../sandbox/ec2-stage.ts";
import { KeptLog } from "./programs.ts";

const AWAY = { ...home, region: "us-east-1" };
const NAME = "web-v1-0123456789ab";
const TAGS = {
  [TAG.application]: "web",
  [TAG.repository]: "acme/web",
  [TAG.digest]: `sha256:${"0123456789ab".padEnd(64, "c")}`,
};

async function open() {
  const stage = await setStage();
  const ec2 = async (region: string) => withMiddleware(stage.client("AKIAHOME", region));
  const clients = { ec2 };
  const { id } = stage.world.addImage(home, { name: NAME, tags: TAGS });
  const image = await describeImage(await ec2(home.region), home.region, id as ImageId);
  if (image === undefined) throw new Error("no image");
  const clock = {
    now: () => stage.clock.date(),
    sleep: async (milliseconds: number) => stage.clock.advance(milliseconds),
  };
  const tools = { clock, log: new KeptLog(), signal: new AbortController().signal };
  const away = await ec2(AWAY.region);
  return { stage, clients, image, tools, away };
}

const copies = (stage: Stage) => stage.world.images(AWAY).filter(({ name }) => name.startsWith(NAME));
const place = { region: AWAY.region };

/** A copy that was begun: with all tags but its mark, or as the tags say. */
async function begin(
  { away, image }: Awaited<ReturnType<typeof open>>,
  tags: Readonly<Record<string, string>>,
  source: Pick<CatalogueImage, "id" | "region"> = image,
): Promise<string> {
  const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
  const { ImageId } = await away.send(
    new CopyImageCommand({
      Name: NAME,
      SourceImageId: source.id,
      SourceRegion: source.region,
      ...(Tags.length === 0 ? {} : { TagSpecifications: [{ ResourceType: "image", Tags }] }),
    }),
  );
  return ImageId ?? "";
}

describe("a copy", () => {
  test("gets its tags as it is begun, and its mark when it is available", async () => {
    const { stage, clients, image, tools } = await open();
    const copy = await copyTo(clients, image, place, tools);
    const all = { ...TAGS, Name: NAME, [TAG.copyOf]: image.id };
    expect(copies(stage).map(({ tags }) => tags)).toEqual([all]);
    expect(copy.tags).toEqual(all);
    const writes = stage.log.entries.filter((entry) => entry.writes && entry.region === AWAY.region);
    expect(writes.map(({ action }) => action)).toEqual(["CopyImage", "CreateTags"]);
    expect(JSON.stringify(writes[0]?.params)).not.toContain(TAG.digest);
    expect(await copyTo(clients, image, place, tools)).toMatchObject({ id: copy.id });
    expect(copies(stage)).toHaveLength(1);
  });

  test.each<[what: string, tags: Readonly<Record<string, string>> | "kiln"]>([
    ["Kiln began", "kiln"],
    ["Packer made, which has no tags", {}],
  ])("that %s, and that lacks its mark, is not used until it is completed", async (_, tags) => {
    const opened = await open();
    const { stage, clients, image, tools, away } = opened;
    const { [TAG.digest]: __, ...unmarked } = TAGS;
    const id = await begin(opened, tags === "kiln" ? { ...unmarked, [TAG.copyOf]: image.id } : tags);
    expect(await findCopy(away, image, place)).toBeUndefined();
    stage.clock.advance(60 * 60_000);
    expect(await findCopy(away, image, place)).toBeUndefined();
    expect(await copyTo(clients, image, place, tools)).toMatchObject({ id });
    expect(await findCopy(away, image, place)).toMatchObject({
      id,
      tags: { ...TAGS, [TAG.copyOf]: image.id },
    });
    expect(copies(stage)).toHaveLength(1);
  });

  test.each<[what: string, make: (opened: Awaited<ReturnType<typeof open>>) => Promise<string>]>([
    [
      "of another bake of the same content",
      async (opened) => {
        const earlier = opened.stage.world.addImage(home, { name: "web-earlier", tags: TAGS });
        return begin(opened, TAGS, { id: earlier.id as ImageId, region: home.region });
      },
    ],
    [
      "that says it is another's",
      async (opened) => begin(opened, { ...TAGS, [TAG.copyOf]: "ami-0ddddddddddddddd0" }),
    ],
    [
      "of another application, under its name",
      async (opened) => begin(opened, { ...TAGS, [TAG.application]: "api", [TAG.copyOf]: opened.image.id }),
    ],
    ["that nobody copied", async ({ stage }) => stage.world.addImage(AWAY, { name: NAME, tags: {} }).id],
  ])("%s is another's: a new one is made, under another name", async (_, make) => {
    const opened = await open();
    const { stage, clients, image, tools, away } = opened;
    const theirs = await make(opened);
    stage.clock.advance(60 * 60_000);
    expect(await findCopy(away, image, place)).toBeUndefined();
    const copy = await copyTo(clients, image, place, tools);
    expect(copy.id).not.toBe(theirs);
    expect(copy.name).toMatch(new RegExp(`^${NAME}-c[0-9a-f]{8}$`));
    expect(await findCopy(away, image, place)).toMatchObject({ id: copy.id });
    expect(await copyTo(clients, image, place, tools)).toMatchObject({ id: copy.id });
  });

  test("by an earlier version of Kiln, which EC2 shows to be this image's, is used", async () => {
    const opened = await open();
    const id = await begin(opened, TAGS);
    opened.stage.clock.advance(60 * 60_000);
    expect(await findCopy(opened.away, opened.image, place)).toMatchObject({ id });
  });

  test("of a copy is the same bake's", async () => {
    const { clients, image, tools, stage } = await open();
    const copy = await copyTo(clients, image, place, tools);
    const far = { region: "ap-south-1" };
    const third = await copyTo(clients, copy, far, tools);
    expect(third.tags[TAG.copyOf]).toBe(image.id);
    expect(await copyTo(clients, image, far, tools)).toMatchObject({ id: third.id });
    expect(stage.world.images({ ...home, ...far })).toHaveLength(1);
  });

  test("has no name left if others have both", async () => {
    const { stage, clients, image, tools, away } = await open();
    stage.world.addImage(AWAY, { name: NAME });
    const second = await copyTo(clients, image, place, tools);
    await away.send(
      new CreateTagsCommand({
        Resources: [second.id],
        Tags: [{ Key: TAG.copyOf, Value: "ami-0ddddddddddddddd0" }],
      }),
    );
    await expect(copyTo(clients, image, place, tools)).rejects.toThrow("other images there have the names");
  });

  test("under a key has a name of its own, within EC2's 128 characters", () => {
    expect(copyName(NAME, undefined)).toBe(NAME);
    expect(copyName(NAME, "alias/web")).toMatch(new RegExp(`^${NAME}-k[0-9a-f]{8}$`));
    const long = `web-${"v".repeat(112)}-0123456789ab`;
    expect(copyName(long, "alias/web").length).toBeLessThanOrEqual(128);
    expect(copyName(copyName(NAME, "alias/web"), "alias/web")).toBe(copyName(NAME, "alias/web"));
  });
});
