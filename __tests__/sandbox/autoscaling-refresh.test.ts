import { describe, expect, test } from "vitest";
import { hour, minute, place, refusal, second, setStage } from "./autoscaling-stage.ts";

const quick = { MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 };
const template = (version: string) => ({ launchTemplateId: "lt-web", launchTemplateName: "web", version });

describe("a refresh that goes well", () => {
  test("is Pending, then InProgress, then Successful, and saves the desired configuration", () => {
    const stage = setStage({ desired: 2 });
    stage.start(quick);
    const pending = stage.refresh();
    expect(pending.Status).toBe("Pending");
    expect([pending.StartTime, pending.PercentageComplete, pending.InstancesToUpdate]).toStrictEqual([
      undefined,
      undefined,
      undefined,
    ]);
    stage.clock.advance(2 * second);
    expect(stage.refresh()).toMatchObject({
      Status: "InProgress",
      StartTime: "2026-01-01T00:00:02.000Z",
      PercentageComplete: 0,
      InstancesToUpdate: 1,
    });
    stage.clock.advance(30 * second);
    expect(stage.refresh().StatusReason).toBe(
      "Waiting for instances to warm up before continuing. For example: i-00000000000000003 is warming up.",
    );
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
    stage.runTo("Successful");
    expect(stage.seconds()).toBe(202);
    expect(stage.refresh()).toMatchObject({
      PercentageComplete: 100,
      InstancesToUpdate: 0,
      EndTime: "2026-01-01T00:03:22.000Z",
    });
    expect(stage.refresh().StatusReason).toBeUndefined();
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("2") });
    expect(stage.versions()).toStrictEqual(["2", "2"]);
    expect(stage.fleet.terminated).toStrictEqual(["i-00000000000000001", "i-00000000000000002"]);
    expect(stage.world.events.map((event) => event.detailType.split(" ").at(-1))).toStrictEqual([
      "Started",
      "Succeeded",
    ]);
  });

  test("leaves nobody serving when one instance is refreshed with AWS's defaults", () => {
    const stage = setStage({ desired: 1 });
    stage.start();
    stage.clock.advance(2 * second);
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual(["Terminating", "Pending"]);
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["2"]);
  });

  test("bakes", () => {
    const stage = setStage({ desired: 1 });
    stage.start({ ...quick, BakeTime: 600 });
    stage.runTo("Baking");
    expect(stage.refresh()).toMatchObject({ PercentageComplete: 100, InstancesToUpdate: 0 });
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
    stage.clock.advance(599 * second);
    expect(stage.refresh().Status).toBe("Baking");
    stage.clock.advance(second);
    expect(stage.refresh().Status).toBe("Successful");
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("2") });
  });

  test("replaces without a desired configuration what runs already, and with skip matching nothing", () => {
    const plain = setStage({ desired: 2 });
    plain.start(quick, {});
    plain.runTo("Successful");
    expect([plain.fleet.launches.length, plain.versions()]).toStrictEqual([4, ["1", "1"]]);

    const skipping = setStage({ desired: 2 });
    skipping.start({ ...quick, SkipMatching: true }, {});
    skipping.clock.advance(2 * second);
    expect(skipping.refresh()).toMatchObject({
      Status: "Successful",
      PercentageComplete: 100,
      InstancesToUpdate: 0,
    });
    expect(skipping.fleet.launches).toHaveLength(2);
  });

  test.each([
    { skipMatchCountsAsUpdated: true, percentage: 50 },
    { skipMatchCountsAsUpdated: false, percentage: 0 },
  ])("skips instances that match: $skipMatchCountsAsUpdated", ({ percentage, ...options }) => {
    const stage = setStage({ desired: 4 }, options);
    stage.start({ MinHealthyPercentage: 50, InstanceWarmup: 60 });
    stage.clock.advance(minute);
    stage.call("CancelInstanceRefresh");
    stage.runTo("Cancelled");
    expect(stage.versions()).toStrictEqual(["1", "1", "2", "2"]);
    stage.clock.advance(minute);

    stage.start({ ...quick, SkipMatching: true });
    stage.clock.advance(2 * second);
    expect(stage.refresh().PercentageComplete).toBe(percentage);
    stage.runTo("Successful");
    expect(stage.fleet.launches).toHaveLength(8);
    expect(stage.refresh().PercentageComplete).toBe(100);
  });

  test("replaces again what `$Latest` no longer means", () => {
    const stage = setStage({ desired: 2 });
    stage.start(quick, { "LaunchTemplate.LaunchTemplateName": "web", "LaunchTemplate.Version": "$Latest" });
    stage.clock.advance(2 * minute);
    expect(stage.versions()).toContain("2");
    stage.fleet.addImage("ami-newer");
    stage.fleet.addVersion("web", "ami-newer");
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["3", "3"]);
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("$Latest") });
  });

  test("replaces a mixed instances policy by the plain template that it was given", () => {
    const policy = {
      launchTemplate: {
        launchTemplateSpecification: { launchTemplateName: "web", version: "1" },
        overrides: [{ instanceType: "m5.large" }, { instanceType: "m6i.large" }],
      },
      instancesDistribution: { OnDemandPercentageAboveBaseCapacity: "0" },
    };
    const mixed = {
      name: "mixed",
      min: 0,
      max: 4,
      desired: 2,
      mixedInstancesPolicy: policy,
      ...place,
    };
    const stage = setStage({});
    stage.world.addGroup(mixed);
    stage.world.addGroup({ ...mixed, name: "kept" });
    stage.call("StartInstanceRefresh", {
      AutoScalingGroupName: "mixed",
      "DesiredConfiguration.LaunchTemplate.LaunchTemplateName": "web",
      "DesiredConfiguration.LaunchTemplate.Version": "2",
    });
    const whole = "DesiredConfiguration.MixedInstancesPolicy.";
    stage.call("StartInstanceRefresh", {
      AutoScalingGroupName: "kept",
      [`${whole}LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateName`]: "web",
      [`${whole}LaunchTemplate.LaunchTemplateSpecification.Version`]: "2",
      [`${whole}LaunchTemplate.Overrides.member.1.InstanceType`]: "m5.large",
      [`${whole}InstancesDistribution.OnDemandPercentageAboveBaseCapacity`]: "0",
    });
    const isOver = (name: string) => stage.world.refreshes(name)[0]?.status === "Successful";
    stage.clock.runUntil(() => isOver("mixed") && isOver("kept"));
    expect(stage.world.group("mixed").configuration).toStrictEqual({ launchTemplate: template("2") });
    expect(stage.world.group("mixed").members.map((member) => member.instanceType)).toStrictEqual([
      "t3.micro",
      "t3.micro",
    ]);
    expect(stage.world.group("kept").configuration.mixedInstancesPolicy).toMatchObject({
      launchTemplate: {
        launchTemplateSpecification: template("2"),
        overrides: [{ instanceType: "m5.large" }],
      },
      instancesDistribution: { OnDemandPercentageAboveBaseCapacity: "0" },
    });
    expect(stage.world.group("kept").members.map((member) => member.instanceType)).toStrictEqual([
      "m5.large",
      "m5.large",
    ]);
  });

  test("fails on a group with attribute-based instance type selection", () => {
    const stage = setStage();
    const specification = { launchTemplateName: "web", version: "1" };
    stage.world.addGroup({
      ...place,
      name: "attributes",
      desired: 1,
      mixedInstancesPolicy: {
        launchTemplate: {
          launchTemplateSpecification: specification,
          overrides: [{ instanceRequirements: { "VCpuCount.Min": "2" } }],
        },
      },
    });
    stage.call("StartInstanceRefresh", {
      AutoScalingGroupName: "attributes",
      "Preferences.SkipMatching": true,
    });
    stage.clock.advance(2 * second);
    expect(stage.world.refreshes("attributes")[0]?.status).toBe("Failed");
  });
});

describe("checkpoints", () => {
  const at = (...percentages: number[]) =>
    Object.fromEntries(
      percentages.map((percentage, index) => [`CheckpointPercentages.member.${index + 1}`, percentage]),
    );

  test("follow the timeline of the user guide: ten instances, [20, 50], 15 minutes, minimum 80 %", () => {
    const stage = setStage({ desired: 10 }, { pending: 0, launch: 0, drain: 0 });
    stage.start({ MinHealthyPercentage: 80, InstanceWarmup: 600, CheckpointDelay: 900, ...at(20, 50) });
    stage.runTo("Successful");
    const launches = stage.world
      .group("web")
      .activities.filter((activity) => activity.description.startsWith("Launching"));
    const began = stage.world.refreshes("web")[0]?.createdAt ?? 0;
    expect(launches.map((activity) => (activity.startTime - began) / minute)).toStrictEqual([
      0, 0, 25, 25, 35,
    ]);
    expect(stage.seconds()).toBe(45 * 60);
    expect(stage.checkpoints()).toStrictEqual([
      [600, "20"],
      [2700, "50"],
    ]);
  });

  test("are skipped when a higher one is crossed at the same time", () => {
    const stage = setStage({ desired: 2 });
    stage.start({ ...quick, CheckpointDelay: 60, ...at(10, 40, 100) });
    stage.runTo("Successful");
    expect(stage.checkpoints()).toStrictEqual([[92, "40"]]);
    expect(stage.seconds()).toBe(92 + 60 + 90 + 20);
  });

  test("wait an hour by default", () => {
    const stage = setStage({ desired: 2 });
    stage.start({ ...quick, ...at(50, 100) });
    expect(stage.refresh().Preferences).toMatchObject({
      CheckpointPercentages: { member: [50, 100] },
      CheckpointDelay: 3600,
    });
    stage.clock.advance(92 * second + hour - 1);
    expect(stage.versions()).toStrictEqual(["1", "2"]);
    expect(stage.refresh()).toMatchObject({
      Status: "InProgress",
      PercentageComplete: 50,
      InstancesToUpdate: 1,
    });
    stage.clock.advance(1);
    expect(stage.versions()).toStrictEqual(["1", "2", "2"]);
  });

  test("repeat after the group has grown", () => {
    const stage = setStage({ desired: 4 });
    stage.start({ ...quick, CheckpointDelay: 600, ...at(50, 100) });
    stage.clock.advance(3 * minute);
    expect(stage.checkpoints()).toStrictEqual([[92, "50"]]);
    stage.world.setDesiredCapacity("web", 8);
    expect(stage.refresh().PercentageComplete).toBe(25);
    stage.runTo("Successful");
    expect(stage.checkpoints()).toStrictEqual([
      [92, "50"],
      [692, "50"],
    ]);
    expect(stage.versions()).toStrictEqual(Array.from({ length: 8 }, () => "2"));
  });

  test("below 100 end the refresh there and save the new configuration all the same", () => {
    const stage = setStage({ desired: 4 });
    stage.start({ ...quick, ...at(50) });
    stage.runTo("Successful");
    expect(stage.refresh()).toMatchObject({ PercentageComplete: 50, InstancesToUpdate: 0 });
    expect(stage.versions()).toStrictEqual(["1", "1", "2", "2"]);
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("2") });
  });
});

describe("a refresh that makes no progress", () => {
  const failing = (preferences: Readonly<Record<string, string | number | boolean>> = {}) => {
    const stage = setStage({ desired: 3 });
    stage.start({ MinHealthyPercentage: 66, ...preferences });
    stage.fleet.images.delete("ami-new");
    stage.clock.advance(2 * second);
    return stage;
  };

  test("is not failed after 3599 s, and failed after 3600 s", () => {
    const stage = failing();
    expect(stage.failedActivities()[0]).toMatchObject({
      description:
        "Launching a new EC2 instance.  Status Reason: The AMI ID ami-new does not exist. Launching EC2 instance failed.",
      statusMessage: "The AMI ID ami-new does not exist. Launching EC2 instance failed.",
      startTime: stage.clock.now(),
    });
    stage.clock.advance(3599 * second);
    expect(stage.refresh().Status).toBe("InProgress");
    stage.clock.advance(second);
    expect(stage.refresh()).toMatchObject({ Status: "Failed", PercentageComplete: 0 });
    expect(stage.failedActivities()).toHaveLength(60);
    // The group returns to its saved configuration by itself.
    stage.clock.advance(2 * minute);
    expect(stage.versions()).toStrictEqual(["1", "1", "1"]);
  });

  test("says so of instances that never become healthy, whose clock starts when one should have been", () => {
    const stage = setStage({ desired: 3, healthCheckType: "ELB", healthCheckGracePeriod: 120 });
    stage.world.setHealth({ "ami-new": { healthyAfter: "never" } });
    stage.start({ MinHealthyPercentage: 66, InstanceWarmup: 60 });
    stage.runTo("Failed");
    expect(stage.seconds()).toBe(2 + 30 + 60 + 3600);
    expect(stage.refresh().StatusReason).toBe("No instance could be replaced for one hour.");
  });

  test("is not noticed when the group looks at EC2's health checks only", () => {
    const stage = setStage({ desired: 2 });
    stage.world.setHealth({ "ami-new": { healthyAfter: "never" } });
    stage.start(quick);
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });

  test("rolls back with AutoRollback, and the percentage falls", () => {
    const stage = setStage({ desired: 4, healthCheckType: "ELB", healthCheckGracePeriod: 120 });
    // The first two replacements are healthy, no later one is.
    stage.world.setHealth((member) =>
      member.imageId === "ami-new" &&
      stage.fleet.launches.findIndex((one) => one.instanceId === member.instanceId) >= 6
        ? { healthyAfter: "never" }
        : undefined,
    );
    stage.start({ MinHealthyPercentage: 75, InstanceWarmup: 60, AutoRollback: true });
    stage.runTo("RollbackInProgress");
    expect(stage.refresh()).toMatchObject({
      PercentageComplete: 50,
      InstancesToUpdate: 1,
      RollbackDetails: {
        RollbackReason: "No instance could be replaced for one hour.",
        PercentageCompleteOnRollback: 50,
        InstancesToUpdateOnRollback: 1,
      },
    });
    const percentages = new Set<number | undefined>();
    stage.clock.runUntil(() => {
      percentages.add(stage.refresh().PercentageComplete);
      return stage.refresh().Status === "RollbackSuccessful";
    });
    expect([...percentages]).toStrictEqual([50, 25, 0]);
    expect(stage.versions()).toStrictEqual(["1", "1", "1", "1"]);
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
    expect(stage.refresh().InstancesToUpdate).toBe(1);
  });

  test("cannot roll back to an image that is gone", () => {
    const stage = failing({ AutoRollback: true });
    stage.fleet.images.delete("ami-old");
    stage.runTo("RollbackInProgress");
    expect(stage.seconds()).toBe(2 + 3600);
    stage.clock.advance(3599 * second);
    expect(stage.refresh().Status).toBe("RollbackInProgress");
    stage.runTo("RollbackFailed");
    expect(stage.seconds()).toBeLessThanOrEqual(2 + 2 * 3600 + 60);
    expect(stage.versions()).toStrictEqual(["1", "1"]);
  });

  test("gives up after 14 active days", () => {
    const stage = setStage({ desired: 2 }, { activeLimit: 100 * second });
    stage.start(quick);
    stage.runTo("Failed");
    expect(stage.seconds()).toBe(102);
    const slow = setStage({ desired: 4 });
    const day = 24 * hour;
    slow.start({ ...quick, MaxHealthyPercentage: 125, InstanceWarmup: (4 * day) / second });
    slow.runTo("Failed");
    expect(slow.seconds()).toBe(2 + (14 * day) / second);
    expect(slow.refresh().StatusReason).toBe(
      "The instance refresh was actively replacing instances for 14 days.",
    );
  });
});

describe("alarms", () => {
  const alarmed = { ...quick, "AlarmSpecification.Alarms.member.1": "errors" };

  test.each(["ALARM", "INSUFFICIENT_DATA"] as const)("refuse the start in %s", (state) => {
    const stage = setStage({ desired: 2 });
    stage.world.setAlarm("errors", state);
    expect(refusal(() => stage.start(alarmed))).toBe(
      `ValidationError: The instance refresh cannot start because the alarm errors is in the ${state} state.`,
    );
    expect(stage.refreshes()).toStrictEqual([]);
  });

  test("fail a refresh at once, which without AutoRollback leaves a mixed fleet on the old configuration", () => {
    const stage = setStage({ desired: 2 });
    stage.world.setAlarm("errors", "OK");
    stage.start(alarmed);
    stage.clock.advance(2 * minute);
    stage.world.setAlarm("errors", "ALARM");
    expect(stage.refresh()).toMatchObject({
      Status: "Failed",
      PercentageComplete: 50,
      StatusReason: "The alarm errors is in the ALARM state.",
    });
    stage.clock.advance(5 * minute);
    expect(new Set(stage.versions())).toStrictEqual(new Set(["2"]));
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
  });

  test.each([
    { alarmFailsInBaking: true, status: "RollbackInProgress" },
    { alarmFailsInBaking: false, status: "Baking" },
  ])("may fail it while it bakes: $alarmFailsInBaking", ({ status, ...options }) => {
    const stage = setStage({ desired: 2 }, options);
    stage.world.setAlarm("errors", "OK");
    stage.start({ ...alarmed, BakeTime: 600, AutoRollback: true });
    stage.runTo("Baking");
    stage.world.setAlarm("errors", "ALARM");
    expect(stage.refresh().Status).toBe(status);
  });

  test("stall it without data, until there are new data", () => {
    const stage = setStage({ desired: 2 });
    stage.world.setAlarm("errors", "OK");
    stage.start(alarmed);
    stage.clock.advance(second);
    stage.world.setAlarm("errors", "INSUFFICIENT_DATA");
    stage.clock.advance(3 * hour);
    expect(stage.refresh()).toMatchObject({
      Status: "InProgress",
      PercentageComplete: 0,
      InstancesToUpdate: 2,
    });
    stage.world.setAlarm("errors", "OK");
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });
});

describe("instances that a refresh may not simply replace", () => {
  test.each([
    { protection: "Refresh", status: "Successful", versions: ["2", "2", "2"], percentage: 100 },
    { protection: "Ignore", status: "Successful", versions: ["1", "2", "2"], percentage: 100 },
    { protection: "Wait", status: "Failed", versions: ["1", "2", "2"], percentage: 66 },
  ])("protected from scale-in: $protection", ({ protection, status, versions, percentage }) => {
    const stage = setStage({ desired: 3 });
    stage.world.setProtection("web", stage.members()[0]?.instanceId ?? "", true);
    stage.start({ ...quick, ScaleInProtectedInstances: protection });
    stage.runTo("Successful", "Failed");
    expect(stage.refresh()).toMatchObject({ Status: status, PercentageComplete: percentage });
    expect(stage.versions()).toStrictEqual(versions);
  });

  test.each([
    { standby: "Ignore", status: "Successful", versions: ["1", "2", "2"] },
    { standby: "Terminate", status: "Successful", versions: ["2", "2"] },
    { standby: "Wait", status: "Failed", versions: ["1", "2", "2"] },
  ])("in standby: $standby", ({ standby, status, versions }) => {
    const stage = setStage({ desired: 3 });
    stage.world.enterStandby("web", stage.members()[0]?.instanceId ?? "");
    expect(stage.world.group("web").settings.desiredCapacity).toBe(2);
    stage.start({ ...quick, StandbyInstances: standby });
    stage.runTo("Successful", "Failed");
    expect(stage.refresh().Status).toBe(status);
    expect(stage.versions()).toStrictEqual(versions);
  });

  test("are waited for one hour after all others are replaced", () => {
    const stage = setStage({ desired: 2 });
    const standby = stage.members()[0]?.instanceId ?? "";
    stage.world.enterStandby("web", standby);
    stage.start(quick);
    stage.clock.advance(112 * second + hour - 1);
    expect(stage.refresh()).toMatchObject({ Status: "InProgress", PercentageComplete: 100 });
    stage.world.exitStandby("web", standby);
    stage.runTo("Successful", "Failed");
    expect(stage.refresh().Status).toBe("Failed");
  });

  test("are replaced once they return from standby in time", () => {
    const stage = setStage({ desired: 2 });
    const standby = stage.members()[0]?.instanceId ?? "";
    stage.world.enterStandby("web", standby);
    stage.start(quick);
    stage.clock.advance(10 * minute);
    stage.world.exitStandby("web", standby);
    stage.runTo("Successful", "Failed");
    expect(stage.refresh().Status).toBe("Successful");
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });
});

describe("suspended processes", () => {
  test.each(["InstanceRefresh", "Launch", "Terminate"] as const)("pause a refresh: %s", (process) => {
    const stage = setStage({ desired: 2 });
    stage.start(quick);
    stage.clock.advance(2 * second);
    stage.call("SuspendProcesses", { "ScalingProcesses.member.1": process });
    stage.clock.advance(2 * hour);
    expect(stage.refresh()).toMatchObject({ Status: "InProgress", PercentageComplete: 50 });
    expect(stage.versions()).toStrictEqual(["1", "1", "2"]);
    stage.call("ResumeProcesses", { "ScalingProcesses.member.1": process });
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });

  test("let the hour run out where the clock does not stand still", () => {
    const stage = setStage({ desired: 2 }, { freezeStuckWhilePaused: false });
    stage.start(quick);
    stage.clock.advance(2 * second);
    stage.world.suspend("web", "InstanceRefresh");
    stage.runTo("Failed");
    expect(stage.seconds()).toBe(92 + 3600);
  });
});

describe("cancelling", () => {
  const launched = (drain: number) => {
    const stage = setStage({ desired: 2, targetGroupArns: ["arn:aws:elasticloadbalancing:tg"] }, { drain });
    stage.start({ MinHealthyPercentage: 50 });
    stage.clock.advance(2 * second);
    return stage;
  };

  test("waits for launches and for draining instances", () => {
    const stage = launched(300 * second);
    stage.call("CancelInstanceRefresh");
    expect(stage.refresh().Status).toBe("Cancelling");
    expect(stage.fleet.terminated).toStrictEqual([]);
    stage.clock.advance(300 * second - 1);
    expect(stage.refresh().Status).toBe("Cancelling");
    stage.clock.advance(1);
    expect(stage.refresh().Status).toBe("Cancelled");
    expect(stage.fleet.terminated).toStrictEqual(["i-00000000000000001"]);
    expect(stage.versions()).toStrictEqual(["1", "2"]);
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
  });

  test("does not wait when told so, and a new refresh may start at once", () => {
    const stage = launched(300 * second);
    const first = stage.refresh().InstanceRefreshId;
    stage.call("CancelInstanceRefresh", { WaitForTransitioningInstances: false });
    const next = stage.start(quick);
    expect(stage.refreshes().map((refresh) => [refresh.InstanceRefreshId, refresh.Status])).toStrictEqual([
      [next, "Pending"],
      [first, "Cancelled"],
    ]);
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });

  test("also ends a rollback, where it stands", () => {
    const stage = setStage({ desired: 2 });
    stage.start(quick);
    stage.clock.advance(2 * minute);
    stage.call("RollbackInstanceRefresh");
    expect(stage.refresh().Status).toBe("RollbackInProgress");
    stage.call("CancelInstanceRefresh");
    stage.runTo("Cancelled");
    expect(stage.versions()).toContain("2");
    expect(refusal(() => stage.call("CancelInstanceRefresh"))).toBe(
      "ActiveInstanceRefreshNotFound: No in progress or pending Instance Refresh found for Auto Scaling group web",
    );
  });
});

describe("rolling back by request", () => {
  test("returns to the saved configuration and keeps what was never touched", () => {
    const stage = setStage({ desired: 4 });
    const id = stage.start(quick);
    const untouched = stage.members().at(-1)?.instanceId;
    stage.clock.advance(100 * second);
    expect(stage.call("RollbackInstanceRefresh")).toStrictEqual({ InstanceRefreshId: id });
    expect(stage.refresh()).toMatchObject({
      Status: "RollbackInProgress",
      PercentageComplete: 50,
      InstancesToUpdate: 2,
    });
    stage.runTo("RollbackSuccessful");
    expect(stage.refresh().PercentageComplete).toBe(0);
    expect(stage.versions()).toStrictEqual(["1", "1", "1", "1"]);
    expect(stage.members().map((member) => member.instanceId)).toContain(untouched);
  });

  test("is too late after the end", () => {
    const stage = setStage({ desired: 1 });
    stage.start(quick);
    stage.runTo("Successful");
    expect(refusal(() => stage.call("RollbackInstanceRefresh"))).toMatch(/^ActiveInstanceRefreshNotFound: /);
  });

  const baking = (allowRollbackInBaking: boolean) => {
    const stage = setStage({ desired: 1 }, { allowRollbackInBaking });
    stage.start({ ...quick, BakeTime: 600 });
    stage.runTo("Baking");
    return stage;
  };

  test("may be possible while baking", () => {
    const stage = baking(true);
    stage.call("RollbackInstanceRefresh");
    expect(stage.refresh()).toMatchObject({ Status: "RollbackInProgress", PercentageComplete: 100 });
    stage.runTo("RollbackSuccessful");
    expect(stage.versions()).toStrictEqual(["1"]);
  });

  test("may be impossible while baking", () => {
    const stage = baking(false);
    expect(refusal(() => stage.call("RollbackInstanceRefresh"))).toMatch(/^IrreversibleInstanceRefresh: /);
    expect(stage.refresh().Status).toBe("Baking");
  });

  test.each([
    { what: "without a desired configuration", version: "1", desired: {} },
    { what: "to $Latest", version: "$Latest", desired: undefined },
  ])("is impossible $what", ({ version, desired }) => {
    const stage = setStage({ desired: 1, launchTemplate: { launchTemplateName: "web", version } });
    stage.start(quick, desired);
    expect(refusal(() => stage.call("RollbackInstanceRefresh"))).toMatch(/^IrreversibleInstanceRefresh: /);
  });
});

describe("a group that changes meanwhile", () => {
  test("from four to eight instances launches the desired configuration", () => {
    const stage = setStage({ desired: 4 });
    stage.start(quick);
    stage.clock.advance(2 * minute);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 8 });
    // Two instances of the old version are left to replace, the ceiling is twelve: eight of the new are enough.
    expect(stage.versions()).toStrictEqual(["1", "1", ...Array.from({ length: 8 }, () => "2")]);
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(Array.from({ length: 8 }, () => "2"));
  });

  test("may change its sizes but not what it launches", () => {
    const stage = setStage({ desired: 2 });
    stage.start(quick);
    const change = { "LaunchTemplate.LaunchTemplateName": "web", "LaunchTemplate.Version": "2" };
    expect(refusal(() => stage.call("UpdateAutoScalingGroup", change))).toBe(
      "ValidationError: An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration are not available for update while the instance refresh is active.",
    );
    stage.call("UpdateAutoScalingGroup", { MaxSize: 7 });
    expect(stage.world.group("web").settings.maxSize).toBe(7);
    stage.runTo("Successful");
    stage.call("UpdateAutoScalingGroup", { ...change, "LaunchTemplate.Version": "1" });
    expect(stage.world.group("web").configuration).toStrictEqual({ launchTemplate: template("1") });
  });

  test("by one instance that turns unhealthy is filled up with the desired configuration", () => {
    const stage = setStage({ desired: 2 });
    stage.start({ ...quick, "CheckpointPercentages.member.1": 50, "CheckpointPercentages.member.2": 100 });
    stage.clock.advance(10 * minute);
    expect(stage.versions()).toStrictEqual(["1", "2"]);
    const old = stage.members()[0]?.instanceId ?? "";
    stage.call("SetInstanceHealth", { InstanceId: old, HealthStatus: "Unhealthy" });
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });
});
