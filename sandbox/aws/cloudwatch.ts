/** CloudWatch, as far as alarms are looked at: DescribeAlarms. The same alarms are in all accounts and regions. */
import type { SandboxClock } from "../clock.ts";
import type { AlarmState } from "./autoscaling/world.ts";
import { AwsError } from "./query.ts";
import type { Call, Operations, Query } from "./query.ts";

export type AlarmType = "MetricAlarm" | "CompositeAlarm";

export interface AlarmDetails {
  readonly type?: AlarmType;
  /** Default: a threshold that was crossed or not. */
  readonly reason?: string;
}

export interface CloudWatchWorld {
  readonly operations: Operations;
  /** Tells CloudWatch alone. In a whole sandbox `autoScaling.setAlarm` tells both, and is what tests call. */
  setAlarm(name: string, state: AlarmState): void;
  /** What else DescribeAlarms says of an alarm, from now on. Before its state is set the alarm does not exist. */
  detailAlarm(name: string, details: AlarmDetails): void;
}

interface Alarm {
  readonly name: string;
  readonly state: AlarmState;
  readonly since: number;
}

export function createCloudWatchWorld({ clock }: { readonly clock: SandboxClock }): CloudWatchWorld {
  const alarms = new Map<string, Alarm>();
  const details = new Map<string, AlarmDetails>();
  return {
    operations: { DescribeAlarms: (call) => describe(alarms, details, call) },
    setAlarm(name, state) {
      // The time is that of the last change of state, not of the last evaluation (API reference, MetricAlarm).
      if (alarms.get(name)?.state === state) return;
      alarms.set(name, { name, state, since: clock.now() });
    },
    detailAlarm(name, more) {
      details.set(name, { ...details.get(name), ...more });
    },
  };
}

/** API reference, DescribeAlarms: names that do not exist are left out, and without AlarmTypes only metric alarms come. */
function describe(
  alarms: ReadonlyMap<string, Alarm>,
  details: ReadonlyMap<string, AlarmDetails>,
  call: Call,
): Record<string, unknown> {
  const { query } = call;
  const typeOf = ({ name }: Alarm): AlarmType => details.get(name)?.type ?? "MetricAlarm";
  const types = alarmTypes(query);
  const chosen = [...alarms.values()]
    .filter((alarm) => types.includes(typeOf(alarm)) && isAskedFor(query, alarm))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const { items, NextToken } = page(query, chosen);
  const shown = (type: AlarmType): Record<string, unknown>[] =>
    items
      .filter((alarm) => typeOf(alarm) === type)
      .map((alarm) => rendered(call, alarm, details.get(alarm.name)?.reason));
  return {
    MetricAlarms: { member: shown("MetricAlarm") },
    CompositeAlarms: { member: shown("CompositeAlarm") },
    NextToken,
  };
}

function alarmTypes(query: Query): readonly string[] {
  const types = query.strings("AlarmTypes");
  return types.length === 0 ? ["MetricAlarm"] : types;
}

function isAskedFor(query: Query, alarm: Alarm): boolean {
  const names = query.strings("AlarmNames");
  const prefix = query.string("AlarmNamePrefix");
  if (names.length > 0 && prefix !== undefined) {
    throw new AwsError("InvalidParameterCombination", "AlarmNames and AlarmNamePrefix exclude each other");
  }
  if (names.length > 100) throw new AwsError("ValidationError", "At most 100 alarm names can be asked for");
  const state = query.string("StateValue");
  return (
    (names.length === 0 || names.includes(alarm.name)) &&
    alarm.name.startsWith(prefix ?? "") &&
    (state === undefined || alarm.state === state)
  );
}

function rendered(call: Call, { name, state, since }: Alarm, reason?: string): Record<string, unknown> {
  return {
    AlarmName: name,
    AlarmArn: `arn:aws:cloudwatch:${call.region}:${call.accountId}:alarm:${name}`,
    ActionsEnabled: true,
    StateValue: state,
    StateReason: reason ?? reasons[state],
    StateUpdatedTimestamp: new Date(since),
  };
}

/** In the manner of CloudWatch (user guide, Alarm events and EventBridge), whose texts are not documented. */
const reasons: Readonly<Record<AlarmState, string>> = {
  OK: "Threshold Crossed: 1 datapoint [0.0] was not greater than the threshold (1.0).",
  ALARM: "Threshold Crossed: 1 datapoint [12.0] was greater than the threshold (1.0).",
  INSUFFICIENT_DATA: "Insufficient Data: 1 datapoint was unknown.",
};

function page(query: Query, alarms: readonly Alarm[]): { items: readonly Alarm[]; NextToken?: string } {
  const size = query.number("MaxRecords") ?? 50;
  if (!(size >= 1 && size <= 100)) throw new AwsError("ValidationError", "MaxRecords is between 1 and 100");
  const token = query.string("NextToken");
  const start = token === undefined ? 0 : Number(/^next-(\d+)$/.exec(token)?.[1]);
  if (Number.isNaN(start)) throw new AwsError("InvalidNextToken", "The next token specified is invalid.");
  const end = start + size;
  const items = alarms.slice(start, end);
  return end < alarms.length ? { items, NextToken: `next-${end}` } : { items };
}
