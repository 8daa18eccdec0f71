import {
  type AutoScalingClient,
  type AutoScalingGroup,
  DescribeAutoScalingGroupsCommand,
  type LaunchTemplateSpecification,
} from "@aws-sdk/client-auto-scaling";
import {
  DeleteLaunchTemplateVersionsCommand,
  DescribeLaunchTemplateVersionsCommand,
  type EC2Client,
} from "@aws-sdk/client-ec2";
import { pagesOf } from "../aws/pages.ts";
import { DESCRIPTION_PREFIX, type TemplateVersion } from "./launch-template.ts";

/**
 * Versions of a template below the newest that are left alone whoever made them: AWS takes 10,000 a template (EC2 user
 * guide: launch template restrictions), and what launches from one otherwise than by a group is not known.
 */
export const VERSIONS_KEPT = 200;

/** The most that one request deletes (API reference, DeleteLaunchTemplateVersions). */
const PAGE = 200;

/**
 * Deletes versions that Kiln made, that lie far below the newest, and that nothing known needs: no record, and no group of
 * the account in the region, nor an instance of one. Two requests, whatever the number of versions, and one for each
 * hundred groups: what one release leaves, the next ones delete. AWS itself refuses the default version.
 * @param needed versions that records name or that instances run
 * @returns the numbers that are gone
 */
export async function deleteOldVersions(
  { ec2, autoScaling }: { readonly ec2: EC2Client; readonly autoScaling: AutoScalingClient },
  newest: TemplateVersion,
  needed: ReadonlySet<string>,
): Promise<readonly string[]> {
  const highest = Number(newest.version) - VERSIONS_KEPT;
  if (highest < 1) return [];
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({
      LaunchTemplateId: newest.id,
      MaxVersion: String(highest),
      MaxResults: PAGE,
    }),
  );
  const old = (LaunchTemplateVersions ?? []).flatMap(
    ({ VersionNumber, VersionDescription, DefaultVersion }) =>
      VersionNumber !== undefined &&
      VersionNumber <= highest &&
      VersionDescription?.startsWith(DESCRIPTION_PREFIX) === true &&
      DefaultVersion !== true &&
      !needed.has(String(VersionNumber))
        ? [String(VersionNumber)]
        : [],
  );
  if (old.length === 0) return [];
  const used = await versionsInGroups(autoScaling, newest);
  const unused = old.filter((version) => !used.has(version));
  if (unused.length === 0) return [];
  const { SuccessfullyDeletedLaunchTemplateVersions } = await ec2.send(
    new DeleteLaunchTemplateVersionsCommand({ LaunchTemplateId: newest.id, Versions: unused.slice(0, PAGE) }),
  );
  return (SuccessfullyDeletedLaunchTemplateVersions ?? []).map(({ VersionNumber }) => String(VersionNumber));
}

/** Groups that one request shows (API reference, DescribeAutoScalingGroups, MaxRecords). */
const GROUPS_PAGE = 100;

/** The versions of a template that any group of the account in the region, or an instance of one, is on. */
async function versionsInGroups(
  autoScaling: AutoScalingClient,
  { id, name }: Pick<TemplateVersion, "id" | "name">,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const pages = pagesOf("DescribeAutoScalingGroups", (next) =>
    autoScaling.send(new DescribeAutoScalingGroupsCommand({ MaxRecords: GROUPS_PAGE, ...next })),
  );
  for await (const { AutoScalingGroups } of pages)
    for (const specification of (AutoScalingGroups ?? []).flatMap(specificationsOf)) {
      const { LaunchTemplateId, LaunchTemplateName, Version } = specification;
      if (Version !== undefined && (LaunchTemplateId === id || LaunchTemplateName === name))
        found.add(Version);
    }
  return found;
}

/** Every launch template that a group names, for itself, for its overrides, and as what its instances were launched from. */
function specificationsOf(group: AutoScalingGroup): readonly LaunchTemplateSpecification[] {
  const policy = group.MixedInstancesPolicy?.LaunchTemplate;
  return [
    group.LaunchTemplate ?? [],
    policy?.LaunchTemplateSpecification ?? [],
    (policy?.Overrides ?? []).flatMap((override) => override.LaunchTemplateSpecification ?? []),
    (group.Instances ?? []).flatMap((instance) => instance.LaunchTemplate ?? []),
  ].flat();
}
