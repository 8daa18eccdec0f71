/** EC2 in the sandbox: its operations for the wire, its fleet for Auto Scaling, and doors for tests to seed and inspect. */
import type { SandboxClock } from "../../clock.ts";
import type { Fleet, LaunchTemplateSpecification, Place } from "../fleet.ts";
import type { Check } from "../iam.ts";
import type { InstanceHost } from "../instance-host.ts";
import type { Call, Operation, Operations } from "../query.ts";
import { ec2Checks } from "./access.ts";
import { consoleOutputOperations } from "./console-output.ts";
import { fleetOperations } from "./fleets.ts";
import type { SpotRequest } from "./fleets.ts";
import { imageAttributeOperations } from "./image-attributes.ts";
import { imageCreationOperations, newImage } from "./image-creation.ts";
import type { ImageSeed } from "./image-creation.ts";
import { imageReferenceOperations } from "./image-references.ts";
import { imageRetirementOperations } from "./image-retirement.ts";
import { imageOperations, seenImage } from "./images.ts";
import type { Image, ImageOutcome, ImageState } from "./images.ts";
import { dryRunSucceeded, instanceLaunchOperations, launchForGroup } from "./instance-launch.ts";
import { instanceTypeOperations } from "./instance-types.ts";
import { instanceOperations, terminate } from "./instances.ts";
import type { Instance } from "./instances.ts";
import { keyPairOperations } from "./key-pairs.ts";
import type { KeyPair } from "./key-pairs.ts";
import { launchTemplateChangeOperations } from "./launch-template-changes.ts";
import { launchChecks, templateLaunch } from "./launch-access.ts";
import {
  launchTemplateOperations,
  resolveAlias,
  resolvedVersion,
  templateVersion,
} from "./launch-templates.ts";
import type { LaunchTemplate, LaunchTemplateVersion, TemplateData } from "./launch-templates.ts";
import { networkOperations, regions } from "./network.ts";
import { securityGroupOperations } from "./security-groups.ts";
import type { SecurityGroup } from "./security-groups.ts";
import { addSnapshot, snapshotOperations } from "./snapshots.ts";
import type { Snapshot } from "./snapshots.ts";
import { add, createState, every, newResource } from "./state.ts";
import type { Ec2Options, Ec2Settings, Ec2State } from "./state.ts";
import { tagOperations } from "./tags.ts";
import { volumeOperations } from "./volumes.ts";
import type { Volume } from "./volumes.ts";

export interface Ec2World {
  readonly operations: Operations;
  readonly fleet: Fleet;
  /** What must be allowed before a request is carried out. */
  checks(action: string, call: Call): readonly Check[];
  /** What must be allowed before a template's version is launched in somebody's name; undefined where there is none. */
  launchChecks(place: Place, specification: LaunchTemplateSpecification): readonly Check[] | undefined;
  /** May be changed at any time. */
  readonly settings: Ec2Settings;
  /** An available image with a root snapshot of its own; everything can be overridden. */
  addImage(place: Place, seed: ImageSeed): Image;
  /** A public image of Amazon's or another publisher's in each region, each with an id of its own. */
  addBaseImage(seed: ImageSeed & { readonly ownerId?: string }): ReadonlyMap<string, Image>;
  /** Version 1 with this data: flat, in the request's names (`ImageId`, `TagSpecification.1.ResourceType`). */
  addLaunchTemplate(place: Place, name: string, data: TemplateData): LaunchTemplate;
  /** Adds a version; does not make it the default. */
  addLaunchTemplateVersion(
    launchTemplateId: string,
    data: TemplateData,
    description?: string,
  ): LaunchTemplateVersion;
  /** Without a place: everywhere. Deregistered images and terminated instances (for an hour) are among them. */
  images(place?: Place): Image[];
  instances(place?: Place): Instance[];
  snapshots(place?: Place): Snapshot[];
  volumes(place?: Place): Volume[];
  keyPairs(place?: Place): KeyPair[];
  securityGroups(place?: Place): SecurityGroup[];
  launchTemplates(place?: Place): LaunchTemplate[];
  spotRequests(place?: Place): SpotRequest[];
  launchTemplateVersions(launchTemplateId: string): readonly LaunchTemplateVersion[];
  /** Gives a parameter its next version, and the version a label where one is named. */
  setParameter(name: string, imageId: string, label?: string): void;
  /** What GetConsoleOutput says from now on of all instances of an image, old and new. */
  setConsole(imageId: string, text: string): void;
  setImageState(imageId: string, state: ImageState, reason?: Image["stateReason"]): void;
  /** The next image that is created, copied or registered ends like this. */
  failNextImage(outcome?: Partial<ImageOutcome>): void;
}

export interface Ec2WorldOptions {
  readonly clock: SandboxClock;
  /** What Packer can log in to; without it nobody answers at an instance's address. */
  readonly host?: InstanceHost;
  readonly options?: Ec2Options;
}

export function createEc2World({ clock, host, options = {} }: Ec2WorldOptions): Ec2World {
  const state = createState(clock, host, options);
  return {
    operations: operationsOf(state),
    fleet: fleetOf(state),
    checks: (action, call) => ec2Checks(state, action, call),
    launchChecks(place, specification) {
      const launch = templateLaunch(state, place, specification);
      return launch && launchChecks(state, place, launch);
    },
    settings: state.settings,
    ...seeding(state),
    ...inspection(state),
  };
}

function operationsOf(state: Ec2State): Operations {
  const operations: Operations = {
    ...imageOperations(state),
    ...imageCreationOperations(state),
    ...imageReferenceOperations(state),
    ...imageRetirementOperations(state),
    ...imageAttributeOperations(state),
    ...snapshotOperations(state),
    ...volumeOperations(state),
    ...instanceOperations(state),
    ...fleetOperations(state),
    ...instanceTypeOperations(state),
    ...consoleOutputOperations(state),
    ...keyPairOperations(state),
    ...securityGroupOperations(state),
    ...networkOperations(state),
    ...tagOperations(state),
    ...launchTemplateOperations(state),
    ...launchTemplateChangeOperations(state),
  };
  const dry = Object.entries(operations).map(([name, operation]) => [name, withDryRun(operation)] as const);
  // RunInstances checks more than permissions before it says that it would have succeeded.
  return { ...Object.fromEntries(dry), ...instanceLaunchOperations(state) };
}

/** EC2 API reference, Common query parameters: a dry run that is permitted is answered with an error. */
function withDryRun(operation: Operation): Operation {
  return (call) => {
    if (call.query.boolean("DryRun") === true) throw dryRunSucceeded();
    return operation(call);
  };
}

function fleetOf(state: Ec2State): Fleet {
  return {
    image(place, imageId) {
      const image = seenImage(state, place, imageId);
      if (image === undefined) return undefined;
      const { id, architecture, ownerId } = image;
      return { imageId: id, state: image.state, architecture, ownerId };
    },
    // Groups keep id and name both; the id is what counts.
    launchTemplateVersion: (place, { launchTemplateName, ...specification }) =>
      resolvedVersion(
        templateVersion(
          state,
          place,
          specification.launchTemplateId === undefined
            ? { ...specification, launchTemplateName }
            : specification,
        ),
      ),
    launch: (place, request) => launchForGroup(state, place, request).id,
    terminate(_place, instanceId) {
      const instance = state.resources.get(instanceId);
      if (instance?.kind === "instance") terminate(state, instance);
    },
    resolveImage: (_place, imageId) => resolveAlias(state, imageId),
    replaceRootVolume(_place, instanceId, imageId) {
      const instance = state.resources.get(instanceId);
      if (instance?.kind === "instance") instance.imageId = imageId;
    },
  };
}

function seeding(
  state: Ec2State,
): Pick<
  Ec2World,
  | "addImage"
  | "addBaseImage"
  | "addLaunchTemplate"
  | "addLaunchTemplateVersion"
  | "setParameter"
  | "setConsole"
  | "setImageState"
  | "failNextImage"
> {
  return {
    addImage: (place, seed) => addImage(state, place, seed),
    addBaseImage({ ownerId = "099720109477", ...seed }) {
      const content = { launchPermissions: [{ group: "all" }], ownerAlias: "amazon", ...seed };
      return new Map(
        regions.map((region) => [region, addImage(state, { region, accountId: ownerId }, content)] as const),
      );
    },
    addLaunchTemplate(place, name, data) {
      const resource = newResource(state, place, "launch-template", {});
      const version = { number: 1, description: undefined, createdAt: resource.createdAt, data };
      return add(state, {
        ...resource,
        kind: "launch-template",
        name,
        defaultVersion: 1,
        latestVersion: 1,
        versions: [version],
      });
    },
    addLaunchTemplateVersion(launchTemplateId, data, description) {
      const template = seeded(state, launchTemplateId, "launch-template");
      const number = template.latestVersion + 1;
      const version = { number, description, createdAt: state.clock.now(), data };
      template.latestVersion = number;
      template.versions = [...template.versions, version];
      return version;
    },
    setParameter: (name, imageId, label) => setParameter(state, name, imageId, label),
    setConsole: (imageId, text) => state.consoles.set(imageId, text),
    setImageState(imageId, imageState, reason) {
      const image = seeded(state, imageId, "image");
      image.state = imageState;
      image.stateReason = reason;
      if (imageState === "available") image.availableAt ??= state.clock.now();
    },
    failNextImage({
      state: imageState = "failed",
      code = "Server.InternalError",
      message = "Internal error",
    } = {}) {
      state.imageOutcomes.push({ state: imageState, code, message });
    },
  };
}

/** Systems Manager user guide, Working with parameter versions: each change makes a version, and old ones can be named. */
function setParameter(state: Ec2State, name: string, imageId: string, label?: string): void {
  const { ssmParameters } = state.settings;
  let version = 1;
  while (ssmParameters[`${name}:${version}`] !== undefined) version += 1;
  ssmParameters[name] = imageId;
  ssmParameters[`${name}:${version}`] = imageId;
  if (label !== undefined) ssmParameters[`${name}:${label}`] = imageId;
}

function addImage(state: Ec2State, place: Place, seed: ImageSeed): Image {
  const snapshot = addSnapshot(state, place, {
    volumeId: "vol-ffffffff",
    volumeSize: 8,
    description: `Root of ${seed.name}`,
    encrypted: false,
    state: "completed",
    tags: {},
  });
  const root = {
    deviceName: seed.rootDeviceName ?? "/dev/sda1",
    snapshotId: snapshot.id,
    volumeSize: 8,
    volumeType: "gp3",
    encrypted: false,
    deleteOnTermination: true,
  };
  const image = newImage(state, place, { state: "available", blockDevices: [root], ...seed });
  if (image.state === "available") image.availableAt = state.clock.now();
  return image;
}

function seeded<K extends "image" | "launch-template">(
  state: Ec2State,
  id: string,
  kind: K,
): K extends "image" ? Image : LaunchTemplate;
function seeded(state: Ec2State, id: string, kind: "image" | "launch-template"): Image | LaunchTemplate {
  const resource = state.resources.get(id);
  if (resource?.kind === kind) return resource;
  throw new Error(`The sandbox has no ${kind} ${id}`);
}

function inspection(
  state: Ec2State,
): Omit<
  Ec2World,
  "operations" | "fleet" | "settings" | "checks" | "launchChecks" | keyof ReturnType<typeof seeding>
> {
  const listed = <K extends Parameters<typeof every>[1]>(
    kind: K,
  ): ((place?: Place) => ReturnType<typeof every<K>>) => {
    return (place) =>
      every(state, kind).filter(
        (resource) =>
          place === undefined || (resource.region === place.region && resource.ownerId === place.accountId),
      );
  };
  return {
    images: listed("image"),
    instances: listed("instance"),
    snapshots: listed("snapshot"),
    volumes: listed("volume"),
    keyPairs: listed("key-pair"),
    securityGroups: listed("security-group"),
    launchTemplates: listed("launch-template"),
    spotRequests: listed("spot-instances-request"),
    launchTemplateVersions: (id) => seeded(state, id, "launch-template").versions,
  };
}
