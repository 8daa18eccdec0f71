import { expect, test } from "vitest";
import type { Digest } from "../../src/domain/image.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import { chooseProven, type ImageWish } from "../../src/image/choice.ts";
import { type ImageClaim, whyNotLaunchable } from "../../src/image/trust.ts";

const DIGEST: Digest = `sha256:${"a".repeat(64)}`;
const IMAGE: CatalogueImage = {
  id: "ami-0aaaaaaaaaaaaaaaa",
  name: "web-v1",
  region: "eu-west-1",
  state: "available",
  stateReason: undefined,
  owner: "111111111111",
  architecture: "x86_64",
  created: new Date("2026-11-08T10:00:00Z"),
  baseImage: undefined,
  sourceInstance: "i-0123456789abcdef0",
  copiedFrom: undefined,
  snapshots: [],
  tags: { "kiln:digest": DIGEST, "kiln:application": "web", "kiln:repository": "acme/web" },
};
const CLAIM: ImageClaim = {
  digest: DIGEST,
  account: "111111111111",
  application: "web",
  repositories: ["acme/web", "acme/site"],
  recordedApplication: "web",
};
/** The image with other tags; undefined takes one out. */
const tagged = (changes: Readonly<Record<string, string | undefined>>): CatalogueImage => ({
  ...IMAGE,
  tags: Object.fromEntries(
    Object.entries({ ...IMAGE.tags, ...changes }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value]],
    ),
  ),
});

test.each<[what: string, image: CatalogueImage | undefined, why: string | undefined]>([
  ["ours", IMAGE, undefined],
  ["gone", undefined, "the image is gone"],
  [
    "another account's",
    { ...IMAGE, owner: "999999999999" },
    "the image belongs to account 999999999999, not to 111111111111",
  ],
  [
    "without a mark",
    tagged({ "kiln:digest": undefined }),
    "the image is not marked complete: it has no kiln:digest",
  ],
  [
    "with an empty mark",
    tagged({ "kiln:digest": "" }),
    "the image is not marked complete: it has no kiln:digest",
  ],
  [
    "of other content",
    tagged({ "kiln:digest": "sha256:b" }),
    `the image's kiln:digest is sha256:b, not ${DIGEST}`,
  ],
  [
    "another application's with this digest",
    tagged({ "kiln:application": "api" }),
    "the image's kiln:application is api, not web",
  ],
  [
    "no application's",
    tagged({ "kiln:application": undefined }),
    "the image's kiln:application is not set, not web",
  ],
  [
    "another repository's with this digest",
    tagged({ "kiln:repository": "acme/fork" }),
    "the image's kiln:repository is acme/fork, not acme/web or acme/site",
  ],
  [
    "no repository's",
    tagged({ "kiln:repository": undefined }),
    "the image's kiln:repository is not set, not acme/web or acme/site",
  ],
  ["of the repository's former name", tagged({ "kiln:repository": "acme/site" }), undefined],
  ["disabled", { ...IMAGE, state: "disabled" }, "the image is disabled"],
  ["pending", { ...IMAGE, state: "pending" }, "the image is pending"],
])("an image that is %s", (_, image, why) => {
  expect(whyNotLaunchable(image, CLAIM)).toBe(why);
});

test("a record of another application does not launch this one's image", () => {
  expect(whyNotLaunchable(IMAGE, { ...CLAIM, recordedApplication: "api" })).toBe(
    "the record is of application api, not web",
  );
});

const WISH: ImageWish = {
  application: "web",
  repositories: ["acme/web"],
  version: "v1",
  digest: DIGEST,
  rebake: "auto",
  maxAge: undefined,
  now: new Date("2026-11-18T10:00:00Z"),
};

test("the image that a required environment released is taken, also where a newer one of the content exists", () => {
  const newer: CatalogueImage = {
    ...IMAGE,
    id: "ami-0bbbbbbbbbbbbbbbb",
    created: new Date("2026-11-09T10:00:00Z"),
  };
  expect(chooseProven([newer, IMAGE], IMAGE.id, "eu-west-1", WISH)).toMatchObject({
    kind: "reuse",
    image: { id: IMAGE.id },
  });
  expect(() => chooseProven([newer], IMAGE.id, "eu-west-1", WISH)).toThrow(
    "ami-0aaaaaaaaaaaaaaaa, the image that the required environment released, is not available in eu-west-1",
  );
  for (const [image, why] of [
    [{ ...IMAGE, state: "disabled" }, "the image is disabled"],
    [tagged({ "kiln:repository": "acme/fork" }), "the image's kiln:repository is acme/fork, not acme/web"],
  ] as const)
    expect(() => chooseProven([image], IMAGE.id, "eu-west-1", WISH)).toThrow(
      `is not available in eu-west-1: ${why}`,
    );
});
