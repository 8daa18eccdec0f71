import type { STSClient } from "@aws-sdk/client-sts";
import type { ProvidedCredentials } from "./renewal.ts";

/** A role in the account of an environment's targets. */
export interface AssumedRole {
  readonly arn: string;
  /** How CloudTrail names the session. */
  readonly sessionName: string;
  /** Session tags, which the role's trust policy has to allow (`sts:TagSession`). */
  readonly tags: Readonly<Record<string, string>>;
}

/** Seconds: the longest session where one role's credentials get another's (IAM user guide, role chaining). */
const SESSION_SECONDS = 3600;

/**
 * Credentials of a role, got with the run's own. The SDK asks for new ones shortly before these expire, so that a rollout
 * may take longer than role chaining's hour.
 */
export function roleCredentials(
  role: AssumedRole,
  sts: () => Promise<STSClient>,
  onSecrets?: (values: readonly string[]) => void,
): () => Promise<ProvidedCredentials> {
  return async () => {
    const [{ AssumeRoleCommand }, client] = await Promise.all([import("@aws-sdk/client-sts"), sts()]);
    const { Credentials } = await client.send(
      new AssumeRoleCommand({
        RoleArn: role.arn,
        RoleSessionName: role.sessionName.replace(/[^\w+=,.@-]/g, "-").slice(0, 64),
        DurationSeconds: SESSION_SECONDS,
        Tags: Object.entries(role.tags).map(([Key, Value]) => ({ Key, Value: Value.slice(0, 256) })),
      }),
    );
    const { AccessKeyId = "", SecretAccessKey = "", SessionToken = "", Expiration } = Credentials ?? {};
    onSecrets?.([AccessKeyId, SecretAccessKey, SessionToken]);
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration: Expiration ?? new Date(Date.now() + SESSION_SECONDS * 1000),
    };
  };
}

/** The account that a role's ARN names. */
export function accountOfRole(arn: string): string {
  return arn.split(":")[4] ?? "";
}
