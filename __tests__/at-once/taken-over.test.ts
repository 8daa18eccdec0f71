import { describe, expect, test } from "vitest";
import type { Ended } from "./run.ts";
import { tryAll } from "./seeded.ts";
import { World } from "./world.ts";

/**
 * Runs that GitHub takes for ended although they go on, as a lost self-hosted runner does: whoever has taken over from one
 * is not disturbed by it. Where refs are changed one by one, a run that stands still for minutes between reading its lock and
 * deleting it deletes the other run's: that one stops then, and what runs is still what the newest record says.
 */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;

/** How a run ended that another one may have taken over from. */
function endOf({ error, environments }: Ended): string {
  if (error === undefined) return environments.get("production")?.outcome ?? "none";
  return error.startsWith("TakenOverError") ? "stopped" : error;
}

/** A run that was taken over from either has released before, or says so. */
function disturbed(end: string): string[] {
  // Who takes over from a run that still bakes removes what that made.
  const isSwept = end.includes("just made, is still not to be found");
  return isSwept || ["succeeded", "unchanged", "stopped"].includes(end) ? [] : [`the lost run ended: ${end}`];
}

/** What is wrong with how a run that took over ended. */
function failed(world: World, run: Ended): string[] {
  if (run.error === undefined || (!world.atomic && endOf(run) === "stopped")) return [];
  return [`the other failed: ${run.error}`];
}

describe("a run that GitHub takes for ended, and goes on", () => {
  test("stops where another run has taken over, and does not release over it", LONG, async () =>
    expect(
      await tryAll({
        name: "a lost run, and another that takes over",
        few: 12,
        play: async (seed) => {
          const world = await World.open(seed);
          world.addEnvironment("production", world.addImage("a"));
          for (const content of ["b", "c"]) if (seed % 2 === 0) world.addImage(content);
          const first = world.begin({
            command: "deploy",
            content: "b",
            lostAfter: world.random() * 12 * MINUTE,
          });
          const second = world.begin({
            command: "deploy",
            content: "c",
            after: world.random() * 15 * MINUTE,
          });
          const [lost, other] = await world.play(Promise.all([first, second]));
          const wrong = [...world.runsRecord("production"), ...disturbed(endOf(lost))];
          const released = world.records("production").map(({ version }) => version);
          wrong.push(...failed(world, other));
          if (released.includes("c") !== (other.error === undefined)) wrong.push("c's record is false");
          if (released.includes("b") !== (endOf(lost) === "succeeded")) wrong.push("b's record is false");
          return world.played(wrong, [released.join(" then "), endOf(lost)]);
        },
      }),
    ).toEqual([]),
  );

  test("and its second attempt: one of them releases", LONG, async () =>
    expect(
      await tryAll({
        name: "a living first attempt, and the second",
        few: 12,
        play: async (seed) => {
          const world = await World.open(seed);
          world.addEnvironment("production", world.addImage("a"));
          world.addImage("b");
          const lostAfter = world.random() * 8 * MINUTE;
          const first = world.begin({ command: "deploy", content: "b", lostAfter });
          const second = world.begin({
            command: "deploy",
            content: "b",
            rerunOf: 1,
            after: lostAfter + world.random() * 4 * MINUTE,
          });
          const [lost, again] = await world.play(Promise.all([first, second]));
          const wrong = [...world.runsRecord("production"), ...disturbed(endOf(lost))];
          wrong.push(...failed(world, again));
          const records = world.records("production");
          if (records.length !== 1) wrong.push(`${records.length} records`);
          return world.played(wrong, [endOf(lost), endOf(again)]);
        },
      }),
    ).toEqual([]),
  );

  test("is taken over from by exactly one of two", LONG, async () =>
    expect(
      await tryAll({
        name: "a lost run, and two that may take over",
        few: 12,
        play: async (seed) => {
          const world = await World.open(seed);
          world.addEnvironment("production", world.addImage("a"));
          for (const content of ["b", "c", "d"]) world.addImage(content);
          const jobs = [
            world.begin({ command: "deploy", content: "b", lostAfter: world.random() * 4 * MINUTE }),
            world.begin({ command: "deploy", content: "c", after: world.random() * 6 * MINUTE }),
            world.begin({ command: "deploy", content: "d", after: world.random() * 6 * MINUTE }),
          ] as const;
          const [lost, ...others] = await world.play(Promise.all(jobs));
          const wrong = [...world.runsRecord("production"), ...disturbed(endOf(lost))];
          const released = world.records("production").map(({ version }) => version);
          for (const other of others) {
            wrong.push(...failed(world, other));
            const has = released.includes(other.job.content ?? "");
            if (has !== (other.error === undefined)) wrong.push(`released were ${released.join()}`);
          }
          return world.played(wrong, [String(released.length), endOf(lost)]);
        },
      }),
    ).toEqual([]),
  );
});
