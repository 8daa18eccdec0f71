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
    // hashicorp/terraform and others; user guide, Service-linked roles.
    text: /attempting to assume role|service-linked role .*(?:cannot|could not) be assumed/i,
    remedy:
      "Auto Scaling cannot assume the group's service-linked role: it was deleted, was made a moment ago, or a service control policy denies it. In the group's account run: aws iam get-role --role-name AWSServiceRoleForAutoScaling; if it is missing: aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com. Then run the job again.",
  },
  {
    // Organizations user guide, Tag policies, Enforcement.
    text: /TagPolicyViolation|tag policy does not allow/i,
    remedy:
      "The organization's tag policy does not allow a tag that the launch template or the group gives its instances; the message names the key. Give the tag a value that the policy allows (aws organizations describe-effective-policy --policy-type TAG_POLICY), in the template's tag specifications or the group's tags.",
  },
  {
    // IAM user guide, Troubleshoot access denied error messages.
    text: /service control policy|resource control policy/i,
    remedy:
      "A policy of the AWS organization forbids the launch, which no policy of the account can allow. Ask whoever manages the organization which condition the launch does not meet: often a region, an instance type, a required tag, IMDSv2 or an encrypted volume. Correct the launch template, or have the policy changed.",
  },
  {
    text: /permissions boundary/i,
    remedy:
      "The permissions boundary of the role in the message does not allow the launch. Add the action that the message names to the boundary, not only to the role's policies.",
  },
  {
    text: /Encoded authorization failure/i,
    remedy:
      "A policy forbids the launch. Take the whole message from the RunInstances event in CloudTrail and run: aws sts decode-authorization-message --encoded-message MESSAGE; it names the action and the policy.",
  },
  {
    text: /You are not authorized to (?:perform this operation|use launch template)|UnauthorizedOperation|is not authorized to perform/i,
    remedy:
      "A policy forbids the launch. The message, or if it is cut the RunInstances event in CloudTrail, names the role, the action and the resource: allow that in the role's policies, unless the message ends with an explicit deny: then the policy that it names has to change.",
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
    // EC2 user guide, Launch instances into a Capacity Reservation.
    text: /ReservationCapacityExceeded|requested reservation does not have|Capacity ?Reservation.*(?:does not exist|not found|not active|expired)|InvalidCapacityReservation/i,
    remedy:
      "The capacity reservation that the launch template names has no free instance, or has ended; more zones do not help. Increase its count (aws ec2 modify-capacity-reservation), let the template use any open reservation or none, or roll out with `strategy: recycle`, which needs no extra instances.",
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
    // EC2 API reference, Error codes, InvalidSnapshot.NotFound.
    text: /snapshot .*does not exist|InvalidSnapshot/i,
    remedy:
      "A snapshot that the image or the launch template's block devices name was deleted, or is not in this region and account. If it is the image's (aws ec2 describe-images --image-ids AMI), bake with `rebake: always`; if the template names it, set one that exists.",
  },
  {
    text: /parameter (?:iops|throughput) is not supported|(?:Iops|Throughput).*(?:ratio|too high|too low)/i,
    remedy:
      "The launch template's block devices ask for IOPS or throughput that their volume type does not have. Correct them in the template: only io1, io2 and gp3 take `Iops`, only gp3 takes `Throughput`.",
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
    // "Security group sg-… and subnet subnet-… belong to different networks"; Auto Scaling says it of the whole group.
    text: /belong to different networks|not linked to the VPCs|security group .*does not exist in (?:the )?(?:default )?VPC/i,
    remedy:
      "A security group of the launch template is in another VPC than a subnet of the group. Set security groups of the subnets' VPC in the template, or subnets of theirs in the group.",
  },
  {
    text: /groupName cannot be used|security group ID and (?:a )?security (?:group )?name/i,
    remedy:
      "The launch template names its security groups by name, which works in a default VPC only. Set their ids (`SecurityGroupIds`) in the template instead of `SecurityGroups`.",
  },
  {
    text: /Network interfaces and an instance-level|instance-level (?:security groups|subnet)/i,
    remedy:
      "The launch template has network interfaces and security groups beside them. Move the security groups into the network interface (`Groups`).",
  },
  {
    text: /network interface .*(?:does not exist|is currently in use)|InvalidNetworkInterface/i,
    remedy:
      "The launch template attaches a network interface by its id, which one instance alone can have. Let the template describe the interface instead.",
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
    text: /iamInstanceProfile\.\w+'? may not be used in combination/i,
    remedy: "The launch template has an instance profile by name and by ARN. Leave one of the two.",
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
    text: /Invalid BASE64|does not appear to be base64|InvalidUserData\.Malformed/i,
    remedy:
      "The launch template's user data is not Base64. Encode it where the template is made (Terraform: `base64encode` or `filebase64`), and make a new version.",
  },
  {
    text: /httpTokensEnforced|IMDSv1/i,
    remedy:
      "The account allows instances with IMDSv2 only. Set `HttpTokens: required` in the launch template's metadata options, and check that the image's software uses IMDSv2.",
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
    // User guide, Monitor Auto Scaling instances with impaired Amazon EBS volumes using health checks.
    text: /\bEBS\b.*(?:health|status) check|impaired (?:Amazon )?(?:EBS )?volume|volume .*\bimpaired/i,
    remedy:
      "An EBS volume of the instance does not answer, or its encryption key cannot be used. See its checks: aws ec2 describe-volume-status, and aws ec2 describe-instance-status (attached EBS status). If AWS Health shows an event, run the job again after it; if every new instance fails, look at the volume's key and type in the launch template.",
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
