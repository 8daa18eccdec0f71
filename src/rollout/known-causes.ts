/**
 * AWS's known reasons why a replacement fails, and what the person on call can do about each. The texts are those of the
 * Auto Scaling user guide (Troubleshoot: AMI issues, Instance launch failures, Health checks), of the EC2 API reference
 * (Error codes) and of public logs; a StatusMessage is cut at 255 characters, so that each pattern is of its beginning.
 * The first that matches counts: the special stand before the general.
 */
const KNOWN_CAUSES: readonly { readonly text: RegExp; readonly remedy: string }[] = [
  {
    // User guide, Required AWS KMS key policy for use with encrypted volumes.
    text: /Client\.InternalError|Client error on launch|InvalidKMSKey|KMS key provided is in an incorrect state/i,
    remedy:
      "Auto Scaling may not use the KMS key of an encrypted volume. Check that the key is enabled, and in the group's account run: aws kms create-grant --key-id KEY_ARN --grantee-principal arn:aws:iam::ACCOUNT:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling --operations Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant",
  },
  {
    text: /You are not authorized to (?:perform this operation|use launch template)|UnauthorizedOperation|Encoded authorization failure/i,
    remedy:
      "A policy forbids the launch. Take the whole message from the RunInstances event in CloudTrail and run: aws sts decode-authorization-message --encoded-message MESSAGE; it names the action and the policy.",
  },
  {
    text: /MaxSpotInstanceCountExceeded|Max spot instance count exceeded/i,
    remedy:
      "The account's quota of Spot instances is used up. Ask for more in Service Quotas (All Spot Instance Requests), or run fewer on Spot.",
  },
  {
    text: /SpotMaxPriceTooLow|Spot request price of|lower than the minimum required Spot/i,
    remedy:
      "The group's maximum Spot price is below today's. Remove the maximum (it is then the On-Demand price), or raise it.",
  },
  {
    text: /no Spot capacity available/i,
    remedy:
      "There is no Spot capacity of this type there now. Allow more instance types and zones in the group, or On-Demand instances, and run the job again.",
  },
  {
    text: /Placement Groups? |InvalidPlacementGroup/i,
    remedy:
      "The placement group does not exist, does not take the instance type, or has no room for the surge. Correct it in the launch template, or roll out with `strategy: recycle`, which needs no extra instances.",
  },
  {
    text: /InsufficientInstanceCapacity|do(?:es)? not have (?:sufficient|enough) .*capacity|Insufficient capacity/i,
    remedy:
      "AWS has no capacity of this instance type in the zone. Let the group use more zones or instance types, or run the job again later.",
  },
  {
    text: /VcpuLimitExceeded|more vCPU capacity than your current vCPU limit|InstanceLimitExceeded|current instance limit of|Your quota allows for/i,
    remedy:
      "The account's quota of running instances (vCPUs) has no room for the surge. Ask for more in Service Quotas (Running On-Demand instances), terminate others, or roll out with a lower `max-healthy`.",
  },
  {
    text: /not enough free addresses|InsufficientFreeAddressesInSubnet/i,
    remedy:
      "The group's subnets have no free addresses for the surge. Free some, add a subnet to the group, or roll out with a lower `max-healthy`.",
  },
  {
    text: /AMI .*is pending|image .*is pending|cannot be run/i,
    remedy: "The AMI is not available yet. Wait until it is, then run the job again.",
  },
  {
    // EC2 API reference, Error codes, InvalidAMIID.NotFound: also where Allowed AMIs leave it out.
    text: /AMI ID .*does not exist|image id .*does not exist|InvalidAMIID|is no longer available|image .*is disabled|Not authorized for images|Allowed AMIs/i,
    remedy:
      "The AMI is gone, disabled, not shared with the group's account, or the account's Allowed AMIs settings leave it out. Look at it there: aws ec2 describe-images --include-disabled --image-ids AMI; if it is gone, bake with `rebake: always`.",
  },
  {
    text: /does not match the architecture|architecture '?[\w,]+'? of the specified instance type/i,
    remedy:
      "The image is of another architecture than the instance type. Bake it for the type (arm64 for Graviton), or set `instance-type` to one of the image's architecture.",
  },
  {
    text: /Elastic Network Adapter|ENA\) is required|boot mode|virtualization type/i,
    remedy:
      "The image lacks what the instance type needs (ENA, NVMe, a boot mode). Bake it with `ena_support` and the type's boot mode, or choose another `instance-type`.",
  },
  {
    text: /is smaller than\s+snapshot|InvalidBlockDeviceMapping|must contain the parameter size or snapshotId|Invalid device name|EBS block device mappings not supported|parameter virtualName is invalid/i,
    remedy:
      "The launch template's block devices do not fit the image: a volume is smaller than the image's, or a device name differs. Correct the template's mappings, or bake a smaller root volume.",
  },
  {
    text: /VolumeLimitExceeded|Volume limit exceeded|exceeded your maximum .*storage limit|MaxIOPSLimitExceeded|Maximum number of active/i,
    remedy:
      "The account's quota of EBS storage is used up. Delete volumes that nothing uses, or ask for more in Service Quotas (Amazon EBS).",
  },
  {
    text: /NetworkInterfaceLimitExceeded|maximum number of network interfaces|network interfaces? .*limit|AddressLimitExceeded|maximum number of addresses/i,
    remedy:
      "A quota of the VPC is used up (network interfaces, addresses). Delete those that nothing uses, or ask for more in Service Quotas (Amazon VPC).",
  },
  {
    text: /security group .*does not exist|InvalidGroup\.NotFound|InvalidSecurityGroupID/i,
    remedy: "A security group of the launch template was deleted. Set one that exists in the template.",
  },
  {
    text: /key pair .*does not exist|InvalidKeyPair/i,
    remedy:
      "The launch template's key pair was deleted. Remove it from the template, or set one that exists.",
  },
  {
    text: /Invalid IamInstanceProfile|iamInstanceProfile|IAM Instance Profile/i,
    remedy:
      "The launch template's instance profile does not exist in this account, or was made anew. Set one that exists (the profile's name or ARN, not the role's).",
  },
  {
    text: /subnet ID .*does not exist|InvalidSubnet/i,
    remedy: "A subnet of the group was deleted. Set the group's subnets to ones that exist.",
  },
  {
    text: /is not supported in your requested Availability Zone|requested configuration is currently not supported|Availability Zone is no longer supported|instance type .*(?:does not exist|is not supported)/i,
    remedy:
      "The instance type is not offered in one of the group's zones. Leave that zone's subnet out of the group, or set an `instance-type` that every zone has: aws ec2 describe-instance-type-offerings --location-type availability-zone --filters Name=instance-type,Values=TYPE",
  },
  {
    text: /User data is limited|InvalidUserData/i,
    remedy:
      "The launch template's user data is over 16 KB. Bake into the image what it does, or let it fetch a script.",
  },
  {
    text: /Could not find the specified version|InvalidLaunchTemplateId|InvalidLaunchTemplateName|launch template.*(?:does not exist|not found)/i,
    remedy:
      "The launch template, or its version, was deleted while the rollout ran. Find out who deletes versions (CloudTrail, DeleteLaunchTemplateVersions), then run the job again.",
  },
  {
    text: /You are not subscribed|OptInRequired|accept terms and subscribe|PendingVerification|request for accessing resources in this region/i,
    remedy:
      "The account is not subscribed to the image's product, or AWS is still verifying it for this region. Accept the terms in AWS Marketplace, or ask AWS Support.",
  },
  {
    text: /lifecycle action.*(?:abandon|fail)|failed to complete user's lifecycle|was abandoned/i,
    remedy:
      "A launch lifecycle hook was abandoned, or nobody completed it in time. Look at what completes it on the instance (user data, an agent, a Lambda function), and at the hook's timeout.",
  },
  {
    text: /InstanceInitiatedShutdown/i,
    remedy:
      "The instance shut itself down: user data or the application ran `shutdown`, or the system stopped. See the end of its console.",
  },
  {
    text: /UserInitiatedShutdown|health check .*(?:terminated or stopped)/i,
    remedy:
      "Somebody or something outside of Auto Scaling stopped or terminated the instance, or Spot took it back. CloudTrail names who (TerminateInstances, StopInstances).",
  },
  {
    text: /Target\.FailedHealthChecks|Target\.ResponseCodeMismatch|Target\.Timeout|ELB (?:system )?health check|Elastic Load Balancing health check|health checks failed/i,
    remedy:
      "The application does not pass the load balancer's health check. Check that it starts and listens on the target group's port, answers the check's path with the expected code, that the security groups let the load balancer in, and that the grace period is longer than its start.",
  },
  {
    text: /status check failure|EC2 (?:instance )?(?:status|health) check|reachability check/i,
    remedy:
      "The instance fails EC2's status checks: it does not boot, or its network does not come up. See the end of its console, and boot the image once by hand.",
  },
];

/** Characters that are looked at: a cause is told at the beginning, or never. */
const LONGEST = 2000;

/**
 * What to do about one of AWS's texts: a scaling activity's message or cause, a target's health reason.
 * @returns one or two sentences for the person on call; undefined for a text that is not known
 */
export function remedyFor(message: string): string | undefined {
  const beginning = message.slice(0, LONGEST);
  return KNOWN_CAUSES.find(({ text }) => text.test(beginning))?.remedy;
}
