import { expect, test } from "vitest";
import type { PolicyStatement } from "../../sandbox/aws/iam.ts";
import { POLICY_PLACES } from "../../src/aws/access-denied.ts";
import { actionsOf, POLICY_NAMES, policy, resourcesOf, TRUST_POLICIES } from "../permissions/policies.ts";
import { readText } from "./markdown.ts";
import { awsActions } from "./source.ts";

const POLICIES = POLICY_NAMES.filter((name) => !TRUST_POLICIES.includes(name));
const statements = (names: readonly string[]): readonly PolicyStatement[] =>
  names.flatMap((name) => policy(name).Statement);
const allowedBy = (...names: readonly string[]): ReadonlySet<string> =>
  new Set(statements(names).flatMap(actionsOf));

/** What AWS checks of whoever starts a refresh that launches from a template. */
const CHECKED_ON_LAUNCH = ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ssm:GetParameters"];
/** What EC2 looks through for images' references, in the caller's name (EC2 user guide, AMI references). */
const CHECKED_FOR_REFERENCES = [
  "ec2:DescribeLaunchTemplates",
  "imagebuilder:GetContainerRecipe",
  "imagebuilder:ListContainerRecipes",
  "imagebuilder:ListImageRecipes",
  "ssm:DescribeParameters",
  "ssm:GetParameters",
];
/** AWS allows it to everybody (STS API reference, GetCallerIdentity). */
const ALLOWED_TO_EVERYBODY = "sts:GetCallerIdentity";

test("the policies are policies, which AWS would take", () => {
  expect(POLICIES).toHaveLength(13);
  for (const name of POLICY_NAMES) {
    const document = policy(name);
    expect(Object.keys(document), name).toEqual(["Version", "Statement"]);
    expect(document.Version, name).toBe("2012-10-17");
    const sids = document.Statement.map(({ Sid }) => Sid);
    expect(new Set(sids).size, name).toBe(sids.length);
    for (const statement of document.Statement) {
      expect(statement.Sid, name).toMatch(/^[A-Za-z0-9]+$/);
      expect(statement.Effect).toBe("Allow");
      expect(statement.Resource === undefined, name).toBe(TRUST_POLICIES.includes(name));
    }
    // IAM user guide, IAM and AWS STS quotas: a managed policy, white space not counted.
    expect(JSON.stringify(document).length, name).toBeLessThanOrEqual(6144);
  }
});

test("no action is a pattern, and only what changes nothing is allowed on everything", () => {
  const all = statements(POLICIES);
  const onEverything = all.filter((statement) => resourcesOf(statement).includes("*")).flatMap(actionsOf);
  for (const action of all.flatMap(actionsOf)) expect(action).toMatch(/^[a-z0-9]+:[A-Za-z]+$/);
  for (const action of onEverything) expect(action).toMatch(/:(?:Describe|Get|List)/);
});

test("they allow everything that the action asks AWS for", () => {
  const allowed = new Set([...allowedBy(...POLICIES), ALLOWED_TO_EVERYBODY]);
  const trusted = statements(TRUST_POLICIES).flatMap(actionsOf);
  const asked = awsActions();
  expect(asked).toContain("ec2:DescribeImages");
  expect([...asked].filter((action) => !allowed.has(action) && !trusted.includes(action))).toEqual([]);
});

test("to look, to roll out and to prune they allow nothing else", () => {
  // The module that assumes roles loads the SDK's when it does.
  const asked = new Set([
    ...awsActions(),
    ...CHECKED_ON_LAUNCH,
    ...CHECKED_FOR_REFERENCES,
    "sts:AssumeRole",
    "sts:TagSession",
  ]);
  const other = [
    ...allowedBy("plan", "status", "promote", "rollback", "promote-across-accounts", "target-account"),
  ].filter((action) => !asked.has(action));
  expect(other).toEqual([]);
  expect([...allowedBy("prune")].filter((action) => !asked.has(action))).toEqual([]);
});

test("looking changes nothing", () => {
  const changing = [...allowedBy("plan", "status")].filter(
    (action) => !/:(?:Describe|Get|List)/.test(action),
  );
  expect(changing).toEqual([]);
});

test("every action has its reason, every policy its use", () => {
  const text = readText("docs/iam/README.md").replace(/```[\s\S]*?```/g, "");
  expect([...allowedBy(...POLICIES)].filter((action) => !text.includes(`\`${action}\``))).toEqual([]);
  expect(POLICY_NAMES.filter((name) => !text.includes(`[${name}.json](${name}.json)`))).toEqual([]);
});

test("the statements that README names are there", () => {
  const text = readText("docs/iam/README.md");
  const sids = new Set(statements(POLICIES).map(({ Sid }) => Sid));
  const named = [...text.matchAll(/`([A-Z][A-Za-z]{6,})`/g)].map(([, sid = ""]) => sid);
  expect(named).toContain("PassTheInstancesRole");
  expect(named.filter((sid) => !sids.has(sid))).toEqual([]);
});

test("a denial names the statements that have the action", () => {
  for (const action of allowedBy(...POLICIES)) expect(Object.keys(POLICY_PLACES)).toContain(action);
  for (const [action, { file, statements: named }] of Object.entries(POLICY_PLACES)) {
    const having = policy(file).Statement.filter((statement) => actionsOf(statement).includes(action));
    expect(
      having.map(({ Sid }) => Sid),
      action,
    ).toEqual(named);
  }
});
