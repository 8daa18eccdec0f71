/** Who an access key belongs to, and the temporary keys that STS gives out. */
import { createHash, randomBytes } from "node:crypto";
import { AwsError } from "./query.ts";

export interface AwsAccount {
  accountId: string;
  /** `valid` (default); `expired` and `unknown` are refused as AWS refuses them. May be changed while running. */
  state?: "valid" | "expired" | "unknown";
  /** What the key was given for; keys without it are a session of the role `kiln`. */
  role?: RoleSession;
  /** Real time in ms, not the sandbox's: SDKs compare it with their own clock. */
  expiresAt?: number;
  /** What STS gave out with the key; nobody verifies it. */
  secrets?: readonly string[];
}

/** Access key id to account. The server looks up on every request, so tests may add, expire and remove keys. */
export type AwsAccounts = Record<string, AwsAccount>;

export interface RoleSession {
  readonly name: string;
  readonly session: string;
  /** Session tags, as AssumeRole was given them. */
  readonly tags?: Readonly<Record<string, string>>;
}

export interface Role {
  readonly accountId: string;
  /** Without its path, as the ARNs of its sessions have it (IAM user guide, IAM identifiers). */
  readonly name: string;
}

/** `arn:aws:iam::111111111111:role/some/path/deploy` */
export function roleOf(arn: string): Role {
  const [, accountId, name] =
    /^arn:aws[\w-]*:iam::(\d{12}):role\/(?:[!-~]+\/)?([\w+=,.@-]+)$/.exec(arn) ?? [];
  if (accountId !== undefined && name !== undefined) return { accountId, name };
  throw new AwsError("ValidationError", `${arn} is invalid`);
}

export function isExpired({ state, expiresAt = Infinity }: AwsAccount): boolean {
  return state === "expired" || Date.now() >= expiresAt;
}

/** STS API reference, AssumedRoleUser: the role's unique id and ARN, each with the session's name. */
export function assumedRoleUser(
  accountId: string,
  { name, session }: RoleSession,
): { id: string; arn: string } {
  const unique = createHash("sha256").update(`${accountId}/${name}`).digest("hex").slice(0, 17).toUpperCase();
  return {
    id: `AROA${unique}:${session}`,
    arn: `arn:aws:sts::${accountId}:assumed-role/${name}/${session}`,
  };
}

export interface TemporaryCredentials {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly SessionToken: string;
  readonly Expiration: Date;
}

/** Makes a key for a session, known from now on. Nobody verifies its secret and its session token. */
export function issueCredentials(
  accounts: AwsAccounts,
  accountId: string,
  role: RoleSession,
  seconds: number,
): TemporaryCredentials {
  // IAM user guide, IAM identifiers: temporary access keys start with ASIA.
  const AccessKeyId = `ASIA${randomBytes(8).toString("hex").toUpperCase()}`;
  const expiresAt = Math.ceil(Date.now() / 1000 + seconds) * 1000;
  const SecretAccessKey = randomBytes(30).toString("base64");
  const SessionToken = randomBytes(96).toString("base64");
  accounts[AccessKeyId] = { accountId, role, expiresAt, secrets: [SecretAccessKey, SessionToken] };
  return { AccessKeyId, SecretAccessKey, SessionToken, Expiration: new Date(expiresAt) };
}
