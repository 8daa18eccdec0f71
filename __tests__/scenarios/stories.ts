import type { ChildProcess } from "node:child_process";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import { Query } from "../../sandbox/aws/query.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Job } from "../../sandbox/runner.ts";
import { DAY, TAGS } from "../image/stored-images.ts";
import { AWAY, PRUNE_SPEED, PruneScenario } from "./prune-scenario.ts";
import { isPacker, PACKER_AGENT, Stage } from "./stage.ts";

/** Each command as a job that the built action runs, and how it ends: what it is disturbed in, at each of its requests. */

/** Sandbox seconds a real second: looks at a refresh are few, and so are the points. */
const SPEED = 1200;
/** The disturbed run's, and that of its re-run. */
export const RUN_ID = 50;

/** A command, and what it begins from. */
export interface Story {
  readonly name: string;
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

/** What a deploy finds that need not bake. */
async function pushed(stage: Stage): Promise<void> {
  await stage.seedImage();
  await stage.copy.push("develop");
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

export const STORIES: readonly Story[] = [
  {
    name: "a deploy",
    prepare: pushed,
    job: {},
    groups: ["web-dev"],
  },
  {
    name: "a deploy to two targets",
    prepare: async (stage) => {
      await twoTargets(stage);
      await pushed(stage);
    },
    job: {},
    groups: ["web-dev", "web-second"],
  },
  {
    name: "a deploy to two regions",
    prepare: async (stage) => {
      await twoTargets(stage, "dev", AWAY);
      await pushed(stage);
    },
    job: {},
    groups: ["web-dev", "web-second"],
  },
  {
    name: "a promotion",
    prepare: (stage) => release(stage, "develop"),
    job: promote,
    groups: ["web-qa"],
  },
  {
    name: "a promotion to two targets",
    prepare: async (stage) => {
      await twoTargets(stage, "qa");
      await release(stage, "develop");
    },
    job: promote,
    groups: ["web-qa", "web-second"],
  },
  { name: "a rollback", prepare: threeReleases, job: rollback, groups: ["web-dev"] },
  {
    name: "a rollback of a running deploy",
    prepare: async (stage) => {
      await threeReleases(stage);
      await beginUnrecorded(stage);
    },
    job: rollback,
    groups: ["web-dev"],
  },
  {
    name: "a rollback of two targets",
    prepare: async (stage) => {
      await twoTargets(stage);
      await threeReleases(stage);
    },
    job: rollback,
    groups: ["web-dev", "web-second"],
  },
  {
    name: "a prune",
    speed: PRUNE_SPEED,
    prepare: (stage) => oldImages(stage, [HOME]),
    job: prune,
    groups: [],
  },
  {
    name: "a prune of two regions",
    speed: PRUNE_SPEED,
    prepare: (stage) => oldImages(stage, [HOME, AWAY]),
    job: prune,
    groups: [],
  },
  {
    name: "a deploy that takes a dead run's lock over",
    prepare: async (stage) => {
      await pushed(stage);
      await lockOfDeadRun(stage);
    },
    job: {},
    groups: ["web-dev"],
  },
  {
    name: "a deploy with a bake, and the machine dies too",
    bakes: true,
    prepare: (stage) => stage.copy.push("develop"),
    job: {},
    groups: ["web-dev"],
  },
];

/** Brings an image by a refresh that no record names, and that goes on for long. */
async function beginUnrecorded({ sandbox }: Stage): Promise<void> {
  const { id: imageId } = sandbox.ec2.addImage(HOME, { name: "bad" });
  const template = sandbox.ec2.launchTemplates(HOME).find(({ name }) => name === "web-dev");
  const id = template?.id ?? "";
  const data = sandbox.ec2.launchTemplateVersions(id).at(-1)?.data ?? {};
  const version = sandbox.ec2.addLaunchTemplateVersion(id, { ...data, ImageId: imageId });
  sandbox.autoScaling.operations["StartInstanceRefresh"]?.({
    ...HOME,
    accessKeyId: "console",
    requestId: "console",
    query: new Query([
      ["AutoScalingGroupName", "web-dev"],
      ["DesiredConfiguration.LaunchTemplate.LaunchTemplateId", id],
      ["DesiredConfiguration.LaunchTemplate.Version", String(version.number)],
      ["Preferences.BakeTime", "172800"],
    ]),
  });
  sandbox.clock.runUntil(() => sandbox.autoScaling.refreshes("web-dev").at(-1)?.status === "Baking");
}

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
export function endOf(stage: Stage, groups: readonly string[], code: number) {
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

export async function open({ prepare, speed = SPEED, bakes = false }: Story): Promise<Stage> {
  const stage = await Stage.open({ ssh: bakes, speed });
  await prepare(stage);
  return stage;
}

/** The action's own requests: Packer's are its own business. */
export const OWN = { userAgent: new RegExp(`^(?!.*(?:${PACKER_AGENT.source}))`, "i") };

/** The undisturbed run: how many requests it makes, which of them while it bakes, and how it ends. */
export async function undisturbed(story: Story) {
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
