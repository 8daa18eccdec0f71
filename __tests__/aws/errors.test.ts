import { describe, expect, test } from "vitest";
import { isPassing, translate } from "../../src/aws/errors.ts";
import { KilnError, RemoteError } from "../../src/domain/errors.ts";

const REQUEST = { service: "AutoScaling", action: "StartInstanceRefresh", region: "eu-west-1" };

/** An error as the SDK throws it. */
const sdkError = (name: string, extra: Readonly<Record<string, unknown>> = {}): Error =>
  Object.assign(new Error("AWS says no"), {
    name,
    $metadata: { requestId: "r-1", httpStatusCode: 400 },
    ...extra,
  });

const translated = (error: unknown, request = REQUEST): RemoteError => {
  const result = translate(error, request);
  if (result instanceof RemoteError) return result;
  throw new Error("it was not translated", { cause: result });
};

describe("an error that AWS answers", () => {
  test.each([
    ["CredentialsProviderError", "There are no AWS credentials", "aws-actions/configure-aws-credentials"],
    ["ExpiredToken", "The AWS credentials have expired", "the next run of the same job takes it up"],
    ["ExpiredTokenException", "The AWS credentials have expired", "role-duration-seconds"],
    ["RequestExpired", "The AWS credentials have expired", "role-duration-seconds"],
    ["AuthFailure", "AWS does not accept the credentials in eu-west-1", "the account has the region enabled"],
    ["InvalidClientTokenId", "AWS does not accept the credentials in eu-west-1", "session token"],
    ["UnrecognizedClientException", "AWS does not accept the credentials in eu-west-1", "session token"],
    ["SignatureDoesNotMatch", "AWS does not accept the credentials in eu-west-1", "session token"],
    [
      "AccessDenied",
      "The role may not do autoscaling:StartInstanceRefresh in eu-west-1",
      'Add this statement to the policy of the role: {"Sid":"AllowStartInstanceRefresh","Effect":"Allow","Action":"autoscaling:StartInstanceRefresh","Resource":"*"} docs/iam/deploy.json has it, as narrow as it can be: statement RefreshTheseGroups.',
    ],
    [
      "AccessDeniedException",
      "The role may not do autoscaling:StartInstanceRefresh in eu-west-1",
      "RefreshTheseGroups",
    ],
    [
      "UnauthorizedOperation",
      "The role may not do autoscaling:StartInstanceRefresh in eu-west-1",
      "RefreshTheseGroups",
    ],
  ])("%s: %s", (code, message, next) => {
    const error = translated(sdkError(code));
    expect(error).toMatchObject({
      message,
      code,
      state: `Auto Scaling StartInstanceRefresh in eu-west-1 answered ${code}: AWS says no (request r-1)`,
      next: expect.stringContaining(next),
    });
  });

  test("of a code without a remedy says the service, the action, the region and the request", () => {
    expect(translated(sdkError("ValidationError"))).toMatchObject({
      message:
        "Auto Scaling StartInstanceRefresh in eu-west-1 failed: ValidationError: AWS says no (request r-1)",
      code: "ValidationError",
      state: undefined,
      next: undefined,
    });
  });

  test.each(["ValidationError", "AccessDenied"])(
    "%s has AWS's words on one line, whatever they hold",
    (code) => {
      const { message, state = "" } = translated(
        Object.assign(sdkError(code), { message: "no\n::error::yes\r\n\u001B[31m##[group]x" }),
      );
      expect(`${message}${state}`).toContain("no ::error::yes [31m## [group]x");
      for (const theirs of ["\n", "\r", "\u001B", "##["]) expect(`${message}${state}`).not.toContain(theirs);
    },
  );

  test("has the code on the wire where the SDK has a name of its own for it", () => {
    expect(
      translated(sdkError("InstanceRefreshInProgressFault", { Code: "InstanceRefreshInProgress" })).code,
    ).toBe("InstanceRefreshInProgress");
    expect(translated(sdkError("AccessDenied", { Code: 7 })).code).toBe("AccessDenied");
  });

  test.each([
    ["EC2", "RunInstances", "ec2:RunInstances"],
    ["STS", "GetCallerIdentity", "sts:GetCallerIdentity"],
    ["ElasticLoadBalancingV2", "DescribeTargetHealth", "elasticloadbalancing:DescribeTargetHealth"],
    ["CloudWatch", "DescribeAlarms", "cloudwatch:DescribeAlarms"],
  ])("%s %s is %s for IAM", (service, action, permission) => {
    expect(translated(sdkError("AccessDenied"), { service, action, region: "eu-west-1" }).message).toBe(
      `The role may not do ${permission} in eu-west-1`,
    );
  });

  test("without a request, as on a lost connection, has no request's id", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { name: "Error", code: "ECONNREFUSED" });
    const error = translated(cause);
    expect(error).toMatchObject({
      message: "Auto Scaling in eu-west-1 could not be reached: ECONNREFUSED",
      code: "ECONNREFUSED",
      state: "Auto Scaling StartInstanceRefresh in eu-west-1 got no answer: connect ECONNREFUSED",
      next: expect.stringContaining("HTTPS_PROXY"),
    });
    expect(error.cause).toBe(cause);
  });

  test("of a host without an address asks for the region's name", () => {
    const cause = Object.assign(new Error("getaddrinfo ENOTFOUND ec2.eu-wset-1.amazonaws.com"), {
      code: "ENOTFOUND",
      hostname: "ec2.eu-wset-1.amazonaws.com",
    });
    const request = { service: "EC2", action: "DescribeImages", region: "eu-wset-1" };
    expect(translated(cause, request)).toMatchObject({
      message: "EC2 in eu-wset-1 was not found: ec2.eu-wset-1.amazonaws.com has no address",
      code: "ENOTFOUND",
      next: expect.stringContaining("Check that eu-wset-1 is a region's name"),
    });
  });

  test("of a tag policy says whose tag it is", () => {
    const request = { service: "EC2", action: "CreateTags", region: "eu-west-1" };
    expect(translated(sdkError("TagPolicyViolation"), request)).toMatchObject({
      message: "The organization's tag policy does not allow a tag of EC2 CreateTags in eu-west-1",
      next: expect.stringContaining("Give it a value that the policy allows"),
    });
  });

  test("that is no error is left alone", () => {
    expect(translate("no", REQUEST)).toBe("no");
    expect(translate(undefined, REQUEST)).toBeUndefined();
  });
});

describe("an error that may pass", () => {
  test.each<[what: string, error: unknown, passing: boolean]>([
    ["throttling", translated(sdkError("Throttling")), true],
    ["EC2's throttling", translated(sdkError("RequestLimitExceeded")), true],
    ["contention", translated(sdkError("ResourceContention")), true],
    ["a server's error", translated(sdkError("Strange", { $metadata: { httpStatusCode: 500 } })), true],
    ["an unavailable service", translated(sdkError("ServiceUnavailable")), true],
    ["a refused connection", translated(Object.assign(new Error("no"), { code: "ECONNREFUSED" })), true],
    ["a name that is not found", translated(Object.assign(new Error("no"), { code: "ENOTFOUND" })), true],
    ["a time-out", translated(sdkError("TimeoutError", { $metadata: undefined })), true],
    ["access denied", translated(sdkError("AccessDenied")), false],
    ["expired credentials", translated(sdkError("ExpiredToken")), false],
    ["a refused value", translated(sdkError("ValidationError")), false],
    ["an error of ours", new KilnError("Throttling"), false],
    ["an error of nobody", new Error("Throttling"), false],
    ["nothing", undefined, false],
  ])("%s: %s", (_, error, passing) => {
    expect(isPassing(error)).toBe(passing);
  });
});
