import { describe, expect, test } from "vitest";
import type { FaultEffect } from "../../sandbox/faults.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { AWAY, failEach, printed, type Story } from "./failures.ts";
import { ReleaseStage } from "./release-stage.ts";

/**
 * Each request of a deploy failed in turn, in each way that AWS and GitHub fail: the release still succeeds, or ends with an
 * error that says the truth and is finished by the next run, which doubles nothing. The other commands are in
 * failing-commands.test.ts. Some of the pairs in every test run; all by `npm run chaos`; KILN_EVERY=7 each seventh,
 * KILN_WAY="done late" one way alone.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
const ROLLING = { strategy: "rolling" } as const;
const HERE = { region: HOME.region, autoScalingGroup: "web" };
const THERE = { region: AWAY.region, autoScalingGroup: "web-away" };

/** What every release must come to. */
const end = (stage: ReleaseStage, groups: Story["groups"]) => ({
  records: stage.records(),
  locks: stage.locks(),
  groups: groups.map((group) => ({
    running: stage.sandbox.autoScaling.group(group).members.map((member) => member.lifecycleState),
    images: new Set(stage.sandbox.autoScaling.group(group).members.map((member) => member.imageId)).size,
    refreshes: stage.sandbox.autoScaling.refreshes(group).map(({ status }) => status),
  })),
  versions: [HOME, AWAY].flatMap((place) =>
    stage.sandbox.ec2
      .launchTemplates(place)
      .map(({ id }) =>
        stage.sandbox.ec2
          .launchTemplateVersions(id)
          .map(({ data }) => (data["ImageId"] === stage.oldImage ? "old" : "another")),
      ),
  ),
  copies: stage.sandbox.ec2.images(AWAY).filter(({ state }) => state === "available").length,
});

const DEPLOY: Story = {
  name: "a deploy",
  groups: ["web"],
  open: async () => {
    const stage = await ReleaseStage.open();
    stage.addGroup("web", 2);
    return stage;
  },
  run: (stage) => stage.release([HERE], ROLLING),
  end: (stage) => ({ ...end(stage, DEPLOY.groups), running: stage.running("web"), image: stage.newImage }),
};

/** Packer is played: its own requests are its own affair. */
const BAKE: Story = {
  name: "a deploy with a bake",
  groups: ["web"],
  open: DEPLOY.open,
  run: (stage) => stage.deploy([HERE], ROLLING),
  end: (stage) => ({
    ...end(stage, BAKE.groups),
    builds: stage.builds,
    baked: stage.sandbox.ec2
      .images(HOME)
      .filter(({ sourceInstanceId }) => sourceInstanceId !== undefined)
      .map(({ name, tags }) => [name, Object.keys(tags).toSorted()]),
    bakeLocks: stage.bakeLocks(),
  }),
};

const TWO_TARGETS: Story = {
  name: "a deploy to two regions",
  groups: ["web", { ...AWAY, name: "web-away" }],
  open: async () => {
    const stage = await ReleaseStage.open();
    stage.addGroup("web", 2);
    stage.addGroup("web-away", 2, {}, AWAY);
    return stage;
  },
  run: (stage) => stage.release([HERE, THERE], ROLLING),
  end: (stage) => end(stage, TWO_TARGETS.groups),
};

describe("each request failed in turn", () => {
  test.each([
    { story: DEPLOY, every: 29 },
    { story: BAKE, every: 61 },
    { story: TWO_TARGETS, every: 47 },
  ])("$story.name", { timeout: 7_200_000 }, async ({ story, every }) => {
    const tallies = await failEach(story, Number(process.env["KILN_EVERY"] ?? (ALL ? 1 : every)));
    process.stdout.write(printed(story, tallies, ALL));
    expect(tallies.flatMap(({ wrong }) => wrong)).toEqual([]);
  });
});

test("a rollback whose answer was lost goes on, and is not cancelled", async () => {
  await using stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  stage.sandbox.faults.inject({ action: "RollbackInstanceRefresh" }, { kind: "drop-after" });
  const { error } = await stage.release(
    [HERE],
    { strategy: "canary", smokeTest: { command: ["curl"], timeout: 60 } },
    { test: { code: 1 } },
  );
  expect(String(error)).toContain("smoke test");
  const refreshes = stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status);
  expect(refreshes).toEqual(["RollbackSuccessful"]);
  expect(stage.running("web")).toEqual([stage.oldImage, stage.oldImage]);
});

test("a version that Auto Scaling does not see yet is no failed release", async () => {
  await using stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  stage.sandbox.faults.inject(
    { action: "StartInstanceRefresh" },
    {
      kind: "reply",
      status: 400,
      code: "ValidationError",
      message:
        "You must use a valid fully-formed launch template. The specified launch template, with template ID lt-1, version 2, does not exist.",
    },
    // Two minutes, as it goes on asking less and less often.
    { times: 12 },
  );
  const { error } = await stage.release([HERE], ROLLING);
  expect(error).toBeUndefined();
  expect(stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status)).toEqual(["Successful"]);
});

test("a refresh that AWS refuses to start says what state things are in, and what to do", async () => {
  await using stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  const message = "The AutoScaling group may not be modified while it is pending delete";
  stage.sandbox.faults.inject(
    { action: "StartInstanceRefresh" },
    { kind: "reply", status: 400, code: "ValidationError", message },
  );
  const { error } = await stage.release([HERE], ROLLING);
  const { message: what, state = "", next = "" } = error as Error & { state?: string; next?: string };
  expect(`${what}\n${state}`).toContain(
    `AWS refused to start the instance refresh: ValidationError: ${message}`,
  );
  expect(`${state}\n${next}`).toContain("the group runs what it ran before");
  expect(`${state}\n${next}`).toContain("Take the target out of the config file");
  expect(stage.running("web")).toEqual([stage.oldImage, stage.oldImage]);
});

test.each<FaultEffect>([
  { kind: "drop-after" },
  { kind: "cut" },
  { kind: "silence-after" },
  { kind: "reply-after-effect", status: 400, code: "Throttling", message: "Rate exceeded" },
])("a refresh that was started is taken up where the answer was lost: $kind", async (effect) => {
  await using stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  stage.answerWithin = 1000;
  stage.sandbox.faults.inject({ action: "StartInstanceRefresh" }, effect);
  const { error } = await stage.release([HERE], ROLLING);
  expect(error).toBeUndefined();
  expect(stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status)).toEqual(["Successful"]);
});
