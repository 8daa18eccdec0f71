import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { KilnError } from "../../src/domain/errors.ts";
import type { ImageId } from "../../src/domain/image.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { type Released, ReleaseStage } from "./release-stage.ts";

/** A release that could never be recorded changes nothing; tags that are no records of this application change nothing. */

const TARGET = { region: HOME.region, autoScalingGroup: "web" };
const ROLLING = { strategy: "all-at-once" } as const;

async function open(): Promise<ReleaseStage> {
  const stage = await ReleaseStage.open();
  stage.addGroup("web", 2);
  return stage;
}

/** Creates a lightweight tag, as anybody can who can push. */
const push = (stage: ReleaseStage, name: string): void => {
  execFileSync("git", ["update-ref", `refs/tags/${name}`, "refs/heads/main"], {
    cwd: stage.sandbox.repository.path,
  });
};

/** What a run wrote, without what was there before it. */
async function writesOf(stage: ReleaseStage, run: () => Promise<Released>): Promise<[Released, string[]]> {
  const before = stage.sandbox.log.entries.length;
  const released = await run();
  const entries = stage.sandbox.log.entries.slice(before);
  return [released, entries.flatMap((entry) => (entry.writes ? [entry.action] : []))];
}

const textOf = ({ error, log }: Released): string => {
  const { message = "", state = "", next = "" } = (error ?? {}) as Partial<KilnError>;
  return [message, state, next, ...log].join("\n");
};

describe("a tag where the next record would be", () => {
  test.each(["release", "release/production"])(
    "%s stops the first release before anything changes",
    async (name) => {
      await using stage = await open();
      push(stage, name);
      const [released, writes] = await writesOf(stage, () => stage.release([TARGET], ROLLING));
      expect(textOf(released)).toContain(
        `The tag ${name} keeps git from creating records below release/production/`,
      );
      expect(textOf(released)).toContain("Nothing was changed.");
      expect(writes).toEqual([]);
    },
  );

  test.each([
    ["release/production/000002/x", "release/production/000003"],
    ["release/production/000002", "release/production/000003"],
    ["release/production/999999999999999", "release/production/000002"],
    ["release/production/9999999", "release/production/000002"],
    ["release/production/999999", "release/production/000002"],
  ])("%s does not keep a release from being recorded as %s", async (name, recorded) => {
    await using stage = await open();
    await stage.record("production", 1, stage.oldImage as ImageId);
    push(stage, name);
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, textOf(released)).toBeUndefined();
    expect(released.facts.release).toBe(recorded);
    const next = await stage.release([TARGET], ROLLING);
    expect(next.facts, textOf(next)).toMatchObject({ outcome: "unchanged", release: recorded });
  });

  test("a record with the last number stops a deploy, and not a rollback", async () => {
    await using stage = await open();
    await stage.record("production", 999_998, stage.newImage);
    await stage.record("production", 999_999, stage.oldImage as ImageId);
    const [released, writes] = await writesOf(stage, () => stage.release([TARGET], ROLLING));
    expect(textOf(released)).toContain("No release number of production is left");
    expect(writes).toEqual([]);
    const back = await stage.rollBack([TARGET], ROLLING);
    expect(textOf(back)).toContain(
      "production was rolled out, not recorded: No release number of production",
    );
    expect(new Set(stage.running("web"))).toEqual(new Set([stage.newImage]));
  });
});

describe("a ruleset that restricts the creation of tags", () => {
  const ruleset = {
    id: 7,
    name: "Only the release bot",
    target: "tag",
    enforcement: "active",
    include: ["refs/tags/release/**/*"],
    exclude: [],
    rules: [{ type: "creation" }],
    bypass: [],
  } as const;

  test("is warned of before the rollout, and its refusal is told in GitHub's words", async () => {
    await using stage = await open();
    stage.sandbox.repository.rulesets.push(ruleset);
    const released = await stage.release([TARGET], ROLLING);
    const text = textOf(released);
    expect(text).toContain(
      'The ruleset "Only the release bot" has the rule creation for release/production/000001',
    );
    expect(text).toContain(
      "production was rolled out, not recorded: A ruleset of acme/web forbids to create refs/tags/release/production/000001: Cannot create ref due to creations being restricted.",
    );
    expect(text).toContain("bypass list");
    expect(released.facts.unrecorded).toContain("Kiln-Record: 1");
    stage.sandbox.repository.rulesets.pop();
    const again = await stage.release([TARGET], ROLLING);
    expect(again.facts.release, textOf(again)).toBe("release/production/000001");
  });

  test.each([
    ["is for branches", { target: "branch" }],
    ["is only evaluated", { enforcement: "evaluate" }],
    ["excludes the records", { exclude: ["refs/tags/release/**/*"] }],
    ["is for other tags", { include: ["refs/tags/v*", "refs/tags/*"] }],
    ["may be bypassed", { bypass: ["octocat"] }],
    ["only keeps tags from being deleted", { rules: [{ type: "deletion" }] }],
  ] as const)("that %s is no reason for a warning", async (_, changes) => {
    await using stage = await open();
    stage.sandbox.repository.rulesets.push({ ...ruleset, ...changes });
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, textOf(released)).toBeUndefined();
    expect(textOf(released)).not.toContain("The ruleset");
  });

  test("that the token may not read is no reason to stop", async () => {
    await using stage = await open();
    stage.sandbox.faults.inject(
      { action: "GET /repos/acme/web/rulesets" },
      { kind: "reply", status: 403, code: "", message: "Resource not accessible by integration" },
    );
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, textOf(released)).toBeUndefined();
  });
});

describe("a record that is not this application's", () => {
  test("is a notice: a deploy and a rollback go by the ones that are", async () => {
    await using stage = await open();
    await stage.record("production", 1, stage.newImage);
    await stage.record("production", 2, stage.oldImage as ImageId);
    await stage.record("production", 3, stage.newImage, "web", { application: "shop" });
    const back = await stage.rollBack([TARGET], ROLLING);
    expect(back.error, textOf(back)).toBeUndefined();
    expect(textOf(back)).toContain("is of another application, shop, not of web. It is ignored.");
    expect(back.facts.release).toBe("release/production/000004");
    expect(stage.message("release/production/000004")).toContain("Restores: release/production/000001\n");
    expect(stage.message("release/production/000004")).toContain("Previous: release/production/000002\n");
  });

  test("stops the run where its groups are others that exist: two config files share one ledger", async () => {
    await using stage = await open();
    stage.addGroup("web-blue", 1);
    await stage.record("production", 1, stage.oldImage as ImageId, "web-blue");
    const [released, writes] = await writesOf(stage, () => stage.release([TARGET], ROLLING));
    expect(textOf(released)).toContain(
      "The newest release of production, release/production/000001, is on eu-west-1/web-blue, not on the configured targets: eu-west-1/web",
    );
    expect(textOf(released)).toContain("`record-prefix`");
    expect(writes).toEqual([]);
  });

  test("is a warning where its groups are gone: they were renamed or replaced", async () => {
    await using stage = await open();
    await stage.record("production", 1, stage.oldImage as ImageId, "web-before");
    const released = await stage.release([TARGET], ROLLING);
    expect(released.error, textOf(released)).toBeUndefined();
    expect(textOf(released)).toContain("is on groups that do not exist any more: eu-west-1/web-before");
    expect(released.facts.release).toBe("release/production/000002");
  });
});
