import { describe, expect, test } from "vitest";
import { minute, refusal, second, setStage } from "./autoscaling-stage.ts";

const quick = { MinHealthyPercentage: 100, MaxHealthyPercentage: 150, InstanceWarmup: 60 };

const warm = (stage: ReturnType<typeof setStage>) =>
  stage.world.group("web").warm.map((member) => `${member.launchTemplate?.version} ${member.lifecycleState}`);

describe("a warm pool", () => {
  test("is what the prepared capacity leaves beyond the desired one, and is shown apart from the group", () => {
    const stage = setStage({ desired: 2, max: 5, warmPool: {} });
    expect(warm(stage)).toStrictEqual(Array.from({ length: 3 }, () => "1 Warmed:Stopped"));
    expect(stage.call("DescribeAutoScalingGroups")["AutoScalingGroups"]).toMatchObject({
      member: [
        {
          WarmPoolConfiguration: { MinSize: 0, PoolState: "Stopped", MaxGroupPreparedCapacity: undefined },
          WarmPoolSize: 3,
          Instances: { member: [{ LifecycleState: "InService" }, { LifecycleState: "InService" }] },
        },
      ],
    });
    const page = stage.call("DescribeWarmPool", { MaxRecords: 2 });
    expect(page).toMatchObject({
      WarmPoolConfiguration: { PoolState: "Stopped" },
      Instances: { member: [{ InstanceId: "i-00000000000000003" }, { LifecycleState: "Warmed:Stopped" }] },
    });
    expect(page["NextToken"]).toBeDefined();
    const states = (
      stage.call("DescribeAutoScalingInstances")["AutoScalingInstances"] as {
        member: Record<string, unknown>[];
      }
    ).member.map((member) => member["LifecycleState"]);
    expect(states).toHaveLength(5);
  });

  test("is put, filled, changed and deleted", () => {
    const stage = setStage({ desired: 2, max: 10 });
    expect(refusal(() => stage.call("DeleteWarmPool"))).toMatch(/^ValidationError: No warm pool/);
    stage.call("PutWarmPool", { MaxGroupPreparedCapacity: 4, PoolState: "Running", MinSize: 1 });
    expect(warm(stage)).toStrictEqual(["1 Warmed:Pending", "1 Warmed:Pending"]);
    stage.clock.advance(30 * second);
    expect(warm(stage)).toStrictEqual(["1 Warmed:Running", "1 Warmed:Running"]);
    stage.call("PutWarmPool", { MaxGroupPreparedCapacity: 2 });
    expect(warm(stage)).toStrictEqual(["1 Warmed:Terminating", "1 Warmed:Running"]);
    expect(refusal(() => stage.call("DeleteAutoScalingGroup"))).toMatch(/^ResourceInUse: /);
    stage.call("DeleteWarmPool");
    const shown = stage.call("DescribeWarmPool");
    expect(shown["WarmPoolConfiguration"]).toMatchObject({ Status: "PendingDelete" });
    stage.clock.advance(30 * second);
    expect(stage.call("DescribeWarmPool")).toMatchObject({
      WarmPoolConfiguration: undefined,
      Instances: { member: [] },
    });
    expect(stage.members()).toHaveLength(2);
  });

  test("is what scaling out takes from", () => {
    const stage = setStage({ desired: 1, max: 5, warmPool: { maxGroupPreparedCapacity: 3 } });
    const [one, two] = stage.world.group("web").warm.map((member) => member.instanceId);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 4 });
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual([
      "InService",
      "Pending",
      "Pending",
      "Pending",
    ]);
    expect(stage.members().map((member) => member.instanceId)).toStrictEqual(
      expect.arrayContaining([one, two]),
    );
    expect(stage.world.group("web").activities[0]?.description).toBe(
      `Launching a new EC2 instance from warm pool: ${one}`,
    );
    stage.clock.advance(minute);
    expect(stage.members().map((member) => member.lifecycleState)).toStrictEqual(
      Array.from({ length: 4 }, () => "InService"),
    );
    expect(warm(stage)).toStrictEqual([]);
  });

  test("waits for launching hooks, when its instances come and when they go", () => {
    const stage = setStage({
      desired: 1,
      max: 3,
      lifecycleHooks: [{ name: "boot", transition: "launching" }],
    });
    stage.call("PutWarmPool", { MaxGroupPreparedCapacity: 2 });
    stage.clock.advance(minute);
    expect(warm(stage)).toStrictEqual(["1 Warmed:Pending:Wait"]);
    stage.world.completeHook("web", "boot");
    expect(warm(stage)).toStrictEqual(["1 Warmed:Pending:Proceed"]);
    stage.clock.advance(second);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 2 });
    stage.clock.advance(minute);
    expect(stage.members()[1]?.lifecycleState).toBe("Pending:Wait");
  });
});

describe("an instance refresh of a group with a warm pool", () => {
  const setPool = (version = "1") =>
    setStage({
      desired: 2,
      max: 6,
      warmPool: { maxGroupPreparedCapacity: 4 },
      launchTemplate: { launchTemplateName: "web", version },
    });

  test("replaces the live instances, then the pool, and reports both", () => {
    const stage = setPool();
    stage.start(quick);
    const seen: string[] = [];
    stage.clock.runUntil(() => {
      const {
        Status,
        PercentageComplete: percentage,
        InstancesToUpdate: left,
        ProgressDetails,
      } = stage.refresh();
      const { LivePoolProgress: live, WarmPoolProgress: pool } = ProgressDetails ?? {};
      const line = `${percentage}/${left} live ${live?.PercentageComplete}/${live?.InstancesToUpdate} warm ${pool?.PercentageComplete}/${pool?.InstancesToUpdate}`;
      if (ProgressDetails !== undefined && seen.at(-1) !== line) seen.push(line);
      return Status === "Successful";
    });
    expect(seen).toStrictEqual([
      "0/3 live 0/1 warm 0/2",
      "25/2 live 50/0 warm 0/2",
      "50/2 live 100/0 warm 0/2",
      "50/1 live 100/0 warm 0/1",
      "75/0 live 100/0 warm 50/0",
      "100/0 live 100/0 warm 100/0",
    ]);
    expect(stage.versions()).toStrictEqual(["2", "2"]);
    expect(warm(stage)).toStrictEqual(["2 Warmed:Stopped", "2 Warmed:Stopped"]);
  });

  test("keeps the pool within a floor and a ceiling of its own", () => {
    const stage = setStage({ desired: 10, max: 30, warmPool: { maxGroupPreparedCapacity: 20 } });
    stage.start({ MinHealthyPercentage: 90, MaxHealthyPercentage: 120 });
    let [lowest, highest] = [10, 10];
    stage.clock.runUntil(() => {
      const states = warm(stage);
      lowest = Math.min(lowest, states.filter((state) => state.endsWith("Stopped")).length);
      highest = Math.max(highest, states.filter((state) => !state.endsWith("Terminating")).length);
      return stage.refresh().Status === "Successful";
    });
    expect([lowest, highest]).toStrictEqual([9, 12]);
    expect(new Set(warm(stage))).toStrictEqual(new Set(["2 Warmed:Stopped"]));
  });

  test("has no details without one", () => {
    const stage = setStage({ desired: 1 });
    stage.start(quick);
    stage.runTo("Successful");
    expect(stage.refresh().ProgressDetails).toBeUndefined();
  });

  test("skips what matches in the pool as well", () => {
    const stage = setPool("2");
    stage.start({ ...quick, SkipMatching: true });
    stage.runTo("Successful");
    expect([stage.seconds(), stage.refresh().PercentageComplete]).toStrictEqual([2, 100]);
  });

  test("rolls both back", () => {
    const stage = setPool();
    stage.start(quick);
    stage.clock.runUntil(() => stage.refresh().PercentageComplete === 75);
    stage.call("RollbackInstanceRefresh");
    expect(stage.refresh().RollbackDetails).toMatchObject({
      PercentageCompleteOnRollback: 75,
      ProgressDetailsOnRollback: {
        LivePoolProgress: { PercentageComplete: 100 },
        WarmPoolProgress: { PercentageComplete: 50 },
      },
    });
    stage.runTo("RollbackSuccessful");
    expect(stage.versions()).toStrictEqual(["1", "1"]);
    expect(warm(stage)).toStrictEqual(["1 Warmed:Stopped", "1 Warmed:Stopped"]);
  });

  test("fails when the pool's instances cannot be launched for an hour", () => {
    const stage = setPool();
    stage.start(quick);
    stage.clock.runUntil(() => stage.refresh().PercentageComplete === 50);
    const launched = new Set(stage.members().map((member) => member.instanceId));
    stage.world.setHealth((member) =>
      launched.has(member.instanceId) ? undefined : { launchFailure: "Client.InternalError: no" },
    );
    stage.runTo("Failed");
    expect(stage.refresh().PercentageComplete).toBe(50);
    expect(stage.versions()).toStrictEqual(["2", "2"]);
  });

  test("replaces also what left the pool while it was active", () => {
    const stage = setPool();
    stage.start({ ...quick, "CheckpointPercentages.member.1": 50, "CheckpointPercentages.member.2": 100 });
    stage.clock.advance(10 * minute);
    stage.call("SetDesiredCapacity", { DesiredCapacity: 4 });
    expect(stage.versions()).toStrictEqual(["1", "2", "1", "1"]);
    expect(warm(stage)).toStrictEqual([]);
    stage.runTo("Successful");
    expect(stage.versions()).toStrictEqual(Array.from({ length: 4 }, () => "2"));
  });
});
