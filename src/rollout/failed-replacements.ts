import { type Activity, DescribeScalingActivitiesCommand } from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../aws/clients.ts";
import type { Target } from "../domain/application.ts";

/** What went wrong with a refresh's replacements. The two counts are of different instances: they may be added. */
export interface FailedReplacements {
  /** Launches that AWS refused, or gave up before the instance was in service. */
  readonly failedLaunches: number;
  /** Instances that were launched, and terminated again because something was wrong with them; the oldest first. */
  readonly replacedAgain: readonly string[];
  /** What the activities that failed say, each text once, the newest first. */
  readonly messages: readonly string[];
}

/** An instance that was launched and did not last. */
export interface LostInstance {
  readonly id: string;
  /** Why it was terminated, in AWS's words. */
  readonly cause: string;
}

/** The most that one request answers (API reference, DescribeScalingActivities); AWS lists the newest first. */
const ACTIVITIES_READ = 100;

/** Pages read at most: a large group replaced at once makes hundreds of activities, those under way first. */
const MAX_PAGES = 10;

/** A group's newest activities, in one request: those since a time, or where there is none, the newest of all. */
export async function readActivities(
  clients: AwsClients,
  target: Target,
  since: Date | undefined,
): Promise<readonly Activity[]> {
  return (await readPage(clients, target, since, undefined)).activities;
}

async function readPage(
  clients: AwsClients,
  target: Target,
  since: Date | undefined,
  token: string | undefined,
): Promise<{ readonly activities: readonly Activity[]; readonly next: string | undefined }> {
  const autoScaling = await clients.autoScaling(target.region);
  const { Activities, NextToken } = await autoScaling.send(
    new DescribeScalingActivitiesCommand({
      AutoScalingGroupName: target.autoScalingGroup,
      MaxRecords: ACTIVITIES_READ,
      ...(since === undefined ? {} : { Filters: [{ Name: "StartTimeLowerBound", Values: [second(since)] }] }),
      ...(token === undefined ? {} : { NextToken: token }),
    }),
  );
  return { activities: Activities ?? [], next: NextToken };
}

/** Whole seconds, as the API reference's examples of StartTimeLowerBound have it. */
const second = (time: Date): string => time.toISOString().replace(/\.\d+Z$/, "Z");

/**
 * Counts the replacements that failed since a refresh started: one request where that is enough to tell, more only for
 * groups that had more than 100 activities since then.
 * @param enough the count at which nothing more needs to be known
 */
export async function countFailedReplacements(
  clients: AwsClients,
  target: Target,
  since: Date,
  enough = Number.POSITIVE_INFINITY,
): Promise<FailedReplacements> {
  const activities: Activity[] = [];
  let token: string | undefined;
  for (let page = 1; ; page += 1) {
    const read = await readPage(clients, target, since, token);
    activities.push(...read.activities);
    token = read.next;
    const failed = failedReplacements(activities, since);
    const count = failed.failedLaunches + failed.replacedAgain.length;
    if (count >= enough || token === undefined || page === MAX_PAGES) return failed;
  }
}

/** The same, of activities that have been read; older ones are left out. */
export function failedReplacements(activities: readonly Activity[], since: Date): FailedReplacements {
  const recent = newestFirst(activities, since);
  const failed = recent.filter(isFailedLaunch);
  const failedIds = new Set(failed.flatMap((activity) => instanceOf(activity) ?? []));
  return {
    failedLaunches: failed.length,
    replacedAgain: lostInstances(activities, since)
      .map(({ id }) => id)
      .filter((id) => !failedIds.has(id)),
    messages: countedMessages(recent),
  };
}

/**
 * The instances launched since a time and terminated again, in the order of their launches. Not those that a scale-in
 * or the refresh itself (rolling back) took: nothing was wrong with them.
 */
export function lostInstances(activities: readonly Activity[], since: Date): readonly LostInstance[] {
  const recent = newestFirst(activities, since);
  const causes = new Map(
    recent
      .filter((activity) => TERMINATION.test(activity.Description ?? "") && !isOrderly(activity))
      .flatMap((activity) => {
        const id = instanceOf(activity);
        return id === undefined ? [] : [[id, activity.Cause ?? ""] as const];
      }),
  );
  const launched = recent.filter(isLaunch).flatMap((activity) => instanceOf(activity) ?? []);
  return [...new Set(launched.toReversed())].flatMap((id) => {
    const cause = causes.get(id);
    return cause === undefined ? [] : [{ id, cause }];
  });
}

/** Activities that go on come first in AWS's order, whenever they began (API reference, DescribeScalingActivities). */
function newestFirst(activities: readonly Activity[], since: Date): Activity[] {
  const from = Date.parse(second(since));
  const startOf = (activity: Activity): number => activity.StartTime?.getTime() ?? from;
  return activities
    .filter((activity) => startOf(activity) >= from)
    .toSorted((one, other) => startOf(other) - startOf(one));
}

/** `Launching a new EC2 instance: i-…`, as AWS describes the activity (user guide, Verify a scaling activity). */
const LAUNCH = /^Launching a new EC2 instance\b/i;
const TERMINATION = /^Terminating EC2 instance\b/i;

const isLaunch = (activity: Activity): boolean => LAUNCH.test(activity.Description ?? "");

function instanceOf(activity: Activity): string | undefined {
  return /\bi-[0-9a-f]+\b/.exec(activity.Description ?? "")?.[0];
}

/**
 * `Failed` is a launch that EC2 refused. One that began and was given up is `Cancelled` with one of these texts: an
 * abandoned lifecycle hook (user guide, Tutorial: configure user data), an encrypted volume without access to its key.
 */
const GIVEN_UP = /failed to complete user's lifecycle action|became unhealthy while waiting/i;

function isFailedLaunch(activity: Activity): boolean {
  if (!isLaunch(activity)) return false;
  return (
    activity.StatusCode === "Failed" ||
    (activity.StatusCode === "Cancelled" && GIVEN_UP.test(messageOf(activity)))
  );
}

const isOrderly = (activity: Activity): boolean =>
  /shrinking the capacity|in response to an instance refresh/i.test(activity.Cause ?? "");

function messageOf(activity: Activity): string {
  const message = activity.StatusMessage?.trim() ?? "";
  return message === "" ? (activity.Description ?? "no message") : message;
}

/** `The AMI ID … does not exist. (3 times)`. Tokens of lifecycle actions do not make two texts of one. */
function countedMessages(recent: readonly Activity[]): string[] {
  const failed = recent.filter((activity) => activity.StatusCode === "Failed" || isFailedLaunch(activity));
  const counts = new Map<string, { readonly text: string; times: number }>();
  for (const text of failed.map(messageOf)) {
    const key = text.replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, "…");
    const counted = counts.get(key) ?? { text, times: 0 };
    counted.times += 1;
    counts.set(key, counted);
  }
  return [...counts.values()].map(({ text, times }) => (times === 1 ? text : `${text} (${times} times)`));
}
