import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { tryAll } from "./seeded.ts";
import { digestOfContent, World } from "./world.ts";

/** Runs that need the same content at the same time: one bakes, and all have its image. */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;

/** The images of a content that are there. */
const baked = (world: World, content: string): string[] =>
  world.aws.ec2
    .images(HOME)
    .filter(
      ({ tags, deregisteredAt }) =>
        tags["kiln:digest"] === digestOfContent(content) && deregisteredAt === undefined,
    )
    .map(({ id }) => id);

async function unbaked(seed: number): Promise<World> {
  const world = await World.open(seed);
  const old = world.addImage("a");
  for (const name of ["dev", "qa"]) world.addEnvironment(name, old);
  world.bake = { takes: (2 + world.random() * 8) * MINUTE, tags: world.random() < 0.5 };
  return world;
}

describe("bakes of one content at the same time", () => {
  test.each(["bake", "deploy"] as const)("two runs of %s bake once", LONG, async (command) =>
    expect(
      await tryAll({
        name: `two runs of ${command} that need one content`,
        play: async (seed) => {
          const world = await unbaked(seed);
          const jobs = ["dev", "qa"].map((name) =>
            world.begin({ command, environments: [name], content: "b", after: world.random() * 12 * MINUTE }),
          );
          const runs = await world.play(Promise.all(jobs));
          const wrong: string[] = [];
          for (const { error } of runs) if (error !== undefined) wrong.push(error);
          if (world.builds.length !== 1) wrong.push(`Packer ran ${world.builds.length} times`);
          const images = baked(world, "b");
          if (images.length !== 1) wrong.push(`${images.length} images`);
          if (runs.filter(({ facts }) => facts.image?.baked === true).length !== 1)
            wrong.push("not one says it baked");
          if (command === "deploy") wrong.push(...["dev", "qa"].flatMap((name) => world.runsRecord(name)));
          if (runs.some(({ facts }) => facts.image?.ids?.[HOME.region] !== images[0]))
            wrong.push("not one image");
          const joined = runs.some(({ log }) =>
            log.some((line) => /Another run baked this content/.test(line)),
          );
          return world.played(wrong, [joined ? "joined" : "found"]);
        },
      }),
    ).toEqual([]),
  );

  test(
    "one is cancelled while it bakes or waits: the other has the image, and there is no other",
    LONG,
    async () =>
      expect(
        await tryAll({
          name: "two deploys that need one content, one of them cancelled",
          play: async (seed) => {
            const world = await unbaked(seed);
            const jobs = ["dev", "qa"].map((name, index) =>
              world.begin({
                command: "deploy",
                environments: [name],
                content: "b",
                after: world.random() * 6 * MINUTE,
                ...(index === 0 ? { cancelAfter: world.random() * 10 * MINUTE } : {}),
              }),
            );
            const [, other] = await world.play(Promise.all(jobs));
            const wrong = world.runsRecord("qa");
            if (other?.error !== undefined) wrong.push(other.error);
            if (world.builds.length > 2) wrong.push(`Packer ran ${world.builds.length} times`);
            if (baked(world, "b").length !== 1) wrong.push(`${baked(world, "b").length} images`);
            return world.played(wrong, [`${world.builds.length} Packer`]);
          },
        }),
      ).toEqual([]),
  );
});
