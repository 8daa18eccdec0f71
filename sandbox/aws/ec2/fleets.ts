/** CreateFleet of type `instant`, as Packer asks it for Spot Instances, and what it leaves: a fleet and Spot requests. */
import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { rememberTokens } from "./idempotency.ts";
import { launchForEC2Fleet } from "./instance-launch.ts";
import type { Instance } from "./instances.ts";
import { templateVersion } from "./launch-templates.ts";
import type { NamedVersion } from "./launch-templates.ts";
import { add, newResource } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { specifiedTags } from "./tags.ts";

export interface EC2Fleet extends Resource {
  readonly kind: "fleet";
  readonly type: "instant";
}

/** A one-time request that was fulfilled at once. */
export interface SpotRequest extends Resource {
  readonly kind: "spot-instances-request";
}

export function fleetOperations(state: Ec2State): Operations {
  const once = rememberTokens<Record<string, unknown>>();
  return { CreateFleet: (call) => once(call, () => createFleet(state, call)) };
}

/** One way to launch: a template's version with an override. */
interface Candidate {
  readonly named: NamedVersion;
  readonly override: Readonly<Record<string, string>>;
}

/** A launch that failed: the fleet's answer lists it, and is no error. */
interface Refused {
  readonly candidate: Candidate;
  readonly error: AwsError;
}

/**
 * EC2 API reference, CreateFleet, and EC2 user guide, Configure an EC2 Fleet of type instant: the request is answered when
 * all launches were tried, with the instances that there are and the errors of the others. The cheapest pool comes first;
 * here all cost the same, and the overrides are tried in their order.
 */
function createFleet(state: Ec2State, call: Call): Record<string, unknown> {
  const { query } = call;
  if (query.string("Type") !== "instant") {
    throw new AwsError("UnsupportedOperation", "The sandbox knows fleets of type instant only");
  }
  const target = query.struct("TargetCapacitySpecification");
  const count = Number(target?.required("TotalTargetCapacity"));
  const lifecycle = target?.string("DefaultTargetCapacityType") ?? "on-demand";
  const candidates = candidatesOf(state, call);
  const resource = newResource(state, call, "fleet", specifiedTags(query, "fleet"));
  const fleet: EC2Fleet = add(state, { ...resource, kind: "fleet", type: "instant" });
  const refused: Refused[] = [];
  const launched: { readonly candidate: Candidate; readonly instance: Instance }[] = [];
  for (const candidate of candidates) {
    if (launched.length >= count) break;
    try {
      while (launched.length < count)
        launched.push({ candidate, instance: launch(state, call, { candidate, fleet, lifecycle }) });
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      refused.push({ candidate, error });
    }
  }
  return {
    fleetId: fleet.id,
    errorSet: {
      item: refused.map(({ candidate, error: { code, message } }) => ({
        launchTemplateAndOverrides: renderedCandidate(candidate),
        lifecycle,
        errorCode: code,
        errorMessage: message,
      })),
    },
    fleetInstanceSet: {
      item: launched.map(({ candidate, instance }) => ({
        launchTemplateAndOverrides: renderedCandidate(candidate),
        lifecycle,
        instanceIds: { item: [instance.id] },
        instanceType: instance.instanceType,
      })),
    },
  };
}

function candidatesOf(state: Ec2State, call: Call): Candidate[] {
  return call.query.structs("LaunchTemplateConfigs").flatMap((config) => {
    const specification = config.struct("LaunchTemplateSpecification");
    const named = templateVersion(state, call, {
      launchTemplateId: specification?.string("LaunchTemplateId"),
      launchTemplateName: specification?.string("LaunchTemplateName"),
      version: specification?.string("Version"),
    });
    const overrides = config.structs("Overrides").map(overrideOf);
    return (overrides.length === 0 ? [{}] : overrides).map((override) => ({ named, override }));
  });
}

/** FleetLaunchTemplateOverridesRequest in the names of launch template data. */
function overrideOf(query: Query): Record<string, string> {
  const fields = {
    InstanceType: query.string("InstanceType"),
    ImageId: query.string("ImageId"),
    SubnetId: query.string("SubnetId"),
    "Placement.AvailabilityZone": query.string("AvailabilityZone"),
  };
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}

function launch(
  state: Ec2State,
  place: Place,
  {
    candidate: { named, override },
    fleet,
    lifecycle,
  }: { readonly candidate: Candidate; readonly fleet: EC2Fleet; readonly lifecycle: string },
): Instance {
  const isSpot = lifecycle === "spot";
  const type = override["InstanceType"] ?? named.version.data["InstanceType"];
  if (isSpot && type !== undefined && state.settings.withoutSpotCapacity.includes(type)) {
    const text = `There is no Spot capacity available that matches your request.`;
    throw new AwsError("InsufficientInstanceCapacity", text);
  }
  const request = isSpot ? newResource(state, place, "spot-instances-request", {}) : undefined;
  const order = { named, override, fleetId: fleet.id, spotRequestId: request?.id };
  const instance = launchForEC2Fleet(state, place, order);
  if (request !== undefined) add(state, { ...request, kind: "spot-instances-request" });
  return instance;
}

function renderedCandidate({ named: { template, version }, override }: Candidate): Record<string, unknown> {
  return {
    launchTemplateSpecification: { launchTemplateId: template.id, version: String(version.number) },
    overrides: {
      instanceType: override["InstanceType"],
      subnetId: override["SubnetId"],
      availabilityZone: override["Placement.AvailabilityZone"],
      imageId: override["ImageId"],
    },
  };
}
