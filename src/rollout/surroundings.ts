import { DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { type _InstanceType, DescribeInstanceTypesCommand } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { hasCode } from "../domain/errors.ts";
import { appliedInstanceType, overridesOf, templatesOf, type TargetState } from "./target-state.ts";

/** What a target's rollout depends on besides the group itself. */
export interface Surroundings {
  /** The states of the rollout's alarms: `OK`, `ALARM`, `INSUFFICIENT_DATA`; those that do not exist are absent. */
  readonly alarms: ReadonlyMap<string, string>;
  /** What each instance type that the group launches can run: `x86_64`, `arm64`; absent where AWS does not know it. */
  readonly architectures: ReadonlyMap<string, readonly string[]>;
}

/** Reads what surrounds a target: one request for its instance types, and one for its alarms where there are any. */
export async function observeSurroundings(
  clients: AwsClients,
  state: TargetState,
  wanted: { readonly alarms: readonly string[]; readonly instanceType: string | undefined },
): Promise<Surroundings> {
  const { region } = state.target;
  const [alarms, architectures] = await Promise.all([
    alarmStates(clients, region, wanted.alarms),
    architecturesOf(clients, region, instanceTypes(state, wanted.instanceType)),
  ]);
  return { alarms, architectures };
}

/** The instance types that the group's next instances may have. */
export function instanceTypes(state: TargetState, wanted: string | undefined): readonly string[] {
  const own = appliedInstanceType(state, wanted);
  const overrides = overridesOf(state).flatMap((override) => override.InstanceType ?? []);
  const types =
    overrides.length > 0
      ? overrides
      : own === undefined
        ? templatesOf(state).map((t) => t.instanceType)
        : [own];
  return [...new Set(types.flatMap((type) => type ?? []))];
}

async function alarmStates(
  clients: AwsClients,
  region: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (names.length === 0) return new Map();
  const cloudWatch = await clients.cloudWatch(region);
  const { MetricAlarms, CompositeAlarms } = await cloudWatch.send(
    new DescribeAlarmsCommand({
      AlarmNames: [...names],
      AlarmTypes: ["MetricAlarm", "CompositeAlarm"],
    }),
  );
  return new Map(
    [...(MetricAlarms ?? []), ...(CompositeAlarms ?? [])].map((alarm) => [
      alarm.AlarmName ?? "",
      alarm.StateValue ?? "",
    ]),
  );
}

async function architecturesOf(
  clients: AwsClients,
  region: string,
  types: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (types.length === 0) return new Map();
  const ec2 = await clients.ec2(region);
  try {
    const { InstanceTypes } = await ec2.send(
      new DescribeInstanceTypesCommand({ InstanceTypes: types.map((type) => type as _InstanceType) }),
    );
    return new Map(
      (InstanceTypes ?? []).map((info) => [
        info.InstanceType ?? "",
        info.ProcessorInfo?.SupportedArchitectures ?? [],
      ]),
    );
  } catch (error) {
    // A type that this region does not know makes the whole request fail: then none is vouched for. Nor is where the
    // role may not ask: a release does not depend on it.
    if (hasCode(error, "InvalidInstanceType", "InvalidParameterValue", "UnauthorizedOperation"))
      return new Map();
    throw error;
  }
}
