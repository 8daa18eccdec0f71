import { describe, expect, test } from "vitest";
import { minute, refusal, second, setStage } from "./autoscaling-stage.ts";

interface ShownActivity {
  readonly Description: string;
  readonly Cause: string;
  readonly StatusCode: string;
  readonly StatusMessage?: string;
}

const shown = (stage: ReturnType<typeof setStage>, filters: readonly (readonly [string, string])[] = []) => {
  const fields = filters.flatMap(([name, value], index) => [
    [`Filters.member.${index + 1}.Name`, name],
    [`Filters.member.${index + 1}.Values.member.1`, value],
  ]);
  const answer = stage.call(
    "DescribeScalingActivities",
    Object.fromEntries(fields) as Record<string, string>,
  );
  return (answer["Activities"] as { member: ShownActivity[] }).member;
};

describe("the activities of a member that is replaced", () => {
  test.each([
    { source: "ELB", cause: "an ELB system health check failure" },
    { source: "EC2", cause: "an EC2 instance status checks failure" },
  ] as const)("because of its $source health", ({ source, cause }) => {
    const stage = setStage({ desired: 1, healthCheckType: "ELB" });
    stage.world.setHealth({ "i-00000000000000001": { source, unhealthyAt: stage.clock.now() + minute } });
    stage.clock.advance(minute);
    expect(shown(stage).map((activity) => [activity.Description, activity.Cause])).toStrictEqual([
      [
        "Launching a new EC2 instance: i-00000000000000002",
        "At 2026-01-01T00:01:00.000Z an instance was launched in response to an unhealthy instance needing to be replaced.",
      ],
      [
        "Terminating EC2 instance: i-00000000000000001",
        `At 2026-01-01T00:01:00.000Z an instance was taken out of service in response to ${cause}.`,
      ],
    ]);
  });

  test("because somebody said that it is unhealthy", () => {
    const stage = setStage({ desired: 1 });
    stage.call("SetInstanceHealth", { InstanceId: "i-00000000000000001", HealthStatus: "Unhealthy" });
    expect(shown(stage).at(-1)?.Cause).toMatch(/taken out of service in response to a user health-check\.$/);
    stage.clock.advance(minute);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 2 });
    expect(shown(stage)[0]?.Cause).toMatch(/a difference between desired and actual capacity, increasing/);
  });
});

describe("the filters of DescribeScalingActivities", () => {
  test("are combined: what failed since a time", () => {
    const stage = setStage({ desired: 0 });
    stage.world.setHealth({ "ami-old": { launchFailure: "Client.InternalError: Client error on launch." } });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(2 * minute);
    const failed = shown(stage, [["Status", "Failed"]]);
    expect(failed).toHaveLength(2);
    expect(failed[0]).toMatchObject({
      Description:
        "Launching a new EC2 instance.  Status Reason: Client.InternalError: Client error on launch. Launching EC2 instance failed.",
      StatusMessage: "Client.InternalError: Client error on launch. Launching EC2 instance failed.",
    });
    const since = ["StartTimeLowerBound", "2026-01-01T00:01:00Z"] as const;
    expect(shown(stage, [["Status", "Failed"], since])).toHaveLength(1);
    expect(shown(stage, [["StartTimeUpperBound", "2026-01-01T00:01:00Z"]])).toHaveLength(1);
    expect(shown(stage, [["Status", "Cancelled"], since])).toStrictEqual([]);
    expect(refusal(() => shown(stage, [["Colour", "red"]]))).toMatch(/Filter type Colour is not correct/);
    stage.clock.advance(second);
  });
});
