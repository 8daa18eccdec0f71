import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Job } from "../../sandbox/runner.ts";
import { Stage } from "./stage.ts";

/**
 * Each command killed (SIGKILL, and no post step) at each single request that it makes, before the request has any effect
 * or after it had it and before the answer is read; then the same job again. Each must end as the undisturbed run does.
 * Of all but the deploy every ninth point is tried; all of them by `npm run chaos`.
 */

const SPEED = 1200;
const ALL = process.env["KILN_CHAOS"] === "all";
const RUN_ID = 50;

interface Story {
  readonly name: string;
  /** Tries one point in so many. */
  readonly every: number;
  /** Brings the stage to where the job begins. */
  readonly prepare: (stage: Stage) => Promise<void>;
  readonly job: Partial<Job>;
  readonly groups: readonly string[];
}

const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };

async function release(stage: Stage, branch: string, page?: string): Promise<void> {
  if (page !== undefined) await stage.commit(page, { "app/public/index.html": `<h1>${page}</h1>\n` });
  await stage.seedImage();
  const result = await stage.push(branch);
  if (result.code !== 0) throw new Error(result.log);
}

/** Dev as one environment with two groups. */
async function twoTargets(stage: Stage): Promise<void> {
  const config = await stage.copy.read(".github/kiln.yml");
  const template = stage.sandbox.ec2.addLaunchTemplate(HOME, "web-second", {
    ...stage.sandbox.ec2.launchTemplateVersions(
      stage.sandbox.ec2.launchTemplates(HOME).find(({ name }) => name === "web-dev")?.id ?? "",
    )[0]?.data,
  });
  stage.sandbox.autoScaling.addGroup({
    ...HOME,
    name: "web-second",
    min: 0,
    max: 4,
    desired: 2,
    defaultInstanceWarmup: 30,
    healthCheckType: "ELB",
    launchTemplate: { launchTemplateId: template.id, version: "1" },
  });
  await stage.commit("Two groups", {
    ".github/kiln.yml": config.replace(
      /^( *)(- )?\{ region: eu-west-1, auto-scaling-group: web-dev \}|targets: \[\{ region: eu-west-1, auto-scaling-group: web-dev \}\]/m,
      "targets: [{ region: eu-west-1, auto-scaling-group: web-dev }, { region: eu-west-1, auto-scaling-group: web-second }]",
    ),
  });
}

const STORIES: readonly Story[] = [
  {
    name: "a deploy",
    every: 1,
    prepare: async (stage) => {
      await stage.seedImage();
      await stage.copy.push("develop");
    },
    job: {},
    groups: ["web-dev"],
  },
  {
    name: "a deploy to two targets",
    every: 9,
    prepare: async (stage) => {
      await twoTargets(stage);
      await stage.seedImage();
      await stage.copy.push("develop");
    },
    job: {},
    groups: ["web-dev", "web-second"],
  },
  {
    name: "a promotion",
    every: 9,
    prepare: (stage) => release(stage, "develop"),
    job: { ...dispatch, inputs: { command: "promote", environment: "qa", from: "dev" } },
    groups: ["web-qa"],
  },
  {
    name: "a rollback",
    every: 9,
    prepare: async (stage) => {
      // Three: a rollback that went back twice would find somewhere to go.
      await release(stage, "develop");
      await release(stage, "develop", "second");
      await release(stage, "develop", "third");
    },
    job: { ...dispatch, inputs: { command: "rollback", environment: "dev" } },
    groups: ["web-dev"],
  },
];

/** Everything that a run leaves behind. */
function endOf(stage: Stage, groups: readonly string[], code: number) {
  const { ec2, autoScaling } = stage.sandbox;
  return {
    code,
    records: stage.records(),
    locks: stage.locks(),
    images: stage.images().length,
    versions: ec2.launchTemplates().map(({ id, name }) => [name, ec2.launchTemplateVersions(id).length]),
    refreshes: groups.map((group) => autoScaling.refreshes(group).map(({ status }) => status)),
    running: groups.map((group) => stage.running(group)),
  };
}

async function open({ prepare }: Story): Promise<Stage> {
  const stage = await Stage.open({ ssh: false, speed: SPEED });
  await prepare(stage);
  return stage;
}

async function undisturbed(story: Story) {
  await using stage = await open(story);
  const { requests, code } = await stage.run({ runId: RUN_ID, ...story.job });
  return { count: requests.length, end: endOf(stage, story.groups, code) };
}

/** Kills a job at its request number `index`, runs it again, and tells what differs from an undisturbed end. */
async function killedAt(
  story: Story,
  index: number,
  kind: "drop-before" | "drop-after",
  wanted: unknown,
): Promise<string[]> {
  await using stage = await open(story);
  const { sandbox } = stage;
  const mark = sandbox.log.entries.length;
  sandbox.faults.inject({}, { kind }, { skip: index });
  let child: ChildProcess | undefined;
  const watch = setInterval(() => {
    if (sandbox.log.entries.length > mark + index) child?.kill("SIGKILL");
  }, 1);
  await stage.run({ runId: RUN_ID, post: false, ...story.job, onStarted: (started) => (child = started) });
  clearInterval(watch);
  sandbox.faults.clear();
  const request = sandbox.log.entries[mark + index];
  const again = await stage.run({ runId: RUN_ID, attempt: 2, ...story.job });
  const found = endOf(stage, story.groups, again.code);
  if (JSON.stringify(found) === JSON.stringify(wanted)) return [];
  return [`${kind} at ${request?.service} ${request?.action}: ${JSON.stringify(found)}\n${again.log}`];
}

describe("killed at any request, the next attempt finishes it, and nothing is doubled", () => {
  test.each(STORIES)("$name", { timeout: 1_200_000 }, async (story) => {
    const { count, end } = await undisturbed(story);
    expect(end).toMatchObject({ code: 0, locks: [] });
    const step = ALL ? 1 : story.every;
    const differences: string[] = [];
    let points = 0;
    for (const kind of ["drop-before", "drop-after"] as const) {
      for (let index = kind === "drop-before" ? 0 : Math.floor(step / 2); index < count; index += step) {
        points += 1;
        differences.push(...(await killedAt(story, index, kind, end)));
      }
    }
    process.stdout.write(
      `${story.name}: killed at ${points} of ${2 * count} points, ${points - differences.length} converged\n`,
    );
    expect(count).toBeGreaterThan(15);
    expect(differences).toEqual([]);
  });
});
