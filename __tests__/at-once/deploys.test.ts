import { describe, expect, test } from "vitest";
import type { Ended } from "./run.ts";
import { tryAll } from "./seeded.ts";
import { World } from "./world.ts";

/** Deploys and promotions at the same time: no release is lost or doubled, and no environment waits for another. */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;
const REGION = "eu-west-1";

const outcome = ({ environments }: Ended, name = "production"): string =>
  environments.get(name)?.outcome ?? "none";

describe("deploys at the same time", () => {
  test(
    "two of the same image for one environment: one releases, the other has nothing to do",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "two deploys of one image to one environment",
          play: async (seed) => {
            const world = await World.open(seed);
            world.addEnvironment("production", world.addImage("a"));
            world.addImage("b");
            const jobs = [0, 1].map(() =>
              world.begin({ command: "deploy", content: "b", after: world.random() * 15 * MINUTE }),
            );
            const runs = await world.play(Promise.all(jobs));
            const wrong = world.runsRecord("production");
            const records = world.records("production");
            if (records.length !== 1) wrong.push(`${records.length} records`);
            const ends = runs.map((run) => outcome(run)).toSorted();
            if (ends.join() !== "succeeded,unchanged") wrong.push(`they ended ${ends.join()}`);
            return world.played(wrong, ends);
          },
        }),
      ).toEqual([]),
  );

  test(
    "two of the same image, one of which stands still after each of its requests in turn",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "two deploys of one image, one held after each of its requests",
          few: 24,
          play: async (seed) => {
            const world = await World.open(seed);
            world.addEnvironment("production", world.addImage("a"));
            world.addImage("b");
            const jobs = [0, 1].map(() => world.begin({ command: "deploy", content: "b" }));
            world.holdAfter("deploy 2", 1 + ((seed - 1) % 30), 15 * MINUTE);
            const runs = await world.play(Promise.all(jobs));
            const wrong = world.runsRecord("production");
            const ends = runs.map((run) => outcome(run)).toSorted();
            if (ends.join() !== "succeeded,unchanged") wrong.push(`they ended ${ends.join()}`);
            const records = world.records("production");
            if (records.length !== 1) wrong.push(`${records.length} records`);
            return world.played(wrong, ends);
          },
        }),
      ).toEqual([]),
  );

  test("two of two images for one environment: both release, one after the other", LONG, async () =>
    expect(
      await tryAll({
        name: "two deploys of two images to one environment",
        play: async (seed) => {
          const world = await World.open(seed);
          world.addEnvironment("production", world.addImage("a"));
          const contents = ["b", "c"];
          for (const content of contents) world.addImage(content);
          const jobs = contents.map((content) =>
            world.begin({ command: "deploy", content, after: world.random() * 15 * MINUTE }),
          );
          const runs = await world.play(Promise.all(jobs));
          const wrong = world.runsRecord("production");
          const released = world.records("production").map(({ version }) => version);
          if (released.toSorted().join() !== "b,c") wrong.push(`released were ${released.join() || "none"}`);
          const failed = runs.filter(({ error }) => error !== undefined);
          if (failed.length > 0) wrong.push(`${failed.length} failed`);
          return world.played(wrong, [released.join(" then ")]);
        },
      }),
    ).toEqual([]),
  );

  test("two runs each for four environments: four releases, and none waits for another's", LONG, async () =>
    expect(
      await tryAll({
        name: "eight deploys to four environments",
        few: 3,
        // A target that was read before another run's release, with the ledger that was read after it.
        also: [5, 8, 14],
        play: async (seed) => {
          const world = await World.open(seed);
          const names = ["dev", "qa", "stage", "production"];
          const old = world.addImage("a");
          for (const name of names) world.addEnvironment(name, old);
          world.addImage("b");
          const jobs = [...names, ...names].map((name) =>
            world.begin({
              command: "deploy",
              content: "b",
              environments: [name],
              after: world.random() * 5 * MINUTE,
            }),
          );
          const runs = await world.play(Promise.all(jobs));
          const wrong = names.flatMap((name) => world.runsRecord(name));
          for (const name of names) {
            const records = world.records(name);
            if (records.length !== 1) wrong.push(`${records.length} records of ${name}`);
          }
          for (const { job, log, name } of runs) {
            const waited = log.flatMap((line) => / (\w+) is locked by/.exec(line)?.[1] ?? []);
            if (waited.some((other) => !job.environments?.includes(other)))
              wrong.push(`${name} waited for ${waited.join()}`);
          }
          const ends = runs.map((run) => outcome(run, run.job.environments?.[0])).toSorted();
          if (ends.filter((end) => end === "succeeded").length !== 4) wrong.push(`they ended ${ends.join()}`);
          if (ends.filter((end) => end === "unchanged").length !== 4) wrong.push(`they ended ${ends.join()}`);
          return world.played(wrong, ["4 succeeded, 4 unchanged"]);
        },
      }),
    ).toEqual([]),
  );

  test(
    "two environments that share a group by mistake: one refresh at a time, and no false record",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "two environments that share a group",
          play: async (seed) => {
            const world = await World.open(seed);
            world.addEnvironment("one", world.addImage("a"));
            world.nameEnvironment("two", "one");
            for (const content of ["b", "c"]) world.addImage(content);
            const jobs = [
              { environments: ["one"], content: "b" },
              { environments: ["two"], content: "c" },
            ].map((job) => world.begin({ ...job, command: "deploy", after: world.random() * 12 * MINUTE }));
            const runs = await world.play(Promise.all(jobs));
            const records = ["one", "two"].flatMap((name) => world.records(name));
            const wrong: string[] = [];
            if (records.length === 0) wrong.push("no records");
            const [running] = world.running("one");
            if (!records.some(({ images }) => images[REGION] === running))
              wrong.push(`${running ?? "nothing"} runs, which no record names`);
            for (const { error } of runs)
              if (error !== undefined && !/instance refresh|do not run it/.test(error)) wrong.push(error);
            return world.played(wrong, [`${records.length} of 2 released`]);
          },
        }),
      ).toEqual([]),
  );

  test("one is cancelled, and another wants the same environment", LONG, async () =>
    expect(
      await tryAll({
        name: "a deploy that is cancelled, and another",
        play: async (seed) => {
          const world = await World.open(seed);
          world.addEnvironment("production", world.addImage("a"));
          for (const content of ["b", "c"]) world.addImage(content);
          const first = world.begin({
            command: "deploy",
            content: "b",
            cancelAfter: world.random() * 12 * MINUTE,
          });
          const second = world.begin({
            command: "deploy",
            content: "c",
            after: world.random() * 15 * MINUTE,
          });
          const [cancelled, other] = await world.play(Promise.all([first, second]));
          const wrong = world.runsRecord("production");
          const released = world.records("production").map(({ version }) => version);
          if (other.error !== undefined) wrong.push(`the other failed: ${other.error}`);
          if (!released.includes("c")) wrong.push("c was not released");
          if (released.includes("b") !== (outcome(cancelled) === "succeeded"))
            wrong.push("b's record is false");
          return world.played(wrong, [released.join(" then ")]);
        },
      }),
    ).toEqual([]),
  );

  test("a promotion, and a deploy to where it takes its image from", LONG, async () =>
    expect(
      await tryAll({
        name: "a promotion and a deploy of its source",
        play: async (seed) => {
          const world = await World.open(seed);
          const a = world.addImage("a");
          world.addEnvironment("qa", a);
          world.addEnvironment("production", world.addImage("old", { days: 9 }));
          world.addRecord("qa", 1, "a", a);
          world.addImage("b");
          const jobs = [
            world.begin({ command: "deploy", environments: ["qa"], content: "b" }),
            world.begin({
              command: "promote",
              environments: ["production"],
              from: "qa",
              after: world.random() * 15 * MINUTE,
            }),
          ];
          const runs = await world.play(Promise.all(jobs));
          const wrong = ["qa", "production"].flatMap((name) => world.runsRecord(name));
          for (const { error } of runs) if (error !== undefined) wrong.push(error);
          const [promoted] = world.records("production");
          const source = world
            .records("qa")
            .find(({ tag }) => promoted?.promotedFrom?.endsWith(String(tag.number).padStart(6, "0")));
          if (source === undefined || source.images[REGION] !== promoted?.images[REGION])
            wrong.push(`promoted was ${promoted?.images[REGION] ?? "nothing"}, not what the record says`);
          return world.played(wrong, [`promoted ${promoted?.version ?? "nothing"}`]);
        },
      }),
    ).toEqual([]),
  );
});
