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

async function play(story: Story): Promise<void> {
  const played = await story.play(UNCHANGED);
  expect(played.problem).toBeUndefined();
  undisturbed.set(story.name, played);
  records.push(...played.records);
}

describe("under exactly its policy", () => {
  test.each(STORIES.filter((story) => !JOB_STORIES.includes(story)))("$name", LONG, play);
});

test("the built action and Packer, under exactly its policy", LONG, async () => {
  // Each on a stage of its own; they wait for processes most of the time.
  await Promise.all(JOB_STORIES.map(play));
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
      // docs/iam/README.md: the larger policies are not for prune.
      .filter(({ story }) => !PRUNE_STORIES.some(({ name }) => name === story))
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
  // Packer tries for three minutes to make a key.
  const stories = sid === "MakeTemporaryKeys" ? PACKER_PLUGIN_STORIES : STORIES;
  return stories.find(({ name: story }) => {
    const own = mine.filter((record) => record.story === story || record.story.startsWith(`${story}: `));
    return proof(name, statementParts, own).some((each) => each.part === sid && each.story !== undefined);
  });
}

describe("without a statement", () => {
  const every = POLICIES.flatMap((name) => policy(name).Statement.map(({ Sid }) => ({ name, Sid })));
  const quick = ["kms-key", "promote-across-accounts", "prune", "rollback"];
  // Without a statement of a bake's, Packer tries for minutes to end what it may not: in the long form only.
  const cases = every.filter(({ name }) => ALL || quick.includes(name));

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

describe("a denial", () => {
  const [plain] = ROLLOUT_STORIES;
  const [, overDays] = PRUNE_STORIES;

  test("names the action, the resource, the role, the statement to add, and where it is", async () => {
    const played = await plain?.play(without("rollback", "RefreshTheseGroups"));
    expect(played?.problem).toMatch(
      /The role may not do autoscaling:StartInstanceRefresh on arn:aws:autoscaling:eu-west-1:111111111111:autoScalingGroup:[\w-]+:autoScalingGroupName\/web-live in eu-west-1/,
    );
    expect(played?.problem).toMatch(
      /Add this statement to the policy of the role web-deployer of account 111111111111: \{"Sid":"AllowStartInstanceRefresh","Effect":"Allow","Action":"autoscaling:StartInstanceRefresh","Resource":"arn:[^"]+:autoScalingGroupName\/web-live"\} docs\/iam\/deploy\.json has it, as narrow as it can be: statement RefreshTheseGroups\./,
    );
  });

  test("of a launch names the template and the statements that it may be", async () => {
    const played = await plain?.play(without("rollback", "LaunchFromTemplates"));
    expect(played?.problem).toMatch(
      /The role may not launch instances from lt-\w+ for autoscaling:StartInstanceRefresh in eu-west-1/,
    );
    expect(played?.problem).toContain("LaunchFromTemplates, LaunchWhatTemplatesSay, TagWhatIsMade");
  });

  test("of a snapshot's deletion is told by prune, which goes on", async () => {
    const noSnapshots: Change = ({ name, document }) => ({
      name,
      document: JSON.parse(JSON.stringify(document).replace('"ec2:DeleteSnapshot",', "")) as typeof document,
    });
    const played = await overDays?.play(noSnapshots);
    expect(played?.problem).toContain("the role may not do ec2:DeleteSnapshot on it");
    expect(played?.problem).toContain("DeregisterImage");
  });
});
