import { DescribeImagesCommand } from "@aws-sdk/client-ec2";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAwsClients } from "../../src/aws/clients.ts";
import { MAX_ATTEMPTS, retryStrategy } from "../../src/aws/retries.ts";
import type { RemoteError } from "../../src/domain/errors.ts";
import { type Answer, LocalAws } from "./answers.ts";

/** How often AWS is asked again, and how long it is waited for; nothing really waits here. */

const REGION = "eu-west-1";
const EMPTY: Answer = { body: "<DescribeImagesResponse/>" };
let waits: number[];
let now: number;
let aws: LocalAws;
let script: readonly (() => Answer | Promise<Answer>)[];

const clock = {
  now: () => new Date(now),
  sleep: async (milliseconds: number) => {
    waits.push(milliseconds);
    now += milliseconds;
  },
};

beforeEach(async () => {
  [waits, now] = [[], 0];
  aws = await LocalAws.open(() => script[Math.min(aws.asked.length, script.length) - 1]?.() ?? EMPTY);
  process.env["AWS_ENDPOINT_URL"] = aws.url;
  process.env["AWS_ACCESS_KEY_ID"] = "AKIA0";
  process.env["AWS_SECRET_ACCESS_KEY"] = "secret";
});

afterEach(async () => {
  delete process.env["AWS_ENDPOINT_URL"];
  await aws[Symbol.asyncDispose]();
});

async function describeImages(): Promise<unknown> {
  const clients = createAwsClients({
    userAgent: [["kiln", "test"]],
    clock,
    answerWithin: 200,
    random: () => 0.5,
  });
  return (await clients.ec2(REGION)).send(new DescribeImagesCommand({}));
}

const says = (code: string) => (): Answer => ({ code });
const silence = () => new Promise<Answer>(() => undefined);

describe("a request to AWS", () => {
  test.each([
    ["that is throttled waits a second and more", says("RequestLimitExceeded"), [750, 1500]],
    ["that is throttled in Auto Scaling's word, too", says("RateExceeded"), [750, 1500]],
    ["that is not answered is ended, and sent again soon", silence, [150, 300]],
  ])("%s", async (_, say, waited) => {
    script = [say, say, () => EMPTY];
    await describeImages();
    expect(aws.asked).toHaveLength(3);
    expect(waits).toEqual(waited);
  });

  test("is sent so often at most", async () => {
    script = [says("Throttling")];
    const error = await describeImages().catch((caught: unknown) => caught as RemoteError);
    expect(error).toMatchObject({ code: "Throttling" });
    expect(aws.asked).toHaveLength(MAX_ATTEMPTS);
  });

  test("that is refused is sent once", async () => {
    script = [says("UnauthorizedOperation")];
    await expect(describeImages()).rejects.toMatchObject({ code: "UnauthorizedOperation" });
    expect(aws.asked).toHaveLength(1);
    expect(waits).toEqual([]);
  });
});

describe("the strategy", () => {
  test("begins no try after two minutes, however few there were", async () => {
    const strategy = retryStrategy({ maxAttempts: MAX_ATTEMPTS, clock, random: () => 1 });
    let token = await strategy.acquireInitialRetryToken("");
    // A try that is only ended by its time-out.
    now += 60_000;
    token = await strategy.refreshRetryTokenForRetry(token, { errorType: "TRANSIENT" });
    now += 60_000;
    await expect(strategy.refreshRetryTokenForRetry(token, { errorType: "TRANSIENT" })).rejects.toThrow(
      "tried for too long",
    );
  });

  test("waits by chance between a half and the whole", async () => {
    const waited = async (random: number): Promise<number> => {
      const strategy = retryStrategy({ maxAttempts: MAX_ATTEMPTS, clock, random: () => random });
      const token = await strategy.acquireInitialRetryToken("");
      await strategy.refreshRetryTokenForRetry(token, { errorType: "THROTTLING" });
      return waits.at(-1) ?? 0;
    };
    expect(await waited(0)).toBe(500);
    expect(await waited(1)).toBe(1000);
  });

  test("asks three times for a host without an address: a mistyped region is told in a second", async () => {
    const strategy = retryStrategy({ maxAttempts: MAX_ATTEMPTS, clock, random: () => 1 });
    const error = Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" });
    let token = await strategy.acquireInitialRetryToken("");
    token = await strategy.refreshRetryTokenForRetry(token, { errorType: "TRANSIENT", error });
    token = await strategy.refreshRetryTokenForRetry(token, { errorType: "TRANSIENT", error });
    await expect(
      strategy.refreshRetryTokenForRetry(token, { errorType: "TRANSIENT", error }),
    ).rejects.toThrow("the host has no address");
    expect(waits).toEqual([200, 400]);
  });

  test("of one attempt tries nothing again", async () => {
    const strategy = retryStrategy({ maxAttempts: 1, clock, random: () => 0 });
    const token = await strategy.acquireInitialRetryToken("");
    await expect(strategy.refreshRetryTokenForRetry(token, { errorType: "THROTTLING" })).rejects.toThrow(
      "not to be tried again",
    );
  });
});
