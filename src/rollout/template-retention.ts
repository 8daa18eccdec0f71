import {
  DeleteLaunchTemplateVersionsCommand,
  DescribeLaunchTemplateVersionsCommand,
  type EC2Client,
} from "@aws-sdk/client-ec2";
import { DESCRIPTION_PREFIX, type TemplateVersion } from "./launch-template.ts";

/**
 * Versions of a template below the newest that are left alone whoever made them: AWS takes 10,000 a template (EC2 user
 * guide: launch template restrictions), and nothing tells whether some group elsewhere is pinned to one.
 */
export const VERSIONS_KEPT = 200;

/** The most that one request deletes (API reference, DeleteLaunchTemplateVersions). */
const PAGE = 200;

/**
 * Deletes versions that Kiln made, that lie far below the newest, and that nothing known needs. At most two requests,
 * whatever the number of versions: what one release leaves, the next ones delete. AWS itself refuses the default version.
 * @param needed versions that records name or that instances run
 * @returns the numbers that are gone
 */
export async function deleteOldVersions(
  ec2: EC2Client,
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
  const { SuccessfullyDeletedLaunchTemplateVersions } = await ec2.send(
    new DeleteLaunchTemplateVersionsCommand({ LaunchTemplateId: newest.id, Versions: old.slice(0, PAGE) }),
  );
  return (SuccessfullyDeletedLaunchTemplateVersions ?? []).map(({ VersionNumber }) => String(VersionNumber));
}
