import {
  DeleteKeyPairCommand,
  DeleteSecurityGroupCommand,
  DeleteVolumeCommand,
  DeregisterImageCommand,
  DescribeImagesCommand,
  DescribeInstancesCommand,
  DescribeKeyPairsCommand,
  DescribeSecurityGroupsCommand,
  DescribeVolumesCommand,
  type EC2Client,
  type Image,
  type Instance,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { unlessGone } from "../aws/errors.ts";
import { CancelledError, hasCode } from "../domain/errors.ts";
import { TAG } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import type { BakeTraces } from "./bake-traces.ts";

export interface SweepTools {
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warning">;
  /** When to give up waiting. */
  readonly deadline: Date;
  readonly signal?: AbortSignal;
}

/** Names that Packer's Amazon builder gives what it makes for a bake: `packer_` and a UUID, new for each. */
const PACKER_NAME = /^packer_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Milliseconds. */
const PAUSE = 5000;

/**
 * Removes what a bake that was stopped left: its instance, the instance's volumes, the half-made image with its snapshots,
 * key pair and security group. A provisioner could have printed ids of others, so each is looked at first: only what has
 * the bake's own key or mark, or was made from its own instance, goes. An image that is whole stays: the next run takes it
 * up.
 */
export async function sweepBake(ec2: EC2Client, traces: BakeTraces, tools: SweepTools): Promise<void> {
  const instances = await ownInstances(ec2, traces);
  const parts = [
    part("the image", () => removeHalfMade(ec2, traces, instances, tools)),
    ...instances.map((instance) => part("the instance", () => removeInstance(ec2, instance, tools))),
  ];
  // What is in use cannot be deleted: these wait for the instance.
  const of = (noted: string | undefined, seen: (instance: Instance) => (string | undefined)[]): string[] =>
    [...new Set([noted, ...instances.flatMap(seen)])].filter(
      (name) => name !== undefined && PACKER_NAME.test(name),
    ) as string[];
  const after = [
    ...of(traces.keyPair, ({ KeyName }) => [KeyName]).map((name) =>
      part("the key pair", () => removeKeyPair(ec2, name, tools)),
    ),
    ...of(traces.securityGroup, ({ SecurityGroups = [] }) =>
      SecurityGroups.map(({ GroupName }) => GroupName),
    ).map((name) => part("the security group", () => removeSecurityGroup(ec2, name, tools))),
  ];
  await Promise.all(parts.map((each) => attempt(each, tools)));
  await Promise.all(after.map((each) => attempt(each, tools)));
}

interface Part {
  readonly what: string;
  readonly work: () => Promise<void>;
}

const part = (what: string, work: () => Promise<void>): Part => ({ what, work });

async function attempt({ what, work }: Part, { log }: SweepTools): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    log.warning(
      `The bake was stopped, and ${what} that it left could not be removed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The bake's instances: the one that has the key that Packer made for it alone, and what has the bake's own mark. */
async function ownInstances(ec2: EC2Client, traces: BakeTraces): Promise<readonly Instance[]> {
  const { instance: id, keyPair, mark } = traces;
  const noted =
    id === undefined || keyPair === undefined || !PACKER_NAME.test(keyPair)
      ? undefined
      : await describeInstance(ec2, id);
  const own = noted?.KeyName === keyPair ? [noted] : [];
  const { Reservations } = await ec2.send(
    new DescribeInstancesCommand({ Filters: [{ Name: `tag:${TAG.bake}`, Values: [mark] }] }),
  );
  const marked = (Reservations ?? []).flatMap(({ Instances }) => Instances ?? []);
  return [...own, ...marked.filter(({ InstanceId }) => InstanceId !== noted?.InstanceId)].filter(
    (instance) => instance !== undefined,
  );
}

async function describeInstance(ec2: EC2Client, id: string): Promise<Instance | undefined> {
  try {
    const { Reservations } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }));
    return Reservations?.[0]?.Instances?.[0];
  } catch (error) {
    if (hasCode(error, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")) return undefined;
    throw error;
  }
}

async function removeInstance(ec2: EC2Client, instance: Instance, tools: SweepTools): Promise<void> {
  const id = instance.InstanceId ?? "";
  const volumes = (instance.BlockDeviceMappings ?? []).flatMap(({ Ebs }) => Ebs?.VolumeId ?? []);
  if (instance.State?.Name !== "terminated" && instance.State?.Name !== "shutting-down") {
    await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
    tools.log.info(`Terminated the bake's instance ${id}`);
  }
  while (tools.clock.now() < tools.deadline) {
    const state = (await describeInstance(ec2, id))?.State?.Name;
    if (state === undefined || state === "terminated") break;
    await tools.clock.sleep(PAUSE, tools.signal);
  }
  if (volumes.length > 0) await removeVolumes(ec2, volumes, tools);
}

/** Volumes that do not end with their instance. */
async function removeVolumes(ec2: EC2Client, ids: readonly string[], { log }: SweepTools): Promise<void> {
  const { Volumes } = await ec2.send(
    new DescribeVolumesCommand({ Filters: [{ Name: "volume-id", Values: [...ids] }] }),
  );
  const left = (Volumes ?? []).flatMap(({ VolumeId, State }) =>
    VolumeId !== undefined && State === "available" ? [VolumeId] : [],
  );
  await Promise.all(left.map((VolumeId) => unlessGone(ec2.send(new DeleteVolumeCommand({ VolumeId })))));
  if (left.length > 0) log.info(`Deleted the bake's volumes ${left.join(", ")}`);
}

/**
 * An image that was begun and will not be whole: nobody waits for it any more, and nobody would tag it. Where it is to be
 * encrypted (`encrypt_boot`) there are two: one of another name, made from the instance, and its copy.
 */
async function removeHalfMade(
  ec2: EC2Client,
  { region, imageName, instance }: BakeTraces,
  instances: readonly Instance[],
  { log }: SweepTools,
): Promise<void> {
  const own = new Set(instances.map(({ InstanceId }) => InstanceId));
  // The noted one may have ended long ago, and not be shown any more.
  const sources = [...new Set([instance, ...own])].filter((id) => id !== undefined);
  if (sources.length === 0) return;
  const [made, named] = await Promise.all([
    imagesBy(ec2, "source-instance-id", sources),
    imagesBy(ec2, "name", [imageName]),
  ]);
  const copies = named.filter(
    ({ SourceInstanceId, SourceImageRegion }) =>
      SourceInstanceId === undefined && SourceImageRegion === region,
  );
  // The template may give another name than Kiln's: with the digest among its tags it is an image that runs may be using.
  const ours = made.filter(
    ({ Name, SourceInstanceId, State, Tags = [] }) =>
      Name === imageName ||
      (own.has(SourceInstanceId) && (State !== "available" || !Tags.some(({ Key }) => Key === TAG.digest))),
  );
  // The copy first: its source is what the other one is.
  for (const { ImageId, Name, State } of [...copies, ...ours]) {
    if (Name === imageName && State === "available") {
      log.info(`The bake's image ${ImageId} is whole: the next run of the job takes it up`);
      continue;
    }
    await unlessGone(ec2.send(new DeregisterImageCommand({ ImageId, DeleteAssociatedSnapshots: true })));
    log.info(`Removed the half-made image ${ImageId} with its snapshots`);
  }
}

async function imagesBy(
  ec2: EC2Client,
  filter: string,
  values: readonly string[],
): Promise<readonly Image[]> {
  const { Images } = await ec2.send(
    new DescribeImagesCommand({ Owners: ["self"], Filters: [{ Name: filter, Values: [...values] }] }),
  );
  return Images ?? [];
}

async function removeKeyPair(ec2: EC2Client, name: string, { log }: SweepTools): Promise<void> {
  const { KeyPairs } = await ec2.send(
    new DescribeKeyPairsCommand({ Filters: [{ Name: "key-name", Values: [name] }] }),
  );
  if (KeyPairs === undefined || KeyPairs.length === 0) return;
  await ec2.send(new DeleteKeyPairCommand({ KeyName: name }));
  log.info(`Deleted the bake's key pair ${name}`);
}

async function removeSecurityGroup(ec2: EC2Client, name: string, tools: SweepTools): Promise<void> {
  const { SecurityGroups } = await ec2.send(
    new DescribeSecurityGroupsCommand({ Filters: [{ Name: "group-name", Values: [name] }] }),
  );
  for (const { GroupId } of SecurityGroups ?? []) {
    for (;;) {
      try {
        await unlessGone(ec2.send(new DeleteSecurityGroupCommand({ GroupId })));
        break;
      } catch (error) {
        // Until the instance's network interface is gone.
        if (!hasCode(error, "DependencyViolation") || tools.clock.now() >= tools.deadline) throw error;
        await tools.clock.sleep(PAUSE, tools.signal);
      }
    }
    tools.log.info(`Deleted the bake's security group ${name}`);
  }
}
