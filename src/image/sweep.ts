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
  type Instance,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { unlessGone } from "../aws/errors.ts";
import { hasCode } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { type BakeEvent, PackerOutput } from "./packer-output.ts";

/** What a bake is known to have made, noted while it ran, by Packer's own words. */
export interface BakeTraces {
  readonly region: string;
  /** The name that the image was to have. */
  readonly imageName: string;
  readonly keyPair?: string;
  readonly securityGroup?: string;
  readonly instance?: string;
  readonly image?: ImageId;
}

/** What Packer's output, line by line, tells that it made. */
export async function tracesOf(
  output: AsyncIterable<string> | Iterable<string>,
): Promise<Omit<BakeTraces, "region" | "imageName">> {
  const reader = new PackerOutput();
  const traces: { keyPair?: string; securityGroup?: string; instance?: string; image?: ImageId } = {};
  for await (const line of output) note(reader.read(line), traces);
  return traces;
}

function note(
  events: readonly BakeEvent[],
  traces: { keyPair?: string; securityGroup?: string; instance?: string; image?: ImageId },
): void {
  for (const event of events) {
    // The first of a kind is Packer's own: a provisioner prints later, if it prints such a line at all.
    if (event.kind === "image") traces.image ??= event.id;
    if (event.kind !== "temporary") continue;
    if (event.resource === "key-pair") traces.keyPair ??= event.id;
    else if (event.resource === "security-group") traces.securityGroup ??= event.id;
    else traces.instance ??= event.id;
  }
}

export interface SweepTools {
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warning">;
  /** When to give up waiting. */
  readonly deadline: Date;
}

/** Names that Packer's Amazon builder gives what it makes for a bake: `packer_` and a UUID, new for each. */
const PACKER_NAME = /^packer_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Milliseconds. */
const PAUSE = 5000;

/**
 * Removes what a bake that was stopped left: its instance, the instance's volumes, the half-made image with its snapshots,
 * key pair and security group. A provisioner could have printed ids of others, so each is looked at first: only what has
 * the bake's own key, or was made from its own instance, goes. An image that is whole stays: the next run takes it up.
 */
export async function sweepBake(ec2: EC2Client, traces: BakeTraces, tools: SweepTools): Promise<void> {
  const { keyPair, securityGroup } = traces;
  const instance = await ownInstance(ec2, traces);
  const parts: (readonly [what: string, work: () => Promise<void>])[] = [
    ["the image", () => removeHalfMade(ec2, traces, tools)],
    [
      "the instance",
      async () => {
        if (instance === undefined) return;
        await removeInstance(ec2, instance, tools);
      },
    ],
  ];
  // What is in use cannot be deleted: these wait for the instance.
  const after: typeof parts = [];
  if (keyPair !== undefined && PACKER_NAME.test(keyPair))
    after.push(["the key pair", () => removeKeyPair(ec2, keyPair, tools)]);
  if (securityGroup !== undefined && PACKER_NAME.test(securityGroup))
    after.push(["the security group", () => removeSecurityGroup(ec2, securityGroup, tools)]);
  await Promise.all(parts.map(([what, work]) => attempt(what, work, tools)));
  await Promise.all(after.map(([what, work]) => attempt(what, work, tools)));
}

async function attempt(what: string, work: () => Promise<void>, { log }: SweepTools): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warning(
      `The bake was stopped, and ${what} that it left could not be removed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The bake's instance, told by the key that Packer made for it alone. */
async function ownInstance(ec2: EC2Client, traces: BakeTraces): Promise<Instance | undefined> {
  const { instance: id, keyPair } = traces;
  if (id === undefined || keyPair === undefined || !PACKER_NAME.test(keyPair)) return undefined;
  const instance = await describeInstance(ec2, id);
  return instance?.KeyName === keyPair ? instance : undefined;
}

async function describeInstance(ec2: EC2Client, id: string): Promise<Instance | undefined> {
  try {
    const { Reservations } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }));
    return Reservations?.[0]?.Instances?.[0];
  } catch (error) {
    if (hasCode(error, "InvalidInstanceID.NotFound")) return undefined;
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
    await tools.clock.sleep(PAUSE);
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

/** An image that was begun and will not be whole: nobody waits for it any more, and nobody would tag it. */
async function removeHalfMade(ec2: EC2Client, traces: BakeTraces, { log }: SweepTools): Promise<void> {
  if (traces.image === undefined || traces.instance === undefined) return;
  const { Images } = await ec2.send(
    new DescribeImagesCommand({ Owners: ["self"], Filters: [{ Name: "image-id", Values: [traces.image] }] }),
  );
  const image = Images?.[0];
  const isOwn = image?.SourceInstanceId === traces.instance && image.Name === traces.imageName;
  if (!isOwn) return;
  if (image.State === "available") {
    log.info(`The bake's image ${traces.image} is whole: the next run of the job takes it up`);
    return;
  }
  await unlessGone(
    ec2.send(new DeregisterImageCommand({ ImageId: traces.image, DeleteAssociatedSnapshots: true })),
  );
  log.info(`Removed the half-made image ${traces.image} with its snapshots`);
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
        await tools.clock.sleep(PAUSE);
      }
    }
    tools.log.info(`Deleted the bake's security group ${name}`);
  }
}
