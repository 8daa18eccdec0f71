import { expect, test } from "vitest";
import type { Digest } from "../../src/domain/image.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import { chooseProven } from "../../src/image/choice.ts";
import { whyNotLaunchable } from "../../src/image/trust.ts";

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
  fromInstance: true,
  copiedFrom: undefined,
  snapshots: [],
  tags: { "kiln:digest": DIGEST },
};

test.each<[what: string, image: CatalogueImage | undefined, why: string | undefined]>([
  ["ours", IMAGE, undefined],
  ["gone", undefined, "the image is gone"],
  [
    "another account's",
    { ...IMAGE, owner: "999999999999" },
    "the image belongs to account 999999999999, not to 111111111111",
  ],
  [
    "without a digest",
    { ...IMAGE, tags: {} },
    `the image's kiln:digest is not set, the record says ${DIGEST}`,
  ],
  [
    "of other content",
    { ...IMAGE, tags: { "kiln:digest": "sha256:b" } },
    `the image's kiln:digest is sha256:b, the record says ${DIGEST}`,
  ],
  ["disabled", { ...IMAGE, state: "disabled" }, "the image is disabled"],
])("an image that is %s", (_, image, why) => {
  expect(whyNotLaunchable(image, { digest: DIGEST, account: "111111111111" })).toBe(why);
});

test("the image that a required environment released is taken, also where a newer one of the content exists", () => {
  const newer: CatalogueImage = {
    ...IMAGE,
    id: "ami-0bbbbbbbbbbbbbbbb",
    created: new Date("2026-11-09T10:00:00Z"),
  };
  expect(chooseProven([newer, IMAGE], IMAGE.id, "eu-west-1")).toMatchObject({
    kind: "reuse",
    image: { id: IMAGE.id },
  });
  expect(() => chooseProven([newer], IMAGE.id, "eu-west-1")).toThrow(
    "ami-0aaaaaaaaaaaaaaaa, the image that the required environment released, is not available in eu-west-1",
  );
  expect(() => chooseProven([{ ...IMAGE, state: "disabled" }], IMAGE.id, "eu-west-1")).toThrow(
    "is not available",
  );
});
