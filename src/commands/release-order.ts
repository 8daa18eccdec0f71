import type { Environment } from "../domain/application.ts";
import type { Digest, ImageId } from "../domain/image.ts";
import type { BakeReady } from "../image/bake-order.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import type { KeptImage } from "../release/image-files.ts";
import type { LedgerPage } from "../release/ledger.ts";
import type { ReleaseKind, ReleaseRecord } from "../release/record.ts";
import type { ChosenImage } from "./plan.ts";
import type { RolloutRequest } from "./request.ts";

/** One release that is wanted: of what, to where, and where its image comes from. */
export interface ReleaseOrder {
  readonly environment: Environment;
  readonly kind: ReleaseKind;
  /** The commit whose content is released, which the record tags. */
  readonly commit: string;
  readonly version: string;
  readonly digest: Digest;
  readonly source: ImageSource;
  readonly restores?: string;
  readonly promotedFrom?: string;
  readonly reason?: string;
  readonly request: RolloutRequest;
  /** Whether a record is due although the newest one names this image already: something else was on its way. */
  readonly alwaysRecord?: (ledger: LedgerPage) => boolean;
  /** Done again and again while another run holds the environment's lock. */
  readonly whileLocked?: () => Promise<void>;
  /** Throws where the release must not follow the environment's newest one. */
  readonly guard?: (newest: ReleaseRecord | undefined) => Promise<void>;
}

/** The image of a release in each region where it is needed. */
export type RegionImages = ReadonlyMap<string, CatalogueImage>;

/** The same while copies are still being made: a target's rollout need not wait for another region's. */
export type ComingImages = ReadonlyMap<string, Promise<CatalogueImage>>;

/** Where a release's image comes from: a bake, the catalogue, or a record; in every region where it is needed. */
export interface ImageSource {
  /** Reads what there is and decides; changes nothing. */
  choose(): Promise<ChosenImage>;
  /** Makes sure that a bake can begin; nothing to do where an image is there. */
  prepare(choice: ChosenImage): Promise<BakeReady | undefined>;
  /** Checks for a dry run whether a bake could begin; what the plan says about it. Absent if nothing is ever baked. */
  rehearse?(choice: ChosenImage): Promise<string | undefined>;
  /** The image, available and ours, in the first region; in the others it comes. Each is published as soon as it is a fact. */
  obtain(choice: ChosenImage, ready: BakeReady | undefined): Promise<ComingImages>;
  /** What git keeps of the images; absent where the content is not at hand, as for a record's image. */
  readonly files?: ImageFilesSource;
}

/** What git keeps of an image, where the content is at hand. */
export interface ImageFilesSource {
  /** What the digest is made of, as `content.txt`. */
  content(): Promise<string>;
  /** What this run kept of an image. */
  keptOf(id: ImageId): KeptImage | undefined;
  /** Keeps what is known of an image; undefined where that cannot be written. Never throws. */
  keep(image: CatalogueImage, digest: Digest): Promise<KeptImage | undefined>;
}
