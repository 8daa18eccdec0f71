import { AwsError } from "../query.ts";
import { templatesOf } from "./configuration.ts";
import { liveMembers } from "./group.ts";
import { endRefresh } from "./refresh.ts";
import { announce } from "./service.ts";
import { matcher, usesImageAlias } from "./target.ts";
import type { Place } from "../fleet.ts";
import type { Configuration } from "./configuration.ts";
import type { Group } from "./group.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";

/**
 * Why a configuration is nothing to roll back to. API reference, RollbackInstanceRefresh: not with a Parameter Store
 * alias instead of an AMI id, nor with `$Latest` or `$Default` as the version.
 */
export function irreversible(
  service: Service,
  place: Place,
  saved: Configuration,
): "version" | "image" | undefined {
  if (templatesOf(saved).some((template) => !/^\d+$/.test(template.version))) return "version";
  return usesImageAlias(service, place, saved) ? "image" : undefined;
}

export function isReversible(service: Service, group: Group, refresh: InstanceRefresh): boolean {
  return (
    refresh.desiredConfiguration !== undefined &&
    irreversible(service, group.place, refresh.savedConfiguration) === undefined
  );
}

/** RollbackInstanceRefresh, once the refresh is found. */
export function requestRollback(service: Service, group: Group, refresh: InstanceRefresh, now: number): void {
  const open = service.options.allowRollbackInBaking
    ? ["Pending", "InProgress", "Baking"]
    : ["Pending", "InProgress"];
  if (!open.includes(refresh.status)) {
    throw new AwsError(
      "IrreversibleInstanceRefresh",
      `The instance refresh cannot be rolled back while its status is ${refresh.status}.`,
    );
  }
  if (!isReversible(service, group, refresh)) {
    throw new AwsError(
      "IrreversibleInstanceRefresh",
      "The instance refresh cannot be rolled back: there is no desired configuration, or the launch template of the group has an SSM parameter instead of an AMI ID, or the $Latest or $Default version.",
    );
  }
  beginRollback(service, group, refresh, now, "Rollback requested by RollbackInstanceRefresh.");
}

export function beginRollback(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  now: number,
  reason: string,
): void {
  refresh.rollback = {
    reason,
    startTime: now,
    percentageComplete: refresh.percentageComplete ?? 0,
    instancesToUpdate: refresh.instancesToUpdate ?? 0,
    progress: refresh.progress,
  };
  refresh.startTime ??= now;
  refresh.percentageComplete ??= 0;
  refresh.instancesToUpdate = untouched(service, group, refresh);
  refresh.status = "RollbackInProgress";
  refresh.statusReason = reason;
  refresh.engine.stuckSince = undefined;
  refresh.engine.checkpointUntil = undefined;
  announce(service, group, refresh, "Rollback Started");
}

/** API reference, InstanceRefresh: InstancesToUpdate shows those that "don't need to be replaced as part of the rollback". */
function untouched(service: Service, group: Group, refresh: InstanceRefresh): number {
  const isNew = matcher(service, group.place, refresh.desiredConfiguration ?? {});
  return liveMembers(group).filter((member) => member.ordinal < refresh.ordinal && !isNew(member)).length;
}

export function endRollback(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  now: number,
  failure?: string,
): boolean {
  if (failure === undefined) refresh.percentageComplete = 0;
  endRefresh(refresh, now, failure === undefined ? "RollbackSuccessful" : "RollbackFailed", failure);
  announce(service, group, refresh, failure === undefined ? "Rollback Succeeded" : "Rollback Failed");
  return true;
}
