import { describe, expect, test } from "vitest";
import { Query } from "../../sandbox/aws/query.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { ImageId } from "../../src/domain/image.ts";
import { World } from "./world.ts";

/**
 * What a rollback is told by a marker that an earlier one left, when it aborted a release and came to no record: anybody who
 * can push can write it, so it counts only as far as AWS shows the same.
 */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const REF = "refs/kiln/stopped/release/production";
const RUN = "https://github.com/acme/web/actions/runs/7";

interface Stage {
  readonly world: World;
  readonly c: ImageId;
  /** Does something to the group with the console. */
  readonly call: (action: string, parameters?: Readonly<Record<string, string>>) => void;
  /** The id of the refresh that was to bring c. */
  readonly refresh: () => string;
}

/** Production has released a and b, and a refresh to c was begun; it is rolled back if it is to be. */
async function begun({ isRolledBack = true, tagged = true } = {}): Promise<Stage> {
  const world = await World.open(1);
  const [a, b, c] = ["a", "b", "c"].map((content, index) => world.addImage(content, { days: 9 - index }));
  if (a === undefined || b === undefined || c === undefined) throw new Error("no images");
  world.addEnvironment("production", b);
  world.addRecord("production", 1, "a", a);
  world.addRecord("production", 2, "b", b);
  const template = world.aws.ec2.launchTemplates(HOME).find(({ name }) => name === "production");
  if (template === undefined) throw new Error("no template");
  const image = tagged ? c : world.aws.ec2.addImage(HOME, { name: "by-hand" }).id;
  world.aws.ec2.addLaunchTemplateVersion(template.id, { ImageId: image, InstanceType: "t3.small" });
  const call: Stage["call"] = (action, parameters = {}) =>
    world.aws.autoScaling.operations[action]?.({
      ...HOME,
      requestId: "console",
      query: new Query([["AutoScalingGroupName", "production"], ...Object.entries(parameters)]),
    });
  call("StartInstanceRefresh", {
    "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": template.id,
    "DesiredConfiguration.LaunchTemplate.Version": "2",
    "Preferences.MinHealthyPercentage": "100",
    "Preferences.MaxHealthyPercentage": "150",
  });
  if (isRolledBack) world.aws.clock.after(2 * MINUTE, () => call("RollbackInstanceRefresh"));
  return { world, c, call, refresh: () => world.aws.autoScaling.refreshes("production")[0]?.id ?? "" };
}

async function write(world: World, lines: readonly string[]): Promise<void> {
  const repository = world.repository();
  const message = `Aborted a release of production that is not recorded\n\n${lines.join("\n")}\n`;
  repository.refs.set(REF, await repository.createTag({ name: "x", message, commit: "c".repeat(40) }));
}

const rollBack = (world: World, after: number) =>
  world.play(world.begin({ command: "rollback", incident: true, after }));
const versions = (world: World) => world.records("production").map(({ version }) => version);

describe("a rollback after one that aborted a release and was not recorded", () => {
  test("records that, says first that it changes nothing, and so does its outcome", async () => {
    const { world, c, refresh } = await begun();
    const aborted = `Aborted: eu-west-1 production ${refresh()} ${c}`;
    await write(world, ["After: 2", `Run: ${RUN}`, aborted]);
    const run = await rollBack(world, HOUR);
    expect(run.error).toBeUndefined();
    expect(run.log[0]).toMatch(
      /warning: This rollback changes nothing: production runs web-b-\w+ of release\/production\/000002 already\. https:\/\/\S+\/7 aborted the release that came after it; this run only records that\./,
    );
    expect(run.environments.get("production")).toMatchObject({
      outcome: "unchanged",
      release: "release/production/000003",
    });
    expect(versions(world)).toEqual(["a", "b", "b"]);
    expect(world.repository().refs.has(REF)).toBe(false);
    expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
  });

  test.each<[what: string, lines: (stage: Stage) => string[], reason: RegExp, after?: number]>([
    ["names nothing but the newest release", () => ["After: 2"], /Roll production back to release/],
    [
      "names a refresh that there is none",
      ({ c }) => ["After: 2", `Run: ${RUN}`, `Aborted: eu-west-1 production 1234-5678 ${c}`],
      /AWS does not show the instance refresh 1234-5678/,
    ],
    [
      "names another image than the refresh was to bring",
      ({ refresh }) => [
        "After: 2",
        `Run: ${RUN}`,
        `Aborted: eu-west-1 production ${refresh()} ami-0aaaaaaaaaaaaaaaa`,
      ],
      /was to bring ami-\w+, not ami-0aaaaaaaaaaaaaaaa/,
    ],
    [
      "names another group",
      ({ refresh, c }) => ["After: 2", `Run: ${RUN}`, `Aborted: eu-west-1 other ${refresh()} ${c}`],
      /eu-west-1\/other is no target of production/,
    ],
    [
      "names another repository's run",
      ({ refresh, c }) => [
        "After: 2",
        "Run: https://github.com/acme/shop/actions/runs/7",
        `Aborted: eu-west-1 production ${refresh()} ${c}`,
      ],
      /acme\/shop\/actions\/runs\/7 is no run of this repository/,
    ],
    [
      "is more than a day old",
      ({ refresh, c }) => ["After: 2", `Run: ${RUN}`, `Aborted: eu-west-1 production ${refresh()} ${c}`],
      /ended long ago/,
      26 * HOUR,
    ],
  ])("goes back from the recorded release where the marker %s", async (_, lines, reason, after = HOUR) => {
    const stage = await begun();
    const { world } = stage;
    await write(world, lines(stage));
    const run = await rollBack(world, after);
    expect(run.error).toBeUndefined();
    expect(run.log.join("\n")).toMatch(reason);
    expect(run.log.join("\n")).not.toContain("changes nothing");
    expect(run.environments.get("production")).toMatchObject({ outcome: "succeeded" });
    expect(versions(world)).toEqual(["a", "b", "a"]);
    expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
  });

  test("leaves another application's marker alone", async () => {
    const { world, c, refresh } = await begun();
    await write(world, ["After: 2", `Run: ${RUN}`, `Aborted: eu-west-1 production ${refresh()} ${c}`]);
    const { refs } = world.repository();
    refs.set("refs/kiln/stopped/other/production", refs.get(REF) ?? "");
    refs.delete(REF);
    await rollBack(world, HOUR);
    expect(versions(world)).toEqual(["a", "b", "a"]);
    expect(refs.has("refs/kiln/stopped/other/production")).toBe(true);
  });
});

test("a rollback to what runs already says so first, and changes nothing", async () => {
  const { world } = await begun();
  const run = await world.play(world.begin({ command: "rollback", to: "2", after: HOUR }));
  expect(run.log[0]).toContain("warning: This rollback changes nothing: production runs web-b-");
  expect(run.environments.get("production")).toMatchObject({ outcome: "unchanged" });
  expect(versions(world)).toEqual(["a", "b"]);
});

test("a rollback does not stop what somebody else does with an image of theirs: it waits for that", async () => {
  const { world } = await begun({ isRolledBack: false, tagged: false });
  const run = await rollBack(world, MINUTE);
  expect(run.error).toBeUndefined();
  expect(run.log.join("\n")).toContain("waiting for another instance refresh to end");
  const [first] = world.aws.autoScaling.refreshes("production");
  expect(first?.status).toBe("Successful");
  expect(world.played(world.runsRecord("production"), []).wrong).toEqual([]);
});
