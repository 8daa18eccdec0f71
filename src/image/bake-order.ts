import type { ImageRecipe } from "../domain/application.ts";
import type { Digest, ImageId } from "../domain/image.ts";
import type { Clock, Log, Subprocess } from "../domain/ports.ts";
import type { Secrets } from "../domain/secrets.ts";
import type { Made } from "./bake-traces.ts";
import type { Inventory } from "./inventory.ts";
import type { Packer, PackerCall } from "./packer.ts";
import type { Phase } from "./packer-output.ts";

/** What a bake is to make. */
export interface BakeOrder {
  readonly recipe: ImageRecipe;
  readonly secretVars: Readonly<Record<string, string>>;
  /** Variables that the template marks sensitive: they go as secrets do. */
  readonly sensitive: ReadonlySet<string>;
  readonly imageName: string;
  readonly version: string;
  readonly commit: string;
  /** The tags that the image is to carry, less its mark. */
  readonly tags: Readonly<Record<string, string>>;
  /** The digest of the content: the value of the mark, which no template gets. */
  readonly digest: Digest;
  /** Where the image is needed first: Packer's region where the template names none. */
  readonly region: string;
  /** What tells this bake from all others: the value of a tag on what there is for its time only. */
  readonly mark: string;
}

export interface BakeTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly subprocess: Subprocess;
  /** The repository's folder. */
  readonly folder: string;
  /** A private folder that ends with the job. */
  readonly temporaryFolder: string;
  readonly signal: AbortSignal;
  /** For `packer init`, whose requests GitHub would else count against the runner's address. */
  readonly token: string;
  /** What nobody may read: left out of the log, of errors and of the inventory. */
  readonly secrets: Secrets;
  /** Told as soon as Packer runs, so that the run's post step can wait for it and sweep up behind it. */
  readonly onStarted: (packer: StartedPacker) => void;
  /** Told what Packer makes for the time of the bake, as soon as it says so; all of it each time. */
  readonly onMade: (made: Made) => void;
}

/** Packer at work: what tells afterwards, without this process, what it made. */
export interface StartedPacker {
  readonly pid: number;
  /** The file that it prints to. */
  readonly output: string;
  readonly region: string;
  readonly imageName: string;
  readonly mark: string;
}

/** Packer and the template, found good before anything is touched. */
export interface BakeReady {
  readonly packer: Packer;
  readonly call: PackerCall;
}

/** What came of it. */
export interface Baked {
  /** Region → AMI, as Packer lists them at the end. */
  readonly ids: ReadonlyMap<string, ReadonlySet<ImageId>>;
  /** The base image that the template's filter found, as Packer printed it. */
  readonly baseImage: ImageId | undefined;
  readonly phases: readonly { readonly phase: Phase; readonly milliseconds: number }[];
  /** What the template says is installed; undefined where it says nothing, or nothing that can be read. */
  readonly inventory: Inventory | undefined;
}
