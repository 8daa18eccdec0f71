import { CloudWatchClient, DescribeAlarmsCommand, paginateDescribeAlarms } from "@aws-sdk/client-cloudwatch";
import { describe, expect, onTestFinished, test } from "vitest";
import { createCloudWatchWorld } from "../../sandbox/aws/cloudwatch.ts";
import type { AwsAccounts } from "../../sandbox/aws/credentials.ts";
import { startAwsServer } from "../../sandbox/aws/server.ts";
import { createClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { refusal } from "./ec2-stage.ts";

async function setStage() {
  const clock = createClock({ start: new Date("2026-03-01T12:00:00Z") });
  const [log, faults] = [new RequestLog(), new Faults()];
  const world = createCloudWatchWorld({ clock });
  const accounts: AwsAccounts = { AKIAHOME: { accountId: "111122223333" } };
  const server = await startAwsServer({
    clock,
    log,
    faults,
    accounts,
    services: { cloudwatch: world.operations },
  });
  onTestFinished(() => server.close());
  const client = new CloudWatchClient({
    endpoint: server.url,
    region: "eu-west-1",
    credentials: { accessKeyId: "AKIAHOME", secretAccessKey: "secret" },
  });
  return { clock, log, faults, world, accounts, server, client };
}

describe("DescribeAlarms", () => {
  test("shows state, reason and the time of the last change; leaves unknown names out", async () => {
    const { clock, world, client, log } = await setStage();
    world.setAlarm("5xx", "OK");
    clock.advance(60_000);
    world.setAlarm("5xx", "ALARM");
    clock.advance(60_000);
    world.setAlarm("5xx", "ALARM");
    world.setAlarm("latency", "OK");
    const answer = await client.send(new DescribeAlarmsCommand({ AlarmNames: ["5xx", "nobody"] }));
    expect(answer.MetricAlarms).toMatchObject([
      {
        AlarmName: "5xx",
        AlarmArn: "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:5xx",
        StateValue: "ALARM",
        StateUpdatedTimestamp: new Date("2026-03-01T12:01:00Z"),
      },
    ]);
    expect(answer.MetricAlarms?.[0]?.StateReason).toContain("Threshold Crossed");
    expect(answer.CompositeAlarms).toEqual([]);
    expect(log.entries).toMatchObject([
      { service: "cloudwatch", action: "DescribeAlarms", region: "eu-west-1", writes: false, status: 200 },
    ]);
  });

  test("composite alarms come only when asked for", async () => {
    const { world, client } = await setStage();
    world.setAlarm("all", "ALARM");
    world.detailAlarm("all", { type: "CompositeAlarm", reason: "5xx went off" });
    const AlarmNames = ["all"];
    expect((await client.send(new DescribeAlarmsCommand({ AlarmNames }))).CompositeAlarms).toEqual([]);
    const both = new DescribeAlarmsCommand({ AlarmNames, AlarmTypes: ["CompositeAlarm", "MetricAlarm"] });
    const answer = await client.send(both);
    expect(answer.MetricAlarms).toEqual([]);
    expect(answer.CompositeAlarms).toMatchObject([{ StateValue: "ALARM", StateReason: "5xx went off" }]);
  });

  test("pages, prefix and state", async () => {
    const { world, client } = await setStage();
    for (const name of ["web-b", "web-a", "api", "web-c"]) world.setAlarm(name, "OK");
    world.setAlarm("web-c", "ALARM");
    const found: (string | undefined)[] = [];
    const asked = { AlarmNamePrefix: "web-", StateValue: "OK" } as const;
    for await (const page of paginateDescribeAlarms({ client, pageSize: 1 }, asked)) {
      expect(page.MetricAlarms).toHaveLength(1);
      found.push(page.MetricAlarms?.[0]?.AlarmName);
    }
    expect(found).toEqual(["web-a", "web-b"]);
  });
});

describe("errors in JSON", () => {
  test("expired and unknown keys, and faults, have their code", async () => {
    const { client, accounts, faults, log } = await setStage();
    const ask = () => refusal(client.send(new DescribeAlarmsCommand({ AlarmNames: ["a"] })));
    faults.inject(
      { service: "cloudwatch" },
      { kind: "reply", status: 403, code: "AccessDenied", message: "Not you" },
    );
    expect(await ask()).toEqual({ code: "AccessDenied", message: "Not you" });
    accounts["AKIAHOME"] = { accountId: "111122223333", state: "expired" };
    expect((await ask()).code).toBe("ExpiredToken");
    delete accounts["AKIAHOME"];
    expect((await ask()).code).toBe("InvalidClientTokenId");
    expect(log.entries.map((entry) => entry.error)).toEqual([
      "AccessDenied",
      "ExpiredToken",
      "InvalidClientTokenId",
    ]);
  });

  test("the Query protocol is spoken as well", async () => {
    const { world, server } = await setStage();
    world.setAlarm("5xx", "OK");
    const response = await fetch(server.url, {
      method: "POST",
      headers: {
        authorization: "AWS4-HMAC-SHA256 Credential=AKIAHOME/20260301/eu-west-1/monitoring/aws4_request",
      },
      body: new URLSearchParams({ Action: "DescribeAlarms", Version: "2010-08-01" }),
    });
    expect(await response.text()).toContain("<MetricAlarms><member><AlarmName>5xx</AlarmName>");
  });
});
