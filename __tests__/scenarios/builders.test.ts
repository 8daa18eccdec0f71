import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { processesOf } from "./machine.ts";
import { goOnAfter, isTakenDown, standStill } from "./moments.ts";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/** Real Packer's other builders, as the built action runs them: Spot Instances and surrogate volumes. */

const TEMPLATES = join(import.meta.dirname, "../fixtures/templates");
const ALL = process.env["KILN_CHAOS"] === "all";

async function open(template: string): Promise<Stage> {
  const stage = await Stage.open();
  const config = await stage.copy.read(".github/kiln.yml");
  await stage.commit(`Use ${template}`, {
    "packer/web.pkr.hcl": readFileSync(join(TEMPLATES, template, `${template}.pkr.hcl`), "utf8"),
    ".github/kiln.yml": config.replace(/ {2}vars:.*\n/, ""),
  });
  return stage;
}

/** Everything that a build makes for its time, in which state ever, and images that will not be used. */
function leftovers(stage: Stage): string[] {
  const { ec2 } = stage.sandbox;
  const used = new Set(
    ec2
      .images(HOME)
      .flatMap(({ state, blockDevices }) =>
        state === "available" ? blockDevices.map(({ snapshotId }) => snapshotId) : [],
      ),
  );
  return [
    ...stage.leftovers(),
    ...ec2.launchTemplates(HOME).flatMap(({ id, name }) => (name.startsWith("packer") ? [id] : [])),
    ...ec2.snapshots(HOME).flatMap(({ id }) => (used.has(id) ? [] : [id])),
    ...ec2
      .images(HOME)
      .flatMap(({ id, name, state }) => (state === "available" && !/^(?:web|ubuntu)/.test(name) ? [id] : [])),
  ];
}

describe.each(["spot", "surrogate"])("the %s build", (template) => {
  test("is baked, released and used again", async () => {
    await using stage = await open(template);
    const first = await stage.push("develop");
    expect(first.code, first.log).toBe(0);
    const [image] = stage.images();
    expect(first.outputs).toMatchObject({ baked: "true", "image-id": image });
    expect(stage.running("web-dev")).toEqual([image]);
    expect(stage.git("cat-file", "tag", "release/dev/000001")).toMatch(/^Base-Image: eu-west-1 ami-/m);
    const tags = stage.sandbox.ec2.images(HOME).find(({ id }) => id === image)?.tags;
    expect(tags).toMatchObject({ "kiln:application": "web", "kiln:repository": "acme/web" });
    expect(first.log).toContain("── launch (after");
    expect(first.log).toContain("── image (after");
    expect(leftovers(stage), first.log).toEqual([]);
    const second = await stage.push("stage");
    expect(second.code, second.log).toBe(0);
    expect(second.outputs).toMatchObject({ baked: "false", "image-id": image });
    expect(stage.records()).toEqual(["release/dev/000001", "release/qa/000001"]);
  });
});

const build = (stage: Stage) =>
  stage.sandbox.ec2.instances(HOME).find(({ keyName }) => keyName?.startsWith("packer_") === true);

const own = (stage: Stage) =>
  stage.sandbox.ec2.images(HOME).filter(({ ownerId }) => ownerId === HOME.accountId);

interface Moment {
  readonly name: string;
  readonly template: string;
  readonly reached: (stage: Stage) => boolean;
  /** What Packer says then must have been noted. */
  readonly noted: RegExp;
}

const MOMENTS: readonly Moment[] = [
  {
    name: "the launch template of a Spot build is made",
    template: "spot",
    reached: ({ sandbox: { ec2 } }) =>
      ec2.launchTemplates(HOME).some(({ name }) => name.startsWith("packer")),
    noted: /"spot":true/,
  },
  {
    name: "the Spot Instance runs",
    template: "spot",
    reached: (stage) => build(stage)?.state === "running",
    noted: /"instances":\["i-/,
  },
  {
    name: "the surrogate's snapshot is pending",
    template: "surrogate",
    reached: ({ sandbox: { ec2 } }) => ec2.snapshots(HOME).some(({ state }) => state === "pending"),
    noted: /"surrogate":true/,
  },
  {
    name: "the surrogate's image is pending",
    template: "surrogate",
    reached: (stage) => own(stage).some(({ state }) => state === "pending"),
    noted: /"surrogate":true/,
  },
];

/** What every test run has of each. */
const SHORT = {
  dies: ["the Spot Instance runs", "the surrogate's image is pending"],
  SIGINT: ["the surrogate's image is pending"],
  SIGKILL: ["the launch template of a Spot build is made"],
} as const;
const isShort = (names: readonly string[], name: string): boolean => names.includes(name);

describe.each(MOMENTS)("when $name", ({ name, template, reached, noted }) => {
  const signals = (["SIGINT", "SIGKILL"] as const).filter((signal) => ALL || isShort(SHORT[signal], name));

  test.skipIf(!ALL && !isShort(SHORT.dies, name))(
    "the machine dies: the re-run sweeps up, and releases",
    async () => {
      await using stage = await open(template);
      const job = stage.push("develop", { post: false });
      const hold = await standStill(stage, name, () => reached(stage));
      await until("what Packer made is noted", () => {
        if (!noted.test(stage.git("for-each-ref", "--format=%(contents)", "refs/kiln/bake/**"))) return false;
        for (const pid of processesOf(stage.folder)) process.kill(pid, "SIGKILL");
        return true;
      });
      expect((await job).code).not.toBe(0);
      hold.release();
      expect(leftovers(stage)).not.toEqual([]);
      const again = await stage.run({ runId: 1, attempt: 2 });
      expect(again.code, again.log).toBe(0);
      expect(stage.records()).toEqual(["release/dev/000001"]);
      expect(stage.images(), again.log).toHaveLength(1);
      expect(leftovers(stage), again.log).toEqual([]);
    },
  );

  test.each(signals)("%s: post sweeps up, and the re-run releases", async (signal) => {
    await using stage = await open(template);
    let child: ChildProcess | undefined;
    const job = stage.push("develop", { onStarted: (started) => (child = started) });
    const hold = await standStill(stage, name, () => reached(stage));
    child?.kill(signal);
    await goOnAfter(hold, child, () => isTakenDown(stage));
    const result = await job;
    expect(result.code).not.toBe(0);
    expect(leftovers(stage), result.log).toEqual([]);
    expect(stage.locks(), result.log).toEqual([]);
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(stage.images()).toHaveLength(1);
    expect(leftovers(stage), again.log).toEqual([]);
  });
});
