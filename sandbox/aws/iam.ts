/**
 * IAM, as far as a request is allowed or not by the policies of one role (IAM user guide, Policy evaluation logic): an
 * explicit denial wins, what nothing allows is denied. What is not modelled is an error, never an answer.
 *
 * Not modelled: permissions boundaries, session and service control policies, resource policies but for a role's trust,
 * NotAction, NotResource, NotPrincipal, policy variables, and dates, numbers and addresses in conditions.
 */

type OneOrMore = string | readonly string[];

export interface PolicyStatement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action: OneOrMore;
  /** A trust policy has none. */
  readonly Resource?: OneOrMore;
  /** In a trust policy. */
  readonly Principal?: "*" | Readonly<Record<string, OneOrMore>>;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, OneOrMore>>>>;
}

export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly PolicyStatement[];
}

/** What a request says of itself, by condition key; a key that it has not is absent. */
export type RequestContext = Readonly<Record<string, OneOrMore>>;

/** One thing that must be allowed before a request is carried out; a request may need several. */
export interface Check {
  /** `ec2:RunInstances` */
  readonly action: string;
  /** An ARN, or `*` where the action knows no resources. */
  readonly resource: string;
  readonly context: RequestContext;
}

export type Decision = "allowed" | "explicitly denied" | "implicitly denied";

/** Decides by identity-based policies. */
export function decide(policies: readonly PolicyDocument[], check: Check): Decision {
  return decision(
    policies.flatMap(({ Statement }) => Statement).filter((statement) => applies(statement, check)),
  );
}

/** Decides by a role's trust policy whether one of the principals may assume it. */
export function decideTrust(
  trust: PolicyDocument,
  principals: readonly Principal[],
  check: Omit<Check, "resource">,
): Decision {
  return decision(
    trust.Statement.filter(
      (statement) => isMeant(statement, principals) && applies(statement, { ...check, resource: "*" }),
    ),
  );
}

/** `AWS` and a role's, a session's or an account's ARN; `Federated` and an identity provider's. */
export interface Principal {
  readonly type: "AWS" | "Federated";
  readonly arn: string;
}

function decision(statements: readonly PolicyStatement[]): Decision {
  if (statements.some(({ Effect }) => Effect === "Deny")) return "explicitly denied";
  return statements.length > 0 ? "allowed" : "implicitly denied";
}

function isMeant({ Principal }: PolicyStatement, principals: readonly Principal[]): boolean {
  if (Principal === undefined) throw new Error("A trust policy's statement needs a Principal");
  if (Principal === "*") return true;
  return principals.some(({ type, arn }) =>
    list(Principal[type] ?? []).some((meant) => meant === "*" || meant === arn),
  );
}

const KNOWN_ELEMENTS = new Set(["Sid", "Effect", "Action", "Resource", "Principal", "Condition"]);

function applies(statement: PolicyStatement, { action, resource, context }: Check): boolean {
  const unknown = Object.keys(statement).find((element) => !KNOWN_ELEMENTS.has(element));
  if (unknown !== undefined) throw new Error(`The sandbox's IAM does not know ${unknown}`);
  return (
    list(statement.Action).some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase())) &&
    list(statement.Resource ?? "*").some((pattern) => matches(pattern, resource)) &&
    Object.entries(statement.Condition ?? {}).every(([operator, keys]) => holds(operator, keys, context))
  );
}

type Comparison = (wanted: string, found: string) => boolean;

/** IAM user guide, JSON policy elements: Condition operators. */
const OPERATORS: Readonly<Record<string, { readonly compare: Comparison; readonly negated?: true }>> = {
  StringEquals: { compare: (wanted, found) => wanted === found },
  StringNotEquals: { compare: (wanted, found) => wanted === found, negated: true },
  StringEqualsIgnoreCase: { compare: (wanted, found) => wanted.toLowerCase() === found.toLowerCase() },
  StringLike: { compare: matches },
  StringNotLike: { compare: matches, negated: true },
  ArnEquals: { compare: matchesArn },
  ArnLike: { compare: matchesArn },
  Bool: { compare: (wanted, found) => wanted.toLowerCase() === found.toLowerCase() },
};

/** All keys must hold; of a key's values one must match. */
function holds(
  operator: string,
  keys: Readonly<Record<string, OneOrMore>>,
  context: RequestContext,
): boolean {
  return Object.entries(keys).every(([key, wanted]) => {
    const found = valuesOf(context, key);
    if (operator === "Null") return list(wanted).includes(String(found === undefined));
    // ForAnyValue: of a key's several values one must match, which is what happens here without it, too.
    const [, name = "", ifExists] = /^(?:ForAnyValue:)?(\w+?)(IfExists)?$/.exec(operator) ?? [];
    const known = OPERATORS[name];
    if (known === undefined) throw new Error(`The sandbox's IAM does not know the operator ${operator}`);
    // A key that the request has not: no match, which a negated operator calls true.
    if (found === undefined) return ifExists !== undefined || known.negated === true;
    const isMatch = found.some((value) => list(wanted).some((one) => known.compare(one, value)));
    return isMatch !== (known.negated === true);
  });
}

/** Names of condition keys have no case (IAM user guide, Condition). */
function valuesOf(context: RequestContext, key: string): readonly string[] | undefined {
  const name = Object.keys(context).find((candidate) => candidate.toLowerCase() === key.toLowerCase());
  return name === undefined ? undefined : list(context[name] ?? []);
}

const compiled = new Map<string, RegExp>();

function matches(pattern: string, text: string): boolean {
  if (pattern.includes("${")) throw new Error("The sandbox's IAM does not know policy variables");
  const known = compiled.get(pattern) ?? wildcard(pattern);
  compiled.set(pattern, known);
  return known.test(text);
}

function wildcard(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s");
}

/** "Each of the six colon-delimited components of the ARN is checked separately" (IAM user guide, ARN conditions). */
function matchesArn(pattern: string, arn: string): boolean {
  const parts = (text: string): string[] => {
    const [partition = "", ...rest] = text.split(":");
    return [partition, ...rest.slice(0, 4), rest.slice(4).join(":")];
  };
  const found = parts(arn);
  return parts(pattern).every((part, index) => matches(part, found[index] ?? ""));
}

function list(value: OneOrMore): readonly string[] {
  return typeof value === "string" ? [value] : value;
}
