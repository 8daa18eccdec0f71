/** What a denial of AWS's says, and the policy statement that is missing. */

export interface Denial {
  readonly message: string;
  readonly next: string;
}

/** Where the policies of docs/iam have an action: the file, and the statements in it. */
export interface PolicyPlace {
  readonly file: string;
  readonly statements: readonly string[];
}

const inDeploy = (...statements: readonly string[]): PolicyPlace => ({ file: "deploy", statements });

const inPrune = (...statements: readonly string[]): PolicyPlace => ({ file: "prune", statements });
const inSpot = (...statements: readonly string[]): PolicyPlace => ({ file: "bake-spot", statements });
const inSurrogate = (...statements: readonly string[]): PolicyPlace => ({
  file: "bake-surrogate",
  statements,
});

/** deploy.json has most of them; a test holds this table to the files. */
export const POLICY_PLACES: Readonly<Record<string, PolicyPlace>> = {
  "autoscaling:CancelInstanceRefresh": inDeploy("RefreshTheseGroups"),
  "autoscaling:DescribeAutoScalingGroups": inDeploy("Look"),
  "autoscaling:DescribeInstanceRefreshes": inDeploy("Look"),
  "autoscaling:DescribeScalingActivities": inDeploy("Look"),
  "autoscaling:RollbackInstanceRefresh": inDeploy("RefreshTheseGroups"),
  "autoscaling:StartInstanceRefresh": inDeploy("RefreshTheseGroups"),
  "autoscaling:UpdateAutoScalingGroup": inDeploy("RefreshTheseGroups"),
  "cloudwatch:DescribeAlarms": inDeploy("Look"),
  "ec2:AttachVolume": inSurrogate("UseBuildVolumes", "SwapVolumesOfBuildInstances"),
  "ec2:AuthorizeSecurityGroupIngress": inDeploy("ChangeTemporaryGroupsAndVolumes"),
  "ec2:CopyImage": inDeploy("CopyImages"),
  "ec2:CreateFleet": inSpot("UseTemporaryTemplates", "LaunchSpotInstances", "MakeFleets"),
  "ec2:CreateImage": inDeploy("UseBuildInstances", "MakeImages"),
  "ec2:CreateKeyPair": inDeploy("MakeTemporaryKeys"),
  "ec2:CreateLaunchTemplate": inSpot("MakeTemporaryTemplates"),
  "ec2:CreateLaunchTemplateVersion": inDeploy("MakeTemplateVersions"),
  "ec2:CreateSecurityGroup": inDeploy("MakeTemporaryGroups"),
  "ec2:CreateSnapshot": inSurrogate("UseBuildVolumes", "MakeSnapshots"),
  "ec2:CreateTags": inDeploy("TagImages", "TagNewImages", "TagWhatIsMade"),
  "ec2:DeleteKeyPair": inDeploy("MakeTemporaryKeys"),
  "ec2:DeleteLaunchTemplate": inSpot("UseTemporaryTemplates"),
  "ec2:DeleteLaunchTemplateVersions": inDeploy("MakeTemplateVersions"),
  "ec2:DeleteSecurityGroup": inDeploy("ChangeTemporaryGroupsAndVolumes"),
  "ec2:DeleteSnapshot": inDeploy("TakeImagesBack"),
  "ec2:DeleteVolume": inDeploy("ChangeTemporaryGroupsAndVolumes"),
  "ec2:DeregisterImage": inDeploy("TakeImagesBack"),
  "ec2:DescribeImageAttribute": { file: "promote-across-accounts", statements: ["ShareImages"] },
  "ec2:DescribeImageReferences": inPrune("Look"),
  "ec2:DescribeImages": inDeploy("Look"),
  "ec2:DescribeInstanceTypeOfferings": inDeploy("Look"),
  "ec2:DescribeInstanceTypes": inDeploy("Look"),
  "ec2:DescribeInstances": inDeploy("Look"),
  "ec2:DescribeKeyPairs": inDeploy("Look"),
  "ec2:DescribeLaunchTemplateVersions": inDeploy("Look"),
  "ec2:DescribeLaunchTemplates": inSpot("LookAtSpotBuilds"),
  "ec2:DescribeRegions": inDeploy("Look"),
  "ec2:DescribeSecurityGroups": inDeploy("Look"),
  "ec2:DescribeSnapshots": inSurrogate("LookAtSnapshots"),
  "ec2:DescribeSubnets": inDeploy("Look"),
  "ec2:DescribeVolumes": inDeploy("Look"),
  "ec2:DescribeVpcs": inDeploy("Look"),
  "ec2:DetachVolume": inSurrogate("UseBuildVolumes", "SwapVolumesOfBuildInstances"),
  "ec2:DisableImageDeprecation": inPrune("RetireImages"),
  "ec2:DisableImageDeregistrationProtection": inPrune("RetireImages"),
  "ec2:EnableImageDeprecation": inPrune("RetireImages"),
  "ec2:EnableImageDeregistrationProtection": inPrune("RetireImages"),
  "ec2:GetConsoleOutput": inDeploy("ReadConsoles"),
  "ec2:ModifyImageAttribute": { file: "promote-across-accounts", statements: ["ShareImages"] },
  "ec2:ModifyInstanceAttribute": inDeploy("UseBuildInstances"),
  "ec2:ModifySnapshotAttribute": { file: "promote-across-accounts", statements: ["ShareSnapshots"] },
  "ec2:RegisterImage": inSurrogate("RegisterImages", "RegisterThemFromSnapshots"),
  "ec2:RunInstances": inDeploy(
    "LaunchBuildInstances",
    "LaunchThemWith",
    "LaunchFromTemplates",
    "LaunchWhatTemplatesSay",
  ),
  "ec2:StopInstances": inDeploy("UseBuildInstances"),
  "ec2:TerminateInstances": inDeploy("UseBuildInstances"),
  "elasticloadbalancing:DescribeTargetHealth": inDeploy("Look"),
  "iam:PassRole": inDeploy("PassTheInstancesRole"),
  "imagebuilder:GetContainerRecipe": inPrune("SeeWhatNamesImages"),
  "imagebuilder:ListContainerRecipes": inPrune("SeeWhatNamesImages"),
  "imagebuilder:ListImageRecipes": inPrune("SeeWhatNamesImages"),
  "kms:CreateGrant": { file: "kms-key", statements: ["GrantTheTargetsKeyToEbs"] },
  "kms:Decrypt": { file: "kms-key", statements: ["EncryptWithTheTargetsKey"] },
  "kms:DescribeKey": { file: "kms-key", statements: ["EncryptWithTheTargetsKey"] },
  "kms:GenerateDataKeyWithoutPlaintext": { file: "kms-key", statements: ["EncryptWithTheTargetsKey"] },
  "kms:ReEncryptFrom": { file: "kms-key", statements: ["EncryptWithTheTargetsKey"] },
  "kms:ReEncryptTo": { file: "kms-key", statements: ["EncryptWithTheTargetsKey"] },
  "ssm:DescribeParameters": inPrune("SeeWhatNamesImages"),
  "ssm:GetParameters": inDeploy("ReadImageParameters"),
  "sts:AssumeRole": { file: "promote-across-accounts", statements: ["BecomeTheTargetsRole"] },
  "sts:TagSession": { file: "promote-across-accounts", statements: ["BecomeTheTargetsRole"] },
};

/** AWS's words are others' words: only what looks like an action, an ARN or a template's id is taken from them. */
const ACTION = /is not authorized to perform: ([a-z0-9-]{2,40}:[A-Za-z0-9]{2,80})(?![\w:])/;
const RESOURCE =
  /on resource: (arn:aws[a-z-]{0,20}:[a-z0-9-]{2,40}:[a-z0-9-]{0,30}:\d{0,12}:[\w+=,.@:/*-]{1,300})(?=[\s.]|$)/;
const CALLER = /User: arn:aws[a-z-]{0,20}:sts::(\d{12}):assumed-role\/([\w+=,.@-]{1,64})\//;
const TEMPLATE = /not authorized to use launch template:? ?(lt-[0-9a-f]{8,40})?/i;
const EXPLICIT = /with an explicit deny/;

/**
 * What AWS says denies it, where that is no policy of the role's own, and who can change it. A statement in the role's
 * policies would not help (IAM user guide, Troubleshoot access denied error messages). The first that matches counts.
 */
const DENIED_BY: readonly { readonly text: RegExp; readonly next: (caller: string) => string }[] = [
  {
    text: /(?:deny in a|no) service control policy/,
    next: () =>
      "A service control policy of the AWS organization forbids it, which no policy of the account can allow. Ask whoever manages the organization to allow it for this role, or whether it is allowed under a condition, such as in another region or with certain tags.",
  },
  {
    text: /(?:deny in a|no) resource control policy/,
    next: () =>
      "A resource control policy of the AWS organization forbids it, which no policy of the account can allow. Ask whoever manages the organization.",
  },
  {
    text: /(?:deny in a|no) permissions boundary/,
    next: (caller) =>
      `The permissions boundary of ${caller} forbids it. Add the action to the policy that is the boundary; a statement in the role's other policies does not help.`,
  },
  {
    text: /(?:deny in a|no) session policy/,
    next: () =>
      "The session's own policy forbids it. Allow it in `inline-session-policy` or `managed-session-policies` of aws-actions/configure-aws-credentials, or leave these out.",
  },
  {
    text: /(?:deny in a|no) VPC endpoint policy/,
    next: () =>
      "The policy of the VPC endpoint that the runner reaches AWS by forbids it. Allow it there, or use a runner without that endpoint.",
  },
  {
    text: EXPLICIT,
    next: () =>
      "A policy denies it explicitly, which no other can allow: find the Deny, in the role's policies or in one of the organization's.",
  },
];
const ENCODED = /Encoded authorization failure message/;

/**
 * Reads a denial (IAM user guide, Troubleshoot access denied error messages): which action was denied, which may be another
 * than the one that was asked for, on what, to whom, and what to add to whose policy.
 * @param asked the action that was asked for, as IAM names it
 */
export function readDenial(text: string, asked: string, region: string): Denial {
  const template = TEMPLATE.exec(text);
  if (template !== null) return templateDenial(template[1], asked, region);
  const action = ACTION.exec(text)?.[1] ?? asked;
  const resource = RESOURCE.exec(text)?.[1]?.replace(/\.$/, "");
  const next = [
    DENIED_BY.find((each) => each.text.test(text))?.next(callerIn(text)) ??
      `Add this statement to the policy of ${callerIn(text)}: ${statementFor(action, resource)}`,
    ...hints(action, text),
  ];
  const on = resource === undefined ? "" : ` on ${resource}`;
  return { message: `The role may not do ${action}${on} in ${region}`, next: next.join(" ") };
}

function callerIn(text: string): string {
  const [, account, role] = CALLER.exec(text) ?? [];
  return account === undefined || role === undefined ? "the role" : `the role ${role} of account ${account}`;
}

/** As people paste it into a policy. */
function statementFor(action: string, resource: string | undefined): string {
  const name = action.slice(action.indexOf(":") + 1);
  return JSON.stringify({
    Sid: `Allow${name}`,
    Effect: "Allow",
    Action: action,
    Resource: resource === undefined ? "*" : lasting(resource),
  });
}

/** What EC2 makes has a new id each time: a statement for this one would not hold for the next. */
function lasting(arn: string): string {
  return arn.replace(
    /^(arn:aws[a-z-]*:ec2:[^:]*:\d*:(?:image|instance|network-interface|security-group|snapshot|volume))\/[\w*-]+$/,
    "$1/*",
  );
}

function hints(action: string, text: string): string[] {
  const place = DENIED_BY.some((each) => each.text.test(text)) ? undefined : POLICY_PLACES[action];
  return [
    ...(place === undefined
      ? []
      : [`docs/iam/${place.file}.json has it, as narrow as it can be: ${listed(place.statements)}.`]),
    ...(action === "sts:AssumeRole" || action === "sts:TagSession"
      ? [
          "The trust policy of the role to assume has to let this one in too: docs/iam/target-account-trust.json.",
        ]
      : []),
    ...(ENCODED.test(text)
      ? [
          "If it is allowed, a condition does not hold: `aws sts decode-authorization-message --encoded-message …` shows what was asked, with the text behind AWS's “failure message:”.",
        ]
      : []),
  ];
}

function listed(statements: readonly string[]): string {
  return `${statements.length === 1 ? "statement" : "statements"} ${statements.join(", ")}`;
}

/** Auto Scaling tries the launch in the caller's name, and says only that it may not. */
function templateDenial(template: string | undefined, asked: string, region: string): Denial {
  const statements = [
    "LaunchFromTemplates",
    "LaunchWhatTemplatesSay",
    "TagWhatIsMade",
    "PassTheInstancesRole",
  ];
  return {
    message: `The role may not launch instances from ${template ?? "the launch template"} for ${asked} in ${region}`,
    next: `AWS does not say what is missing. It is ec2:RunInstances on the template or on what it names, ec2:CreateTags where the template has tags, iam:PassRole where it has an instance profile, or ssm:GetParameters where its image is a parameter. docs/iam/rollback.json has them: ${listed([...statements, "ReadImageParameters"])}. The template has to carry the tag that they ask for, kiln:application.`,
  };
}
