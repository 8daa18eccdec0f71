import { describe, expect, test } from "vitest";
import { translate } from "../../src/aws/errors.ts";
import { KilnError, RemoteError } from "../../src/domain/errors.ts";
import { refusedStart } from "../../src/rollout/refused-start.ts";

const TARGET = { region: "eu-west-1", autoScalingGroup: "web-dev" };
const REQUEST = { service: "AutoScaling", action: "StartInstanceRefresh", region: "eu-west-1" };

/** What AWS answered, as Kiln's clients throw it. */
const answered = (code: string, message: string): unknown =>
  translate(Object.assign(new Error(message), { name: code, $metadata: { requestId: "r-1" } }), REQUEST);

describe("a refresh that AWS refuses to start says what is to be done", () => {
  test.each<[code: string, message: string, next: string]>([
    [
      "ValidationError",
      "The AutoScaling group may not be modified while it is pending delete",
      "is being deleted",
    ],
    ["ValidationError", "AutoScalingGroup name not found - null", "was deleted meanwhile"],
    ["ValidationError", "The alarm web-5xx is in the ALARM state", "are OK"],
    ["LimitExceeded", "Limit exceeded", "Service Quotas (Amazon EC2 Auto Scaling)"],
    [
      "ValidationError",
      "One or more security groups in the launch template are not linked to the VPCs configured in the Auto Scaling group",
      "in another VPC",
    ],
    [
      "ValidationError",
      "You must use a valid fully-formed launch template. The snapshot 'snap-0123' does not exist.",
      "A snapshot that",
    ],
    [
      "ValidationError",
      "You must use a valid fully-formed launch template. Invalid BASE64 encoding of user data.",
      "not Base64",
    ],
    ["ValidationError", "Something new", "Correct what AWS names in the group or its launch template"],
  ])("%s: %s", (code, message, next) => {
    const error = refusedStart(TARGET, answered(code, message));
    expect(error).toBeInstanceOf(KilnError);
    expect(error).toMatchObject({
      message: `eu-west-1/web-dev: AWS refused to start the instance refresh: ${code}: ${message}`,
      state: expect.stringContaining("the group runs what it ran before") as string,
      next: expect.stringContaining(next) as string,
    });
  });

  test("a denial keeps its own remedy", () => {
    const denial = answered("AccessDenied", "no");
    expect(refusedStart(TARGET, denial)).toBe(denial);
    expect(denial).toBeInstanceOf(RemoteError);
  });

  test("what is no refusal of AWS's stays as it is", () => {
    const own = new KilnError("own");
    expect(refusedStart(TARGET, own)).toBe(own);
  });

  test("AWS's words are one line", () => {
    const error = refusedStart(TARGET, answered("ValidationError", "no\n::error::yes\u001B[31m"));
    expect(error).toMatchObject({
      message: expect.stringContaining("ValidationError: no ::error::yes[31m") as string,
    });
  });
});
