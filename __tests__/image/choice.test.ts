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
  repositories: ["acme/web", "acme/site"],
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
  sourceInstance: "i-0123456789abcdef0",
  copiedFrom: undefined,
  snapshots: [],
  tags: OURS,
  ...changes,
});

const id = (digit: string): ImageId => `ami-0${digit.repeat(16)}`;
const DAY = 86_400_000;

const RUN = "https://github.com/acme/web/actions/runs/7";

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

  test("says which commit, branch and run it was baked from", () => {
    const tags = { ...OURS, [TAG.branch]: "feature/x\u001b[31m", [TAG.run]: RUN };
    expect(chooseByDigest([image({ tags })], wish()).why).toBe(
      `has this content, baked 10 days ago from commit cccccccccccc of branch feature/x[31m by ${RUN}`,
    );
  });

  test("of an unknown commit is still used", () => {
    const { [TAG.commit]: _, ...tags } = OURS;
    expect(chooseByDigest([image({ tags })], wish()).why).toBe(
      "has this content, baked 10 days ago from commit ?",
    );
  });

  test("that was baked under the repository's former name is used", () => {
    const former = image({ tags: { ...OURS, [TAG.repository]: "acme/site" } });
    expect(chooseByDigest([former], wish()).image).toBe(former);
  });

  test.each<[what: string, changes: Partial<CatalogueImage>]>([
    ["another repository's", { tags: { ...OURS, [TAG.repository]: "acme/fork" } }],
    ["of no repository", { tags: { [TAG.application]: "web", [TAG.digest]: DIGEST } }],
    ["another application's", { tags: { ...OURS, [TAG.application]: "api" } }],
    ["of another digest", { tags: { ...OURS, [TAG.digest]: OTHER } }],
    ["not marked", { tags: { [TAG.application]: "web", [TAG.repository]: "acme/web" } }],
    ["pending", { state: "pending" }],
    ["encrypted for one target", { tags: { ...OURS, [TAG.kmsKey]: "alias/web" } }],
  ])("that is %s is not used", (_, changes) => {
    expect(chooseByDigest([image(changes)], wish())).toStrictEqual({
      image: undefined,
      why: "no image has this content yet",
    });
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
  const choose = (
    named: readonly CatalogueImage[],
    changes: Partial<ImageWish> = {},
    refused: readonly string[] = [],
  ) => chooseName(named, { account: ACCOUNT, refused: new Set(refused) }, wish(changes), "why");
  const UNMARKED = { [TAG.application]: "web", [TAG.repository]: "acme/web", Name: "x" };

  test("is free", () => {
    expect(choose([])).toStrictEqual({ kind: "bake", name: NAME, why: "why", leftovers: [] });
  });

  test.each<[taken: string[], name: string]>([
    [[NAME], `${NAME}-2`],
    [[NAME, `${NAME}-2`], `${NAME}-3`],
    [[NAME, `${NAME}-3`], `${NAME}-2`],
    [[`${NAME}-2`], NAME],
    [[`${NAME}-debug-grace`], NAME],
  ])("with %j is %s", (taken, name) => {
    expect(choose(taken.map((each) => image({ name: each })))).toMatchObject({ name, leftovers: [] });
  });

  test("has a next serial also where the version's text is very long", () => {
    const version = "v".repeat(200);
    const first = imageName("web", version, DIGEST);
    expect(choose([image({ name: first }), image({ name: `${first}-2` })], { version })).toMatchObject({
      name: `${first}-3`,
    });
  });

  test.each<[what: string, changes: Partial<CatalogueImage>]>([
    ["another account's", { owner: "222222222222" }],
    ["another account's, with our tags", { owner: "222222222222", tags: UNMARKED }],
    ["of another digest", { tags: { ...OURS, [TAG.digest]: OTHER } }],
    ["another repository's", { tags: { ...UNMARKED, [TAG.repository]: "acme/fork" } }],
    ["another application's", { tags: { ...UNMARKED, [TAG.application]: "api" } }],
    ["made by hand, without tags", { tags: {} }],
    ["complete, until somebody took the mark off", { tags: { ...UNMARKED, [TAG.baseImage]: id("e") } }],
    ["in use, though without a mark", { tags: UNMARKED, lastLaunched: "2026-11-17T10:00:00Z" }],
    ["complete", {}],
  ])("is the next one if an image has it that is %s: it is neither used nor removed", (_, changes) => {
    expect(choose([image(changes)])).toStrictEqual({
      kind: "bake",
      name: `${NAME}-2`,
      why: "why",
      leftovers: [],
    });
  });

  test.each(["available", "pending", "failed"])(
    "is that of an image which a bake did not complete, %s: that goes",
    (state) => {
      const left = image({ tags: UNMARKED, state });
      expect(choose([left, image({ id: id("b"), name: `${NAME}-2` })])).toStrictEqual({
        kind: "bake",
        name: NAME,
        why: "why",
        leftovers: [left],
      });
    },
  );

  test("that begins like the image's, but is none that Kiln gives, is nobody's leftover", () => {
    const named = ["-debug-grace", "-1", "-02", "-1000", "-2-3"].map((end) =>
      image({ name: `${NAME}${end}`, tags: UNMARKED }),
    );
    expect(choose(named)).toMatchObject({ name: NAME, leftovers: [] });
  });

  test("is not one that Packer refused, though no image shows it", () => {
    expect(choose([], {}, [NAME, `${NAME}-2`])).toMatchObject({ name: `${NAME}-3` });
  });

  test("that is taken in every form is refused", () => {
    const all = Array.from({ length: 999 }, (_, index) => imageName("web", "v1", DIGEST, index + 1));
    expect(choose([], {}, all.slice(0, -1))).toMatchObject({ name: `${NAME}-999` });
    expect(() => choose([], {}, all)).toThrow(`Every image name from ${NAME} to ${NAME}-999 is taken`);
  });
});
