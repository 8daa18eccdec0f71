import { DescribeRegionsCommand, EC2Client } from "@aws-sdk/client-ec2";
import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  GetCallerIdentityCommand,
  STSClient,
} from "@aws-sdk/client-sts";
import type { AssumeRoleCommandInput, Credentials } from "@aws-sdk/client-sts";
import { describe, expect, onTestFinished, test } from "vitest";
import type { AwsAccounts } from "../../sandbox/aws/credentials.ts";
import { createEc2World } from "../../sandbox/aws/ec2/world.ts";
import { startAwsServer } from "../../sandbox/aws/server.ts";
import { createSts } from "../../sandbox/aws/sts.ts";
import type { WebIdentity } from "../../sandbox/aws/sts.ts";
import { createClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { home, refusal } from "./ec2-stage.ts";

const RoleArn = "arn:aws:iam::444455556666:role/ci/deploy";
const RoleSessionName = "kiln-42";

async function setStage(tokens: Record<string, WebIdentity> = {}) {
  const clock = createClock({ start: new Date("2030-01-01T00:00:00Z") });
  const log = new RequestLog();
  const accounts: AwsAccounts = { AKIAHOME: { accountId: home.accountId } };
  const closedRoles = new Set<string>();
  const server = await startAwsServer({
    clock,
    log,
    faults: new Faults(),
    accounts,
    services: {
      ec2: createEc2World({ clock }).operations,
      sts: createSts({ accounts, closedRoles, webIdentity: (token) => tokens[token] }),
    },
  });
  onTestFinished(() => server.close());
  const settings = (accessKeyId: string) => ({
    endpoint: server.url,
    region: home.region,
    credentials: { accessKeyId, secretAccessKey: "secret", sessionToken: "session" },
  });
  const sts = (accessKeyId = "AKIAHOME") => new STSClient(settings(accessKeyId));
  const ec2 = (accessKeyId: string) => new EC2Client(settings(accessKeyId));
  const assume = (input: Partial<AssumeRoleCommandInput> = {}, accessKeyId?: string) =>
    sts(accessKeyId).send(new AssumeRoleCommand({ RoleArn, RoleSessionName, ...input }));
  const identify = (accessKeyId: string) => sts(accessKeyId).send(new GetCallerIdentityCommand());
  return { log, accounts, closedRoles, sts, ec2, assume, identify, url: server.url };
}

/** Minutes of real time until the credentials end. */
function minutesLeft(credentials: Credentials | undefined): number {
  return Math.round(((credentials?.Expiration?.getTime() ?? 0) - Date.now()) / 60_000);
}

describe("AssumeRole", () => {
  test("gives a key of the role's account, for an hour of real time", async () => {
    const stage = await setStage();
    const Tags = [{ Key: "app", Value: "web" }];
    const { Credentials, AssumedRoleUser } = await stage.assume({ Tags });
    const arn = "arn:aws:sts::444455556666:assumed-role/deploy/kiln-42";
    expect(AssumedRoleUser?.Arn).toBe(arn);
    expect(AssumedRoleUser?.AssumedRoleId).toMatch(/^AROA[0-9A-F]{17}:kiln-42$/);
    expect(Credentials?.AccessKeyId).toMatch(/^ASIA[0-9A-F]{16}$/);
    expect(minutesLeft(Credentials)).toBe(60);
    const key = Credentials?.AccessKeyId ?? "";
    expect(stage.accounts[key]?.role?.tags).toEqual({ app: "web" });
    expect(await stage.identify(key)).toMatchObject({
      Arn: arn,
      Account: "444455556666",
      UserId: AssumedRoleUser?.AssumedRoleId,
    });
    expect((await stage.ec2(key).send(new DescribeRegionsCommand())).Regions).not.toEqual([]);
  });

  test("takes another duration, and by role chaining no more than an hour", async () => {
    const stage = await setStage();
    const { Credentials } = await stage.assume({ DurationSeconds: 7200 });
    expect(minutesLeft(Credentials)).toBe(120);
    const chained = stage.assume({ DurationSeconds: 7200 }, Credentials?.AccessKeyId);
    expect(await refusal(chained)).toMatchObject({
      code: "ValidationError",
      message: expect.stringContaining("role chaining"),
    });
  });

  test.each([
    ["ARN", { RoleArn: "arn:aws:iam::444455556666:user/ada" }],
    ["session name", { RoleSessionName: "of mine" }],
    ["duration", { DurationSeconds: 60 }],
  ])("refuses a bad %s", async (_, input) => {
    const stage = await setStage();
    expect((await refusal(stage.assume(input))).code).toBe("ValidationError");
  });

  test("a role may let nobody in", async () => {
    const stage = await setStage();
    stage.closedRoles.add(RoleArn);
    expect(await refusal(stage.assume())).toEqual({
      code: "AccessDenied",
      message:
        "User: arn:aws:sts::111122223333:assumed-role/kiln/session is not authorized to perform: " +
        `sts:AssumeRole on resource: ${RoleArn}`,
    });
  });
});

describe("credentials that end", () => {
  test("are refused by each service in its own words", async () => {
    const stage = await setStage();
    const { Credentials } = await stage.assume();
    const key = Credentials?.AccessKeyId ?? "";
    const account = stage.accounts[key];
    if (account === undefined) throw new Error("The key is not known");
    account.expiresAt = Date.now() - 1;
    expect((await refusal(stage.ec2(key).send(new DescribeRegionsCommand()))).code).toBe("RequestExpired");
    const error: unknown = await stage.identify(key).catch((error: unknown) => error);
    expect(error).toMatchObject({ Code: "ExpiredToken", $metadata: { httpStatusCode: 403 } });
  });
});

describe("AssumeRoleWithWebIdentity", () => {
  const identity: WebIdentity = {
    issuer: "https://token.actions.githubusercontent.com",
    subject: "repo:acme/web:ref:refs/heads/main",
    audience: "sts.amazonaws.com",
    expiresAt: Date.now() + 300_000,
  };
  const command = (WebIdentityToken: string) =>
    new AssumeRoleWithWebIdentityCommand({ RoleArn, RoleSessionName, WebIdentityToken });
  const tokens = {
    good: identity,
    old: { ...identity, expiresAt: Date.now() - 1 },
    foreign: { ...identity, audience: "https://github.com/acme" },
  };

  test("needs no credentials, only the token", async () => {
    const stage = await setStage(tokens);
    const sts = new STSClient({ endpoint: stage.url, region: home.region });
    const { Credentials, ...answer } = await sts.send(command("good"));
    expect(answer).toMatchObject({
      AssumedRoleUser: { Arn: "arn:aws:sts::444455556666:assumed-role/deploy/kiln-42" },
      SubjectFromWebIdentityToken: identity.subject,
      Audience: "sts.amazonaws.com",
      Provider: "arn:aws:iam::444455556666:oidc-provider/token.actions.githubusercontent.com",
    });
    expect(minutesLeft(Credentials)).toBe(60);
    expect((await stage.identify(Credentials?.AccessKeyId ?? "")).Account).toBe("444455556666");
    expect(stage.log.entries[0]).toMatchObject({ service: "sts", writes: false, status: 200 });
  });

  test.each([
    ["forged", "InvalidIdentityTokenException", "could not be validated"],
    ["foreign", "InvalidIdentityTokenException", "Incorrect token audience"],
    ["old", "ExpiredTokenException", "expired"],
  ])("refuses a token that is %s", async (token, code, message) => {
    const stage = await setStage(tokens);
    expect(await refusal(stage.sts().send(command(token)))).toEqual({
      code,
      message: expect.stringContaining(message),
    });
  });

  test("a role may let nobody in", async () => {
    const stage = await setStage(tokens);
    stage.closedRoles.add(RoleArn);
    expect(await refusal(stage.sts().send(command("good")))).toEqual({
      code: "AccessDenied",
      message: "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    });
  });
});
