/** What must be allowed for a launch: by RunInstances, or by an Auto Scaling group in the caller's name. */
import type { LaunchTemplateSpecification, Place } from "../fleet.ts";
import type { Check, RequestContext } from "../iam.ts";
import { AwsError, Query } from "../query.ts";
import type { Call } from "../query.ts";
import { namedTemplate, resolveAlias, templateVersion, withOverrides } from "./launch-templates.ts";
import type { LaunchTemplate } from "./launch-templates.ts";
import { defaultSubnets } from "./network.ts";
import { creationTagChecks, creationTags, ec2Arn, resourceContext, tagContext } from "./policy-resources.ts";
import type { PolicyResource } from "./policy-resources.ts";
import { launchGroups } from "./security-groups.ts";
import type { Ec2State } from "./state.ts";

export interface LaunchAccess {
  /** The request's parameters over those of its launch template. */
  readonly query: Query;
  readonly template: LaunchTemplate | undefined;
  /** A fleet launches it, and Spot Instances or not; by default RunInstances does, or an Auto Scaling group. */
  readonly fleet?: { readonly isSpot: boolean };
}

/** The template that a request names, or undefined where there is none: what then answers is the operation. */
export function namedTemplateOf(state: Ec2State, place: Place, query: Query): LaunchTemplate | undefined {
  return orUndefined(() => namedTemplate(state, place, specificationOf(query)));
}

function specificationOf(query: Query): LaunchTemplateSpecification {
  return {
    launchTemplateId: query.string("LaunchTemplateId"),
    launchTemplateName: query.string("LaunchTemplateName"),
    version: query.string("Version"),
  };
}

function orUndefined<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof AwsError) return undefined;
    throw error;
  }
}

/** The launch that a RunInstances request describes. */
export function requestedLaunch(state: Ec2State, call: Call): LaunchAccess {
  const specification = call.query.struct("LaunchTemplate");
  const given = call.query.flat();
  if (specification === undefined) return { query: call.query, template: undefined };
  return (
    templateLaunch(state, call, specificationOf(specification), given) ?? {
      query: call.query,
      template: undefined,
    }
  );
}

/** The launch that a template's version describes; undefined where there is none. */
export function templateLaunch(
  state: Ec2State,
  place: Place,
  specification: LaunchTemplateSpecification,
  given: Readonly<Record<string, string>> = {},
): LaunchAccess | undefined {
  const found = orUndefined(() => templateVersion(state, place, specification));
  if (found === undefined) return undefined;
  const query = new Query(Object.entries(withOverrides(found.version.data, given)));
  return { query, template: found.template };
}

/**
 * The launches that a CreateFleet request describes: one for each override. An instant fleet launches in the caller's name,
 * who needs both actions on all of it (Service authorization reference, CreateFleet; EC2 user guide, EC2 Fleet
 * prerequisites, Permissions for EC2 Fleet users). Which of its resources AWS checks for which of the two is told nowhere.
 */
export function fleetLaunches(state: Ec2State, call: Call): readonly LaunchAccess[] {
  const target = call.query.struct("TargetCapacitySpecification");
  const fleet = { isSpot: target?.string("DefaultTargetCapacityType") === "spot" };
  return call.query.structs("LaunchTemplateConfigs").flatMap((config) => {
    const specification = config.struct("LaunchTemplateSpecification");
    const overrides = config.structs("Overrides").map((override) => override.flat());
    return (overrides.length === 0 ? [{}] : overrides).flatMap((override) => {
      const launch = specification && templateLaunch(state, call, specificationOf(specification), override);
      return launch === undefined ? [] : [{ ...launch, fleet }];
    });
  });
}

/**
 * All resources of a launch must be allowed (Service authorization reference, RunInstances); tags on creation need
 * `ec2:CreateTags`, an instance profile `iam:PassRole` on its role (EC2 user guide, Grant permissions to pass a role).
 */
export function launchChecks(
  state: Ec2State,
  place: Place,
  { query, template, fleet }: LaunchAccess,
): readonly Check[] {
  const asked = fleet === undefined ? "RunInstances" : "CreateFleet";
  const via: RequestContext =
    template === undefined ? {} : { "ec2:LaunchTemplate": ec2Arn(place, "launch-template", template.id) };
  const touched = (kind: PolicyResource, id: string, context: RequestContext = {}): Check => ({
    action: "ec2:RunInstances",
    resource: ec2Arn(place, kind, id),
    context: { ...resourceContext(place, state.resources.get(id)), ...context, ...via },
  });
  const made = (kind: PolicyResource): Check =>
    touched(kind, "*", tagContext(creationTags(query).get(kind) ?? {}));
  const [network] = query.structs("NetworkInterface");
  const subnet =
    query.string("SubnetId") ?? network?.string("SubnetId") ?? defaultSubnets(state, place)[0]?.id;
  const keyName = query.string("KeyName");
  const imageId = query.string("ImageId") ?? "*";
  const launched = [
    ...(template === undefined ? [] : [touched("launch-template", template.id)]),
    touched("image", orUndefined(() => resolveAlias(state, imageId)) ?? imageId),
    ...(["instance", "volume", "network-interface"] as const).map(made),
    touched("subnet", subnet ?? "*"),
    ...groupsOf(state, place, query, network).map((id) => touched("security-group", id)),
    ...(keyName === undefined ? [] : [touched("key-pair", keyName)]),
    ...(fleet?.isSpot === true ? [made("spot-instances-request")] : []),
  ];
  return [
    ...launched,
    ...(fleet === undefined ? [] : launched.map((check) => ({ ...check, action: "ec2:CreateFleet" }))),
    ...creationTagChecks(place, asked, query),
    ...passRoleCheck(place, query),
    ...aliasCheck(place, query.string("ImageId")),
  ];
}

function groupsOf(
  state: Ec2State,
  place: Place,
  query: Query,
  network: Query | undefined,
): readonly string[] {
  const ids = [...query.strings("SecurityGroupId"), ...(network?.strings("SecurityGroupId") ?? [])];
  return orUndefined(() => launchGroups(state, place, ids, query.strings("SecurityGroup"))) ?? ids;
}

/** The role is taken to have its profile's name, as the console makes both. */
function passRoleCheck({ accountId }: Place, query: Query): readonly Check[] {
  const profile = query.struct("IamInstanceProfile");
  const name = profile?.string("Name") ?? profile?.string("Arn")?.split("/").at(-1);
  if (name === undefined) return [];
  return [
    {
      action: "iam:PassRole",
      resource: `arn:aws:iam::${accountId}:role/${name}`,
      context: { "iam:PassedToService": "ec2.amazonaws.com" },
    },
  ];
}

/** `resolve:ssm:/web/ami:3` is read as the parameter `/web/ami`. */
export function aliasCheck({ region, accountId }: Place, imageId: string | undefined): readonly Check[] {
  const name = /^resolve:ssm:([^:]+)/.exec(imageId ?? "")?.[1];
  if (name === undefined) return [];
  const path = name.replace(/^\//, "");
  return [
    {
      action: "ssm:GetParameters",
      resource: `arn:aws:ssm:${region}:${accountId}:parameter/${path}`,
      context: {},
    },
  ];
}
