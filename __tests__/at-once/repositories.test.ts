import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { tryAll } from "./seeded.ts";
import { World } from "./world.ts";

/** Two repositories whose config files name one group: neither can see the other's lock; AWS and the group tell them. */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;

describe("two repositories that share a group by mistake", () => {
  test(
    "one refresh at a time, no record that was not true, and the one that was overwritten says drift",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "two repositories that share a group",
          play: async (seed) => {
            const world = await World.open(seed);
            const names = ["acme/web", "acme/shop"] as const;
            world.addEnvironment("production", world.addImage("a"));
            world.nameEnvironment("production", "production", { repository: "acme/shop" });
            for (const repository of names) world.addImage(`of ${repository}`, { repository });
            const jobs = names.map((repository) =>
              world.begin({
                command: "deploy",
                repository,
                content: `of ${repository}`,
                after: world.random() * 14 * MINUTE,
              }),
            );
            const runs = await world.play(Promise.all(jobs));
            const wrong: string[] = [];
            const [running] = world.running("production");
            const records = names.map((repository) => world.records("production", repository).at(-1));
            const successful = world.aws.autoScaling
              .refreshes("production")
              .filter(({ status }) => status === "Successful").length;
            const recorded = records.filter((record) => record !== undefined);
            if (recorded.length === 0 || recorded.length > successful)
              wrong.push(`${recorded.length} records of ${successful} refreshes that ended well`);
            if (!recorded.some(({ images }) => images[HOME.region] === running))
              wrong.push("what runs is not recorded");
            for (const [index, run] of runs.entries()) {
              if ((run.error === undefined) !== (records[index] !== undefined))
                wrong.push("an end and its record differ");
              if (run.error !== undefined && !/refresh|do not run it/.test(run.error)) wrong.push(run.error);
            }
            for (const [index, repository] of names.entries()) {
              const { facts } = await world.play(world.begin({ command: "status", repository }));
              const drifts = (facts.status?.[0]?.drift.length ?? 0) > 0;
              if (drifts === (records[index]?.images[HOME.region] === running))
                wrong.push(`${repository} says ${drifts ? "drift" : "no drift"}`);
            }
            return world.played(wrong, [`${recorded.length} of 2 released`]);
          },
        }),
      ).toEqual([]),
  );
});
