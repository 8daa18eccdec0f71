import { groupName, integer, invalid, oneOf } from "./constraints.ts";
import { globalTimeout, hookOf } from "./hooks.ts";
import { requireGroup } from "./service.ts";
import type { Call, Operations, Query } from "../query.ts";
import type { Group } from "./group.ts";
import type { HookAction, HookRequest, HookResult, LifecycleHook } from "./hooks.ts";
import type { Member } from "./member.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";

const wireNames = {
  "autoscaling:EC2_INSTANCE_LAUNCHING": "launching",
  "autoscaling:EC2_INSTANCE_TERMINATING": "terminating",
} as const;
const transitions = ["autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"] as const;
const results = ["CONTINUE", "ABANDON"] as const;

export function hookOperations(service: Service, timeline: Timeline): Operations {
  const find = (call: Call): Group => requireGroup(service, call, groupName(call.query));
  return {
    PutLifecycleHook: (call) => {
      const group = find(call);
      const name = call.query.required("LifecycleHookName");
      const hook = readHook(call.query, group.lifecycleHooks.get(name));
      group.lifecycleHooks.set(hook.name, hook);
      return {};
    },
    DeleteLifecycleHook: (call) => {
      find(call).lifecycleHooks.delete(call.query.required("LifecycleHookName"));
      return {};
    },
    DescribeLifecycleHooks: (call) => {
      const group = find(call);
      const names = call.query.strings("LifecycleHookNames");
      const hooks = [...group.lifecycleHooks.values()].filter(
        (hook) => names.length === 0 || names.includes(hook.name),
      );
      return { LifecycleHooks: { member: hooks.map((hook) => hookOnWire(group.name, hook)) } };
    },
    CompleteLifecycleAction: (call) => {
      const now = service.clock.now();
      const group = find(call);
      const result = oneOf(call.query, "LifecycleActionResult", results);
      if (result === undefined) throw invalid("LifecycleActionResult must not be null");
      completeAction(findAction(group, call.query), result, now);
      timeline.settle(group);
      return {};
    },
    RecordLifecycleActionHeartbeat: (call) => {
      const now = service.clock.now();
      const group = find(call);
      const { action, member } = findAction(group, call.query);
      action.deadline = Math.min(now + action.hook.heartbeatTimeout * 1000, action.limit);
      member.until = now;
      timeline.settle(group);
      return {};
    },
  };
}

/** Ranges and defaults of the API reference, PutLifecycleHook; what is absent stays as it was. */
export function readHook(query: Query, known?: LifecycleHook): LifecycleHook {
  const transition = oneOf(query, "LifecycleTransition", transitions);
  if (transition === undefined && known === undefined)
    throw invalid("LifecycleTransition is required for a new lifecycle hook.");
  const request: HookRequest = {
    name: query.required("LifecycleHookName"),
    transition: transition === undefined ? (known?.transition ?? "launching") : wireNames[transition],
    heartbeatTimeout: integer(query, "HeartbeatTimeout", 30, 7200) ?? known?.heartbeatTimeout ?? 3600,
    defaultResult: oneOf(query, "DefaultResult", results) ?? known?.defaultResult ?? "ABANDON",
    notificationTargetArn: query.string("NotificationTargetARN") ?? known?.notificationTargetArn,
    notificationMetadata: query.string("NotificationMetadata") ?? known?.notificationMetadata,
    roleArn: query.string("RoleARN") ?? known?.roleArn,
  };
  return hookOf(request);
}

function hookOnWire(groupName: string, hook: LifecycleHook): Record<string, unknown> {
  return {
    LifecycleHookName: hook.name,
    AutoScalingGroupName: groupName,
    LifecycleTransition: transitions.find((transition) => wireNames[transition] === hook.transition),
    NotificationTargetARN: hook.notificationTargetArn,
    NotificationMetadata: hook.notificationMetadata,
    RoleARN: hook.roleArn,
    HeartbeatTimeout: hook.heartbeatTimeout,
    GlobalTimeout: globalTimeout(hook),
    DefaultResult: hook.defaultResult,
  };
}

interface Found {
  readonly member: Member;
  readonly action: HookAction;
}

/** By token, or by instance id (API reference, CompleteLifecycleAction). */
function findAction(group: Group, query: Query): Found {
  const token = query.string("LifecycleActionToken");
  const instanceId = query.string("InstanceId");
  const hookName = query.required("LifecycleHookName");
  const found = waitingMembers(group)
    .flatMap((member) => member.actions.map((action) => ({ member, action })))
    .filter(({ action }) => action.hook.name === hookName && action.result === undefined)
    .find(({ member, action }) =>
      token === undefined ? member.instanceId === instanceId : action.token === token,
    );
  if (found !== undefined) return found;
  // The text for a token as the issue spacelift-io/terraform-aws-spacelift-workerpool-on-ec2#197 quotes it.
  throw invalid(
    token === undefined
      ? `No active Lifecycle Action found with instance ID ${instanceId}`
      : `No active Lifecycle Action found with token ${token}`,
  );
}

function waitingMembers(group: Group): Member[] {
  return [...group.members, ...group.warm].filter((member) => member.actions.length > 0);
}

/** For tests: completes a hook's action for one instance, or for all that wait for it. */
export function completeHook(
  group: Group,
  hookName: string,
  result: HookResult,
  instanceId: string | undefined,
  now: number,
): void {
  const waiting = waitingMembers(group)
    .filter((member) => instanceId === undefined || member.instanceId === instanceId)
    .flatMap((member) => member.actions.map((action) => ({ member, action })))
    .filter(({ action }) => action.hook.name === hookName && action.result === undefined);
  if (waiting.length === 0) throw invalid(`Nothing waits for the lifecycle hook ${hookName}.`);
  for (const found of waiting) completeAction(found, result, now);
}

function completeAction({ member, action }: Found, result: HookResult, now: number): void {
  action.result = result;
  member.until = now;
}
