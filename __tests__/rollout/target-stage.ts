import type { InstanceRefresh } from "@aws-sdk/client-auto-scaling";
import { expect } from "vitest";
import { KilnError, RolloutError } from "../../src/domain/errors.ts";
import type { RolloutTools } from "../../src/rollout/follow.ts";
import { configurationWith, releaseVersions } from "../../src/rollout/launch-template.ts";
import type { TargetRollout } from "../../src/rollout/rollout.ts";
import { rollOutTargets, type TargetsOptions } from "../../src/rollout/targets.ts";
import { KeptLog, VirtualClock } from "../image/programs.ts";
import { clientsOf, type FakeGroup } from "./fake-auto-scaling.ts";
import { instance, targetState } from "./states.ts";

export const IMAGE = "ami-0bbbbbbbbbbbbbbbb";
export const SAVED = { LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "7" } };
export const RELEASE = { LaunchTemplate: { LaunchTemplateId: "lt-1", Version: "8" } };

/** A group's part of the release: from version 7 to version 8. */
export function rolloutOf(
  group: FakeGroup,
  changes: Partial<TargetRollout> = {},
  seen?: InstanceRefresh,
): TargetRollout {
  const state = targetState({
    activeRefresh: seen,
    target: { region: group.region, autoScalingGroup: group.name },
    capacity: { min: 1, max: 4, desired: group.instances.length },
    instances: group.instances.map(({ id }) => instance({ id })),
  });
  const versions = releaseVersions([[state.template, { id: "lt-1", name: "web", version: "8" }]]);
  const preferences = {
    MinHealthyPercentage: 100,
    MaxHealthyPercentage: 150,
    InstanceWarmup: 60,
    SkipMatching: false,
    AutoRollback: true,
    ScaleInProtectedInstances: "Refresh",
    StandbyInstances: "Ignore",
    CheckpointPercentages: [50, 100],
    CheckpointDelay: 60,
    BakeTime: 300,
    AlarmSpecification: { Alarms: ["web-5xx"] },
  } as const;
  return {
    kind: "refresh",
    state,
    versions,
    configuration: configurationWith(state, versions.choose),
    imageId: IMAGE,
    preferences: {
      ...preferences,
      CheckpointPercentages: [...preferences.CheckpointPercentages],
      AlarmSpecification: { Alarms: ["web-5xx"] },
    },
    strategy: "Rolling",
    pace: { capacity: group.instances.length, warmup: 60, preferences: {}, image: IMAGE },
    maxFailures: 3,
    check: undefined,
    mayGoBack: true,
    onStarting: () => {},
    onStarted: () => {},
    refreshes: () => [],
    ...changes,
  };
}

/** A run over these groups, its ends kept by target. */
export function stage(
  groups: readonly FakeGroup[],
  {
    changes = {},
    signal = new AbortController().signal,
    ...rest
  }: {
    readonly changes?: Partial<TargetRollout>;
    readonly signal?: AbortSignal;
    readonly beforeAnswer?: Parameters<typeof clientsOf>[1];
    readonly timeout?: number;
    /** Why each target's preparation fails. */
    readonly unprepared?: string;
    readonly confirmTurn?: RolloutTools["confirmTurn"];
    /** A refresh that was running when the targets were observed. */
    readonly seen?: InstanceRefresh;
  } = {},
) {
  const ends: string[] = [];
  const started: string[] = [];
  const log = new KeptLog();
  const clock = new VirtualClock();
  const tools: RolloutTools = {
    clients: clientsOf(groups, rest.beforeAnswer),
    clock,
    log,
    signal,
    polling: { interval: 5000 },
    confirmTurn: rest.confirmTurn ?? (async () => undefined),
    timeout: rest.timeout ?? 3_600_000,
  };
  const rollouts = groups.map((group) =>
    rolloutOf(
      group,
      {
        onStarted: (id) => started.push(id),
        refreshes: () => started.filter((id) => id.startsWith(`${group.name}-`)),
        ...changes,
      },
      rest.seen,
    ),
  );
  const run = (order: TargetsOptions["order"] = "parallel") =>
    rollOutTargets(
      tools,
      rollouts.map((rollout) => ({
        target: rollout.state.target,
        prepare: async () => {
          if (rest.unprepared !== undefined) throw new KilnError(rest.unprepared);
          return rollout;
        },
      })),
      { order, onEnd: (target, end) => ends.push(`${target.autoScalingGroup} ${end}`) },
    );
  return { run, ends, started, log, clock };
}

/** The error that a run ends with. */
export async function failureOf(run: Promise<unknown>): Promise<RolloutError> {
  const error: unknown = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(RolloutError);
  return error as RolloutError;
}
