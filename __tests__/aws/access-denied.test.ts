import { describe, expect, test } from "vitest";
import { readDenial } from "../../src/aws/access-denied.ts";

const USER = "User: arn:aws:sts::111111111111:assumed-role/web-deployer/run";
const denied = (action: string, resource: string, more = ""): string =>
  `${USER} is not authorized to perform: ${action} on resource: ${resource} because no identity-based policy allows the ${action} action${more}`;
const ec2 = (text: string): string => `You are not authorized to perform this operation. ${text}`;

/** The JSON in what to do next. */
const statementIn = (next: string): unknown => JSON.parse(/\{.*\}/.exec(next)?.[0] ?? "null");

describe("a denial", () => {
  test("of Auto Scaling names the group, the role, the statement and where it is", () => {
    const group =
      "arn:aws:autoscaling:eu-west-1:111111111111:autoScalingGroup:0f1e:autoScalingGroupName/web-production";
    const { message, next } = readDenial(
      denied("autoscaling:StartInstanceRefresh", group),
      "autoscaling:StartInstanceRefresh",
      "eu-west-1",
    );
    expect(message).toBe(`The role may not do autoscaling:StartInstanceRefresh on ${group} in eu-west-1`);
    expect(next).toContain(
      "Add this statement to the policy of the role web-deployer of account 111111111111: {",
    );
    expect(next).toContain(
      "docs/iam/deploy.json has it, as narrow as it can be: statement RefreshTheseGroups.",
    );
    expect(statementIn(next)).toEqual({
      Sid: "AllowStartInstanceRefresh",
      Effect: "Allow",
      Action: "autoscaling:StartInstanceRefresh",
      Resource: group,
    });
  });

  test("of EC2 may be for another action than the one asked for, and says how to decode what is encoded", () => {
    const text = ec2(
      denied(
        "ec2:CreateTags",
        "arn:aws:ec2:us-east-1::image/*",
        ". Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abc_def",
      ),
    );
    const { message, next } = readDenial(text, "ec2:CopyImage", "us-east-1");
    expect(message).toBe("The role may not do ec2:CreateTags on arn:aws:ec2:us-east-1::image/* in us-east-1");
    expect(next).toContain("statements TagImages, TagNewImages, TagWhatIsMade");
    expect(next).toContain("aws sts decode-authorization-message --encoded-message");
    expect(next).not.toContain("4GIOHlTk");
  });

  test.each([
    ["image/ami-0123456789abcdef0", "arn:aws:ec2:eu-west-1::", "image/*"],
    ["instance/i-0123456789abcdef0", "arn:aws:ec2:eu-west-1:111111111111:", "instance/*"],
    ["launch-template/lt-0123456789abcdef0", "arn:aws:ec2:eu-west-1:111111111111:", undefined],
    ["key-pair/ops", "arn:aws:ec2:eu-west-1:111111111111:", undefined],
  ])("for %s is for the next one of its kind too", (resource, prefix, lasting = resource) => {
    const { message, next } = readDenial(
      ec2(denied("ec2:RunInstances", prefix + resource)),
      "ec2:RunInstances",
      "eu-west-1",
    );
    expect(message).toContain(resource);
    expect(statementIn(next)).toMatchObject({ Resource: prefix + lasting });
  });

  test("of a role to assume speaks of both policies", () => {
    const role = "arn:aws:iam::222222222222:role/deploy/web-deployer";
    const { message, next } = readDenial(
      `${USER} is not authorized to perform: sts:AssumeRole on resource: ${role}`,
      "sts:AssumeRole",
      "us-east-1",
    );
    expect(message).toBe(`The role may not do sts:AssumeRole on ${role} in us-east-1`);
    expect(next).toContain("docs/iam/promote-across-accounts.json");
    expect(next).toContain("docs/iam/target-account-trust.json");
  });

  test("of a launch template, of which AWS tells nothing", () => {
    const { message, next } = readDenial(
      "You are not authorized to use launch template: lt-0bc7c5b7e0f0aa111",
      "autoscaling:StartInstanceRefresh",
      "eu-west-1",
    );
    expect(message).toBe(
      "The role may not launch instances from lt-0bc7c5b7e0f0aa111 for autoscaling:StartInstanceRefresh in eu-west-1",
    );
    expect(next).toContain("PassTheInstancesRole");
    expect(next).toContain("kiln:application");
  });

  test("that is explicit is not to be allowed away", () => {
    const { next } = readDenial(
      ec2(
        `${USER} is not authorized to perform: ec2:CopyImage on resource: arn:aws:ec2:us-east-1::image/* with an explicit deny in a service control policy`,
      ),
      "ec2:CopyImage",
      "us-east-1",
    );
    expect(next).toContain("A service control policy of the AWS organization forbids it");
    expect(next).not.toContain("Add this statement");
    expect(next).not.toContain("decode-authorization-message");
  });

  test.each([
    ["with an explicit deny in a service control policy", "Ask whoever manages the organization"],
    [
      "because no service control policy allows the ec2:CopyImage action",
      "Ask whoever manages the organization",
    ],
    ["with an explicit deny in a resource control policy", "A resource control policy"],
    ["because no permissions boundary allows the ec2:CopyImage action", "boundary of the role web-deployer"],
    ["with an explicit deny in a permissions boundary", "the policy that is the boundary"],
    ["because no session policy allows the ec2:CopyImage action", "inline-session-policy"],
    ["because no VPC endpoint policy allows the ec2:CopyImage action", "the VPC endpoint that the runner"],
    ["with an explicit deny in an identity-based policy", "find the Deny"],
    ["with an explicit deny", "find the Deny"],
  ])("%s: names who can change it, and no statement that would not help", (why, says) => {
    const { message, next } = readDenial(
      ec2(
        `${USER} is not authorized to perform: ec2:CopyImage on resource: arn:aws:ec2:us-east-1::image/* ${why}`,
      ),
      "ec2:CopyImage",
      "us-east-1",
    );
    expect(message).toBe("The role may not do ec2:CopyImage on arn:aws:ec2:us-east-1::image/* in us-east-1");
    expect(next).toContain(says);
    expect(next).not.toContain("Add this statement");
    expect(next).not.toContain("docs/iam");
  });

  test("because no policy of the role's own allows it is for the role's policies", () => {
    const { next } = readDenial(
      denied("ec2:CopyImage", "arn:aws:ec2:us-east-1::image/*"),
      "ec2:CopyImage",
      "us-east-1",
    );
    expect(next).toContain("Add this statement");
  });

  test.each([
    "",
    "AWS says no",
    `${USER} is not authorized to perform: ec2:\n::error::Run\u001B[2J on resource: arn:aws:ec2:x\n::set-env`,
    `${USER} is not authorized to perform: ec2:RunInstances","Effect":"Allow on resource: arn:aws:ec2:eu-west-1:1:"},{"Action":"*"`,
    `is not authorized to perform: ${"a".repeat(10_000)}:${"b".repeat(10_000)} on resource: arn:aws:s3:::${"c".repeat(10_000)}`,
  ])("of other words, %j, takes nothing of them", (text) => {
    const { message, next } = readDenial(text, "ec2:DescribeImages", "eu-west-1");
    const printed = `${message}${next}`;
    for (const theirs of ["\n", "\u001B", "::", "s3", '"Action":"*"']) expect(printed).not.toContain(theirs);
    expect(message).toMatch(/^The role may not do ec2:(?:DescribeImages|RunInstances) in eu-west-1$/);
    expect(statementIn(next)).toMatchObject({ Effect: "Allow", Resource: "*" });
  });
});
