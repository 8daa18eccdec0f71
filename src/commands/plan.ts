import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { type Environment, type Target, targetName } from "../domain/application.ts";
import type { Digest, ImageId } from "../domain/image.ts";
import { formatReleaseTag, type ReleaseTag } from "../domain/release-tag.ts";
import type { ImageChoice } from "../image/choice.ts";
import type { LedgerPage } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { estimate, type Finding, preflight } from "../rollout/preflight.ts";
import { refreshPreferences } from "../rollout/strategy.ts";
import { alreadyRuns, type TargetState } from "../rollout/target-state.ts";

/** What was read about an environment before anything is decided. */
export interface Situation {
  readonly ledger: LedgerPage;
  /** The newest releases of the other environments. */
  readonly elsewhere: readonly ReleaseRecord[];
  readonly target: TargetState;
  readonly image: ImageChoice;
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

/** The steps that lead from the situation to the wish; none where it holds already. */
export interface ReleasePlan {
  readonly target: Target;
  readonly image: ImageChoice;
  /** The group is on `$Latest` or `$Default` and is set to the number that this means now. */
  readonly pin: boolean;
  readonly rollOut: boolean;
  readonly record: boolean;
  readonly tag: ReleaseTag;
  readonly preferences: RefreshPreferences;
  readonly findings: readonly Finding[];
  /** The plan for people, a line a step. */
  readonly lines: readonly string[];
}

/** What a release goes by once it holds the lock. */
export interface Settled {
  readonly situation: Situation;
  readonly plan: ReleasePlan;
}

/** Decides a release; pure: this is what `dry-run` prints. */
export function planRelease(situation: Situation, wish: Wish): ReleasePlan {
  const { target: state, image, ledger } = situation;
  const { environment } = wish;
  const [target] = environment.targets;
  if (target === undefined) throw new Error(`environment ${environment.name} has no target`);
  const preferences = refreshPreferences(environment.rollout, state.capacity.desired);
  const existing = image.kind === "bake" ? undefined : image.image;
  const rollOut = existing === undefined || !alreadyRuns(state, existing.id, environment.instanceType);
  const recorded =
    ledger.newest !== undefined &&
    existing !== undefined &&
    ledger.newest.images[target.region] === existing.id;
  const tag: ReleaseTag = {
    prefix: wish.recordPrefix,
    environment: environment.name,
    number: ledger.highestNumber + 1,
  };
  const base = {
    target,
    image,
    preferences,
    tag,
    rollOut,
    pin: rollOut && !/^\d+$/.test(state.template.written),
    record: rollOut || !recorded || wish.alwaysRecord === true,
    findings: rollOut
      ? preflight(state, existing, {
          maxHealthy: preferences.MaxHealthyPercentage ?? 100,
          warmup: preferences.InstanceWarmup,
        })
      : [],
  };
  return { ...base, lines: describe(base, situation, wish) };
}

function describe(plan: Omit<ReleasePlan, "lines">, situation: Situation, wish: Wish): string[] {
  const { target: state, ledger } = situation;
  const { image, preferences } = plan;
  const name = targetName(plan.target);
  const lines: string[] = [];
  const where = image.kind === "bake" ? "the new image" : image.image.id;
  if (image.kind === "bake") lines.push(`bake ${image.name} with Packer: ${image.why}`);
  else
    lines.push(
      `${image.kind} ${image.image.id} (${image.image.name}): it ${image.why}${provenWhere(image.image.id, situation)}`,
    );
  if (!plan.rollOut) lines.push(`${name} runs ${where} already: nothing to roll out`);
  if (plan.pin)
    lines.push(
      `pin ${name} from ${state.template.written} to version ${state.template.version} of ${state.template.name}`,
    );
  if (plan.rollOut) {
    const type = wish.environment.instanceType;
    lines.push(
      `make a version of ${state.template.name} from ${state.template.version}: image ${state.template.imageId ?? "none"} → ${where}${type !== undefined && type !== state.template.instanceType ? `, instance type ${state.template.instanceType ?? "none"} → ${type}` : ""}`,
      `replace ${state.capacity.desired === 1 ? "the instance" : `${state.capacity.desired} instances`} of ${name} by an instance refresh (${wish.environment.rollout.strategy}: ${describePreferences(preferences)}), ${estimate(state, preferences.MinHealthyPercentage ?? 90, preferences.MaxHealthyPercentage ?? 100)}`,
    );
  }
  if (plan.record) {
    lines.push(
      `record it as ${formatReleaseTag(plan.tag)} on commit ${wish.commit.slice(0, 12)}${ledger.newest === undefined ? ", the first release here" : `, after ${formatReleaseTag(ledger.newest.tag)}`}`,
    );
  } else {
    lines.push(
      `${ledger.newest === undefined ? "" : formatReleaseTag(ledger.newest.tag)} records it already: nothing to do`,
    );
  }
  return lines;
}

/** Where the image has been released already, by the newest records. */
function provenWhere(id: ImageId, { elsewhere }: Situation): string {
  const releases = elsewhere.filter((record) => Object.values(record.images).includes(id));
  if (releases.length === 0) return "";
  return `, released as ${releases.map((record) => formatReleaseTag(record.tag)).join(", ")}`;
}

/** The API's own names and values, less what is a matter of course. */
function describePreferences(preferences: RefreshPreferences): string {
  return Object.entries(preferences)
    .map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}
