import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { processesOf } from "./machine.ts";
import { goOnAfter, standStill } from "./moments.ts";
import { isPacker, type Stage } from "./stage.ts";
import { endOf, open, OWN, RUN_ID, STORIES, type Story } from "./stories.ts";
import { until } from "./until.ts";

/**
 * Each command cancelled, as by Ctrl-C, while it waits for the answer to each single request that it makes; the post step
 * follows, and the same job again. No process, lock or temporary resource is left, the groups run what they ran or the log
 * says why not, and the re-run ends as an undisturbed run does. Some points in every test run, all by `npm run chaos`.
 * What takes longer than a request is in cancelled.test.ts, bakes are in swept.test.ts.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
const SHORT = new Set(["a deploy to two regions", "a rollback of a running deploy", "a prune"]);

/** All of a run's end, but for the refreshes: a cancelled one was rolled back. */
function comparable(stage: Stage, groups: readonly string[], code: number): string {
  const { refreshes: _, ...end } = endOf(stage, groups, code);
  return JSON.stringify(end);
}

/** What says that a group runs something else than before. */
const CHANGED =
  /has succeeded: the group runs the new image|Recorded as release\/|What was under way was rolled back|AWS finishes the rollback of the instance refresh/;

async function cancelledAt(story: Story, index: number, wanted: string): Promise<string[]> {
  await using stage = await open(story);
  const { sandbox } = stage;
  const runs = () =>
    JSON.stringify(
      story.groups.map((group) => new Set(stage.running(group)).size === 1 && stage.running(group)[0]),
    );
  const before = runs();
  const locks = () =>
    stage.git("for-each-ref", "refs/kiln/lock/**", "refs/kiln/bake/**", "refs/kiln/takeover/**");
  // A dead run's, which this one may not have come to take over.
  const foreign = locks();
  const mark = sandbox.log.entries.length;
  const own = () => sandbox.log.since(mark).filter((request) => !isPacker(request));
  const heard = Promise.withResolvers<void>();
  sandbox.faults.inject(OWN, { kind: "held", until: heard.promise }, { skip: index });
  let child: ChildProcess | undefined;
  let log = "";
  const running = stage.run({
    runId: RUN_ID,
    ...story.job,
    onStarted: (started) => (child = started),
    onOutput: (text) => {
      log += text;
      if (log.includes("Received SIGINT")) heard.resolve();
    },
  });
  // A refresh that is under way does not end before the process has.
  const hold = await standStill(stage, "the request is made", () => own().length > index);
  child?.kill("SIGINT");
  await goOnAfter(hold, child);
  const result = await running;
  heard.resolve();
  sandbox.faults.clear();
  const left = [
    ...processesOf(stage.folder).map((pid) => `process ${pid}`),
    ...locks()
      .split("\n")
      .filter((lock) => !foreign.includes(lock)),
    ...stage.leftovers(),
  ];
  await until("AWS has ended what it does by itself", () =>
    story.groups.every((group) =>
      sandbox.autoScaling
        .refreshes(group)
        .every(({ endTime, status }) => endTime !== undefined || status === "Baking"),
    ),
  );
  const isTold = runs() === before || CHANGED.test(result.log);
  const again = await stage.run({ runId: RUN_ID, attempt: 2, ...story.job });
  const found = comparable(stage, story.groups, again.code);
  const wrong = [
    ...(result.log.includes("Received SIGINT") ? [] : ["it was not cancelled"]),
    ...left.map((what) => `left: ${what}`),
    ...(isTold ? [] : [`the groups do not run what they ran, and the log does not say so`]),
    ...(found === wanted ? [] : [`ended as ${found}, not as ${wanted}`]),
  ];
  const request = own()[index];
  return wrong.length === 0
    ? []
    : [`at ${index} ${request?.action}: ${wrong.join("; ")}\n${result.log}\n${again.log}`];
}

describe("cancelled at any request, nothing is left, and the next attempt finishes it", () => {
  const stories = STORIES.filter(({ name, bakes }) => bakes !== true && (ALL || SHORT.has(name))).map(
    (story) => [story.name, story] as const,
  );

  test.each(stories)("%s", { timeout: 7_200_000 }, async (_, story) => {
    await using stage = await open(story);
    const mark = stage.sandbox.log.entries.length;
    const { code } = await stage.run({ runId: RUN_ID, ...story.job });
    const wanted = comparable(stage, story.groups, code);
    const count = stage.sandbox.log.since(mark).length;
    const points = Array.from({ length: count }, (_each, index) => index).filter(
      (index) => ALL || index === Math.floor(count * 0.7),
    );
    const differences: string[] = [];
    for (const index of points) differences.push(...(await cancelledAt(story, index, wanted)));
    process.stdout.write(
      `${story.name}: cancelled at ${points.length} of ${count} requests, ${points.length - differences.length} as they must be\n`,
    );
    expect(differences).toEqual([]);
  });
});
