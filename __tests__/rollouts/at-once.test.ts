import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { type Released, ReleaseStage } from "./release-stage.ts";

/**
 * Several runs at the same time, their requests shuffled by a seed: no release is lost or doubled, numbers have neither gap
 * nor double, one refresh runs at a time, and what runs is what the newest record says. `npm run chaos` tries 200 seeds each;
 * KILN_SEEDS sets how many, KILN_SEED tries one.
 */

const SEEDS = Number(process.env["KILN_SEEDS"] ?? (process.env["KILN_CHAOS"] === "all" ? 200 : 6));
const ONE = process.env["KILN_SEED"];
const ROLLING = { strategy: "rolling" } as const;

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const target = (group: string) => ({ region: HOME.region, autoScalingGroup: group });

/** The image that a record names. */
const imageOf = (stage: ReleaseStage, tag: string): string | undefined =>
  /^Image: eu-west-1 (ami-\w+)$/m.exec(stage.message(tag))?.[1];

interface Story {
  readonly name: string;
  /** Groups of the stage, two instances each. */
  readonly groups: readonly string[];
  readonly begin: (stage: ReleaseStage, other: Parameters<ReleaseStage["release"]>[2]) => Promise<Released>[];
  /** How many records there must be in the end. */
  readonly records: readonly number[];
}

const STORIES: readonly Story[] = [
  {
    name: "two runs of the same image for one environment: one releases, the other has nothing to do",
    groups: ["web"],
    begin: (stage) => [stage.begin([target("web")], ROLLING), stage.begin([target("web")], ROLLING)],
    records: [1],
  },
  {
    name: "two runs of two images for one environment: both release, one after the other",
    groups: ["web"],
    begin: (stage, other) => [
      stage.begin([target("web")], ROLLING),
      stage.begin([target("web")], ROLLING, other),
    ],
    records: [2],
  },
  {
    name: "three runs for three environments: none waits for another",
    groups: ["web", "web-2", "web-3"],
    begin: (stage) =>
      ["web", "web-2", "web-3"].map((group) =>
        stage.begin([target(group)], ROLLING, { environment: { name: group } }),
      ),
    records: [3],
  },
  {
    name: "two environments that share a group by mistake: one at a time on the group, both recorded",
    groups: ["web"],
    begin: (stage, other) => [
      stage.begin([target("web")], ROLLING, { environment: { name: "one" } }),
      stage.begin([target("web")], ROLLING, { ...other, environment: { name: "two" } }),
    ],
    records: [1, 2],
  },
];

async function play(story: Story, seed: number): Promise<string[]> {
  await using stage = await ReleaseStage.open();
  for (const group of story.groups) stage.addGroup(group, 2);
  stage.time.random = randomOf(seed);
  const third = stage.addImage(HOME, "third");
  const runs = story.begin(stage, { image: third });
  // A run whose job is over: its locks would be taken over.
  const released = await stage.time.run(
    Promise.all(
      runs.map(async (run) => {
        const done = await run;
        stage.sandbox.repository.setRunStatus(done.run, "completed", "success");
        return done;
      }),
    ),
  );
  const wrong: string[] = [];
  const records = stage.records();
  if (!story.records.includes(records.length)) wrong.push(`records: ${records.join(", ") || "none"}`);
  if (stage.locks().length > 0) wrong.push(`locks: ${stage.locks().join(", ")}`);
  const numbers = Map.groupBy(records, (tag) => tag.split("/")[1]);
  for (const [environment, tags] of numbers) {
    const found = tags.map((tag) => Number(tag.split("/")[2]));
    if (found.some((number, index) => number !== index + 1))
      wrong.push(`numbers of ${environment}: ${found.join(", ")}`);
  }
  const failed = released.filter(({ error }) => error !== undefined);
  if (failed.length > 0 && records.length === runs.length) wrong.push(`failed: ${String(failed[0]?.error)}`);
  for (const group of story.groups) {
    const images = new Set(stage.running(group));
    if (images.size !== 1) wrong.push(`${group} is mixed: ${[...images].join(", ")}`);
    const newest = records.filter((tag) => stage.message(tag).includes(` ${group} lt-`));
    const said = newest.map((tag) => imageOf(stage, tag));
    if (!said.some((image) => image !== undefined && images.has(image)))
      wrong.push(`${group} runs ${[...images].join(", ")}, records say ${said.join(", ")}`);
    const overlapping = stage.sandbox.autoScaling
      .refreshes(group)
      .filter(({ status }) => status !== "Successful");
    if (overlapping.length > 0)
      wrong.push(`refreshes: ${overlapping.map(({ status }) => status).join(", ")}`);
  }
  return wrong.length === 0
    ? []
    : [
        `KILN_SEED=${seed}: ${wrong.join("; ")}\n${released.map(({ log, error }) => `${log.join("\n")}\n${String(error)}`).join("\n---\n")}`,
      ];
}

describe("at the same time", () => {
  test.each(STORIES)("$name", { timeout: 1_200_000 }, async (story) => {
    const seeds = ONE === undefined ? Array.from({ length: SEEDS }, (_, seed) => seed + 1) : [Number(ONE)];
    const wrong: string[] = [];
    for (const seed of seeds) wrong.push(...(await play(story, seed)));
    process.stdout.write(
      `${story.name}: ${seeds.length} seeds, ${seeds.length - wrong.length} as they must be\n`,
    );
    expect(wrong).toEqual([]);
  });
});
