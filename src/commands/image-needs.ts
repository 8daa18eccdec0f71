import { formatReleaseTag } from "../domain/release-tag.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { imageUses, type VersionImage } from "../rollout/target-images.ts";
import type { TargetState } from "../rollout/target-state.ts";

/** What an environment runs and has released, as far as it tells which images are needed. */
export interface ObservedEnvironment {
  /** Those that count, newest first. */
  readonly records: readonly ReleaseRecord[];
  readonly targets: readonly {
    readonly state: TargetState;
    readonly versions: readonly VersionImage[];
  }[];
}

/** The images that environments need. */
export interface ImageNeeds {
  /** Why, by the image's id; the most telling reason of several. */
  readonly needed: ReadonlyMap<string, string>;
  /** Those that the newest record of an environment names. */
  readonly current: ReadonlySet<string>;
}

/**
 * Every image that environments need: what their targets run and launch, what the newest versions of their launch
 * templates launch, and what their newest records name. Pure. A record can only add to what AWS itself shows.
 */
export function imageNeeds(environments: readonly ObservedEnvironment[]): ImageNeeds {
  const needed = new Map<string, string>();
  const current = new Set<string>();
  const need = (imageId: string, why: string): void => {
    if (!needed.has(imageId)) needed.set(imageId, why);
  };
  for (const { targets } of environments)
    for (const { state, versions } of targets)
      for (const { imageId, why } of imageUses(state, versions)) need(imageId, why);
  for (const { records } of environments) {
    for (const [index, record] of records.entries()) {
      for (const imageId of Object.values(record.images)) {
        need(imageId, `${formatReleaseTag(record.tag)} names it`);
        if (index === 0) current.add(imageId);
      }
    }
  }
  return { needed, current };
}
