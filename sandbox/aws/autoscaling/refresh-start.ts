import { AwsError } from "../query.ts";
import { normalise, readConfiguration } from "./configuration.ts";
import { checkInteger, integer, invalid, oneOf } from "./constraints.ts";
import { activeRefresh } from "./group.ts";
import { newEngineState } from "./refresh.ts";
import { irreversible } from "./refresh-rollback.ts";
import { checkRootVolumes } from "./root-volume-refresh.ts";
import { newId } from "./service.ts";
import { checkImages, usesImageAlias } from "./target.ts";
import type { Query } from "../query.ts";
import type { Configuration } from "./configuration.ts";
import type { Group } from "./group.ts";
import type { InstanceRefresh, Preferences } from "./refresh.ts";
import type { Service } from "./service.ts";

const twoDays = 172_800;

/** StartInstanceRefresh, once the group is found: checks everything, then adds a `Pending` refresh to the group. */
export function startRefresh(service: Service, group: Group, query: Query, now: number): InstanceRefresh {
  if (activeRefresh(group) !== undefined) {
    throw new AwsError(
      "InstanceRefreshInProgress",
      "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
    );
  }
  const strategy = oneOf(query, "Strategy", ["Rolling", "ReplaceRootVolume"]) ?? "Rolling";
  const preferences = readPreferences(group, query.struct("Preferences"));
  const desiredConfiguration = readDesired(service, group, query.struct("DesiredConfiguration"));
  checkConfiguration(service, group, preferences, desiredConfiguration);
  if (strategy === "ReplaceRootVolume") checkRootVolumes(service, group, desiredConfiguration);
  checkAlarms(service, preferences.alarms);
  const id = newId(service);
  const refresh: InstanceRefresh = {
    id,
    ordinal: service.ordinal,
    createdAt: now,
    strategy,
    preferences,
    maintenancePolicy: group.settings.maintenancePolicy !== undefined,
    desiredConfiguration,
    savedConfiguration: group.configuration,
    status: "Pending",
    statusReason: undefined,
    startTime: undefined,
    endTime: undefined,
    percentageComplete: undefined,
    instancesToUpdate: undefined,
    progress: undefined,
    rollback: undefined,
    engine: newEngineState(now, group.settings.desiredCapacity),
  };
  group.refreshes.push(refresh);
  return refresh;
}

function readDesired(service: Service, group: Group, query: Query | undefined): Configuration | undefined {
  const request = query === undefined ? undefined : readConfiguration(query);
  return request === undefined ? undefined : normalise(service.fleet, group.place, request);
}

/** Ranges and defaults of the API reference, RefreshPreferences. */
function readPreferences(group: Group, query: Query | undefined): Preferences {
  const { maintenancePolicy, defaultInstanceWarmup, healthCheckGracePeriod } = group.settings;
  const number = (name: string, minimum: number, maximum: number) =>
    query === undefined ? undefined : integer(query, name, minimum, maximum);
  const range = readRange(number("MinHealthyPercentage", 0, 100), number("MaxHealthyPercentage", 100, 200));
  return {
    minHealthyPercentage: range.min ?? maintenancePolicy?.min ?? 90,
    maxHealthyPercentage: range.max ?? maintenancePolicy?.max,
    instanceWarmup:
      number("InstanceWarmup", 0, 2_147_483_647) ?? defaultInstanceWarmup ?? healthCheckGracePeriod,
    ...readCheckpoints(query),
    skipMatching: query?.boolean("SkipMatching") ?? false,
    autoRollback: query?.boolean("AutoRollback") ?? false,
    scaleInProtectedInstances:
      (query && oneOf(query, "ScaleInProtectedInstances", ["Refresh", "Ignore", "Wait"])) ?? "Wait",
    standbyInstances: (query && oneOf(query, "StandbyInstances", ["Terminate", "Ignore", "Wait"])) ?? "Wait",
    alarms: readAlarms(query),
    bakeTime: number("BakeTime", 0, twoDays) ?? 0,
  };
}

function readRange(min: number | undefined, max: number | undefined) {
  if (max !== undefined && min === undefined)
    throw invalid("You must specify MinHealthyPercentage when you specify MaxHealthyPercentage.");
  if (max !== undefined && min !== undefined && max - min > 100)
    throw invalid(
      "The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.",
    );
  return { min, max };
}

function readCheckpoints(
  query: Query | undefined,
): Pick<Preferences, "checkpointPercentages" | "checkpointDelay"> {
  const texts = query?.strings("CheckpointPercentages") ?? [];
  const checkpointPercentages = texts.map((text) => checkInteger("CheckpointPercentages", text, 1, 100));
  const given = query === undefined ? undefined : integer(query, "CheckpointDelay", 0, twoDays);
  if (checkpointPercentages.some((value, index) => value <= (checkpointPercentages[index - 1] ?? 0)))
    throw invalid("The checkpoint percentages must be unique and in ascending order.");
  if (texts.length > 0) return { checkpointPercentages, checkpointDelay: given ?? 3600 };
  if (given !== undefined)
    throw invalid("You must specify CheckpointPercentages when you specify CheckpointDelay.");
  return { checkpointPercentages, checkpointDelay: undefined };
}

function readAlarms(query: Query | undefined): string[] {
  const alarms = query?.struct("AlarmSpecification")?.strings("Alarms") ?? [];
  if (alarms.length > 10) throw invalid("You can specify at most 10 CloudWatch alarms.");
  return alarms;
}

function checkConfiguration(
  service: Service,
  group: Group,
  preferences: Preferences,
  desired: Configuration | undefined,
): void {
  const { place, configuration: saved } = group;
  if (preferences.autoRollback && desired === undefined) {
    throw invalid(
      "The request isn't valid. The AutoRollback parameter cannot be set to true when the DesiredConfiguration parameter is empty. Set AutoRollback to false or specify a desired configuration and try again.",
    );
  }
  const compares = desired !== undefined || preferences.skipMatching;
  // User guide, Use AWS Systems Manager parameters: "you will not be able to start an instance refresh" with either.
  if (compares && usesImageAlias(service, place, saved)) {
    throw invalid(
      "A desired configuration and skip matching are not available while the launch template of the group has an SSM parameter instead of an AMI ID.",
    );
  }
  // User guide, Undo changes with a rollback: "you receive an error when you start … with auto rollback enabled".
  if (preferences.autoRollback && irreversible(service, place, saved) !== undefined) {
    throw invalid(
      "The AutoRollback parameter cannot be set to true when the Auto Scaling group uses the $Latest or $Default version of its launch template.",
    );
  }
  checkImages(service, place, desired ?? saved);
}

/** User guide, Undo changes with a rollback: an alarm in ALARM or INSUFFICIENT_DATA refuses the start. */
function checkAlarms(service: Service, names: readonly string[]): void {
  for (const name of names) {
    const state = service.alarms.get(name);
    if (state === undefined) throw invalid(`The alarm ${name} does not exist.`);
    if (state !== "OK")
      throw invalid(`The instance refresh cannot start because the alarm ${name} is in the ${state} state.`);
  }
}
