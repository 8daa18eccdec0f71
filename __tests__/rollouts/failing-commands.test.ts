import { describe, expect, test } from "vitest";
import type { ImageId } from "../../src/domain/image.ts";
import { Query } from "../../sandbox/aws/query.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { failEach, printed, type Story } from "./failures.ts";
import { ReleaseStage } from "./release-stage.ts";

/** As failing-requests.test.ts, for the commands that do not deploy. */

const ALL = process.env["KILN_CHAOS"] === "all";
const ROLLING = { strategy: "rolling" } as const;
const HERE = { region: HOME.region, autoScalingGroup: "web" };
const DAY = 24 * 3_600_000;

async function withGroup(): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  return stage;
}

const released = (stage: ReleaseStage) => ({
  records: stage.records(),
  images: stage.records().map((tag) => /^Image: .*$/m.exec(stage.message(tag))?.[0]),
  locks: stage.locks(),
  running: stage.running("web"),
  versions: stage.versions("web").map(({ data }) => data["ImageId"]),
  refreshes: stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status),
});

const PROMOTION: Story = {
  name: "a promotion",
  groups: ["web"],
  open: async () => {
    const stage = await withGroup();
    await stage.record("qa", 1, stage.newImage);
    return stage;
  },
  run: (stage) => stage.promote([HERE], ROLLING),
  end: released,
};

/** Release 2 runs; release 1 was another image. */
async function withTwoReleases(): Promise<ReleaseStage> {
  const stage = await withGroup();
  await stage.record("production", 1, stage.newImage);
  await stage.record("production", 2, stage.oldImage as ImageId);
  return stage;
}

const ROLLBACK: Story = {
  name: "a rollback",
  groups: ["web"],
  open: withTwoReleases,
  run: (stage) => stage.rollBack([HERE], ROLLING),
  end: released,
};

const STOP: Story = {
  name: "a rollback of a running deploy",
  groups: ["web"],
  open: async () => {
    const stage = await withGroup();
    // There is somewhere to go for a run that goes back one release too far.
    await stage.record("production", 1, stage.addImage(HOME, "older"));
    await stage.record("production", 2, stage.oldImage as ImageId);
    const template = stage.template("web");
    const ask = new Query([
      ["LaunchTemplateId", template],
      ["SourceVersion", "1"],
      ["LaunchTemplateData.ImageId", stage.newImage],
    ]);
    const { operations } = stage.sandbox.ec2;
    operations["CreateLaunchTemplateVersion"]?.({ ...HOME, requestId: "deploy", query: ask });
    stage.call("StartInstanceRefresh", "web", {
      "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": template,
      "DesiredConfiguration.LaunchTemplate.Version": "2",
      "Preferences.MinHealthyPercentage": "100",
      "Preferences.MaxHealthyPercentage": "150",
    });
    stage.sandbox.clock.advance(60_000);
    return stage;
  },
  run: (stage) => stage.rollBack([HERE], ROLLING),
  end: released,
};

const STATUS: Story = {
  name: "status",
  groups: ["web"],
  open: withTwoReleases,
  run: (stage) => stage.status([HERE]),
  end: released,
};

/** One image to be deprecated, one to be deregistered; two that records name, one of them running. */
const PRUNE: Story = {
  name: "prune",
  groups: ["web"],
  open: async () => {
    const stage = await withTwoReleases();
    for (const [name, deprecated] of [
      ["idle", undefined],
      ["gone", stage.sandbox.clock.now() - 30 * DAY],
    ] as const) {
      const tags = { "kiln:repository": "acme/web" };
      const id = stage.addImage(HOME, name, tags);
      const image = stage.sandbox.ec2.images(HOME).find((each) => each.id === id);
      Object.assign(image ?? {}, {
        createdAt: stage.sandbox.clock.now() - 100 * DAY,
        deprecatedAt: deprecated,
      });
    }
    return stage;
  },
  run: (stage) => stage.prune([HERE]),
  end: (stage) => ({
    ...released(stage),
    there: stage.sandbox.ec2
      .images(HOME)
      .map(({ name, deprecatedAt, deregisteredAt }) => [
        name,
        deprecatedAt !== undefined,
        deregisteredAt !== undefined,
      ]),
  }),
};

describe("each request failed in turn", () => {
  test.each([
    { story: PROMOTION, every: 61 },
    { story: ROLLBACK, every: 61 },
    { story: STOP, every: 61 },
    { story: STATUS, every: 23 },
    { story: PRUNE, every: 29 },
  ])("$story.name", { timeout: 7_200_000 }, async ({ story, every }) => {
    const tallies = await failEach(story, Number(process.env["KILN_EVERY"] ?? (ALL ? 1 : every)));
    process.stdout.write(printed(story, tallies, ALL));
    expect(tallies.flatMap(({ wrong }) => wrong)).toEqual([]);
  });
});

test("an image whose deregistration was not answered is gone, not failed", async () => {
  await using stage = await PRUNE.open();
  stage.sandbox.faults.inject({ action: "DeregisterImage" }, { kind: "drop-after" });
  const { error } = await PRUNE.run(stage);
  expect(error).toBeUndefined();
  const gone = stage.sandbox.ec2.images(HOME).filter(({ deregisteredAt }) => deregisteredAt !== undefined);
  expect(gone.map(({ name }) => name)).toEqual(["gone"]);
});

test("what fails twice at the same time fails the run, not the process", async () => {
  await using stage = await STATUS.open();
  const no = { kind: "reply", status: 403, code: "AccessDenied", message: "no" } as const;
  stage.sandbox.faults.inject({ action: /^(?:GetCallerIdentity|DescribeImages)$/ }, no, { times: 9 });
  const { error } = await STATUS.run(stage);
  expect(String(error)).toContain("The role may not do");
});

test("a rollback that is run again while its refresh goes on takes it up, and does not stop it", async () => {
  await using stage = await ROLLBACK.open();
  const no = { kind: "reply", status: 403, code: "AccessDenied", message: "no" } as const;
  const watching = { action: "DescribeInstanceRefreshes", after: "StartInstanceRefresh" };
  stage.sandbox.faults.inject(watching, no, { times: 2 });
  const first = await ROLLBACK.run(stage);
  expect(String(first.error)).toContain("Stopped watching the instance refresh");
  stage.sandbox.faults.clear();
  await stage.finishRun();
  const { error } = await ROLLBACK.run(stage);
  expect(error).toBeUndefined();
  expect(stage.sandbox.autoScaling.refreshes("web").map(({ status }) => status)).toEqual(["Successful"]);
  expect(stage.running("web")).toEqual([stage.newImage, stage.newImage]);
});
