/**
 * Lifecycle hooks: a member waits until somebody has completed the action of every hook, or until their time is over.
 * User guide, How lifecycle hooks work.
 */
import { newId } from "./service.ts";
import type { Group } from "./group.ts";
import type { LifecycleState, Member } from "./member.ts";
import type { Service } from "./service.ts";

export type HookResult = "CONTINUE" | "ABANDON";

export interface LifecycleHook {
  readonly name: string;
  readonly transition: "launching" | "terminating";
  /** Seconds. */
  readonly heartbeatTimeout: number;
  readonly defaultResult: HookResult;
  readonly notificationTargetArn?: string | undefined;
  readonly notificationMetadata?: string | undefined;
  readonly roleArn?: string | undefined;
}

/** API reference, PutLifecycleHook: an hour, then ABANDON, unless said otherwise. */
export type HookRequest = Pick<LifecycleHook, "name" | "transition"> & Partial<LifecycleHook>;

/** One hook's action for one member. */
export interface HookAction {
  readonly hook: LifecycleHook;
  readonly token: string;
  /** Heartbeats move it, though never beyond `limit`. */
  deadline: number;
  readonly limit: number;
  result: HookResult | undefined;
  /** Nobody completed it in time. */
  timedOut: boolean;
}

export function hookOf(request: HookRequest): LifecycleHook {
  return { heartbeatTimeout: 3600, defaultResult: "ABANDON", ...request };
}

export function hooksFor(group: Group, transition: LifecycleHook["transition"]): LifecycleHook[] {
  return [...group.lifecycleHooks.values()].filter((hook) => hook.transition === transition);
}

/** From `X` to `X:Wait`. */
export function waitForHooks(
  service: Service,
  group: Group,
  member: Member,
  transition: LifecycleHook["transition"],
  now: number,
): void {
  member.actions = openActions(service, group, transition, now);
  member.lifecycleState = waiting[member.lifecycleState] ?? member.lifecycleState;
  member.until = nextDeadline(member.actions);
  const isEnding = member.terminationActivity !== undefined;
  const activity = isEnding ? member.terminationActivity : member.launchActivity;
  if (activity !== undefined && activity.endTime === undefined) activity.statusCode = "MidLifecycleAction";
}

const waiting: Readonly<Partial<Record<LifecycleState, LifecycleState>>> = {
  Pending: "Pending:Wait",
  RootVolumeReplaced: "Pending:Wait",
  Terminating: "Terminating:Wait",
  ReplacingRootVolume: "ReplacingRootVolume:Wait",
  "Warmed:Pending": "Warmed:Pending:Wait",
  "Warmed:Terminating": "Warmed:Terminating:Wait",
};

const proceeding: Readonly<Partial<Record<LifecycleState, LifecycleState>>> = {
  "Pending:Wait": "Pending:Proceed",
  "Terminating:Wait": "Terminating:Proceed",
  "ReplacingRootVolume:Wait": "ReplacingRootVolume:Proceed",
  "Warmed:Pending:Wait": "Warmed:Pending:Proceed",
  "Warmed:Terminating:Wait": "Warmed:Terminating:Proceed",
};

/** From `X:Wait` to `X:Proceed`, for so many milliseconds. */
export function proceed(member: Member, now: number, duration: number): void {
  member.actions = [];
  member.lifecycleState = proceeding[member.lifecycleState] ?? member.lifecycleState;
  member.until = now + duration;
}

function openActions(
  service: Service,
  group: Group,
  transition: LifecycleHook["transition"],
  now: number,
): HookAction[] {
  return hooksFor(group, transition).map((hook) => ({
    hook,
    token: newId(service),
    deadline: now + hook.heartbeatTimeout * 1000,
    limit: now + globalTimeout(hook) * 1000,
    result: undefined,
    timedOut: false,
  }));
}

/** API reference, LifecycleHook: GlobalTimeout is 48 hours or 100 heartbeats, whichever is less. */
export function globalTimeout(hook: LifecycleHook): number {
  return Math.min(172_800, 100 * hook.heartbeatTimeout);
}

/** What became of a member's wait: over with CONTINUE from all hooks, over with one ABANDON, or not over. */
export function settleActions(member: Member, now: number): "complete" | HookAction | undefined {
  expireActions(member.actions, now);
  const abandoned = member.actions.find((action) => action.result === "ABANDON");
  if (abandoned !== undefined) return abandoned;
  if (member.actions.every((action) => action.result !== undefined)) return "complete";
  member.until = nextDeadline(member.actions);
  return undefined;
}

/** Gives actions that nobody completed in time their hook's default result. */
function expireActions(actions: readonly HookAction[], now: number): void {
  for (const action of actions) {
    if (action.result !== undefined || now < action.deadline) continue;
    action.result = action.hook.defaultResult;
    action.timedOut = true;
  }
}

function nextDeadline(actions: readonly HookAction[]): number {
  return Math.min(
    ...actions.filter((action) => action.result === undefined).map((action) => action.deadline),
  );
}

/** User guide, Tutorial: Configure user data to retrieve the target lifecycle state; CodeDeploy: Troubleshoot Auto Scaling. */
export function abandonMessage(action: HookAction): string {
  const why = action.timedOut ? "Heartbeat Timeout" : "Lifecycle Action Completed with ABANDON Result";
  return `Instance failed to complete user's Lifecycle Action: Lifecycle Action with token ${action.token} was abandoned: ${why}`;
}
