import {
  CreateKeyPairCommand,
  CreateTagsCommand,
  DescribeImagesCommand,
  DescribeKeyPairsCommand,
  DescribeRegionsCommand,
} from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { startAwsServer } from "../../sandbox/aws/server.ts";
import { home, refusal, setStage } from "./ec2-stage.ts";
import type { Stage } from "./ec2-stage.ts";

const authorization = (accessKeyId: string, service: string): string =>
  `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20260301/eu-west-1/${service}/aws4_request, SignedHeaders=host, Signature=0`;

async function post(
  stage: Stage,
  form: Record<string, string>,
  service = "ec2",
  accessKeyId = "AKIAHOME",
): Promise<{ status: number; headers: Headers; body: string }> {
  const response = await fetch(stage.server.url, {
    method: "POST",
    headers: { authorization: authorization(accessKeyId, service) },
    body: new URLSearchParams(form),
  });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

const keyPair = { Action: "CreateKeyPair", Version: "2016-11-15", KeyName: "k" };

describe("the shape of answers", () => {
  test("EC2: no result wrapper, request id inside and in the header, AWS's time in the Date header", async () => {
    const stage = await setStage();
    const { status, headers, body } = await post(stage, {
      Action: "DescribeRegions",
      Version: "2016-11-15",
      "RegionName.1": "eu-west-1",
    });
    const id = headers.get("x-amzn-requestid") ?? "";
    expect(status).toBe(200);
    expect(id).not.toBe("");
    expect(headers.get("date")).toBe("Sun, 01 Mar 2026 12:00:00 GMT");
    expect(body).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>' +
        '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">' +
        `<requestId>${id}</requestId><regionInfo><item><regionName>eu-west-1</regionName>` +
        "<regionEndpoint>ec2.eu-west-1.amazonaws.com</regionEndpoint>" +
        "<optInStatus>opt-in-not-required</optInStatus></item></regionInfo></DescribeRegionsResponse>",
    );
  });

  test("EC2: an empty list is an empty element", async () => {
    const stage = await setStage();
    const { body } = await post(stage, {
      Action: "DescribeImages",
      Version: "2016-11-15",
      "Owner.1": "self",
    });
    expect(body).toMatch(/<imagesSet(?:\/>|><\/imagesSet>)<\/DescribeImagesResponse>$/);
  });

  test("STS: a result wrapper and response metadata", async () => {
    const stage = await setStage();
    const { body } = await post(stage, { Action: "GetCallerIdentity", Version: "2011-06-15" }, "sts");
    expect(body).toContain("<GetCallerIdentityResponse xmlns=");
    expect(body).toMatch(/<GetCallerIdentityResult><Arn>.*<\/GetCallerIdentityResult><ResponseMetadata>/);
  });

  test("errors: EC2's own shape, and the Query protocol's", async () => {
    const stage = await setStage();
    const ec2 = await post(stage, { Action: "Nonsense", Version: "2016-11-15" });
    expect(ec2.status).toBe(400);
    expect(ec2.body).toMatch(/<Response><Errors><Error><Code>InvalidAction<\/Code><Message>.*<RequestID>/);
    const sts = await post(stage, { Action: "Nonsense", Version: "2011-06-15" }, "sts");
    expect(sts.status).toBe(400);
    expect(sts.body).toMatch(/<ErrorResponse .*<Error><Type>Sender<\/Type><Code>InvalidAction<\/Code>/);
    const scaling = await post(stage, { Action: "Nonsense", Version: "2011-01-01" }, "autoscaling");
    expect(scaling.body).toContain("<ErrorResponse ");
  });

  test("text is escaped", async () => {
    const stage = await setStage();
    await stage.ec2.send(new CreateKeyPairCommand({ KeyName: `a<&>"'b` }));
    const { KeyPairs } = await stage.ec2.send(new DescribeKeyPairsCommand());
    expect(KeyPairs?.[0]?.KeyName).toBe(`a<&>"'b`);
  });

  test("without a version, the action tells the service", async () => {
    const stage = await setStage();
    const { status } = await post(stage, { Action: "GetCallerIdentity" }, "sts");
    expect(status).toBe(200);
    expect(stage.log.entries[0]?.service).toBe("sts");
  });

  test("the handler works without the listener, for a proxy", async () => {
    const stage = await setStage();
    const { createServer } = await import("node:http");
    const proxy = createServer(stage.server.handle);
    await new Promise<void>((resolve) => {
      proxy.listen(0, "127.0.0.1", resolve);
    });
    const address = proxy.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const response = await fetch(`http://127.0.0.1:${port}`, {
      method: "POST",
      headers: { authorization: authorization("AKIAHOME", "sts") },
      body: new URLSearchParams({ Action: "GetCallerIdentity", Version: "2011-06-15" }),
    });
    proxy.close();
    expect(response.status).toBe(200);
  });
});

describe("credentials", () => {
  const sts = (stage: Stage, accessKeyId: string): STSClient =>
    new STSClient({
      endpoint: stage.server.url,
      region: home.region,
      credentials: { accessKeyId, secretAccessKey: "secret" },
    });

  test("the access key decides the account, the credential scope the region", async () => {
    const stage = await setStage();
    const { Account, Arn } = await sts(stage, "AKIAOTHER").send(new GetCallerIdentityCommand());
    expect(Account).toBe("444455556666");
    expect(Arn).toBe("arn:aws:sts::444455556666:assumed-role/kiln/session");
    await stage.client("AKIAHOME", "us-west-2").send(new DescribeRegionsCommand());
    expect(stage.log.entries.at(-1)?.region).toBe("us-west-2");
  });

  test.each([
    ["unknown", "AuthFailure", "InvalidClientTokenId"],
    ["expired", "RequestExpired", "ExpiredToken"],
  ] as const)("%s credentials are refused by each service in its own words", async (state, ec2, query) => {
    const stage = await setStage();
    stage.accounts["AKIAHOME"] = { accountId: home.accountId, state };
    expect((await refusal(stage.ec2.send(new DescribeRegionsCommand()))).code).toBe(ec2);
    const identity = sts(stage, "AKIAHOME").send(new GetCallerIdentityCommand());
    expect((await refusal(identity)).code).toContain(query);
    const scaling = await post(stage, { Action: "DescribeTags", Version: "2011-01-01" }, "autoscaling");
    expect(scaling.status).toBe(403);
    expect(scaling.body).toContain(`<Code>${query}</Code>`);
  });

  test("a key that is in no account is unknown; the status is as AWS documents it", async () => {
    const stage = await setStage();
    expect((await post(stage, keyPair, "ec2", "AKIANOBODY")).status).toBe(401);
    expect(stage.world.keyPairs()).toEqual([]);
  });

  test("credentials may expire between two requests", async () => {
    const stage = await setStage();
    await stage.ec2.send(new DescribeRegionsCommand());
    stage.accounts["AKIAHOME"] = { accountId: home.accountId, state: "expired" };
    expect((await refusal(stage.ec2.send(new DescribeRegionsCommand()))).code).toBe("RequestExpired");
  });

  test("a policy check sees every request and may refuse it", async () => {
    const stage = await setStage();
    const { AwsError } = await import("../../sandbox/aws/query.ts");
    const seen: string[] = [];
    const guarded = await startAwsServer({
      ...stage,
      services: { ec2: stage.world.operations },
      authorize({ service, action, accessKeyId }) {
        seen.push(`${accessKeyId} ${service}:${action}`);
        throw new AwsError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403);
      },
    });
    const { body } = await post({ ...stage, server: guarded }, keyPair);
    await guarded.close();
    expect(body).toContain("UnauthorizedOperation");
    expect(seen).toEqual(["AKIAHOME ec2:CreateKeyPair"]);
    expect(stage.world.keyPairs()).toEqual([]);
  });
});

describe("the request log", () => {
  test("says what was asked, by whom, and whether it could have changed something", async () => {
    const stage = await setStage();
    await stage.ec2.send(new DescribeImagesCommand({ Owners: ["self"] }));
    await refusal(
      stage.ec2.send(new CreateTagsCommand({ Resources: ["ami-1"], Tags: [{ Key: "a", Value: "b" }] })),
    );
    await refusal(stage.ec2.send(new CreateKeyPairCommand({ KeyName: "k", DryRun: true })));
    const [read, write, dry] = stage.log.entries;
    expect(read).toMatchObject({ service: "ec2", action: "DescribeImages", writes: false, status: 200 });
    expect(read?.params).toMatchObject({ "Owner.1": "self" });
    expect(read?.userAgent).toContain("aws-sdk-js");
    expect(write).toMatchObject({ writes: true, status: 400, error: "InvalidAMIID.NotFound" });
    expect(dry).toMatchObject({ writes: false, error: "DryRunOperation", status: 412 });
  });
});

describe("faults", () => {
  const match = { action: "CreateKeyPair" };

  test("reply: an error in the service's shape, with headers, and no effect", async () => {
    const stage = await setStage();
    const headers = { "x-test": "1" };
    stage.faults.inject(match, {
      kind: "reply",
      status: 503,
      code: "RequestLimitExceeded",
      message: "Slow",
      headers,
    });
    const answer = await post(stage, keyPair);
    expect(answer.status).toBe(503);
    expect(answer.headers.get("x-test")).toBe("1");
    expect(answer.body).toContain("<Errors><Error><Code>RequestLimitExceeded</Code>");
    expect(stage.world.keyPairs()).toHaveLength(0);
    expect(stage.log.entries[0]).toMatchObject({ status: 503, error: "RequestLimitExceeded" });
  });

  test("reply-after-effect: the error hides that it happened; the SDK sends it again", async () => {
    const stage = await setStage();
    stage.faults.inject(match, {
      kind: "reply-after-effect",
      status: 500,
      code: "InternalError",
      message: "Oops",
    });
    const { code } = await refusal(stage.ec2.send(new CreateKeyPairCommand({ KeyName: "k" })));
    expect(code).toBe("InvalidKeyPair.Duplicate");
    expect(stage.log.entries.map((entry) => entry.status)).toEqual([500, 400]);
  });

  test("drop-before: the connection ends and nothing happened", async () => {
    const stage = await setStage();
    stage.faults.inject(match, { kind: "drop-before" });
    await expect(post(stage, keyPair)).rejects.toThrow("fetch failed");
    expect(stage.world.keyPairs()).toHaveLength(0);
    expect(stage.log.entries[0]?.status).toBe(0);
  });

  test("drop-after: the connection ends and it happened", async () => {
    const stage = await setStage();
    stage.faults.inject(match, { kind: "drop-after" });
    await expect(post(stage, keyPair)).rejects.toThrow("fetch failed");
    expect(stage.world.keyPairs()).toHaveLength(1);
  });

  test("cut: it happened, and the answer breaks off", async () => {
    const stage = await setStage();
    stage.faults.inject(match, { kind: "cut" });
    await expect(post(stage, keyPair)).rejects.toThrow("terminated");
    expect(stage.world.keyPairs()).toHaveLength(1);
  });

  test.each([
    ["silence-before", 0],
    ["silence-after", 1],
  ] as const)("%s: no answer, and the connection stays open", async (kind, made) => {
    const stage = await setStage();
    stage.faults.inject(match, { kind });
    const answer = await Promise.race([post(stage, keyPair), sleep(200, "silence")]);
    expect(answer).toBe("silence");
    expect(stage.world.keyPairs()).toHaveLength(made);
  });

  test("unseen: after it was made, a list does not show it", async () => {
    const stage = await setStage();
    stage.faults.inject({ action: "DescribeKeyPairs", after: "CreateKeyPair" }, { kind: "unseen" });
    const list = async () => (await stage.ec2.send(new DescribeKeyPairsCommand({}))).KeyPairs?.length ?? 0;
    await post(stage, { ...keyPair, KeyName: "before" });
    expect([await list(), await list()]).toEqual([0, 1]);
  });

  test("delay: late, and then as usual", async () => {
    const stage = await setStage();
    stage.faults.inject(match, { kind: "delay", milliseconds: 120 });
    const start = performance.now();
    expect((await post(stage, keyPair)).status).toBe(200);
    expect(performance.now() - start).toBeGreaterThan(100);
  });
});
