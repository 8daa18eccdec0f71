import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Check, decide, type PolicyDocument, type PolicyStatement } from "../../sandbox/aws/iam.ts";
import { ACCESS_KEY, type Sandbox } from "../../sandbox/sandbox.ts";

/** The policies of docs/iam, as people attach them. */

const FOLDER = join(import.meta.dirname, "../../docs/iam");

/** The role that the workflow assumes, and the one in the targets' account; as the policies name them. */
export const DEPLOYER = "arn:aws:iam::111111111111:role/web-deployer";
export const TARGET_ROLE = "arn:aws:iam::222222222222:role/web-deployer";
export const TARGET_ACCOUNT = "222222222222";

/** By name: `deploy` is docs/iam/deploy.json. */
export const POLICY_NAMES: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length))
  .toSorted();

export const TRUST_POLICIES: readonly string[] = ["target-account-trust", "trust"];

export function policyText(name: string): string {
  return readFileSync(join(FOLDER, `${name}.json`), "utf8");
}

export function policy(name: string): PolicyDocument {
  return JSON.parse(policyText(name)) as PolicyDocument;
}

/** A policy for targets in several regions, as docs/iam/README.md says. */
export function inEveryRegion(document: PolicyDocument): PolicyDocument {
  return JSON.parse(JSON.stringify(document).replaceAll(":eu-west-1:", ":*:")) as PolicyDocument;
}

const listOf = (value: string | readonly string[] = []): readonly string[] =>
  typeof value === "string" ? [value] : value;

export const actionsOf = ({ Action }: PolicyStatement): readonly string[] => listOf(Action);
export const resourcesOf = ({ Resource }: PolicyStatement): readonly string[] => listOf(Resource);

/** A part of a policy, and the policy without it. */
export interface Part {
  readonly name: string;
  readonly without: PolicyDocument;
}

export function statementParts(document: PolicyDocument): Part[] {
  return document.Statement.map((statement) => ({
    name: statement.Sid ?? "?",
    without: { ...document, Statement: document.Statement.filter((other) => other !== statement) },
  }));
}

/** Each action of each statement, and each resource of those that name several. */
export function finerParts(document: PolicyDocument): Part[] {
  return document.Statement.flatMap((statement) => [
    ...less(document, statement, "Action", actionsOf(statement)),
    ...less(document, statement, "Resource", resourcesOf(statement)),
  ]);
}

function less(
  document: PolicyDocument,
  statement: PolicyStatement,
  element: "Action" | "Resource",
  values: readonly string[],
): Part[] {
  if (values.length < 2) return [];
  return values.map((value) => {
    const smaller = { ...statement, [element]: values.filter((other) => other !== value) };
    return {
      name: `${statement.Sid ?? "?"}: ${value}`,
      without: {
        ...document,
        Statement: document.Statement.map((other) => (other === statement ? smaller : other)),
      },
    };
  });
}

/** A policy that a role has, under the name of its file. */
export interface Granted {
  readonly name: string;
  readonly document: PolicyDocument;
}

/** What roles have, by ARN. */
export type Grants = Readonly<Record<string, readonly Granted[]>>;

/** Policies by name, as they are or changed. */
export function given(names: readonly string[], change = (document: PolicyDocument) => document): Granted[] {
  return names.map((name) => ({ name, document: change(policy(name)) }));
}

/** A policy and the one statement that targets in another account need besides. */
export function withTheTargetsRole(name: string): Granted[] {
  const statement = policy("promote-across-accounts").Statement.filter(
    ({ Sid }) => Sid === "BecomeTheTargetsRole",
  );
  return [
    ...given([name]),
    { name: "BecomeTheTargetsRole", document: { Version: "2012-10-17", Statement: statement } },
  ];
}

/** What of a role's policies is to be another, for a proof. */
export type Change = (granted: Granted) => Granted;

export const UNCHANGED: Change = (granted) => granted;

/** What a story came to: what there is to see, and what IAM was asked. */
export interface Played {
  /** Why it did not end as it should; undefined where it did. */
  readonly problem: string | undefined;
  readonly text: string;
  readonly records: readonly Recorded[];
}

/** Something that people do with a role. */
export interface Story {
  readonly name: string;
  readonly play: (change: Change) => Promise<Played>;
}

/** Lets the job's key be a session of the deployer, with exactly these policies, and the target's role trust it. */
export function grant(sandbox: Sandbox, grants: Grants): void {
  const account = sandbox.accounts[ACCESS_KEY];
  if (account !== undefined) account.role = { name: "web-deployer", session: "run" };
  for (const role of [DEPLOYER, TARGET_ROLE])
    sandbox.iam.setPolicies(
      role,
      (grants[role] ?? []).map(({ document }) => document),
    );
  sandbox.iam.setTrust(TARGET_ROLE, policy("target-account-trust"));
}

/** A check that was made while a story ran, and what its role had then. */
export interface Recorded {
  readonly granted: readonly Granted[];
  readonly check: Check;
  readonly story: string;
}

export function changed(grants: Grants, change: Change): Grants {
  return Object.fromEntries(
    Object.entries(grants).map(([role, policies]) => [role, policies.map((granted) => change(granted))]),
  );
}

/** Keeps what IAM was asked since a mark, with what the roles had. */
export function recorded(sandbox: Sandbox, since: number, grants: Grants, story: string): Recorded[] {
  return sandbox.iam.checked.slice(since).map(({ role, check }) => {
    const [account, name] = role.split("/");
    return { granted: grants[`arn:aws:iam::${account ?? ""}:role/${name ?? ""}`] ?? [], check, story };
  });
}

/** Parts of a policy that a check needs: without them it is denied. */
function needs(
  { granted, check }: Recorded,
  name: string,
  parts: (document: PolicyDocument) => readonly Part[],
) {
  const own = granted.find((policy) => policy.name === name);
  if (own === undefined) return [];
  return parts(own.document).map(({ without }) => {
    const documents = granted.map((policy) => (policy === own ? without : policy.document));
    return decide(documents, check) !== "allowed";
  });
}

/** For each part of a policy the first story that needs it; undefined where none does. */
export function proof(
  name: string,
  parts: (document: PolicyDocument) => readonly Part[],
  records: readonly Recorded[],
): readonly { readonly part: string; readonly story: string | undefined }[] {
  const first = new Map<number, string>();
  const seen = new Set<string>();
  for (const record of records) {
    const key = JSON.stringify([record.check, record.granted.map((granted) => granted.name)]);
    if (seen.has(key)) continue;
    seen.add(key);
    for (const [index, isNeeded] of needs(record, name, parts).entries())
      if (isNeeded && !first.has(index)) first.set(index, record.story);
  }
  return parts(policy(name)).map(({ name: part }, index) => ({ part, story: first.get(index) }));
}
