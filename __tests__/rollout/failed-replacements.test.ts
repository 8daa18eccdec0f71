import type { Activity } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import type { AwsClients } from "../../src/aws/clients.ts";
import {
  countFailedReplacements,
  failedReplacements,
  lostInstances,
  readActivities,
} from "../../src/rollout/failed-replacements.ts";

const SINCE = new Date("2026-11-20T10:00:00.500Z");
const at = (minutes: number): Date => new Date(SINCE.getTime() + minutes * 60_000);

const activity = (minutes: number, Description: string, extra: Partial<Activity> = {}): Activity => ({
  ActivityId: `${minutes}`,
  AutoScalingGroupName: "web",
  Cause: "",
  StatusCode: "Successful",
  StartTime: at(minutes),
  Description,
  ...extra,
});
const launch = (minutes: number, id: string, extra: Partial<Activity> = {}): Activity =>
  activity(minutes, `Launching a new EC2 instance: ${id}`, extra);
const termination = (minutes: number, id: string, why: string): Activity =>
  activity(minutes, `Terminating EC2 instance: ${id}`, {
    Cause: `At 2026-11-20T10:05:00Z an instance was taken out of service in response to ${why}.  At 2026-11-20T10:05:00Z instance ${id} was selected for termination.`,
  });
const refused = (minutes: number, StatusMessage: string): Activity =>
  activity(minutes, `Launching a new EC2 instance.  Status Reason: ${StatusMessage}`, {
    StatusCode: "Failed",
    StatusMessage,
  });

const ELB = "an ELB system health check failure";
const GONE = "The AMI ID ami-1 does not exist. Launching EC2 instance failed.";
const FULL = "There are not enough free addresses in subnet 'subnet-1'. Launching EC2 instance failed.";
const ABANDONED = (token: string): string =>
  `Instance failed to complete user's Lifecycle Action: Lifecycle Action with token ${token} was abandoned: Lifecycle Action Completed with ABANDON Result`;

describe("of a group's activities", () => {
  test.each<
    [
      what: string,
      activities: readonly Activity[],
      failedLaunches: number,
      replacedAgain: readonly string[],
      messages: readonly string[],
    ]
  >([
    ["nothing happened", [], 0, [], []],
    [
      "all went well",
      [launch(2, "i-0b"), launch(1, "i-0a"), termination(3, "i-01", "an instance refresh")],
      0,
      [],
      [],
    ],
    [
      "launches that EC2 refused",
      [refused(3, GONE), refused(2, FULL), refused(1, GONE)],
      3,
      [],
      [`${GONE} (2 times)`, FULL],
    ],
    [
      "what was before the refresh",
      [refused(-1, GONE), launch(-5, "i-0a"), termination(1, "i-0a", ELB)],
      0,
      [],
      [],
    ],
    [
      "instances that did not last, by launch",
      [
        termination(6, "i-0a", ELB),
        launch(5, "i-0c"),
        termination(4, "i-0b", ELB),
        launch(2, "i-0b"),
        launch(1, "i-0a"),
      ],
      0,
      ["i-0a", "i-0b"],
      [],
    ],
    [
      "what a scale-in took",
      [
        termination(
          6,
          "i-0a",
          "a difference between desired and actual capacity, shrinking the capacity from 4 to 3",
        ),
        launch(1, "i-0a"),
      ],
      0,
      [],
      [],
    ],
    [
      "what the refresh took back as it rolled back",
      [termination(6, "i-0a", "an instance refresh"), launch(1, "i-0a")],
      0,
      [],
      [],
    ],
    [
      "a launch given up, counted once though its instance was terminated too",
      [
        termination(6, "i-0a", "an EC2 health check indicating it has been terminated or stopped"),
        launch(1, "i-0a", {
          StatusCode: "Cancelled",
          StatusMessage: ABANDONED("e85eb647-4fe0-4909-b341-a6c42d8aba1f"),
        }),
        launch(2, "i-0b", {
          StatusCode: "Cancelled",
          StatusMessage: ABANDONED("11111111-4fe0-4909-b341-a6c42d8aba1f"),
        }),
      ],
      2,
      [],
      [`${ABANDONED("11111111-4fe0-4909-b341-a6c42d8aba1f")} (2 times)`],
    ],
    ["a launch cancelled for another reason", [launch(1, "i-0a", { StatusCode: "Cancelled" })], 0, [], []],
    [
      "a termination that failed: said, not counted",
      [activity(1, "Terminating EC2 instance: i-01", { StatusCode: "Failed", StatusMessage: "It hung" })],
      0,
      [],
      ["It hung"],
    ],
    [
      "one that goes on, which AWS lists first",
      [launch(1, "i-0a", { StatusCode: "PreInService" }), refused(3, FULL), refused(2, GONE)],
      2,
      [],
      [FULL, GONE],
    ],
    [
      "without a message",
      [
        activity(1, "Launching a new EC2 instance", { StatusCode: "Failed", StatusMessage: " " }),
        { ...activity(0, ""), Description: undefined, StatusCode: "Failed" },
      ],
      1,
      [],
      ["Launching a new EC2 instance", "no message"],
    ],
  ])("%s", (_, activities, failedLaunches, replacedAgain, messages) => {
    expect(failedReplacements(activities, SINCE)).toStrictEqual({ failedLaunches, replacedAgain, messages });
  });

  test("an instance that did not last has AWS's cause", () => {
    const lost = termination(6, "i-0a", ELB);
    expect(lostInstances([lost, launch(1, "i-0a")], SINCE)).toStrictEqual([
      { id: "i-0a", cause: lost.Cause },
    ]);
  });

  test("one that began in the second of the refresh's start is the refresh's", () => {
    const early = { ...refused(0, GONE), StartTime: new Date("2026-11-20T10:00:00Z") };
    expect(failedReplacements([early], SINCE).failedLaunches).toBe(1);
  });
});

describe("they are read", () => {
  const target = { region: "eu-west-1", autoScalingGroup: "web" };
  const clients = (inputs: unknown[], answer: { Activities?: Activity[] }): AwsClients =>
    ({
      autoScaling: async () => ({
        send: async (command: { input: unknown }) => {
          inputs.push(command.input);
          return answer;
        },
      }),
    }) as unknown as AwsClients;

  test("in one request, since the refresh's start", async () => {
    const inputs: unknown[] = [];
    const counted = await countFailedReplacements(
      clients(inputs, { Activities: [refused(1, GONE)] }),
      target,
      SINCE,
    );
    expect(counted.failedLaunches).toBe(1);
    expect(inputs).toStrictEqual([
      {
        AutoScalingGroupName: "web",
        MaxRecords: 100,
        Filters: [{ Name: "StartTimeLowerBound", Values: ["2026-11-20T10:00:00Z"] }],
      },
    ]);
  });

  test("without a start, of any time", async () => {
    const inputs: unknown[] = [];
    await expect(readActivities(clients(inputs, {}), target, undefined)).resolves.toStrictEqual([]);
    expect(inputs).toStrictEqual([{ AutoScalingGroupName: "web", MaxRecords: 100 }]);
  });
});
