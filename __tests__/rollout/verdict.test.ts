import type { InstanceRefresh } from "@aws-sdk/client-auto-scaling";
import { describe, expect, test } from "vitest";
import { type Verdict, verdictOf } from "../../src/rollout/verdict.ts";

const GOING_ON: Verdict = { kind: "pending", rollingBack: false };

describe("a refresh's status decides", () => {
  test.each<[status: string | undefined, verdict: Verdict]>([
    ["Pending", GOING_ON],
    ["InProgress", GOING_ON],
    ["Baking", GOING_ON],
    ["Cancelling", GOING_ON],
    ["RollbackInProgress", { kind: "pending", rollingBack: true }],
    ["Successful", { kind: "succeeded" }],
    ["Failed", { kind: "failed", why: "no capacity" }],
    [
      "Cancelled",
      {
        kind: "failed",
        why: "the instance refresh was cancelled, and not by this run: CloudTrail names who (CancelInstanceRefresh). When it was: no capacity",
      },
    ],
    ["RollbackFailed", { kind: "rollback-failed", why: "no capacity" }],
    ["RollbackSuccessful", { kind: "rolled-back", why: "no capacity" }],
    [undefined, GOING_ON],
    ["AStatusOfTheFuture", GOING_ON],
    ["", GOING_ON],
  ])("%s", (status, verdict) => {
    const refresh = { Status: status, StatusReason: "no capacity" } as InstanceRefresh;
    expect(verdictOf(refresh)).toStrictEqual(verdict);
  });

  test("whatever percentages and counts say", () => {
    expect(verdictOf({ Status: "InProgress", PercentageComplete: 100, InstancesToUpdate: 0 })).toStrictEqual(
      GOING_ON,
    );
    expect(verdictOf({ Status: "Successful", PercentageComplete: 0 })).toStrictEqual({ kind: "succeeded" });
  });
});

describe("why a refresh ended", () => {
  test.each<[refresh: InstanceRefresh, why: string]>([
    [{ RollbackDetails: { RollbackReason: "an alarm" }, StatusReason: "x" }, "an alarm"],
    [{ RollbackDetails: {}, StatusReason: "x" }, "x"],
    [{}, "AWS gives no reason"],
  ])("%j: %s", (refresh, why) => {
    expect(verdictOf({ ...refresh, Status: "RollbackSuccessful" })).toStrictEqual({
      kind: "rolled-back",
      why,
    });
  });
});
