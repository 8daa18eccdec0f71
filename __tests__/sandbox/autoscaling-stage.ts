import { createAutoScalingWorld } from "../../sandbox/aws/autoscaling/world.ts";
import { AwsError, Query } from "../../sandbox/aws/query.ts";
import { createClock } from "../../sandbox/clock.ts";
import type { AutoScalingOptions, GroupRequest } from "../../sandbox/aws/autoscaling/world.ts";
import { SmallFleet } from "./small-fleet.ts";

export const place = { region: "eu-west-1", accountId: "111111111111" };
export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;

interface Progress {
  readonly PercentageComplete: number;
  readonly InstancesToUpdate: number;
}

/** What a refresh looks like on the wire, as far as these tests read it. */
export interface Shown {
  readonly InstanceRefreshId: string;
  readonly Status: string;
  readonly StatusReason?: string;
  readonly StartTime?: string;
  readonly EndTime?: string;
  readonly PercentageComplete?: number;
  readonly InstancesToUpdate?: number;
  readonly Preferences: Readonly<Record<string, unknown>>;
  readonly ProgressDetails?: {
    readonly LivePoolProgress: Progress;
    readonly WarmPoolProgress: Progress;
  };
  readonly RollbackDetails?: Readonly<Record<string, unknown>>;
}

/** A group `web` on version 1 of template `web` (image `ami-old`); version 2 has `ami-new`. Time is stepped. */
export function setStage(
  group: Partial<GroupRequest> & { readonly settled?: boolean } = {},
  options: Partial<AutoScalingOptions> = {},
  /** What the group needs to be there before it. */
  prepare: (fleet: SmallFleet) => void = () => {},
) {
  const clock = createClock({ start: new Date("2026-01-01T00:00:00Z") });
  const fleet = new SmallFleet();
  fleet.addImage("ami-old");
  fleet.addImage("ami-new");
  fleet.addVersion("web", "ami-old");
  fleet.addVersion("web", "ami-new");
  prepare(fleet);
  const world = createAutoScalingWorld({ clock, fleet, options });
  world.addGroup({
    ...place,
    name: "web",
    min: 0,
    max: 200,
    launchTemplate: { launchTemplateName: "web", version: "1" },
    ...group,
  });
  const began = clock.now();

  const call = (action: string, parameters: Readonly<Record<string, string | number | boolean>> = {}) => {
    const fields = Object.entries(parameters).map(([key, value]) => [key, String(value)] as const);
    const operation = world.operations[action];
    if (operation === undefined) throw new Error(`No operation ${action}`);
    return operation({
      ...place,
      requestId: "test",
      query: new Query([["AutoScalingGroupName", "web"], ...fields]),
    });
  };
  /** Starts a refresh to version 2 with these preferences, unless `desired` says otherwise. */
  const start = (
    preferences: Readonly<Record<string, string | number | boolean>> = {},
    desired: Readonly<Record<string, string>> | undefined = {
      "LaunchTemplate.LaunchTemplateName": "web",
      "LaunchTemplate.Version": "2",
    },
  ): string =>
    String(
      call("StartInstanceRefresh", {
        ...prefixed("Preferences.", preferences),
        ...prefixed("DesiredConfiguration.", desired),
      })["InstanceRefreshId"],
    );
  const refreshes = () =>
    (call("DescribeInstanceRefreshes")["InstanceRefreshes"] as { member: Shown[] }).member;
  /** The newest refresh, whatever the order of the answer. */
  const refresh = (): Shown => {
    const id = world.refreshes("web").at(-1)?.id;
    const newest = refreshes().find((shown) => shown.InstanceRefreshId === id);
    if (newest === undefined) throw new Error("No refresh was started");
    return newest;
  };
  const members = () => world.group("web").members;
  return {
    clock,
    fleet,
    world,
    call,
    start,
    refresh,
    refreshes,
    members,
    /** Sandbox seconds since the start of the story. */
    seconds: () => (clock.now() - began) / second,
    runTo: (...statuses: string[]) => clock.runUntil(() => statuses.includes(refresh().Status)),
    /** Versions of the members that are not on their way out. */
    versions: () =>
      members()
        .filter((member) => member.lifecycleState !== "Terminating")
        .map((member) => member.launchTemplate?.version),
    failedActivities: () =>
      world.group("web").activities.filter((activity) => activity.statusCode === "Failed"),
    checkpoints: () =>
      world.events
        .filter((event) => event.detailType.endsWith("Checkpoint Reached"))
        .map((event) => [(event.time - began) / second, event.detail["CheckpointPercentage"]]),
  };
}

function prefixed(prefix: string, values: Readonly<Record<string, string | number | boolean>> | undefined) {
  return Object.fromEntries(Object.entries(values ?? {}).map(([key, value]) => [prefix + key, value]));
}

/** The error code and message of a refused call. */
export function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof AwsError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error("The call was not refused");
}
