import type { RefreshPreferences, RefreshStrategy } from "@aws-sdk/client-auto-scaling";
import { accountOfRole } from "../aws/assumed-role.ts";
import { type Environment, type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import type { Digest } from "../domain/image.ts";
import { formatReleaseTag, type ReleaseTag } from "../domain/release-tag.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import type { ImageChoice } from "../image/choice.ts";
import type { LedgerPage } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { isAlias } from "../rollout/launch-template.ts";
import { rolloutSeconds } from "../rollout/pace.ts";
import { type Finding, preflight } from "../rollout/preflight.ts";
import { refreshPreferences, refreshStrategy } from "../rollout/strategy.ts";
import type { Surroundings } from "../rollout/surroundings.ts";
import {
  alreadyRuns,
  appliedInstanceType,
  isNumber,
  largestWeight,
  templatesOf,
  type TargetState,
  instanceCount,
} from "../rollout/target-state.ts";
import { leftAlone } from "../rollout/verify.ts";
import type { Compared } from "./changes.ts";

/** Where a release's image comes from, in each region that it is needed in. */
export interface ChosenImage {
  /** In the first target's region. */
  readonly home: ImageChoice;
  /** The other targets' regions: the same image there, or undefined where it is still to be copied. */
  readonly elsewhere: ReadonlyMap<string, CatalogueImage | undefined>;
}

/** One target as it was read. */
export interface ObservedTarget {
  readonly state: TargetState;
  readonly surroundings: Surroundings;
  /** Another repository's release that would be overwritten. */
  readonly overwrites?: readonly Finding[];
}

/** What was read about an environment before anything is decided. */
export interface Situation {
  readonly ledger: LedgerPage;
  /** What speaks against releasing on top of that ledger, or against the next record in it. */
  readonly ledgerFindings?: readonly Finding[];
  /** The newest releases of the other environments. */
  readonly elsewhere: readonly ReleaseRecord[];
  /** In the environment's order. */
  readonly targets: readonly ObservedTarget[];
  readonly image: ChosenImage;
  /** How old the image's base image is, and whether a newer one is to be had; where it was asked for and is known. */
  readonly baseImage?: string | undefined;
}

/** What is wanted of it. */
export interface Wish {
  readonly environment: Environment;
  readonly digest: Digest;
  readonly commit: string;
  readonly recordPrefix: string;
  /** A record is due although the newest one names this image already. */
  readonly alwaysRecord?: boolean;
}

/** One target's part of a plan. */
export interface TargetPlan {
  readonly target: Target;
  readonly state: TargetState;
  /** The group is on `$Latest`, `$Default` or an SSM alias and is set to what this means now. */
  readonly pin: boolean;
  readonly rollOut: boolean;
  /** It runs the image already, but the newest release does not: an earlier run died before it recorded it. */
  readonly unrecorded: boolean;
  readonly preferences: RefreshPreferences;
  readonly strategy: RefreshStrategy;
  readonly findings: readonly Finding[];
}

/** The steps that lead from the situation to the wish; none where it holds already. */
export interface ReleasePlan {
  readonly image: ChosenImage;
  readonly targets: readonly TargetPlan[];
  /** Some target is to be rolled out. */
  readonly rollOut: boolean;
  readonly record: boolean;
  readonly tag: ReleaseTag;
  readonly findings: readonly Finding[];
  /** The plan for people, a line a step. */
  readonly lines: readonly string[];
  /** What was read for telling what the release changes; absent where there is nothing to do. */
  readonly compared?: Compared;
}

/** What a release goes by once it holds the lock. */
export interface Settled {
  readonly situation: Situation;
  readonly plan: ReleasePlan;
}

/** The image that is there for a region; undefined where it is still to be baked or copied. */
export function imageIn(image: ChosenImage, home: string, region: string): CatalogueImage | undefined {
  // In the first region too, where the image is to be encrypted there.
  if (region !== home || image.elsewhere.has(region)) return image.elsewhere.get(region);
  return image.home.kind === "bake" ? undefined : image.home.image;
}

/** Decides a release; pure: this is what `dry-run` prints. */
export function planRelease(situation: Situation, wish: Wish): ReleasePlan {
  const { ledger, image } = situation;
  const targets = situation.targets.map((observed) => planTarget(observed, situation, wish));
  const rollOut = targets.some((target) => target.rollOut);
  const home = homeOf(wish.environment);
  const { newest } = ledger;
  const recorded =
    newest !== undefined &&
    targets.every(({ target: { region } }) => {
      const there = imageIn(image, home, region);
      return there !== undefined && newest.images[region] === there.id;
    });
  const tag: ReleaseTag = {
    prefix: wish.recordPrefix,
    environment: wish.environment.name,
    number: ledger.nextNumber,
  };
  const record = rollOut || !recorded || wish.alwaysRecord === true;
  const base = {
    image,
    targets,
    tag,
    rollOut,
    record,
    findings: [
      ...(record ? (situation.ledgerFindings ?? []) : []),
      ...targets.flatMap(({ findings }) => findings),
    ].toSorted((a, b) => Number(b.fatal) - Number(a.fatal)),
  };
  return { ...base, lines: describe(base, situation, wish) };
}

/** The region that images are baked in, and copied from to the others. */
export function homeOf({ name, imageRegion, targets }: Environment): string {
  if (imageRegion !== undefined) return imageRegion;
  const [first] = targets;
  if (first === undefined) throw new Error(`environment ${name} has no target`);
  return first.region;
}

function planTarget(
  { state, surroundings, overwrites = [] }: ObservedTarget,
  situation: Situation,
  { environment }: Wish,
): TargetPlan {
  const { target } = state;
  const { rollout, instanceType } = environment;
  const preferences = refreshPreferences(
    rollout,
    state.capacity.desired,
    largestWeight(state),
    instanceCount(state),
  );
  const strategy = refreshStrategy(rollout);
  const image = imageIn(situation.image, homeOf(environment), target.region);
  const rollOut = image === undefined || !alreadyRuns(state, image.id, instanceType, leftAlone(preferences));
  // A copy has the architecture of what it is copied from.
  const { home } = situation.image;
  const looked = image ?? (home.kind === "bake" ? undefined : home.image);
  return {
    target,
    state,
    preferences,
    strategy,
    rollOut,
    unrecorded: !rollOut && situation.ledger.newest?.images[target.region] !== image.id,
    pin: rollOut && templatesOf(state).some(({ written, imageId }) => !isNumber(written) || isAlias(imageId)),
    findings: rollOut
      ? [
          ...preflight(state, surroundings, { image: looked, preferences, strategy, instanceType }),
          ...overwrites,
        ]
      : [],
  };
}

function describe(plan: Omit<ReleasePlan, "lines">, situation: Situation, wish: Wish): string[] {
  const { ledger } = situation;
  return [
    ...describeImage(plan, situation, wish),
    ...(plan.rollOut && wish.environment.roleToAssume !== undefined
      ? [`share it with account ${accountOfRole(wish.environment.roleToAssume)}, if it is not yet`]
      : []),
    ...plan.targets.flatMap((target) => describeTarget(target, situation, wish)),
    plan.record
      ? `record it as ${formatReleaseTag(plan.tag)} on commit ${wish.commit.slice(0, 12)}${ledger.newest === undefined ? ", the first release here" : `, after ${formatReleaseTag(ledger.newest.tag)}`}`
      : `${ledger.newest === undefined ? "" : formatReleaseTag(ledger.newest.tag)} records it already: nothing to do`,
  ];
}

function describeImage(plan: Omit<ReleasePlan, "lines">, situation: Situation, wish: Wish): string[] {
  const { home, elsewhere } = plan.image;
  const copies = [...elsewhere].map(([region, copy]) => {
    if (copy !== undefined) return `use its copy ${copy.id} in ${region}`;
    const key = wish.environment.targets.find((target) => target.region === region)?.kmsKey;
    return `copy it from ${homeOf(wish.environment)} to ${region}${key === undefined ? "" : `, encrypted with ${key}`}`;
  });
  if (home.kind === "bake") {
    const leftovers = home.leftovers.map(
      (left) => `remove ${left.id} (${left.name}): the bake that made it did not complete it`,
    );
    return [...leftovers, `bake ${home.name} with Packer: ${home.why}`, ...copies];
  }
  const { id, name } = home.image;
  const base = situation.baseImage === undefined ? "" : `; its ${situation.baseImage}`;
  return [`reuse ${id} (${name}): it ${home.why}${provenWhere(id, situation)}${base}`, ...copies];
}

function describeTarget(plan: TargetPlan, situation: Situation, { environment }: Wish): string[] {
  const { state, preferences, strategy } = plan;
  const name = targetName(plan.target);
  const { image } = situation;
  const home = homeOf(environment);
  const there = imageIn(image, home, plan.target.region);
  const where = there?.id ?? (image.home.kind === "bake" ? "the new image" : "the copy");
  if (plan.unrecorded) {
    const test = environment.rollout.smokeTest;
    return [
      `${name} runs ${where} already, but no release records that: verify ${test === undefined ? "" : "and test "}it, and revert it if that fails`,
    ];
  }
  if (!plan.rollOut) return [`${name} runs ${where} already: nothing to roll out`];
  const type = appliedInstanceType(state, environment.instanceType);
  const lines = plan.pin
    ? templatesOf(state).flatMap(({ name: template, version, written, imageId }) =>
        isNumber(written) && !isAlias(imageId)
          ? []
          : [
              `pin ${name} from ${isAlias(imageId) ? (imageId ?? "") : written} to ${isAlias(imageId) ? "a version with the AMI that this means now" : `version ${version}`} of ${template}`,
            ],
      )
    : [];
  for (const template of templatesOf(state)) {
    lines.push(
      `make a version of ${template.name} from ${template.version}: image ${template.imageId ?? "none"} → ${where}${template === state.template && type !== undefined && type !== template.instanceType ? `, instance type ${template.instanceType ?? "none"} → ${type}` : ""}`,
    );
  }
  const how = strategy === "Rolling" ? "" : `Strategy ${strategy}, `;
  lines.push(
    `replace ${instanceCount(state) === 1 ? "the instance" : `${instanceCount(state)} instances`} of ${name} by an instance refresh (${environment.rollout.strategy}: ${how}${describePreferences(preferences)}), ${estimate(state, preferences)}`,
  );
  const test = environment.rollout.smokeTest;
  if (test !== undefined) {
    lines.push(
      `test the new instances ${preferences.CheckpointPercentages === undefined ? "" : "at each checkpoint and "}at the end: ${test.command.join(" ")} (at most ${formatDuration(test.timeout * 1000)})`,
    );
  }
  return lines;
}

function estimate(state: TargetState, preferences: RefreshPreferences): string {
  const capacity = instanceCount(state);
  if (capacity === 0) return "no time";
  const seconds = rolloutSeconds({
    capacity,
    warmup: preferences.InstanceWarmup ?? state.warmup ?? 0,
    preferences,
  });
  return `about ${formatDuration(seconds * 1000)}`;
}

/** Where the image has been released already, by the newest records. */
function provenWhere(id: string, { elsewhere }: Situation): string {
  const releases = elsewhere.filter((record) => Object.values(record.images).some((image) => image === id));
  if (releases.length === 0) return "";
  return `, released as ${releases.map((record) => formatReleaseTag(record.tag)).join(", ")}`;
}

/** The API's own names and values. */
function describePreferences(preferences: RefreshPreferences): string {
  return Object.entries(preferences)
    .map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}
