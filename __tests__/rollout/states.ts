import type { LaunchTemplateOverrides, MixedInstancesPolicy } from "@aws-sdk/client-auto-scaling";
import type { TargetInstance, TargetState } from "../../src/rollout/target-state.ts";

export const IMAGE = "ami-0aaaaaaaaaaaaaaaa";

export const instance = (changes: Partial<TargetInstance> = {}): TargetInstance => ({
  id: "i-0000000000000001",
  lifecycleState: "InService",
  templateId: "lt-1",
  templateVersion: "7",
  imageId: undefined,
  protectedFromScaleIn: false,
  healthy: true,
  ...changes,
});

/** A group that has nothing wrong with it and runs version 7. */
export const targetState = (changes: Partial<TargetState> = {}): TargetState => ({
  target: { region: "eu-west-1", autoScalingGroup: "web-dev" },
  capacity: { min: 1, max: 6, desired: 4 },
  instances: [instance(), instance({ id: "i-0000000000000002" })],
  template: {
    id: "lt-1",
    name: "web",
    version: "7",
    written: "7",
    imageId: IMAGE,
    instanceType: "t3.small",
  },
  overrideTemplates: [],
  mixedInstancesPolicy: undefined,
  suspendedProcesses: [],
  isBeingDeleted: false,
  healthCheckType: "ELB",
  behindLoadBalancer: true,
  targetGroupArns: [],
  hasWarmPool: false,
  warmup: 60,
  activeRefresh: undefined,
  managedBy: undefined,
  ...changes,
});

/** A mixed instances policy on version 7 with these overrides. */
export const policyWith = (...overrides: readonly LaunchTemplateOverrides[]): MixedInstancesPolicy => ({
  InstancesDistribution: { OnDemandBaseCapacity: 1 },
  LaunchTemplate: {
    LaunchTemplateSpecification: { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: "7" },
    Overrides: [...overrides],
  },
});
