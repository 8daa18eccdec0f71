import type { ChildProcess } from "node:child_process";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { processesOf } from "./machine.ts";
import { goOnAfter, isTakenDown, standStill } from "./moments.ts";
import { Stage } from "./stage.ts";
import { until } from "./until.ts";

/**
 * A bake that is cancelled or killed at any stage leaves nothing but images that are complete: real Packer, signals as GitHub
 * sends them. Where the machine dies there is no post step, and the next attempt sweeps up. One stage of each in every test
 * run, all by `npm run chaos`.
 */

const ALL = process.env["KILN_CHAOS"] === "all";

const build = (stage: Stage) =>
  stage.sandbox.ec2.instances(HOME).find(({ keyName }) => keyName?.startsWith("packer_") === true);

const images = (stage: Stage) =>
  stage.sandbox.ec2.images(HOME).filter(({ ownerId }) => ownerId === HOME.accountId);

const isPending = (stage: Stage): boolean => images(stage).some(({ state }) => state === "pending");

/** Packer makes an image, copies it, and removes the one that is not encrypted. */
async function encrypted(stage: Stage): Promise<void> {
  const template = await stage.copy.read("packer/web.pkr.hcl");
  await stage.commit("Encrypt", {
    "packer/web.pkr.hcl": template.replace("  ami_name ", "  encrypt_boot = true\n  ami_name "),
  });
}

interface Moment {
  readonly name: string;
  readonly reached: (stage: Stage) => boolean;
  readonly prepare?: (stage: Stage) => Promise<void>;
}

const STAGES: readonly Moment[] = [
  { name: "the key pair is made", reached: (stage) => stage.sandbox.ec2.keyPairs(HOME).length > 0 },
  { name: "the instance is launched", reached: (stage) => build(stage) !== undefined },
  { name: "the instance runs", reached: (stage) => build(stage)?.state === "running" },
  { name: "the instance is stopped", reached: (stage) => build(stage)?.state === "stopped" },
  { name: "the image is pending", reached: isPending },
  {
    name: "the image is available, and Packer has not ended",
    reached: (stage) => images(stage).some(({ state }) => state === "available"),
  },
  { name: "the image that is to be encrypted is pending", reached: isPending, prepare: encrypted },
  {
    name: "the encrypted copy is pending",
    reached: (stage) =>
      images(stage).some((image) => image.state === "pending" && image.sourceInstanceId === undefined),
    prepare: encrypted,
  },
];

/** Nothing of the bake is there but an image that is marked complete. */
function expectNothingLeft(stage: Stage, log: string): void {
  expect(stage.leftovers(), log).toEqual([]);
  expect(
    images(stage).filter(({ state, tags }) => state !== "deregistered" && tags["kiln:digest"] === undefined),
    log,
  ).toEqual([]);
  expect(stage.locks(), log).toEqual([]);
}

/** Whether the bake's lock names all that Packer has made so far: it does a moment after that was made. */
function isNoted(stage: Stage): boolean {
  const { ec2 } = stage.sandbox;
  const lock = stage.git("for-each-ref", "--format=%(contents)", "refs/kiln/bake/**");
  const groups = ec2.securityGroups(HOME).filter(({ name }) => name !== "default");
  const made = [...ec2.keyPairs(HOME), ...groups].map(({ name }) => name);
  return [...made, build(stage)?.id ?? ""].every((name) => lock.includes(name));
}

/** What every test run has of each. */
const SHORT = {
  dies: "the key pair is made",
  SIGINT: "the image is pending",
  SIGKILL: "the instance runs",
} as const;

describe.each(STAGES)("when $name", ({ name, reached, prepare }) => {
  const signals = (["SIGINT", "SIGKILL"] as const).filter((signal) => ALL || SHORT[signal] === name);

  test.skipIf(!ALL && SHORT.dies !== name)(
    "the machine dies: the re-run sweeps up, and releases",
    async () => {
      await using stage = await Stage.open();
      await prepare?.(stage);
      const job = stage.push("develop", { post: false });
      const hold = await standStill(stage, name, () => reached(stage));
      await until("what Packer made is noted", () => {
        if (!isNoted(stage)) return false;
        for (const pid of processesOf(stage.folder)) process.kill(pid, "SIGKILL");
        return true;
      });
      expect((await job).code).not.toBe(0);
      hold.release();
      expect(stage.leftovers()).not.toEqual([]);
      const again = await stage.run({ runId: 1, attempt: 2 });
      expect(again.code, again.log).toBe(0);
      expect(again.log).toContain("Looking for what the bake of web-");
      expect(stage.records()).toEqual(["release/dev/000001"]);
      expect(stage.images()).toHaveLength(1);
      expectNothingLeft(stage, again.log);
    },
  );

  test.each(signals)("%s: post sweeps up, and the re-run releases", async (signal) => {
    await using stage = await Stage.open();
    await prepare?.(stage);
    let child: ChildProcess | undefined;
    const job = stage.push("develop", { onStarted: (started) => (child = started) });
    const hold = await standStill(stage, name, () => reached(stage));
    child?.kill(signal);
    await goOnAfter(hold, child, () => isTakenDown(stage));
    const result = await job;
    expect(result.code).not.toBe(0);
    expectNothingLeft(stage, result.log);
    const again = await stage.run({ runId: 1, attempt: 2 });
    expect(again.code, again.log).toBe(0);
    expect(stage.records()).toEqual(["release/dev/000001"]);
    expect(stage.images()).toHaveLength(1);
    expectNothingLeft(stage, again.log);
    // Of an encrypted image too: what it was copied from is no base image. Of one that is taken up it is not known.
    const base = stage.sandbox.ec2
      .images()
      .find(({ name: of, region }) => of.startsWith("ubuntu/") && region === HOME.region);
    const said = /^Base-Image: .*$/m.exec(stage.git("cat-file", "tag", "release/dev/000001"))?.[0];
    expect([`Base-Image: eu-west-1 ${base?.id ?? "?"}`, undefined]).toContain(said);
  });
});

test.each([
  ["as Kiln names it", "ami_name"],
  ["as its template names it", 'ami_name = "golden-${var.image_version}" # ami_name'],
])("a rollout that is cancelled after its bake leaves the image, %s: the re-run takes it", async (_, key) => {
  await using stage = await Stage.open();
  const template = await stage.copy.read("packer/web.pkr.hcl");
  await stage.commit("Name it", { "packer/web.pkr.hcl": template.replace("ami_name", key) });
  let child: ChildProcess | undefined;
  const job = stage.push("develop", { onStarted: (started) => (child = started) });
  const status = () => stage.sandbox.autoScaling.refreshes("web-dev").at(-1)?.status;
  const hold = await standStill(stage, "the refresh is in progress", () => status() === "InProgress");
  child?.kill("SIGINT");
  await goOnAfter(hold, child, () => status() === "RollbackInProgress");
  const result = await job;
  expect(result.code, result.log).toBe(1);
  expect(stage.leftovers(), result.log).toEqual([]);
  expect(stage.images(), result.log).toHaveLength(1);
  const again = await stage.run({ runId: 1, attempt: 2 });
  expect(again.code, again.log).toBe(0);
  expect(again.outputs, again.log).toMatchObject({ baked: "false", "image-id": stage.images()[0] });
});
