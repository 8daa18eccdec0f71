import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { FaultEffect } from "../../sandbox/faults.ts";
import { processesOf } from "./machine.ts";
import { isPacker } from "./stage.ts";
import { endOf, open, OWN, RUN_ID, STORIES, type Story, undisturbed } from "./stories.ts";

/**
 * Each command killed (SIGKILL, and no post step) at each single request that it makes, before the request has any effect
 * or after it had it and before the answer is read; then the same job again. Each must end as the undisturbed run does.
 * One point of each command is tried, all of them by `npm run chaos`.
 */

const ALL = process.env["KILN_CHAOS"] === "all";

interface Point {
  readonly index: number;
  readonly kind: "drop-before" | "drop-after";
  /** Packer goes on without the action: the next attempt meets it. */
  readonly packerLives?: boolean;
}

/** Kills a job at one of its requests, runs it again, and tells what differs from an undisturbed end. */
async function killedAt(story: Story, point: Point, wanted: unknown): Promise<string[]> {
  await using stage = await open(story);
  const { sandbox } = stage;
  const mark = sandbox.log.entries.length;
  const effect: FaultEffect = { kind: point.kind };
  sandbox.faults.inject(OWN, effect, { skip: point.index });
  // Nothing of what it still does before the signal arrives has any effect.
  sandbox.faults.inject(OWN, { kind: "drop-before" }, { skip: point.index, times: Infinity });
  let child: ChildProcess | undefined;
  const own = () => sandbox.log.since(mark).filter((request) => !isPacker(request));
  const watch = setInterval(() => {
    if (own().length > point.index) child?.kill("SIGKILL");
  }, 1);
  await stage.run({ runId: RUN_ID, post: false, ...story.job, onStarted: (started) => (child = started) });
  clearInterval(watch);
  sandbox.faults.clear();
  if (point.packerLives !== true) for (const pid of processesOf(stage.folder)) process.kill(pid, "SIGKILL");
  const request = own()[point.index];
  const again = await stage.run({ runId: RUN_ID, attempt: 2, ...story.job });
  await stage.quiet();
  const found = endOf(stage, story.groups, again.code);
  if (JSON.stringify(found) === JSON.stringify(wanted)) return [];
  return [
    `${point.kind} at ${point.index} ${request?.service} ${request?.action}${point.packerLives === true ? ", Packer goes on" : ""}: ${JSON.stringify(found)}\n${again.log}`,
  ];
}

const KINDS = ["drop-before", "drop-after"] as const;

/** All points of a story. */
function pointsOf(count: number, bake: readonly number[]): readonly Point[] {
  return KINDS.flatMap((kind) => [
    ...Array.from({ length: count }, (_, index) => ({ index, kind })),
    ...bake.map((index) => ({ index, kind, packerLives: true })),
  ]);
}

/** One point of a story, in each story at another part of the run; of a bake, one at which Packer goes on. */
function sampleOf(story: Story, count: number, bake: readonly number[]): Point {
  const place = STORIES.indexOf(story);
  const kind = KINDS[place % 2] ?? "drop-after";
  const last = bake.at(-1);
  if (last !== undefined) return { index: last, kind: "drop-after", packerLives: true };
  return { index: Math.floor((count * (place + 0.5)) / STORIES.length), kind };
}

describe("killed at any request, the next attempt finishes it, and nothing is doubled", () => {
  const stories = STORIES.map((story) => [story.name, story] as const);

  test.each(stories)("%s", { timeout: 7_200_000 }, async (_, story) => {
    const { count, bake, end, log } = await undisturbed(story);
    expect(end, log).toMatchObject({ code: 0, locks: [], leftovers: [] });
    const points = ALL ? pointsOf(count, bake) : [sampleOf(story, count, bake)];
    const differences: string[] = [];
    for (const point of points) differences.push(...(await killedAt(story, point, end)));
    process.stdout.write(
      `${story.name}: killed at ${points.length} of ${2 * (count + bake.length)} points, ${points.length - differences.length} converged\n`,
    );
    expect(count).toBeGreaterThan(9);
    expect(differences).toEqual([]);
  });
});
