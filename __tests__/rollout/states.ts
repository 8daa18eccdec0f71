import type { TargetInstance, TargetState } from "../../src/rollout/target-state.ts";

export const IMAGE = "ami-0aaaaaaaaaaaaaaaa";

export const instance = (changes: Partial<TargetInstance> = {}): TargetInstance => ({
  id: "i-0000000000000001",
  lifecycleState: "InService",
  templateId: "lt-1",
  templateVersion: "7",
  imageId: undefined,
  protectedFromScaleIn: false,
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
  mixedInstancesPolicy: undefined,
  suspendedProcesses: [],
  healthCheckType: "ELB",
  behindLoadBalancer: true,
  warmup: 60,
  activeRefresh: undefined,
  managedBy: undefined,
  ...changes,
});
