/** One AWS with EC2 and STS on loopback, on a stepped clock, and the AWS SDK's clients for it. */
import { DescribeImagesCommand, EC2Client } from "@aws-sdk/client-ec2";
import type { Image } from "@aws-sdk/client-ec2";
import { onTestFinished } from "vitest";
import { startAwsServer } from "../../sandbox/aws/server.ts";
import type { AwsAccounts, AwsServer } from "../../sandbox/aws/server.ts";
import { createSts } from "../../sandbox/aws/sts.ts";
import { createEc2World } from "../../sandbox/aws/ec2/world.ts";
import type { Ec2World } from "../../sandbox/aws/ec2/world.ts";
import type { Ec2Options } from "../../sandbox/aws/ec2/state.ts";
import type { InstanceHost } from "../../sandbox/aws/instance-host.ts";
import { createClock } from "../../sandbox/clock.ts";
import type { SandboxClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";

export const home = { region: "eu-west-1", accountId: "111122223333" };
export const other = { region: "eu-west-1", accountId: "444455556666" };

export interface Stage {
  readonly clock: SandboxClock;
  readonly log: RequestLog;
  readonly faults: Faults;
  readonly accounts: AwsAccounts;
  readonly world: Ec2World;
  readonly server: AwsServer;
  /** The home account in its region. */
  readonly ec2: EC2Client;
  client(accessKeyId: string, region?: string): EC2Client;
}

export async function setStage(options: Ec2Options = {}, host?: InstanceHost): Promise<Stage> {
  const clock = createClock({ start: new Date("2026-03-01T12:00:00Z") });
  const log = new RequestLog();
  const faults = new Faults();
  const world = createEc2World(host === undefined ? { clock, options } : { clock, host, options });
  const accounts: AwsAccounts = {
    AKIAHOME: { accountId: home.accountId },
    AKIAOTHER: { accountId: other.accountId },
  };
  const services = { ec2: world.operations, sts: createSts() };
  const server = await startAwsServer({ clock, log, faults, services, accounts });
  onTestFinished(() => server.close());
  const client = (accessKeyId: string, region = home.region): EC2Client =>
    new EC2Client({ endpoint: server.url, region, credentials: { accessKeyId, secretAccessKey: "secret" } });
  return { clock, log, faults, accounts, world, server, client, ec2: client("AKIAHOME") };
}

/** What a refused SDK call says: its code and its message. */
export async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Error) return { code: error.name, message: error.message };
  }
  throw new Error("The call was expected to be refused");
}

export async function describeImage(ec2: EC2Client, imageId: string): Promise<Image | undefined> {
  const answer = await ec2.send(new DescribeImagesCommand({ ImageIds: [imageId] }));
  return answer.Images?.[0];
}
