import { DescribeInstancesCommand } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { isPassing } from "../aws/errors.ts";
import type { Target } from "../domain/application.ts";
import { hasCode } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";
import { observeInstances, type PinnedVersion, runsVersion } from "./target-state.ts";

/** An instance of the release, as a smoke test finds it. */
export interface NewInstance {
  readonly id: string;
  readonly privateAddress: string | undefined;
  /** Only where the subnet gives one. */
  readonly publicAddress: string | undefined;
}

/** The instances that a smoke test can be run on. */
export interface NewInstances {
  /** The group's desired capacity, in its units. */
  readonly desired: number;
  readonly instances: readonly NewInstance[];
}

/** Ids that one request asks for (EC2 API reference, DescribeInstances: at most 1,000 in a request). */
const IDS_A_REQUEST = 500;

/**
 * Milliseconds between looks: an instance that was terminated a moment ago, or one that EC2 does not know yet, makes a
 * request fail that succeeds a little later, and a group may replace its only new instance. About a minute in all: a
 * refresh does not wait much longer at a checkpoint.
 */
const PAUSES = [2000, 4000, 8000, 15_000, 30_000];

/**
 * The instances in service that run the release, with their addresses; two requests for up to 500 of them. Looks again
 * for about a minute if the instances cannot be looked up but that may pass, or if none is in service although the group
 * wants some.
 * @throws RemoteError if AWS refuses the request, or still fails at the last look
 */
export async function findNewInstances(
  tools: { readonly clients: AwsClients; readonly clock: Clock; readonly signal: AbortSignal },
  target: Target,
  versions: readonly PinnedVersion[],
  imageId: string,
): Promise<NewInstances> {
  for (const pause of PAUSES) {
    try {
      const found = await look(tools.clients, target, versions, imageId);
      if (found.instances.length > 0 || found.desired === 0) return found;
    } catch (error) {
      if (!isPassing(error) && !hasCode(error, "InvalidInstanceID.NotFound")) throw error;
    }
    await tools.clock.sleep(pause, tools.signal);
  }
  return look(tools.clients, target, versions, imageId);
}

async function look(
  clients: AwsClients,
  target: Target,
  versions: readonly PinnedVersion[],
  imageId: string,
): Promise<NewInstances> {
  const { desired, inService } = await observeInstances(clients, target);
  const ids = inService.flatMap((instance) =>
    runsVersion(instance, versions, imageId) ? [instance.id] : [],
  );
  const ec2 = await clients.ec2(target.region);
  const pages: string[][] = [];
  for (let start = 0; start < ids.length; start += IDS_A_REQUEST)
    pages.push(ids.slice(start, start + IDS_A_REQUEST));
  const answers = await Promise.all(
    pages.map((page) => ec2.send(new DescribeInstancesCommand({ InstanceIds: page }))),
  );
  const described = new Map(
    answers.flatMap(({ Reservations }) =>
      (Reservations ?? []).flatMap(({ Instances }) =>
        (Instances ?? []).map((instance) => [instance.InstanceId ?? "", instance] as const),
      ),
    ),
  );
  const instances = ids.map((id) => ({
    id,
    privateAddress: described.get(id)?.PrivateIpAddress,
    publicAddress: described.get(id)?.PublicIpAddress,
  }));
  return { desired, instances };
}
