/**
 * How long things take in the sandbox, and how it decides what AWS does not document. A client must work under
 * both values of every choice, so tests run it under both.
 */
export interface AutoScalingOptions {
  /** Milliseconds that a refresh stays `Pending`. */
  readonly pending: number;
  /** Milliseconds from launching an instance until it is `InService`. */
  readonly launch: number;
  /** Milliseconds that a member is `Terminating`: its target groups drain, or EC2 shuts it down. */
  readonly drain: number;
  /** Milliseconds that a member goes on after its lifecycle hooks (`Pending:Proceed` and the like). */
  readonly proceed: number;
  /** Milliseconds that replacing a root volume takes. */
  readonly rootVolume: number;
  /** Milliseconds between a launch that failed and the next try. */
  readonly launchRetry: number;
  /** "No progress" after which a refresh fails (user guide: Instance refresh overview, one hour). */
  readonly stuckAfter: number;
  /** Active replacing after which a refresh fails (user guide: Instance refresh overview, 14 days). */
  readonly activeLimit: number;
  /** The ceiling from MaxHealthyPercentage is rounded this way. */
  readonly roundMax: "down" | "up";
  /** Whether terminating instances still count against the ceiling. */
  readonly countTerminating: boolean;
  /** Whether the hour without progress stands still while a refresh is paused or stalled. */
  readonly freezeStuckWhilePaused: boolean;
  /** Whether RollbackInstanceRefresh is accepted while `Baking`. */
  readonly allowRollbackInBaking: boolean;
  /** Whether an alarm fails a refresh while `Baking`. */
  readonly alarmFailsInBaking: boolean;
  /**
   * `creation`: newest first (API reference, DescribeInstanceRefreshes); `start`: in progress first, then by start
   * time, those that have none yet last (user guide: Check the status of an instance refresh).
   */
  readonly describeOrder: "creation" | "start";
  readonly pctRounding: "down" | "nearest" | "up";
  /** Whether a refresh may launch more instances than MaxSize. */
  readonly maxSizeCapsSurge: boolean;
  /** Whether instances that SkipMatching left alone count as updated in PercentageComplete. */
  readonly skipMatchCountsAsUpdated: boolean;
  /** Whether surplus old instances go before the refresh sleeps at a checkpoint. */
  readonly trimBeforeCheckpoint: boolean;
  /** Which override of a mixed instances policy a launch takes: AWS's own choice depends on prices and capacity. */
  readonly pickOverride: "first" | "spread";
}

const hour = 3_600_000;

export const defaultOptions: AutoScalingOptions = {
  pending: 2000,
  launch: 30_000,
  drain: 20_000,
  proceed: 1000,
  rootVolume: 60_000,
  launchRetry: 60_000,
  stuckAfter: hour,
  activeLimit: 14 * 24 * hour,
  roundMax: "down",
  countTerminating: false,
  freezeStuckWhilePaused: true,
  allowRollbackInBaking: true,
  alarmFailsInBaking: true,
  describeOrder: "creation",
  pctRounding: "down",
  maxSizeCapsSurge: false,
  skipMatchCountsAsUpdated: true,
  trimBeforeCheckpoint: true,
  pickOverride: "first",
};
