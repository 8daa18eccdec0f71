import fc from "fast-check";
import { isRefSegment } from "../../src/domain/release-tag.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

export const RECORD: ReleaseRecord = {
  application: "web",
  tag: { prefix: "release", environment: "production", number: 42 },
  kind: "deploy",
  commit: COMMIT,
  version: "v1.4.2",
  images: { "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" },
  imageName: "web-v1.4.2-0123456789ab",
  imageDigest: `sha256:0123456789ab${"c".repeat(52)}`,
  imageCommit: "fedcba9876543210fedcba9876543210fedcba98",
  baseImages: { "eu-west-1": "ami-0bbbbbbbbbbbbbbbb" },
  inventory: "89abcdef0123456789abcdef0123456789abcdef",
  targets: [
    { region: "eu-west-1", group: "web production", launchTemplate: "lt-0123456789abcdef0", version: "7" },
  ],
  verified: { count: 4, of: 4 },
  smokeTest: "passed",
  previous: "release/production/000041",
  restores: undefined,
  promotedFrom: undefined,
  reason: undefined,
  actor: "ada",
  run: "https://github.com/acme/web/actions/runs/1234567890",
  started: new Date("2026-11-18T10:00:00Z"),
  finished: new Date("2026-11-18T10:12:34Z"),
};

const hex = (length: number): fc.Arbitrary<string> => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const ami = hex(17).map((digits) => `ami-${digits}` as const);
const region = fc.constantFrom("eu-west-1", "us-east-1", "us-gov-west-1", "ap-southeast-2");
const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/).filter(isRefSegment);
const images = fc.dictionary(region, ami, { noNullPrototype: true, maxKeys: 4 });
const seconds = fc
  .integer({ min: 0, max: Date.parse("2099-12-31T23:59:59Z") / 1000 })
  .map((value) => new Date(value * 1000));

/** Text that tries to be more than a value. */
export const nasty: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc
    .array(
      fc.constantFrom(
        "\n",
        "\r\n",
        "\r",
        "\u2028",
        "\u0085",
        "\n\n",
        "\t",
        " ",
        "Image: eu-west-1 ami-0eeeeeeeeeeeeeeee",
        "Kiln-Record: 1",
        "Kiln-Record: 2",
        "Release: 99",
        "---",
        "# ",
        "%(contents)",
        "é日本",
        "😀",
        "a",
        ":",
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join("")),
);

/** One line without surrounding blanks: what a record keeps of a text. */
const line = nasty.map((text) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim());
/** A lone surrogate is no text: git and GitHub would not keep it. */
const wellFormed = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  text.filter((value) => value.isWellFormed());

const PLAIN = { noNullPrototype: true } as const;

export const recordsWith = (text: fc.Arbitrary<string>): fc.Arbitrary<ReleaseRecord> => {
  const optional = fc.option(wellFormed(text), { nil: undefined });
  return fc.record(
    {
      application: segment,
      tag: fc.record(
        { prefix: segment, environment: segment, number: fc.integer({ min: 1, max: 999_999 }) },
        PLAIN,
      ),
      kind: fc.constantFrom("deploy", "promotion", "rollback"),
      commit: fc.oneof(hex(40), hex(64)),
      version: wellFormed(text),
      images: images.filter((found) => Object.keys(found).length > 0),
      imageName: fc.stringMatching(/^[a-z0-9.-]{1,40}$/),
      imageDigest: hex(64).map((digits) => `sha256:${digits}` as const),
      imageCommit: hex(40),
      baseImages: images,
      inventory: fc.option(hex(40), { nil: undefined }),
      targets: fc.array(
        fc.record(
          {
            region,
            group: fc.stringMatching(/^[a-z@: ]{1,20}$/).map((name) => `g${name}g`),
            launchTemplate: hex(17).map((digits) => `lt-${digits}`),
            version: fc.integer({ min: 1, max: 5000 }).map(String),
          },
          PLAIN,
        ),
        { maxLength: 3 },
      ),
      verified: fc.option(
        fc
          .tuple(fc.nat(999_999), fc.nat(999_999))
          .map(([a, b]) => ({ count: Math.min(a, b), of: Math.max(a, b) })),
        { nil: undefined },
      ),
      smokeTest: fc.option(fc.constantFrom("passed", "none", "not-run"), { nil: undefined }),
      previous: optional,
      restores: optional,
      promotedFrom: optional,
      reason: optional,
      actor: wellFormed(text),
      run: wellFormed(text),
      started: seconds,
      finished: seconds,
    },
    PLAIN,
  );
};

/** Records as they are read: each text is one line. */
export const records = recordsWith(line);
