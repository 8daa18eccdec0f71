import type { LaunchTemplateOverrides, MixedInstancesPolicy } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import {
  configurationWith,
  isAlias,
  releaseVersions,
  savedConfiguration,
  type TemplateVersion,
} from "../../src/rollout/launch-template.ts";
import { isOurs } from "../../src/rollout/refresh.ts";
import type { EffectiveTemplate } from "../../src/rollout/target-state.ts";
import { IMAGE, policyWith, targetState } from "./states.ts";

const VERSION = { id: "lt-1", name: "web", version: "8" };
const toVersion = () => VERSION;
const POLICY: MixedInstancesPolicy = {
  InstancesDistribution: { OnDemandBaseCapacity: 1, SpotAllocationStrategy: "price-capacity-optimized" },
  LaunchTemplate: {
    LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: "7" },
    Overrides: [{ InstanceType: "t3.small" }, { InstanceType: "t3a.small", WeightedCapacity: "2" }],
  },
};

describe("the configuration that a refresh brings the group to", () => {
  test("is the launch template's version", () => {
    expect(configurationWith(targetState(), toVersion)).toStrictEqual({
      LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "8" },
    });
  });

  test("is the whole mixed instances policy, with this version", () => {
    const before = structuredClone(POLICY);
    expect(configurationWith(targetState({ mixedInstancesPolicy: POLICY }), toVersion)).toStrictEqual({
      MixedInstancesPolicy: {
        InstancesDistribution: POLICY.InstancesDistribution,
        LaunchTemplate: {
          LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", Version: "8" },
          Overrides: POLICY.LaunchTemplate?.Overrides,
        },
      },
    });
    expect(POLICY).toStrictEqual(before);
  });
});

describe("overrides with a template or an image of their own", () => {
  const NEW_IMAGE = "ami-0bbbbbbbbbbbbbbbb";
  const template = targetState().template;
  const arm: EffectiveTemplate = { ...template, id: "lt-2", name: "arm", version: "3", written: "3" };
  const armVersion: TemplateVersion = { id: "lt-2", name: "arm", version: "4" };
  const latest: EffectiveTemplate = { ...arm, id: "lt-3", name: "spot", version: "5", written: "$Latest" };
  const spotVersion: TemplateVersion = { id: "lt-3", name: "spot", version: "6" };
  const stateWith = (...overrides: readonly LaunchTemplateOverrides[]) =>
    targetState({
      template,
      overrideTemplates: [arm, latest],
      mixedInstancesPolicy: policyWith(...overrides),
    });
  const { choose } = releaseVersions([
    [template, VERSION],
    [arm, armVersion],
    [latest, spotVersion],
  ]);
  const ARM_4 = { LaunchTemplateId: "lt-2", Version: "4" };
  const SPOT_6 = { LaunchTemplateId: "lt-3", Version: "6" };

  test.each<
    [
      what: string,
      before: LaunchTemplateOverrides,
      image: { readonly id: string; readonly inEveryOverride: boolean } | undefined,
      after: LaunchTemplateOverrides,
    ]
  >([
    [
      "a template by id",
      { InstanceType: "t4g.small", LaunchTemplateSpecification: { LaunchTemplateId: "lt-2", Version: "3" } },
      undefined,
      { InstanceType: "t4g.small", LaunchTemplateSpecification: ARM_4 },
    ],
    [
      "a template by name",
      { LaunchTemplateSpecification: { LaunchTemplateName: "arm", Version: "3" } },
      undefined,
      { LaunchTemplateSpecification: ARM_4 },
    ],
    [
      "a template by both",
      {
        WeightedCapacity: "2",
        LaunchTemplateSpecification: { LaunchTemplateId: "lt-2", LaunchTemplateName: "arm", Version: "3" },
      },
      undefined,
      { WeightedCapacity: "2", LaunchTemplateSpecification: ARM_4 },
    ],
    [
      "a template on $Latest",
      { LaunchTemplateSpecification: { LaunchTemplateName: "spot", Version: "$Latest" } },
      undefined,
      { LaunchTemplateSpecification: SPOT_6 },
    ],
    [
      "the group's own template",
      { LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", Version: "7" } },
      undefined,
      { LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", Version: "8" } },
    ],
    [
      "an image of its own gets the release's",
      { InstanceType: "t3.small", ImageId: IMAGE },
      { id: NEW_IMAGE, inEveryOverride: false },
      { InstanceType: "t3.small", ImageId: NEW_IMAGE },
    ],
    [
      "an image of its own stays where no image is given",
      { InstanceType: "t3.small", ImageId: IMAGE },
      undefined,
      { InstanceType: "t3.small", ImageId: IMAGE },
    ],
    [
      "none of its own gets none",
      { InstanceType: "t3.small" },
      { id: NEW_IMAGE, inEveryOverride: false },
      { InstanceType: "t3.small" },
    ],
    [
      "none of its own gets the release's where every override needs one",
      { InstanceType: "t3.small" },
      { id: NEW_IMAGE, inEveryOverride: true },
      { InstanceType: "t3.small", ImageId: NEW_IMAGE },
    ],
    [
      "a template and an image get both",
      { ImageId: IMAGE, LaunchTemplateSpecification: { LaunchTemplateId: "lt-2", Version: "3" } },
      { id: NEW_IMAGE, inEveryOverride: true },
      { ImageId: NEW_IMAGE, LaunchTemplateSpecification: ARM_4 },
    ],
  ])("%s", (_, before, image, after) => {
    const untouched: LaunchTemplateOverrides = { InstanceType: "t3.nano", WeightedCapacity: "1" };
    const state = stateWith(before, untouched);
    const kept = structuredClone(state);
    const overrides = configurationWith(state, choose, image).MixedInstancesPolicy?.LaunchTemplate?.Overrides;
    expect(overrides).toStrictEqual([
      after,
      image?.inEveryOverride === true ? { ...untouched, ImageId: image.id } : untouched,
    ]);
    expect(state).toStrictEqual(kept);
  });

  test("a policy without overrides gets no list of them", () => {
    expect(configurationWith(stateWith(), choose)).toStrictEqual({
      MixedInstancesPolicy: {
        InstancesDistribution: { OnDemandBaseCapacity: 1 },
        LaunchTemplate: { LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", Version: "8" } },
      },
    });
  });

  test("what the group launches from now is saved by numbers, with its overrides' templates and images", () => {
    const state = stateWith(
      { ImageId: IMAGE, LaunchTemplateSpecification: { LaunchTemplateName: "spot", Version: "$Latest" } },
      { InstanceType: "t3.small" },
    );
    expect(savedConfiguration(state).MixedInstancesPolicy?.LaunchTemplate).toStrictEqual({
      LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", Version: "7" },
      Overrides: [
        { ImageId: IMAGE, LaunchTemplateSpecification: { LaunchTemplateId: "lt-3", Version: "5" } },
        { InstanceType: "t3.small" },
      ],
    });
    expect(savedConfiguration(targetState({ template: { ...template, written: "$Latest" } }))).toStrictEqual({
      LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "7" },
    });
  });

  test("the versions of a release are chosen by the template that they were made from", () => {
    const versions = releaseVersions([
      [template, VERSION],
      [arm, armVersion],
    ]);
    expect(versions).toMatchObject({ base: VERSION, all: [VERSION, armVersion] });
    expect(versions.choose(arm)).toBe(armVersion);
    expect(versions.choose(template)).toBe(VERSION);
    // Nothing was made of it: it stays as it is.
    expect(versions.choose(latest)).toBe(latest);
  });

  test("a release has at least one version", () => {
    expect(() => releaseVersions([])).toThrow("a release without a template version");
  });
});

test.each([
  ["resolve:ssm:/web/ami", true],
  ["resolve:ssm:/web/ami:3", true],
  [IMAGE, false],
  [undefined, false],
])("that %s is an alias: %s", (imageId, alias) => {
  expect(isAlias(imageId)).toBe(alias);
});

describe("a refresh is ours", () => {
  const plain = configurationWith(targetState(), toVersion);
  const mixed = configurationWith(targetState({ mixedInstancesPolicy: POLICY }), toVersion);
  const older = configurationWith(targetState(), () => ({ ...VERSION, version: "6" }));

  test.each([
    ["with the same version", { Status: "InProgress", DesiredConfiguration: plain }, true],
    ["with the same version in a policy", { Status: "Pending", DesiredConfiguration: mixed }, true],
    ["while it bakes", { Status: "Baking", DesiredConfiguration: plain }, true],
    ["not with another version", { Status: "InProgress", DesiredConfiguration: older }, false],
    [
      "not with another template",
      {
        Status: "InProgress",
        DesiredConfiguration: { LaunchTemplate: { LaunchTemplateId: "lt-2", Version: "8" } },
      },
      false,
    ],
    ["not without a configuration", { Status: "InProgress" }, false],
    ["not while it is rolled back", { Status: "RollbackInProgress", DesiredConfiguration: plain }, false],
    ["not while it is cancelled", { Status: "Cancelling", DesiredConfiguration: plain }, false],
  ] as const)("%s", (_, refresh, ours) => {
    expect(isOurs(refresh, plain)).toBe(ours);
  });
});
