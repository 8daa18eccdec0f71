import {
  AutoScalingClient,
  CompleteLifecycleActionCommand,
  DescribeAutoScalingGroupsCommand,
  DescribeInstanceRefreshesCommand,
  DescribeLifecycleHooksCommand,
  DescribeWarmPoolCommand,
  PutLifecycleHookCommand,
  PutWarmPoolCommand,
  StartInstanceRefreshCommand,
} from "@aws-sdk/client-auto-scaling";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAutoScalingWorld } from "../../sandbox/aws/autoscaling/world.ts";
import { startAwsServer } from "../../sandbox/aws/server.ts";
import { createClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { place } from "./autoscaling-stage.ts";
import { SmallFleet } from "./small-fleet.ts";

async function serve(speed: number) {
  const clock = createClock({ speed, start: new Date("2026-01-01T00:00:00Z") });
  const [faults, log, fleet] = [new Faults(), new RequestLog(), new SmallFleet()];
  fleet.addImage("ami-old");
  fleet.addImage("ami-new");
  fleet.addVersion("web", "ami-old");
  fleet.addVersion("web", "ami-new");
  const world = createAutoScalingWorld({ clock, fleet });
  world.addGroup({
    ...place,
    name: "web",
    desired: 2,
    max: 4,
    launchTemplate: { launchTemplateName: "web", version: "1" },
  });
  const server = await startAwsServer({
    clock,
    log,
    faults,
    services: { autoscaling: world.operations },
    accounts: { AKIATEST: { accountId: place.accountId } },
  });
  const client = new AutoScalingClient({
    endpoint: server.url,
    region: place.region,
    credentials: { accessKeyId: "AKIATEST", secretAccessKey: "secret" },
  });
  const close = async () => {
    client.destroy();
    clock.stop();
    await server.close();
  };
  return { clock, world, log, faults, client, close };
}

describe("through the AWS SDK", () => {
  let stage: Awaited<ReturnType<typeof serve>>;
  const start = new StartInstanceRefreshCommand({
    AutoScalingGroupName: "web",
    DesiredConfiguration: { LaunchTemplate: { LaunchTemplateName: "web", Version: "2" } },
    Preferences: {
      MinHealthyPercentage: 100,
      MaxHealthyPercentage: 150,
      InstanceWarmup: 60,
      CheckpointPercentages: [50, 100],
      CheckpointDelay: 60,
      SkipMatching: true,
    },
  });
  afterEach(() => stage.close());
  const describeOne = async () => {
    const { InstanceRefreshes = [] } = await stage.client.send(
      new DescribeInstanceRefreshesCommand({ AutoScalingGroupName: "web" }),
    );
    return InstanceRefreshes[0];
  };

  describe("on a stepped clock", () => {
    beforeEach(async () => {
      stage = await serve(0);
    });
    test("a refresh is read as it is", async () => {
      const { InstanceRefreshId } = await stage.client.send(start);
      stage.clock.advance(100_000);
      expect(await describeOne()).toMatchObject({
        InstanceRefreshId,
        Status: "InProgress",
        StartTime: new Date("2026-01-01T00:00:02Z"),
        PercentageComplete: 50,
        InstancesToUpdate: 1,
        Preferences: { CheckpointPercentages: [50, 100], CheckpointDelay: 60, SkipMatching: true },
        DesiredConfiguration: { LaunchTemplate: { LaunchTemplateId: "lt-web", Version: "2" } },
      });
      const groups = await stage.client.send(
        new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: ["web", "other"] }),
      );
      expect(groups.AutoScalingGroups).toHaveLength(1);
      expect(groups.AutoScalingGroups?.[0]).toMatchObject({
        AvailabilityZones: ["eu-west-1a", "eu-west-1b"],
        NewInstancesProtectedFromScaleIn: false,
        Instances: [
          { LifecycleState: "Terminating", LaunchTemplate: { Version: "1" } },
          { LifecycleState: "InService", LaunchTemplate: { Version: "1" } },
          { LifecycleState: "InService", LaunchTemplate: { Version: "2" } },
        ],
      });
    });

    test("a warm pool and lifecycle hooks are put and read", async () => {
      const group = { AutoScalingGroupName: "web" };
      const hook = { ...group, LifecycleHookName: "boot" };
      await stage.client.send(
        new PutLifecycleHookCommand({
          ...hook,
          LifecycleTransition: "autoscaling:EC2_INSTANCE_LAUNCHING",
          HeartbeatTimeout: 60,
          DefaultResult: "CONTINUE",
        }),
      );
      await stage.client.send(new PutWarmPoolCommand({ ...group, MinSize: 1, PoolState: "Running" }));
      stage.clock.advance(40_000);
      const [waiting] = stage.world.group("web").warm;
      await stage.client.send(
        new CompleteLifecycleActionCommand({
          ...hook,
          LifecycleActionResult: "CONTINUE",
          InstanceId: waiting?.instanceId,
        }),
      );
      stage.clock.advance(40_000);
      const hooks = await stage.client.send(new DescribeLifecycleHooksCommand(group));
      expect(hooks.LifecycleHooks).toMatchObject([{ LifecycleHookName: "boot", GlobalTimeout: 6000 }]);
      expect(await stage.client.send(new DescribeWarmPoolCommand(group))).toMatchObject({
        WarmPoolConfiguration: { MinSize: 1, PoolState: "Running" },
        Instances: [{ InstanceId: waiting?.instanceId, LifecycleState: "Warmed:Running" }, {}],
      });
      await stage.client.send(start);
      stage.clock.advance(5000);
      expect(await describeOne()).toMatchObject({
        Strategy: "Rolling",
        ProgressDetails: {
          LivePoolProgress: { PercentageComplete: 0, InstancesToUpdate: 1 },
          WarmPoolProgress: { PercentageComplete: 0, InstancesToUpdate: 2 },
        },
      });
    });

    test("a start whose answer is lost is sent again and finds itself in progress", async () => {
      stage.faults.inject(
        { service: "autoscaling", action: "StartInstanceRefresh" },
        { kind: "reply-after-effect", status: 500, code: "InternalFailure", message: "Lost." },
      );
      await expect(stage.client.send(start)).rejects.toMatchObject({
        name: "InstanceRefreshInProgressFault",
        message:
          "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
      });
      expect(stage.log.writes().map((entry) => [entry.action, entry.status])).toStrictEqual([
        ["StartInstanceRefresh", 500],
        ["StartInstanceRefresh", 400],
      ]);
      expect(stage.world.refreshes("web")).toHaveLength(1);
    });
  });

  test("a refresh runs to its end on a fast clock, every step at its own time", async () => {
    stage = await serve(2000);
    await stage.client.send(start);
    while ((await describeOne())?.Status !== "Successful")
      await new Promise((resolve) => setTimeout(resolve, 10));
    const [refresh] = stage.world.refreshes("web");
    // (30 launch + 60 warm-up) + 60 checkpoint + (30 + 60) + 20 drain; what the request itself took is not in it.
    const took = (refresh?.endTime ?? 0) - (refresh?.startTime ?? 0);
    expect(Math.round(took / 1000)).toBe(260);
  });

  test("nothing is lost on a clock so fast that a state ends while it begins", async () => {
    stage = await serve(1_000_000);
    await stage.client.send(start);
    while (stage.world.refreshes("web")[0]?.status !== "Successful")
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(stage.world.refreshes("web")[0]?.status).toBe("Successful");
  });
});
