import { describe, expect, test } from "vitest";
import { hour, minute, refusal, second, setStage } from "./autoscaling-stage.ts";

const quick = { MinHealthyPercentage: 100, MaxHealthyPercentage: 200, InstanceWarmup: 60 };
const launching = { name: "boot", transition: "launching", heartbeatTimeout: 300 } as const;
const terminating = { name: "drain", transition: "terminating", heartbeatTimeout: 300 } as const;

/** The states that the member launched last goes through, with the sandbox seconds at which each began. */
function follow(stage: ReturnType<typeof setStage>, instanceId: string, until: () => boolean) {
  const seen: (readonly [number, string | undefined])[] = [];
  const look = () => {
    const state = stage.members().find((member) => member.instanceId === instanceId)?.lifecycleState;
    if (seen.at(-1)?.[1] !== state) seen.push([stage.seconds(), state]);
  };
  look();
  stage.clock.runUntil(() => {
    look();
    return until();
  });
  return seen;
}

const [first, next] = ["i-00000000000000001", "i-00000000000000002"] as const;

describe("launching hooks", () => {
  test("hold an instance in Pending:Wait until they are completed", () => {
    const stage = setStage({ desired: 0, lifecycleHooks: [launching] });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(2 * minute);
    expect(stage.members()[0]?.lifecycleState).toBe("Pending:Wait");
    expect(stage.world.group("web").activities[0]?.statusCode).toBe("MidLifecycleAction");
    stage.world.completeHook("web", "boot");
    const states = follow(stage, first, () => stage.members()[0]?.lifecycleState === "InService");
    expect(states).toStrictEqual([
      [120, "Pending:Proceed"],
      [121, "InService"],
    ]);
    expect(stage.world.group("web").activities[0]?.statusCode).toBe("Successful");
  });

  test("all have to be completed, by instance id or by token", () => {
    const hooks = [launching, { ...launching, name: "register" }];
    const stage = setStage({ desired: 0, lifecycleHooks: hooks });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(minute);
    const complete = (name: string, by: Record<string, string>) =>
      stage.call("CompleteLifecycleAction", {
        LifecycleHookName: name,
        LifecycleActionResult: "CONTINUE",
        ...by,
      });
    complete("boot", { InstanceId: first });
    expect(stage.members()[0]?.lifecycleState).toBe("Pending:Wait");
    expect(refusal(() => complete("boot", { InstanceId: first }))).toBe(
      `ValidationError: No active Lifecycle Action found with instance ID ${first}`,
    );
    const token = stage.members()[0]?.actions[1]?.token ?? "";
    complete("register", { LifecycleActionToken: token });
    expect(stage.members()[0]?.lifecycleState).toBe("Pending:Proceed");
    expect(refusal(() => complete("register", { LifecycleActionToken: token }))).toBe(
      `ValidationError: No active Lifecycle Action found with token ${token}`,
    );
  });

  const untouched = (defaultResult: "CONTINUE" | "ABANDON") => {
    const stage = setStage({ desired: 0, lifecycleHooks: [{ ...launching, defaultResult }] });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(31 * second);
    return stage;
  };

  test("that nobody completes may let the instance in", () => {
    const stage = untouched("CONTINUE");
    const isIn = () => stage.members()[0]?.lifecycleState === "InService";
    expect(follow(stage, first, isIn)).toStrictEqual([
      [31, "Pending:Wait"],
      [330, "Pending:Proceed"],
      [331, "InService"],
    ]);
    expect(stage.world.group("web").activities[0]?.statusCode).toBe("Successful");
  });

  test("that nobody completes abandon it by default, which counts as a failed launch", () => {
    const stage = untouched("ABANDON");
    const isOut = () => stage.members()[0]?.lifecycleState === "Terminating";
    expect(follow(stage, first, isOut)).toStrictEqual([
      [31, "Pending:Wait"],
      [330, "Terminating"],
    ]);
    const [activity] = stage.world.group("web").activities;
    expect(activity).toMatchObject({ statusCode: "Cancelled", endTime: stage.clock.now() });
    expect(activity?.description).toMatch(
      /^Launching a new EC2 instance: i-00000000000000001. {2}Status Reason: Instance failed to complete user's Lifecycle Action: Lifecycle Action with token [-0-9a-f]{36} was abandoned: Heartbeat Timeout$/,
    );
    expect(stage.versions()).toHaveLength(0);
    stage.clock.advance(minute);
    expect(stage.versions()).toHaveLength(1);
  });

  test("are prolonged by heartbeats, though not beyond a hundred of them", () => {
    const stage = setStage({ desired: 0, lifecycleHooks: [{ ...launching, heartbeatTimeout: 30 }] });
    stage.call("SetDesiredCapacity", { DesiredCapacity: 1 });
    stage.clock.advance(40 * second);
    for (let beat = 0; beat < 200 && stage.members()[0]?.lifecycleState === "Pending:Wait"; beat += 1) {
      stage.call("RecordLifecycleActionHeartbeat", { LifecycleHookName: "boot", InstanceId: first });
      stage.clock.advance(25 * second);
    }
    expect(stage.members()[0]?.lifecycleState).toBe("Terminating");
    expect(stage.seconds()).toBeGreaterThanOrEqual(30 + 3000);
  });

  test("that are abandoned keep a refresh from its end until its hour is over", () => {
    const stage = setStage({ desired: 1, lifecycleHooks: [launching] });
    stage.start(quick);
    stage.runTo("Failed");
    expect(stage.refresh().StatusReason).toBe("No instance could be replaced for one hour.");
    expect(stage.seconds()).toBeGreaterThanOrEqual(332 + 3600);
    expect(stage.versions()).toContain("1");
    const cancelled = stage.world
      .group("web")
      .activities.filter(({ statusCode }) => statusCode === "Cancelled");
    expect(cancelled.length).toBeGreaterThan(5);
  });

  test("that somebody abandons end the launch at once", () => {
    const stage = setStage({ desired: 1, lifecycleHooks: [launching, { ...launching, name: "other" }] });
    stage.start(quick);
    stage.clock.advance(40 * second);
    stage.world.completeHook("web", "boot", "ABANDON", next);
    expect(stage.members()[1]?.lifecycleState).toBe("Terminating");
    expect(stage.world.group("web").activities[0]?.statusMessage).toMatch(
      /was abandoned: Lifecycle Action Completed with ABANDON Result$/,
    );
    expect(() => {
      stage.world.completeHook("web", "boot");
    }).toThrow("Nothing waits for the lifecycle hook boot.");
  });
});

describe("terminating hooks", () => {
  test("hold an instance in Terminating:Wait, which is still running", () => {
    const stage = setStage({ desired: 1, lifecycleHooks: [terminating] });
    stage.start(quick);
    stage.clock.advance(92 * second);
    expect(stage.members()[0]?.lifecycleState).toBe("Terminating:Wait");
    expect(stage.fleet.terminated).toStrictEqual([]);
    stage.clock.advance(minute);
    expect(stage.refresh()).toMatchObject({ Status: "InProgress", PercentageComplete: 100 });
    stage.world.completeHook("web", "drain", "ABANDON");
    expect(stage.fleet.terminated).toStrictEqual([first]);
    const states = follow(stage, first, () => stage.refresh().Status === "Successful");
    expect(states).toStrictEqual([
      [152, "Terminating:Proceed"],
      [172, undefined],
    ]);
  });

  test("come after the load balancer has let go, and both results end them", () => {
    const stage = setStage(
      { desired: 1, lifecycleHooks: [terminating], targetGroupArns: ["arn:aws:elasticloadbalancing:tg"] },
      { drain: 300 * second },
    );
    stage.call("SetDesiredCapacity", { DesiredCapacity: 0 });
    const states = follow(stage, first, () => stage.members().length === 0);
    expect(states).toStrictEqual([
      [0, "Terminating"],
      [300, "Terminating:Wait"],
      [600, "Terminating:Proceed"],
      [601, undefined],
    ]);
  });

  test("are waited for by a refresh that is cancelled", () => {
    const stage = setStage({ desired: 1, lifecycleHooks: [{ ...terminating, heartbeatTimeout: 3600 }] });
    stage.start();
    stage.clock.advance(10 * second);
    stage.call("CancelInstanceRefresh");
    stage.clock.advance(hour - 20 * second);
    expect(stage.refresh().Status).toBe("Cancelling");
    stage.runTo("Cancelled");
    expect(stage.seconds()).toBe(2 + 3600 + 20);
  });

  test("do not hold up a group that is deleted by force", () => {
    const stage = setStage({ desired: 1, lifecycleHooks: [terminating] });
    stage.call("DeleteAutoScalingGroup", { ForceDelete: true });
    stage.clock.advance(20 * second);
    expect(() => stage.world.group("web")).toThrow("0 groups");
  });
});

describe("PutLifecycleHook", () => {
  test("adds with AWS's defaults, changes and deletes", () => {
    const stage = setStage({ desired: 1 });
    const hooks = (parameters = {}) => stage.call("DescribeLifecycleHooks", parameters)["LifecycleHooks"];
    stage.call("PutLifecycleHook", {
      LifecycleHookName: "boot",
      LifecycleTransition: "autoscaling:EC2_INSTANCE_LAUNCHING",
    });
    stage.call("PutLifecycleHook", { LifecycleHookName: "boot", HeartbeatTimeout: 60 });
    expect(hooks()).toMatchObject({
      member: [
        {
          LifecycleHookName: "boot",
          AutoScalingGroupName: "web",
          LifecycleTransition: "autoscaling:EC2_INSTANCE_LAUNCHING",
          HeartbeatTimeout: 60,
          GlobalTimeout: 6000,
          DefaultResult: "ABANDON",
        },
      ],
    });
    expect(hooks({ "LifecycleHookNames.member.1": "other" })).toStrictEqual({ member: [] });
    stage.call("DeleteLifecycleHook", { LifecycleHookName: "boot" });
    expect(hooks()).toStrictEqual({ member: [] });
    expect(refusal(() => stage.call("PutLifecycleHook", { LifecycleHookName: "boot" }))).toMatch(
      /LifecycleTransition is required/,
    );
  });

  test("may come with the creation of a group", () => {
    const stage = setStage();
    stage.call("CreateAutoScalingGroup", {
      AutoScalingGroupName: "new",
      MinSize: 1,
      MaxSize: 1,
      "LaunchTemplate.LaunchTemplateName": "web",
      "LifecycleHookSpecificationList.member.1.LifecycleHookName": "boot",
      "LifecycleHookSpecificationList.member.1.LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
    });
    stage.clock.advance(minute);
    expect(stage.world.group("new").members[0]?.lifecycleState).toBe("Pending:Wait");
  });
});
