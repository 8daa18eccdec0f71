import { describe, expect, test } from "vitest";
import { driftOf, type KnownImages } from "../../src/rollout/drift.ts";
import type { TargetState } from "../../src/rollout/target-state.ts";
import { IMAGE, instance, targetState } from "./states.ts";

const NOW = new Date("2026-11-18T10:00:00Z");
const RECORDED = { release: "release/dev/000004", imageId: IMAGE, template: { id: "lt-1", version: "7" } };
const KNOWN: KnownImages = {
  ofVersions: new Map([["lt-1@6", "ami-0bbbbbbbbbbbbbbbb"]]),
  releases: new Map([["ami-0bbbbbbbbbbbbbbbb", 3]]),
};
const template = targetState().template;

describe("drift in words", () => {
  test.each<[what: string, state: Partial<TargetState>, drift: string[]]>([
    ["none", {}, []],
    [
      "instances that are not in service do not count",
      { instances: [instance({ lifecycleState: "Pending", templateVersion: "6" })] },
      [],
    ],
    [
      "instances of an earlier release",
      { instances: [instance(), instance({ templateVersion: "6" }), instance({ templateVersion: "6" })] },
      ["2 of 3 instances run ami-0bbbbbbbbbbbbbbbb, the image of release 3"],
    ],
    [
      "instances of a version that could not be read",
      { instances: [instance({ templateVersion: "5" })] },
      ["1 of 1 instances run version 5 of its template"],
    ],
    [
      "an instance with an image of its own",
      { instances: [instance({ imageId: "ami-0cccccccccccccccc" })] },
      ["1 of 1 instances run ami-0cccccccccccccccc"],
    ],
    [
      "an instance of an override's own template that launches the record's image: none",
      {
        overrideTemplates: [{ ...template, id: "lt-2", version: "3", written: "3" }],
        instances: [instance(), instance({ templateId: "lt-2", templateVersion: "3" })],
      },
      [],
    ],
    [
      "an instance of an override's own template that launches another image",
      {
        overrideTemplates: [
          { ...template, id: "lt-2", version: "3", written: "3", imageId: "ami-0cccccccccccccccc" },
        ],
        instances: [instance(), instance({ templateId: "lt-2", templateVersion: "3" })],
      },
      ["1 of 2 instances run version 3 of its template"],
    ],
    [
      "the group on another version",
      { template: { ...template, version: "8", written: "8", imageId: "ami-0dddddddddddddddd" } },
      ["the group launches from version 8 of web (ami-0dddddddddddddddd), release/dev/000004 says 7"],
    ],
    [
      "the group on another template",
      { template: { ...template, id: "lt-2", name: "other" }, instances: [] },
      [`the group launches from version 7 of other (${IMAGE}), release/dev/000004 says 7`],
    ],
    [
      "the group on a version that moves",
      { template: { ...template, written: "$Latest" } },
      ["the group launches from $Latest, which the next template version changes"],
    ],
    [
      "a refresh under way",
      {
        activeRefresh: {
          Status: "InProgress",
          PercentageComplete: 40,
          StartTime: new Date("2026-11-18T09:55:00Z"),
        },
      },
      ["a refresh is running since 5 min: InProgress 40 %"],
    ],
    [
      "a refresh that has not begun",
      { activeRefresh: { Status: "Pending" } },
      ["a refresh is running: Pending 0 %"],
    ],
  ])("%s", (_, state, drift) => {
    expect(driftOf(targetState(state), RECORDED, KNOWN, NOW)).toEqual(drift);
  });
});
