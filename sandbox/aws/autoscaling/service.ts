import { createHash } from "node:crypto";
import { AwsError } from "../query.ts";
import type { SandboxClock } from "../../clock.ts";
import type { Fleet, Place } from "../fleet.ts";
import type { Group } from "./group.ts";
import type { HealthFunction } from "./health.ts";
import type { LifecycleState, Member } from "./member.ts";
import type { AutoScalingOptions } from "./options.ts";
import type { InstanceRefresh } from "./refresh.ts";

export type AlarmState = "OK" | "ALARM" | "INSUFFICIENT_DATA";

export interface LaunchConfiguration {
  readonly launchConfigurationName: string;
  readonly imageId: string;
  readonly instanceType: string;
}

/** What the service has of one account in one region. */
export interface Region {
  readonly place: Place;
  readonly groups: Map<string, Group>;
  readonly launchConfigurations: Map<string, LaunchConfiguration>;
}

/** As Amazon EventBridge would deliver it (user guide: Create EventBridge rules for instance refresh events). */
export interface RefreshEvent {
  readonly time: number;
  readonly detailType: string;
  readonly detail: Readonly<Record<string, string>>;
}

/** The whole state of the sandbox's Auto Scaling. */
export interface Service {
  readonly clock: SandboxClock;
  readonly fleet: Fleet;
  readonly options: AutoScalingOptions;
  readonly regions: Map<string, Region>;
  /** CloudWatch alarms by name; the same in all regions. */
  readonly alarms: Map<string, AlarmState>;
  readonly events: RefreshEvent[];
  health: HealthFunction;
  /** Counts everything that needs an id or an order. */
  ordinal: number;
}

/** What becomes of a member whose state has lasted its time. */
export type Transition = (service: Service, group: Group, member: Member, now: number) => void;
export type Transitions = Readonly<Partial<Record<LifecycleState, Transition>>>;

export function regionOf(service: Service, place: Place): Region {
  const key = `${place.accountId}/${place.region}`;
  const known = service.regions.get(key);
  if (known !== undefined) return known;
  const region: Region = {
    place: { region: place.region, accountId: place.accountId },
    groups: new Map(),
    launchConfigurations: new Map(),
  };
  service.regions.set(key, region);
  return region;
}

export function requireGroup(service: Service, place: Place, name: string): Group {
  const group = regionOf(service, place).groups.get(name);
  // The text is AWS's habit of other operations; for refreshes it is not documented.
  if (group === undefined)
    throw new AwsError("ValidationError", `AutoScalingGroup name not found - AutoScalingGroup: ${name}`);
  return group;
}

/** A UUID that is the same in every run of the same story. */
export function newId(service: Service): string {
  service.ordinal += 1;
  const hex = createHash("sha1").update(`autoscaling-${service.ordinal}`).digest("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `a${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}

export function announce(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  what: string,
  more: Readonly<Record<string, string>> = {},
): void {
  service.events.push({
    time: service.clock.now(),
    detailType: `EC2 Auto Scaling Instance Refresh ${what}`,
    detail: { InstanceRefreshId: refresh.id, AutoScalingGroupName: group.name, ...more },
  });
}
