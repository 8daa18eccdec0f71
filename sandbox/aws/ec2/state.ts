/** What EC2 knows in this sandbox: one table of resources of all kinds, regions and accounts, and its settings. */
import { createHash } from "node:crypto";
import type { SandboxClock } from "../../clock.ts";
import type { Place } from "../fleet.ts";
import type { InstanceHost } from "../instance-host.ts";
import { AwsError } from "../query.ts";
import { bootLines } from "./boot-lines.ts";
import type { EC2Fleet, SpotRequest } from "./fleets.ts";
import type { Image, ImageOutcome } from "./images.ts";
import type { Instance } from "./instances.ts";
import type { KeyPair } from "./key-pairs.ts";
import type { LaunchTemplate } from "./launch-templates.ts";
import type { SecurityGroup } from "./security-groups.ts";
import type { Snapshot } from "./snapshots.ts";
import type { Volume } from "./volumes.ts";

/** What every resource has. Key pairs and launch templates are found by name as well. */
export interface Resource {
  readonly id: string;
  readonly region: string;
  readonly ownerId: string;
  /** Sandbox time, ms. */
  readonly createdAt: number;
  /** When it left `pending`, for resources that have such a state. */
  availableAt?: number;
  tags: Record<string, string>;
}

interface Kinds {
  image: Image;
  snapshot: Snapshot;
  instance: Instance;
  volume: Volume;
  "key-pair": KeyPair;
  "security-group": SecurityGroup;
  "launch-template": LaunchTemplate;
  fleet: EC2Fleet;
  "spot-instances-request": SpotRequest;
}
/** As the resource types of TagSpecifications are called. */
export type ResourceKind = keyof Kinds;
export type AnyResource = Kinds[ResourceKind];

export const resourceKinds: readonly ResourceKind[] = [
  "image",
  "snapshot",
  "instance",
  "volume",
  "key-pair",
  "security-group",
  "launch-template",
  "fleet",
  "spot-instances-request",
];

/** Milliseconds of sandbox time. */
export interface Ec2Delays {
  /** Instance: pending to running. */
  pending: number;
  /** Instance: stopping to stopped. */
  stop: number;
  /** Instance: shutting-down to terminated. */
  terminate: number;
  /** Instance: how long a terminated one stays listed. */
  terminatedListed: number;
  /** Image: pending to available. */
  image: number;
  /** Snapshot by CreateSnapshot: pending to completed. */
  snapshot: number;
  /** Image: how long a deregistered one stays listed. */
  deregisteredListed: number;
  /** Image: how long, from deregistration on, asking for its id gives an empty list and no error. */
  deregisteredEmpty: number;
  /** Image: how long after deregistration the name stays taken. */
  nameRelease: number;
}

/** A window in which reads and writes by id do not find a resource (EC2 developer guide, Eventual consistency). */
export interface HiddenWindow {
  /** Times count from the creation (default) or from the moment it became available. */
  readonly since?: "created" | "available";
  readonly from: number;
  readonly to: number;
}

export interface Ec2Settings {
  delays: Ec2Delays;
  /** Per kind: milliseconds of invisibility after creation, or windows (several make it flap). */
  visibilityLag: Partial<Record<ResourceKind, number | readonly HiddenWindow[]>>;
  /** Actions that answer each page of a paginated call with an empty page and a token first. */
  emptyPages: string[];
  /** What `resolve:ssm:<name>`, `resolve:ssm:<name>:<version>` and `resolve:ssm:<name>:<label>` mean. */
  ssmParameters: Record<string, string>;
  /** Quota of versions of one launch template (EC2 user guide, Launch template quotas; it may differ by account). */
  launchTemplateVersions: number;
  /** Instance types that there is no Spot capacity of. */
  withoutSpotCapacity: string[];
  /** What GetConsoleOutput says of an instance whose image has no text of its own. */
  consoleOutput: (instanceId: string) => string;
}

export interface Ec2Options extends Partial<Omit<Ec2Settings, "delays">> {
  readonly delays?: Partial<Ec2Delays>;
  /** Ids are made from it. */
  readonly seed?: string;
}

export interface Ec2State {
  readonly clock: SandboxClock;
  readonly host: InstanceHost | undefined;
  readonly settings: Ec2Settings;
  readonly seed: string;
  readonly resources: Map<string, AnyResource>;
  /** How the next images end; those that find the list empty become available. */
  readonly imageOutcomes: ImageOutcome[];
  /** What instances of an image write to their console, by image id. */
  readonly consoles: Map<string, string>;
  counter: number;
}

const defaultDelays: Ec2Delays = {
  pending: 5_000,
  stop: 10_000,
  terminate: 20_000,
  // EC2 API reference, DescribeInstances: "usually less than one hour".
  terminatedListed: 3_600_000,
  image: 30_000,
  snapshot: 20_000,
  deregisteredListed: 0,
  deregisteredEmpty: 0,
  nameRelease: 0,
};

export function createState(
  clock: SandboxClock,
  host: InstanceHost | undefined,
  options: Ec2Options,
): Ec2State {
  const { delays, seed = "kiln", ...settings } = options;
  return {
    clock,
    host,
    seed,
    settings: {
      visibilityLag: {},
      emptyPages: [],
      ssmParameters: {},
      launchTemplateVersions: 10_000,
      withoutSpotCapacity: [],
      consoleOutput: bootLines,
      ...settings,
      delays: { ...defaultDelays, ...delays },
    },
    resources: new Map(),
    imageOutcomes: [],
    consoles: new Map(),
    counter: 0,
  };
}

/** The 17 hexadecimal digits of an id, the same for the same seed and text. */
export function digits(state: Ec2State, text: string): string {
  return createHash("sha256").update(`${state.seed}/${text}`).digest("hex").slice(0, 17);
}

export function newId(state: Ec2State, prefix: string): string {
  state.counter += 1;
  return `${prefix}-${digits(state, `${prefix}/${state.counter}`)}`;
}

/** The fields that all new resources share. */
export function newResource(
  state: Ec2State,
  place: Place,
  kind: ResourceKind,
  tags: Readonly<Record<string, string>>,
): Resource {
  return {
    id: kinds[kind].id?.(state) ?? newId(state, kinds[kind].prefix),
    region: place.region,
    ownerId: place.accountId,
    createdAt: state.clock.now(),
    tags: { ...tags },
  };
}

export function add<R extends AnyResource>(state: Ec2State, resource: R): R {
  state.resources.set(resource.id, resource);
  return resource;
}

interface KindErrors {
  readonly prefix: string;
  readonly notFound: string;
  readonly malformed: string;
  readonly text: (id: string) => string;
  /** A new id, where it is not the prefix and 17 digits. */
  readonly id?: (state: Ec2State) => string;
}

// EC2 API reference, Error codes.
const kinds: Readonly<Record<ResourceKind, KindErrors>> = {
  image: {
    prefix: "ami",
    notFound: "InvalidAMIID.NotFound",
    malformed: "InvalidAMIID.Malformed",
    text: (id) => `The image id '[${id}]' does not exist`,
  },
  snapshot: {
    prefix: "snap",
    notFound: "InvalidSnapshot.NotFound",
    malformed: "InvalidSnapshotID.Malformed",
    text: (id) => `The snapshot '${id}' does not exist.`,
  },
  instance: {
    prefix: "i",
    notFound: "InvalidInstanceID.NotFound",
    malformed: "InvalidInstanceID.Malformed",
    text: (id) => `The instance ID '${id}' does not exist`,
  },
  volume: {
    prefix: "vol",
    notFound: "InvalidVolume.NotFound",
    malformed: "InvalidVolumeID.Malformed",
    text: (id) => `The volume '${id}' does not exist.`,
  },
  "key-pair": {
    prefix: "key",
    notFound: "InvalidKeyPair.NotFound",
    malformed: "InvalidKeyPair.Format",
    text: (id) => `The key pair '${id}' does not exist`,
  },
  "security-group": {
    prefix: "sg",
    notFound: "InvalidGroup.NotFound",
    malformed: "InvalidGroupId.Malformed",
    text: (id) => `The security group '${id}' does not exist`,
  },
  "launch-template": {
    prefix: "lt",
    notFound: "InvalidLaunchTemplateId.NotFound",
    malformed: "InvalidLaunchTemplateId.Malformed",
    text: (id) => `The specified launch template, with template ID ${id}, does not exist.`,
  },
  fleet: {
    prefix: "fleet",
    notFound: "InvalidFleetId.NotFound",
    malformed: "InvalidFleetId.Malformed",
    text: (id) => `The fleet ID '${id}' does not exist`,
    // EC2 API reference, CreateFleet: `fleet-` and a UUID.
    id: (state) =>
      newId(state, "fleet").replace(/^(fleet-)(.{8})(.{4})(.{4})(.)$/, "$1$2-$3-$4-8000-00000000000$5"),
  },
  "spot-instances-request": {
    prefix: "sir",
    notFound: "InvalidSpotInstanceRequestID.NotFound",
    malformed: "InvalidSpotInstanceRequestID.Malformed",
    text: (id) => `The spot instance request ID '${id}' does not exist`,
    id: (state) => newId(state, "sir").slice(0, "sir-".length + 8),
  },
};

export function notFound(kind: ResourceKind, id: string): AwsError {
  const { prefix, notFound, malformed, text } = kinds[kind];
  if (id.startsWith(`${prefix}-`)) return new AwsError(notFound, text(id));
  return new AwsError(malformed, `Invalid id: "${id}" (expecting "${prefix}-...")`);
}

export function kindOfId(id: string): ResourceKind | undefined {
  return resourceKinds.find((kind) => id.startsWith(`${kinds[kind].prefix}-`));
}

/** All resources of a kind, whoever owns them and wherever they are. */
export function every<K extends ResourceKind>(state: Ec2State, kind: K): Kinds[K][] {
  return [...state.resources.values()].filter((resource): resource is Kinds[K] => resource.kind === kind);
}

/** The resources of a kind that an account owns in a region and that reads find now. */
export function owned<K extends ResourceKind>(state: Ec2State, place: Place, kind: K): Kinds[K][] {
  return every(state, kind).filter((resource) => isOwn(place, resource) && isVisible(state, resource));
}

/** The resource with this id in the caller's account and region, or AWS's error for its kind. */
export function find<K extends ResourceKind>(state: Ec2State, place: Place, kind: K, id: string): Kinds[K] {
  const found = owned(state, place, kind).find((resource) => resource.id === id);
  if (found === undefined) throw notFound(kind, id);
  return found;
}

function isOwn(place: Place, resource: Resource): boolean {
  return resource.region === place.region && resource.ownerId === place.accountId;
}

export function isVisible(state: Ec2State, resource: AnyResource): boolean {
  const lag = state.settings.visibilityLag[resource.kind] ?? 0;
  const windows: readonly HiddenWindow[] = typeof lag === "number" ? [{ from: 0, to: lag }] : lag;
  return !windows.some(({ since, from, to }) => {
    const start = since === "available" ? resource.availableAt : resource.createdAt;
    if (start === undefined) return false;
    const age = state.clock.now() - start;
    return age >= from && age < to;
  });
}
