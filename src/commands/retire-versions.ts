import { deleteOldVersions } from "../rollout/template-retention.ts";
import type { ReleasedTarget } from "./carry-out.ts";
import type { Settled } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";

/**
 * Deletes template versions of ours that nothing needs any more, long before AWS's limit is reached. The release stands
 * whatever comes of it.
 */
export async function retireVersions(
  { situation, plan }: Settled,
  versions: readonly ReleasedTarget[],
  { environment }: ReleaseOrder,
  ports: Ports,
): Promise<void> {
  const records = [...situation.ledger.records, ...situation.elsewhere];
  await Promise.all(
    plan.targets.map(async ({ target, rollOut, state }, index) => {
      const version = versions[index]?.version;
      if (!rollOut || version === undefined) return;
      const needed = new Set([
        version.version,
        state.template.version,
        ...records.flatMap((record) =>
          record.targets.flatMap((entry) => (entry.launchTemplate === version.id ? [entry.version] : [])),
        ),
        ...state.instances.flatMap(({ templateVersion }) => templateVersion ?? []),
      ]);
      try {
        const clients = ports.awsOf(environment);
        const [ec2, autoScaling] = await Promise.all([
          clients.ec2(target.region),
          clients.autoScaling(target.region),
        ]);
        const gone = await deleteOldVersions({ ec2, autoScaling }, version, needed);
        if (gone.length > 0) ports.log.info(`Deleted old versions of ${version.name}: ${gone.join(", ")}`);
      } catch (error) {
        ports.log.notice(
          `Old versions of ${version.name} could not be deleted: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }),
  );
}
