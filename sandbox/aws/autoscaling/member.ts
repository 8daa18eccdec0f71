/** An instance of a group, and what follows from its state alone. */
import type { Activity } from "./activities.ts";
import type { TemplateReference } from "./configuration.ts";
import type { HookAction } from "./hooks.ts";

/** API reference, Instance: LifecycleState; those of `Warmed:` are of the warm pool. */
export type LifecycleState =
  | "Pending"
  | "Pending:Wait"
  | "Pending:Proceed"
  | "InService"
  | "Standby"
  | "Terminating"
  | "Terminating:Wait"
  | "Terminating:Proceed"
  | "Terminated"
  | "ReplacingRootVolume"
  | "ReplacingRootVolume:Wait"
  | "ReplacingRootVolume:Proceed"
  | "RootVolumeReplaced"
  | "Warmed:Pending"
  | "Warmed:Pending:Wait"
  | "Warmed:Pending:Proceed"
  | "Warmed:Stopped"
  | "Warmed:Running"
  | "Warmed:Hibernated"
  | "Warmed:Terminating"
  | "Warmed:Terminating:Wait"
  | "Warmed:Terminating:Proceed";

/** What an instance was made from. */
export interface Origin {
  readonly imageId: string;
  /** The image came from an override of the mixed instances policy, not from the template. */
  readonly imageOverridden: boolean;
  /** With the version as a number. */
  readonly launchTemplate: TemplateReference | undefined;
  readonly launchConfigurationName: string | undefined;
}

export interface Member {
  readonly instanceId: string;
  readonly launchedAt: number;
  readonly availabilityZone: string;
  readonly instanceType: string;
  readonly weightedCapacity: string | undefined;
  /** Order of launch over all groups: tells what was made during a refresh also within one millisecond. */
  ordinal: number;
  imageId: Origin["imageId"];
  imageOverridden: Origin["imageOverridden"];
  launchTemplate: Origin["launchTemplate"];
  launchConfigurationName: Origin["launchConfigurationName"];
  /** What it is made from once its root volume is replaced. */
  becoming: Origin | undefined;
  rootVolumeReplaced: boolean;
  launchActivity: Activity | undefined;
  lifecycleState: LifecycleState;
  /** What DescribeAutoScalingGroups shows; see `health.ts` for what the instance really is. */
  healthStatus: "Healthy" | "Unhealthy";
  protectedFromScaleIn: boolean;
  inServiceAt: number | undefined;
  /** When the present state ends, or should be looked at again. */
  until: number | undefined;
  /** Of the lifecycle hooks that it waits for. */
  actions: readonly HookAction[];
  terminationActivity: Activity | undefined;
  /** Terminating hooks are waited for before it goes. */
  hooked: boolean;
}

/** Capacity units of a member. API reference, LaunchTemplateOverrides: WeightedCapacity; without weights each is one. */
export function weightOf({ weightedCapacity }: Pick<Member, "weightedCapacity">): number {
  return weightedCapacity === undefined ? 1 : Number(weightedCapacity);
}

export function unitsOf(members: readonly Pick<Member, "weightedCapacity">[]): number {
  return members.reduce((sum, member) => sum + weightOf(member), 0);
}

export function isArriving({ lifecycleState: state }: Member): boolean {
  return state.startsWith("Pending") || state.startsWith("Warmed:Pending");
}

export function isLeaving({ lifecycleState: state }: Member): boolean {
  return state.startsWith("Terminat") || state.startsWith("Warmed:Terminat");
}

export function isReplacingRootVolume({ lifecycleState: state }: Member): boolean {
  return state.startsWith("ReplacingRootVolume") || state === "RootVolumeReplaced";
}

/** Ready in the warm pool. */
export function isResting({ lifecycleState: state }: Member): boolean {
  return state === "Warmed:Stopped" || state === "Warmed:Running" || state === "Warmed:Hibernated";
}

/**
 * Who goes first: instances of a launch configuration, then the oldest template version, then the oldest launch
 * (user guide: Default termination policy; zones are not balanced here).
 */
export function terminationOrder(a: Member, b: Member): number {
  return age(a) - age(b) || a.ordinal - b.ordinal;
}

function age(member: Member): number {
  return member.launchTemplate === undefined ? 0 : Number(member.launchTemplate.version);
}
