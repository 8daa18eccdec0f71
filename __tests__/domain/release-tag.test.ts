import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatReleaseTag,
  isRefSegment,
  LAST_NUMBER,
  parseReleaseTag,
} from "../../src/domain/release-tag.ts";

const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/).filter(isRefSegment);

describe("a release's tag", () => {
  test.each([
    ["release", "production", 1, "release/production/000001"],
    ["release", "production", 42, "release/production/000042"],
    ["release", "production", 999_999, "release/production/999999"],
    ["rollout", "qa.eu-1", 7, "rollout/qa.eu-1/000007"],
  ])("%s, %s, %i: %s", (prefix, environment, number, name) => {
    expect(formatReleaseTag({ prefix, environment, number })).toBe(name);
    expect(parseReleaseTag(name)).toStrictEqual({ prefix, environment, number });
  });

  test("is read as it was written", () => {
    fc.assert(
      fc.property(
        segment,
        segment,
        fc.integer({ min: 1, max: LAST_NUMBER }),
        (prefix, environment, number) => {
          const tag = { prefix, environment, number };
          expect(parseReleaseTag(formatReleaseTag(tag))).toStrictEqual(tag);
        },
      ),
    );
  });

  test("sorts by number as text", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: LAST_NUMBER }),
        fc.integer({ min: 1, max: LAST_NUMBER }),
        (a, b) => {
          const name = (number: number): string =>
            formatReleaseTag({ prefix: "release", environment: "qa", number });
          expect(name(a) < name(b)).toBe(a < b);
        },
      ),
    );
  });

  test.each([
    "",
    "release",
    "release/production",
    "release/production/42",
    "release/production/00042",
    "release/production/0000042",
    "release/production/000000",
    "release/production/00004x",
    "release/production/+00042",
    "release/production/000042/x",
    "release/production/000042\n",
    "release/production/1000000",
    "release/production/999999999999999",
    "release/production/9999999999999999",
    "release//000042",
    "/production/000042",
    "release/.x/000042",
    "release/x.lock/000042",
    "release/a b/000042",
    "production/000042",
    "v1.4.2",
  ])("%j is none", (name) => {
    expect(parseReleaseTag(name)).toBeUndefined();
  });

  test("any text that is read as one is written again as it was", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z.]{1,8}\/[a-z.]{1,8}\/[0-9]{4,9}$/), (name) => {
        const tag = parseReleaseTag(name);
        expect(tag === undefined ? name : formatReleaseTag(tag)).toBe(name);
      }),
    );
  });
});

describe("one segment of a ref", () => {
  test.each([
    ["production", true],
    ["qa-2", true],
    ["QA_2.eu", true],
    ["1", true],
    ["a.locked", true],
    ["", false],
    [".", false],
    ["..", false],
    [".x", false],
    ["-x", false],
    ["x.", false],
    ["x.lock", false],
    ["a..b", false],
    ["a/b", false],
    ["a b", false],
    ["a~b", false],
    ["a\n", false],
    ["é", false],
  ])("%j: %s", (name, is) => {
    expect(isRefSegment(name)).toBe(is);
  });

  test("is one for git too", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z.@{_-]{1,6}(?:\.lock)?$/), (name) => {
        fc.pre(isRefSegment(name));
        const ref = `refs/tags/release/${name}/000001`;
        expect(
          execFileSync("git", ["check-ref-format", "--normalize", ref], { encoding: "utf8" }).trim(),
        ).toBe(ref);
      }),
      { numRuns: 30 },
    );
  });
});
