import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import type { FaultEffect } from "../../sandbox/faults.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Job } from "../../sandbox/runner.ts";
import { DAY, TAGS } from "../image/stored-images.ts";
import { processesOf } from "./machine.ts";
import { AWAY, PRUNE_SPEED, PruneScenario } from "./prune-scenario.ts";
import { isPacker, PACKER_AGENT, Stage } from "./stage.ts";

/**
 * Each command killed (SIGKILL, and no post step) at each single request that it makes, before the request has any effect
 * or after it had it and before the answer is read; then the same job again. Each must end as the undisturbed run does.
 * Of all but the deploy one point in so many is tried; all of them by `npm run chaos`.
 */

const SPEED = 1200;
const ALL = process.env["KILN_CHAOS"] === "all";
const RUN_ID = 50;

interface Story {
  readonly name: string;
  /** Tries one point in so many. */
  readonly every: number;
  readonly speed?: number;
  /** Packer bakes; the machine dies with the action, or Packer goes on. */
  readonly bakes?: boolean;
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

/** An environment with a second group, beside its own or in another region. */
async function twoTargets(stage: Stage, environment = "dev", place = HOME): Promise<void> {
  const config = await stage.copy.read(".github/kiln.yml");
  addGroupOnTemplate(stage.sandbox, { ...place, name: "web-second" });
  const first = `{ region: eu-west-1, auto-scaling-group: web-${environment} }`;
  await stage.commit("Two groups", {
    ".github/kiln.yml": config.replace(
      `targets: [${first}]`,
      `targets: [${first}, { region: ${place.region}, auto-scaling-group: web-second }]`,
    ),
  });
}

/** Three releases: a rollback that went back twice would find somewhere to go. */
async function threeReleases(stage: Stage): Promise<void> {
  await release(stage, "develop");
  await release(stage, "develop", "second");
  await release(stage, "develop", "third");
}

/** Images to deprecate, and images to deregister. */
async function oldImages(stage: Stage, places: readonly (typeof HOME)[]): Promise<void> {
  const scenario = await PruneScenario.on(stage, places);
  for (const place of places) {
    for (const name of ["older", "oldest"]) {
      const id = scenario.image(`${name} ${place.region}`, `web-${name}-0123456789ab`, 90, TAGS, place);
      const image = stage.sandbox.ec2.images(place).find((other) => other.id === id);
      Object.assign(image ?? {}, { deprecatedAt: stage.sandbox.clock.now() - 20 * DAY });
    }
  }
}

const rollback = { ...dispatch, inputs: { command: "rollback", environment: "dev" } };
const promote = { ...dispatch, inputs: { command: "promote", environment: "qa", from: "dev" } };
const prune = { ...dispatch, event: "schedule", inputs: { command: "prune" } };

const STORIES: readonly Story[] = [
  {
    name: "a deploy",
    every: 3,
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
    name: "a deploy to two regions",
    every: 47,
    prepare: async (stage) => {
      await twoTargets(stage, "dev", AWAY);
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
    job: promote,
    groups: ["web-qa"],
  },
  {
    name: "a promotion to two targets",
    every: 47,
    prepare: async (stage) => {
      await twoTargets(stage, "qa");
      await release(stage, "develop");
    },
    job: promote,
    groups: ["web-qa", "web-second"],
  },
  { name: "a rollback", every: 9, prepare: threeReleases, job: rollback, groups: ["web-dev"] },
  {
    name: "a rollback of two targets",
    every: 53,
    prepare: async (stage) => {
      await twoTargets(stage);
      await threeReleases(stage);
    },
    job: rollback,
    groups: ["web-dev", "web-second"],
  },
  {
    name: "a prune",
    every: 13,
    speed: PRUNE_SPEED,
    prepare: (stage) => oldImages(stage, [HOME]),
    job: prune,
    groups: [],
  },
  {
    name: "a prune of two regions",
    every: 23,
    speed: PRUNE_SPEED,
    prepare: (stage) => oldImages(stage, [HOME, AWAY]),
    job: prune,
    groups: [],
  },
  {
    name: "a deploy that takes a dead run's lock over",
    every: 37,
    prepare: async (stage) => {
      await stage.seedImage();
      await stage.copy.push("develop");
      await lockOfDeadRun(stage);
    },
    job: {},
    groups: ["web-dev"],
  },
  {
    name: "a deploy with a bake, and the machine dies too",
    every: 53,
    speed: 240,
    bakes: true,
    prepare: (stage) => stage.copy.push("develop"),
    job: {},
    groups: ["web-dev"],
  },
];

/** As a run left it that was killed under its lock. */
async function lockOfDeadRun(stage: Stage): Promise<void> {
  stage.sandbox.faults.inject({ action: "StartInstanceRefresh" }, { kind: "drop-before" }, { times: 99 });
  let child: ChildProcess | undefined;
  const watch = setInterval(() => {
    if (stage.locks().length > 0) child?.kill("SIGKILL");
  }, 20);
  await stage.run({ runId: 40, post: false, onStarted: (started) => (child = started) });
  clearInterval(watch);
  stage.sandbox.faults.clear();
  if (stage.locks().length === 0) throw new Error("no lock is left");
}

/** Everything that a run leaves behind. */
function endOf(stage: Stage, groups: readonly string[], code: number) {
  const { ec2, autoScaling } = stage.sandbox;
  const images = ec2
    .images()
    .filter(({ ownerId, deregisteredAt }) => ownerId === HOME.accountId && deregisteredAt === undefined);
  return {
    code,
    records: stage.records(),
    locks: stage.locks(),
    leftovers: stage.leftovers(),
    images: images.map(
      ({ region, state, deprecatedAt }) =>
        `${region} ${state}${deprecatedAt === undefined ? "" : " deprecated"}`,
    ),
    snapshots: ec2.snapshots().length,
    versions: ec2.launchTemplates().map(({ id, name }) => [name, ec2.launchTemplateVersions(id).length]),
    refreshes: groups.map((group) => autoScaling.refreshes(group).map(({ status }) => status)),
    // By the image's place among all: one that had to be baked again has another id.
    running: groups.map((group) =>
      stage.running(group).map((id) => images.findIndex((image) => image.id === id)),
    ),
  };
}

async function open({ prepare, speed = SPEED, bakes = false }: Story): Promise<Stage> {
  const stage = await Stage.open({ ssh: bakes, speed });
  await prepare(stage);
  return stage;
}

/** The action's own requests: Packer's are its own business. */
const OWN = { userAgent: new RegExp(`^(?!.*(?:${PACKER_AGENT.source}))`, "i") };

async function undisturbed(story: Story) {
  await using stage = await open(story);
  const { requests, code, log } = await stage.run({ runId: RUN_ID, ...story.job });
  const own = requests.filter((request) => !isPacker(request));
  const first = requests.findIndex(isPacker);
  const last = requests.findLastIndex(isPacker);
  const bake = own.flatMap((request, index) => {
    const at = requests.indexOf(request);
    return at > first && at < last ? [index] : [];
  });
  return { count: own.length, bake, log, end: endOf(stage, story.groups, code) };
}

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

/** All points of a story, or one in so many. */
function pointsOf(story: Story, count: number, bake: readonly number[]): readonly Point[] {
  const step = ALL ? 1 : story.every;
  const kinds = ["drop-before", "drop-after"] as const;
  const points: Point[] = kinds.flatMap((kind) =>
    Array.from({ length: count }, (_, index) => ({ index, kind })).filter(
      ({ index }) => (index + (kind === "drop-before" ? 0 : Math.ceil(step / 2))) % step === 0,
    ),
  );
  const living = kinds.flatMap((kind) => bake.map((index) => ({ index, kind, packerLives: true })));
  return [...points, ...(ALL ? living : living.slice(-1))];
}

describe("killed at any request, the next attempt finishes it, and nothing is doubled", () => {
  const stories = STORIES.map((story) => [story.name, story] as const);

  test.each(stories)("%s", { timeout: 7_200_000 }, async (_, story) => {
    const { count, bake, end, log } = await undisturbed(story);
    expect(end, log).toMatchObject({ code: 0, locks: [], leftovers: [] });
    const points = pointsOf(story, count, bake);
    const differences: string[] = [];
    for (const point of points) differences.push(...(await killedAt(story, point, end)));
    process.stdout.write(
      `${story.name}: killed at ${points.length} of ${2 * (count + bake.length)} points, ${points.length - differences.length} converged\n`,
    );
    expect(count).toBeGreaterThan(9);
    expect(differences).toEqual([]);
  });
});
