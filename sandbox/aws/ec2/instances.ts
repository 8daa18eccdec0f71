/** Instances: their life, and what shows them. Launching is in instance-launch.ts. */
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filtered } from "./filters.ts";
import { page } from "./paging.ts";
import { groupSet } from "./security-groups.ts";
import { every, find, owned } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { tagSet } from "./tags.ts";
import { releaseVolumes } from "./volumes.ts";
import type { Volume } from "./volumes.ts";

// EC2 API reference, InstanceState.
const stateCodes = {
  pending: 0,
  running: 16,
  "shutting-down": 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
};

export type InstanceState = keyof typeof stateCodes;

export interface Instance extends Resource {
  readonly kind: "instance";
  readonly reservationId: string;
  imageId: string;
  instanceType: string;
  readonly architecture: string;
  readonly rootDeviceName: string;
  readonly keyName: string | undefined;
  /** The key that the machine's host lets in; the key pair itself may be deleted meanwhile. */
  readonly publicKey: string | undefined;
  readonly vpcId: string;
  readonly subnetId: string;
  readonly availabilityZone: string;
  securityGroupIds: readonly string[];
  readonly publicIp: string;
  readonly privateIp: string;
  /** True for instances that an InstanceHost stands behind. */
  readonly isHosted: boolean;
  readonly profile: string | undefined;
  /** The one-time request that a Spot Instance was launched for. */
  readonly spotRequestId: string | undefined;
  readonly clientToken: string | undefined;
  disableApiTermination: boolean;
  enaSupport: boolean;
  userData: string | undefined;
  state: InstanceState;
  stateReason: { readonly code: string; readonly message: string } | undefined;
  /** Calls off the transition that is under way. */
  cancel: () => void;
}

/** Enters a state now, and leaves it for the next after a while unless another transition comes first. */
function pass(
  state: Ec2State,
  instance: Instance,
  now: InstanceState,
  delay: number,
  finish: () => void,
): void {
  instance.cancel();
  instance.state = now;
  instance.cancel = state.clock.after(delay, finish);
}

export function boot(state: Ec2State, instance: Instance): void {
  pass(state, instance, "pending", state.settings.delays.pending, () => {
    instance.state = "running";
    instance.stateReason = undefined;
    instance.availableAt ??= state.clock.now();
    if (!instance.isHosted) return;
    const { id, publicIp, publicKey } = instance;
    state.host?.boot({ instanceId: id, publicIp, publicKey });
  });
}

function stop(state: Ec2State, instance: Instance): void {
  if (instance.state === "stopping" || instance.state === "stopped") return;
  if (instance.state !== "running") throw wrongState(instance, "stopped");
  // EC2 user guide, Stop a Spot Instance: only one of a persistent request can be stopped.
  if (instance.spotRequestId !== undefined) {
    const text = `You can't stop the Spot Instance '${instance.id}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.`;
    throw new AwsError("UnsupportedOperation", text);
  }
  if (instance.isHosted) state.host?.shutDown(instance.id);
  instance.stateReason = userInitiated;
  pass(state, instance, "stopping", state.settings.delays.stop, () => {
    instance.state = "stopped";
  });
}

function start(state: Ec2State, instance: Instance): void {
  if (instance.state === "running" || instance.state === "pending") return;
  if (instance.state !== "stopped") throw wrongState(instance, "started");
  boot(state, instance);
}

export function terminate(state: Ec2State, instance: Instance): void {
  if (instance.state === "shutting-down" || instance.state === "terminated") return;
  const { terminate, terminatedListed } = state.settings.delays;
  if (instance.isHosted) state.host?.shutDown(instance.id);
  instance.stateReason = userInitiated;
  pass(state, instance, "shutting-down", terminate, () => {
    instance.state = "terminated";
    releaseVolumes(state, instance.id);
    state.clock.after(terminatedListed, () => state.resources.delete(instance.id));
  });
}

const userInitiated = {
  code: "Client.UserInitiatedShutdown",
  message: "Client.UserInitiatedShutdown: User initiated shutdown",
};

function wrongState(instance: Instance, participle: string): AwsError {
  return new AwsError(
    "IncorrectInstanceState",
    `This instance '${instance.id}' is not in a state from which it can be ${participle}.`,
  );
}

export function instanceOperations(state: Ec2State): Operations {
  return {
    DescribeInstances: (call) => describe(state, call),
    DescribeInstanceStatus: (call) => describeStatus(state, call),
    StartInstances: (call) => change(state, call, (instance) => start(state, instance)),
    StopInstances: (call) => change(state, call, (instance) => stop(state, instance)),
    RebootInstances: (call) => change(state, call, () => undefined),
    TerminateInstances: (call) => terminateAll(state, call),
    ModifyInstanceAttribute: (call) => modify(state, call),
  };
}

const fields = {
  architecture: (instance: Instance) => instance.architecture,
  "availability-zone": (instance: Instance) => instance.availabilityZone,
  "client-token": (instance: Instance) => instance.clientToken,
  "dns-name": (instance: Instance) => instance.publicIp,
  "image-id": (instance: Instance) => instance.imageId,
  "instance-id": (instance: Instance) => instance.id,
  "instance-lifecycle": (instance: Instance) => lifecycleOf(instance),
  "instance-state-code": (instance: Instance) => stateCodes[instance.state],
  "instance-state-name": (instance: Instance) => instance.state,
  "instance-type": (instance: Instance) => instance.instanceType,
  "instance.group-id": (instance: Instance) => instance.securityGroupIds,
  "ip-address": (instance: Instance) => instance.publicIp,
  "key-name": (instance: Instance) => instance.keyName,
  "launch-time": (instance: Instance) => new Date(instance.createdAt).toISOString(),
  "network-interface.group-id": (instance: Instance) => instance.securityGroupIds,
  "owner-id": (instance: Instance) => instance.ownerId,
  "private-dns-name": privateDnsName,
  "private-ip-address": (instance: Instance) => instance.privateIp,
  "reservation-id": (instance: Instance) => instance.reservationId,
  "root-device-name": (instance: Instance) => instance.rootDeviceName,
  "spot-instance-request-id": (instance: Instance) => instance.spotRequestId,
  "subnet-id": (instance: Instance) => instance.subnetId,
  "vpc-id": (instance: Instance) => instance.vpcId,
};

function requested(state: Ec2State, call: Call): Instance[] {
  const ids = call.query.strings("InstanceId");
  if (ids.length === 0) return owned(state, call, "instance");
  return ids.map((id) => find(state, call, "instance", id));
}

function describe(state: Ec2State, call: Call): Record<string, unknown> {
  const { items, nextToken } = page(state, call, filtered(call.query, fields, requested(state, call)), {
    action: "DescribeInstances",
    bounds: [5, 1000],
    ids: "InstanceId",
  });
  const reservations = Map.groupBy(items, (instance) => instance.reservationId);
  const item = [...reservations.values()].map((instances) => reservation(state, instances));
  return { nextToken, reservationSet: { item } };
}

/** EC2 API reference, DescribeInstanceStatus: running instances only, unless IncludeAllInstances is set. */
function describeStatus(state: Ec2State, call: Call): Record<string, unknown> {
  const isAll = call.query.boolean("IncludeAllInstances") === true;
  const shown = requested(state, call).filter((instance) => isAll || instance.state === "running");
  const { items, nextToken } = page(state, call, filtered(call.query, fields, shown), {
    action: "DescribeInstanceStatus",
    bounds: [5, 1000],
    ids: "InstanceId",
  });
  const item = items.map((instance) => {
    const status = instance.state === "running" ? "ok" : "not-applicable";
    return {
      instanceId: instance.id,
      availabilityZone: instance.availabilityZone,
      instanceState: stateOf(instance),
      instanceStatus: { status },
      systemStatus: { status },
    };
  });
  return { nextToken, instanceStatusSet: { item } };
}

function change(state: Ec2State, call: Call, act: (instance: Instance) => void): Record<string, unknown> {
  const instances = requested(state, call);
  if (instances.length === 0) throw new AwsError("MissingParameter", "The request must contain InstanceId");
  const item = instances.map((instance) => {
    const previousState = stateOf(instance);
    act(instance);
    return { instanceId: instance.id, currentState: stateOf(instance), previousState };
  });
  return { instancesSet: { item } };
}

/** EC2 API reference, TerminateInstances: one protected instance keeps the request from terminating any here. */
function terminateAll(state: Ec2State, call: Call): Record<string, unknown> {
  const guarded = requested(state, call).find((instance) => instance.disableApiTermination);
  if (guarded !== undefined) {
    const text = `The instance '${guarded.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.`;
    throw new AwsError("OperationNotPermitted", text);
  }
  return change(state, call, (instance) => terminate(state, instance));
}

function modify(state: Ec2State, call: Call): Record<string, unknown> {
  const { query } = call;
  const instance = find(state, call, "instance", query.required("InstanceId"));
  const value = (name: string): string | undefined => query.struct(name)?.string("Value");
  const instanceType = value("InstanceType");
  const userData = value("UserData");
  const groups = query.strings("GroupId");
  if ((instanceType ?? userData) !== undefined && instance.state !== "stopped") {
    const text = `The instance '${instance.id}' is not in the 'stopped' state.`;
    throw new AwsError("IncorrectInstanceState", text);
  }
  if (groups.length > 0) {
    instance.securityGroupIds = groups.map((id) => find(state, call, "security-group", id).id);
  }
  instance.instanceType = instanceType ?? instance.instanceType;
  instance.userData = userData ?? instance.userData;
  const isGuarded = value("DisableApiTermination");
  if (isGuarded !== undefined) instance.disableApiTermination = isGuarded === "true";
  if (value("EnaSupport") !== undefined) instance.enaSupport = value("EnaSupport") === "true";
  return { return: true };
}

function stateOf(instance: Instance): { code: number; name: InstanceState } {
  return { code: stateCodes[instance.state], name: instance.state };
}

/** Instances of one launch, as DescribeInstances and RunInstances show them. */
export function reservation(state: Ec2State, instances: readonly Instance[]): Record<string, unknown> {
  return {
    reservationId: instances[0]?.reservationId,
    ownerId: instances[0]?.ownerId,
    groupSet: { item: [] },
    instancesSet: { item: instances.map((instance, index) => rendered(state, instance, index)) },
  };
}

function rendered(state: Ec2State, instance: Instance, index: number): Record<string, unknown> {
  const isGone = instance.state === "terminated";
  const volumes = every(state, "volume").filter((volume) => volume.attachment?.instanceId === instance.id);
  return {
    instanceId: instance.id,
    imageId: instance.imageId,
    instanceState: stateOf(instance),
    stateReason: instance.stateReason,
    privateDnsName: isGone ? undefined : privateDnsName(instance),
    dnsName: isGone ? undefined : instance.publicIp,
    keyName: instance.keyName,
    amiLaunchIndex: index,
    instanceType: instance.instanceType,
    launchTime: new Date(instance.createdAt),
    placement: { availabilityZone: instance.availabilityZone, tenancy: "default" },
    monitoring: { state: "disabled" },
    subnetId: isGone ? undefined : instance.subnetId,
    vpcId: isGone ? undefined : instance.vpcId,
    privateIpAddress: isGone ? undefined : instance.privateIp,
    ipAddress: isGone ? undefined : instance.publicIp,
    groupSet: groupSet(state, isGone ? [] : instance.securityGroupIds),
    architecture: instance.architecture,
    rootDeviceType: "ebs",
    rootDeviceName: instance.rootDeviceName,
    blockDeviceMapping: { item: volumes.map(attachment) },
    iamInstanceProfile: instance.profile === undefined ? undefined : { arn: instance.profile },
    virtualizationType: "hvm",
    clientToken: instance.clientToken,
    instanceLifecycle: lifecycleOf(instance),
    spotInstanceRequestId: instance.spotRequestId,
    enaSupport: instance.enaSupport,
    hypervisor: "xen",
    sourceDestCheck: true,
    tagSet: tagSet(instance.tags),
  };
}

/** EC2 API reference, Instance: absent for an On-Demand Instance. */
function lifecycleOf(instance: Instance): "spot" | undefined {
  return instance.spotRequestId === undefined ? undefined : "spot";
}

/** Amazon VPC user guide, DNS attributes for your VPC: us-east-1 has a domain of its own. */
function privateDnsName({ privateIp, region }: Instance): string {
  const domain = region === "us-east-1" ? "ec2.internal" : `${region}.compute.internal`;
  return `ip-${privateIp.replaceAll(".", "-")}.${domain}`;
}

function attachment(volume: Volume): Record<string, unknown> {
  return {
    deviceName: volume.attachment?.device,
    ebs: {
      volumeId: volume.id,
      status: "attached",
      attachTime: new Date(volume.createdAt),
      deleteOnTermination: volume.attachment?.deleteOnTermination,
    },
  };
}
