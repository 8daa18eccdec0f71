import type { RefreshPreferences } from "@aws-sdk/client-auto-scaling";
import { type Target, targetName } from "../domain/application.ts";
import { RolloutError } from "../domain/errors.ts";
import type { RolloutTools } from "./follow.ts";
import type { ReleaseVersions } from "./launch-template.ts";
import { observeInstances, runsVersion, type TargetInstance, type TargetState } from "./target-state.ts";

/** Looks at the group until it agrees: what is described may lag behind what just happened. */
const VERIFY_TRIES = 4;
/** Milliseconds. */
const VERIFY_PAUSE = 5000;

/** What every instance in service must be on. */
export interface Expected {
  readonly versions: Pick<ReleaseVersions, "all" | "base">;
  readonly imageId: string;
  readonly preferences: Pick<RefreshPreferences, "ScaleInProtectedInstances">;
}

/** Whether a rollout leaves an instance alone, as the user wants it. */
export function leftAlone(preferences: Pick<RefreshPreferences, "ScaleInProtectedInstances">) {
  return (instance: TargetInstance): boolean =>
    preferences.ScaleInProtectedInstances === "Ignore" && instance.protectedFromScaleIn;
}

/** The instances in service, and those of them that are not as they should be. */
interface Looked {
  /** The version that the group launches from, as it is written there. */
  readonly saved: string | undefined;
  readonly serving: readonly TargetInstance[];
  readonly others: readonly TargetInstance[];
}

/** Looks at a group until all instances in service are as they should be, or for as long as an answer may lag. */
export async function lookUntil(
  tools: RolloutTools,
  target: Target,
  isRight: (instance: TargetInstance) => boolean,
  wanted?: string,
): Promise<Looked> {
  for (let tries = 1; ; tries += 1) {
    const { version: saved, inService: serving } = await observeInstances(tools.clients, target);
    const others = serving.filter((instance) => !isRight(instance));
    const agrees = others.length === 0 && (wanted === undefined || saved === wanted);
    if (agrees || tries >= VERIFY_TRIES) return { saved, serving, others };
    await tools.clock.sleep(tools.polling.interval ?? VERIFY_PAUSE, tools.signal);
  }
}

/**
 * Sees that every instance in service launches from the release's versions. Returns the instances that do.
 * @throws RolloutError where some do not, or the group launches from something else
 */
export async function verify(
  tools: RolloutTools,
  { target }: TargetState,
  { versions, imageId, preferences }: Expected,
): Promise<readonly TargetInstance[]> {
  const ignored = leftAlone(preferences);
  const runs = (instance: TargetInstance): boolean => runsVersion(instance, versions.all, imageId);
  const { base } = versions;
  const { saved, serving, others } = await lookUntil(
    tools,
    target,
    (instance) => runs(instance) || ignored(instance),
    base.version,
  );
  if (others.length > 0 || saved !== base.version) {
    throw new RolloutError(
      `${targetName(target)}: the refresh ended well, but ${others.length} of ${serving.length} instances in service do not run it`,
      {
        rolledBack: false,
        state: `The group launches from version ${saved ?? "none"} of ${base.name}, wanted ${base.version}. Elsewhere: ${others.map((instance) => `${instance.id} on version ${instance.templateVersion ?? "?"}`).join(", ") || "none"}. Nothing was recorded.`,
        next: "See who changed the group meanwhile, then run the job again.",
      },
    );
  }
  const old = serving.filter((instance) => ignored(instance) && !runs(instance));
  if (old.length > 0) {
    tools.log.warning(
      `${targetName(target)}: ${old.map(({ id }) => id).join(", ")}, protected from scale-in, still run the old image, as \`scale-in-protected: ignore\` says`,
    );
  }
  if (serving.length === 0) {
    tools.log.warning(`${targetName(target)}: no instance is in service: nothing was verified`);
  }
  return serving.filter(runs);
}
