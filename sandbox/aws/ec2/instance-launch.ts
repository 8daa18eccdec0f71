/** RunInstances, and the launch that Auto Scaling shares with it. */
import type { FleetLaunch, LaunchTemplateSpecification, Place } from "../fleet.ts";
import { AwsError, Query } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { rememberTokens } from "./idempotency.ts";
import { launchableImage } from "./images.ts";
import type { Image } from "./images.ts";
import { architectureOf } from "./instance-types.ts";
import { boot, reservation } from "./instances.ts";
import type { Instance } from "./instances.ts";
import { keyPairNamed } from "./key-pairs.ts";
import { resolveAlias, templateVersion, withOverrides } from "./launch-templates.ts";
import type { NamedVersion } from "./launch-templates.ts";
import { defaultSubnets } from "./network.ts";
import type { Subnet } from "./network.ts";
import { launchGroups } from "./security-groups.ts";
import { add, newId, newResource } from "./state.ts";
import type { Ec2State } from "./state.ts";
import { specifiedTags } from "./tags.ts";
import { addVolume } from "./volumes.ts";

export function instanceLaunchOperations(state: Ec2State): Operations {
  const once = rememberTokens<readonly Instance[]>();
  return {
    RunInstances(call) {
      const count = countOf(call.query);
      return reservation(
        state,
        once(call, () => runInstances(state, call, count)),
      );
    },
  };
}

interface Launch {
  /** The request's parameters over those of its launch template. */
  readonly query: Query;
  readonly image: Image;
  readonly instanceType: string;
  readonly publicKey: string | undefined;
  readonly securityGroupIds: readonly string[];
  readonly subnet: Subnet;
  readonly reservationId: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly isHosted: boolean;
  readonly spotRequestId?: string | undefined;
}

function runInstances(state: Ec2State, call: Call, count: number): Instance[] {
  const launch = preparedRun(state, call);
  // EC2 API reference, RunInstances: the dry run tells whether the request would have succeeded.
  if (call.query.boolean("DryRun") === true) throw dryRunSucceeded();
  return Array.from({ length: count }, () => launchOne(state, call, launch));
}

export function dryRunSucceeded(): AwsError {
  return new AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
}

function countOf(query: Query): number {
  const least = Number(query.required("MinCount"));
  const most = Number(query.required("MaxCount"));
  if (!(least >= 1 && most >= least)) {
    const text = `Invalid value '${least}' for MinCount: it must be at least 1 and at most MaxCount`;
    throw new AwsError("InvalidParameterValue", text);
  }
  return most;
}

function preparedRun(state: Ec2State, call: Call): Launch {
  const specification = call.query.struct("LaunchTemplate");
  const given = call.query.flat();
  if (specification === undefined) return prepared(state, call, new Query(Object.entries(given)), {}, true);
  const { template, version } = templateVersion(state, call, specificationOf(specification));
  const data = withOverrides(version.data, given);
  const tags = templateTags(template.id, String(version.number));
  return prepared(state, call, new Query(Object.entries(data)), tags, true);
}

function specificationOf(query: Query): LaunchTemplateSpecification {
  return {
    launchTemplateId: query.string("LaunchTemplateId"),
    launchTemplateName: query.string("LaunchTemplateName"),
    version: query.string("Version"),
  };
}

/** EC2 user guide, Launch instances from a launch template: these two tags are added by EC2. */
function templateTags(launchTemplateId: string, version: string): Record<string, string> {
  return { "aws:ec2launchtemplate:id": launchTemplateId, "aws:ec2launchtemplate:version": version };
}

/** A launch by an Auto Scaling group: what the template says, with the group's choice of image, type and zone. */
export function launchForGroup(state: Ec2State, place: Place, request: FleetLaunch): Instance {
  const { imageId, instanceType, launchTemplate } = request;
  const data =
    launchTemplate === undefined
      ? {}
      : templateVersion(state, place, {
          launchTemplateId: launchTemplate.launchTemplateId,
          version: launchTemplate.version,
        }).version.data;
  const fields = withOverrides(data, {
    ImageId: imageId,
    InstanceType: instanceType,
    "Placement.AvailabilityZone": request.availabilityZone,
  });
  const tags = {
    ...(launchTemplate && templateTags(launchTemplate.launchTemplateId, launchTemplate.version)),
    ...request.tags,
  };
  // Nothing stands behind a group's instances: their health is what the test says.
  const launch = prepared(state, place, new Query(Object.entries(fields)), tags, false);
  return launchOne(state, place, launch);
}

/** What a fleet launches: a template's version with an override over it. */
export interface FleetInstanceLaunch {
  readonly named: NamedVersion;
  /** In the names of launch template data. */
  readonly override: Readonly<Record<string, string>>;
  readonly fleetId: string;
  /** Undefined for an On-Demand Instance. */
  readonly spotRequestId: string | undefined;
}

/** EC2 user guide, Tag an EC2 Fleet: instances carry the fleet's id as a tag of AWS's own. */
export function launchForEC2Fleet(
  state: Ec2State,
  place: Place,
  { named: { template, version }, override, fleetId, spotRequestId }: FleetInstanceLaunch,
): Instance {
  const data = withOverrides(version.data, override);
  const tags = { ...templateTags(template.id, String(version.number)), "aws:ec2:fleet-id": fleetId };
  const launch = prepared(state, place, new Query(Object.entries(data)), tags, true);
  return launchOne(state, place, { ...launch, spotRequestId });
}

/** Everything that is checked before an instance exists. */
function prepared(
  state: Ec2State,
  place: Place,
  query: Query,
  tags: Readonly<Record<string, string>>,
  isHosted: boolean,
): Launch {
  const image = launchableImage(state, place, resolveAlias(state, query.required("ImageId")));
  const instanceType = query.string("InstanceType") ?? "m1.small";
  assertArchitecture(instanceType, image);
  const keyName = query.string("KeyName");
  const [network] = query.structs("NetworkInterface");
  const groups = [...query.strings("SecurityGroupId"), ...(network?.strings("SecurityGroupId") ?? [])];
  return {
    query,
    image,
    instanceType,
    publicKey: keyName === undefined ? undefined : keyPairNamed(state, place, keyName).publicKey,
    securityGroupIds: launchGroups(state, place, groups, query.strings("SecurityGroup")),
    subnet: subnetOf(state, place, query, query.string("SubnetId") ?? network?.string("SubnetId")),
    reservationId: newId(state, "r"),
    tags: { ...tags, ...specifiedTags(query, "instance") },
    isHosted,
  };
}

/** Auto Scaling user guide, Troubleshoot AMI issues: the text of a wrong architecture. */
function assertArchitecture(instanceType: string, image: Image): void {
  const architecture = architectureOf(instanceType);
  // x86_64 types run 32-bit images as well.
  if (architecture === image.architecture || (architecture === "x86_64" && image.architecture === "i386")) {
    return;
  }
  throw new AwsError(
    "Unsupported",
    `The requested instance type's architecture (${architecture}) does not match the architecture in the manifest for ${image.id} (${image.architecture})`,
  );
}

function subnetOf(state: Ec2State, place: Place, query: Query, subnetId: string | undefined): Subnet {
  const subnets = defaultSubnets(state, place);
  const zone = query.struct("Placement")?.string("AvailabilityZone");
  if (subnetId !== undefined) {
    const subnet = subnets.find((subnet) => subnet.id === subnetId);
    if (subnet !== undefined) return subnet;
    throw new AwsError("InvalidSubnetID.NotFound", `The subnet ID '${subnetId}' does not exist`);
  }
  const subnet = zone === undefined ? subnets[0] : subnets.find((subnet) => subnet.availabilityZone === zone);
  if (subnet !== undefined) return subnet;
  throw new AwsError("InvalidParameterValue", `Invalid availability zone: [${zone}]`);
}

function launchOne(state: Ec2State, place: Place, launch: Launch): Instance {
  const { query, image, subnet } = launch;
  const resource = newResource(state, place, "instance", launch.tags);
  const instance = add(state, {
    ...resource,
    ...addressOf(state, resource.id, launch.isHosted),
    kind: "instance",
    reservationId: launch.reservationId,
    imageId: image.id,
    instanceType: launch.instanceType,
    architecture: image.architecture,
    rootDeviceName: image.rootDeviceName,
    keyName: query.string("KeyName"),
    publicKey: launch.publicKey,
    vpcId: subnet.vpcId,
    subnetId: subnet.id,
    availabilityZone: subnet.availabilityZone,
    securityGroupIds: launch.securityGroupIds,
    profile: profileOf(query, place),
    spotRequestId: launch.spotRequestId,
    clientToken: query.string("ClientToken"),
    disableApiTermination: query.boolean("DisableApiTermination") === true,
    enaSupport: image.enaSupport,
    userData: query.string("UserData"),
    state: "pending",
    stateReason: undefined,
    cancel: () => undefined,
  });
  attachVolumes(state, place, launch, instance);
  image.lastLaunchedAt = state.clock.now();
  boot(state, instance);
  return instance;
}

/** Without a host behind it an instance gets addresses that nobody answers on (RFC 5737). */
function addressOf(
  state: Ec2State,
  instanceId: string,
  isHosted: boolean,
): Pick<Instance, "publicIp" | "privateIp" | "isHosted"> {
  if (isHosted && state.host !== undefined) return { ...state.host.reserve(instanceId), isHosted };
  const { counter } = state;
  return {
    publicIp: `203.0.113.${counter % 256}`,
    privateIp: `172.31.${Math.floor(counter / 256) % 256}.${counter % 256}`,
    isHosted: false,
  };
}

function profileOf(query: Query, { accountId }: Place): string | undefined {
  const profile = query.struct("IamInstanceProfile");
  const name = profile?.string("Name");
  return profile?.string("Arn") ?? (name && `arn:aws:iam::${accountId}:instance-profile/${name}`);
}

/** One volume for each device of the image, as the request overrides it, and for each device that it adds. */
function attachVolumes(state: Ec2State, place: Place, launch: Launch, instance: Instance): void {
  const mappings = new Map(
    launch.query
      .structs("BlockDeviceMapping")
      .map((mapping) => [mapping.required("DeviceName"), mapping] as const),
  );
  const devices = launch.image.blockDevices.map((device) => device.deviceName);
  for (const device of new Set([...devices, ...mappings.keys()])) {
    const mapping = mappings.get(device);
    const ebs = mapping?.struct("Ebs");
    const known = launch.image.blockDevices.find(({ deviceName }) => deviceName === device);
    if (mapping?.string("NoDevice") !== undefined || (known === undefined && ebs === undefined)) continue;
    addVolume(state, place, {
      size: ebs?.number("VolumeSize") ?? known?.volumeSize ?? 8,
      snapshotId: ebs?.string("SnapshotId") ?? known?.snapshotId,
      availabilityZone: instance.availabilityZone,
      volumeType: ebs?.string("VolumeType") ?? known?.volumeType ?? "gp2",
      encrypted: ebs?.boolean("Encrypted") ?? known?.encrypted ?? false,
      attachment: {
        instanceId: instance.id,
        device,
        deleteOnTermination: ebs?.boolean("DeleteOnTermination") ?? known?.deleteOnTermination ?? true,
      },
      tags: specifiedTags(launch.query, "volume"),
    });
  }
}
