import { describe, expect, test } from "vitest";
import { type Digest, type ImageId, imageName, TAG } from "../../src/domain/image.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import { chooseByDigest, chooseName, type ImageWish } from "../../src/image/choice.ts";

const DIGEST: Digest = `sha256:${"a".repeat(64)}`;
const OTHER: Digest = `sha256:${"b".repeat(64)}`;
const ACCOUNT = "111111111111";
const NAME = imageName("web", "v1", DIGEST);

const wish = (changes: Partial<ImageWish> = {}): ImageWish => ({
  application: "web",
  repository: "acme/web",
  version: "v1",
  digest: DIGEST,
  rebake: "auto",
  maxAge: undefined,
  now: new Date("2026-11-18T10:00:00Z"),
  ...changes,
});

const OURS = {
  [TAG.application]: "web",
  [TAG.repository]: "acme/web",
  [TAG.digest]: DIGEST,
  [TAG.commit]: "c".repeat(40),
};

const image = (changes: Partial<CatalogueImage> = {}): CatalogueImage => ({
  id: "ami-0aaaaaaaaaaaaaaaa",
  name: NAME,
  region: "eu-west-1",
  state: "available",
  stateReason: undefined,
  owner: ACCOUNT,
  architecture: "x86_64",
  created: new Date("2026-11-08T10:00:00Z"),
  baseImage: undefined,
  fromInstance: true,
  copiedFrom: undefined,
  snapshots: [],
  tags: OURS,
  ...changes,
});

const id = (digit: string): ImageId => `ami-0${digit.repeat(16)}`;
const DAY = 86_400_000;

describe("an image with this digest", () => {
  const found = [image()];

  test.each<[what: string, changes: Partial<ImageWish>, used: boolean, why: string]>([
    ["auto", {}, true, "has this content, baked 10 days ago from commit cccccccccccc"],
    [
      "auto, of an age that may be",
      { maxAge: 10 * DAY },
      true,
      "has this content, baked 10 days ago from commit cccccccccccc",
    ],
    [
      "auto, too old",
      { maxAge: 9 * DAY },
      false,
      "ami-0aaaaaaaaaaaaaaaa is 10 days old, `max-age` is 9 days",
    ],
    [
      "never, too old",
      { rebake: "never", maxAge: DAY },
      true,
      "has this content, baked 10 days ago from commit cccccccccccc",
    ],
    ["always", { rebake: "always" }, false, "`rebake` is `always`"],
  ])("rebake %s", (_, changes, used, why) => {
    expect(chooseByDigest(found, wish(changes))).toStrictEqual({ image: used ? found[0] : undefined, why });
  });

  test("is the newest that is available", () => {
    const newest = image({ id: id("b"), created: new Date("2026-11-17T10:00:00Z") });
    const pending = image({ id: id("c"), created: new Date("2026-11-18T09:00:00Z"), state: "pending" });
    expect(chooseByDigest([image(), pending, newest], wish()).image).toBe(newest);
  });

  test("of an unknown commit is still used", () => {
    expect(chooseByDigest([image({ tags: {} })], wish()).why).toBe(
      "has this content, baked 10 days ago from commit ?",
    );
  });

  test.each([[[]], [[image({ state: "failed" })]]])("that is not there is baked", (none) => {
    expect(chooseByDigest(none, wish())).toStrictEqual({
      image: undefined,
      why: "no image has this content yet",
    });
  });

  test("that is not there, where none may be baked, is refused", () => {
    expect(() => chooseByDigest([], wish({ rebake: "never" }))).toThrow(
      expect.objectContaining({
        message: `There is no image of this content (${DIGEST}), and \`rebake\` is \`never\``,
        state: "Nothing was changed.",
      }),
    );
  });
});

describe("the name of a new bake", () => {
  const choose = (named: readonly CatalogueImage[], changes: Partial<ImageWish> = {}) =>
    chooseName(named, ACCOUNT, wish(changes), "why");

  test("is free", () => {
    expect(choose([])).toStrictEqual({ kind: "bake", name: NAME, why: "why" });
  });

  test.each<[taken: string[], name: string]>([
    [[NAME], `${NAME}-2`],
    [[NAME, `${NAME}-2`], `${NAME}-3`],
    [[NAME, `${NAME}-3`], `${NAME}-2`],
    [[`${NAME}-2`], NAME],
  ])("with %j is %s", (taken, name) => {
    expect(choose(taken.map((name) => image({ name })))).toStrictEqual({ kind: "bake", name, why: "why" });
  });

  test("has a next serial also where the version's text is very long", () => {
    const version = "v".repeat(200);
    const first = imageName("web", version, DIGEST);
    expect(choose([image({ name: first }), image({ name: `${first}-2` })], { version })).toMatchObject({
      name: `${first}-3`,
    });
  });

  test("of a run that did not come to tag its image adopts that image", () => {
    const unfinished = image({ tags: {} });
    expect(choose([unfinished])).toStrictEqual({
      kind: "adopt",
      image: unfinished,
      why: "was baked by a run that did not come to tag it",
    });
  });

  test("adopts an encrypted copy, as Packer makes one of an image that it then removes", () => {
    const copy = image({ tags: {}, fromInstance: false, copiedFrom: "eu-west-1" });
    expect(choose([copy])).toMatchObject({ kind: "adopt", image: copy });
  });

  test("adopts an image that has our other tags, but no digest yet", () => {
    const unfinished = image({ tags: { [TAG.application]: "web", [TAG.repository]: "acme/web", Name: "x" } });
    expect(choose([unfinished])).toMatchObject({ kind: "adopt", image: unfinished });
  });

  test.each([
    ["still pending", { state: "pending" }, {}],
    ["failed", { state: "failed" }, {}],
    ["there, but everything is to be baked anew", {}, { rebake: "always" as const }],
  ])("does not adopt one that is %s", (_, changes, wished) => {
    expect(choose([image({ tags: {}, ...changes })], wished)).toMatchObject({
      kind: "bake",
      name: `${NAME}-2`,
    });
  });

  test.each<[what: string, changes: Partial<CatalogueImage>, whose: string]>([
    ["another account", { owner: "222222222222" }, "an image of account 222222222222"],
    [
      "another account, with our tags",
      { owner: "222222222222", tags: OURS },
      "an image of account 222222222222",
    ],
    [
      "another digest",
      { tags: { ...OURS, [TAG.digest]: OTHER } },
      "an image of this account that is not this content's",
    ],
    [
      "another repository",
      { tags: { ...OURS, [TAG.repository]: "acme/fork" } },
      "an image of this account that is not this content's",
    ],
    [
      "another application",
      { tags: { ...OURS, [TAG.application]: "api" } },
      "an image of this account that is not this content's",
    ],
    [
      "another digest, unfinished",
      { tags: { [TAG.repository]: "acme/fork" } },
      "an image of this account that is not this content's",
    ],
    [
      "a copy from another region, not a bake",
      { tags: {}, fromInstance: false, copiedFrom: "us-east-1" },
      "an image of this account that is not this content's",
    ],
    [
      "a registered snapshot, not a bake",
      { tags: {}, fromInstance: false },
      "an image of this account that is not this content's",
    ],
  ])("taken by %s is refused", (_, changes, whose) => {
    expect(() => choose([image(changes)])).toThrow(
      expect.objectContaining({
        message: `The image name ${NAME} is taken by ami-0aaaaaaaaaaaaaaaa in eu-west-1, ${whose}`,
        state: expect.stringMatching(/^Nothing was changed\. Its tags: ./),
      }),
    );
  });

  test("taken by a foreign image is refused, even where an unfinished one of ours is there as well", () => {
    const foreign = image({ id: id("f"), owner: "222222222222", name: `${NAME}-2`, tags: {} });
    expect(() => choose([image({ tags: {} }), foreign])).toThrow(
      expect.objectContaining({ state: "Nothing was changed. Its tags: none." }),
    );
  });
});
