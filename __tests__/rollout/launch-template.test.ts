import type { MixedInstancesPolicy } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import { configurationWith } from "../../src/rollout/launch-template.ts";
import { isOurs } from "../../src/rollout/refresh.ts";
import { targetState } from "./states.ts";

const VERSION = { id: "lt-1", name: "web", version: "8" };
const POLICY: MixedInstancesPolicy = {
  InstancesDistribution: { OnDemandBaseCapacity: 1, SpotAllocationStrategy: "price-capacity-optimized" },
  LaunchTemplate: {
    LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: "7" },
    Overrides: [{ InstanceType: "t3.small" }, { InstanceType: "t3a.small", WeightedCapacity: "2" }],
  },
};

describe("the configuration that a refresh brings the group to", () => {
  test("is the launch template's version", () => {
    expect(configurationWith(targetState(), VERSION)).toStrictEqual({
      LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "8" },
    });
  });

  test("is the whole mixed instances policy, with this version", () => {
    const before = structuredClone(POLICY);
    expect(configurationWith(targetState({ mixedInstancesPolicy: POLICY }), VERSION)).toStrictEqual({
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

describe("a refresh is ours", () => {
  const plain = configurationWith(targetState(), VERSION);
  const mixed = configurationWith(targetState({ mixedInstancesPolicy: POLICY }), VERSION);
  const older = configurationWith(targetState(), { ...VERSION, version: "6" });

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
