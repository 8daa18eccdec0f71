import { describe, expect, test } from "vitest";
import { planRelease, type Situation, type Wish } from "../../src/commands/plan.ts";
import type { Environment } from "../../src/domain/application.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import type { ImageChoice } from "../../src/image/choice.ts";
import type { LedgerPage } from "../../src/release/ledger.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import { COMMIT, RECORD } from "../release/records.ts";
import { IMAGE, instance, targetState } from "../rollout/states.ts";

const ENVIRONMENT: Environment = {
  name: "dev",
  branches: ["develop"],
  instanceType: undefined,
  requires: undefined,
  targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev" }],
  rollout: { strategy: "rolling" },
};
const WISH: Wish = {
  environment: ENVIRONMENT,
  digest: RECORD.imageDigest,
  commit: COMMIT,
  recordPrefix: "release",
};

const FOUND: CatalogueImage = {
  id: IMAGE,
  name: "web-v1-0123456789ab",
  region: "eu-west-1",
  state: "available",
  stateReason: undefined,
  owner: "111111111111",
  architecture: "x86_64",
  created: new Date("2026-11-08T10:00:00Z"),
  baseImage: undefined,
  fromInstance: true,
  snapshots: [],
  tags: {},
};
const REUSE: ImageChoice = { kind: "reuse", image: FOUND, why: "has this content, baked 10 days ago" };
const OLD = "ami-0bbbbbbbbbbbbbbbb";
const NEWEST = { ...RECORD, tag: { prefix: "release", environment: "dev", number: 6 } };
/** A ledger with this newest record. */
const ledger = (newest: ReleaseRecord | undefined, highestNumber: number): LedgerPage => ({
  newest,
  records: newest === undefined ? [] : [newest],
  highestNumber,
});
const RECORDED = ledger({ ...NEWEST, images: { "eu-west-1": IMAGE } }, 6);
const onOldImage = targetState({ template: { ...targetState().template, imageId: OLD } });

const situation = (changes: Partial<Situation> = {}): Situation => ({
  ledger: ledger(undefined, 0),
  elsewhere: [],
  target: targetState(),
  image: REUSE,
  ...changes,
});

const PREFERENCES =
  "MinHealthyPercentage 100, MaxHealthyPercentage 125, SkipMatching true, AutoRollback true, ScaleInProtectedInstances Refresh, StandbyInstances Ignore";

describe("the plan of a release", () => {
  test("that is the first: bake, replace, record", () => {
    const bake: ImageChoice = {
      kind: "bake",
      name: "web-v1-0123456789ab",
      why: "no image has this content yet",
    };
    const plan = planRelease(situation({ target: onOldImage, image: bake }), WISH);
    expect(plan).toMatchObject({
      rollOut: true,
      record: true,
      pin: false,
      tag: { prefix: "release", environment: "dev", number: 1 },
      findings: [],
      preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 125 },
    });
    expect(plan.lines).toStrictEqual([
      "bake web-v1-0123456789ab with Packer: no image has this content yet",
      `make a version of web from 7: image ${OLD} → the new image`,
      `replace 4 instances of eu-west-1/web-dev by an instance refresh (rolling: ${PREFERENCES}), about 8 min`,
      "record it as release/dev/000001 on commit 0123456789ab, the first release here",
    ]);
  });

  test("whose image is there: use it, replace, record after the newest", () => {
    const plan = planRelease(situation({ target: onOldImage, ledger: ledger(NEWEST, 8) }), WISH);
    expect(plan).toMatchObject({ rollOut: true, record: true, tag: { number: 9 } });
    expect(plan.lines).toStrictEqual([
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
      `make a version of web from 7: image ${OLD} → ${IMAGE}`,
      `replace 4 instances of eu-west-1/web-dev by an instance refresh (rolling: ${PREFERENCES}), about 8 min`,
      "record it as release/dev/000009 on commit 0123456789ab, after release/dev/000006",
    ]);
  });

  test("that runs and is recorded: nothing", () => {
    const plan = planRelease(situation({ ledger: RECORDED }), WISH);
    expect(plan).toMatchObject({ rollOut: false, record: false, pin: false, findings: [] });
    expect(plan.lines).toStrictEqual([
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
      `eu-west-1/web-dev runs ${IMAGE} already: nothing to roll out`,
      "release/dev/000006 records it already: nothing to do",
    ]);
  });

  test.each<[what: string, ledger: Situation["ledger"], line: string]>([
    [
      "but was never recorded",
      ledger(undefined, 0),
      "release/dev/000001 on commit 0123456789ab, the first release here",
    ],
    [
      "but the newest record names another image",
      ledger({ ...NEWEST, images: { "eu-west-1": OLD } }, 6),
      "release/dev/000007 on commit 0123456789ab, after release/dev/000006",
    ],
  ])("that runs, %s: record only", (_, ledger, line) => {
    const plan = planRelease(situation({ ledger }), WISH);
    expect(plan).toMatchObject({ rollOut: false, record: true, findings: [] });
    expect(plan.lines).toStrictEqual([
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
      `eu-west-1/web-dev runs ${IMAGE} already: nothing to roll out`,
      `record it as ${line}`,
    ]);
  });

  test.each(["$Latest", "$Default"])("for a group on %s: pin it first", (written) => {
    const target = targetState({ template: { ...onOldImage.template, written } });
    const plan = planRelease(situation({ target, ledger: RECORDED }), WISH);
    expect(plan).toMatchObject({ pin: true, rollOut: true, record: true });
    expect(plan.lines[1]).toBe(`pin eu-west-1/web-dev from ${written} to version 7 of web`);
    expect(plan.findings.map(({ fatal }) => fatal)).toStrictEqual([false]);
  });

  test("for a group that is recorded but still has an instance of another version: replace and record", () => {
    const target = targetState({ instances: [instance(), instance({ templateVersion: "6" })] });
    expect(planRelease(situation({ target, ledger: RECORDED }), WISH)).toMatchObject({
      rollOut: true,
      record: true,
    });
  });

  test("on another instance type: a new version, with the image it runs", () => {
    const environment = { ...ENVIRONMENT, instanceType: "t3.large" };
    const plan = planRelease(situation({ ledger: RECORDED }), { ...WISH, environment });
    expect(plan.rollOut).toBe(true);
    expect(plan.lines[1]).toBe(
      `make a version of web from 7: image ${IMAGE} → ${IMAGE}, instance type t3.small → t3.large`,
    );
  });

  test("that takes an untagged image of an earlier run says so", () => {
    const adopt: ImageChoice = {
      kind: "adopt",
      image: FOUND,
      why: "was baked by a run that did not come to tag it",
    };
    expect(planRelease(situation({ target: onOldImage, image: adopt }), WISH).lines[0]).toBe(
      `adopt ${IMAGE} (web-v1-0123456789ab): it was baked by a run that did not come to tag it`,
    );
  });

  test("has what would stop it among its findings", () => {
    const target = { ...onOldImage, suspendedProcesses: ["Launch"] };
    expect(planRelease(situation({ target }), WISH).findings).toStrictEqual([
      {
        fatal: true,
        message: "eu-west-1/web-dev: the process Launch is suspended: a refresh would wait without end",
        remedy: "Resume Launch on the group.",
      },
    ]);
  });

  test("that has nothing to roll out has no findings: the group is left alone", () => {
    const target = targetState({ suspendedProcesses: ["Launch"] });
    expect(planRelease(situation({ target, ledger: RECORDED }), WISH).findings).toStrictEqual([]);
  });

  test("shows the preferences that AWS will get", () => {
    const environment: Environment = {
      ...ENVIRONMENT,
      rollout: { strategy: "canary", canary: { instances: 1 }, alarms: ["web-5xx"] },
    };
    expect(planRelease(situation({ target: onOldImage }), { ...WISH, environment }).lines[2]).toContain(
      'CheckpointPercentages [25,100], CheckpointDelay 300, AlarmSpecification {"Alarms":["web-5xx"]}',
    );
  });
});
