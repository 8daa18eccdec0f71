import { AwsError } from "../query.ts";
import { groupName } from "./constraints.ts";
import { activeRefresh } from "./group.ts";
import { pageOf } from "./paging.ts";
import { endRefresh, refreshOnWire } from "./refresh.ts";
import { requestRollback } from "./refresh-rollback.ts";
import { startRefresh } from "./refresh-start.ts";
import { announce, requireGroup } from "./service.ts";
import type { Call, Operations } from "../query.ts";
import type { Group } from "./group.ts";
import type { AutoScalingOptions } from "./options.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";

export function refreshOperations(service: Service, timeline: Timeline): Operations {
  const find = (call: Call): Group => requireGroup(service, call, groupName(call.query));
  return {
    StartInstanceRefresh: (call) => {
      const now = service.clock.now();
      const group = find(call);
      const refresh = startRefresh(service, group, call.query, now);
      timeline.settle(group);
      return { InstanceRefreshId: refresh.id };
    },
    DescribeInstanceRefreshes: (call) => {
      const group = find(call);
      const ids = call.query.strings("InstanceRefreshIds");
      const wanted = refreshesInOrder(group.refreshes, service.options.describeOrder).filter(
        (refresh) => ids.length === 0 || ids.includes(refresh.id),
      );
      const page = pageOf(call.query, wanted, { usual: 50, most: 100 });
      return {
        InstanceRefreshes: { member: page.items.map((refresh) => refreshOnWire(group.name, refresh)) },
        NextToken: page.nextToken,
      };
    },
    CancelInstanceRefresh: (call) => {
      const now = service.clock.now();
      const group = find(call);
      const refresh = requireActive(group);
      if (call.query.boolean("WaitForTransitioningInstances") ?? true) refresh.status = "Cancelling";
      else {
        endRefresh(refresh, now, "Cancelled", refresh.statusReason);
        announce(service, group, refresh, "Cancelled");
      }
      timeline.settle(group);
      return { InstanceRefreshId: refresh.id };
    },
    RollbackInstanceRefresh: (call) => {
      const now = service.clock.now();
      const group = find(call);
      const refresh = requireActive(group);
      requestRollback(service, group, refresh, now);
      timeline.settle(group);
      return { InstanceRefreshId: refresh.id };
    },
  };
}

function requireActive(group: Group): InstanceRefresh {
  const refresh = activeRefresh(group);
  if (refresh === undefined) {
    throw new AwsError(
      "ActiveInstanceRefreshNotFound",
      `No in progress or pending Instance Refresh found for Auto Scaling group ${group.name}`,
    );
  }
  return refresh;
}

function refreshesInOrder(
  refreshes: readonly InstanceRefresh[],
  order: AutoScalingOptions["describeOrder"],
): InstanceRefresh[] {
  const newestFirst = refreshes.toReversed();
  if (order === "creation") return newestFirst;
  const rank = (refresh: InstanceRefresh) =>
    refresh.endTime === undefined && refresh.startTime !== undefined ? Infinity : (refresh.startTime ?? 0);
  return newestFirst.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(b) - rank(a)));
}
