import { DescribeAutoScalingGroupsCommand } from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import type { Target } from "../domain/application.ts";
import { NEEDED_PROCESSES } from "./preflight.ts";

/** Instances named in one line. */
const SHOWN = 5;

/**
 * What keeps a refresh from going on without any failure: AWS neither fails nor says so (user guide: suspend and resume
 * processes; lifecycle hooks). In words for people; empty where nothing is to be seen. One request.
 */
export async function obstacles(clients: AwsClients, target: Target): Promise<readonly string[]> {
  const autoScaling = await clients.autoScaling(target.region);
  const { AutoScalingGroups } = await autoScaling.send(
    new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [target.autoScalingGroup] }),
  );
  const group = AutoScalingGroups?.[0];
  const suspended = (group?.SuspendedProcesses ?? []).flatMap(({ ProcessName }) => ProcessName ?? []);
  const stopped = NEEDED_PROCESSES.filter((name) => suspended.includes(name));
  const inState = (pattern: RegExp): string[] =>
    (group?.Instances ?? [])
      .filter(({ LifecycleState }) => pattern.test(LifecycleState ?? ""))
      .map(({ InstanceId }) => InstanceId ?? "");
  const line = (ids: readonly string[], words: string): string[] =>
    ids.length === 0
      ? []
      : [
          `${ids.slice(0, SHOWN).join(", ")}${ids.length > SHOWN ? ` and ${ids.length - SHOWN} more` : ""} ${words}`,
        ];
  return [
    ...stopped.map((name) => `the process ${name} is suspended: resume it`),
    ...line(
      inState(/^(?:Pending|Terminating|ReplacingRootVolume):Wait$/),
      "wait for a lifecycle hook to be completed",
    ),
  ];
}
