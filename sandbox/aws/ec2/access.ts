/**
 * What must be allowed before an EC2 request is carried out: which resources each action touches, and what a policy's
 * conditions can say of them (Service authorization reference, Actions, resources, and condition keys for Amazon EC2).
 */
import type { Place } from "../fleet.ts";
import type { Check, RequestContext } from "../iam.ts";
import type { Call, Query } from "../query.ts";
import {
  aliasCheck,
  fleetLaunches,
  launchChecks,
  namedTemplateOf,
  requestedLaunch,
} from "./launch-access.ts";
import { defaultVpc } from "./network.ts";
import {
  creationTagChecks,
  creationTags,
  ec2Arn,
  resourceContext,
  tagContext,
  tagsIn,
} from "./policy-resources.ts";
import type { PolicyResource } from "./policy-resources.ts";
import { kindOfId } from "./state.ts";
import type { Ec2State, ResourceKind } from "./state.ts";

interface Touched {
  readonly resource: string;
  readonly context: RequestContext;
}

type Rule = (state: Ec2State, call: Call) => readonly Touched[];

const unknown = (call: Place, kind: PolicyResource, id: string): Touched => ({
  resource: ec2Arn(call, kind, id),
  context: {},
});

const known = (state: Ec2State, call: Place, kind: ResourceKind, id: string): Touched => ({
  resource: ec2Arn(call, kind, id),
  context: resourceContext(call, state.resources.get(id)),
});

/** Resources that are there, by the parameter that names them: one id, or a list. */
const existing =
  (kind: ResourceKind, parameter: string): Rule =>
  (state, call) =>
    [call.query.string(parameter) ?? [], call.query.strings(parameter)]
      .flat()
      .map((id) => known(state, call, kind, id));

/** A resource that the request creates: it has no id yet. */
const created =
  (...kinds: readonly ResourceKind[]): Rule =>
  (_, call) =>
    kinds.map((kind) => ({
      resource: ec2Arn(call, kind, "*"),
      context: tagContext(creationTags(call.query).get(kind) ?? {}),
    }));

const all =
  (...rules: readonly Rule[]): Rule =>
  (state, call) =>
    rules.flatMap((rule) => rule(state, call));

const image = existing("image", "ImageId");

const template: Rule = (state, call) => {
  const found = namedTemplateOf(state, call, call.query);
  return found === undefined
    ? [unknown(call, "launch-template", call.query.string("LaunchTemplateId") ?? "*")]
    : [known(state, call, "launch-template", found.id)];
};

/** The key pair's name is in its ARN. */
const keyPair: Rule = (_, call) => [unknown(call, "key-pair", call.query.string("KeyName") ?? "*")];

/** The source is in the region that it is copied from. */
const copySource: Rule = (state, call) => {
  const source = { ...call, region: call.query.required("SourceRegion") };
  return [known(state, source, "image", call.query.required("SourceImageId"))];
};

const sharedWith: Rule = (state, call) => {
  const { query } = call;
  const users = [...query.strings("UserId"), ...query.structs("CreateVolumePermission.Add").flatMap(userOf)];
  const isRemoved = query.string("OperationType") === "remove";
  const key = isRemoved ? "ec2:Remove/userId" : "ec2:Add/userId";
  return existing("snapshot", "SnapshotId")(state, call).map(({ resource, context }) => ({
    resource,
    context: users.length === 0 ? context : { ...context, [key]: users },
  }));
};

const userOf = (query: Query): string[] => [query.string("UserId") ?? []].flat();

/** The volume, and the instance that it is at. */
const detached: Rule = (state, call) => {
  const volume = state.resources.get(call.query.string("VolumeId") ?? "");
  const instance = volume?.kind === "volume" ? volume.attachment?.instanceId : undefined;
  return [
    ...existing("volume", "VolumeId")(state, call),
    ...(instance === undefined ? [] : [known(state, call, "instance", instance)]),
  ];
};

const registeredSnapshots: Rule = (state, call) =>
  call.query
    .structs("BlockDeviceMapping")
    .flatMap((mapping) => mapping.struct("Ebs")?.string("SnapshotId") ?? [])
    .map((id) => known(state, call, "snapshot", id));

const vpc: Rule = (state, call) => [
  unknown(call, "vpc", call.query.string("VpcId") ?? defaultVpc(state, call).id),
];

const tagged: Rule = (state, call) =>
  call.query.strings("ResourceId").map((id) => {
    const { resource, context } = known(state, call, kindOfId(id) ?? "instance", id);
    return { resource, context: { ...context, ...tagContext(tagsIn(call.query)) } };
  });

/** The actions that know resources. Those that only describe know none. */
const RULES: Readonly<Record<string, Rule>> = {
  AttachVolume: all(existing("instance", "InstanceId"), existing("volume", "VolumeId")),
  AuthorizeSecurityGroupIngress: existing("security-group", "GroupId"),
  CopyImage: all(copySource, created("image", "snapshot")),
  CreateImage: all(existing("instance", "InstanceId"), created("image", "snapshot")),
  CreateFleet: created("fleet"),
  CreateKeyPair: keyPair,
  CreateLaunchTemplate: created("launch-template"),
  CreateLaunchTemplateVersion: template,
  CreateSecurityGroup: all(created("security-group"), vpc),
  CreateSnapshot: all(existing("volume", "VolumeId"), created("snapshot")),
  CreateTags: tagged,
  DeleteKeyPair: keyPair,
  DeleteLaunchTemplate: template,
  DeleteLaunchTemplateVersions: template,
  DeleteSecurityGroup: existing("security-group", "GroupId"),
  DeleteSnapshot: existing("snapshot", "SnapshotId"),
  DeleteVolume: existing("volume", "VolumeId"),
  DeregisterImage: image,
  DescribeImageAttribute: image,
  DetachVolume: detached,
  DisableImageDeprecation: image,
  DisableImageDeregistrationProtection: image,
  EnableImageDeprecation: image,
  EnableImageDeregistrationProtection: image,
  GetConsoleOutput: existing("instance", "InstanceId"),
  ModifyImageAttribute: image,
  ModifyInstanceAttribute: existing("instance", "InstanceId"),
  ModifySnapshotAttribute: sharedWith,
  RegisterImage: all(created("image"), registeredSnapshots),
  StopInstances: existing("instance", "InstanceId"),
  TerminateInstances: existing("instance", "InstanceId"),
};

/** Everything that must be allowed for a request; all of it, or the request is denied. */
export function ec2Checks(state: Ec2State, action: string, call: Call): readonly Check[] {
  if (action === "RunInstances") return launchChecks(state, call, requestedLaunch(state, call));
  const rule = RULES[action];
  if (rule === undefined) {
    if (!action.startsWith("Describe")) throw new Error(`The sandbox's IAM has no rule for ec2:${action}`);
    const own: Check = { action: `ec2:${action}`, resource: "*", context: {} };
    return [own, ...aliasChecks(state, action, call), ...referenceChecks(action, call)];
  }
  return [
    ...rule(state, call).map((touched) => ({ action: `ec2:${action}`, ...touched })),
    ...(action === "CreateTags" ? [] : creationTagChecks(call, action, call.query)),
    ...(action === "CopyImage" ? keyChecks(call) : []),
    ...(action === "CreateFleet"
      ? fleetLaunches(state, call).flatMap((launch) => launchChecks(state, call, launch))
      : []),
  ];
}

/** What each type of resource is looked through with (EC2 user guide, AMI references: required IAM permissions). */
const REFERENCE_ACTIONS: Readonly<Record<string, readonly string[]>> = {
  "ec2:Instance": ["ec2:DescribeInstances"],
  "ec2:LaunchTemplate": ["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"],
  "ssm:Parameter": ["ssm:DescribeParameters", "ssm:GetParameters"],
  "imagebuilder:ImageRecipe": ["imagebuilder:ListImageRecipes"],
  "imagebuilder:ContainerRecipe": ["imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe"],
};

/** EC2 looks for references in the caller's name, which `aws:CalledVia` says. */
function referenceChecks(action: string, { query }: Call): readonly Check[] {
  if (action !== "DescribeImageReferences") return [];
  const types = query.structs("ResourceType").map((type) => type.required("ResourceType"));
  const context = { "aws:CalledVia": ["ec2-images.amazonaws.com"] };
  return types.flatMap((type) =>
    (REFERENCE_ACTIONS[type] ?? []).map((each) => ({ action: each, resource: "*", context })),
  );
}

/** EBS user guide, Amazon EBS encryption requirements: what a caller needs on a customer managed key. */
const KEY_ACTIONS = [
  "CreateGrant",
  "Decrypt",
  "DescribeKey",
  "GenerateDataKeyWithoutPlaintext",
  "ReEncryptFrom",
  "ReEncryptTo",
];

/** EBS asks KMS in the caller's name: `kms:ViaService` and `kms:GrantIsForAWSResource` say so. */
function keyChecks({ query, region, accountId }: Call): readonly Check[] {
  const key = query.string("KmsKeyId");
  if (key === undefined) return [];
  // An alias stands for a key, whose ARN the policy names; what key is nobody's business here.
  const resource = key.startsWith("arn:") ? key : `arn:aws:kms:${region}:${accountId}:key/${key}`;
  return KEY_ACTIONS.map((action) => ({
    action: `kms:${action}`,
    resource,
    context: {
      "kms:ViaService": `ec2.${region}.amazonaws.com`,
      ...(action === "CreateGrant" ? { "kms:GrantIsForAWSResource": "true" } : {}),
    },
  }));
}

/**
 * What an alias means is read with the caller's own permission (Auto Scaling user guide, Use AWS Systems Manager
 * parameters instead of AMI IDs in launch templates).
 */
function aliasChecks(state: Ec2State, action: string, call: Call): readonly Check[] {
  if (action !== "DescribeLaunchTemplateVersions" || call.query.boolean("ResolveAlias") !== true) return [];
  const found = namedTemplateOf(state, call, call.query);
  const asked = call.query.strings("LaunchTemplateVersion");
  return (found?.versions ?? [])
    .filter(({ number }) => asked.length === 0 || asked.includes(String(number)))
    .flatMap(({ data }) => aliasCheck(call, data["ImageId"]));
}
