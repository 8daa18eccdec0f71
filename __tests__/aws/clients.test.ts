import { DescribeScalingActivitiesCommand } from "@aws-sdk/client-auto-scaling";
import { DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { GetConsoleOutputCommand } from "@aws-sdk/client-ec2";
import { DescribeTargetHealthCommand } from "@aws-sdk/client-elastic-load-balancing-v2";
import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { wallClock } from "../../src/action/wall-clock.ts";
import { type AwsClients, createAwsClients } from "../../src/aws/clients.ts";
import { LocalAws } from "./answers.ts";

const REGION = "eu-west-1";
let aws: LocalAws;
let clients: AwsClients;

beforeAll(async () => {
  aws = await LocalAws.open(() => ({ code: "AccessDenied", message: "not you" }));
  process.env["AWS_ENDPOINT_URL"] = aws.url;
  process.env["AWS_ACCESS_KEY_ID"] = "AKIA0";
  process.env["AWS_SECRET_ACCESS_KEY"] = "secret";
  clients = createAwsClients({ userAgent: [["kiln", "0.1.0"]], clock: wallClock });
});

afterAll(async () => {
  await aws[Symbol.asyncDispose]();
});

test.each<[permission: string, service: string, ask: () => Promise<unknown>]>([
  [
    "ec2:GetConsoleOutput",
    "EC2 GetConsoleOutput",
    async () => (await clients.ec2(REGION)).send(new GetConsoleOutputCommand({ InstanceId: "i-1" })),
  ],
  [
    "autoscaling:DescribeScalingActivities",
    "Auto Scaling DescribeScalingActivities",
    async () => (await clients.autoScaling(REGION)).send(new DescribeScalingActivitiesCommand({})),
  ],
  [
    "elasticloadbalancing:DescribeTargetHealth",
    "Elastic Load Balancing DescribeTargetHealth",
    async () =>
      (await clients.elasticLoadBalancing(REGION)).send(
        new DescribeTargetHealthCommand({ TargetGroupArn: "arn" }),
      ),
  ],
  [
    "cloudwatch:DescribeAlarms",
    "CloudWatch DescribeAlarms",
    async () => (await clients.cloudWatch(REGION)).send(new DescribeAlarmsCommand({ AlarmNames: ["a"] })),
  ],
  [
    "sts:GetCallerIdentity",
    "STS GetCallerIdentity",
    async () => (await clients.sts(REGION)).send(new GetCallerIdentityCommand({})),
  ],
])("what the role may not do is named as IAM names it: %s", async (permission, service, ask) => {
  await expect(ask()).rejects.toMatchObject({
    message: `The role may not do ${permission} in eu-west-1`,
    next: expect.stringContaining(`"Action":"${permission}"`),
    state: expect.stringContaining(`${service} in eu-west-1 answered AccessDenied`),
  });
  expect(aws.asked.at(-1)?.userAgent).toContain("kiln/0.1.0");
});

test("a region's client is made once", async () => {
  expect(await clients.cloudWatch(REGION)).toBe(await clients.cloudWatch(REGION));
  expect(await clients.elasticLoadBalancing(REGION)).not.toBe(
    await clients.elasticLoadBalancing("us-east-1"),
  );
  expect(await clients.autoScaling(REGION)).not.toBe(await clients.autoScalingOnce(REGION));
});
