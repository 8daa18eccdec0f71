import { describe, expect, test } from "vitest";
import type { RolloutSettings, Strategy, Target } from "../../src/domain/application.ts";
import { CancelledError, KilnError, RolloutError } from "../../src/domain/errors.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { type PlayedTest, type Released, ReleaseStage } from "./release-stage.ts";

/** Each strategy with each group size and each way that a rollout can go: what must hold whatever happens. */

export const SIZES = [0, 1, 2, 3, 10, 100] as const;
const GROUP = "web";
const TARGET: Target = { region: HOME.region, autoScalingGroup: GROUP };

/** A way that a rollout goes. */
interface Story {
  readonly name: string;
  /** Whether the release stands, for a group of this size. */
  readonly releases: (size: number) => boolean;
  readonly settings?: Partial<RolloutSettings>;
  readonly test?: PlayedTest;
  /** Sets the sandbox up before the release begins. */
  readonly prepare?: (stage: ReleaseStage, size: number) => void;
  /** Runs when the release begins. */
  readonly begin?: (stage: ReleaseStage, cancel: () => void) => void;
  /** What the error must say, where the release does not stand. */
  readonly says: RegExp;
}

/** A group without instances has nothing that could go wrong. */
const unlessEmpty = (size: number): boolean => size === 0;

const CAPACITY =
  "We currently do not have sufficient t3.small capacity in the Availability Zone you requested (eu-west-1a). Launching EC2 instance failed.";

const STORIES: readonly Story[] = [
  { name: "healthy", releases: () => true, says: /^$/ },
  {
    name: "never healthy",
    releases: unlessEmpty,
    prepare: (stage) => stage.setHealth({ [stage.newImage]: { healthyAfter: "never" } }),
    says: /replacements failed/,
  },
  {
    name: "unhealthy at 50 %",
    releases: unlessEmpty,
    prepare: (stage, size) => {
      const good = new Set<string>();
      stage.setHealth((member) => {
        if (member.imageId !== stage.newImage) return undefined;
        if (good.has(member.instanceId) || good.size < Math.floor(size / 2)) {
          good.add(member.instanceId);
          return undefined;
        }
        return { healthyAfter: "never" };
      });
    },
    says: /replacements failed/,
  },
  {
    name: "capacity error",
    releases: unlessEmpty,
    prepare: (stage) =>
      // Root volumes need no capacity until one fails: then the instance is terminated, and its replacement does.
      stage.setHealth({
        [stage.newImage]: { launchFailure: CAPACITY, rootVolumeFailure: "The volume could not be replaced." },
      }),
    says: /sufficient t3\.small capacity/,
  },
  {
    name: "alarm at 30 %",
    // Also without instances: the bake time is waited for, and the alarm counts in it.
    releases: () => false,
    settings: { alarms: ["web-5xx"], bakeTime: 120 },
    prepare: (stage) => stage.sandbox.autoScaling.setAlarm("web-5xx", "OK"),
    begin: (stage) => alarmAt(stage, 30),
    says: /alarm/i,
  },
  {
    name: "smoke test fails",
    releases: unlessEmpty,
    settings: { smokeTest: { command: ["curl"], timeout: 60 } },
    test: { code: 1 },
    says: /smoke test of eu-west-1\/web at \d+ % failed with exit code 1/,
  },
  {
    name: "cancelled",
    releases: unlessEmpty,
    begin: (stage, cancel) => {
      // With a fleet that is replaced at once there is no percentage in between: in the middle of the first batch.
      stage.sandbox.clock.after(20_000, cancel);
    },
    says: /Cancelled while eu-west-1\/web was being rolled out/,
  },
];

/** In progress or baking: an alarm counts in both. */
function alarmAt(stage: ReleaseStage, percentage: number): void {
  const { clock, autoScaling } = stage.sandbox;
  const look = (): void => {
    const refresh = autoScaling.refreshes(GROUP).at(-1);
    const status = refresh?.status ?? "Pending";
    if ((status === "InProgress" || status === "Baking") && (refresh?.percentageComplete ?? 0) >= percentage)
      autoScaling.setAlarm("web-5xx", "ALARM");
    else if (["Pending", "InProgress", "Baking"].includes(status)) clock.after(1000, look);
  };
  clock.after(1000, look);
}

/** The strategy's group: root volumes are replaced only where a policy names an image for each type. */
function addGroup(stage: ReleaseStage, strategy: Strategy, size: number): void {
  if (strategy !== "replace-root-volume") {
    stage.addGroup(GROUP, size);
    return;
  }
  const template = stage.sandbox.ec2.addLaunchTemplate(HOME, GROUP, {
    ImageId: stage.oldImage,
    InstanceType: "t3.small",
  });
  stage.sandbox.autoScaling.addGroup({
    ...HOME,
    name: GROUP,
    min: 0,
    max: size * 2 + 2,
    desired: size,
    defaultInstanceWarmup: 60,
    healthCheckGracePeriod: 30,
    healthCheckType: "ELB",
    mixedInstancesPolicy: {
      launchTemplate: {
        launchTemplateSpecification: { launchTemplateId: template.id, version: "1" },
        overrides: [{ instanceType: "t3.small", imageId: stage.oldImage }],
      },
    },
  });
}

/** The lowest number of healthy instances that a strategy promises: the first three never go below capacity. */
function promised(strategy: Strategy, size: number, story: Story): number {
  if (strategy !== "recycle" && strategy !== "replace-root-volume") return size;
  // An instance whose root volume could not be replaced is lost: how many are is AWS's affair.
  if (strategy === "replace-root-volume" && story.name === "capacity error") return 0;
  return Math.min(Math.ceil(size * 0.9), size - 1);
}

async function play(strategy: Strategy, size: number, story: Story) {
  const stage = await ReleaseStage.open();
  try {
    addGroup(stage, strategy, size);
    story.prepare?.(stage, size);
    const watch = stage.sandbox.autoScaling.watchHealthy(GROUP);
    const released = await stage.release(
      [TARGET],
      { strategy, ...story.settings },
      {
        ...(story.test === undefined ? {} : { test: story.test }),
        onStart: (cancel) => story.begin?.(stage, cancel),
      },
    );
    // A cancelled run leaves the way back to AWS, which finishes by itself.
    stage.sandbox.clock.advance(3 * 3_600_000);
    return {
      released,
      lowest: watch.lowest(),
      images: [...stage.sandbox.autoScaling.group(GROUP).members].map(({ imageId }) => imageId),
      saved: stage.sandbox.autoScaling.group(GROUP).configuration,
      records: stage.records(),
      locks: stage.locks(),
      refreshes: stage.sandbox.autoScaling.refreshes(GROUP).map(({ status }) => status),
      oldImage: stage.oldImage,
      newImage: stage.newImage,
    };
  } finally {
    await stage[Symbol.asyncDispose]();
  }
}

const versionOf = (saved: unknown): string | undefined =>
  /"version":"(\d+)"/.exec(JSON.stringify(saved))?.[1];

function describeRun({
  released,
  refreshes,
  lowest,
}: {
  released: Released;
  refreshes: readonly string[];
  lowest: number;
}) {
  const { error } = released;
  return `${refreshes.join(", ")}; lowest ${lowest}\n${released.log.join("\n")}\n${error instanceof RolloutError ? `${error.message}\n${error.state ?? ""}` : String(error)}`;
}

function endOf(error: unknown): string {
  if (error === undefined) return "released";
  if (error instanceof CancelledError) return "cancelled";
  if (!(error instanceof Error)) return "not an error";
  return error instanceof RolloutError && error.rolledBack ? "rolled back" : error.message;
}

function wordsOf(error: unknown): string {
  return error instanceof KilnError ? `${error.message}\n${error.state ?? ""}` : "";
}

/** The tests of one strategy. */
export function suiteOf(strategy: Strategy): void {
  describe.each(STORIES)(`${strategy}: $name`, (story) => {
    test.each(SIZES)("%i instances", async (size) => {
      const run = await play(strategy, size, story);
      const text = describeRun(run);
      const releases = story.releases(size);
      const image = releases ? run.newImage : run.oldImage;
      const { error } = run.released;
      expect(
        {
          images: run.images,
          savedVersion: versionOf(run.saved),
          records: run.records,
          end: endOf(error),
          // A cancelled run's lock is its post step's to release.
          locks: error instanceof CancelledError ? [] : run.locks,
        },
        text,
      ).toEqual({
        images: Array.from({ length: size }, () => image),
        savedVersion: releases ? "2" : "1",
        records: releases ? ["release/production/000001"] : [],
        end: releases ? "released" : story.name === "cancelled" ? "cancelled" : "rolled back",
        locks: [],
      });
      expect(run.lowest, text).toBeGreaterThanOrEqual(promised(strategy, size, story));
      expect(wordsOf(error), text).toMatch(releases ? /^$/ : story.says);
    });
  });
}
