import { describe, expect, test } from "vitest";
import { alreadyRuns, inService, runsVersion, type TargetState } from "../../src/rollout/target-state.ts";
import { IMAGE, instance, targetState } from "./states.ts";

const OTHER = "ami-0bbbbbbbbbbbbbbbb";

describe("an instance runs a version", () => {
  test.each<[what: string, changes: Parameters<typeof instance>[0], runs: boolean]>([
    ["it was launched from", {}, true],
    ["it was launched from, with this very image of its own", { imageId: IMAGE }, true],
    ["but for another image of its own: no", { imageId: OTHER }, false],
    ["of another number: no", { templateVersion: "6" }, false],
    ["of another template: no", { templateId: "lt-2" }, false],
    ["of no template: no", { templateId: undefined, templateVersion: undefined }, false],
  ])("%s", (_, changes, runs) => {
    expect(runsVersion(instance(changes), { id: "lt-1", version: "7" }, IMAGE)).toBe(runs);
  });
});

describe("a target has nothing to be done for an image", () => {
  const { template } = targetState();

  test.each<
    [what: string, changes: Partial<TargetState>, instanceType: string | undefined, already: boolean]
  >([
    ["where all run it", {}, undefined, true],
    ["where all run it on this type", {}, "t3.small", true],
    ["not on another type", {}, "t3.large", false],
    [
      "not where the template has another image",
      { template: { ...template, imageId: OTHER } },
      undefined,
      false,
    ],
    [
      "not where the template has an alias",
      { template: { ...template, imageId: "resolve:ssm:/x" } },
      undefined,
      false,
    ],
    ["not while a refresh is on its way", { activeRefresh: { Status: "InProgress" } }, undefined, false],
    ["not on $Latest", { template: { ...template, written: "$Latest" } }, undefined, false],
    ["not on $Default", { template: { ...template, written: "$Default" } }, undefined, false],
    [
      "not where one still runs an older version",
      { instances: [instance(), instance({ templateVersion: "6" })] },
      undefined,
      false,
    ],
    [
      "where an older one does not serve any more",
      { instances: [instance(), instance({ templateVersion: "6", lifecycleState: "Terminating" })] },
      undefined,
      true,
    ],
    ["where there are no instances", { instances: [] }, undefined, true],
  ])("%s", (_, changes, instanceType, already) => {
    expect(alreadyRuns(targetState(changes), IMAGE, instanceType)).toBe(already);
  });
});

test("those that serve are in service", () => {
  const states = ["Pending", "Pending:Wait", "InService", "Standby", "Terminating", "Terminated"];
  const instances = states.map((lifecycleState) => instance({ id: lifecycleState, lifecycleState }));
  expect(inService(targetState({ instances })).map(({ id }) => id)).toStrictEqual(["InService"]);
});
