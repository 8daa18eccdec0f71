import { describe, expect, test } from "vitest";
import { type ChosenImage, planRelease, type Situation, type Wish } from "../../src/commands/plan.ts";
import type { Environment } from "../../src/domain/application.ts";
import type { CatalogueImage } from "../../src/image/catalogue.ts";
import type { ImageChoice } from "../../src/image/choice.ts";
import type { LedgerPage } from "../../src/release/ledger.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import type { Surroundings } from "../../src/rollout/surroundings.ts";
import type { TargetState } from "../../src/rollout/target-state.ts";
import { COMMIT, RECORD } from "../release/records.ts";
import { IMAGE, instance, policyWith, targetState } from "../rollout/states.ts";

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
  sourceInstance: "i-0123456789abcdef0",
  copiedFrom: undefined,
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
  nextNumber: highestNumber + 1,
  unreadable: [],
  tags: highestNumber,
  cut: false,
});
const RECORDED = ledger({ ...NEWEST, images: { "eu-west-1": IMAGE } }, 6);
const onOldImage = targetState({ template: { ...targetState().template, imageId: OLD } });

/** Nothing around a target that matters. */
const CALM: Surroundings = { alarms: new Map([["web-5xx", "OK"]]), architectures: new Map() };
/** Targets with nothing around them that matters, in order. */
const seen = (...states: readonly TargetState[]): Situation["targets"] =>
  states.map((state) => ({ state, surroundings: CALM }));
/** An image that only the first target's region needs. */
const only = (home: ImageChoice): ChosenImage => ({ home, elsewhere: new Map() });

const situation = (changes: Partial<Situation> = {}): Situation => ({
  ledger: ledger(undefined, 0),
  elsewhere: [],
  targets: seen(targetState()),
  image: only(REUSE),
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
      leftovers: [],
    };
    const plan = planRelease(situation({ targets: seen(onOldImage), image: only(bake) }), WISH);
    expect(plan).toMatchObject({
      rollOut: true,
      record: true,
      targets: [
        {
          rollOut: true,
          pin: false,
          strategy: "Rolling",
          preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 125 },
        },
      ],
      tag: { prefix: "release", environment: "dev", number: 1 },
      findings: [],
    });
    expect(plan.lines).toStrictEqual([
      "bake web-v1-0123456789ab with Packer: no image has this content yet",
      `make a version of web from 7: image ${OLD} → the new image`,
      `replace 4 instances of eu-west-1/web-dev by an instance refresh (rolling: ${PREFERENCES}), about 8 min`,
      "record it as release/dev/000001 on commit 0123456789ab, the first release here",
    ]);
  });

  test("whose image is there: use it, replace, record after the newest", () => {
    const plan = planRelease(situation({ targets: seen(onOldImage), ledger: ledger(NEWEST, 8) }), WISH);
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
    expect(plan).toMatchObject({
      rollOut: false,
      record: false,
      targets: [{ rollOut: false, pin: false }],
      findings: [],
    });
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
      `eu-west-1/web-dev runs ${IMAGE} already, but no release records that: verify it, and revert it if that fails`,
      `record it as ${line}`,
    ]);
  });

  test.each(["$Latest", "$Default"])("for a group on %s: pin it first", (written) => {
    const target = targetState({ template: { ...onOldImage.template, written } });
    const plan = planRelease(situation({ targets: seen(target), ledger: RECORDED }), WISH);
    expect(plan).toMatchObject({ targets: [{ pin: true }], rollOut: true, record: true });
    expect(plan.lines[1]).toBe(`pin eu-west-1/web-dev from ${written} to version 7 of web`);
    expect(plan.findings.map(({ fatal }) => fatal)).toStrictEqual([false]);
  });

  test("for a group that is recorded but still has an instance of another version: replace and record", () => {
    const target = targetState({ instances: [instance(), instance({ templateVersion: "6" })] });
    expect(planRelease(situation({ targets: seen(target), ledger: RECORDED }), WISH)).toMatchObject({
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

  test("that removes what an earlier bake did not complete says so", () => {
    const bake: ImageChoice = {
      kind: "bake",
      name: "web-v1-0123456789ab",
      why: "no image has this content yet",
      leftovers: [FOUND],
    };
    const { lines } = planRelease(situation({ targets: seen(onOldImage), image: only(bake) }), WISH);
    expect(lines.slice(0, 2)).toStrictEqual([
      `remove ${IMAGE} (web-v1-0123456789ab): the bake that made it did not complete it`,
      "bake web-v1-0123456789ab with Packer: no image has this content yet",
    ]);
  });

  test("has what would stop it among its findings", () => {
    const target = { ...onOldImage, suspendedProcesses: ["Launch"] };
    expect(planRelease(situation({ targets: seen(target) }), WISH).findings).toStrictEqual([
      {
        fatal: true,
        message: "eu-west-1/web-dev: the process Launch is suspended: a refresh would wait without end",
        remedy: "Resume Launch on the group.",
      },
    ]);
  });

  test("that has nothing to roll out has no findings: the group is left alone", () => {
    const target = targetState({ suspendedProcesses: ["Launch"] });
    expect(planRelease(situation({ targets: seen(target), ledger: RECORDED }), WISH).findings).toStrictEqual(
      [],
    );
  });

  test("shows the preferences that AWS will get", () => {
    const fourInstances = { ...onOldImage, instances: [1, 2, 3, 4].map((n) => instance({ id: `i-${n}` })) };
    const environment: Environment = {
      ...ENVIRONMENT,
      rollout: { strategy: "canary", canary: { instances: 1 }, alarms: ["web-5xx"] },
    };
    expect(
      planRelease(situation({ targets: seen(fourInstances) }), { ...WISH, environment }).lines[2],
    ).toContain(
      'CheckpointPercentages [25,100], CheckpointDelay 300, AlarmSpecification {"Alarms":["web-5xx"]}',
    );
  });

  test("knows the image of another environment's release again", () => {
    const production = { ...RECORD, images: { "us-east-1": IMAGE } } as const;
    expect(planRelease(situation({ elsewhere: [NEWEST, production] }), WISH).lines[0]).toBe(
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago, released as release/dev/000006, release/production/000042`,
    );
  });

  test("is recorded again where that is wanted, though it runs and is recorded", () => {
    const plan = planRelease(situation({ ledger: RECORDED }), { ...WISH, alwaysRecord: true });
    expect(plan).toMatchObject({ rollOut: false, record: true });
    expect(plan.lines.at(-1)).toBe(
      "record it as release/dev/000007 on commit 0123456789ab, after release/dev/000006",
    );
  });

  test("for a group without capacity takes no time", () => {
    const target = { ...onOldImage, capacity: { min: 0, max: 6, desired: 0 }, instances: [] };
    expect(planRelease(situation({ targets: seen(target) }), WISH).lines[2]).toMatch(/, no time$/);
  });

  test("for a group of one speaks of the instance", () => {
    const target = { ...onOldImage, capacity: { min: 1, max: 2, desired: 1 }, instances: [instance()] };
    expect(planRelease(situation({ targets: seen(target) }), WISH).lines[2]).toMatch(
      /^replace the instance of eu-west-1\/web-dev by an instance refresh \(rolling: /,
    );
  });

  test.each<[what: string, rollout: Environment["rollout"], line: string]>([
    [
      "at the end",
      { strategy: "rolling", smokeTest: { command: ["script/smoke", "--fast"], timeout: 300 } },
      "test the new instances at the end: script/smoke --fast (at most 5 min)",
    ],
    [
      "at checkpoints too",
      { strategy: "canary", smokeTest: { command: ["smoke"], timeout: 90 } },
      "test the new instances at each checkpoint and at the end: smoke (at most 1 min 30 s)",
    ],
  ])("has the smoke test %s", (_, rollout, line) => {
    const { lines } = planRelease(situation({ targets: seen(onOldImage) }), {
      ...WISH,
      environment: { ...ENVIRONMENT, rollout },
    });
    expect(lines[3]).toBe(line);
    expect(lines).toHaveLength(5);
  });

  test("that replaces root volumes names the strategy of the API", () => {
    const target = {
      ...onOldImage,
      behindLoadBalancer: false,
      mixedInstancesPolicy: policyWith({ InstanceType: "t3.small" }),
    };
    const plan = planRelease(situation({ targets: seen(target) }), {
      ...WISH,
      environment: { ...ENVIRONMENT, rollout: { strategy: "replace-root-volume" } },
    });
    expect(plan.targets[0]?.strategy).toBe("ReplaceRootVolume");
    expect(plan.findings).toStrictEqual([]);
    expect(plan.lines[2]).toMatch(
      /^replace 4 instances of eu-west-1\/web-dev by an instance refresh \(replace-root-volume: Strategy ReplaceRootVolume, MinHealthyPercentage 75, MaxHealthyPercentage 100, /,
    );
  });

  test("fits the preferences to the heaviest instance and to how many there are", () => {
    const target = {
      ...onOldImage,
      capacity: { min: 1, max: 40, desired: 20 },
      instances: Array.from({ length: 5 }, (_, index) => instance({ id: `i-${index}` })),
      mixedInstancesPolicy: policyWith({ InstanceType: "t3.small", WeightedCapacity: "4" }),
    };
    const environment: Environment = { ...ENVIRONMENT, rollout: { strategy: "canary" } };
    expect(
      planRelease(situation({ targets: seen(target) }), { ...WISH, environment }).targets[0],
    ).toMatchObject({
      preferences: { MinHealthyPercentage: 100, MaxHealthyPercentage: 120, CheckpointPercentages: [20, 100] },
    });
  });

  test("leaves a protected instance on its old image where the user wants that", () => {
    const stays = instance({ id: "i-2", templateVersion: "6", protectedFromScaleIn: true });
    const targets = seen(targetState({ instances: [instance(), stays] }));
    const planOf = (scaleInProtected: "ignore" | "refresh"): boolean =>
      planRelease(situation({ targets, ledger: RECORDED }), {
        ...WISH,
        environment: { ...ENVIRONMENT, rollout: { strategy: "rolling", scaleInProtected } },
      }).rollOut;
    expect(planOf("ignore")).toBe(false);
    expect(planOf("refresh")).toBe(true);
  });
});

describe("a group is pinned before it is rolled out", () => {
  const template = onOldImage.template;
  const arm = { ...template, id: "lt-2", name: "arm", version: "3", written: "3" };
  const alias = "resolve:ssm:/web/ami";

  test.each<[what: string, changes: Partial<TargetState>, lines: readonly string[]]>([
    ["not on numbers", {}, []],
    [
      "from $Latest",
      { template: { ...template, written: "$Latest" } },
      ["pin eu-west-1/web-dev from $Latest to version 7 of web"],
    ],
    [
      "from an alias",
      { template: { ...template, imageId: alias } },
      [`pin eu-west-1/web-dev from ${alias} to a version with the AMI that this means now of web`],
    ],
    [
      "from an alias in $Latest, once",
      { template: { ...template, written: "$Latest", imageId: alias } },
      [`pin eu-west-1/web-dev from ${alias} to a version with the AMI that this means now of web`],
    ],
    [
      "only where an override's own template needs it",
      { overrideTemplates: [{ ...arm, written: "$Default" }] },
      ["pin eu-west-1/web-dev from $Default to version 3 of arm"],
    ],
    [
      "each template on its own",
      { template: { ...template, written: "$Latest" }, overrideTemplates: [{ ...arm, imageId: alias }] },
      [
        "pin eu-west-1/web-dev from $Latest to version 7 of web",
        `pin eu-west-1/web-dev from ${alias} to a version with the AMI that this means now of arm`,
      ],
    ],
  ])("%s", (_, changes, lines) => {
    const plan = planRelease(situation({ targets: seen({ ...onOldImage, ...changes }) }), WISH);
    expect(plan.lines.filter((line) => line.startsWith("pin "))).toStrictEqual(lines);
    expect(plan.targets[0]?.pin).toBe(lines.length > 0);
    // Each pin has its finding.
    expect(plan.findings.length >= lines.length).toBe(true);
  });

  test("and a version is made of each of its templates, with the environment's type in its own only", () => {
    const target = { ...onOldImage, overrideTemplates: [arm] };
    const environment = { ...ENVIRONMENT, instanceType: "t3.large" };
    const { lines } = planRelease(situation({ targets: seen(target) }), { ...WISH, environment });
    expect(lines.slice(1, 3)).toStrictEqual([
      `make a version of web from 7: image ${OLD} → ${IMAGE}, instance type t3.small → t3.large`,
      `make a version of arm from 3: image ${OLD} → ${IMAGE}`,
    ]);
  });
});

describe("the plan for targets in two regions", () => {
  const COPY: CatalogueImage = { ...FOUND, id: "ami-0cccccccccccccccc", region: "us-east-1" };
  const AMERICA = { region: "us-east-1", autoScalingGroup: "web-dev-us" };
  const TWO: Wish = {
    ...WISH,
    environment: { ...ENVIRONMENT, targets: [...ENVIRONMENT.targets, AMERICA] },
  };
  const america = (imageId: string): TargetState =>
    targetState({ target: AMERICA, template: { ...targetState().template, name: "web-us", imageId } });
  const withCopy = (copy: CatalogueImage | undefined, home: ImageChoice = REUSE): ChosenImage => ({
    home,
    elsewhere: new Map([["us-east-1", copy]]),
  });

  test("rolls out only the one that is not on the image yet", () => {
    const plan = planRelease(
      situation({
        targets: seen(targetState(), america(OLD)),
        image: withCopy(COPY),
        ledger: ledger(NEWEST, 6),
      }),
      TWO,
    );
    expect(plan).toMatchObject({
      rollOut: true,
      record: true,
      targets: [
        { target: { region: "eu-west-1" }, rollOut: false, findings: [] },
        { target: AMERICA, rollOut: true, findings: [] },
      ],
    });
    expect(plan.lines).toStrictEqual([
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
      `use its copy ${COPY.id} in us-east-1`,
      `eu-west-1/web-dev runs ${IMAGE} already: nothing to roll out`,
      `make a version of web-us from 7: image ${OLD} → ${COPY.id}`,
      `replace 4 instances of us-east-1/web-dev-us by an instance refresh (rolling: ${PREFERENCES}), about 8 min`,
      "record it as release/dev/000007 on commit 0123456789ab, after release/dev/000006",
    ]);
  });

  test.each<[what: string, image: ChosenImage, there: string, first: string]>([
    [
      "that is still to be copied",
      withCopy(undefined),
      "the copy",
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
    ],
    [
      "that is still to be baked and copied",
      withCopy(undefined, {
        kind: "bake",
        name: "web-v1-0123456789ab",
        why: "no image has this content yet",
        leftovers: [],
      }),
      "the new image",
      "bake web-v1-0123456789ab with Packer: no image has this content yet",
    ],
  ])("with an image %s", (_, image, there, first) => {
    const plan = planRelease(situation({ targets: seen(onOldImage, america(OLD)), image }), TWO);
    expect(plan.lines.slice(0, 2)).toStrictEqual([first, "copy it from eu-west-1 to us-east-1"]);
    expect(plan.lines).toContain(`make a version of web-us from 7: image ${OLD} → ${there}`);
    expect(plan.targets.map(({ rollOut }) => rollOut)).toStrictEqual([true, true]);
  });

  test.each<[what: string, images: ReleaseRecord["images"], record: boolean]>([
    ["both images", { "eu-west-1": IMAGE, "us-east-1": COPY.id }, false],
    ["only the first region's", { "eu-west-1": IMAGE }, true],
    ["only the second region's", { "us-east-1": COPY.id }, true],
    ["another image in the second region", { "eu-west-1": IMAGE, "us-east-1": OLD }, true],
    ["the first region's image in both", { "eu-west-1": IMAGE, "us-east-1": IMAGE }, true],
  ])("where all run it and the newest record names %s", (_, images, record) => {
    const plan = planRelease(
      situation({
        targets: seen(targetState(), america(COPY.id)),
        image: withCopy(COPY),
        ledger: ledger({ ...NEWEST, images }, 6),
      }),
      TWO,
    );
    expect(plan).toMatchObject({ rollOut: false, record });
  });

  test("where two targets are in one region needs no copy", () => {
    const second = { region: "eu-west-1", autoScalingGroup: "worker-dev" };
    const plan = planRelease(
      situation({ targets: seen(targetState(), targetState({ target: second })), ledger: RECORDED }),
      { ...WISH, environment: { ...ENVIRONMENT, targets: [...ENVIRONMENT.targets, second] } },
    );
    expect(plan.lines).toStrictEqual([
      `reuse ${IMAGE} (web-v1-0123456789ab): it has this content, baked 10 days ago`,
      `eu-west-1/web-dev runs ${IMAGE} already: nothing to roll out`,
      `eu-west-1/worker-dev runs ${IMAGE} already: nothing to roll out`,
      "release/dev/000006 records it already: nothing to do",
    ]);
  });

  test("has the findings of both, what is fatal first", () => {
    const plan = planRelease(
      situation({
        targets: seen({ ...onOldImage, warmup: 0 }, { ...america(OLD), suspendedProcesses: ["Launch"] }),
        image: withCopy(COPY),
      }),
      TWO,
    );
    expect(plan.findings.map(({ fatal, message }) => [fatal, message.split(":")[0]])).toStrictEqual([
      [true, "us-east-1/web-dev-us"],
      [false, "eu-west-1/web-dev"],
    ]);
  });

  test("looks at the architecture of what is to be copied", () => {
    const surroundings = { ...CALM, architectures: new Map([["t3.small", ["arm64"]]]) };
    const plan = planRelease(
      situation({ targets: [{ state: america(OLD), surroundings }], image: withCopy(undefined) }),
      TWO,
    );
    expect(plan.findings).toMatchObject([
      {
        fatal: true,
        message: `us-east-1/web-dev-us: image ${IMAGE} is for x86_64, instances of type t3.small run arm64`,
      },
    ]);
  });
});
