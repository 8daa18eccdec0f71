import type { Digest, ImageId } from "../../src/domain/image.ts";
import type { Ownership, RetirementPlan, RetirementWorld, StoredImage } from "../../src/image/retirement.ts";
import { DEPRECATE_AHEAD } from "../../src/image/retirement.ts";

export const DAY = 24 * 60 * 60_000;
export const NOW = new Date("2026-11-21T12:00:00Z");
export const daysAgo = (days: number): Date => new Date(NOW.getTime() - days * DAY);

export const OURS: Ownership = { account: "111111111111", application: "web", repositories: ["acme/web"] };
export const DIGEST: Digest = `sha256:${"a".repeat(64)}`;
export const TAGS = {
  "kiln:application": OURS.application,
  "kiln:repository": OURS.repositories[0] ?? "",
  "kiln:digest": DIGEST,
};

export const idOf = (number: number): ImageId => `ami-${number.toString(16).padStart(17, "0")}`;

/** An image of ours that is long out of use. */
export const storedImage = (number: number, changes: Partial<StoredImage> = {}): StoredImage => ({
  id: idOf(number),
  region: "eu-west-1",
  name: `web-${number}`,
  owner: OURS.account,
  state: "available",
  created: daysAgo(100),
  deprecated: undefined,
  lastLaunched: undefined,
  protection: "none",
  snapshots: [{ id: `snap-${number}`, gigabytes: 8 }],
  tags: TAGS,
  ...changes,
});

export const worldOf = (
  images: readonly StoredImage[],
  changes: Partial<RetirementWorld> = {},
): RetirementWorld => ({
  now: NOW,
  ours: OURS,
  settings: { keep: 10, minAge: 7 * DAY, grace: 14 * DAY },
  images,
  needed: new Map(),
  current: new Set(),
  launched: new Set(),
  references: new Map(),
  ...changes,
});

/** The images after a plan was carried out, as AWS then shows them. */
export function carriedOut(
  images: readonly StoredImage[],
  { steps }: RetirementPlan,
  now: Date,
): readonly StoredImage[] {
  return images.flatMap((image) => {
    let after: StoredImage[] = [image];
    for (const step of steps) {
      if (step.image.id !== image.id) continue;
      after = after.flatMap((each): StoredImage[] => {
        if (step.action === "deregistered") return [];
        if (step.action === "restored") return [{ ...each, deprecated: undefined }];
        if (step.action === "protected") return [{ ...each, protection: "without cooldown" }];
        if (step.action === "waiting") return [each];
        const at = Math.round((now.getTime() + DEPRECATE_AHEAD) / 60_000) * 60_000;
        return [{ ...each, protection: "none", deprecated: new Date(at) }];
      });
    }
    return after;
  });
}
