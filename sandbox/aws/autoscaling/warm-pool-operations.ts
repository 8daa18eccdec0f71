import { AwsError } from "../query.ts";
import { groupName, integer, invalid, oneOf } from "./constraints.ts";
import { activeRefresh } from "./group.ts";
import { memberOnWire, warmPoolOnWire } from "./group-wire.ts";
import { isLeaving } from "./member.ts";
import { pageOf } from "./paging.ts";
import { requireGroup } from "./service.ts";
import { usesImageAlias } from "./target.ts";
import { terminateMember } from "./termination.ts";
import { warmPoolOf } from "./warm-pool.ts";
import type { Call, Operations, Query } from "../query.ts";
import type { Group } from "./group.ts";
import type { Service } from "./service.ts";
import type { Timeline } from "./timeline.ts";
import type { WarmPool } from "./warm-pool.ts";

export function warmPoolOperations(service: Service, timeline: Timeline): Operations {
  const find = (call: Call): Group => requireGroup(service, call, groupName(call.query));
  return {
    PutWarmPool: (call) => {
      const group = find(call);
      checkWarmPool(service, group);
      group.warmPool = readWarmPool(call.query, group.warmPool);
      timeline.settle(group);
      return {};
    },
    DescribeWarmPool: (call) => {
      const group = find(call);
      const page = pageOf(call.query, group.warm, { usual: 50, most: 50 });
      return {
        WarmPoolConfiguration: warmPoolOnWire(group.warmPool),
        Instances: { member: page.items.map(memberOnWire) },
        NextToken: page.nextToken,
      };
    },
    DeleteWarmPool: (call) => {
      const now = service.clock.now();
      const group = find(call);
      if (group.warmPool === undefined)
        throw invalid(`No warm pool found for Auto Scaling group ${group.name}.`);
      if (activeRefresh(group) !== undefined)
        throw new AwsError("ScalingActivityInProgress", "An instance refresh of the group is active.");
      group.warmPool = { ...group.warmPool, deleting: true };
      for (const member of group.warm.filter((one) => !isLeaving(one)))
        terminateMember(service, group, member, now, "the deletion of its warm pool");
      timeline.settle(group);
      return {};
    },
  };
}

/**
 * User guide, Use AWS Systems Manager parameters: not with an alias in the template; Replace root volumes: not while a
 * refresh replaces root volumes.
 */
function checkWarmPool(service: Service, group: Group): void {
  if (usesImageAlias(service, group.place, group.configuration))
    throw invalid(
      "You can't add a warm pool to an Auto Scaling group that has a launch template with an SSM parameter instead of an AMI ID.",
    );
  if (activeRefresh(group)?.strategy === "ReplaceRootVolume")
    throw invalid(
      "You can't add a warm pool while an instance refresh with the ReplaceRootVolume strategy is active.",
    );
}

/** Ranges of the API reference, PutWarmPool; what is absent stays as it was, -1 takes the prepared capacity away. */
function readWarmPool(query: Query, known: WarmPool | undefined): WarmPool {
  const prepared = integer(query, "MaxGroupPreparedCapacity", -1, 10_000) ?? known?.maxGroupPreparedCapacity;
  const minSize = integer(query, "MinSize", 0, 10_000) ?? known?.minSize;
  const poolState = oneOf(query, "PoolState", ["Stopped", "Running", "Hibernated"]) ?? known?.poolState;
  const reuse = query.boolean("InstanceReusePolicy.ReuseOnScaleIn") ?? known?.reuseOnScaleIn;
  return warmPoolOf({
    ...(prepared === undefined || prepared === -1 ? {} : { maxGroupPreparedCapacity: prepared }),
    ...(minSize === undefined ? {} : { minSize }),
    ...(poolState === undefined ? {} : { poolState }),
    ...(reuse === undefined ? {} : { reuseOnScaleIn: reuse }),
  });
}
