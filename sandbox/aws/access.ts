/**
 * Whether a caller may do what a request asks for: the checks of all services, the policies of roles, and the denials in
 * AWS's words. A role without policies may do everything.
 */
import { randomBytes } from "node:crypto";
import { readConfiguration, type ConfigurationRequest } from "./autoscaling/configuration.ts";
import type { AutoScalingWorld } from "./autoscaling/world.ts";
import { assumedRoleUser, roleOf } from "./credentials.ts";
import type { AwsAccount, AwsAccounts, Role, RoleSession } from "./credentials.ts";
import type { Ec2World } from "./ec2/world.ts";
import type { LaunchTemplateSpecification, Place } from "./fleet.ts";
import { type Check, decide, decideTrust, type PolicyDocument, type Principal } from "./iam.ts";
import type { RequestContext } from "./iam.ts";
import { AwsError } from "./query.ts";
import type { Query } from "./query.ts";
import type { AuthorizedRequest, AwsService } from "./server.ts";

/** A check that was made, and for whom; what a policy's proof is made of. */
export interface CheckedRequest {
  readonly role: string;
  readonly check: Check;
  /** The request that it was made for: `DeregisterImage` for the deletion of a snapshot. */
  readonly request: string;
}

export interface Iam {
  /** From now on sessions of the role may do what these allow, and nothing else. Undefined: everything again. */
  setPolicies(roleArn: string, policies: readonly PolicyDocument[] | undefined): void;
  /** From now on the role can be assumed by whom this lets in only. */
  setTrust(roleArn: string, trust: PolicyDocument): void;
  /** All checks of roles that have policies, in order. */
  readonly checked: readonly CheckedRequest[];
}

export interface AccessOptions {
  readonly accounts: AwsAccounts;
  readonly ec2: Pick<Ec2World, "checks" | "launchChecks">;
  readonly autoScaling: Pick<AutoScalingWorld, "group">;
}

/** The role that keys without one are sessions of. */
const DEFAULT_ROLE: RoleSession = { name: "kiln", session: "session" };

const keyOf = ({ accountId, name }: Role): string => `${accountId}/${name}`;

/** Decides about requests; made once a sandbox. */
export class Access implements Iam {
  readonly checked: CheckedRequest[] = [];
  readonly #options: AccessOptions;
  readonly #policies = new Map<string, readonly PolicyDocument[]>();
  readonly #trusts = new Map<string, PolicyDocument>();

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  setPolicies(roleArn: string, policies: readonly PolicyDocument[] | undefined): void {
    if (policies === undefined) this.#policies.delete(keyOf(roleOf(roleArn)));
    else this.#policies.set(keyOf(roleOf(roleArn)), policies);
  }

  setTrust(roleArn: string, trust: PolicyDocument): void {
    this.#trusts.set(keyOf(roleOf(roleArn)), trust);
  }

  /** Throws AWS's denial where the caller's role may not do all that the request needs. */
  authorize(request: AuthorizedRequest): void {
    const caller = this.#callerOf(request);
    if (caller === undefined) return;
    if (request.service === "sts" && request.action === "AssumeRole") this.#assume(request, caller);
    const policies = this.#policies.get(keyOf(caller));
    if (policies === undefined) return;
    for (const { check, denial } of this.#checksOf(request)) {
      const decision = this.#decide(caller, request.action, policies, check);
      if (decision !== "allowed") throw denied(request.service, caller, check, decision, denial);
    }
  }

  /** Whether the caller may do something more than the request that it made. */
  permits(request: Pick<AuthorizedRequest, "accessKeyId" | "action">, check: Check): boolean {
    const caller = this.#callerOf(request);
    const policies = caller && this.#policies.get(keyOf(caller));
    if (caller === undefined || policies === undefined) return true;
    return this.#decide(caller, request.action, policies, check) === "allowed";
  }

  /** Whether a role's trust policy lets a web identity in; true where it has none. */
  trusts(roleArn: string, principal: Principal, context: RequestContext): boolean {
    const trust = this.#trusts.get(keyOf(roleOf(roleArn)));
    const check = { action: "sts:AssumeRoleWithWebIdentity", context };
    return trust === undefined || decideTrust(trust, [principal], check) === "allowed";
  }

  #callerOf({ accessKeyId }: Pick<AuthorizedRequest, "accessKeyId">): Caller | undefined {
    const account: AwsAccount | undefined = this.#options.accounts[accessKeyId];
    return account && { accountId: account.accountId, ...(account.role ?? DEFAULT_ROLE) };
  }

  #decide(caller: Caller, request: string, policies: readonly PolicyDocument[], check: Check) {
    this.checked.push({ role: keyOf(caller), check, request });
    return decide(policies, check);
  }

  /** The target's trust policy must let the caller in, whatever the caller's own policies allow (IAM user guide, Roles). */
  #assume(request: AuthorizedRequest, caller: Caller): void {
    const arn = request.query.required("RoleArn");
    const trust = this.#trusts.get(keyOf(roleOf(arn)));
    if (trust === undefined) return;
    const principals: Principal[] = [
      `arn:aws:iam::${caller.accountId}:root`,
      caller.accountId,
      `arn:aws:iam::${caller.accountId}:role/${caller.name}`,
      sessionArn(caller),
    ].map((principal) => ({ type: "AWS", arn: principal }));
    for (const { check } of assumeChecks(request.query)) {
      const decision = decideTrust(trust, principals, check);
      if (decision !== "allowed") throw denied("sts", caller, check, decision);
    }
  }

  #checksOf(request: AuthorizedRequest): readonly Needed[] {
    return this.#needs(request).map(({ check, denial }) => ({ check: placed(request, check), denial }));
  }

  #needs(request: AuthorizedRequest): readonly Needed[] {
    const { service, action, query } = request;
    if (service === "ec2") return this.#options.ec2.checks(action, request).map((check) => ({ check }));
    if (service === "autoscaling") return this.#autoScalingChecks(request);
    // STS API reference, GetCallerIdentity: "No permissions are required to perform this operation."
    if (service === "sts") return action === "AssumeRole" ? assumeChecks(query) : [];
    if (!action.startsWith("Describe"))
      throw new Error(`The sandbox's IAM has no rule for ${service}:${action}`);
    // DescribeAlarms answers composite alarms only to whom it is allowed on `*` (CloudWatch API reference).
    return [{ check: { action: `${service}:${action}`, resource: "*", context: {} } }];
  }

  /** Service authorization reference, Amazon EC2 Auto Scaling: what describes knows no resources. */
  #autoScalingChecks(request: AuthorizedRequest): readonly Needed[] {
    const { action, query } = request;
    if (action.startsWith("Describe")) {
      return [{ check: { action: `autoscaling:${action}`, resource: "*", context: {} } }];
    }
    const name = query.required("AutoScalingGroupName");
    const own = { check: { action: `autoscaling:${action}`, ...this.#group(request, name) } };
    const desired = action === "StartInstanceRefresh" ? query.struct("DesiredConfiguration") : query;
    const alarms = query.struct("Preferences")?.struct("AlarmSpecification")?.strings("Alarms") ?? [];
    return [
      own,
      ...(desired === undefined ? [] : this.#launches(request, readConfiguration(desired))),
      // Auto Scaling user guide, Start an instance refresh: whoever names alarms needs the permission to see them.
      ...(alarms.length === 0
        ? []
        : [{ check: { action: "cloudwatch:DescribeAlarms", resource: "*", context: {} } }]),
    ];
  }

  #group(place: Place, name: string): Pick<Check, "resource" | "context"> {
    const { region, accountId } = place;
    try {
      const { arn, tags } = this.#options.autoScaling.group({ region, accountId, name });
      const context = [...tags.values()].flatMap(({ key, value }) =>
        ["aws:ResourceTag", "autoscaling:ResourceTag"].map((prefix) => [`${prefix}/${key}`, value] as const),
      );
      return { resource: arn, context: Object.fromEntries(context) };
    } catch {
      const resource = `arn:aws:autoscaling:${region}:${accountId}:autoScalingGroup:*:autoScalingGroupName/${name}`;
      return { resource, context: {} };
    }
  }

  /**
   * Whoever sets a template on a group must be allowed to launch from it (Auto Scaling user guide, Control Amazon EC2 launch
   * template usage); the denial names the template only (Troubleshoot launch templates). A refresh's desired configuration
   * is checked alike.
   */
  #launches(place: Place, configuration: ConfigurationRequest | undefined): readonly Needed[] {
    return specificationsOf(configuration).flatMap((specification) => {
      const id = specification.launchTemplateId ?? specification.launchTemplateName ?? "";
      const denial = `You are not authorized to use launch template: ${id}`;
      const checks = this.#options.ec2.launchChecks(place, specification) ?? [];
      return checks.map((check) => ({ check, denial }));
    });
  }
}

interface Caller extends Role, RoleSession {}

/** A check, and AWS's words where they are not the usual ones. */
interface Needed {
  readonly check: Check;
  readonly denial?: string | undefined;
}

function sessionArn({ accountId, ...session }: Caller): string {
  return assumedRoleUser(accountId, session).arn;
}

/** What every request says (IAM user guide, AWS global condition context keys). */
function placed({ region }: Place, { action, resource, context }: Check): Check {
  return { action, resource, context: { "aws:RequestedRegion": region, ...context } };
}

function specificationsOf(configuration: ConfigurationRequest | undefined): LaunchTemplateSpecification[] {
  const policy = configuration?.mixedInstancesPolicy?.launchTemplate;
  return [
    configuration?.launchTemplate ?? [],
    policy?.launchTemplateSpecification ?? [],
    (policy?.overrides ?? []).flatMap((override) => override.launchTemplateSpecification ?? []),
  ].flat();
}

/** Session tags need `sts:TagSession` beside `sts:AssumeRole` (IAM user guide, Pass session tags in AWS STS). */
function assumeChecks(query: Query): readonly { readonly check: Check }[] {
  const resource = query.required("RoleArn");
  const tags = query.structs("Tags").map((tag) => [tag.required("Key"), tag.string("Value") ?? ""] as const);
  const context: RequestContext = {
    ...Object.fromEntries(tags.map(([key, value]) => [`aws:RequestTag/${key}`, value])),
    ...(tags.length === 0 ? {} : { "aws:TagKeys": tags.map(([key]) => key) }),
    "sts:RoleSessionName": query.string("RoleSessionName") ?? "",
  };
  const actions = ["sts:AssumeRole", ...(tags.length === 0 ? [] : ["sts:TagSession"])];
  return actions.map((action) => ({ check: { action, resource, context } }));
}

/** IAM user guide, Troubleshoot access denied error messages; EC2 has a code of its own, and hides details by encoding. */
function denied(
  service: AwsService,
  caller: Caller,
  { action, resource }: Check,
  decision: "explicitly denied" | "implicitly denied",
  words?: string,
): AwsError {
  const why =
    decision === "explicitly denied"
      ? "with an explicit deny in an identity-based policy"
      : `because no identity-based policy allows the ${action} action`;
  const on = resource === "*" ? "" : ` on resource: ${resource}`;
  const text = `User: ${sessionArn(caller)} is not authorized to perform: ${action}${on} ${why}`;
  if (service !== "ec2") return new AwsError("AccessDenied", words ?? text, 403);
  const encoded =
    resource === "*"
      ? ""
      : `. Encoded authorization failure message: ${randomBytes(48).toString("base64url")}`;
  return new AwsError(
    "UnauthorizedOperation",
    `You are not authorized to perform this operation. ${text}${encoded}`,
    403,
  );
}
