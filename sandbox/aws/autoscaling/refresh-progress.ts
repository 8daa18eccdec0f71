/** What a refresh, or the rollback of it, shows of its progress. User guide, Check the status of an instance refresh. */
import { instancesFor, percentage, share } from "./capacity.ts";
import { unitsOf, weightOf } from "./member.ts";
import { goalOf, warmingReason } from "./survey.ts";
import type { Group } from "./group.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";
import type { Survey } from "./survey.ts";
import type { WarmSurvey } from "./warm-refresh.ts";

/** Only healthy and warmed replacements count. */
export function publishProgress(
  service: Service,
  refresh: InstanceRefresh,
  seen: Survey,
  warm: WarmSurvey | undefined,
): void {
  const goal = goalOf(refresh);
  const missing = Math.max(0, share(goal, seen.counted) - seen.started);
  // API reference, InstanceRefresh: InstancesToUpdate is a number of instances, also where there are weights.
  const toUpdate = instancesFor(seen.remaining.map(weightOf), missing);
  const warmToUpdate = warm === undefined || goal < 100 ? 0 : Math.max(0, warm.size - warm.started);
  show(service, refresh, warm, {
    part: unitsOf(seen.updated),
    whole: seen.counted,
    warmPart: warm?.updated.length ?? 0,
    toUpdate,
    warmToUpdate,
  });
  refresh.statusReason = warmingReason(seen);
}

/** The percentage falls to 0 while the new instances go; InstancesToUpdate stays what it was at the start. */
export function publishRollback(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  seen: Survey,
  warm: WarmSurvey | undefined,
): void {
  const before = refresh.percentageComplete ?? 0;
  const { instancesToUpdate } = refresh;
  show(service, refresh, warm, {
    part: unitsOf(seen.victims) + unitsOf(seen.idle),
    whole: group.settings.desiredCapacity,
    warmPart: warm?.victims.length ?? 0,
    toUpdate: instancesToUpdate ?? 0,
    warmToUpdate: 0,
  });
  refresh.percentageComplete = Math.min(before, refresh.percentageComplete ?? 0);
  refresh.instancesToUpdate = instancesToUpdate;
  refresh.statusReason = warmingReason(seen);
}

interface Figures {
  readonly part: number;
  readonly whole: number;
  readonly warmPart: number;
  readonly toUpdate: number;
  readonly warmToUpdate: number;
}

/** API reference, InstanceRefresh: ProgressDetails only for groups with a warm pool, the rest covers both pools. */
function show(
  service: Service,
  refresh: InstanceRefresh,
  warm: WarmSurvey | undefined,
  { part, whole, warmPart, toUpdate, warmToUpdate }: Figures,
): void {
  const percent = (of: number, all: number) => percentage(of, all, service.options.pctRounding);
  const size = warm?.size ?? 0;
  refresh.percentageComplete = percent(part + warmPart, whole + size);
  refresh.instancesToUpdate = toUpdate + warmToUpdate;
  refresh.progress =
    warm === undefined
      ? undefined
      : {
          live: { percentageComplete: percent(part, whole), instancesToUpdate: toUpdate },
          warm: { percentageComplete: percent(warmPart, size), instancesToUpdate: warmToUpdate },
        };
}

/** What checkpoints go by: the live instances. */
export function livePercentage(refresh: InstanceRefresh): number {
  return refresh.progress?.live.percentageComplete ?? refresh.percentageComplete ?? 0;
}
