import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { chooseRestore, originOf } from "../../src/release/history.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import { RECORD } from "./records.ts";

const tagOf = (number: number): string => formatReleaseTag({ ...RECORD.tag, number });

/** An environment's history, told as what was done: a letter is a deploy of that image, a number a rollback to that release. */
function history(...steps: readonly (string | number)[]): ReleaseRecord[] {
  const records: ReleaseRecord[] = [];
  for (const [index, step] of steps.entries()) {
    const number = index + 1;
    const restored =
      typeof step === "number" ? records.find((record) => record.tag.number === step) : undefined;
    const letter = typeof step === "string" ? step : "";
    records.unshift({
      ...RECORD,
      tag: { ...RECORD.tag, number },
      kind: restored === undefined ? "deploy" : "rollback",
      commit: restored?.commit ?? letter.charCodeAt(0).toString(16).padStart(2, "0").repeat(20),
      version: restored?.version ?? `v-${letter}`,
      images: restored?.images ?? {
        "eu-west-1": `ami-0${letter.charCodeAt(0).toString(16).padStart(16, "0")}`,
      },
      previous: records[0] && formatReleaseTag(records[0].tag),
      restores: restored && formatReleaseTag(restored.tag),
    });
  }
  return records;
}

const chosen = (steps: readonly (string | number)[], to: string): number | string => {
  const choice = chooseRestore(history(...steps), to);
  return choice.kind === "found" ? choice.record.tag.number : choice.why;
};

describe("previous", () => {
  test.each<[what: string, steps: (string | number)[], expected: number | string]>([
    ["is the release before", ["a", "b", "c"], 2],
    ["goes back one more after a rollback, not forward to the one that was left", ["a", "b", "c", 2], 1],
    ["ends at the first release", ["a", "b", "c", 2, 1], `no release before ${tagOf(5)} ran another image`],
    ["skips what a rollback left, after a new deploy", ["a", "b", "c", 2, "d"], 2],
    ["skips what two rollbacks left", ["a", "b", "c", 2, 1, "d"], 1],
    ["does not come back to a release that was left as a rollback", ["a", "b", "c", 2, 1, 3], 1],
    ["skips releases of the same image", ["a", "b", "b"], 1],
    ["takes a release as left only where something else ran before it", ["a", "b", 2], 1],
    ["needs an earlier release", ["a"], `no release before ${tagOf(1)} ran another image`],
    ["needs any release", [], "there is no release yet"],
  ])("%s", (_, steps, expected) => {
    expect(chosen(steps, "previous")).toBe(expected);
  });

  test("repeated, visits older and older releases, none of them the image that runs, and ends", () => {
    const deploys = fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(deploys, fc.array(fc.boolean(), { maxLength: 12 }), (images, rollBackBetween) => {
        const steps: (string | number)[] = [...images];
        for (const again of rollBackBetween) {
          const records = history(...steps);
          const choice = chooseRestore(records, "previous");
          if (choice.kind === "none") return;
          const [current] = records;
          expect(choice.record.images).not.toEqual(current?.images);
          expect(choice.record.kind).toBe("deploy");
          expect(choice.record.tag.number).toBeLessThan(originOf(current ?? RECORD, records).tag.number);
          steps.push(choice.record.tag.number);
          if (again) steps.push("f");
        }
      }),
    );
  });
});

describe("to", () => {
  const abc = ["a", "b", "c", 2];

  test.each<[to: string, expected: number | string]>([
    ["3", 3],
    ["000003", 3],
    ["4", 2],
    [tagOf(1), 1],
    [tagOf(4), 2],
    ["v-a", 1],
    ["v-b", 4],
    ["61".repeat(20), 1],
    ["6161616", 1],
    ["616161", "there is no release 616161 among the last 4 releases"],
    ["9", "there is no release 9 among the last 4 releases"],
    ["release/production/000009", "there is no record release/production/000009 among the last 4 releases"],
    ["release/dev/000001", "there is no record release/dev/000001 among the last 4 releases"],
    [
      "v9",
      'no release is "v9": neither a number, nor a record\'s tag, nor a commit (7 or more digits), nor a version',
    ],
  ])("%s", (to, expected) => {
    expect(chosen(abc, to)).toBe(expected);
  });

  test("a version that was released with several images is ambiguous", () => {
    const records = history("a", "b").map((record) => ({ ...record, version: "v1" }));
    expect(chooseRestore(records, "v1")).toEqual({
      kind: "none",
      why: "version v1 was released with several images: give one of the numbers 2, 1",
    });
  });

  test("a commit's digits that two commits begin with are ambiguous", () => {
    const [newer, older] = history("a", "b");
    if (newer === undefined || older === undefined) throw new Error("two records were made");
    const records = [
      { ...newer, commit: `aaaaaaaa1${"0".repeat(31)}` },
      { ...older, commit: `aaaaaaaa2${"0".repeat(31)}` },
    ];
    expect(chooseRestore(records, "aaaaaaaa")).toEqual({
      kind: "none",
      why: "commit aaaaaaaa is ambiguous: give more digits",
    });
    expect(chooseRestore(records, "aaaaaaaa2")).toMatchObject({
      kind: "found",
      record: { tag: { number: 1 } },
    });
  });
});

test("a rollback that stopped a deploy which was never recorded leaves nothing", () => {
  // Release 2 ran, a third was under way and was stopped: release 3 restores 2, which ran before it too.
  expect(chosen(["a", "b", 2, "c"], "previous")).toBe(2);
});
