import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import type { Job, JobResult } from "../../sandbox/runner.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { configWithProduction } from "../scenarios/config-text.ts";
import { Stage } from "../scenarios/stage.ts";
import { until } from "../scenarios/until.ts";
import {
  type Change,
  changed,
  DEPLOYER,
  given,
  grant,
  type Grants,
  inEveryRegion,
  type Recorded,
  recorded,
  type Story,
  TARGET_ACCOUNT,
  TARGET_ROLE,
  withTheTargetsRole,
} from "./policies.ts";

/** The built action as a runner starts it, with real Packer, one job after the other. */

interface JobStory {
  readonly name: string;
  readonly play: (stage: PolicyStage) => Promise<void>;
}

const TEMPLATES = join(import.meta.dirname, "../fixtures/templates");
const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };

/** A stage whose jobs run under policies, each under exactly those that it is given. */
class PolicyStage implements AsyncDisposable {
  readonly stage: Stage;
  readonly records: Recorded[] = [];
  readonly #story: string;
  readonly #change: Change;

  private constructor(stage: Stage, story: string, change: Change) {
    this.stage = stage;
    this.#story = story;
    this.#change = change;
  }

  static async open(story: string, change: Change): Promise<PolicyStage> {
    const stage = await Stage.open();
    for (const template of stage.sandbox.ec2.launchTemplates()) template.tags["kiln:application"] = "web";
    return new PolicyStage(stage, story, change);
  }

  /** Runs a job under these policies; it must end with the code. */
  async run(name: string, grants: Grants, job: Partial<Job>, code = 0): Promise<JobResult> {
    const { sandbox } = this.stage;
    const now = changed(grants, this.#change);
    grant(sandbox, now);
    const mark = sandbox.iam.checked.length;
    const result = await this.stage.run(job);
    this.records.push(...recorded(sandbox, mark, now, `${this.#story}: ${name}`));
    if (result.code !== code) throw new JobEnded(name, result);
    return result;
  }

  async useTemplate(name: string): Promise<void> {
    const config = await this.stage.copy.read(".github/kiln.yml");
    await this.stage.commit(`Use ${name}`, {
      "packer/web.pkr.hcl": readFileSync(join(TEMPLATES, name, `${name}.pkr.hcl`), "utf8"),
      ".github/kiln.yml": config.replace(/ {2}vars:.*\n/, ""),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
  }
}

/** A job that ended otherwise than its story says. */
class JobEnded extends Error {
  constructor(name: string, { code, log }: JobResult) {
    super(`${name} ended with ${code}:\n${log.slice(-4000)}`);
  }
}

const here = (...names: readonly string[]): Grants => ({ [DEPLOYER]: given(names) });

const bakes: JobStory = {
  name: "bakes",
  async play(stage) {
    await stage.stage.copy.push("develop");
    await stage.run("bake", here("bake"), { inputs: { command: "bake" } });
    await stage.useTemplate("looks-around");
    await stage.stage.copy.push("develop");
    await stage.run("bake with filters and enhanced networking", here("bake"), {
      inputs: { command: "bake" },
    });
    await stage.useTemplate("two-images");
    await stage.stage.copy.push("develop");
    await stage.run(
      "bake that makes two images and takes them back",
      here("bake"),
      { inputs: { command: "bake" } },
      1,
    );
    if (stage.stage.images().length !== 2) throw new Error("the two images were not taken back");
  },
};

/** Uses a template of Packer's other builders; with their permissions besides. */
const builders: JobStory = {
  name: "bakes by other builders",
  async play(stage) {
    const { ec2 } = stage.stage.sandbox;
    await stage.useTemplate("spot");
    await stage.stage.copy.push("develop");
    const spot = here("bake", "bake-spot");
    await killedBake(stage, spot, "sweep of a Spot build", () =>
      ec2
        .instances(HOME)
        .some(({ spotRequestId, state }) => spotRequestId !== undefined && state === "running"),
    );
    await stage.run("bake on a Spot Instance", spot, { inputs: { command: "bake" } });
    await stage.useTemplate("surrogate");
    await stage.stage.copy.push("develop");
    const surrogate = here("bake", "bake-surrogate");
    await killedBake(stage, surrogate, "sweep of a surrogate's snapshot", () =>
      ec2.snapshots(HOME).some(({ state }) => state === "pending"),
    );
    await stage.run("bake from a surrogate volume", surrogate, { inputs: { command: "bake" } });
  },
};

/** Kills the bake when something is there; the post step has to sweep up, and nothing may be left. */
async function killedBake(
  stage: PolicyStage,
  grants: Grants,
  name: string,
  reached: () => boolean,
): Promise<void> {
  let child: ChildProcess | undefined;
  let hasEnded = false;
  const hold = stage.stage.sandbox.clock.holdWhen(reached);
  const onStarted = (started: ChildProcess): void => {
    child = started;
    started.once("exit", () => {
      hasEnded = true;
      hold.release();
    });
  };
  // Where something is denied it does not come so far; what the run says tells that.
  const kill = async (): Promise<void> => {
    await until(name, () => hasEnded || hold.isReached());
    child?.kill("SIGKILL");
  };
  await Promise.all([stage.run(name, grants, { inputs: { command: "bake" }, onStarted }, 128), kill()]);
  const { ec2 } = stage.stage.sandbox;
  const pending = [...ec2.images(HOME), ...ec2.snapshots(HOME)].filter(({ state }) => state === "pending");
  const templates = ec2.launchTemplates(HOME).filter(({ name }) => name.startsWith("packer"));
  const left = [...stage.stage.leftovers(), ...[...pending, ...templates].map(({ id }) => id)];
  if (left.length > 0) throw new Error(`${name} left ${left.join(", ")}`);
}

const sweeps: JobStory = {
  name: "bakes that are killed",
  async play(stage) {
    const { ec2 } = stage.stage.sandbox;
    await stage.useTemplate("looks-around");
    await stage.stage.copy.push("develop");
    await killedBake(stage, here("bake"), "sweep of an instance with its volumes", () =>
      ec2.instances(HOME).some(({ keyName, state }) => keyName !== undefined && state === "running"),
    );
    await killedBake(stage, here("bake"), "sweep of a half-made image", () =>
      ec2.images(HOME).some(({ state }) => state === "pending"),
    );
  },
};

/** A further release of a changed page, from an image that is there. */
async function release(stage: PolicyStage, name: string, page: string): Promise<void> {
  await stage.stage.commit(page, { "app/public/index.html": `<h1>${page}</h1>\n` });
  grant(stage.stage.sandbox, here("plan"));
  await stage.stage.seedImage();
  await stage.stage.copy.push("develop");
  await stage.run(name, here("deploy"), { ref: "refs/heads/develop" });
}

/** An alarm over production's rollouts. */
async function watchProduction({ stage }: PolicyStage): Promise<void> {
  stage.sandbox.autoScaling.setAlarm("web-5xx", "OK");
  const config = await stage.copy.read(".github/kiln.yml");
  const group = /(targets: .*web-production .*)/;
  await stage.commit("Watch production", {
    ".github/kiln.yml": config.replace(group, "$1\n    rollout: { alarms: [web-5xx] }"),
  });
}

const releases: JobStory = {
  name: "releases in one account",
  async play(stage) {
    const plan = { "dry-run": "true" };
    await watchProduction(stage);
    await stage.stage.copy.push("develop");
    await stage.run("plan of a deploy", here("plan"), { inputs: plan });
    await stage.run("deploy with a bake", here("deploy"), {});
    await stage.stage.copy.push("stage");
    await stage.run("deploy of the image that is there", here("deploy"), { ref: "refs/heads/stage" });
    await release(stage, "deploy of a further image", "second");
    const promotion = { command: "promote", environment: "production", from: "dev" };
    await stage.run("plan of a promotion", here("plan"), { ...dispatch, inputs: { ...promotion, ...plan } });
    await stage.run("promote", here("promote"), { ...dispatch, inputs: promotion });
    const back = { command: "rollback", environment: "dev" };
    await stage.run("plan of a rollback", here("plan"), { ...dispatch, inputs: { ...back, ...plan } });
    await stage.run("rollback", here("rollback"), { ...dispatch, inputs: back });
    await stage.run("status", here("status"), { ...dispatch, inputs: { command: "status" } });
    await stage.run("plan of a prune", here("plan"), { ...dispatch, inputs: { command: "prune", ...plan } });
    await stage.run("prune", here("prune"), { ...dispatch, inputs: { command: "prune" } });
  },
};

const REGIONS = ["eu-west-1", "us-east-1"];
const ELSEWHERE = configWithProduction(`    role-to-assume: ${TARGET_ROLE}
    targets:
${REGIONS.map((region) => `      - { region: ${region}, auto-scaling-group: web-production }`).join("\n")}
`);

function addTargets({ stage: { sandbox } }: PolicyStage): void {
  for (const region of REGIONS) {
    const group = { region, accountId: TARGET_ACCOUNT, name: "web-production", template: "web", desired: 1 };
    addGroupOnTemplate(sandbox, group).tags["kiln:application"] = "web";
  }
}

const accounts: JobStory = {
  name: "releases across accounts and regions",
  async play(stage) {
    addTargets(stage);
    await stage.stage.commit("Production elsewhere", { ".github/kiln.yml": ELSEWHERE });
    const there = { [TARGET_ROLE]: given(["target-account"], inEveryRegion) };
    const with_ = (...names: readonly string[]): Grants => ({
      [DEPLOYER]: given(names, inEveryRegion),
      ...there,
    });
    await stage.stage.copy.push("main");
    await stage.run("deploy with a bake across accounts", with_("deploy-across-accounts"), {
      ref: dispatch.ref,
    });
    await release(stage, "deploy to promote from", "second");
    const promotion = { command: "promote", environment: "production", from: "dev" };
    const looking = (name: string, there: string): Grants => ({
      [DEPLOYER]: withTheTargetsRole(name),
      [TARGET_ROLE]: given([there]),
    });
    const plan = { ...dispatch, inputs: { ...promotion, "dry-run": "true" } };
    await stage.run("plan across accounts", looking("plan", "plan"), plan);
    tagSnapshots(stage);
    await stage.run("promote across accounts", with_("promote-across-accounts"), {
      ...dispatch,
      inputs: promotion,
    });
    const back = { command: "rollback", environment: "production" };
    await stage.run("rollback across accounts", with_("promote-across-accounts"), {
      ...dispatch,
      inputs: back,
    });
    const status = { ...dispatch, inputs: { command: "status" } };
    await stage.run("status across accounts", looking("status", "status"), status);
    const prune = { ...dispatch, inputs: { command: "prune" } };
    await stage.run("prune across accounts", looking("prune", "plan"), prune);
  },
};

/** The stage puts images there whose snapshots have no tags yet; a bake's have those of the image. */
function tagSnapshots({ stage: { sandbox } }: PolicyStage): void {
  for (const image of sandbox.ec2.images(HOME)) {
    const ids = new Set(image.blockDevices.map(({ snapshotId }) => snapshotId));
    for (const snapshot of sandbox.ec2.snapshots(HOME))
      if (ids.has(snapshot.id)) snapshot.tags = { ...image.tags };
  }
}

export const JOB_STORIES: readonly Story[] = [bakes, sweeps, builders, releases, accounts].map((story) => ({
  name: story.name,
  async play(change) {
    await using stage = await PolicyStage.open(story.name, change);
    const problem = await story.play(stage).then(() => undefined, String);
    return { problem, text: problem ?? "", records: stage.records };
  },
}));
