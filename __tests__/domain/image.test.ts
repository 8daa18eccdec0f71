import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Digest, imageName, isDigest, isImageId } from "../../src/domain/image.ts";

const DIGEST: Digest = `sha256:0123456789ab${"c".repeat(52)}`;

describe("an image's name", () => {
  test.each([
    ["web", "v1.4.2", 1, "web-v1.4.2-0123456789ab"],
    ["web", "v1.4.2", 2, "web-v1.4.2-0123456789ab-2"],
    ["web", "v1.4.2", 13, "web-v1.4.2-0123456789ab-13"],
    ["web", "1.0 (beta) & more", 1, "web-1.0-beta-more-0123456789ab"],
    ["web", "feature/login", 1, "web-feature-login-0123456789ab"],
    ["web", "--x--", 1, "web-x-0123456789ab"],
    ["web", "日本語", 1, "web-0123456789ab"],
    ["web", "", 1, "web-0123456789ab"],
    ["web", "a\nb\0c", 1, "web-a-b-c-0123456789ab"],
    ["my.app_2", "é1", 1, "my.app_2-1-0123456789ab"],
  ])("of %s, version %j, bake %i: %s", (application, version, serial, name) => {
    expect(imageName(application, version, DIGEST, serial)).toBe(name);
  });

  test("is cut within the version, never within the digest", () => {
    const name = imageName("web", "v".repeat(300), DIGEST);
    expect(name).toMatch(/^web-v+-0123456789ab$/);
    expect(name.length).toBeLessThanOrEqual(128);
    expect(name.length).toBeGreaterThan(110);
  });

  test("has at most 128 of the characters that EC2 takes, whatever the version", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9._-]{1,200}$/, { size: "max" }),
        fc.string({ unit: "binary", maxLength: 300, size: "max" }),
        fc.integer({ min: 1, max: 999 }),
        (application, version, serial) => {
          expect(imageName(application, version, DIGEST, serial)).toMatch(
            /^[A-Za-z0-9._-]{0,127}-0123456789ab(?:-\d+)?$/,
          );
          expect(imageName(application, version, DIGEST, serial).length).toBeLessThanOrEqual(128);
        },
      ),
    );
  });

  test("of a further bake is the first one's with a number behind it, so that a search by name finds both", () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 300, size: "max" }),
        fc.integer({ min: 2, max: 999 }),
        (version, serial) => {
          expect(imageName("web", version, DIGEST, serial)).toBe(
            `${imageName("web", version, DIGEST)}-${serial}`,
          );
        },
      ),
    );
  });
});

test.each([
  ["ami-0123456789abcdef0", true],
  ["ami-01234567", true],
  ["ami-0123456789", false],
  ["ami-0123456789ABCDEF0", false],
  [" ami-01234567", false],
  ["ami-01234567\n", false],
  ["i-01234567", false],
  ["", false],
])("%j is an AMI's id: %s", (text, is) => {
  expect(isImageId(text)).toBe(is);
});

test.each([
  [DIGEST, true],
  [DIGEST.slice(0, -1), false],
  [`${DIGEST}0`, false],
  [DIGEST.replace("sha256", "sha512"), false],
  [DIGEST.toUpperCase(), false],
])("%s is a digest: %s", (text, is) => {
  expect(isDigest(text)).toBe(is);
});
