import {
  DescribeTargetHealthCommand,
  ElasticLoadBalancingV2Client,
} from "@aws-sdk/client-elastic-load-balancing-v2";
import type { TargetDescription } from "@aws-sdk/client-elastic-load-balancing-v2";
import { CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ACCESS_KEY, HOME, startSandbox } from "../../sandbox/sandbox.ts";
import { refusal } from "./ec2-stage.ts";

const arn = (name: string): string =>
  `arn:aws:elasticloadbalancing:${HOME.region}:${HOME.accountId}:targetgroup/${name}/0123456789abcdef`;

/** A group `web` of two instances in the target group `web`, and a group `other` of one instance in both. */
async function setStage() {
  const folder = await mkdtemp(join(tmpdir(), "kiln-elb-"));
  const sandbox = await startSandbox({ folder, speed: 0, ssh: false });
  onTestFinished(async () => {
    await sandbox.close();
    await rm(folder, { recursive: true, force: true });
  });
  const image = sandbox.ec2.addImage(HOME, { name: "web" });
  const template = sandbox.ec2.addLaunchTemplate(HOME, "web", {
    ImageId: image.id,
    InstanceType: "t3.micro",
  });
  const launchTemplate = { launchTemplateId: template.id, version: "1" };
  const group = { ...HOME, min: 0, max: 5, launchTemplate };
  sandbox.autoScaling.addGroup({ ...group, name: "web", desired: 2, targetGroupArns: [arn("web")] });
  sandbox.autoScaling.addGroup({
    ...group,
    name: "other",
    desired: 1,
    targetGroupArns: [arn("web"), arn("other")],
  });
  const settings = {
    endpoint: sandbox.awsUrl,
    region: HOME.region,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: "secret" },
  };
  const client = new ElasticLoadBalancingV2Client(settings);
  const health = async (name: string, Targets?: TargetDescription[]) => {
    const command = new DescribeTargetHealthCommand({ TargetGroupArn: arn(name), Targets });
    return (await client.send(command)).TargetHealthDescriptions ?? [];
  };
  return { sandbox, image, client, settings, health };
}

describe("DescribeTargetHealth", () => {
  test("the members of all groups that name the target group, and no others", async () => {
    const { sandbox, health } = await setStage();
    const ids = (name: string) => sandbox.autoScaling.group(name).members.map((member) => member.instanceId);
    const all = await health("web");
    expect(all.map((one) => one.Target?.Id)).toEqual([...ids("web"), ...ids("other")]);
    expect(all.map((one) => one.TargetHealth)).toEqual(all.map(() => ({ State: "healthy" })));
    expect((await health("other")).map((one) => one.Target?.Id)).toEqual(ids("other"));
    const asked = await health("other", [{ Id: ids("web")[0] }]);
    expect(asked).toMatchObject([{ TargetHealth: { State: "unused", Reason: "Target.NotRegistered" } }]);
  });

  test("unhealthy ones say why, in the words of the test", async () => {
    const { sandbox, image, health } = await setStage();
    const states = async () => (await health("other")).map((one) => one.TargetHealth);
    sandbox.autoScaling.setHealth({ [image.id]: { healthyAfter: "never" } });
    expect(await states()).toEqual([
      {
        State: "unhealthy",
        Reason: "Target.FailedHealthChecks",
        Description: "Health checks failed with these codes: [502]",
      },
    ]);
    sandbox.elb.setReason(image.id, { reason: "Target.Timeout", description: "Request timed out" });
    expect(await states()).toMatchObject([{ Reason: "Target.Timeout", Description: "Request timed out" }]);
    sandbox.autoScaling.setHealth({});
    expect(await states()).toEqual([{ State: "healthy" }]);
  });

  test("initial while it is launched and while its first checks run, draining before it goes", async () => {
    const { sandbox, health } = await setStage();
    const states = async () => (await health("other")).map((one) => one.TargetHealth);
    sandbox.autoScaling.setHealth((member) =>
      member.ordinal > 3 ? { healthyAfter: 60_000 } : { healthyAfter: 0 },
    );
    sandbox.autoScaling.setDesiredCapacity("other", 2);
    expect((await states())[1]).toMatchObject({ State: "initial", Reason: "Elb.RegistrationInProgress" });
    sandbox.clock.advance(40_000);
    expect((await states())[1]).toMatchObject({ State: "initial", Reason: "Elb.InitialHealthChecking" });
    sandbox.clock.advance(60_000);
    expect((await states())[1]).toEqual({ State: "healthy" });
    sandbox.autoScaling.setDesiredCapacity("other", 1);
    const left = await states();
    expect(left).toContainEqual({ State: "healthy" });
    expect(left).toContainEqual(
      expect.objectContaining({ State: "draining", Reason: "Target.DeregistrationInProgress" }),
    );
  });

  test("a target group that no group names does not exist, nor one of another region", async () => {
    const { client, settings } = await setStage();
    const unknown = new DescribeTargetHealthCommand({ TargetGroupArn: arn("nobody") });
    expect(await refusal(client.send(unknown))).toEqual({
      code: "TargetGroupNotFoundException",
      message: "One or more target groups not found",
    });
    const elsewhere = new ElasticLoadBalancingV2Client({ ...settings, region: "us-east-1" });
    const known = new DescribeTargetHealthCommand({ TargetGroupArn: arn("web") });
    expect((await refusal(elsewhere.send(known))).code).toBe("TargetGroupNotFoundException");
  });
});

test("an alarm that is set for Auto Scaling is known to CloudWatch", async () => {
  const { sandbox, settings } = await setStage();
  sandbox.autoScaling.setAlarm("5xx", "ALARM");
  const answer = await new CloudWatchClient(settings).send(
    new DescribeAlarmsCommand({ AlarmNames: ["5xx"] }),
  );
  expect(answer.MetricAlarms).toMatchObject([{ AlarmName: "5xx", StateValue: "ALARM" }]);
});
