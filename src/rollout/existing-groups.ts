import { DescribeAutoScalingGroupsCommand } from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import { type Target, targetName } from "../domain/application.ts";

/** AWS takes this many names in one request (API reference, DescribeAutoScalingGroups, MaxRecords). */
const MOST_GROUPS = 100;

/** Those of some groups that exist, by region and name; one request for each region. */
export async function existingGroups(
  clients: AwsClients,
  targets: readonly Pick<Target, "region" | "autoScalingGroup">[],
): Promise<readonly string[]> {
  const byRegion = Map.groupBy(targets, ({ region }) => region);
  const found = await Promise.all(
    [...byRegion].map(async ([region, there]) => {
      const names = [...new Set(there.map(({ autoScalingGroup }) => autoScalingGroup))];
      const autoScaling = await clients.autoScaling(region);
      const { AutoScalingGroups = [] } = await autoScaling.send(
        new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: names.slice(0, MOST_GROUPS) }),
      );
      return AutoScalingGroups.flatMap(({ AutoScalingGroupName: autoScalingGroup }) =>
        autoScalingGroup !== undefined && names.includes(autoScalingGroup)
          ? [targetName({ region, autoScalingGroup })]
          : [],
      );
    }),
  );
  return found.flat();
}
