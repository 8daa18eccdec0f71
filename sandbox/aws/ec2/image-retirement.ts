/** How images go: deprecation, disabling, deregistration and the protection from it. */
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { snapshotsOf } from "./image-creation.ts";
import { snapshotDeletion } from "./policy-resources.ts";
import { ownImage } from "./images.ts";
import type { Image } from "./images.ts";
import { imageUsing } from "./snapshots.ts";
import type { Snapshot } from "./snapshots.ts";
import type { Ec2State } from "./state.ts";

const minute = 60_000;
const day = 24 * 60 * minute;

export function imageRetirementOperations(state: Ec2State): Operations {
  const target = (call: Call): Image => ownImage(state, call, call.query.required("ImageId"));
  return {
    DeregisterImage: (call) => deregister(state, call, target(call)),
    EnableImageDeprecation(call) {
      target(call).deprecatedAt = deprecationTime(state, call.query.required("DeprecateAt"));
      return { return: true };
    },
    DisableImageDeprecation(call) {
      target(call).deprecatedAt = undefined;
      return { return: true };
    },
    DisableImage(call) {
      const image = target(call);
      if (image.state !== "available") throw wrongState(image);
      image.state = "disabled";
      // EC2 user guide, Disable an AMI: launch permissions are removed, and do not come back.
      image.launchPermissions = [];
      return { return: true };
    },
    EnableImage(call) {
      const image = target(call);
      if (image.state !== "disabled") throw wrongState(image);
      image.state = "available";
      return { return: true };
    },
    EnableImageDeregistrationProtection(call) {
      const image = target(call);
      const withCooldown = call.query.boolean("WithCooldown") === true;
      image.protection = withCooldown ? "enabled-with-cooldown" : "enabled-without-cooldown";
      return { return: image.protection };
    },
    DisableImageDeregistrationProtection(call) {
      const image = target(call);
      // EC2 user guide, Deregistration protection: with a cooldown it holds for 24 hours more.
      if (image.protection === "enabled-with-cooldown") image.protectedUntil = state.clock.now() + day;
      image.protection = "disabled";
      return { return: image.protection };
    },
  };
}

/** EC2 API reference, EnableImageDeprecation: rounded to the minute, not in the past, at most 10 years ahead. */
function deprecationTime(state: Ec2State, text: string): number {
  const time = Date.parse(text);
  const now = state.clock.now();
  if (!(time >= now - minute && time <= now + 3653 * day)) {
    throw new AwsError("InvalidParameterValue", `Value (${text}) for parameter DeprecateAt is invalid.`);
  }
  return Math.round(time / minute) * minute;
}

function wrongState(image: Image): AwsError {
  const text = `The image ${image.id} is not in a valid state for this operation: ${image.state}`;
  return new AwsError("InvalidAMIID.Unavailable", text);
}

/** EC2 API reference, DeregisterImage. The code of a refusal for protection is not documented. */
function deregister(state: Ec2State, call: Call, image: Image): Record<string, unknown> {
  if (image.protection !== "disabled" || (image.protectedUntil ?? 0) > state.clock.now()) {
    const text = `The image ${image.id} is protected from deregistration`;
    throw new AwsError("OperationNotPermitted", text);
  }
  image.state = "deregistered";
  image.deregisteredAt = state.clock.now();
  if (call.query.boolean("DeleteAssociatedSnapshots") !== true) return { return: true };
  const item = snapshotsOf(state, image).map((snapshot) => deleteSnapshot(state, call, snapshot));
  return { return: true, deleteSnapshotResultSet: { item } };
}

/** A snapshot that another image uses is skipped, and one that the caller may not delete is left; the answer says so. */
function deleteSnapshot(
  state: Ec2State,
  call: Call,
  snapshot: Snapshot,
): { snapshotId: string; returnCode: string } {
  if (call.permits?.(snapshotDeletion(call, snapshot)) === false) {
    return { snapshotId: snapshot.id, returnCode: "missing-permissions" };
  }
  if (imageUsing(state, snapshot.id) !== undefined) {
    return { snapshotId: snapshot.id, returnCode: "skipped" };
  }
  state.resources.delete(snapshot.id);
  return { snapshotId: snapshot.id, returnCode: "success" };
}
