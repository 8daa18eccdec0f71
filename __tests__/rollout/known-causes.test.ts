import { describe, expect, test } from "vitest";
import { remedyFor } from "../../src/rollout/known-causes.ts";

/** AWS's texts, each with what its remedy has to say. */
const TEXTS: readonly (readonly [text: string, says: string])[] = [
  // User guide, Troubleshoot: AMI issues.
  ["The AMI ID ami-0123456789abcdef0 does not exist. Launching EC2 instance failed.", "The AMI is gone"],
  [
    "AMI ami-0123456789abcdef0 is pending, and cannot be run. Launching EC2 instance failed.",
    "not available yet",
  ],
  [
    "The requested instance type's architecture (i386) does not match the architecture in the manifest for ami-6622f00f (x86_64). Launching ec2 instance failed.",
    "another architecture",
  ],
  [
    "Non-Windows AMIs with a virtualization type of 'hvm' currently may only be used with Cluster Compute instance types. Launching EC2 instance failed.",
    "lacks what the instance type needs",
  ],
  // User guide, Troubleshoot: instance launch failures.
  ["The security group 'sg-0123' does not exist. Launching EC2 instance failed.", "security group"],
  ["The key pair 'ops' does not exist. Launching EC2 instance failed.", "key pair was deleted"],
  [
    "The requested configuration is currently not supported. Please check the documentation",
    "not offered in one",
  ],
  [
    "Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e). Please retry your request by not specifying an Availability Zone or choosing us-east-1a",
    "describe-instance-type-offerings",
  ],
  [
    "The requested Availability Zone is no longer supported. Please retry your request by",
    "not offered in one",
  ],
  ["You are not subscribed to this service. Please see https://aws.amazon.com/.", "not subscribed"],
  ["Invalid device name upload. Launching EC2 instance failed.", "block devices"],
  ["EBS block device mappings not supported for instance-store AMIs.", "block devices"],
  [
    "Placement groups may not be used with instances of type 'm1.large'. Launching EC2 instance failed.",
    "placement group",
  ],
  ["Client.InternalError: Client error on launch.", "aws kms create-grant --key-id"],
  [
    "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity.",
    "no capacity of this instance type",
  ],
  // Public logs.
  [
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state",
    "AWSServiceRoleForAutoScaling",
  ],
  [
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.InternalError: Client error on launch",
    "AWSServiceRoleForAutoScaling",
  ],
  [
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.VolumeLimitExceeded: Volume limit exceeded",
    "quota of EBS",
  ],
  [
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    "shut itself down",
  ],
  [
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.UserInitiatedShutdown: User initiated shutdown",
    "CloudTrail names who",
  ],
  [
    "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 4 allows for the instance bucket that the specified instance type belongs to.",
    "quota of running instances",
  ],
  [
    "You have requested more instances (21) than your current instance limit of 20 allows for the specified instance type. Launching EC2 instance failed.",
    "quota of running instances",
  ],
  [
    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not",
    "no capacity of",
  ],
  ["Insufficient capacity. Launching EC2 instance failed.", "no capacity of"],
  ["Max spot instance count exceeded. Launching EC2 instance failed.", "quota of Spot"],
  [
    "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. Launching EC2 instance failed.",
    "quota of Spot",
  ],
  [
    "Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.0218. Launching EC2 instance failed.",
    "maximum Spot price",
  ],
  [
    "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
    "no Spot capacity",
  ],
  [
    "There are not enough free addresses in subnet 'subnet-12345678' to satisfy the requested number of instances. Launching EC2 instance failed.",
    "no free addresses",
  ],
  [
    "The image id '[ami-0123456789abcdef0]' does not exist. Launching EC2 instance failed.",
    "The AMI is gone",
  ],
  ["The image ID: 'ami-1234567' is no longer available", "--include-disabled"],
  ["Not authorized for images: [ami-0123456789abcdef0]. Launching EC2 instance failed.", "not shared"],
  [
    "You must use a valid fully-formed launch template. The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64' of the specified AMI.",
    "another architecture",
  ],
  [
    "Enhanced networking with the Elastic Network Adapter (ENA) is required for the 'm5.large' instance type. Ensure that you are using an AMI that is enabled for ENA.",
    "ena_support",
  ],
  [
    "Could not launch Spot Instances. InvalidBlockDeviceMapping - Volume of size 22GB is smaller than  snapshot 'snap-0b5c', expect size >= 30GB. Launching EC2 instance failed.",
    "smaller than the image's",
  ],
  [
    "The request must contain the parameter size or snapshotId. Launching EC2 instance failed.",
    "block devices",
  ],
  [
    "VolumeLimitExceeded: You have exceeded your maximum gp3 storage limit of 50 TiB in this region. Please contact AWS Support",
    "quota of EBS",
  ],
  ["Invalid IamInstanceProfile: web. Launching EC2 instance failed.", "instance profile"],
  [
    "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
    "instance profile",
  ],
  [
    "We currently do not have sufficient capacity to launch all of the additional requested instances into Placement Group 'web'.",
    "placement group",
  ],
  ["The Placement Group 'web' is unknown. Launching EC2 instance failed.", "placement group"],
  ["The maximum number of network interfaces has been reached. Launching EC2 instance failed.", "Amazon VPC"],
  ["The subnet ID 'subnet-0123' does not exist. Launching EC2 instance failed.", "subnet of the group"],
  ["User data is limited to 16384 bytes. Launching EC2 instance failed.", "16 KB"],
  ["Encoded User data is limited to 25600 bytes", "16 KB"],
  [
    "You must use a valid fully-formed launch template. Could not find the specified version 3 for the launch template with ID lt-0123.",
    "was deleted while the rollout ran",
  ],
  [
    "You are not authorized to perform this operation. Encoded authorization failure message: mR08NOyRPjVfde9BZ_4YPDcmtO8Ojb5O9HlyX9V",
    "decode-authorization-message",
  ],
  ["You are not authorized to use launch template: lt-0123", "CloudTrail"],
  [
    "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token e85eb647-4fe0-4909-b341-a6c42EXAMPLE was abandoned: Lifecycle Action Completed with ABANDON Result",
    "lifecycle hook",
  ],
  [
    "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token e85eb647 was abandoned: Heartbeat Timeout",
    "lifecycle hook",
  ],
  // Causes of terminations (user guide, Troubleshoot: health checks).
  [
    "At 2026-06-24T10:10:58Z an instance was taken out of service in response to an ELB system health check failure.",
    "load balancer's health check",
  ],
  [
    "At 2026-06-24T10:10:58Z an instance was taken out of service in response to an EC2 instance status check failure.",
    "EC2's status checks",
  ],
  [
    "At 2014-07-31T18:30:35Z an instance was taken out of service in response to a EC2 health check indicating it has been terminated or stopped.",
    "CloudTrail names who",
  ],
  [
    "At 2018-06-13T10:10:58Z an instance was taken out of service in response to an EC2 instance status checks failure.",
    "EC2's status checks",
  ],
  // Reasons of a target (Elastic Load Balancing API reference, TargetHealth).
  ["Target.FailedHealthChecks: Health checks failed with these codes: [502]", "security groups"],
  ["Target.ResponseCodeMismatch: Health checks failed with these codes: [404]", "expected code"],
  ["Target.Timeout: Request timed out", "target group's port"],
];

describe("what to do about", () => {
  test.each(TEXTS)("%s", (text, says) => {
    expect(remedyFor(text)).toContain(says);
  });

  test.each(TEXTS)("in whatever letters and cut at 255 characters: %s", (text) => {
    const remedy = remedyFor(text);
    expect(remedyFor(text.toUpperCase().slice(0, 255))).toBe(remedy);
    expect(remedyFor(`  ${text.toLowerCase()} `.slice(0, 255))).toBe(remedy);
  });
});

test("a remedy is one line", () => {
  for (const [text] of TEXTS) expect(remedyFor(text)).toMatch(/^\p{Lu}.+$/u);
});

test.each([
  "",
  "no message",
  "Something that AWS never said before",
  "At 2026-06-24T10:10:58Z an instance was taken out of service in response to an instance refresh.",
])("nothing is known about: %s", (text) => {
  expect(remedyFor(text)).toBeUndefined();
});
