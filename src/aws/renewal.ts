import type { STSClient } from "@aws-sdk/client-sts";

/** An access key as the job's environment has it. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface RenewalOptions {
  /** The credentials that the run begins with. */
  readonly first: AwsCredentials;
  /** Asks the job's OIDC provider for a token for this audience. */
  readonly idToken: (audience: string) => Promise<string>;
  /** The role that the first credentials are for; without it the one that GetCallerIdentity answered. */
  readonly roleArn?: string | undefined;
  readonly sessionName?: string | undefined;
  readonly onRenewed?: ((message: string) => void) | undefined;
  readonly onSecrets?: ((values: readonly string[]) => void) | undefined;
  /** A client that neither translates errors nor renews: an expired OIDC token must not begin another renewal. */
  readonly sts: (region: string) => Promise<STSClient>;
}

/** Why credentials could not be renewed, and what would make it possible the next time. */
export interface RenewalFailure {
  readonly why: string;
  readonly next?: string;
}

/** Credentials of a role that can be asked for again, by OIDC, when they have expired. */
export interface Renewal {
  /** Grows with each renewal: what a request that failed was sent with. */
  readonly generation: number;
  /** What the SDK's clients ask before each request. */
  readonly provide: () => Promise<ProvidedCredentials>;
  /** Whose credentials they are, as GetCallerIdentity answers: after they have expired it cannot be asked any more. */
  remember(callerArn: string): void;
  /** Replaces the credentials of this generation; where that was done already, or is being done, only waits for it. */
  renew(generation: number, region: string): Promise<RenewalFailure | undefined>;
}

export interface ProvidedCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration: Date;
}

/** Long past: the SDK then asks before each request instead of keeping what it got (@smithy/core, memoizeIdentityProvider). */
const ASK_AGAIN = new Date(0);

/** What AWS's identity provider for GitHub is set up with (GitHub's documentation, OpenID Connect in AWS). */
const AUDIENCE = "sts.amazonaws.com";

export function createRenewal(options: RenewalOptions): Renewal {
  let current = options.first;
  let generation = 0;
  let caller: string | undefined;
  let pending: Promise<RenewalFailure | undefined> | undefined;
  const replace = async (region: string): Promise<RenewalFailure | undefined> => {
    const role = roleToAssume(options.roleArn, caller);
    if ("why" in role) return role;
    const renewed = await assume(options, role.arn, region);
    if ("why" in renewed) return renewed;
    current = renewed.credentials;
    generation += 1;
    options.onRenewed?.(
      `The AWS credentials had expired and were renewed: ${role.arn}${renewed.until === undefined ? "" : `, until ${renewed.until.toISOString()}`}`,
    );
    return undefined;
  };
  return {
    get generation() {
      return generation;
    },
    provide: async () => ({
      accessKeyId: current.accessKeyId,
      secretAccessKey: current.secretAccessKey,
      ...(current.sessionToken === undefined ? {} : { sessionToken: current.sessionToken }),
      expiration: ASK_AGAIN,
    }),
    remember(callerArn) {
      caller = callerArn;
    },
    renew(failed, region) {
      if (failed !== generation) return Promise.resolve(undefined);
      // Several targets are watched at once: the first one to fail renews for all.
      pending ??= replace(region).finally(() => {
        pending = undefined;
      });
      return pending;
    },
  };
}

const SET_ROLE_ARN =
  "Set AWS_ROLE_ARN to the role's whole ARN in the step's `env`, as configure-aws-credentials gets it in `role-to-assume`.";

/** The role's ARN: the one that was set, if it is the role that the credentials were for; else the one that they show. */
function roleToAssume(
  roleArn: string | undefined,
  caller: string | undefined,
): { readonly arn: string } | RenewalFailure {
  const session = caller === undefined ? undefined : ASSUMED_ROLE.exec(caller)?.groups;
  if (caller !== undefined && session === undefined) return { why: `they were not a role's but ${caller}` };
  if (roleArn === undefined) {
    if (session === undefined) {
      return { why: "Kiln does not know which role they were for", next: SET_ROLE_ARN };
    }
    // The session's ARN leaves out the role's path (IAM user guide, IAM identifiers): this one is for a role without.
    return { arn: `arn:${session["partition"]}:iam::${session["account"]}:role/${session["name"]}` };
  }
  const role = ROLE.exec(roleArn)?.groups;
  if (role === undefined) return { why: `AWS_ROLE_ARN, ${roleArn}, is not a role's ARN`, next: SET_ROLE_ARN };
  // With roles assumed one from the other, it may name the first: a run must not go on as somebody else.
  if (session !== undefined && (role["account"] !== session["account"] || role["name"] !== session["name"])) {
    return { why: `AWS_ROLE_ARN names ${roleArn}, but they were ${caller}`, next: SET_ROLE_ARN };
  }
  return { arn: roleArn };
}

const ASSUMED_ROLE = /^arn:(?<partition>aws[\w-]*):sts::(?<account>\d{12}):assumed-role\/(?<name>[^/]+)\//;
const ROLE = /^arn:aws[\w-]*:iam::(?<account>\d{12}):role\/(?:.+\/)?(?<name>[^/]+)$/;

async function assume(
  options: RenewalOptions,
  role: string,
  region: string,
): Promise<{ readonly credentials: AwsCredentials; readonly until: Date | undefined } | RenewalFailure> {
  let token: string;
  try {
    token = await options.idToken(AUDIENCE);
  } catch (error) {
    return { why: `GitHub gave no OIDC token: ${textOf(error)}` };
  }
  try {
    const { AssumeRoleWithWebIdentityCommand } = await import("@aws-sdk/client-sts");
    const sts = await options.sts(region);
    const { Credentials } = await sts.send(
      new AssumeRoleWithWebIdentityCommand({
        RoleArn: role,
        RoleSessionName: sessionName(options.sessionName),
        WebIdentityToken: token,
      }),
    );
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {};
    if (AccessKeyId === undefined || SecretAccessKey === undefined)
      return { why: `AWS gave no new ones for ${role}` };
    options.onSecrets?.([AccessKeyId, SecretAccessKey, SessionToken ?? ""]);
    return {
      credentials: {
        accessKeyId: AccessKeyId,
        secretAccessKey: SecretAccessKey,
        sessionToken: SessionToken,
      },
      until: Expiration,
    };
  } catch (error) {
    return {
      why: `AWS gave no new ones for ${role}: ${textOf(error)}`,
      next:
        options.roleArn === undefined
          ? `If the role has a path, or another role's credentials got it, Kiln cannot know its ARN. ${SET_ROLE_ARN}`
          : "Check that the role's trust policy allows sts:AssumeRoleWithWebIdentity to this job.",
    };
  }
}

/** 2 to 64 characters of `[\w+=,.@-]` (STS API reference, AssumeRoleWithWebIdentity, RoleSessionName). */
function sessionName(wanted: string | undefined): string {
  const name = (wanted ?? "").replace(/[^\w+=,.@-]/g, "-").slice(0, 64);
  return name.length < 2 ? "kiln" : name;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "Error" ? error.message : `${error.name}: ${error.message}`;
}
