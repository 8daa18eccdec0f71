import type { ReleaseChanges } from "./changes.ts";
import type { Digest, ImageId } from "./image.ts";

/** What a run came to. */
export const OUTCOMES = ["succeeded", "unchanged", "skipped", "planned", "rolled-back", "failed"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Everything that a run found out or did, as the `result` output states it; each fact as soon as it is one. */
export interface Result {
  readonly command: string;
  readonly outcome: Outcome;
  readonly application?: string;
  readonly commit?: string;
  readonly version?: string;
  readonly image?: ImageResult;
  /** One entry for each environment that was reached, in order. */
  readonly environments: readonly EnvironmentResult[];
  /** `status`: one entry for each environment. */
  readonly status?: readonly StatusResult[];
  /** `prune`: what became of the images, or in a dry run what would. */
  readonly prune?: PruneResult;
  /** Lists or texts were shortened: the whole would have been too long for an output. */
  readonly cut?: true;
  readonly error?: { readonly message: string; readonly state?: string; readonly next?: string };
}

export interface ImageResult {
  readonly digest: Digest;
  readonly name?: string;
  /** Region → AMI. */
  readonly ids?: Readonly<Record<string, ImageId>>;
  /** True when this run baked it, false when an image with this digest was reused. */
  readonly baked?: boolean;
  /** The commit that it was baked from. */
  readonly commit?: string;
  /** RFC 3339. */
  readonly created?: string;
  /** Region → base AMI. */
  readonly baseImages?: Readonly<Record<string, ImageId>>;
  /** The bake's phases in seconds. */
  readonly phases?: readonly { readonly phase: string; readonly seconds: number }[];
}

export interface EnvironmentResult {
  readonly environment: string;
  readonly outcome: Outcome;
  /** The record's tag. */
  readonly release?: string;
  readonly releaseNumber?: number;
  /** The tag of the record before it. */
  readonly previousRelease?: string;
  /** Region → AMI that ran before, by the record. */
  readonly previousImages?: Readonly<Record<string, ImageId>>;
  readonly plan?: readonly string[];
  readonly warnings?: readonly string[];
  readonly targets?: readonly TargetResult[];
  /** What the release changes against the one before it, as far as it is known. */
  readonly changes?: ReleaseChanges;
  /** The record's message, where it was rolled out but could not be recorded. */
  readonly unrecorded?: string;
}

export interface TargetResult {
  readonly region: string;
  readonly autoScalingGroup: string;
  readonly launchTemplate?: string;
  readonly launchTemplateVersion?: string;
  readonly instanceRefresh?: string;
  /** `adopted` where the refresh was already running. */
  readonly adopted?: boolean;
  /** Seconds that the refresh took. */
  readonly seconds?: number;
  /** Instances in service that were seen to run the image. */
  readonly verified?: number;
  /** Where the target ended; absent while it is under way. */
  readonly ended?: TargetEnd;
}

/** Where a target of a release ended; `failed`: on neither the new release nor surely on the one before. */
export const TARGET_ENDS = ["released", "rolled-back", "unchanged", "failed"] as const;
export type TargetEnd = (typeof TARGET_ENDS)[number];

/** An environment's newest record beside what AWS says now. */
export interface StatusResult {
  readonly environment: string;
  readonly release?: string;
  readonly commit?: string;
  readonly version?: string;
  /** In the first target's region. */
  readonly imageId?: ImageId;
  readonly baseImageDays?: number;
  /** How old the base image is, and whether a newer one is to be had, in words. */
  readonly baseImage?: string;
  readonly actor?: string;
  /** RFC 3339: when the release finished. */
  readonly since?: string;
  readonly sinceText?: string;
  /** The group's desired capacity. */
  readonly capacity?: number;
  readonly inService?: number;
  /** Instances in service that run the release. */
  readonly running?: number;
  /** How the environment differs from its record, in words; empty where it does not. */
  readonly drift: readonly string[];
}

/** What `prune` does with an image; `waiting`: it is deprecated, and its time of grace goes on. */
export const PRUNE_ACTIONS = ["deprecated", "deregistered", "restored", "protected", "waiting"] as const;
export type PruneAction = (typeof PRUNE_ACTIONS)[number];

export interface PruneResult {
  /** Those that are not simply kept; an image can be there twice, restored and protected. */
  readonly images: readonly PrunedImage[];
  /** Images of the application that stay. */
  readonly kept: number;
  /** Of the snapshots that went, or in a dry run would go. */
  readonly gigabytes: number;
}

export interface PrunedImage {
  readonly region: string;
  readonly imageId: ImageId;
  readonly name: string;
  readonly action: PruneAction;
  readonly why: string;
  /** Its age. */
  readonly days: number;
  /** Of its snapshots. */
  readonly gigabytes: number;
  /** Why it could not be done. */
  readonly failed?: string;
}
