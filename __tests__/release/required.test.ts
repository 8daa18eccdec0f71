import { describe, expect, test } from "vitest";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { proofOf } from "../../src/release/required.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import { RECORD } from "./records.ts";

/** A step of qa's history: a letter releases that image, a number rolls back to that release; `0` after it: no instance was verified. */
type Step = string | number;

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}` as const;
const imageOf = (letter: string) => `ami-0${letter.repeat(16)}` as const;

function qa(...steps: readonly Step[]): ReleaseRecord[] {
  const records: ReleaseRecord[] = [];
  for (const [index, step] of steps.entries()) {
    const number = index + 1;
    const restored = records.find((record) => typeof step === "number" && record.tag.number === step);
    const letter = typeof step === "string" ? step.slice(0, 1) : "";
    const [newest] = records;
    records.unshift({
      ...RECORD,
      tag: { prefix: "release", environment: "qa", number },
      kind: restored === undefined ? "deploy" : "rollback",
      images: restored?.images ?? { "eu-west-1": imageOf(letter) },
      imageDigest: restored?.imageDigest ?? digestOf(letter),
      imageName: restored?.imageName ?? `web-${letter}`,
      previous: newest && formatReleaseTag(newest.tag),
      restores: restored && formatReleaseTag(restored.tag),
      verified:
        typeof step === "string" && step.endsWith("?")
          ? undefined
          : { count: typeof step === "string" && step.endsWith("0") ? 0 : 2, of: 2 },
      ...(restored === undefined ? {} : { reason: "it was bad" }),
    });
  }
  return records;
}

/** The production release of an image, as dev has it. */
const dev = (letter: string, changes: Partial<ReleaseRecord> = {}): ReleaseRecord => ({
  ...RECORD,
  tag: { prefix: "release", environment: "dev", number: 9 },
  images: { "eu-west-1": imageOf(letter) },
  imageDigest: digestOf(letter),
  imageName: `web-${letter}`,
  ...changes,
});

const told = (history: readonly ReleaseRecord[], letter: string): string => {
  const proof = proofOf(history, { digest: digestOf(letter) });
  return proof.kind === "proven" ? `release ${proof.record.tag.number}` : `${proof.kind}: ${proof.why}`;
};

describe("what qa has proven", () => {
  test.each<[what: string, steps: Step[], image: string, expected: string]>([
    ["its newest release", ["a", "b"], "b", "release 2"],
    ["an older one that a newer one followed", ["a", "b"], "a", "release 1"],
    ["nothing that it never released", ["a"], "b", "unproven: has not released it"],
    ["nothing without a release", [], "a", "unproven: has not released it"],
    [
      "nothing that was rolled back",
      ["a", "b", 1],
      "b",
      "unproven: was rolled back from it by release/qa/000003: it was bad",
    ],
    ["what a rollback restored", ["a", "b", 1], "a", "release 3"],
    [
      "no other release of an image that was rolled back",
      ["c", "b", "b", 1],
      "b",
      "unproven: was rolled back from it by release/qa/000004: it was bad",
    ],
    ["what was released again after it was rolled back", ["a", "b", 1, "b"], "b", "release 4"],
    [
      "nothing that two rollbacks left",
      ["a", "b", "c", 2, 1],
      "b",
      "unproven: was rolled back from it by release/qa/000005: it was bad",
    ],
    ["what was verified once, also if its newest release was not", ["a", "b", "a0"], "a", "release 3"],
    [
      "nothing of which no instance was verified",
      ["a0"],
      "a",
      "unverified: released it as release/qa/000001, which says that no instance was verified",
    ],
    [
      "nothing whose record says nothing about it",
      ["a?"],
      "a",
      "unverified: released it as release/qa/000001, which does not say whether its instances were verified",
    ],
  ])("%s", (_, steps, image, expected) => {
    expect(told(qa(...steps), image)).toBe(expected);
  });

  test("is the image, not the content, if it is asked for the image of another environment's release", () => {
    const history = qa("a", "b");
    expect(proofOf(history, { imageOf: dev("b") }).kind).toBe("proven");
    const rebaked = dev("b", { images: { "eu-west-1": imageOf("c") }, imageName: "web-b-2" });
    expect(proofOf(history, { imageOf: rebaked })).toMatchObject({ kind: "unproven" });
  });

  test("is known in other regions by the name that copies keep", () => {
    const elsewhere = { "us-east-1": imageOf("d") };
    expect(proofOf(qa("b"), { imageOf: dev("b", { images: elsewhere }) }).kind).toBe("proven");
    const other = dev("b", { images: elsewhere, imageName: "web-b-2" });
    expect(proofOf(qa("b"), { imageOf: other }).kind).toBe("unproven");
    // Where they share a region, all of them have to agree.
    const mixed = { "eu-west-1": imageOf("c"), "us-east-1": imageOf("d") };
    expect(proofOf(qa("b"), { imageOf: dev("b", { images: mixed }) }).kind).toBe("unproven");
  });
});
