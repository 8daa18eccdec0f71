import { hasCode, RemoteError } from "../domain/errors.ts";
import { readDenial } from "./access-denied.ts";
import { printable } from "../domain/printable.ts";
import type { RenewalFailure } from "./renewal.ts";

interface Request {
  readonly service: string;
  readonly action: string;
  readonly region: string;
}

/**
 * An error of the SDK as one that the person on call can act on. `code` is the one on the wire (`err.Code` where the
 * SDK models the error, else its name), as AWS's references list them.
 * @param notRenewed why expired credentials could not be renewed, where that was tried
 */
export function translate(error: unknown, request: Request, notRenewed?: RenewalFailure): unknown {
  if (!(error instanceof Error)) return error;
  const code = codeOf(error);
  const where = `${SERVICES[request.service]?.name ?? request.service} ${request.action} in ${request.region}`;
  const requestId = requestIdOf(error);
  const suffix = requestId === undefined ? "" : ` (request ${requestId})`;
  // AWS's words may be others' words: one line, which begins with ours.
  const said = printable(error.message.replace(/\s+/g, " "));
  const lost = unreachable(error, request);
  if (lost !== undefined) {
    const { message, next } = lost;
    return new RemoteError(message, {
      code: lost.code,
      cause: error,
      state: `${where} got no answer: ${said}`,
      next,
    });
  }
  const known = explain(code, error, request);
  return new RemoteError(known?.message ?? `${where} failed: ${code}: ${said}${suffix}`, {
    code,
    cause: error,
    state:
      known === undefined
        ? undefined
        : `${where} answered ${code}: ${said}${suffix}${notRenewed === undefined ? "" : `. Renewing them by OIDC failed: ${notRenewed.why}`}`,
    next: notRenewed?.next === undefined ? known?.next : `${known?.next ?? ""} ${notRenewed.next}`.trim(),
  });
}

/** True where AWS refused a request because its credentials have expired. */
export function isExpired(error: unknown): boolean {
  return error instanceof Error && CREDENTIALS_EXPIRED.has(codeOf(error));
}

function codeOf(error: Error): string {
  return "Code" in error && typeof error.Code === "string" ? error.Code : error.name;
}

/** By the SDK's name: the name that people know the service by, and the one that IAM's actions begin with. */
const SERVICES: Readonly<Record<string, { readonly name: string; readonly iam: string }>> = {
  EC2: { name: "EC2", iam: "ec2" },
  AutoScaling: { name: "Auto Scaling", iam: "autoscaling" },
  ElasticLoadBalancingV2: { name: "Elastic Load Balancing", iam: "elasticloadbalancing" },
  CloudWatch: { name: "CloudWatch", iam: "cloudwatch" },
  STS: { name: "STS", iam: "sts" },
};

function explain(
  code: string,
  error: Error,
  request: Request,
): { message: string; next: string } | undefined {
  if (CREDENTIALS_MISSING.has(code)) {
    return {
      message: "There are no AWS credentials",
      next: "Add a step with aws-actions/configure-aws-credentials (OIDC role, `permissions: id-token: write`) before this one.",
    };
  }
  if (CREDENTIALS_EXPIRED.has(code)) {
    return {
      message: "The AWS credentials have expired",
      next: "Run the job again, with a longer `role-duration-seconds` if it takes that long (with `permissions: id-token: write`, Kiln renews a role's credentials itself); a rollout that was started goes on in AWS, and the next run of the same job takes it up.",
    };
  }
  if (CREDENTIALS_REFUSED.has(code)) {
    return {
      message: `AWS does not accept the credentials in ${request.region}`,
      next: "Check the access key, its session token, and that the account has the region enabled.",
    };
  }
  if (ACCESS_DENIED.has(code)) {
    const action = `${SERVICES[request.service]?.iam ?? request.service.toLowerCase()}:${request.action}`;
    return readDenial(error.message, action, request.region);
  }
  if (code === "TagPolicyViolation") {
    return {
      message: `The organization's tag policy does not allow a tag of ${SERVICES[request.service]?.name ?? request.service} ${request.action} in ${request.region}`,
      next: "AWS names the tag. Give it a value that the policy allows, in the Packer template or the launch template. If it is a tag of Kiln's (`Name`, or one that begins with `kiln:`), have the policy changed for images and snapshots.",
    };
  }
  return undefined;
}

/** A request that got no answer. */
interface Lost {
  readonly code: string;
  readonly message: string;
  readonly next: string;
}

/**
 * Why AWS was not reached: its host has no address, which is what a region that does not exist looks like, or there is no
 * way to it.
 * @returns undefined for an error that AWS answered
 */
function unreachable(error: Error, { region, service }: Request): Lost | undefined {
  const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
  const name = SERVICES[service]?.name ?? service;
  if (code === "ENOTFOUND") {
    const host =
      "hostname" in error && typeof error.hostname === "string" ? printable(error.hostname) : "its host";
    return {
      code,
      message: `${name} in ${region} was not found: ${host} has no address`,
      next: `Check that ${region} is a region's name (aws ec2 describe-regions --all-regions) where the config file, an input or the template says it. If it is, the runner cannot resolve AWS's names: check its DNS and \`AWS_ENDPOINT_URL\`.`,
    };
  }
  if (!UNREACHABLE.has(code)) return undefined;
  return {
    code,
    message: `${name} in ${region} could not be reached: ${code}`,
    next: "Check the runner's network: proxy (`HTTPS_PROXY`), firewall, VPC endpoints, `AWS_ENDPOINT_URL`. If these are right, see https://health.aws.amazon.com and run the job again.",
  };
}

const UNREACHABLE = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EAI_AGAIN",
  "TimeoutError",
]);

const CREDENTIALS_MISSING = new Set(["CredentialsProviderError"]);
const CREDENTIALS_EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "RequestExpired"]);
const CREDENTIALS_REFUSED = new Set([
  "AuthFailure",
  "InvalidClientTokenId",
  "UnrecognizedClientException",
  "SignatureDoesNotMatch",
]);
const ACCESS_DENIED = new Set(["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"]);

function requestIdOf(error: Error): string | undefined {
  const metadata =
    "$metadata" in error ? (error.$metadata as { readonly requestId?: string } | undefined) : undefined;
  return metadata?.requestId;
}

const GONE = [
  "InvalidAMIID.NotFound",
  "InvalidAMIID.Unavailable",
  "InvalidVolume.NotFound",
  "InvalidGroup.NotFound",
  "InvalidLaunchTemplateId.NotFound",
] as const;

/** A removal of what is there; undefined where it is gone already, as after a removal whose answer was lost. */
export async function unlessGone<T>(removal: Promise<T>): Promise<T | undefined> {
  try {
    return await removal;
  } catch (error) {
    if (hasCode(error, ...GONE)) return undefined;
    throw error;
  }
}

const PASSING_CODES: ReadonlySet<string> = new Set([
  "Throttling",
  "ThrottlingException",
  "RateExceeded",
  "RequestLimitExceeded",
  "ResourceContention",
  "ScalingActivityInProgress",
  "InternalError",
  "InternalFailure",
  "ServiceUnavailable",
  "Unavailable",
  "TimeoutError",
  "ECONNRESET",
  "ECONNREFUSED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "Unknown",
]);

/** True where asking again later may succeed: throttling, server errors, the network. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof RemoteError)) return false;
  const { cause } = error;
  const status =
    cause instanceof Error && "$metadata" in cause
      ? (cause.$metadata as { readonly httpStatusCode?: number } | undefined)?.httpStatusCode
      : undefined;
  const networkCode = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return (
    PASSING_CODES.has(error.code) || PASSING_CODES.has(networkCode) || (status !== undefined && status >= 500)
  );
}
