import { describe, expect, test } from "vitest";
import type { FaultEffect } from "../../sandbox/faults.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { ReleaseStage } from "./release-stage.ts";

/**
 * Each request of a release failed in turn, in each way that AWS and GitHub fail: the release still succeeds, or ends with
 * an error and is finished by the next run, which doubles nothing. Each third request in each way; all by `npm run chaos`.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const STEP = ALL ? 1 : 3;

const WAYS: readonly (readonly [name: string, effect: FaultEffect, times: number])[] = [
  ["throttled", { kind: "reply", status: 400, code: "Throttling", message: "Rate exceeded" }, 1],
  ["RequestLimitExceeded", { kind: "reply", status: 503, code: "RequestLimitExceeded", message: "later" }, 1],
  ["an internal error", { kind: "reply", status: 500, code: "InternalError", message: "later" }, 1],
  ["unavailable", { kind: "reply", status: 503, code: "ServiceUnavailable", message: "later" }, 1],
  ["a reset connection", { kind: "drop-before" }, 1],
  ["an answer that was lost", { kind: "drop-after" }, 1],
  [
    "a 502 after it was done",
    { kind: "reply-after-effect", status: 502, code: "BadGateway", message: "lost" },
    1,
  ],
  ["refused for good", { kind: "reply", status: 403, code: "AccessDenied", message: "no" }, 9],
];

async function open(): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  return stage;
}

async function requestsOfARelease(): Promise<number> {
  await using stage = await open();
  const { error } = await stage.release([TARGET], { strategy: "rolling" });
  expect(error).toBeUndefined();
  return stage.sandbox.log.entries.length;
}

describe("a request that fails", () => {
  test.each(WAYS)("%s", { timeout: 1_200_000 }, async (name, effect, times) => {
    const count = await requestsOfARelease();
    const wrong: string[] = [];
    let [tried, atOnce] = [0, 0];
    for (let index = 0; index < count; index += STEP) {
      await using stage = await open();
      stage.sandbox.faults.inject({}, effect, { skip: index, times });
      const first = await stage.release([TARGET], { strategy: "rolling" });
      stage.sandbox.faults.clear();
      const failed = stage.sandbox.log.entries[index];
      if (first.error === undefined) atOnce += 1;
      // The refresh that was begun goes on in AWS meanwhile.
      await stage.finishRun();
      const second =
        first.error === undefined ? first : await stage.release([TARGET], { strategy: "rolling" });
      tried += 1;
      const end = {
        error: second.error instanceof Error ? second.error.message : undefined,
        records: stage.records(),
        locks: stage.locks(),
        running: stage.running("web"),
        versions: stage.versions("web").length,
        refreshes: stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status),
      };
      const wanted = {
        error: undefined,
        records: ["release/production/000001"],
        locks: [],
        running: [stage.newImage, stage.newImage],
        versions: 2,
        refreshes: ["Successful"],
      };
      if (JSON.stringify(end) !== JSON.stringify(wanted))
        wrong.push(
          `${failed?.service} ${failed?.action}: ${JSON.stringify(end)}; first: ${String(first.error)}`,
        );
    }
    process.stdout.write(
      `${name}: ${tried} requests failed, ${atOnce} releases went on, ${tried - wrong.length} converged\n`,
    );
    expect(wrong).toEqual([]);
  });
});
