import {
  type DesiredConfiguration,
  DescribeScalingActivitiesCommand,
  type InstanceRefresh,
  type RefreshPreferences,
} from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import { type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { type KilnError, RolloutError } from "../domain/errors.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { configurationWith, type TemplateVersion } from "./launch-template.ts";
import {
  describeRefresh,
  foreignRefresh,
  type Polling,
  rollBackActive,
  startRefresh,
  watchRefresh,
} from "./refresh.ts";
import {
  inService,
  observeInstances,
  observeTarget,
  runsVersion,
  type TargetInstance,
  type TargetState,
} from "./target-state.ts";
import { type FinalVerdict, verdictOf } from "./verdict.ts";

export interface RolloutTools {
  readonly clients: AwsClients;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly polling: Polling;
  /** Milliseconds; the rollout is rolled back after it. */
  readonly timeout: number;
}

/** Waits until a refresh that is not ours has ended; it is never cancelled. */
export async function waitForForeign(
  tools: RolloutTools,
  target: Target,
  refresh: InstanceRefresh,
): Promise<void> {
  const id = refresh.InstanceRefreshId ?? "";
  const deadline = tools.clock.now().getTime() + tools.timeout;
  tools.log.notice(
    `${targetName(target)}: waiting for another instance refresh to end: ${describeRefresh(refresh)}`,
  );
  await watchRefresh(tools.clients, {
    target,
    id,
    polling: tools.polling,
    clock: tools.clock,
    signal: tools.signal,
    onLook: (look, changed) => {
      if (changed) tools.log.info(`${targetName(target)}: ${progressLine(look)}`);
      if (verdictOf(look).kind !== "pending") return true;
      if (tools.clock.now().getTime() > deadline) throw foreignRefresh(target, look);
      return false;
    },
  });
}

export interface RolledOut {
  readonly refreshId: string;
  readonly adopted: boolean;
  /** Milliseconds that the refresh took, from its own times. */
  readonly took: number;
  readonly verified: number;
}

/**
 * Rolls one target out to a template version and verifies it: the refresh with this id ended `Successful`, and every
 * instance in service launches from the version.
 * @param onStarted told the refresh's id as soon as there is one
 * @throws RolloutError where it failed or was rolled back, by AWS or because time ran out; whatever the signal aborted with
 */
export async function rollOut(
  tools: RolloutTools,
  state: TargetState,
  version: TemplateVersion,
  imageId: string,
  preferences: RefreshPreferences,
  onStarted: (refreshId: string) => void,
): Promise<RolledOut> {
  const { target } = state;
  const configuration = configurationWith(state, version);
  tools.signal.throwIfAborted();
  const started = await startRefresh(tools, target, configuration, preferences);
  onStarted(started.id);
  tools.log.info(
    `${targetName(target)}: instance refresh ${started.id} ${started.adopted ? "is already running and is taken up" : "started"}`,
  );
  const { refresh: ended, verdict } = await followRefresh(tools, target, started.id);
  if (verdict.kind !== "succeeded") throw await explain(tools, state, ended, verdict, configuration);
  const verified = await verify(tools, target, version, imageId, preferences);
  return {
    refreshId: started.id,
    adopted: started.adopted,
    took: (ended.EndTime?.getTime() ?? 0) - (ended.StartTime?.getTime() ?? 0),
    verified,
  };
}

/** Follows the refresh to its end; a line a change; rolls back when time runs out. */
export async function followRefresh(
  tools: RolloutTools,
  target: Target,
  id: string,
): Promise<{ readonly refresh: InstanceRefresh; readonly verdict: FinalVerdict }> {
  const deadline = tools.clock.now().getTime() + tools.timeout;
  let outOfTime = false;
  for (;;) {
    const look = await watchRefresh(tools.clients, {
      target,
      id,
      polling: tools.polling,
      clock: tools.clock,
      signal: tools.signal,
      onLook: (refresh, changed) => {
        if (changed) tools.log.info(`${targetName(target)}: ${progressLine(refresh)}`);
        if (verdictOf(refresh).kind !== "pending") return true;
        return !outOfTime && tools.clock.now().getTime() > deadline;
      },
    });
    const verdict = verdictOf(look);
    if (verdict.kind !== "pending") return { refresh: look, verdict };
    outOfTime = true;
    tools.log.warning(
      `${targetName(target)}: the timeout of ${formatDuration(tools.timeout)} has passed; rolling back`,
    );
    if ((await rollBackActive(tools.clients, target)) === "impossible") {
      throw new RolloutError(
        `${targetName(target)} did not finish within ${formatDuration(tools.timeout)}, and AWS cannot roll this refresh back`,
        {
          rolledBack: false,
          state: `The refresh ${id} goes on: ${describeRefresh(look)}. Nothing was recorded.`,
          next: "Watch it in the console, or run the job again with a longer `timeout`: it takes the refresh up.",
        },
      );
    }
  }
}

/** `60 %, 4 instances to go: Waiting for instances to warm up …`. AWS's reasons are shown, never parsed. */
export function progressLine(refresh: InstanceRefresh): string {
  const parts = [`${refresh.Status ?? "Pending"} ${refresh.PercentageComplete ?? 0} %`];
  if ((refresh.InstancesToUpdate ?? 0) > 0)
    parts.push(`${refresh.InstancesToUpdate ?? 0} still to be replaced`);
  if (refresh.StatusReason !== undefined) parts.push(refresh.StatusReason);
  return parts.join(", ");
}

/** Looks at the group until it agrees: what is described may lag behind what just happened. */
const VERIFY_TRIES = 4;
const VERIFY_PAUSE = 5000;

async function verify(
  tools: RolloutTools,
  target: Target,
  version: TemplateVersion,
  imageId: string,
  preferences: RefreshPreferences,
): Promise<number> {
  const leftAlone = (instance: TargetInstance): boolean =>
    preferences.ScaleInProtectedInstances === "Ignore" && instance.protectedFromScaleIn;
  const look = async () => {
    const { version: saved, inService: serving } = await observeInstances(tools.clients, target);
    const others = serving.filter(
      (instance) => !runsVersion(instance, version, imageId) && !leftAlone(instance),
    );
    return { saved, serving, others };
  };
  let { saved, serving, others } = await look();
  for (let tries = 1; tries < VERIFY_TRIES && (others.length > 0 || saved !== version.version); tries += 1) {
    await tools.clock.sleep(tools.polling.interval ?? VERIFY_PAUSE, tools.signal);
    ({ saved, serving, others } = await look());
  }
  if (others.length > 0 || saved !== version.version) {
    throw new RolloutError(
      `${targetName(target)}: the refresh ended well, but ${others.length} of ${serving.length} instances in service do not run it`,
      {
        rolledBack: false,
        state: `The group launches from version ${saved ?? "none"} of ${version.name}, wanted ${version.version}. Elsewhere: ${others.map((instance) => `${instance.id} on version ${instance.templateVersion ?? "?"}`).join(", ") || "none"}. Nothing was recorded.`,
        next: "See who changed the group meanwhile, then run the job again.",
      },
    );
  }
  const old = serving.filter((instance) => leftAlone(instance) && !runsVersion(instance, version, imageId));
  if (old.length > 0) {
    tools.log.warning(
      `${targetName(target)}: ${old.map(({ id }) => id).join(", ")}, protected from scale-in, still run the old image, as \`scale-in-protected: ignore\` says`,
    );
  }
  if (serving.length === 0) {
    tools.log.warning(`${targetName(target)}: no instance is in service: nothing was verified`);
  }
  return serving.length - old.length;
}

/** Scaling activities read for the reasons; AWS lists the newest first. */
const ACTIVITIES_READ = 50;

/** Why a refresh ended as it did: AWS's reason, and what the launches since then failed with. */
async function explain(
  tools: RolloutTools,
  state: TargetState,
  ended: InstanceRefresh,
  verdict: Exclude<FinalVerdict, { kind: "succeeded" }>,
  configuration: DesiredConfiguration,
): Promise<KilnError> {
  const { target } = state;
  const reasons = await failedActivities(tools, target, ended.StartTime).catch((error: unknown) => [
    `(the scaling activities could not be read: ${error instanceof Error ? error.message : String(error)})`,
  ]);
  const now = await observeTarget(tools.clients, target).catch(() => undefined);
  const wanted =
    configuration.LaunchTemplate ??
    configuration.MixedInstancesPolicy?.LaunchTemplate?.LaunchTemplateSpecification;
  const serving = now === undefined ? [] : inService(now);
  const onNew = serving.filter((instance) => instance.templateVersion === wanted?.Version).length;
  const rolledBack = verdict.kind === "rolled-back";
  return new RolloutError(
    `${targetName(target)}: the rollout ${rolledBack ? "was rolled back" : "failed"}: ${verdict.why}`,
    {
      rolledBack,
      state: [
        now === undefined
          ? "The group could not be read."
          : `The group launches from version ${now.template.version} of ${now.template.name} (${now.template.imageId ?? "no image"}); ${onNew} of ${serving.length} instances in service run the new version.`,
        "Nothing was recorded.",
        ...(reasons.length > 0
          ? ["Scaling activities that failed:", ...reasons.map((reason) => `- ${reason}`)]
          : []),
      ].join("\n"),
      next: rolledBack
        ? "The environment runs what it ran before. Correct the image and push again."
        : "Run the job again to go forward, or roll back to the recorded release; until then the group is mixed.",
    },
  );
}

async function failedActivities(
  tools: RolloutTools,
  target: Target,
  since: Date | undefined,
): Promise<string[]> {
  const autoScaling = await tools.clients.autoScaling(target.region);
  const { Activities } = await autoScaling.send(
    new DescribeScalingActivitiesCommand({
      AutoScalingGroupName: target.autoScalingGroup,
      MaxRecords: ACTIVITIES_READ,
    }),
  );
  const failed = (Activities ?? []).filter(
    (activity) =>
      activity.StatusCode === "Failed" && (since === undefined || (activity.StartTime ?? since) >= since),
  );
  const counts = new Map<string, number>();
  for (const activity of failed) {
    const message = activity.StatusMessage ?? activity.Description ?? "no message";
    counts.set(message, (counts.get(message) ?? 0) + 1);
  }
  return [...counts].map(([message, count]) => (count === 1 ? message : `${message} (${count} times)`));
}
