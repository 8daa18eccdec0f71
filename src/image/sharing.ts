import {
  DescribeImageAttributeCommand,
  type EC2Client,
  ModifyImageAttributeCommand,
  ModifySnapshotAttributeCommand,
} from "@aws-sdk/client-ec2";
import { untilKnown } from "../aws/new-ids.ts";
import { hasCode, KilnError } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";
import type { CatalogueImage } from "./catalogue.ts";

/**
 * Lets another account launch an image: the launch permission, and the permission on its snapshots, without which it
 * could not be copied there. Looks first; returns false where the account had it already (EC2 user guide: share an AMI
 * with specific accounts).
 * The image and its snapshots may have been made a moment ago: while EC2 does not know them everywhere, it is asked again.
 * @param account one that the config file names, never another
 * @throws KilnError where AWS does not take it: an image that is encrypted with AWS's own key cannot be shared
 */
export async function shareWith(
  ec2: EC2Client,
  image: CatalogueImage,
  account: string,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<boolean> {
  if (account === image.owner) return false;
  const known = <T>(request: () => Promise<T>): Promise<T> =>
    untilKnown(request, { clock, signal, of: ["image", "snapshot"] });
  const { LaunchPermissions } = await known(() =>
    ec2.send(new DescribeImageAttributeCommand({ ImageId: image.id, Attribute: "launchPermission" })),
  );
  if (LaunchPermissions?.some(({ UserId }) => UserId === account) === true) return false;
  try {
    // The snapshots first: an account that may launch the image already has all that it needs.
    await Promise.all(
      image.snapshots.map((snapshot) =>
        known(() =>
          ec2.send(
            new ModifySnapshotAttributeCommand({
              SnapshotId: snapshot,
              Attribute: "createVolumePermission",
              OperationType: "add",
              UserIds: [account],
            }),
          ),
        ),
      ),
    );
    await known(() =>
      ec2.send(
        new ModifyImageAttributeCommand({
          ImageId: image.id,
          LaunchPermission: { Add: [{ UserId: account }] },
        }),
      ),
    );
  } catch (cause) {
    // A denial says what to allow: the rest is about images that cannot be shared at all.
    if (signal.aborted || hasCode(cause, "UnauthorizedOperation", "AccessDenied")) throw cause;
    throw new KilnError(
      `${image.id} in ${image.region} could not be shared with account ${account}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        state: "Nothing was rolled out.",
        next: "If it is encrypted: AWS's own key (aws/ebs) cannot be shared. Encrypt with a key of yours in the template, let that account use the key in its key policy, and give its Auto Scaling service-linked role a grant.",
        cause,
      },
    );
  }
  return true;
}
