import { describe, expect, test } from "vitest";
import { type Check, decide, decideTrust, type PolicyStatement } from "../../sandbox/aws/iam.ts";

/** IAM's evaluation, as the user guide has it. */

const ALLOW: PolicyStatement = { Effect: "Allow", Action: "ec2:StopInstances", Resource: "*" };
const INSTANCE = "arn:aws:ec2:eu-west-1:111111111111:instance/i-1";
const CHECK: Check = { action: "ec2:StopInstances", resource: INSTANCE, context: {} };

const decided = (statement: Partial<PolicyStatement>, check: Partial<Check> = {}) =>
  decide([{ Version: "2012-10-17", Statement: [{ ...ALLOW, ...statement }] }], { ...CHECK, ...check });

describe("a policy", () => {
  test("without a statement that applies denies; an explicit denial wins over all", () => {
    expect(decide([], CHECK)).toBe("implicitly denied");
    const policy = (...statements: readonly PolicyStatement[]) =>
      ({ Version: "2012-10-17", Statement: statements }) as const;
    expect(decide([policy(ALLOW)], CHECK)).toBe("allowed");
    expect(decide([policy(ALLOW), policy({ ...ALLOW, Effect: "Deny" })], CHECK)).toBe("explicitly denied");
  });

  test.each<[PolicyStatement["Action"], boolean]>([
    ["ec2:StopInstances", true],
    ["EC2:stopinstances", true],
    ["ec2:Stop*", true],
    ["ec2:Sto?Instances", true],
    ["*", true],
    [["ec2:StartInstances", "ec2:StopInstances"], true],
    ["ec2:Stop", false],
    ["ec2:StopInstances?", false],
    ["autoscaling:*", false],
  ])("allows the action %j: %j", (Action, isAllowed) => {
    expect(decided({ Action }) === "allowed").toBe(isAllowed);
  });

  test.each<[NonNullable<PolicyStatement["Resource"]>, boolean]>([
    ["*", true],
    [INSTANCE, true],
    ["arn:aws:ec2:eu-west-1:111111111111:instance/*", true],
    ["arn:aws:ec2:*:111111111111:instance/i-?", true],
    [["arn:aws:ec2:eu-west-1::image/*", INSTANCE], true],
    ["arn:aws:ec2:eu-west-1:111111111111:INSTANCE/i-1", false],
    ["arn:aws:ec2:us-east-1:111111111111:instance/*", false],
    ["arn:aws:ec2:eu-west-1:222222222222:instance/*", false],
    ["arn.aws:ec2:eu-west-1:111111111111:instance/i-1", false],
  ])("allows it on %j: %j", (Resource, isAllowed) => {
    expect(decided({ Resource }) === "allowed").toBe(isAllowed);
  });
});

describe("a condition", () => {
  const context = {
    "aws:ResourceTag/Name": "bake of web",
    "aws:TagKeys": ["Name", "team"],
    "ec2:LaunchTemplate": "arn:aws:ec2:eu-west-1:111111111111:launch-template/lt-1",
    "kms:GrantIsForAWSResource": "true",
  };

  test.each<[operator: string, key: string, value: string | readonly string[], holds: boolean]>([
    ["StringEquals", "aws:ResourceTag/Name", "bake of web", true],
    ["StringEquals", "AWS:resourcetag/name", "bake of web", true],
    ["StringEquals", "aws:ResourceTag/Name", "BAKE of web", false],
    ["StringEquals", "aws:ResourceTag/Name", ["other", "bake of web"], true],
    ["StringEquals", "aws:ResourceTag/Name", "bake of *", false],
    ["StringEquals", "aws:ResourceTag/team", "web", false],
    ["StringEquals", "aws:TagKeys", "team", true],
    ["StringEqualsIfExists", "aws:ResourceTag/team", "web", true],
    ["StringEqualsIfExists", "aws:ResourceTag/Name", "web", false],
    ["StringNotEquals", "aws:ResourceTag/Name", "web", true],
    ["StringNotEquals", "aws:ResourceTag/Name", "bake of web", false],
    ["StringNotEquals", "aws:ResourceTag/team", "web", true],
    ["StringEqualsIgnoreCase", "aws:ResourceTag/Name", "BAKE OF WEB", true],
    ["StringLike", "aws:ResourceTag/Name", ["Packer Builder", "bake of *"], true],
    ["StringLike", "aws:ResourceTag/Name", "Bake of *", false],
    ["StringLikeIfExists", "aws:ResourceTag/team", "w*", true],
    ["StringNotLike", "aws:ResourceTag/Name", "bake *", false],
    ["ArnLike", "ec2:LaunchTemplate", "arn:aws:ec2:*:111111111111:launch-template/*", true],
    ["ArnLike", "ec2:LaunchTemplate", "arn:aws:ec2:*:launch-template/*", false],
    ["ArnEquals", "ec2:LaunchTemplate", "arn:aws:ec2:eu-west-1:222222222222:launch-template/lt-1", false],
    ["Bool", "kms:GrantIsForAWSResource", "true", true],
    ["Bool", "kms:GrantIsForAWSResource", "false", false],
    ["Null", "aws:ResourceTag/team", "true", true],
    ["Null", "aws:ResourceTag/Name", "true", false],
    ["Null", "aws:ResourceTag/Name", "false", true],
  ])("%s %s %j: %j", (operator, key, value, holds) => {
    expect(decided({ Condition: { [operator]: { [key]: value } } }, { context }) === "allowed").toBe(holds);
  });

  test("of several keys and operators must hold in all of them", () => {
    const name = { "aws:ResourceTag/Name": "bake of web" };
    const both = { StringEquals: name, Bool: { "kms:GrantIsForAWSResource": "true" } };
    expect(decided({ Condition: both }, { context })).toBe("allowed");
    const more = { StringEquals: { ...name, "aws:ResourceTag/team": "web" } };
    expect(decided({ Condition: more }, { context })).toBe("implicitly denied");
  });

  test.each<Partial<PolicyStatement> & Readonly<Record<string, unknown>>>([
    { NotAction: "ec2:*" },
    { Condition: { NumericEquals: { "aws:ResourceTag/Name": "1" } } },
    { Condition: { StringEquals: { "aws:ResourceTag/Name": "${aws:username}" } }, Resource: "arn:${x}" },
  ])("that is not modelled is an error: %j", (statement) => {
    expect(() => decided(statement, { context })).toThrow("The sandbox's IAM does not know");
  });
});

describe("a trust policy", () => {
  const trust = (Principal: NonNullable<PolicyStatement["Principal"]>) =>
    ({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Principal, Action: "sts:AssumeRole" }],
    }) as const;
  const role = { type: "AWS", arn: "arn:aws:iam::111111111111:role/web-deployer" } as const;
  const check = { action: "sts:AssumeRole", context: {} };

  test.each<[NonNullable<PolicyStatement["Principal"]>, boolean]>([
    [{ AWS: role.arn }, true],
    [{ AWS: ["arn:aws:iam::111111111111:role/other", role.arn] }, true],
    [{ AWS: "*" }, true],
    ["*", true],
    [{ AWS: "arn:aws:iam::111111111111:role/*" }, false],
    [{ Federated: role.arn }, false],
  ])("of %j lets the role in: %j", (principal, isAllowed) => {
    expect(decideTrust(trust(principal), [role], check) === "allowed").toBe(isAllowed);
  });
});
