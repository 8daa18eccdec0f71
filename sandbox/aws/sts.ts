/** STS: who a key is, and temporary keys for roles. */
import type { AwsAccount, AwsAccounts, RoleSession } from "./credentials.ts";
import { assumedRoleUser, issueCredentials, roleOf } from "./credentials.ts";
import type { Principal, RequestContext } from "./iam.ts";
import { AwsError } from "./query.ts";
import type { Call, Operations, Query } from "./query.ts";

/** What an identity provider once put into a token. */
export interface WebIdentity {
  /** `https://token.actions.githubusercontent.com` */
  readonly issuer: string;
  readonly subject: string;
  readonly audience: string;
  /** Real time, ms. */
  readonly expiresAt: number;
}

export interface StsOptions {
  /** New keys are added here. Without them no role can be assumed. */
  readonly accounts?: AwsAccounts;
  /** What a web identity token says; undefined where the identity provider did not issue it. */
  readonly webIdentity?: (token: string) => WebIdentity | undefined;
  /** ARNs of roles whose trust policy lets nobody in; may be changed while running. */
  readonly closedRoles?: ReadonlySet<string>;
  /** Whether a role's trust policy lets a web identity in. Default: it does. */
  readonly trusts?: (roleArn: string, principal: Principal, context: RequestContext) => boolean;
}

export function createSts(options: StsOptions = {}): Operations {
  return {
    GetCallerIdentity: (call) => callerIdentity(options, call),
    AssumeRole: (call) => assumeRole(options, call),
    AssumeRoleWithWebIdentity: (call) => assumeRoleWithWebIdentity(options, call),
  };
}

function callerOf({ accounts }: StsOptions, call: Call): AwsAccount | undefined {
  return accounts?.[call.accessKeyId ?? ""];
}

/** STS API reference, GetCallerIdentity: the answer for the credentials of an assumed role. */
function callerIdentity(options: StsOptions, call: Call): Record<string, unknown> {
  const { accountId } = call;
  const role = callerOf(options, call)?.role;
  const { id, arn } =
    role === undefined
      ? { id: "AROASANDBOXKILN:session", arn: `arn:aws:sts::${accountId}:assumed-role/kiln/session` }
      : assumedRoleUser(accountId, role);
  return { Arn: arn, UserId: id, Account: accountId };
}

function assumeRole(options: StsOptions, call: Call): Record<string, unknown> {
  const { query } = call;
  const caller = callerOf(options, call);
  const seconds = durationOf(query);
  // IAM user guide, Roles terms and concepts, Role chaining.
  if (caller?.role !== undefined && seconds > 3600) {
    throw invalid(
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
    );
  }
  const arn = query.required("RoleArn");
  if (options.closedRoles?.has(arn) === true) {
    const { Arn } = callerIdentity(options, call);
    throw denied(`User: ${String(Arn)} is not authorized to perform: sts:AssumeRole on resource: ${arn}`);
  }
  const tags = query.structs("Tags").map((tag) => [tag.required("Key"), tag.string("Value") ?? ""] as const);
  return session(options, query, seconds, Object.fromEntries(tags));
}

/** STS API reference, AssumeRoleWithWebIdentity: the token stands in for the caller's credentials. */
function assumeRoleWithWebIdentity(options: StsOptions, { query }: Call): Record<string, unknown> {
  const identity = verified(options, query.required("WebIdentityToken"));
  const arn = query.required("RoleArn");
  const host = identity.issuer.replace("https://", "");
  const provider = `arn:aws:iam::${roleOf(arn).accountId}:oidc-provider/${host}`;
  // IAM user guide, Available keys for AWS OIDC federation.
  const context = { [`${host}:aud`]: identity.audience, [`${host}:sub`]: identity.subject };
  const isTrusted = options.trusts?.(arn, { type: "Federated", arn: provider }, context) ?? true;
  if (options.closedRoles?.has(arn) === true || !isTrusted) {
    throw denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
  }
  return {
    ...session(options, query, durationOf(query), {}),
    SubjectFromWebIdentityToken: identity.subject,
    Audience: identity.audience,
    Provider: provider,
  };
}

// The codes and, for want of the real texts, the descriptions of the errors: STS API reference, AssumeRoleWithWebIdentity.
function verified({ webIdentity }: StsOptions, token: string): WebIdentity {
  const identity = webIdentity?.(token);
  if (identity === undefined) {
    const text = "The web identity token that was passed could not be validated by AWS.";
    throw new AwsError("InvalidIdentityToken", text);
  }
  // The text that aws-actions/configure-aws-credentials shows people.
  if (identity.audience !== "sts.amazonaws.com") {
    throw new AwsError("InvalidIdentityToken", "Incorrect token audience");
  }
  if (Date.now() >= identity.expiresAt) {
    const text = "The web identity token that was passed is expired or is not valid.";
    throw new AwsError("ExpiredTokenException", text);
  }
  return identity;
}

/** A new key for the role that the request names, in the role's account. */
function session(
  { accounts }: StsOptions,
  query: Query,
  seconds: number,
  tags: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const { accountId, name } = roleOf(query.required("RoleArn"));
  const role: RoleSession = { name, session: sessionName(query), tags };
  if (accounts === undefined) throw denied("No role can be assumed in this sandbox");
  const { id, arn } = assumedRoleUser(accountId, role);
  return {
    Credentials: issueCredentials(accounts, accountId, role, seconds),
    AssumedRoleUser: { AssumedRoleId: id, Arn: arn },
  };
}

// STS API reference, AssumeRole: the pattern of RoleSessionName and the range of DurationSeconds.
function sessionName(query: Query): string {
  const name = query.required("RoleSessionName");
  if (/^[\w+=,.@-]{2,64}$/.test(name)) return name;
  throw invalid(
    `1 validation error detected: Value '${name}' at 'roleSessionName' failed to satisfy constraint: Member must ` +
      "satisfy regular expression pattern: [\\w+=,.@-]*",
  );
}

function durationOf(query: Query): number {
  const seconds = query.number("DurationSeconds") ?? 3600;
  if (seconds >= 900 && seconds <= 43_200) return seconds;
  throw invalid(
    `1 validation error detected: Value '${seconds}' at 'durationSeconds' failed to satisfy constraint: Member must ` +
      "have value between 900 and 43200",
  );
}

function invalid(message: string): AwsError {
  return new AwsError("ValidationError", message);
}

function denied(message: string): AwsError {
  return new AwsError("AccessDenied", message, 403);
}
