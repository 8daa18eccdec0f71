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
    "aws kms create-grant",
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
  ["You are not authorized to use launch template: lt-0123", "in CloudTrail"],
  [
    "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2:eu-west-1:1:instance/* with an explicit deny in a service control policy",
    "no policy of the account can allow",
  ],
  // The caller is the service-linked role, which was assumed.
  [
    "You are not authorized to perform this operation. User: arn:aws:sts::111111111111:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling is not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2:eu-west-1:111111111111:instance/* because",
    "CloudTrail, names the role",
  ],
  [
    "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ec2:RunInstances because no permissions boundary allows the ec2:RunInstances action",
    "permissions boundary of the role",
  ],
  [
    "You are not authorized to perform this operation. Launching EC2 instance failed.",
    "allow that in the role's",
  ],
  [
    "Access denied when attempting to assume role arn:aws:iam::111111111111:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling. Validating load balancer configuration failed.",
    "create-service-linked-role",
  ],
  [
    "TagPolicyViolation: The tag policy does not allow the specified value for the following tag key: 'Project'.",
    "describe-effective-policy",
  ],
  ["The tag policy does not allow the specified value for the following tag key: 'Project'.", "tag policy"],
  [
    "ReservationCapacityExceeded: The requested reservation does not have sufficient compatible and available capacity for this request.",
    "modify-capacity-reservation",
  ],
  [
    "The requested reservation does not have sufficient compatible and available capacity for this request. Launching EC2 instance failed.",
    "more zones do not help",
  ],
  ["The snapshot 'snap-0123456789abcdef0' does not exist. Launching EC2 instance failed.", "A snapshot that"],
  ["InvalidSnapshot.NotFound: The snapshot 'snap-0123' does not exist.", "`rebake: always`"],
  [
    "Security group sg-01048a5f724140078 and subnet subnet-a78bf4fc belong to different networks. Launching EC2 instance failed.",
    "in another VPC",
  ],
  [
    "One or more security groups in the launch template are not linked to the VPCs configured in the Auto Scaling group",
    "in another VPC",
  ],
  ["The security group 'web' does not exist in default VPC 'vpc-d2e33caf'", "in another VPC"],
  [
    "The parameter groupName cannot be used with the parameter subnet. Launching EC2 instance failed.",
    "SecurityGroupIds",
  ],
  [
    "Network interfaces and an instance-level security groups may not be specified on the same request",
    "into the network interface",
  ],
  ["Invalid BASE64 encoding of user data. Launching EC2 instance failed.", "is not Base64"],
  ["UserData does not appear to be base64 encoded", "is not Base64"],
  [
    "'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
    "by name and by ARN",
  ],
  ["The parameter iops is not supported for gp2 volumes.", "IOPS or throughput"],
  [
    "You can't launch instances with IMDSv1 because httpTokensEnforced is enabled for this account.",
    "IMDSv2 only",
  ],
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
  [
    "At 2026-06-24T10:10:58Z an instance was taken out of service in response to an EBS volume health check failure.",
    "describe-volume-status",
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
