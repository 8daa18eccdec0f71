import { afterAll, describe, expect, test } from "vitest";
import { decide } from "../../sandbox/aws/iam.ts";
import { JOB_STORIES } from "./job-stories.ts";
import { PACKER_PLUGIN_STORIES } from "./packer-plugin-story.ts";
import {
  type Change,
  finerParts,
  given,
  inEveryRegion,
  type Played,
  POLICY_NAMES,
  policy,
  proof,
  type Recorded,
  statementParts,
  type Story,
  TRUST_POLICIES,
  UNCHANGED,
} from "./policies.ts";
import { PRUNE_STORIES } from "./prune-stories.ts";
import { ROLLOUT_STORIES } from "./rollout-stories.ts";

/**
 * Every use under exactly its policy, which IAM in the sandbox holds every request to. What it was asked is kept: a part of
 * a policy is needed where something that was asked is denied without it. Then the first use that needs a statement is run
 * again without it, and must end otherwise; with KILN_CHAOS=all so for every statement of every policy.
 */

const ALL = process.env["KILN_CHAOS"] === "all";
const POLICIES = POLICY_NAMES.filter((name) => !TRUST_POLICIES.includes(name));
const STORIES: readonly Story[] = [
  ...ROLLOUT_STORIES,
  ...PRUNE_STORIES,
  ...JOB_STORIES,
  ...PACKER_PLUGIN_STORIES,
];
const LONG = { timeout: 300_000 };

const records: Recorded[] = [];
const undisturbed = new Map<string, Played>();

describe("under exactly its policy", () => {
  test.each(STORIES)("$name", LONG, async (story) => {
    const played = await story.play(UNCHANGED);
    expect(played.problem).toBeUndefined();
    undisturbed.set(story.name, played);
    records.push(...played.records);
  });
});

/** Policies whose uses are uses of a larger one too. */
const CONTAINS: Readonly<Record<string, readonly string[]>> = {
  deploy: ["bake", "promote", "rollback", "status", "plan"],
  promote: ["rollback"],
  "deploy-across-accounts": ["bake", "promote-across-accounts"],
};

/** What was asked under a policy; and under those that it contains, as if it had been asked under it. */
function recordsOf(name: string): readonly Recorded[] {
  const own = records.filter(({ granted }) => granted.some((policy) => policy.name === name));
  const others = (CONTAINS[name] ?? []).flatMap((contained) =>
    records
      .filter(({ granted }) => granted.length === 1 && granted[0]?.name === contained)
      .map((record) => ({ ...record, granted: given([name], inEveryRegion) })),
  );
  return [...own, ...others];
}

describe("every part is needed", () => {
  test("what one policy allows, one that contains it allows too", () => {
    const denied = Object.keys(CONTAINS)
      .flatMap(recordsOf)
      .filter(({ granted, check }) => {
        const documents = granted.map(({ document }) => document);
        return decide(documents, check) !== "allowed";
      });
    expect(denied).toEqual([]);
  });

  test("each statement, each action and each resource", () => {
    const needed = { statements: 0, finer: 0 };
    const idle: string[] = [];
    for (const name of POLICIES) {
      const mine = recordsOf(name);
      for (const [kind, parts] of [
        ["statements", statementParts],
        ["finer", finerParts],
      ] as const) {
        const proven = proof(name, parts, mine);
        needed[kind] += proven.filter(({ story }) => story !== undefined).length;
        idle.push(...proven.flatMap(({ part, story }) => (story === undefined ? [`${name}: ${part}`] : [])));
      }
    }
    expect(idle).toEqual([]);
    process.stdout.write(
      `${needed.statements} statements of ${POLICIES.length} policies, each needed: ${needed.statements}; ${needed.finer} actions and resources in them, each needed: ${needed.finer}\n`,
    );
  });
});

/** The policy, and what it contains, as the policy without a statement. */
function without(name: string, sid: string | undefined): Change {
  return (granted) => {
    const isContained = CONTAINS[name]?.includes(granted.name) === true;
    if (granted.name !== name && !isContained) return granted;
    const { Version, Statement } = isContained ? inEveryRegion(policy(name)) : granted.document;
    return { name, document: { Version, Statement: Statement.filter(({ Sid }) => Sid !== sid) } };
  };
}

/** The first use that needs a statement; by real Packer where a bake does. */
function storyFor(name: string, sid: string | undefined): Story | undefined {
  const mine = recordsOf(name);
  return STORIES.find(({ name: story }) => {
    const own = mine.filter((record) => record.story === story || record.story.startsWith(`${story}: `));
    return proof(name, statementParts, own).some((each) => each.part === sid && each.story !== undefined);
  });
}

describe("without a statement", () => {
  const every = POLICIES.flatMap((name) => policy(name).Statement.map(({ Sid }) => ({ name, Sid })));
  const quick = ["kms-key", "promote-across-accounts", "prune", "rollback"];
  const cases = every.filter(
    ({ name, Sid }) => ALL || quick.includes(name) || (name === "bake" && Sid === "UseBuildInstances"),
  );

  let otherwise = 0;

  test.each(cases)("$Sid, $name ends otherwise", LONG, async ({ name, Sid }) => {
    const story = storyFor(name, Sid);
    if (story === undefined) throw new Error("nothing needs it");
    const { problem, text } = await story.play(without(name, Sid));
    const usual = undisturbed.get(story.name)?.text;
    expect(usual).toBeDefined();
    // Where only words differ, they must be the same each time with it.
    const again = problem === undefined ? (await story.play(UNCHANGED)).text : usual;
    expect(again).toBe(usual);
    expect(problem !== undefined || text !== usual, `${story.name} ended as it does with it`).toBe(true);
    otherwise += 1;
  });

  afterAll(() => {
    process.stdout.write(
      `${cases.length} statements left out, a use run again without each: ${otherwise} ended otherwise\n`,
    );
  });
});
