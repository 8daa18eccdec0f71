import {
  DeleteKeyPairCommand,
  DeleteSecurityGroupCommand,
  DeleteVolumeCommand,
  DescribeInstancesCommand,
  DescribeKeyPairsCommand,
  DescribeSecurityGroupsCommand,
  DescribeVolumesCommand,
  type EC2Client,
  type Instance,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { unlessGone } from "../aws/errors.ts";
import { CancelledError, hasCode } from "../domain/errors.ts";
import { TAG } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import { type BakeTraces, PACKER_NAME } from "./bake-traces.ts";
import { removeImages } from "./sweep-images.ts";
import { findSpotBuild, removeTemplate, type SpotBuild } from "./sweep-spot.ts";
import { findSurrogateBuild, removeSnapshots } from "./sweep-surrogate.ts";

export interface SweepTools {
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warning">;
  /** When to give up waiting. */
  readonly deadline: Date;
  readonly signal?: AbortSignal;
  /** The repository that bakes, and its former names: images that are tagged with another one stay. */
  readonly repositories: readonly string[];
  /** The page of the run that baked: what an image's `kiln:run` must be if nothing else shows whose it is. */
  readonly run?: string | undefined;
}

/** What became of what a bake left. */
export interface Swept {
  /** Images, as `ami-… in eu-west-1`. */
  readonly removed: readonly string[];
  /** What could not be removed, and why. */
  readonly left: readonly string[];
}

/** Milliseconds. */
const PAUSE = 5000;

/**
 * Removes what a bake left that did not end well: its instances and their volumes, its images in all regions with their
 * snapshots, key pairs and security groups, and the launch template of a Spot build. Everything is looked at first, and only what AWS shows to be this bake's goes;
 * an image that is marked complete stays, whoever made it.
 */
export async function sweepBake(
  clients: Pick<AwsClients, "ec2">,
  traces: BakeTraces,
  tools: SweepTools,
): Promise<Swept> {
  const ec2 = await clients.ec2(traces.region);
  const swept = { removed: [] as string[], left: [] as string[] };
  const attempt = (each: Part): Promise<void> => attempted(each, swept.left, tools);
  let instances: readonly Instance[] = [];
  await attempt(part("the instance", async () => void (instances = await ownInstances(ec2, traces, tools))));
  let spot: SpotBuild = { templates: [], instances: [] };
  if (traces.spot === true) {
    await attempt(
      part("the launch template", async () => void (spot = await spotBuild(ec2, traces, instances))),
    );
    instances = withoutDuplicates([...instances, ...spot.instances]);
  }
  // Before its instances go, whose volumes tell whose snapshots they are.
  if (traces.surrogate === true) {
    await attempt(
      part("the snapshots", async () => {
        const { images, snapshots } = await findSurrogateBuild(ec2, instances);
        await removeImages(clients, { traces, instances, swept, registered: images }, tools);
        await removeSnapshots(ec2, snapshots, tools);
      }),
    );
  }
  const before = swept.left.length;
  // An instance that is being ended can be made no image of any more: so none is made after they were looked for.
  await Promise.all(
    instances.map((instance) => attempt(part("the instance", () => terminate(ec2, instance, tools)))),
  );
  // What an instance uses is not waited for if the instance cannot be ended.
  const patience = swept.left.length > before ? { ...tools, deadline: tools.clock.now() } : tools;
  await Promise.all([
    ...(traces.surrogate === true
      ? []
      : [attempt(part("the image", () => removeImages(clients, { traces, instances, swept }, tools)))]),
    ...instances.map((instance) =>
      attempt(part("the instance", () => removeVolumes(ec2, instance, patience))),
    ),
  ]);
  // What is in use cannot be deleted: these come after the instance.
  const [keyPairs, groups] = temporaryNames(traces, instances);
  await Promise.all([
    ...keyPairs.map((name) =>
      attempt(part("the key pair", () => removeKeyPair(ec2, name, instances, tools))),
    ),
    ...groups.map((name) =>
      attempt(part("the security group", () => removeSecurityGroup(ec2, name, instances, patience))),
    ),
    ...spot.templates.map((id) => attempt(part("the launch template", () => removeTemplate(ec2, id, tools)))),
  ]);
  return swept;
}

/** What a Spot build made. Key pairs are believed only if the job that ran Packer read them in its output. */
function spotBuild(
  ec2: EC2Client,
  { from, keyPairs = [], mark }: BakeTraces,
  instances: readonly Instance[],
): Promise<SpotBuild> {
  return findSpotBuild(ec2, { mark, keyPairs: from === "output" ? keyPairs : [] }, instances);
}

const withoutDuplicates = (instances: readonly Instance[]): readonly Instance[] => [
  ...new Map(instances.map((instance) => [instance.InstanceId, instance])).values(),
];

/** Key pairs and security groups of the bake: those that its instances have, and those that it named before. */
function temporaryNames(
  { keyPairs = [], securityGroups = [] }: BakeTraces,
  instances: readonly Instance[],
): readonly [keyPairs: readonly string[], groups: readonly string[]] {
  const ofPacker = (names: readonly string[]): readonly string[] => [...new Set(names)].filter(isPackerName);
  return [
    ofPacker([...keyPairs, ...instances.flatMap(({ KeyName }) => KeyName ?? [])]),
    ofPacker([
      ...securityGroups,
      ...instances.flatMap(({ SecurityGroups = [] }) =>
        SecurityGroups.flatMap(({ GroupName }) => GroupName ?? []),
      ),
    ]),
  ];
}

/** Whether an instance that is not the bake's uses something: then it is not the bake's either, whatever a note says. */
async function isUsedByOthers(
  ec2: EC2Client,
  filter: string,
  value: string,
  instances: readonly Instance[],
): Promise<boolean> {
  const own = new Set(instances.map(({ InstanceId }) => InstanceId));
  const users = await instancesBy(ec2, filter, [value]);
  return users.some(({ InstanceId, State }) => !own.has(InstanceId) && State?.Name !== "terminated");
}

async function instancesBy(
  ec2: EC2Client,
  filter: string,
  values: readonly string[],
): Promise<readonly Instance[]> {
  const { Reservations } = await ec2.send(
    new DescribeInstancesCommand({ Filters: [{ Name: filter, Values: [...values] }] }),
  );
  return (Reservations ?? []).flatMap(({ Instances }) => Instances ?? []);
}

const isPackerName = (name: string): boolean => PACKER_NAME.test(name);

interface Part {
  readonly what: string;
  readonly work: () => Promise<void>;
}

const part = (what: string, work: () => Promise<void>): Part => ({ what, work });

async function attempted({ what, work }: Part, left: string[], { log }: SweepTools): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    left.push(`${what}: ${why}`);
    log.warning(`The bake was stopped, and ${what} that it left could not be removed: ${why}`);
  }
}

/**
 * The bake's instances: those that carry its mark, and if the job that ran Packer asks, those that have the key which
 * Packer made for them alone.
 */
async function ownInstances(
  ec2: EC2Client,
  { from, instances: noted = [], keyPairs = [], mark }: BakeTraces,
  { log }: SweepTools,
): Promise<readonly Instance[]> {
  const found = await instancesBy(ec2, `tag:${TAG.bake}`, [mark]);
  const marked = found.filter(({ Tags = [] }) =>
    Tags.some(({ Key, Value }) => Key === TAG.bake && Value === mark),
  );
  const known = new Set(marked.map(({ InstanceId }) => InstanceId));
  const others = await Promise.all(
    noted.filter((id) => !known.has(id)).map(async (id) => describeInstance(ec2, id)),
  );
  return [
    ...marked,
    ...others.flatMap((instance) => {
      if (instance === undefined || instance.State?.Name === "terminated") return [];
      const { InstanceId: id = "?", KeyName: key = "", Tags = [] } = instance;
      if (Tags.some(({ Key }) => Key === TAG.bake)) return [];
      if (from === "output") return isPackerName(key) && keyPairs.includes(key) ? [instance] : [];
      log.warning(
        `The bake noted the instance ${id}, which does not carry its ${TAG.bake}: it is left alone. If it was left by a bake, terminate it; \`run_tags = var.bake_tags\` in the template lets Kiln do that`,
      );
      return [];
    }),
  ];
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

async function terminate(
  ec2: EC2Client,
  { InstanceId = "", State }: Instance,
  { log }: SweepTools,
): Promise<void> {
  if (State?.Name === "terminated" || State?.Name === "shutting-down") return;
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [InstanceId] }));
  log.info(`Terminated the bake's instance ${InstanceId}`);
}

/** Waits for an instance's end, and removes volumes that do not end with it. */
async function removeVolumes(ec2: EC2Client, instance: Instance, tools: SweepTools): Promise<void> {
  const id = instance.InstanceId ?? "";
  while (tools.clock.now() < tools.deadline) {
    const state = (await describeInstance(ec2, id))?.State?.Name;
    if (state === undefined || state === "terminated") break;
    await tools.clock.sleep(PAUSE, tools.signal);
  }
  const ids = (instance.BlockDeviceMappings ?? []).flatMap(({ Ebs }) => Ebs?.VolumeId ?? []);
  if (ids.length === 0) return;
  const { Volumes } = await ec2.send(
    new DescribeVolumesCommand({ Filters: [{ Name: "volume-id", Values: ids }] }),
  );
  const left = (Volumes ?? []).flatMap(({ VolumeId, State }) =>
    VolumeId !== undefined && State === "available" ? [VolumeId] : [],
  );
  await Promise.all(left.map((VolumeId) => unlessGone(ec2.send(new DeleteVolumeCommand({ VolumeId })))));
  if (left.length > 0) tools.log.info(`Deleted the bake's volumes ${left.join(", ")}`);
}

async function removeKeyPair(
  ec2: EC2Client,
  name: string,
  instances: readonly Instance[],
  { log }: SweepTools,
): Promise<void> {
  const { KeyPairs } = await ec2.send(
    new DescribeKeyPairsCommand({ Filters: [{ Name: "key-name", Values: [name] }] }),
  );
  if (KeyPairs === undefined || KeyPairs.length === 0) return;
  if (await isUsedByOthers(ec2, "key-name", name, instances)) return;
  await ec2.send(new DeleteKeyPairCommand({ KeyName: name }));
  log.info(`Deleted the bake's key pair ${name}`);
}

async function removeSecurityGroup(
  ec2: EC2Client,
  name: string,
  instances: readonly Instance[],
  tools: SweepTools,
): Promise<void> {
  const { SecurityGroups } = await ec2.send(
    new DescribeSecurityGroupsCommand({ Filters: [{ Name: "group-name", Values: [name] }] }),
  );
  for (const { GroupId = "" } of SecurityGroups ?? []) {
    if (await isUsedByOthers(ec2, "instance.group-id", GroupId, instances)) continue;
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
