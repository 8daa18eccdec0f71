import type { Activity } from "@aws-sdk/client-auto-scaling";
import type { TargetHealthDescription } from "@aws-sdk/client-elastic-load-balancing-v2";
import { describe, expect, test } from "vitest";
import type { AwsClients } from "../../src/aws/clients.ts";
import { RemoteError } from "../../src/domain/errors.ts";
import { explainFailure } from "../../src/rollout/explain.ts";

const target = { region: "eu-west-1", autoScalingGroup: "web" };
const SINCE = new Date("2026-11-20T10:00:00Z");
const ARN = "arn:aws:elasticloadbalancing:eu-west-1:111111111111:targetgroup/web-http/0123456789abcdef";
const OTHER_ARN = ARN.replace("web-http", "web-admin");

interface Command {
  readonly constructor: { readonly name: string };
  readonly input: Readonly<Record<string, unknown>>;
}

/** What AWS answers, by operation; what is not here is refused, and a client without an operation may not be asked for. */
type Answers = Readonly<Record<string, (input: Readonly<Record<string, unknown>>) => unknown>>;

function clientsOf(answers: Answers, asked: string[] = []): AwsClients {
  const client = async () => ({
    send: async (command: Command): Promise<unknown> => {
      const name = command.constructor.name.replace(/Command$/, "");
      asked.push(name);
      const answer = answers[name];
      if (answer === undefined) {
        throw new RemoteError(`The role may not do ${name}\n::error::in eu-west-1`, { code: "AccessDenied" });
      }
      return answer(command.input);
    },
  });
  const unloaded = async (): Promise<never> => {
    throw new Error("the client may not be loaded");
  };
  return {
    autoScaling: client,
    ec2: client,
    elasticLoadBalancing: "DescribeTargetHealth" in answers || "any" in answers ? client : unloaded,
    autoScalingOnce: unloaded,
    cloudWatch: unloaded,
    sts: unloaded,
  } as unknown as AwsClients;
}

const launched = (id: string, minutes: number): Activity => ({
  ActivityId: id,
  AutoScalingGroupName: "web",
  StatusCode: "Successful",
  Description: `Launching a new EC2 instance: ${id}`,
  Cause: "",
  StartTime: new Date(SINCE.getTime() + minutes * 60_000),
});
const terminated = (id: string, minutes: number): Activity => ({
  ...launched(id, minutes),
  Description: `Terminating EC2 instance: ${id}`,
  Cause: `At 2026-11-20T10:05:00Z an instance was taken out of service in response to an ELB system health check failure.  At 2026-11-20T10:05:00Z instance ${id} was selected for termination.`,
});
const refused = (message: string): Activity => ({
  ...launched("i-0", 1),
  Description: "Launching a new EC2 instance",
  StatusCode: "Failed",
  StatusMessage: message,
});
const health = (Id: string, State: string, Reason?: string, Description?: string): TargetHealthDescription =>
  ({ Target: { Id }, TargetHealth: { State, Reason, Description } }) as TargetHealthDescription;
const base64 = (text: string): string => Buffer.from(text).toString("base64");

const GONE = "The AMI ID ami-1 does not exist. Launching EC2 instance failed.";

describe("a failed rollout is explained", () => {
  test("by activities, targets, known causes and the first bad instance's console", async () => {
    const consoles: unknown[] = [];
    const lines = await explainFailure(
      clientsOf({
        DescribeScalingActivities: () => ({
          Activities: [
            terminated("i-0b", 7),
            terminated("i-0a", 6),
            launched("i-0b", 3),
            launched("i-0a", 2),
            refused(GONE),
            refused(GONE),
          ],
        }),
        DescribeTargetHealth: ({ TargetGroupArn }) => ({
          TargetHealthDescriptions:
            TargetGroupArn === OTHER_ARN
              ? [health("10.0.0.7", "unhealthy", "Target.Timeout", "Request timed out")]
              : [
                  health(
                    "i-0c",
                    "unhealthy",
                    "Target.FailedHealthChecks",
                    "Health checks failed with these codes: [502]",
                  ),
                  health(
                    "i-0d",
                    "unhealthy",
                    "Target.FailedHealthChecks",
                    "Health checks failed with these codes: [502]",
                  ),
                  health("i-0e", "healthy"),
                  health("i-0f", "initial", "Elb.RegistrationInProgress"),
                  health("i-10", "unhealthy.draining"),
                ],
        }),
        GetConsoleOutput: (input) => {
          consoles.push(input);
          return { Output: base64("booting\r\n\r\napp: cannot read /etc/app.conf\r\n") };
        },
      }),
      { target, targetGroupArns: [ARN, OTHER_ARN], since: SINCE },
    );
    expect(consoles).toStrictEqual([{ InstanceId: "i-0a", Latest: true }]);
    expect(lines.filter((line) => !line.startsWith("Known cause: "))).toStrictEqual([
      "Scaling activities that failed:",
      `  | ${GONE} (2 times)`,
      "Instances that were launched and terminated again:",
      "  | i-0a, i-0b: an ELB system health check failure",
      "Targets that the load balancer calls unhealthy (web-http):",
      "  | i-0c, i-0d: Target.FailedHealthChecks: Health checks failed with these codes: [502]",
      "  | i-10: no reason",
      "Targets that the load balancer calls unhealthy (web-admin):",
      "  | 10.0.0.7: Target.Timeout: Request timed out",
      "The end of the console of i-0a:",
      "  | booting",
      "  | app: cannot read /etc/app.conf",
    ]);
    expect(lines.filter((line) => line.startsWith("Known cause: "))).toStrictEqual([
      expect.stringContaining("The AMI is gone"),
      expect.stringContaining("does not pass the load balancer's health check"),
    ]);
  });

  test("by nothing where AWS knows nothing; a load balancer is not asked where there is none", async () => {
    const asked: string[] = [];
    const lines = await explainFailure(clientsOf({ DescribeScalingActivities: () => ({}) }, asked), {
      target,
      targetGroupArns: [],
      since: SINCE,
    });
    expect(lines).toStrictEqual([]);
    expect(asked).toStrictEqual(["DescribeScalingActivities"]);
  });

  test("as far as it can be read: each part by itself, never by an error", async () => {
    const failed = { target, targetGroupArns: [ARN, OTHER_ARN], since: SINCE };
    expect(await explainFailure(clientsOf({ any: () => ({}) }), failed)).toStrictEqual([
      "The scaling activities could not be read: The role may not do DescribeScalingActivities ::error::in eu-west-1",
      "The health of the targets in web-http could not be read: The role may not do DescribeTargetHealth ::error::in eu-west-1",
      "The health of the targets in web-admin could not be read: The role may not do DescribeTargetHealth ::error::in eu-west-1",
    ]);
    const unloadable = {
      autoScaling: () => {
        throw new Error("no module");
      },
    } as unknown as AwsClients;
    expect(await explainFailure(unloadable, { ...failed, targetGroupArns: [] })).toStrictEqual([
      "The scaling activities could not be read: no module",
    ]);
  });

  test("without a start: by what failed at any time, and no instance is suspected for it", async () => {
    const asked: string[] = [];
    const lines = await explainFailure(
      clientsOf(
        {
          DescribeScalingActivities: () => ({
            Activities: [terminated("i-0a", 6), launched("i-0a", 2), refused("Something new")],
          }),
        },
        asked,
      ),
      { target, targetGroupArns: [], since: undefined },
    );
    expect(lines).toStrictEqual([
      "Scaling activities that failed, at any time (the refresh has no start):",
      "  | Something new",
    ]);
    expect(asked).toStrictEqual(["DescribeScalingActivities"]);
  });

  test("of many texts and targets shows some", async () => {
    const lines = await explainFailure(
      clientsOf({
        DescribeScalingActivities: () => ({
          Activities: Array.from({ length: 12 }, (_, index) => refused(`Reason ${index}`)),
        }),
        DescribeTargetHealth: () => ({
          TargetHealthDescriptions: Array.from({ length: 8 }, (_, index) =>
            health(`10.0.0.${index}`, "unhealthy", "Elb.InternalError"),
          ),
        }),
      }),
      { target, targetGroupArns: [ARN], since: SINCE },
    );
    expect(lines).toHaveLength(1 + 11 + 1 + 1);
    expect(lines[11]).toBe("  | and 2 more");
    expect(lines.at(-1)).toBe(
      "  | 10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 3 more: Elb.InternalError",
    );
  });
});

describe("the console", () => {
  const explained = async (console: Answers[string] | undefined): Promise<readonly string[]> =>
    (
      await explainFailure(
        clientsOf({
          DescribeScalingActivities: () => ({}),
          DescribeTargetHealth: () => ({
            TargetHealthDescriptions: [health("10.0.0.1", "unhealthy"), health("i-0c", "unhealthy")],
          }),
          ...(console === undefined ? {} : { GetConsoleOutput: console }),
        }),
        { target, targetGroupArns: [ARN], since: SINCE },
      )
    ).slice(2);

  test("is an unhealthy target's where no instance was terminated", async () => {
    expect(
      await explained(({ InstanceId }) => ({ Output: base64(`I am ${String(InstanceId)}`) })),
    ).toStrictEqual(["The end of the console of i-0c:", "  | I am i-0c"]);
  });

  test.each(["UnsupportedOperation", "IncorrectInstanceState"])(
    "is the buffered one where the latest cannot be had: %s",
    async (code) => {
      const lines = await explained(({ Latest }) => {
        if (Latest === true) throw new RemoteError("not on Xen", { code });
        return { Output: base64("buffered") };
      });
      expect(lines).toStrictEqual(["The end of the console of i-0c:", "  | buffered"]);
    },
  );

  test("is the buffered one where the latest is empty", async () => {
    expect(
      await explained(({ Latest }) => (Latest === true ? { Output: "" } : { Output: base64("buffered") })),
    ).toStrictEqual(["The end of the console of i-0c:", "  | buffered"]);
  });

  test("that is empty or cannot be read is said to be", async () => {
    expect(await explained(() => ({}))).toStrictEqual(["The console of i-0c shows nothing."]);
    expect(await explained(undefined)).toStrictEqual([
      "The console of i-0c could not be read: The role may not do GetConsoleOutput ::error::in eu-west-1",
    ]);
  });

  test("is shown by its last 20 lines, each of at most 300 characters", async () => {
    const lines = await explained(() => ({
      Output: base64(
        [...Array.from({ length: 50 }, (_, index) => `line ${index}`), "é".repeat(400)].join("\n\n"),
      ),
    }));
    expect(lines).toHaveLength(1 + 20);
    expect(lines[1]).toBe("  | line 31");
    expect(lines.at(-1)).toBe(`  | ${"é".repeat(300)}…`);
  });

  test.each<[what: string, text: string, shown: readonly string[]]>([
    ["a command", "::error::you are hacked", ["  | ::error::you are hacked"]],
    ["one behind blanks", "\t  ::add-mask::a", ["  | ::add-mask::a"]],
    [
      "one behind a carriage return",
      "progress\r::stop-commands::x",
      ["  | progress", "  | ::stop-commands::x"],
    ],
    ["one behind a line separator", "a\u2028::debug::b\u0085::debug::c", ["  | a ::debug::b::debug::c"]],
    [
      "the older form, anywhere in a line",
      "a ##[set-env name=A]b ###[x]",
      ["  | a ## [set-env name=A]b ### [x]"],
    ],
    ["the older form in pieces", "a #\u200b#\u0000[error]b", ["  | a ## [error]b"]],
    ["colours and cursors", "\u001B[31mred\u001B[0m\u001B[2K\u001B]0;title\u0007!", ["  | red!"]],
    ["text that runs backwards", "\u202Eevil\u2066", ["  | evil"]],
    ["bytes that are no text", "\u0000\u0001\u0007ok\u007F", ["  | ok"]],
    ["half a character", "a\uD800b", ["  | a\uFFFDb"]],
  ])("cannot pass %s on", async (_, text, shown) => {
    const lines = await explained(() => ({ Output: base64(text) }));
    expect(lines.slice(1)).toStrictEqual(shown);
  });

  test("whatever it is, no line of the answer is a command", async () => {
    const hostile = "x\n::set-output name=a::b\r\n ::error::c\u2029::d\n##[error]e\u001B::f";
    const lines = await explainFailure(
      clientsOf({
        DescribeScalingActivities: () => ({
          Activities: [refused(hostile), terminated("i-0a", 6), launched("i-0a", 2)],
        }),
        DescribeTargetHealth: () => ({
          TargetHealthDescriptions: [
            health("i-0b", "unhealthy", hostile, hostile),
            health(hostile, "unhealthy"),
          ],
        }),
        GetConsoleOutput: () => ({ Output: base64(hostile) }),
      }),
      { target, targetGroupArns: [ARN, `x/\n::error::${hostile}`], since: SINCE },
    );
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) {
      expect(line).not.toMatch(/^\s*::/);
      expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
      expect(line).not.toContain("##[");
    }
  });
});
