import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { isPassing } from "../aws/errors.ts";
import { type Target, targetName } from "../domain/application.ts";
import { RolloutError } from "../domain/errors.ts";
import type { RolloutTools } from "./follow.ts";
import type { ReleaseVersions } from "./launch-template.ts";
import { observeInstances, runsVersion, type TargetInstance, type TargetState } from "./target-state.ts";

/** Looks at the group until it agrees: what is described may lag behind what just happened. */
const VERIFY_TRIES = 4;
/** Milliseconds. */
const VERIFY_PAUSE = 5000;
/** Milliseconds that a group is given to have an instance in service again, such as after its only one was terminated. */
const EMPTY_PATIENCE = 5 * 60_000;

/** What every instance in service must be on. */
export interface Expected {
  readonly versions: Pick<ReleaseVersions, "all" | "base">;
  readonly imageId: string;
  readonly preferences: Pick<RefreshPreferences, "ScaleInProtectedInstances">;
}

/** What the instances in service were seen to run. */
export type Verification =
  | {
      readonly kind: "verified";
      /** The instances in service that run the release. */
      readonly instances: readonly TargetInstance[];
      /** How many instances are in service, with those that the rollout leaves alone. */
      readonly of: number;
    }
  | { readonly kind: "failed"; readonly why: string };

/** Somebody changed the group while it was rolled out: reverting would undo their change. */
export class GroupChangedError extends RolloutError {}

/** Whether a rollout leaves an instance alone, as the user wants it. */
export function leftAlone(preferences: Pick<RefreshPreferences, "ScaleInProtectedInstances">) {
  return (instance: TargetInstance): boolean =>
    preferences.ScaleInProtectedInstances === "Ignore" && instance.protectedFromScaleIn;
}

/** The instances in service, and those of them that are not as they should be. */
interface Looked {
  /** The version that the group launches from, as the group has it. */
  readonly saved: string | undefined;
  readonly desired: number;
  readonly serving: readonly TargetInstance[];
  readonly others: readonly TargetInstance[];
}

/**
 * Looks at a group until all instances in service are as they should be, for as long as an answer may lag. If none is in
 * service although the group wants some, it looks for up to five minutes.
 * @throws RemoteError if the group cannot be read, also after looking again
 */
export async function lookUntil(
  tools: RolloutTools,
  target: Target,
  isRight: (instance: TargetInstance) => boolean,
  wanted?: string,
): Promise<Looked> {
  const { clock } = tools;
  const deadline = clock.now().getTime() + EMPTY_PATIENCE;
  for (let tries = 1; ; tries += 1) {
    const isLast = tries >= VERIFY_TRIES;
    try {
      const { version: saved, desired, inService: serving } = await observeInstances(tools.clients, target);
      const others = serving.filter((instance) => !isRight(instance));
      const isEmpty = serving.length === 0 && desired > 0;
      const agrees = others.length === 0 && !isEmpty && (wanted === undefined || saved === wanted);
      const isOver = isEmpty ? clock.now().getTime() >= deadline : isLast;
      if (agrees || isOver) return { saved, desired, serving, others };
    } catch (error) {
      if (isLast || !isPassing(error)) throw error;
    }
    await clock.sleep(tools.polling.interval ?? VERIFY_PAUSE, tools.signal);
  }
}

/**
 * Checks that every instance in service launches from the release's versions. A group that wants no instance is verified
 * with none, with a warning.
 * @returns why not, if some do not, if none is in service although the group wants some, or if the group cannot be read
 * @throws GroupChangedError if the group launches from something else: somebody changed it
 */
export async function verify(
  tools: RolloutTools,
  { target }: TargetState,
  { versions, imageId, preferences }: Expected,
): Promise<Verification> {
  const ignored = leftAlone(preferences);
  const runs = (instance: TargetInstance): boolean => runsVersion(instance, versions.all, imageId);
  const isRight = (instance: TargetInstance): boolean => runs(instance) || ignored(instance);
  const { base } = versions;
  let looked: Looked;
  try {
    looked = await lookUntil(tools, target, isRight, base.version);
  } catch (error) {
    tools.signal.throwIfAborted();
    const said = error instanceof Error ? error.message : String(error);
    return { kind: "failed", why: `the instances in service could not be verified: ${said}` };
  }
  const { saved, desired, serving, others } = looked;
  if (saved !== base.version) throw groupChanged(target, looked, base);
  if (others.length > 0) {
    return {
      kind: "failed",
      why: `the refresh succeeded, but ${others.length} of ${serving.length} instances in service do not run it: ${others.map(versionOf).join(", ")}`,
    };
  }
  if (serving.length === 0 && desired > 0) {
    return {
      kind: "failed",
      why: `no instance is in service, although the group wants ${desired}: nothing could be verified`,
    };
  }
  warn(
    tools,
    target,
    serving,
    serving.filter((instance) => ignored(instance) && !runs(instance)),
  );
  return { kind: "verified", instances: serving.filter(runs), of: serving.length };
}

function groupChanged(
  target: Target,
  { saved, serving, others }: Looked,
  base: ReleaseVersions["base"],
): GroupChangedError {
  return new GroupChangedError(
    `${targetName(target)}: the refresh succeeded, but the group was changed since: it launches from version ${saved ?? "none"} of ${base.name}, not ${base.version}`,
    {
      rolledBack: false,
      state: `${others.length} of ${serving.length} instances in service do not run the release: ${others.map(versionOf).join(", ") || "none"}. Nothing was reverted, so that nobody's change is undone. Nothing was recorded.`,
      next: "Find out who changed the group, then run the job again.",
    },
  );
}

const versionOf = ({ id, templateVersion }: TargetInstance): string =>
  `${id} on version ${templateVersion ?? "?"}`;

function warn(
  { log }: Pick<RolloutTools, "log">,
  target: Target,
  serving: readonly TargetInstance[],
  old: readonly TargetInstance[],
): void {
  if (old.length > 0) {
    log.warning(
      `${targetName(target)}: ${old.map(({ id }) => id).join(", ")}, protected from scale-in, still run the old image, as \`scale-in-protected: ignore\` says`,
    );
  }
  if (serving.length === 0) {
    log.warning(
      `${targetName(target)}: the group's desired capacity is 0: no instance could be verified or tested`,
    );
  }
}
