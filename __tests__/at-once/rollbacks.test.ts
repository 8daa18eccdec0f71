import { describe, expect, test } from "vitest";
import type { RolloutSettings } from "../../src/domain/application.ts";
import type { ImageId } from "../../src/domain/image.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import { tryAll } from "./seeded.ts";
import { World } from "./world.ts";

/** Rollbacks against deploys and against each other: a rollback does not wait behind what it is to stop. */

const LONG = { timeout: 3_600_000 };
const MINUTE = 60_000;
const REGION = "eu-west-1";
/** A deploy by it takes more than an hour: a rollback that waits for it is told by its own time. */
const SLOW: RolloutSettings = {
  strategy: "canary",
  canary: { instances: 1 },
  checkpointDelay: 3600,
};
/** What a rollback may take: a refresh that goes back, one of its own with the whole fleet at once, and a run that stands still. */
const SOON = 35 * MINUTE;

interface Stage {
  readonly world: World;
  /** By content. */
  readonly images: Readonly<Record<string, ImageId>>;
}

/** An environment that has released contents one after the other, and runs the last. */
async function released(
  seed: number,
  contents: readonly string[],
  rollout?: RolloutSettings,
): Promise<Stage> {
  const world = await World.open(seed);
  const images = Object.fromEntries(
    contents.map((content, index) => [content, world.addImage(content, { days: 20 - index })]),
  );
  const last = images[contents.at(-1) ?? ""] ?? "ami-0";
  world.addEnvironment("production", last, rollout === undefined ? {} : { rollout });
  for (const [index, content] of contents.entries())
    world.addRecord("production", index + 1, content, images[content] ?? "ami-0");
  return { world, images };
}

/**
 * Rollbacks in a row that restore the same image say the same thing twice; but where the second one stopped a deploy that
 * the first one did not, it says something else.
 */
function doubled(world: World): string[] {
  const records = world.records("production");
  const stopped = ({ run }: ReleaseRecord): string =>
    world.ended
      .find(({ name }) => run.endsWith(`/${name.replace(/^\w+ /, "")}`))
      ?.log.flatMap(
        (line) => /instance refresh (\S+) is still running; AWS rolls it back/.exec(line)?.[1] ?? [],
      )
      .join() ?? "";
  return records.flatMap((record, index) => {
    const before = records[index - 1];
    if (before?.kind !== "rollback" || record.kind !== "rollback") return [];
    if (before.images[REGION] !== record.images[REGION]) return [];
    return stopped(record) === "" || stopped(record) === stopped(before)
      ? [`releases ${before.tag.number} and ${record.tag.number} are one`]
      : [];
  });
}

/** What each release after the seeded ones was: `rollback b`. */
const story = (world: World, seeded: number): string =>
  world
    .records("production")
    .slice(seeded)
    .map(({ kind, version }) => `${kind} ${version}`)
    .join(" then ") || "nothing";

describe("a rollback and a deploy at the same time", () => {
  test.each([
    ["before that or while it runs", { before: 2, until: 20 }, false],
    ["while that bakes", { before: 0, until: 8 }, true],
  ] as const)("of the same environment, begun %s", LONG, async (when, { before, until }, bakes) =>
    expect(
      await tryAll({
        name: `a rollback and a deploy, begun ${when}`,
        play: async (seed) => {
          const { world, images } = await released(seed, ["a", "b"], SLOW);
          if (!bakes) world.addImage("c");
          const to = seed % 2 === 0 ? "previous" : "1";
          const deployed = world.begin({
            command: "deploy",
            content: "c",
            after: world.random() * before * MINUTE,
          });
          const back = world.begin({
            command: "rollback",
            incident: true,
            to,
            after: world.random() * until * MINUTE,
          });
          const [run, rollback] = await world.play(Promise.all([deployed, back]));
          const wrong = [...world.runsRecord("production"), ...doubled(world)];
          const records = world.records("production").slice(2);
          const own = records.filter(({ kind }) => kind === "rollback");
          if (rollback.error !== undefined) wrong.push(`the rollback failed: ${rollback.error}`);
          if (own.length !== 1) wrong.push(`${own.length} rollbacks recorded`);
          if (to === "1" && own[0]?.images[REGION] !== images["a"]) wrong.push("release 1 was not restored");
          const took = rollback.ended - rollback.began;
          if (took > SOON) wrong.push(`the rollback took ${Math.round(took / MINUTE)} minutes`);
          if ((run.error === undefined) !== records.some(({ version }) => version === "c"))
            wrong.push("the deploy's end and its record do not agree");
          return world.played(wrong, [story(world, 2)]);
        },
      }),
    ).toEqual([]),
  );

  test("and somebody cancels the deploy", LONG, async () =>
    expect(
      await tryAll({
        name: "a rollback, and a deploy that is cancelled",
        play: async (seed) => {
          const { world } = await released(seed, ["a", "b"], SLOW);
          if (seed % 2 === 0) world.addImage("c");
          const deployed = world.begin({
            command: "deploy",
            content: "c",
            cancelAfter: world.random() * 15 * MINUTE,
          });
          const back = world.begin({
            command: "rollback",
            incident: true,
            after: world.random() * 15 * MINUTE,
          });
          const [, rollback] = await world.play(Promise.all([deployed, back]));
          const wrong = [...world.runsRecord("production"), ...doubled(world)];
          if (rollback.error !== undefined) wrong.push(`the rollback failed: ${rollback.error}`);
          if (world.records("production").some(({ version }) => version === "c"))
            wrong.push("c was recorded");
          const took = rollback.ended - rollback.began;
          if (took > SOON) wrong.push(`the rollback took ${Math.round(took / MINUTE)} minutes`);
          return world.played(wrong, [story(world, 2)]);
        },
      }),
    ).toEqual([]),
  );
});

describe("two rollbacks at the same time", () => {
  test("go back one release, not two, and never forward to the one that was left", LONG, async () =>
    expect(
      await tryAll({
        name: "two rollbacks",
        play: async (seed) => {
          const { world } = await released(seed, ["a", "b", "c"]);
          const jobs = [0, 1].map(() =>
            world.begin({ command: "rollback", after: world.random() * 12 * MINUTE }),
          );
          const runs = await world.play(Promise.all(jobs));
          const wrong = [...world.runsRecord("production"), ...doubled(world)];
          for (const { error } of runs) if (error !== undefined) wrong.push(error);
          const [first, second, ...more] = world.records("production").slice(3);
          if (first?.version !== "b") wrong.push(`the first restored ${first?.version ?? "nothing"}`);
          if (more.length > 0) wrong.push(`${more.length} releases too many`);
          // Decided when the first was recorded: then two in a row go back two.
          if (second !== undefined && (second.version !== "a" || second.started < (first?.finished ?? 0)))
            wrong.push(`the second restored ${second.version}, decided before the first was recorded`);
          return world.played(wrong, [story(world, 3)]);
        },
      }),
    ).toEqual([]),
  );

  test("while a deploy runs: it is stopped once, and that is recorded once", LONG, async () =>
    expect(
      await tryAll({
        name: "two rollbacks and a deploy",
        play: async (seed) => {
          const { world } = await released(seed, ["a", "b"], SLOW);
          world.addImage("c");
          const jobs = [
            world.begin({ command: "deploy", content: "c" }),
            ...[0, 1].map(() =>
              world.begin({ command: "rollback", incident: true, after: (3 + world.random() * 9) * MINUTE }),
            ),
          ];
          const runs = await world.play(Promise.all(jobs));
          const wrong = [...world.runsRecord("production"), ...doubled(world)];
          const [, ...rollbacks] = runs;
          for (const { error } of rollbacks)
            if (error !== undefined && !/Nothing to roll back to|went back further/.test(error))
              wrong.push(error);
          // Two rollbacks go back, whoever of them is first.
          const restored = world
            .records("production")
            .flatMap(({ kind, restores }) => (kind === "rollback" ? [restores ?? ""] : []));
          if (restored.some((tag, index) => tag > (restored[index - 1] ?? tag)))
            wrong.push(`it went forward: ${restored.join()}`);
          for (const { began, ended } of rollbacks)
            if (ended - began > SOON)
              wrong.push(`a rollback took ${Math.round((ended - began) / MINUTE)} minutes`);
          return world.played(wrong, [story(world, 2)]);
        },
      }),
    ).toEqual([]),
  );
});
