import type { InstanceRefresh, RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { targetName } from "../domain/application.ts";
import { RolloutError, TakenOverError } from "../domain/errors.ts";
import { followRefresh, type RolloutTools, stopIfTakenOver } from "./follow.ts";
import { savedConfiguration } from "./launch-template.ts";
import { Pace } from "./pace.ts";
import {
  activeRefresh,
  cancelRefresh,
  describeRefresh,
  isFor,
  recentRefreshes,
  rollBackRefresh,
  startRefresh,
  whatItBrings,
} from "./refresh.ts";
import type { TargetRollout } from "./rollout.ts";
import {
  launchedImages,
  observeInstances,
  runsVersion,
  type TargetInstance,
  type TargetState,
  templatesOf,
  instanceCount,
} from "./target-state.ts";
import { leftAlone as mayStay, lookUntil } from "./verify.ts";

/**
 * Brings a target back to what it launched from before the release, where AWS cannot (any more): a refresh of our own to
 * the saved versions that skips what matches, so that instances which were never replaced stay, and without an alarm
 * gate, since an alarm that is red already would refuse it (user guide: skip matching; undo changes with a rollback).
 * @throws RolloutError, the worst case with every instance named, where that fails too
 */
export async function goBack(tools: RolloutTools, rollout: TargetRollout, why: string): Promise<void> {
  const { state } = rollout;
  const { target, template } = state;
  const name = targetName(target);
  tools.log.warning(
    `${name}: ${why}. AWS cannot undo that, so Kiln goes back itself: a refresh to version ${template.version} of ${template.name}`,
  );
  try {
    const id = await startBack(tools, rollout, why);
    tools.log.info(`${name}: instance refresh ${id} to the way back started`);
    const pace = new Pace({
      capacity: instanceCount(state),
      warmup: rollout.pace.warmup,
      preferences: preferencesBack(rollout.preferences),
      image: `${template.imageId ?? "the image before"} again`,
    });
    const { verdict } = await followRefresh(tools, { target, id, pace, isWayBack: true });
    if (verdict.kind === "rollback-failed") throw new Error(verdict.why);
    if (verdict.kind !== "succeeded")
      throw new Error(`the refresh back ended ${verdict.kind}: ${verdict.why}`);
    await verifyBack(tools, rollout);
    tools.log.info(`${name}: back on version ${template.version} of ${template.name}`);
  } catch (error) {
    if (tools.signal.aborted || error instanceof TakenOverError || error instanceof LeftAloneError)
      throw error;
    throw await worstCase(tools, state, why, error instanceof Error ? error.message : String(error));
  }
}

/** Somebody else has refreshed the target since this release did: it is theirs now, and is not taken back. */
class LeftAloneError extends RolloutError {}

/**
 * Starts the refresh back to what the target launched from before the release, without waiting for it.
 * @param why why the release must not stand
 * @throws TakenOverError if another run has taken over
 * @throws RolloutError if somebody else has refreshed the target since: nothing of theirs is undone
 */
export async function startBack(
  tools: Pick<RolloutTools, "clients" | "clock" | "signal" | "confirmTurn">,
  rollout: TargetRollout,
  why: string,
): Promise<string> {
  const { state, preferences } = rollout;
  const { target } = state;
  await stopIfTakenOver(tools, `The release failed (${why}), and ${targetName(target)} was not rolled back.`);
  const [newest] = await recentRefreshes(tools.clients, target);
  if (newest !== undefined && !isOwn(newest, rollout)) throw await leftAlone(tools, rollout, newest, why);
  // Always by replacing instances: saved overrides may have no image, which replacing root volumes needs.
  const { id } = await startRefresh(tools, {
    target,
    configuration: savedConfiguration(state),
    preferences: preferencesBack(preferences),
  });
  rollout.onStarted(id);
  return id;
}

/** Whether this run started or adopted a refresh, or may have without getting AWS's answer. */
function isOwn(refresh: InstanceRefresh, rollout: TargetRollout): boolean {
  const own = rollout.refreshes();
  if (own.length === 0) return true;
  return own.includes(refresh.InstanceRefreshId ?? "") || isFor(refresh, rollout.configuration);
}

async function leftAlone(
  { clients }: Pick<RolloutTools, "clients">,
  { state: { target } }: TargetRollout,
  newest: InstanceRefresh,
  why: string,
): Promise<LeftAloneError> {
  return new LeftAloneError(
    `${targetName(target)}: the release failed (${why}), and another instance refresh has changed the group since: ${describeRefresh(newest)}${await whatItBrings(clients, target, newest)}`,
    {
      rolledBack: false,
      state: "This run did not start that refresh and leaves it alone. Nothing was recorded.",
      next: "Let that refresh end. Then deploy a release that works, or run `command: rollback`.",
    },
  );
}

/** The same pace, but nothing that could stop the way back half-way: no alarms, no checkpoints, no baking. */
function preferencesBack(preferences: RefreshPreferences): RefreshPreferences {
  const { MinHealthyPercentage, MaxHealthyPercentage, InstanceWarmup } = preferences;
  const { ScaleInProtectedInstances, StandbyInstances } = preferences;
  return {
    MinHealthyPercentage,
    MaxHealthyPercentage,
    ...(InstanceWarmup === undefined ? {} : { InstanceWarmup }),
    ScaleInProtectedInstances,
    StandbyInstances,
    SkipMatching: true,
    AutoRollback: false,
  };
}

async function verifyBack(tools: RolloutTools, { state, preferences }: TargetRollout): Promise<void> {
  const images = launchedImages(state);
  const ignored = mayStay(preferences);
  const isBack = (instance: TargetInstance): boolean =>
    ignored(instance) ||
    images.some((image) => runsVersion(instance, templatesOf(state), image ?? "no image"));
  const { others } = await lookUntil(tools, state.target, isBack);
  if (others.length > 0) throw new Error(`${others.map(({ id }) => id).join(", ")} did not go back`);
}

/**
 * Undoes what a release did to a target, wherever it stands: AWS rolls the refresh back while it runs; a target that had
 * finished is refreshed back. Returns false where nothing had been done to it.
 */
export async function takeBack(tools: RolloutTools, rollout: TargetRollout, why: string): Promise<boolean> {
  const { state } = rollout;
  const { target } = state;
  const active = await activeRefresh(tools.clients, target);
  if (active?.InstanceRefreshId !== undefined && isTheReleases(active, rollout)) {
    const id = active.InstanceRefreshId;
    tools.log.warning(`${targetName(target)}: ${why}; rolling back`);
    // AWS may be at it already, for this target's own reasons.
    if (active.Status !== "Cancelling" && (await rollBackRefresh(tools.clients, target, id)) === "impossible")
      await cancelRefresh(tools.clients, target, id);
    const pace = new Pace(rollout.pace);
    const { verdict } = await followRefresh(tools, { target, id, pace, isWayBack: true });
    if (verdict.kind === "rolled-back") return true;
    if (verdict.kind === "rollback-failed") throw await worstCase(tools, state, why, verdict.why);
    await goBack(tools, rollout, why);
    return true;
  }
  const { version, inService } = await observeInstances(tools.clients, target);
  const { versions, imageId } = rollout;
  const touched =
    version === versions.base.version ||
    inService.some((instance) => runsVersion(instance, versions.all, imageId));
  if (touched) await goBack(tools, rollout, why);
  return touched;
}

/** Whether a refresh is the one that this run started or adopted; by what it brings, if AWS's answer was lost. */
function isTheReleases(refresh: InstanceRefresh, rollout: TargetRollout): boolean {
  const own = rollout.refreshes();
  if (own.length === 0) return isFor(refresh, rollout.configuration);
  return own.includes(refresh.InstanceRefreshId ?? "");
}

/** The worst case: the release failed and so did the way back. What runs where, instance by instance. */
export async function worstCase(
  tools: RolloutTools,
  state: TargetState,
  why: string,
  whyNotBack: string,
): Promise<RolloutError> {
  const { target, template } = state;
  const now = await observeInstances(tools.clients, target).catch(() => undefined);
  const instances = (now?.all ?? []).map(
    (instance) =>
      `- ${instance.id}: version ${instance.templateVersion ?? "?"}${instance.imageId === undefined ? "" : ` with ${instance.imageId}`}, ${instance.lifecycleState}, ${instance.healthy ? "healthy" : "unhealthy"}`,
  );
  return new RolloutError(
    `${targetName(target)}: the release failed and could not be rolled back: ${whyNotBack}`,
    {
      rolledBack: false,
      state: [
        `The release failed because: ${why}.`,
        now === undefined
          ? "The group could not be read."
          : `New instances are launched from version ${now.version ?? "?"} of ${template.name}; before the release it was ${template.version} (${template.imageId ?? "no image"}). Its instances:`,
        ...instances,
        "Nothing was recorded.",
      ].join("\n"),
      next: `See that version ${template.version} of ${template.name} can be launched (its image, key, subnets, quota), then run \`command: rollback\`, or deploy a release that works.`,
    },
  );
}
