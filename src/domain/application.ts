/** What the config file describes, after all checks and defaults. */
export interface Application {
  readonly name: string;
  readonly image: ImageRecipe;
  /** In the file's order. */
  readonly environments: readonly Environment[];
  /** The first segment of the records' names: `release`. */
  readonly recordPrefix: string;
  /** Absent: {@link DEFAULT_PRUNE}. */
  readonly prune?: PruneSettings;
}

/** Which images `prune` keeps. Durations are in milliseconds. */
export interface PruneSettings {
  /** The images of that many newest records of each environment stay. */
  readonly keep: number;
  /** Younger images stay, and those that somebody launched within that time. */
  readonly minAge: number;
  /** How long an image stays deprecated before it is deregistered. */
  readonly grace: number;
}

const DAY = 24 * 60 * 60_000;
export const DEFAULT_PRUNE: PruneSettings = { keep: 10, minAge: 7 * DAY, grace: 14 * DAY };

/** How an image is made. Paths are relative to the repository's root, with `/`. */
export interface ImageRecipe {
  /** A Packer template: a file or a folder. */
  readonly template: string;
  /** Globs of files that decide the content, besides the template; undefined: everything in the template's folder. */
  readonly inputs: readonly string[] | undefined;
  readonly vars: Readonly<Record<string, string>>;
  readonly varFiles: readonly string[];
  /** Milliseconds after which an image is baked anew. */
  readonly maxAge: number | undefined;
  /** The folder that Packer runs in; absent: the repository's root. */
  readonly workingDirectory?: string;
  /** The only builds that Packer runs; absent: all. */
  readonly only?: readonly string[];
  /** Builds that Packer leaves out; absent: none. */
  readonly except?: readonly string[];
  /** Earlier names of the repository, `owner/name`, whose images count as this one's; absent: none. */
  readonly formerRepositories?: readonly string[];
}

/** A named place where the application runs. */
export interface Environment {
  readonly name: string;
  /** Branch names or globs whose pushes this environment serves. */
  readonly branches: readonly string[];
  /** The environment that must have run an image before it may come here. */
  readonly requires: string | undefined;
  readonly instanceType: string | undefined;
  /** Where images are baked, the same for all environments of a file; undefined: the first target's region. */
  readonly imageRegion?: string | undefined;
  /** The role in the targets' account; undefined: the run's own credentials are for it. */
  readonly roleToAssume?: string | undefined;
  readonly targets: readonly Target[];
  readonly rollout: RolloutSettings;
}

/** One Auto Scaling group in one region. */
export interface Target {
  readonly region: string;
  readonly autoScalingGroup: string;
  /** The key that its image is encrypted with; undefined: as it was baked. */
  readonly kmsKey?: string | undefined;
}

/** `eu-west-1`, `us-gov-west-1`; a region becomes a part of the name of the server that is asked. */
export const REGION = /^[a-z]{2}(?:-[a-z]{1,20}){1,3}-\d$/;
/** The longest name of a group (API reference, CreateAutoScalingGroup). */
export const MAX_GROUP_NAME = 255;

/** `eu-west-1/web-production`, as logs and errors name a target. */
export function targetName(target: Target): string {
  return `${target.region}/${target.autoScalingGroup}`;
}

export const STRATEGIES = ["rolling", "canary", "all-at-once", "recycle", "replace-root-volume"] as const;
export type Strategy = (typeof STRATEGIES)[number];
export const DEFAULT_STRATEGY: Strategy = "rolling";

/** The `rollout:` keys as the user set them; what is absent is the strategy's. Durations are in seconds, as in the API. */
export interface RolloutSettings {
  readonly strategy: Strategy;
  /** `canary`: how many go first: a number of instances, or a percentage of the capacity. */
  readonly canary?: { readonly instances: number } | { readonly percentage: number };
  readonly minHealthy?: number;
  readonly maxHealthy?: number;
  readonly instanceWarmup?: number;
  readonly checkpoints?: readonly number[];
  readonly checkpointDelay?: number;
  readonly bakeTime?: number;
  readonly alarms?: readonly string[];
  readonly skipMatching?: boolean;
  readonly autoRollback?: boolean;
  readonly scaleInProtected?: "refresh" | "ignore" | "wait";
  readonly standby?: "terminate" | "ignore" | "wait";
  readonly smokeTest?: SmokeTest;
  /** Replacements that may fail before the rollout is rolled back; absent: {@link DEFAULT_MAX_LAUNCH_FAILURES}. */
  readonly maxLaunchFailures?: number;
  /** How several targets are taken; absent: `parallel`. */
  readonly order?: "parallel" | "sequential";
}

export const DEFAULT_MAX_LAUNCH_FAILURES = 3;

/** A command run on the runner against new instances: at each checkpoint, and at the end. */
export interface SmokeTest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly [program: string, ...args: string[]];
  /** Seconds; longer counts as failed. */
  readonly timeout: number;
}
