import { nextStep, share, surplusVictims } from "./capacity.ts";
import { activeRefresh } from "./group.ts";
import { isArriving, isLeaving, isReplacingRootVolume, unitsOf, weightOf } from "./member.ts";
import { launchUnits } from "./members.ts";
import { endRefresh, isReplacing } from "./refresh.ts";
import { beginRollback, endRollback, isReversible } from "./refresh-rollback.ts";
import { announce } from "./service.ts";
import { livePercentage, publishProgress, publishRollback } from "./refresh-progress.ts";
import { stepRootVolumes } from "./root-volume-refresh.ts";
import { boundsOf, goalOf, noteProgress, survey } from "./survey.ts";
import { isWarmPoolDone, noteWarmProgress, stepWarmPool, surveyWarm } from "./warm-refresh.ts";
import { usesInstanceRequirements } from "./configuration.ts";
import { terminateMember } from "./termination.ts";
import type { Step } from "./capacity.ts";
import type { Group } from "./group.ts";
import type { Member } from "./member.ts";
import type { InstanceRefresh } from "./refresh.ts";
import type { AlarmState, Service } from "./service.ts";
import type { Survey } from "./survey.ts";

const cause = "an instance refresh";

/** Takes one step of the group's active refresh; true when something changed and it may go on at once. */
export function stepRefresh(service: Service, group: Group, now: number): boolean {
  const refresh = activeRefresh(group);
  if (refresh === undefined) return false;
  countTime(service, refresh, now);
  if (refresh.status === "Pending") return begin(service, group, refresh, now);
  if (refresh.status === "InProgress") return replace(service, group, refresh, now);
  if (refresh.status === "Baking") return bake(service, group, refresh, now);
  if (refresh.status === "RollbackInProgress") return rollBack(service, group, refresh, now);
  return cancel(service, group, refresh, now);
}

/** The time since the last step counts as active replacing, or moves the stuck clock on while it stands still. */
function countTime(service: Service, refresh: InstanceRefresh, now: number): void {
  const { engine } = refresh;
  const passed = now - engine.steppedAt;
  engine.steppedAt = now;
  if (isReplacing(refresh)) engine.active += passed;
  const frozen = engine.mode === "paused" && service.options.freezeStuckWhilePaused;
  if (frozen && engine.stuckSince !== undefined) engine.stuckSince += passed;
  engine.mode = "replacing";
}

function begin(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  if (now < refresh.createdAt + service.options.pending || group.suspended.has("InstanceRefresh"))
    return false;
  refresh.status = "InProgress";
  refresh.startTime = now;
  announce(service, group, refresh, "Started");
  const configurations = [group.configuration, refresh.desiredConfiguration ?? {}];
  const compares = refresh.preferences.skipMatching || refresh.desiredConfiguration !== undefined;
  // User guide, Instance refresh overview: it "will fail if you start it with" either on such a group.
  if (compares && configurations.some(usesInstanceRequirements)) {
    fail(
      service,
      group,
      refresh,
      now,
      "Skip matching and desired configurations are not available for groups that use attribute-based instance type selection.",
    );
  }
  return true;
}

function replace(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  const { engine } = refresh;
  const seen = survey(service, group, refresh, now);
  const warm = surveyWarm(service, group, refresh);
  publishProgress(service, refresh, seen, warm);
  noteProgress(refresh, seen, now);
  noteWarmProgress(refresh, warm);
  noteGrowth(group, refresh);
  const alarm = alarmState(service, refresh);
  if (alarm === "ALARM") return fail(service, group, refresh, now, alarmReason(service, refresh));
  const tired = exhausted(service, refresh, now);
  if (tired !== undefined) return fail(service, group, refresh, now, tired);
  const pause = pauseReason(group, alarm);
  if (pause !== undefined) return wait(service, refresh, now, pause);
  if (service.options.trimBeforeCheckpoint && trim(service, group, seen, now)) return true;
  if (engine.checkpointUntil !== undefined && now < engine.checkpointUntil) {
    engine.mode = "sleeping";
    return false;
  }
  if (reachCheckpoint(service, group, refresh, now)) return true;
  if (isFinished(group, refresh, seen)) {
    // A last checkpoint below 100 ends the refresh before the turn of the warm pool (not documented).
    return warm === undefined || goalOf(refresh) < 100 || isWarmPoolDone(warm)
      ? finish(service, group, refresh, now)
      : stepWarmPool(service, group, refresh, warm, now);
  }
  for (const member of seen.standby) terminateMember(service, group, member, now, cause);
  if (seen.standby.length > 0) return true;
  const next =
    refresh.preferences.checkpointPercentages.find((checkpoint) => checkpoint > engine.passed) ??
    goalOf(refresh);
  const allowance = Math.max(0, share(next, seen.counted) - seen.started);
  return act(service, group, refresh, seen, allowance, now);
}

/** Checkpoints may be reached again after the group has grown (user guide: Add checkpoints to an instance refresh). */
function noteGrowth(group: Group, refresh: InstanceRefresh): void {
  const { engine, preferences } = refresh;
  const { desiredCapacity } = group.settings;
  if (desiredCapacity > engine.desired) {
    const reached = preferences.checkpointPercentages.filter(
      (checkpoint) => checkpoint <= livePercentage(refresh),
    );
    engine.passed = Math.min(engine.passed, reached.at(-1) ?? 0);
  }
  engine.desired = desiredCapacity;
}

/** Of several checkpoints crossed at once only the highest counts; the last one ends the refresh instead. */
function reachCheckpoint(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  const { engine, preferences } = refresh;
  const complete = livePercentage(refresh);
  const crossed = preferences.checkpointPercentages.findLast(
    (checkpoint) => checkpoint > engine.passed && checkpoint <= complete && checkpoint < 100,
  );
  if (crossed === undefined) return false;
  engine.passed = crossed;
  const delay = preferences.checkpointDelay ?? 0;
  const isLast = crossed === goalOf(refresh);
  if (!isLast) engine.checkpointUntil = now + delay * 1000;
  announce(service, group, refresh, "Checkpoint Reached", {
    CheckpointPercentage: String(crossed),
    CheckpointDelay: String(delay),
  });
  return true;
}

function isFinished(group: Group, refresh: InstanceRefresh, seen: Survey): boolean {
  const settled =
    seen.pending === 0 && seen.terminating === 0 && seen.ready >= group.settings.desiredCapacity;
  if (!settled || surplusVictims(standing(group, seen)) > 0) return false;
  const goal = goalOf(refresh);
  if (goal < 100 && unitsOf(seen.updated) >= share(goal, seen.counted)) return true;
  return seen.victims.length + seen.idle.length + seen.awaited + seen.standby.length === 0;
}

function finish(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  const { bakeTime } = refresh.preferences;
  if (bakeTime === 0) return succeed(service, group, refresh, now);
  refresh.status = "Baking";
  refresh.statusReason = undefined;
  refresh.engine.bakeUntil = now + bakeTime * 1000;
  return true;
}

/** The desired configuration replaces the saved one whole: a mixed instances policy does not survive a plain template. */
function succeed(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  group.configuration = refresh.desiredConfiguration ?? group.configuration;
  endRefresh(refresh, now, "Successful");
  announce(service, group, refresh, "Succeeded");
  return true;
}

function bake(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  if (service.options.alarmFailsInBaking && alarmState(service, refresh) === "ALARM")
    return fail(service, group, refresh, now, alarmReason(service, refresh));
  if (now < (refresh.engine.bakeUntil ?? 0)) return false;
  return succeed(service, group, refresh, now);
}

function fail(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  now: number,
  reason: string,
): boolean {
  if (refresh.preferences.autoRollback && isReversible(service, group, refresh)) {
    beginRollback(service, group, refresh, now, reason);
    return true;
  }
  endRefresh(refresh, now, "Failed", reason);
  announce(service, group, refresh, "Failed");
  return true;
}

function rollBack(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  const seen = survey(service, group, refresh, now);
  noteProgress(refresh, seen, now);
  const warm = surveyWarm(service, group, refresh);
  noteWarmProgress(refresh, warm);
  publishRollback(service, group, refresh, seen, warm);
  const tired = exhausted(service, refresh, now);
  if (tired !== undefined) return endRollback(service, group, refresh, now, tired);
  const pause = pauseReason(group, "OK");
  if (pause !== undefined) return wait(service, refresh, now, pause);
  const remaining = seen.victims.length + seen.idle.length + seen.awaited;
  if (remaining + seen.pending + seen.terminating === 0 && seen.ready >= group.settings.desiredCapacity) {
    return warm === undefined || isWarmPoolDone(warm)
      ? endRollback(service, group, refresh, now)
      : stepWarmPool(service, group, refresh, warm, now);
  }
  return act(service, group, refresh, seen, Infinity, now);
}

/** API reference, CancelInstanceRefresh: waits for launches and terminations in flight, undoes nothing. */
function cancel(service: Service, group: Group, refresh: InstanceRefresh, now: number): boolean {
  if ([...group.members, ...group.warm].some(isInFlight)) return false;
  endRefresh(refresh, now, "Cancelled", refresh.statusReason);
  announce(service, group, refresh, "Cancelled");
  return true;
}

function isInFlight(member: Member): boolean {
  return isArriving(member) || isLeaving(member) || isReplacingRootVolume(member);
}

function standing(group: Group, seen: Survey) {
  return {
    desired: group.settings.desiredCapacity,
    ready: seen.ready,
    pending: seen.pending,
    terminating: seen.terminating,
    victims: seen.victims.map(weightOf),
    idle: seen.idle.map(weightOf),
  };
}

function trim(service: Service, group: Group, seen: Survey, now: number): boolean {
  const surplus = surplusVictims(standing(group, seen));
  for (const member of seen.victims.slice(0, surplus)) terminateMember(service, group, member, now, cause);
  return surplus > 0;
}

function act(
  service: Service,
  group: Group,
  refresh: InstanceRefresh,
  seen: Survey,
  allowance: number,
  now: number,
): boolean {
  if (refresh.strategy === "ReplaceRootVolume")
    return stepRootVolumes(service, group, refresh, seen, allowance, now);
  const step = nextStep(
    { ...standing(group, seen), allowance },
    boundsOf(service, group, refresh),
    service.options.countTerminating,
  );
  const blocked = step.launch > 0 && now < group.nextLaunchAt;
  const acts = !blocked && step.terminate + step.terminateIdle + step.launch > 0;
  if (acts) perform(service, group, seen, step, now);
  else if (seen.pending === 0 && seen.terminating === 0) refresh.engine.stuckSince ??= now;
  return acts;
}

function perform(service: Service, group: Group, seen: Survey, step: Step, now: number): void {
  const leaving = [...seen.victims.slice(0, step.terminate), ...seen.idle.slice(0, step.terminateIdle)];
  for (const member of leaving) terminateMember(service, group, member, now, cause);
  launchUnits(service, group, now, step.launch, cause);
}

function wait(service: Service, refresh: InstanceRefresh, now: number, reason: string): boolean {
  refresh.engine.mode = "paused";
  refresh.statusReason = reason;
  if (!service.options.freezeStuckWhilePaused) refresh.engine.stuckSince ??= now;
  return false;
}

/** User guide, Suspend and resume processes: a suspended process pauses a refresh, it does not end it. */
function pauseReason(group: Group, alarm: AlarmState): string | undefined {
  const process = (["InstanceRefresh", "Launch", "Terminate"] as const).find((name) =>
    group.suspended.has(name),
  );
  if (process !== undefined) return `Instances are not replaced while the ${process} process is suspended.`;
  // User guide, Undo changes with a rollback: no replacing "until new data points are found".
  return alarm === "INSUFFICIENT_DATA"
    ? "Waiting for an alarm that is in the INSUFFICIENT_DATA state."
    : undefined;
}

function exhausted(service: Service, refresh: InstanceRefresh, now: number): string | undefined {
  const { stuckAfter, activeLimit } = service.options;
  const { engine } = refresh;
  if (engine.active >= activeLimit)
    return "The instance refresh was actively replacing instances for 14 days.";
  // A pause freezes the clock only where this option says so, hence no regard to it here: `countTime` moves it.
  return engine.stuckSince !== undefined && now - engine.stuckSince >= stuckAfter
    ? "No instance could be replaced for one hour."
    : undefined;
}

function alarmState(service: Service, refresh: InstanceRefresh): AlarmState {
  const states = refresh.preferences.alarms.map((name) => service.alarms.get(name) ?? "INSUFFICIENT_DATA");
  if (states.includes("ALARM")) return "ALARM";
  return states.includes("INSUFFICIENT_DATA") ? "INSUFFICIENT_DATA" : "OK";
}

function alarmReason(service: Service, refresh: InstanceRefresh): string {
  const name = refresh.preferences.alarms.find((alarm) => service.alarms.get(alarm) === "ALARM") ?? "";
  return `The alarm ${name} is in the ALARM state.`;
}
