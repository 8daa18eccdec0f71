import { DescribeInstancesCommand } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { observeInstances, runsVersion, type PinnedVersion } from "./target-state.ts";
import type { Target } from "../domain/application.ts";

/** An instance of the release, as a smoke test finds it. */
export interface NewInstance {
  readonly id: string;
  readonly privateAddress: string | undefined;
  /** Only where the subnet gives one. */
  readonly publicAddress: string | undefined;
}

/** Ids that one request asks for (EC2 API reference, DescribeInstances: at most 1,000 in a request). */
const IDS_A_REQUEST = 500;

/** The instances in service that run the release, with their addresses; two requests for up to 500 of them. */
export async function newInstances(
  clients: AwsClients,
  target: Target,
  versions: readonly PinnedVersion[],
  imageId: string,
): Promise<readonly NewInstance[]> {
  const { inService } = await observeInstances(clients, target);
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
  return ids.map((id) => ({
    id,
    privateAddress: described.get(id)?.PrivateIpAddress,
    publicAddress: described.get(id)?.PublicIpAddress,
  }));
}
