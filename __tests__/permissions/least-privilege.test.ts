import { afterAll, describe, expect, test } from "vitest";
import { decide } from "../../sandbox/aws/iam.ts";
import { type Change, JOB_STORIES, playJobs } from "./job-stories.ts";
import { playPackerPlugin } from "./packer-plugin-story.ts";
import {
  DEPLOYER,
  finerParts,
  given,
  type Granted,
  type Grants,
  inEveryRegion,
  POLICY_NAMES,
  policy,
  proof,
  type Recorded,
  statementParts,
  TARGET_ROLE,
  TRUST_POLICIES,
} from "./policies.ts";
import { playPrune } from "./prune-stories.ts";
import { playRollout, ROLLOUT_STORIES, type RolloutStory } from "./rollout-stories.ts";

/**
 * Every use under exactly its policy, which IAM in the sandbox holds every request to. What it was asked is kept: a part of
 * a policy is needed where something that was asked is denied without it. With KILN_CHAOS=all the uses are also run
 * again without each statement.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
const POLICIES = POLICY_NAMES.filter((name) => !TRUST_POLICIES.includes(name));
const records: Recorded[] = [];

const unchanged: Change = (granted) => granted;

/** What a rollout's roles have. */
function grantsOf(story: RolloutStory, change: Change = unchanged): Grants {
  const [home, place] =
    story.across === true
      ? ["promote-across-accounts", "target-account"]
      : [story.copies === true ? "promote" : "rollback", undefined];
  const where = story.copies === true && story.key !== true ? inEveryRegion : undefined;
  return {
    [DEPLOYER]: [...given([home], where), ...(story.key === true ? given(["kms-key"]) : [])].map(change),
    ...(place === undefined ? {} : { [TARGET_ROLE]: given([place], where).map(change) }),
  };
}

describe("under exactly its policy", () => {
  test.each(ROLLOUT_STORIES)("$name", async (story) => {
    const seen = await playRollout(story, grantsOf(story));
    expect(seen.succeeded, seen.text).toBe(story.fails !== true);
    expect(seen.text).not.toContain("may not do");
    records.push(...seen.records);
  });

  test("prune over days", async () => {
    const seen = await playPrune();
    expect(seen.text).not.toContain("may not do");
    expect(seen.text).not.toContain("could not");
    records.push(...seen.records);
  });

  test.each(["bake", "deploy", "deploy-across-accounts"])(
    "%s with Packer's plugin of today",
    async (name) => {
      records.push(...(await playPackerPlugin({ [DEPLOYER]: given([name]) })));
    },
  );

  test.each(JOB_STORIES)("$name, by the built action", { timeout: 300_000 }, async (story) => {
    records.push(...(await playJobs(story)));
  });
});
