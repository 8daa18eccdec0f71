import { describe, expect, test } from "vitest";
import { minute, place, refusal, second, setStage } from "./autoscaling-stage.ts";

const autoRollbackText =
  "The request isn't valid. The AutoRollback parameter cannot be set to true when the DesiredConfiguration parameter is empty. Set AutoRollback to false or specify a desired configuration and try again.";

describe("StartInstanceRefresh refuses", () => {
  const violation = (value: number, name: string, relation: string, limit: number) =>
    `ValidationError: 1 validation error detected: Value '${value}' at '${name}' failed to satisfy constraint: Member must have value ${relation} than or equal to ${limit}`;

  test.each<[Record<string, string | number | boolean>, string]>([
    [{ MinHealthyPercentage: 900 }, violation(900, "minHealthyPercentage", "less", 100)],
    [{ MinHealthyPercentage: -1 }, violation(-1, "minHealthyPercentage", "greater", 0)],
    [
      { MinHealthyPercentage: 100, MaxHealthyPercentage: 99 },
      violation(99, "maxHealthyPercentage", "greater", 100),
    ],
    [
      { MinHealthyPercentage: 100, MaxHealthyPercentage: 201 },
      violation(201, "maxHealthyPercentage", "less", 200),
    ],
    [{ InstanceWarmup: -1 }, violation(-1, "instanceWarmup", "greater", 0)],
    [{ BakeTime: 172_801 }, violation(172_801, "bakeTime", "less", 172_800)],
    [{ "CheckpointPercentages.member.1": 0 }, violation(0, "checkpointPercentages", "greater", 1)],
    [
      { "CheckpointPercentages.member.1": 50, CheckpointDelay: 172_801 },
      violation(172_801, "checkpointDelay", "less", 172_800),
    ],
    [
      { MaxHealthyPercentage: 150 },
      "ValidationError: You must specify MinHealthyPercentage when you specify MaxHealthyPercentage.",
    ],
    [
      { MinHealthyPercentage: 50, MaxHealthyPercentage: 151 },
      "ValidationError: The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.",
    ],
    [
      { CheckpointDelay: 60 },
      "ValidationError: You must specify CheckpointPercentages when you specify CheckpointDelay.",
    ],
    [
      { "CheckpointPercentages.member.1": 50, "CheckpointPercentages.member.2": 50 },
      "ValidationError: The checkpoint percentages must be unique and in ascending order.",
    ],
    [
      { StandbyInstances: "Refresh" },
      "ValidationError: 1 validation error detected: Value 'Refresh' at 'standbyInstances' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, Ignore, Wait]",
    ],
    [{ "AlarmSpecification.Alarms.member.1": "nobody" }, "ValidationError: The alarm nobody does not exist."],
  ])("%o", (preferences, error) => {
    const stage = setStage({ desired: 1 });
    expect(refusal(() => stage.start(preferences))).toBe(error);
    expect(stage.refreshes()).toStrictEqual([]);
  });

  test("another one while one is active", () => {
    const stage = setStage({ desired: 1 });
    stage.start();
    expect(refusal(() => stage.start())).toBe(
      "InstanceRefreshInProgress: An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
    );
  });

  test("a group that does not exist", () => {
    const stage = setStage();
    expect(refusal(() => stage.call("StartInstanceRefresh", { AutoScalingGroupName: "other" }))).toMatch(
      /^ValidationError: AutoScalingGroup name not found/,
    );
  });

  test("AutoRollback without a desired configuration, or from a version that is not a number", () => {
    const plain = setStage({ desired: 1 });
    expect(refusal(() => plain.start({ AutoRollback: true }, {}))).toBe(
      `ValidationError: ${autoRollbackText}`,
    );
    for (const version of ["$Latest", "$Default", undefined]) {
      const floating = setStage({ desired: 1, launchTemplate: { launchTemplateName: "web", version } });
      expect(refusal(() => floating.start({ AutoRollback: true }))).toMatch(
        /^ValidationError: The AutoRollback parameter/,
      );
    }
  });

  test("an image that is not available", () => {
    const stage = setStage({ desired: 1 });
    stage.fleet.addImage("ami-new", "pending");
    expect(refusal(() => stage.start())).toBe("ValidationError: The AMI 'ami-new' is pending.");
    stage.fleet.images.delete("ami-new");
    expect(refusal(() => stage.start())).toBe(
      "ValidationError: You must use a valid fully-formed launch template. The image id '[ami-new]' does not exist",
    );
    expect(
      refusal(() =>
        stage.start({}, { "LaunchTemplate.LaunchTemplateName": "web", "LaunchTemplate.Version": "9" }),
      ),
    ).toBe("ValidationError: You must use a valid fully-formed launch template. No version 9 of web.");
    stage.fleet.addImage("ami-new");
    stage.start();
    expect(stage.refresh().Status).toBe("Pending");
  });

  test.each([
    { what: "a desired configuration", preferences: {}, desired: undefined },
    { what: "SkipMatching", preferences: { SkipMatching: true }, desired: {} },
  ])("$what where the saved template has an SSM parameter for its image", ({ preferences, desired }) => {
    const aliased = setStage();
    aliased.fleet.addImage("resolve:ssm:/image");
    aliased.fleet.addVersion("web", "resolve:ssm:/image");
    aliased.call("UpdateAutoScalingGroup", {
      "LaunchTemplate.LaunchTemplateName": "web",
      "LaunchTemplate.Version": "3",
    });
    expect(refusal(() => aliased.start(preferences, desired))).toMatch(/SSM parameter instead of an AMI ID/);
    expect(aliased.start({}, {})).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("DescribeInstanceRefreshes", () => {
  test.each([
    { describeOrder: "creation", order: [3, 2, 1] },
    { describeOrder: "start", order: [2, 1, 3] },
  ] as const)("in the order of $describeOrder shows one that has not started", ({ order, ...options }) => {
    const stage = setStage({ desired: 0 }, options);
    const ids = [1, 2, 3].map((number) => {
      const id = stage.start();
      if (number < 3) stage.runTo("Successful");
      return id;
    });
    expect(stage.refreshes().map((refresh) => ids.indexOf(refresh.InstanceRefreshId) + 1)).toStrictEqual(
      order,
    );
  });

  test("fills defaults in, selects by id and pages", () => {
    const stage = setStage({ desired: 0, defaultInstanceWarmup: 45, healthCheckGracePeriod: 90 });
    const first = stage.start();
    stage.runTo("Successful");
    stage.start();
    expect(stage.refresh().Preferences).toStrictEqual({
      MinHealthyPercentage: 90,
      MaxHealthyPercentage: undefined,
      InstanceWarmup: 45,
      CheckpointPercentages: undefined,
      CheckpointDelay: undefined,
      SkipMatching: false,
      AutoRollback: false,
      ScaleInProtectedInstances: "Wait",
      StandbyInstances: "Wait",
      AlarmSpecification: undefined,
      BakeTime: 0,
    });
    const byId = stage.call("DescribeInstanceRefreshes", { "InstanceRefreshIds.member.1": first });
    expect(byId["InstanceRefreshes"]).toMatchObject({
      member: [{ InstanceRefreshId: first, Status: "Successful" }],
    });
    const page = stage.call("DescribeInstanceRefreshes", { MaxRecords: 1 });
    const next = stage.call("DescribeInstanceRefreshes", {
      MaxRecords: 1,
      NextToken: String(page["NextToken"]),
    });
    expect(next["InstanceRefreshes"]).toMatchObject({ member: [{ InstanceRefreshId: first }] });
    expect(next["NextToken"]).toBeUndefined();
    expect(refusal(() => stage.call("DescribeInstanceRefreshes", { NextToken: "x" }))).toMatch(
      /^InvalidNextToken: /,
    );
  });
});

describe("groups", () => {
  test("that do not exist are an empty list", () => {
    const stage = setStage();
    const answer = stage.call("DescribeAutoScalingGroups", { "AutoScalingGroupNames.member.1": "other" });
    expect(answer).toStrictEqual({ AutoScalingGroups: { member: [] }, NextToken: undefined });
  });

  test("are found by tag, without instances when told so, in their own region and account", () => {
    const stage = setStage({ desired: 1, tags: { app: "web" } });
    const filter = { "Filters.member.1.Name": "tag:app", "Filters.member.1.Values.member.1": "web" };
    const found = stage.call("DescribeAutoScalingGroups", { ...filter, IncludeInstances: false });
    expect(found["AutoScalingGroups"]).toMatchObject({
      member: [{ AutoScalingGroupName: "web", DesiredCapacity: 1, HealthCheckType: "EC2" }],
    });
    expect(JSON.stringify(found)).not.toContain("InstanceId");
    const other = stage.call("DescribeAutoScalingGroups", {
      ...filter,
      "Filters.member.1.Values.member.1": "db",
    });
    expect(other["AutoScalingGroups"]).toStrictEqual({ member: [] });
    expect(stage.fleet.launches[0]?.tags).toStrictEqual({ app: "web", "aws:autoscaling:groupName": "web" });
    stage.world.addGroup({
      ...place,
      region: "us-east-1",
      name: "web",
      launchTemplate: { launchTemplateName: "web", version: "1" },
    });
    expect(stage.call("DescribeAutoScalingGroups")["AutoScalingGroups"]).toMatchObject({
      member: [{ AutoScalingGroupName: "web" }],
    });
    expect(stage.world.group({ ...place, region: "us-east-1", name: "web" }).members).toStrictEqual([]);
  });

  test("show each instance with the version it was launched from", () => {
    const stage = setStage({ desired: 1, launchTemplate: { launchTemplateName: "web", version: "$Latest" } });
    const answer = stage.call("DescribeAutoScalingGroups");
    expect(answer["AutoScalingGroups"]).toMatchObject({
      member: [
        {
          LaunchTemplate: { LaunchTemplateId: "lt-web", LaunchTemplateName: "web", Version: "$Latest" },
          Instances: {
            member: [
              {
                InstanceId: "i-00000000000000001",
                LifecycleState: "InService",
                HealthStatus: "Healthy",
                LaunchTemplate: { LaunchTemplateId: "lt-web", Version: "2" },
                ProtectedFromScaleIn: false,
                AvailabilityZone: "eu-west-1a",
              },
            ],
          },
        },
      ],
    });
  });

  test("are created, filled, and deleted by force only while they have instances", () => {
    const stage = setStage();
    const named = { AutoScalingGroupName: "new" };
    stage.call("CreateAutoScalingGroup", {
      ...named,
      MinSize: 2,
      MaxSize: 4,
      "LaunchTemplate.LaunchTemplateName": "web",
      "LaunchTemplate.Version": "$Latest",
      "AvailabilityZones.member.1": "eu-west-1a",
      "AvailabilityZones.member.2": "eu-west-1c",
    });
    const { members } = stage.world.group("new");
    expect(members.map((member) => [member.availabilityZone, member.lifecycleState])).toStrictEqual([
      ["eu-west-1a", "Pending"],
      ["eu-west-1c", "Pending"],
    ]);
    stage.clock.advance(30 * second);
    expect(members.map((member) => member.lifecycleState)).toStrictEqual(["InService", "InService"]);
    expect(refusal(() => stage.call("DeleteAutoScalingGroup", named))).toMatch(/^ResourceInUse: /);
    stage.call("DeleteAutoScalingGroup", { ...named, ForceDelete: true });
    stage.clock.advance(20 * second);
    expect(() => stage.world.group("new")).toThrow("0 groups");
    expect(stage.fleet.terminated).toStrictEqual(["i-00000000000000001", "i-00000000000000002"]);
  });

  test("replace an instance that fails its health checks after the grace period", () => {
    const stage = setStage({ desired: 1, healthCheckType: "ELB", healthCheckGracePeriod: 60 });
    stage.world.setHealth({ "i-00000000000000001": { unhealthyAt: stage.clock.now() + minute } });
    stage.clock.advance(minute - 1);
    expect(stage.members()).toHaveLength(1);
    stage.clock.advance(1);
    expect(stage.members().map((member) => [member.lifecycleState, member.healthStatus])).toStrictEqual([
      ["Terminating", "Unhealthy"],
      ["Pending", "Healthy"],
    ]);
  });

  test("scale in by the oldest version first and spare what is protected", () => {
    const stage = setStage({ desired: 2 });
    stage.call("UpdateAutoScalingGroup", {
      "LaunchTemplate.LaunchTemplateName": "web",
      "LaunchTemplate.Version": "2",
      DesiredCapacity: 4,
    });
    stage.clock.advance(minute);
    const [first = "", second = ""] = stage.members().map((member) => member.instanceId);
    stage.call("SetInstanceProtection", { "InstanceIds.member.1": first, ProtectedFromScaleIn: true });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 2 });
    expect(stage.versions()).toStrictEqual(["1", "2"]);
    expect(stage.fleet.terminated).toContain(second);
  });

  test("move instances to standby and back", () => {
    const stage = setStage({ desired: 2 });
    const one = { "InstanceIds.member.1": stage.members()[0]?.instanceId ?? "" };
    stage.call("EnterStandby", { ...one, ShouldDecrementDesiredCapacity: true });
    expect(stage.world.group("web").settings.desiredCapacity).toBe(1);
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual(["Standby", "InService"]);
    stage.call("ExitStandby", one);
    stage.clock.advance(minute);
    expect(stage.world.group("web").settings.desiredCapacity).toBe(2);
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual(["InService", "InService"]);
  });

  test("use their launch configuration", () => {
    const stage = setStage();
    stage.world.addLaunchConfiguration(place, {
      launchConfigurationName: "legacy",
      imageId: "ami-old",
      instanceType: "t2.micro",
    });
    const group = stage.world.addGroup({
      ...place,
      name: "legacy",
      desired: 1,
      launchConfigurationName: "legacy",
    });
    stage.call("StartInstanceRefresh", {
      AutoScalingGroupName: "legacy",
      "DesiredConfiguration.LaunchTemplate.LaunchTemplateName": "web",
      "DesiredConfiguration.LaunchTemplate.Version": "2",
    });
    expect(group.members.map((member) => member.launchConfigurationName)).toStrictEqual(["legacy"]);
    stage.clock.runUntil(() => stage.world.refreshes("legacy")[0]?.status === "Successful");
    expect(group.configuration.launchConfigurationName).toBeUndefined();
    expect(group.members.map((member) => member.launchTemplate?.version)).toStrictEqual(["2"]);
  });
});

describe("scaling activities", () => {
  test("tell of each launch and termination, newest first, running ones before all others", () => {
    const stage = setStage({ desired: 1, defaultInstanceWarmup: 60 });
    stage.start({ MinHealthyPercentage: 100, MaxHealthyPercentage: 200 });
    const shown = () =>
      (
        stage.call("DescribeScalingActivities")["Activities"] as { member: Record<string, unknown>[] }
      ).member.map((activity) => [activity["Description"], activity["StatusCode"], activity["Progress"]]);
    stage.clock.advance(2 * second);
    const launch = "Launching a new EC2 instance: i-00000000000000002";
    expect(shown()).toStrictEqual([[launch, "PreInService", 30]]);
    stage.clock.advance(30 * second);
    expect(shown()).toStrictEqual([[launch, "WaitingForInstanceWarmup", 30]]);
    stage.clock.advance(60 * second);
    const termination = "Terminating EC2 instance: i-00000000000000001";
    expect(shown()).toStrictEqual([
      [termination, "InProgress", 0],
      [launch, "Successful", 100],
    ]);
    stage.runTo("Successful");
    expect(shown()[0]).toStrictEqual([termination, "Successful", 100]);
    const since = {
      "Filters.member.1.Name": "StartTimeLowerBound",
      "Filters.member.1.Values.member.1": "2026-01-01T00:01:00Z",
    };
    expect(stage.call("DescribeScalingActivities", since)["Activities"]).toMatchObject({
      member: [{ Description: termination, AutoScalingGroupName: "web" }],
    });
  });

  test("cut long messages to 255 characters", () => {
    const stage = setStage({ desired: 0 });
    stage.world.setHealth({ "ami-old": { launchFailure: `Client.InternalError: ${"x".repeat(300)}` } });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(30 * second);
    const [failed] = stage.failedActivities();
    expect(failed?.statusMessage).toHaveLength(255);
    expect(failed?.statusMessage).toMatch(/^Client\.InternalError: x+$/);
    expect(stage.members()).toStrictEqual([]);
    stage.world.setHealth({});
    stage.clock.advance(2 * minute);
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual(["InService"]);
  });
});
