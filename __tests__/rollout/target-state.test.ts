import type { LaunchTemplateOverrides, LaunchTemplateSpecification } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import {
  alreadyRuns,
  type EffectiveTemplate,
  inService,
  largestWeight,
  runsVersion,
  type TargetState,
  templateOf,
} from "../../src/rollout/target-state.ts";
import { IMAGE, instance, policyWith, targetState } from "./states.ts";

const OTHER = "ami-0bbbbbbbbbbbbbbbb";

describe("an instance runs a version", () => {
  test.each<[what: string, changes: Parameters<typeof instance>[0], runs: boolean]>([
    ["it was launched from", {}, true],
    ["it was launched from, with this very image of its own", { imageId: IMAGE }, true],
    ["of an override's own template", { templateId: "lt-0", templateVersion: "1" }, true],
    ["of any template, where it has this image of its own", { templateId: "lt-2", imageId: IMAGE }, true],
    ["but for the other template's number: no", { templateVersion: "1" }, false],
    ["but for another image of its own: no", { imageId: OTHER }, false],
    ["of another number: no", { templateVersion: "6" }, false],
    ["of another template: no", { templateId: "lt-2" }, false],
    ["of no template: no", { templateId: undefined, templateVersion: undefined }, false],
  ])("%s", (_, changes, runs) => {
    expect(
      runsVersion(
        instance(changes),
        [
          { id: "lt-0", version: "1" },
          { id: "lt-1", version: "7" },
        ],
        IMAGE,
      ),
    ).toBe(runs);
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
    [
      "where an override's own template has it too, and an instance of that",
      {
        overrideTemplates: [{ ...template, id: "lt-2", version: "3", written: "3" }],
        instances: [instance(), instance({ templateId: "lt-2", templateVersion: "3" })],
      },
      undefined,
      true,
    ],
    [
      "not where an override's own template has another image",
      { overrideTemplates: [{ ...template, id: "lt-2", imageId: OTHER }] },
      undefined,
      false,
    ],
    [
      "not where an override's own template is on $Latest",
      { overrideTemplates: [{ ...template, id: "lt-2", written: "$Latest" }] },
      undefined,
      false,
    ],
    [
      "not where an override has another image of its own",
      { mixedInstancesPolicy: policyWith({ ImageId: OTHER }) },
      undefined,
      false,
    ],
    [
      "where an override has this very image of its own",
      { mixedInstancesPolicy: policyWith({ ImageId: IMAGE }) },
      undefined,
      true,
    ],
    [
      "where overrides name the types, whatever the environment's is",
      { mixedInstancesPolicy: policyWith({ InstanceType: "t3a.small" }) },
      "t3.large",
      true,
    ],
    [
      "not on another type where overrides name none",
      { mixedInstancesPolicy: policyWith({ WeightedCapacity: "2" }) },
      "t3.large",
      false,
    ],
  ])("%s", (_, changes, instanceType, already) => {
    expect(alreadyRuns(targetState(changes), IMAGE, instanceType)).toBe(already);
  });
});

test("instances that the rollout would leave alone are not waited for", () => {
  const stays = instance({ id: "i-2", templateVersion: "6", protectedFromScaleIn: true });
  const state = targetState({ instances: [instance(), stays] });
  expect(alreadyRuns(state, IMAGE, undefined)).toBe(false);
  expect(alreadyRuns(state, IMAGE, undefined, ({ protectedFromScaleIn }) => protectedFromScaleIn)).toBe(true);
});

test.each<[overrides: readonly LaunchTemplateOverrides[], weight: number]>([
  [[], 1],
  [[{ InstanceType: "t3.small" }], 1],
  [[{ WeightedCapacity: "2" }, { WeightedCapacity: "10" }, { InstanceType: "t3.small" }], 10],
])("of the overrides %j the heaviest instance weighs %i", (overrides, weight) => {
  expect(largestWeight(targetState({ mixedInstancesPolicy: policyWith(...overrides) }))).toBe(weight);
});

describe("a specification means one of the templates", () => {
  const one = { ...targetState().template, id: "lt-1", name: "web", version: "7", written: "7" };
  const latest = { ...one, written: "$Latest" };
  const byDefault = { ...one, id: "lt-2", name: "worker", version: "3", written: "$Default" };

  test.each<[what: string, specification: LaunchTemplateSpecification, meant: EffectiveTemplate | undefined]>(
    [
      ["by id and number", { LaunchTemplateId: "lt-1", Version: "7" }, one],
      ["by name and number", { LaunchTemplateName: "web", Version: "7" }, one],
      ["by both", { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: "7" }, one],
      ["by $Latest, as it is written", { LaunchTemplateName: "web", Version: "$Latest" }, latest],
      ["without a version: $Default", { LaunchTemplateId: "lt-2" }, byDefault],
      ["but none of another version", { LaunchTemplateId: "lt-1", Version: "8" }, undefined],
      ["but none of another name", { LaunchTemplateName: "other", Version: "7" }, undefined],
      ["but none of the number that $Default means", { LaunchTemplateId: "lt-2", Version: "3" }, undefined],
    ],
  )("%s", (_, specification, meant) => {
    expect(templateOf(specification, [one, latest, byDefault])).toBe(meant);
  });
});

test("those that serve are in service", () => {
  const states = ["Pending", "Pending:Wait", "InService", "Standby", "Terminating", "Terminated"];
  const instances = states.map((lifecycleState) => instance({ id: lifecycleState, lifecycleState }));
  expect(inService(targetState({ instances })).map(({ id }) => id)).toStrictEqual(["InService"]);
});
