import { DescribeAutoScalingGroupsCommand, StartInstanceRefreshCommand } from "@aws-sdk/client-auto-scaling";
import { DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { DescribeImagesCommand } from "@aws-sdk/client-ec2";
import { DescribeTargetHealthCommand } from "@aws-sdk/client-elastic-load-balancing-v2";
import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { wallClock } from "../../src/action/wall-clock.ts";
import { type AwsClientOptions, type AwsClients, createAwsClients } from "../../src/aws/clients.ts";
import { RemoteError } from "../../src/domain/errors.ts";
import { type Answer, type Asked, callerIs, EMPTY, LocalAws, newKey } from "./answers.ts";

const SESSION = "arn:aws:sts::111111111111:assumed-role/web-deployer/GitHubActions";
const ROLE = "arn:aws:iam::111111111111:role/web-deployer";
const REGION = "eu-west-1";

/** An account whose keys expire: each renewal gives the next, `AKIA1`, `AKIA2` … */
class Account {
  readonly valid = new Set(["AKIA0"]);
  caller = SESSION;
  /** What AssumeRoleWithWebIdentity answers instead of a key. */
  refusal: Answer | undefined;
  expiredCode = "ExpiredToken";
  /** Resolves before a renewal is answered. */
  slow: Promise<void> = Promise.resolve();
  #next = 1;

  async answer({ action, accessKey }: Asked): Promise<Answer> {
    if (action === "AssumeRoleWithWebIdentity") {
      await this.slow;
      if (this.refusal !== undefined) return this.refusal;
      const key = `AKIA${this.#next}`;
      this.#next += 1;
      this.valid.add(key);
      return newKey(key);
    }
    if (!this.valid.has(accessKey ?? "")) return { code: this.expiredCode, message: "it is expired" };
    return action === "GetCallerIdentity" ? callerIs(this.caller) : EMPTY;
  }
}

let account: Account;
let aws: LocalAws;
let renewed: string[];
let audiences: string[];

beforeEach(async () => {
  account = new Account();
  renewed = [];
  audiences = [];
  aws = await LocalAws.open((asked) => account.answer(asked));
  process.env["AWS_ENDPOINT_URL"] = aws.url;
});

afterEach(async () => {
  delete process.env["AWS_ENDPOINT_URL"];
  await aws[Symbol.asyncDispose]();
});

const clientsWith = (options: Partial<AwsClientOptions> = {}): AwsClients =>
  createAwsClients({
    userAgent: [["kiln", "0.1.0"]],
    clock: wallClock,
    env: { accessKeyId: "AKIA0", secretAccessKey: "secret", sessionToken: "token" },
    idToken: async (audience) => {
      audiences.push(audience);
      return "a.web.token";
    },
    onRenewed: (message) => renewed.push(message),
    ...options,
  });

const images = async (clients: AwsClients): Promise<unknown> =>
  (await clients.ec2(REGION)).send(new DescribeImagesCommand({ ImageIds: ["ami-1"] }));
const groups = async (clients: AwsClients): Promise<unknown> =>
  (await clients.autoScaling(REGION)).send(new DescribeAutoScalingGroupsCommand({}));
const identity = async (clients: AwsClients): Promise<unknown> =>
  (await clients.sts(REGION)).send(new GetCallerIdentityCommand({}));
const failureOf = async (work: Promise<unknown>): Promise<RemoteError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof RemoteError) return error;
  throw new Error("it did not fail with AWS's refusal", { cause: error });
};

describe("credentials that expire", () => {
  test("are renewed for the role that they were for, and the request is sent again", async () => {
    const clients = clientsWith({ sessionName: "run 7/1" });
    await identity(clients);
    account.valid.clear();
    await images(clients);
    expect(aws.log).toStrictEqual([
      "GetCallerIdentity by AKIA0",
      "DescribeImages by AKIA0",
      "AssumeRoleWithWebIdentity by nobody",
      "DescribeImages by AKIA1",
    ]);
    const [, , assumed, again] = aws.asked;
    expect(Object.fromEntries(assumed?.params ?? [])).toMatchObject({
      RoleArn: ROLE,
      RoleSessionName: "run-7-1",
      WebIdentityToken: "a.web.token",
    });
    expect(assumed?.userAgent).toContain("kiln/0.1.0");
    expect(again?.token).toBe("token of AKIA1");
    expect(audiences).toStrictEqual(["sts.amazonaws.com"]);
    expect(renewed).toStrictEqual([
      `The AWS credentials had expired and were renewed: ${ROLE}, until 2026-11-20T12:00:00.000Z`,
    ]);
  });

  test.each(["ExpiredToken", "ExpiredTokenException", "RequestExpired"])("by the code %s", async (code) => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    account.expiredCode = code;
    await groups(clients);
    expect(aws.log.at(-1)).toBe("DescribeAutoScalingGroups by AKIA1");
  });

  test("are new for every client, made before or after", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    await groups(clients);
    account.valid.clear();
    await images(clients);
    await groups(clients);
    await identity(clients);
    const loadBalancing = await clients.elasticLoadBalancing(REGION);
    await loadBalancing.send(new DescribeTargetHealthCommand({ TargetGroupArn: "arn" }));
    const cloudWatch = await clients.cloudWatch(REGION);
    await cloudWatch.send(new DescribeAlarmsCommand({}));
    expect(aws.log.slice(3)).toStrictEqual([
      "DescribeImages by AKIA1",
      "DescribeAutoScalingGroups by AKIA1",
      "GetCallerIdentity by AKIA1",
      "DescribeTargetHealth by AKIA1",
      expect.stringMatching(/DescribeAlarms by AKIA1$/),
    ]);
    expect(renewed).toHaveLength(1);
  });

  test("are noticed by CloudWatch's protocol too", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    await (await clients.cloudWatch(REGION)).send(new DescribeAlarmsCommand({}));
    expect(aws.log.at(-1)).toMatch(/DescribeAlarms by AKIA1$/);
  });

  test("are renewed once for all who notice at the same time", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    const { promise, resolve } = Promise.withResolvers<void>();
    account.slow = promise;
    const work = Promise.all([images(clients), groups(clients), groups(clients), identity(clients)]);
    await expect.poll(() => aws.asked.length).toBe(5);
    resolve();
    await work;
    expect(aws.log.filter((line) => line.startsWith("Assume"))).toHaveLength(1);
    expect(aws.log.filter((line) => line.endsWith("AKIA1"))).toHaveLength(4);
  });

  test("and expire again are renewed again", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    for (const key of ["AKIA1", "AKIA2", "AKIA3"]) {
      account.valid.clear();
      await groups(clients);
      expect(aws.log.at(-1)).toBe(`DescribeAutoScalingGroups by ${key}`);
    }
    expect(renewed).toHaveLength(3);
  });

  test("are renewed for a request that may be sent only once too: the refused one had no effect", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    await (
      await clients.autoScalingOnce(REGION)
    ).send(new StartInstanceRefreshCommand({ AutoScalingGroupName: "web" }));
    expect(aws.log).toStrictEqual([
      "StartInstanceRefresh by AKIA0",
      "AssumeRoleWithWebIdentity by nobody",
      "StartInstanceRefresh by AKIA1",
    ]);
  });

  test("are tried once: new ones that are refused are an error", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    account.valid.add = () => account.valid;
    const error = await failureOf(groups(clients));
    expect(error.code).toBe("ExpiredToken");
    expect(aws.log).toHaveLength(3);
  });

  test("and another error after the renewal is that error", async () => {
    const clients = clientsWith({ roleArn: ROLE });
    account.valid.clear();
    const answer = account.answer.bind(account);
    account.answer = async (asked) =>
      asked.accessKey === "AKIA1" ? { code: "ValidationError", message: "no group" } : answer(asked);
    expect((await failureOf(groups(clients))).code).toBe("ValidationError");
  });
});

describe("a role", () => {
  test.each<[what: string, options: Partial<AwsClientOptions>, caller: string, assumed: string]>([
    ["is the one that the credentials show", {}, SESSION, ROLE],
    [
      "is one of its partition",
      {},
      "arn:aws-us-gov:sts::111111111111:assumed-role/web-deployer/x",
      "arn:aws-us-gov:iam::111111111111:role/web-deployer",
    ],
    [
      "is the one that is named, which may have a path",
      { roleArn: "arn:aws:iam::111111111111:role/deploy/eu/web-deployer" },
      SESSION,
      "arn:aws:iam::111111111111:role/deploy/eu/web-deployer",
    ],
  ])("%s", async (_, options, caller, assumed) => {
    account.caller = caller;
    const clients = clientsWith(options);
    await identity(clients);
    account.valid.clear();
    await groups(clients);
    expect(aws.asked.find(({ action }) => action.startsWith("Assume"))?.params.get("RoleArn")).toBe(assumed);
  });

  test.each<[what: string, options: Partial<AwsClientOptions>, caller: string | undefined, why: string]>([
    ["that nobody named nor saw", {}, undefined, "Kiln does not know which role they were for"],
    [
      "of a user",
      {},
      "arn:aws:iam::111111111111:user/ada",
      "not a role's but arn:aws:iam::111111111111:user/ada",
    ],
    ["that is none", { roleArn: "web-deployer" }, undefined, "web-deployer, is not a role's ARN"],
    [
      "that the credentials were not for",
      { roleArn: "arn:aws:iam::111111111111:role/first-hop" },
      SESSION,
      `names arn:aws:iam::111111111111:role/first-hop, but they were ${SESSION}`,
    ],
    [
      "of another account",
      { roleArn: "arn:aws:iam::222222222222:role/web-deployer" },
      SESSION,
      "names arn:aws:iam::222222222222:role/web-deployer",
    ],
  ])("%s is not assumed", async (_, options, caller, why) => {
    const clients = clientsWith(options);
    if (caller !== undefined) {
      account.caller = caller;
      await identity(clients);
    }
    account.valid.clear();
    const error = await failureOf(groups(clients));
    expect(error).toMatchObject({ message: "The AWS credentials have expired", code: "ExpiredToken" });
    expect(error.state).toContain("Renewing them by OIDC failed: ");
    expect(error.state).toContain(why);
    expect(error.next).toMatch(/^Run the job again/);
    expect(audiences).toStrictEqual([]);
    expect(aws.log.filter((line) => line.startsWith("Assume"))).toStrictEqual([]);
  });
});

describe("a renewal that fails leaves the expiry as the error", () => {
  test("where GitHub gives no token", async () => {
    const clients = clientsWith({
      roleArn: ROLE,
      idToken: async () => {
        throw new Error("Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable");
      },
    });
    account.valid.clear();
    const error = await failureOf(groups(clients));
    expect(error.state).toBe(
      "Auto Scaling DescribeAutoScalingGroups in eu-west-1 answered ExpiredToken: it is expired (request r-1). Renewing them by OIDC failed: GitHub gave no OIDC token: Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable",
    );
  });

  test.each<[what: string, options: Partial<AwsClientOptions>, code: string, next: string]>([
    ["where the role has a path", {}, "AccessDenied", "Set AWS_ROLE_ARN to the role's whole ARN"],
    ["where the role does not trust the job", { roleArn: ROLE }, "AccessDenied", "trust policy"],
    // STS answers an OIDC token that is too old by this name: it must not begin another renewal.
    ["where the OIDC token has expired", { roleArn: ROLE }, "ExpiredTokenException", "trust policy"],
  ])("%s", async (_, options, code, next) => {
    const clients = clientsWith(options);
    await identity(clients);
    account.valid.clear();
    account.refusal = { code, message: "Not authorized to perform sts:AssumeRoleWithWebIdentity" };
    const error = await failureOf(groups(clients));
    expect(error).toMatchObject({ message: "The AWS credentials have expired", code: "ExpiredToken" });
    expect(error.state).toContain(`AWS gave no new ones for ${ROLE}: ${code}: Not authorized`);
    expect(error.next).toContain("Run the job again");
    expect(error.next).toContain(next);
    expect(renewed).toStrictEqual([]);
    // The next request may try again.
    account.refusal = undefined;
    await groups(clients);
    expect(aws.log.at(-1)).toBe("DescribeAutoScalingGroups by AKIA1");
  });
});

describe("nothing is renewed", () => {
  test.each<[what: string, options: Partial<AwsClientOptions>]>([
    ["where the job may not ask for a token", { idToken: undefined }],
    ["where the credentials are not the environment's", { env: undefined }],
  ])("%s", async (_, options) => {
    process.env["AWS_ACCESS_KEY_ID"] = "AKIA0";
    process.env["AWS_SECRET_ACCESS_KEY"] = "secret";
    const clients = clientsWith({ roleArn: ROLE, ...options });
    await groups(clients);
    account.valid.clear();
    const error = await failureOf(groups(clients));
    expect(error).toMatchObject({ message: "The AWS credentials have expired", code: "ExpiredToken" });
    expect(error.state).not.toContain("Renewing");
    expect(error.next).toContain("`permissions: id-token: write`");
    delete process.env["AWS_ACCESS_KEY_ID"];
    delete process.env["AWS_SECRET_ACCESS_KEY"];
  });
});
