import { expect, test } from "vitest";
import { blocksOf, readText } from "./markdown.ts";
import { awsActions } from "./source.ts";

interface Statement {
  readonly Sid: string;
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource?: string | readonly string[];
}

interface Policy {
  readonly Version: string;
  readonly Statement: readonly Statement[];
}

const policies = blocksOf("docs/iam.md")
  .filter((block) => block.info === "json")
  .map((block) => JSON.parse(block.text) as Policy);
const [, observe, bake, rollOut] = policies;
/** Found by what it allows: it is no part of a deployment. */
const prune = policies.find(({ Statement }) => Statement.some(({ Sid }) => Sid === "RetireImages"));
const elsewhere = policies.find(({ Statement }) => Statement.some(({ Sid }) => Sid === "ShareImages"));
const actionsOf = (policy: Policy | undefined): string[] =>
  (policy?.Statement ?? []).flatMap(({ Action }) => Action);

/** What AWS checks of whoever starts a refresh that launches from a template. */
const CHECKED_ON_LAUNCH = ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"];

test("the policies are policies", () => {
  expect(policies).toHaveLength(7);
  const statements = policies.flatMap((policy) => policy.Statement);
  expect(policies.map((policy) => policy.Version)).toEqual(policies.map(() => "2012-10-17"));
  expect(new Set(statements.map(({ Sid }) => Sid)).size).toBe(statements.length);
  for (const { Sid, Effect } of statements) {
    expect(Sid).toMatch(/^[A-Za-z0-9]+$/);
    expect(Effect).toBe("Allow");
  }
  for (const { Sid, Resource } of [observe, bake, rollOut, prune, elsewhere].flatMap(
    (policy) => policy?.Statement ?? [],
  ))
    expect(Resource, Sid).toBeDefined();
});

test("they allow everything that the action asks AWS for", () => {
  const allowed = new Set([observe, bake, rollOut, prune, elsewhere].flatMap(actionsOf));
  const asked = awsActions();
  expect(asked).toContain("ec2:DescribeImages");
  expect([...asked].filter((action) => !allowed.has(action))).toEqual([]);
});

test("to observe and to roll out they allow nothing else", () => {
  const asked = new Set([...awsActions(), ...CHECKED_ON_LAUNCH]);
  expect([observe, rollOut].flatMap(actionsOf).filter((action) => !asked.has(action))).toEqual([]);
  // AWS deletes the snapshots in the name of who deregisters their image.
  expect(actionsOf(prune).filter((action) => !asked.has(action))).toEqual(["ec2:DeleteSnapshot"]);
});

test("observing changes nothing", () => {
  expect(actionsOf(observe).filter((action) => !/:(?:Describe|Get)/.test(action))).toEqual([]);
});

test("every action has its reason", () => {
  const text = readText("docs/iam.md").replace(/```[\s\S]*?```/g, "");
  const missing = [observe, bake, rollOut, prune, elsewhere]
    .flatMap(actionsOf)
    .filter((action) => !text.includes(`\`${action}\``));
  expect(missing).toEqual([]);
});
