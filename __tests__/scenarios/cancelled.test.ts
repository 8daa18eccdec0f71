import type { ChildProcess } from "node:child_process";
import { setTimeout as after } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import { Query } from "../../sandbox/aws/query.ts";
import type { FaultEffect } from "../../sandbox/faults.ts";
import type { Job } from "../../sandbox/runner.ts";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import { HOME, TOKEN } from "../../sandbox/sandbox.ts";
import { wallClock } from "../../src/action/wall-clock.ts";
import { createOctokit } from "../../src/github/client.ts";
import { createRepository } from "../../src/github/repository.ts";
import { environmentLock, takeLock } from "../../src/release/lock.ts";
import { KeptLog } from "../image/programs.ts";
import { processesOf } from "./machine.ts";
import { standStill } from "./moments.ts";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/**
 * A run that is cancelled at any stage, as GitHub does it: SIGINT to the node process only, SIGTERM 7.5 seconds later,
 * SIGKILL after 2.5 more, then the post step. Nothing of it is left, nothing of another run is touched, and the re-run ends
 * as if nothing had been. Bakes are in `swept.test.ts`. Some stages in every test run, all by `npm run chaos`.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
/** Sandbox seconds a real second, for what AWS does while the process hangs. */
const SPEED = 60;

type Signals = (child: ChildProcess) => Promise<void>;

interface Case {
  readonly name: string;
  /** In every test run. */
  readonly always?: boolean;
  /** What dev's `rollout:` has. */
  readonly rollout?: string;
  readonly prepare?: (stage: Stage) => Promise<void>;
  /** GitHub changes refs one by one only: the record's creation is a request of its own. */
  readonly refsOneByOne?: boolean;
  /** A request that is answered when the process has heard the signal, or only when it is too late for all signals. */
  readonly hold?: readonly [action: string | RegExp, answer: "held" | "silent", skip?: number];
  readonly reached: (stage: Stage, seen: readonly LoggedRequest[], log: string) => boolean;
  readonly signals?: Signals;
  readonly inputs?: Readonly<Record<string, string>>;
  /** What the log says. */
  readonly says: readonly (string | RegExp)[];
  /** Default: 1. */
  readonly code?: number;
  /** What the group runs when all is over; default: what it ran before. */
  readonly ends?: "new";
  /** The process needs more than SIGINT, since it hangs in a request. */
  readonly hangs?: boolean;
  /** AWS goes on while the process hangs; else time stands still until the process has ended. */
  readonly goesOn?: boolean;
  /** The post step is killed too, at the first request that it makes. */
  readonly postKilled?: boolean;
  /** The lock is there afterwards: another run's, or one that the killed post step left to the re-run. */
  readonly locked?: boolean;
  /** Before the re-run. */
  readonly before?: (stage: Stage) => Promise<void>;
}

/** As GitHub's runner does it. */
const asGitHub: Signals = async (child) => {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  await Promise.race([ended, after(7500)]);
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await Promise.race([ended, after(2500)]);
  child.kill("SIGKILL");
};

/** Real milliseconds after which no signal can be waited for any more. */
const TOO_LATE = 20_000;

/** The same, but for the deadlines, which a slow machine would miss. */
const patiently: Signals = async (child) => {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  await ended;
};

const status = (stage: Stage, group = "web-dev") =>
  stage.sandbox.autoScaling.refreshes(group).map((refresh) => refresh.status);
const inProgress = (stage: Stage): boolean => status(stage).at(-1) === "InProgress";
const asked = (action: string) => (_: Stage, seen: readonly LoggedRequest[]) =>
  seen.some((request) => request.action === action);
const REFS = "POST /repos/acme/web/git/refs";

const ROLLED_BACK = [/The instance refresh \S+ is being rolled back; AWS finishes that by itself/] as const;

const CASES: readonly Case[] = [
  {
    name: "before the lock",
    always: true,
    hold: ["DescribeAutoScalingGroups", "held"],
    reached: asked("DescribeAutoScalingGroups"),
    says: ["Received SIGINT: stopping", "The run was cancelled"],
  },
  {
    name: "while the lock is being taken",
    hold: [REFS, "held"],
    reached: asked(REFS),
    says: ["Released the lock refs/kiln/lock/release/dev"],
  },
  {
    name: "while the lock is being taken, and GitHub does not answer",
    hold: [REFS, "silent"],
    reached: asked(REFS),
    says: ["Released the lock refs/kiln/lock/release/dev"],
    hangs: true,
  },
  {
    name: "waiting for a lock",
    prepare: (stage) => lockBy(stage, "dev", 99),
    reached: (_stage, _seen, log) => log.includes("dev is locked by eve's run"),
    says: ["The run was cancelled"],
    locked: true,
    before: async (stage) => {
      stage.git("update-ref", "-d", "refs/kiln/lock/release/dev");
    },
  },
  {
    name: "while the template version is made",
    hold: ["CreateLaunchTemplateVersion", "held"],
    reached: asked("CreateLaunchTemplateVersion"),
    says: ["No instance refresh was started. Nothing was recorded."],
  },
  {
    name: "while the refresh is being started",
    rollout: "{ bake-time: 10m }",
    hold: ["StartInstanceRefresh", "held"],
    reached: asked("StartInstanceRefresh"),
    says: ROLLED_BACK,
  },
  {
    name: "while the refresh is being started, and AWS does not answer",
    rollout: "{ bake-time: 15m }",
    hold: ["StartInstanceRefresh", "silent"],
    reached: asked("StartInstanceRefresh"),
    says: [/the run was cancelled: the instance refresh \S+ is rolled back/],
    hangs: true,
  },
  {
    name: "the refresh is in progress",
    reached: inProgress,
    says: ["Cancelled while eu-west-1/web-dev was being rolled out", ...ROLLED_BACK],
  },
  {
    name: "while the refresh is being started, and it has ended when AWS answers",
    hold: ["StartInstanceRefresh", "silent"],
    reached: asked("StartInstanceRefresh"),
    says: [/has succeeded: the group runs the new image\. Run the job again: it records that/],
    hangs: true,
    goesOn: true,
    ends: "new",
  },
  {
    name: "the refresh is in progress, and AWS does not answer to its rollback",
    hold: ["RollbackInstanceRefresh", "silent"],
    reached: inProgress,
    says: [/has ended: RollbackSuccessful/],
    hangs: true,
  },
  {
    name: "the refresh is in progress: Ctrl-C twice",
    reached: inProgress,
    signals: async (child) => {
      child.kill("SIGINT");
      await after(30);
      child.kill("SIGINT");
    },
    says: ROLLED_BACK,
  },
  {
    name: "the refresh is in progress: SIGTERM alone, the machine is shut down",
    reached: inProgress,
    signals: async (child) => {
      child.kill("SIGTERM");
    },
    says: ["Received SIGTERM: stopping", ...ROLLED_BACK],
  },
  {
    name: "the refresh is in progress, `on-cancel: leave`",
    reached: inProgress,
    inputs: { "on-cancel": "leave" },
    says: [
      /The instance refresh \S+ goes on, as `on-cancel: leave` says/,
      /goes on in AWS: \w+, \d+ %|has succeeded: the group runs the new image/,
    ],
    ends: "new",
  },
  {
    name: "AWS watches after the last instance (`bake-time`)",
    rollout: "{ bake-time: 10m }",
    reached: (stage) => status(stage).at(-1) === "Baking",
    says: ROLLED_BACK,
  },
  {
    name: "at a checkpoint",
    rollout: "{ checkpoints: [50, 100], checkpoint-delay: 10m }",
    prepare: async (stage) => {
      call(stage, "SetDesiredCapacity", { DesiredCapacity: "2" });
      await until("two instances", () => stage.running("web-dev").length === 2);
    },
    reached: (stage) => new Set(stage.running("web-dev")).size === 2,
    says: ROLLED_BACK,
  },
  {
    name: "a smoke test that does not listen runs",
    always: true,
    rollout: '{ smoke-test: { command: "script/smoke", timeout: 60m } }',
    prepare: deafTest,
    reached: (_stage, _seen, log) => log.includes("smoke test | deaf"),
    says: ["Cancelled while eu-west-1/web-dev was being rolled out"],
    before: goodTest,
  },
  {
    name: "a smoke test that does not listen runs, and the process is killed",
    rollout: '{ smoke-test: { command: "script/smoke", timeout: 60m } }',
    prepare: deafTest,
    reached: (_stage, _seen, log) => log.includes("smoke test | deaf"),
    signals: async (child) => {
      child.kill("SIGKILL");
    },
    says: [/Ended the smoke test \(process \d+\) that was still running/],
    ends: "new",
    before: goodTest,
  },
  {
    name: "waiting for somebody else's refresh",
    prepare: async (stage) => {
      const template = stage.sandbox.ec2.launchTemplates(HOME).find(({ name }) => name === "web-dev");
      const [first] = stage.sandbox.ec2.launchTemplateVersions(template?.id ?? "");
      stage.sandbox.ec2.addLaunchTemplateVersion(template?.id ?? "", { ...first?.data });
      call(stage, "StartInstanceRefresh", {
        "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": template?.id ?? "",
        "DesiredConfiguration.LaunchTemplate.Version": "2",
        "Preferences.InstanceWarmup": "600",
      });
    },
    reached: (_stage, _seen, log) => log.includes("waiting for another instance refresh to end"),
    says: [
      /The run was cancelled|Cancelled before dev was rolled out/,
      "Released the lock refs/kiln/lock/release/dev",
    ],
    before: async (stage) => {
      expect(status(stage)).toEqual(["Successful"]);
    },
  },
  {
    name: "AWS is just rolling back",
    rollout: '{ smoke-test: "false", bake-time: 10m }',
    reached: (stage) => status(stage).at(-1) === "RollbackInProgress",
    says: ["Cancelled while eu-west-1/web-dev was being rolled out"],
    before: passingTest,
  },
  {
    name: "Kiln is on its own way back",
    rollout: '{ smoke-test: "false" }',
    reached: (stage) => status(stage).length === 2 && inProgress(stage),
    says: [/eu-west-1\/web-dev is on its way back by the instance refresh \S+, which AWS finishes by itself/],
    before: passingTest,
  },
  {
    name: "the record is being written",
    always: true,
    refsOneByOne: true,
    // The lock's ref, and the one of what is kept of the image, come before.
    hold: [REFS, "held", 2],
    reached: (_stage, seen) => seen.filter(({ action }) => action === REFS).length === 3,
    says: ["Recorded as release/dev/000001"],
    code: 0,
    ends: "new",
  },
  {
    name: "the refresh is in progress, and the post step is killed",
    always: true,
    reached: inProgress,
    says: ROLLED_BACK,
    postKilled: true,
    locked: true,
  },
  {
    name: "one of two has ended, in sequence",
    prepare: secondGroup,
    rollout: "{ order: sequential }",
    reached: (stage) => status(stage, "web-second").at(-1) === "InProgress",
    says: [/eu-west-1\/web-dev had finished; the instance refresh \S+ takes it back/, ...ROLLED_BACK],
  },
];

/** What somebody with the console does to dev's group. */
function call({ sandbox }: Stage, action: string, parameters: Readonly<Record<string, string>>): void {
  const query = new Query([["AutoScalingGroupName", "web-dev"], ...Object.entries(parameters)]);
  sandbox.autoScaling.operations[action]?.({ ...HOME, accessKeyId: "console", requestId: "console", query });
}

/** Another run, which is at work, takes an environment's lock. */
async function lockBy(stage: Stage, environment: string, id: number): Promise<void> {
  const { sandbox } = stage;
  sandbox.repository.addRun({ id, status: "in_progress" });
  const octokit = createOctokit({
    token: TOKEN,
    apiUrl: sandbox.githubUrl,
    userAgent: "test",
    clock: wallClock,
    log: { debug: () => undefined, notice: () => undefined },
  });
  const run = {
    id: String(id),
    attempt: "1",
    actor: "eve",
    url: `https://github.com/acme/web/actions/runs/${id}`,
  };
  await takeLock(
    {
      what: environmentLock({ prefix: "release", environment }),
      commit: await stage.copy.head(),
      run,
      timeout: 0,
    },
    {
      repository: createRepository(octokit, "acme/web"),
      clock: wallClock,
      log: new KeptLog(),
      signal: new AbortController().signal,
    },
  );
}

function killAtFirstRequest({ sandbox }: Stage, post: ChildProcess): void {
  const mark = sandbox.log.entries.length;
  const watch = setInterval(() => {
    if (sandbox.log.entries.length > mark) post.kill("SIGKILL");
  }, 1);
  post.once("exit", () => clearInterval(watch));
}

/** A smoke test and a child of it, neither of which can be asked to stop. */
async function deafTest(stage: Stage): Promise<void> {
  const child = `sh -c 'trap "" TERM INT; while :; do sleep 1; done' &`;
  await stage.write(
    "script/smoke",
    `#!/bin/sh\ntrap "" TERM INT\n${child}\necho deaf\nwhile :; do sleep 1; done\n`,
  );
  await stage.copy.chmod("script/smoke", 0o755);
  await stage.commit("A smoke test", {});
}

async function passingTest(stage: Stage): Promise<void> {
  const config = await stage.copy.read(".github/kiln.yml");
  await stage.write(".github/kiln.yml", config.replace('"false"', '"true"'));
}

async function goodTest(stage: Stage): Promise<void> {
  await stage.write("script/smoke", "#!/bin/sh\n");
}

async function secondGroup(stage: Stage): Promise<void> {
  addGroupOnTemplate(stage.sandbox, { ...HOME, name: "web-second", desired: 1 });
  const config = await stage.copy.read(".github/kiln.yml");
  const first = "{ region: eu-west-1, auto-scaling-group: web-dev }";
  await stage.commit("Two groups", {
    ".github/kiln.yml": config.replace(
      `targets: [${first}]`,
      `targets: [${first}, { region: eu-west-1, auto-scaling-group: web-second }]`,
    ),
  });
}

/** What other runs have at work in the same account and repository; to be the same afterwards. */
async function others(stage: Stage): Promise<() => unknown> {
  await lockBy(stage, "qa", 98);
  const { ec2 } = stage.sandbox;
  const image = ec2.addImage(HOME, { name: "web-theirs-0123456789ab" });
  const instance = ec2.fleet.launch(HOME, {
    imageId: image.id,
    instanceType: "t3.small",
    availabilityZone: "eu-west-1a",
    launchTemplate: undefined,
    tags: { "kiln:bake": "acme/web/98/1/0123456789ab" },
  });
  return () => ({
    lock: stage.git("for-each-ref", "refs/kiln/lock/release/qa"),
    image: ec2.images(HOME).find(({ id }) => id === image.id)?.state,
    instance: ec2.instances(HOME).find(({ id }) => id === instance)?.state === "terminated",
    qa: [status(stage, "web-qa"), stage.running("web-qa")],
  });
}

async function open({ rollout, prepare, refsOneByOne = false }: Case): Promise<Stage> {
  const stage = await Stage.open({
    ssh: false,
    speed: SPEED,
    updateRefs: refsOneByOne ? "heads-and-tags" : "any-ref",
  });
  if (rollout !== undefined) {
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Rollout", {
      ".github/kiln.yml": config.replace(/(branches: \[develop\]\n)/, `$1    rollout: ${rollout}\n`),
    });
  }
  await prepare?.(stage);
  await stage.seedImage();
  await stage.copy.push("develop");
  return stage;
}

describe("cancelled at any stage, nothing is left and the re-run releases", () => {
  const cases = CASES.filter(({ always }) => ALL || always === true);
  let passed = 0;

  afterAll(() => {
    process.stdout.write(
      `cancelled at ${cases.length} of ${CASES.length} stages, ${passed} as they must be\n`,
    );
  });

  test.each(cases.map((each) => [each.name, each] as const))("%s", { timeout: 240_000 }, async (_, each) => {
    await using stage = await open(each);
    const theirs = await others(stage);
    // Somebody else's refresh may have taken the only instance out just now.
    await until("an instance is in service", () => stage.running("web-dev").length > 0);
    const before = { running: stage.running("web-dev"), theirs: theirs() };
    const base = new Set(before.running);
    let log = "";
    const heard = Promise.withResolvers<void>();
    if (each.hold !== undefined) {
      const [action, answer, skip = 0] = each.hold;
      const effect: FaultEffect =
        answer === "held" ? { kind: "held", until: heard.promise } : { kind: "late", milliseconds: TOO_LATE };
      stage.sandbox.faults.inject({ action }, effect, { skip });
    }
    const mark = stage.sandbox.log.entries.length;
    let child: ChildProcess | undefined;
    const job: Partial<Job> = {
      runId: 7,
      ...(each.inputs === undefined ? {} : { inputs: each.inputs }),
      onOutput: (text) => {
        log += text;
        if (log.includes("Received SIG")) heard.resolve();
      },
      onStarted: (started) => (child = started),
      ...(each.postKilled === true ? { onPostStarted: (post) => killAtFirstRequest(stage, post) } : {}),
    };
    const running = stage.run(job);
    const hold = await standStill(stage, each.name, () =>
      each.reached(stage, stage.sandbox.log.since(mark), log),
    );
    if (each.goesOn === true) hold.release();
    const began = performance.now();
    if (child === undefined) throw new Error("it did not start");
    const ended = new Promise((resolve) => child?.once("exit", resolve)).then(
      () => performance.now() - began,
    );
    await (each.signals ?? (ALL || each.hangs === true ? asGitHub : patiently))(child);
    const took = await ended;
    hold.release();
    const result = await running;
    stage.sandbox.faults.clear();

    await until("AWS has ended what it does by itself", () =>
      stage.sandbox.autoScaling.refreshes("web-dev").every(({ endTime }) => endTime !== undefined),
    );
    for (const words of each.says) expect(result.log).toMatch(words);
    const isNew = each.ends === "new";
    const group = stage.running("web-dev");
    expect(
      {
        green: result.code === 0,
        endsBeforeSigterm: ALL ? took < 7500 : each.hangs !== true,
        processes: processesOf(stage.folder),
        locks: stage.locks(),
        others: theirs(),
        group: isNew ? "new" : [...new Set(group)],
      },
      result.log,
    ).toEqual({
      green: each.code === 0,
      endsBeforeSigterm: each.hangs !== true,
      processes: [],
      locks: [...(each.locked === true ? ["refs/kiln/lock/release/dev"] : []), "refs/kiln/lock/release/qa"],
      others: before.theirs,
      group: isNew ? "new" : [...base],
    });
    expect(group.every((id) => base.has(id))).toBe(!isNew);

    await each.before?.(stage);
    const again = await stage.run({ runId: 7, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
    expect(new Set(stage.running("web-dev")).size).toBe(1);
    expect(stage.running("web-dev")).not.toEqual(before.running);
    expect(stage.locks()).toEqual(["refs/kiln/lock/release/qa"]);
    expect(theirs()).toEqual(before.theirs);
    passed += 1;
  });
});
