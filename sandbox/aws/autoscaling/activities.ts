/** The scaling activities of a group: one per launch or termination. */
export interface Activity {
  readonly activityId: string;
  readonly startTime: number;
  readonly cause: string;
  readonly details: string;
  description: string;
  endTime: number | undefined;
  statusCode: ActivityStatus;
  statusMessage: string | undefined;
  progress: number;
}

export type ActivityStatus =
  | "PreInService"
  | "WaitingForInstanceWarmup"
  | "WaitingForELBConnectionDraining"
  | "MidLifecycleAction"
  | "InPlaceUpdateInProgress"
  | "InProgress"
  | "Successful"
  | "Failed"
  | "Cancelled";

/** API reference, Activity: StatusMessage has at most 255 characters, Cause at most 1023. */
const messageLimit = 255;
const causeLimit = 1023;

export function startActivity(
  activity: Pick<
    Activity,
    "activityId" | "startTime" | "cause" | "description" | "statusCode" | "progress"
  > & {
    readonly availabilityZone: string;
  },
): Activity {
  const { availabilityZone, ...rest } = activity;
  return {
    ...rest,
    cause: activity.cause.slice(0, causeLimit),
    details: JSON.stringify({ "Availability Zone": availabilityZone }),
    endTime: undefined,
    statusMessage: undefined,
  };
}

export function endActivity(
  activity: Activity | undefined,
  now: number,
  statusCode: "Successful" | "Failed" | "Cancelled",
  message?: string,
): void {
  if (activity === undefined || activity.endTime !== undefined) return;
  activity.statusCode = statusCode;
  activity.statusMessage = message?.slice(0, messageLimit);
  activity.progress = 100;
  activity.endTime = now;
}

export function activityOnWire(groupName: string, activity: Activity): Record<string, unknown> {
  return {
    ActivityId: activity.activityId,
    AutoScalingGroupName: groupName,
    Description: activity.description,
    Cause: activity.cause,
    StartTime: iso(activity.startTime),
    EndTime: activity.endTime === undefined ? undefined : iso(activity.endTime),
    StatusCode: activity.statusCode,
    StatusMessage: activity.statusMessage,
    Progress: activity.progress,
    Details: activity.details,
  };
}

/** In-progress activities first, then by start time, newest first (API reference, DescribeScalingActivities). */
export function activitiesInOrder(activities: readonly Activity[]): Activity[] {
  return activities
    .toReversed()
    .sort(
      (a, b) =>
        Number(a.endTime !== undefined) - Number(b.endTime !== undefined) || b.startTime - a.startTime,
    );
}

export function iso(time: number): string {
  return new Date(time).toISOString();
}
