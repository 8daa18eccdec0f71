import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { filtered } from "./filters.ts";
import { defaultVpc } from "./network.ts";
import { page } from "./paging.ts";
import { add, digits, every, find, newResource, owned } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { specifiedTags, tagSet } from "./tags.ts";

/** One rule: one protocol and port range, one source or destination. */
export interface Rule {
  readonly ipProtocol: string;
  readonly fromPort: number | undefined;
  readonly toPort: number | undefined;
  readonly source: Source;
  readonly description: string | undefined;
}

interface Source {
  readonly list: "IpRanges" | "Ipv6Ranges" | "Groups" | "PrefixListIds";
  readonly value: string;
}

export interface SecurityGroup extends Resource {
  readonly kind: "security-group";
  readonly name: string;
  readonly description: string;
  readonly vpcId: string;
  ingress: readonly Rule[];
  egress: readonly Rule[];
}

type Direction = "ingress" | "egress";

const everywhere: Rule = {
  ipProtocol: "-1",
  fromPort: undefined,
  toPort: undefined,
  source: { list: "IpRanges", value: "0.0.0.0/0" },
  description: undefined,
};

/** VPC user guide, Default security groups: each VPC has one, named `default`. */
export function defaultSecurityGroup(state: Ec2State, place: Place): SecurityGroup {
  const vpcId = defaultVpc(state, place).id;
  const id = `sg-${digits(state, `default/${vpcId}`)}`;
  const existing = state.resources.get(id);
  if (existing?.kind === "security-group") return existing;
  return add(state, {
    id,
    region: place.region,
    ownerId: place.accountId,
    // As old as the account, so that no visibility lag applies.
    createdAt: 0,
    tags: {},
    kind: "security-group",
    name: "default",
    description: "default VPC security group",
    vpcId,
    ingress: [{ ...everywhere, source: { list: "Groups", value: id } }],
    egress: [everywhere],
  });
}

const fields = {
  description: (group: SecurityGroup) => group.description,
  "group-id": (group: SecurityGroup) => group.id,
  "group-name": (group: SecurityGroup) => group.name,
  "ip-permission.cidr": (group: SecurityGroup) =>
    group.ingress.filter((rule) => rule.source.list === "IpRanges").map((rule) => rule.source.value),
  "ip-permission.from-port": (group: SecurityGroup) => group.ingress.map((rule) => rule.fromPort?.toString()),
  "ip-permission.to-port": (group: SecurityGroup) => group.ingress.map((rule) => rule.toPort?.toString()),
  "ip-permission.protocol": (group: SecurityGroup) => group.ingress.map((rule) => rule.ipProtocol),
  "owner-id": (group: SecurityGroup) => group.ownerId,
  "vpc-id": (group: SecurityGroup) => group.vpcId,
};

export function securityGroupOperations(state: Ec2State): Operations {
  return {
    CreateSecurityGroup: (call) => create(state, call),
    DescribeSecurityGroups(call) {
      const { items, nextToken } = page(state, call, filtered(call.query, fields, requested(state, call)), {
        action: "DescribeSecurityGroups",
        bounds: [5, 1000],
        ids: "GroupId",
      });
      return { nextToken, securityGroupInfo: { item: items.map(rendered) } };
    },
    AuthorizeSecurityGroupIngress: (call) => authorize(state, call, "ingress"),
    AuthorizeSecurityGroupEgress: (call) => authorize(state, call, "egress"),
    RevokeSecurityGroupIngress: (call) => revoke(state, call, "ingress"),
    RevokeSecurityGroupEgress: (call) => revoke(state, call, "egress"),
    DeleteSecurityGroup: (call) => remove(state, call),
  };
}

function create(state: Ec2State, call: Call): Record<string, unknown> {
  const { query } = call;
  const name = query.required("GroupName");
  const description = query.required("GroupDescription");
  const vpcId = query.string("VpcId") ?? defaultVpc(state, call).id;
  if (vpcId !== defaultVpc(state, call).id) {
    throw new AwsError("InvalidVpcID.NotFound", `The vpc ID '${vpcId}' does not exist`);
  }
  if (owned(state, call, "security-group").some((group) => group.name === name) || name === "default") {
    throw new AwsError(
      "InvalidGroup.Duplicate",
      `The security group '${name}' already exists for VPC '${vpcId}'`,
    );
  }
  const group = add(state, {
    ...newResource(state, call, "security-group", specifiedTags(query, "security-group")),
    kind: "security-group",
    name,
    description,
    vpcId,
    ingress: [],
    egress: [everywhere],
  });
  return { groupId: group.id, securityGroupArn: arn(group), tagSet: tagSet(group.tags) };
}

function requested(state: Ec2State, call: Call): SecurityGroup[] {
  defaultSecurityGroup(state, call);
  const ids = call.query.strings("GroupId").map((id) => find(state, call, "security-group", id));
  const named = call.query.strings("GroupName").map((name) => groupNamed(state, call, name));
  return ids.length + named.length > 0 ? [...ids, ...named] : owned(state, call, "security-group");
}

function groupNamed(state: Ec2State, place: Place, name: string): SecurityGroup {
  const group = owned(state, place, "security-group").find((group) => group.name === name);
  if (group !== undefined) return group;
  throw new AwsError("InvalidGroup.NotFound", `The security group '${name}' does not exist`);
}

function target(state: Ec2State, call: Call): SecurityGroup {
  const id = call.query.string("GroupId");
  if (id !== undefined) return find(state, call, "security-group", id);
  return groupNamed(state, call, call.query.required("GroupName"));
}

function authorize(state: Ec2State, call: Call, direction: Direction): Record<string, unknown> {
  const group = target(state, call);
  const added = rulesOf(call.query);
  if (added.length === 0) throw new AwsError("MissingParameter", "Missing source specification");
  const known = new Set(group[direction].map(identity));
  const duplicate = added.find((rule) => known.has(identity(rule)));
  if (duplicate !== undefined) {
    const text = `the specified rule "peer: ${duplicate.source.value}, ${duplicate.ipProtocol}" already exists`;
    throw new AwsError("InvalidPermission.Duplicate", text);
  }
  group[direction] = [...group[direction], ...added];
  const item = added.map((rule) => renderedRule(state, group, rule, direction));
  return { return: true, securityGroupRuleSet: { item } };
}

function revoke(state: Ec2State, call: Call, direction: Direction): Record<string, unknown> {
  const group = target(state, call);
  const ids = new Set(call.query.strings("SecurityGroupRuleId"));
  const given = new Set(rulesOf(call.query).map(identity));
  const isGone = (rule: Rule): boolean =>
    given.has(identity(rule)) || ids.has(ruleId(state, group, rule, direction));
  const gone = group[direction].filter(isGone);
  if (gone.length === 0) {
    const text = "The specified rule does not exist in this security group.";
    throw new AwsError("InvalidPermission.NotFound", text);
  }
  group[direction] = group[direction].filter((rule) => !isGone(rule));
  const item = gone.map((rule) => renderedRule(state, group, rule, direction));
  return { return: true, revokedSecurityGroupRuleSet: { item } };
}

/** EC2 API reference, DeleteSecurityGroup: DependencyViolation while an instance or another group refers to it. */
function remove(state: Ec2State, call: Call): Record<string, unknown> {
  const group = target(state, call);
  if (group.name === "default") {
    const text = `the specified group: "${group.id}" name: "default" cannot be deleted by a user`;
    throw new AwsError("CannotDelete", text);
  }
  const isInUse = every(state, "instance").some(
    (instance) => instance.state !== "terminated" && instance.securityGroupIds.includes(group.id),
  );
  const isReferenced = every(state, "security-group").some(
    (other) =>
      other.id !== group.id &&
      [...other.ingress, ...other.egress].some((rule) => rule.source.value === group.id),
  );
  if (isInUse || isReferenced) {
    throw new AwsError("DependencyViolation", `resource ${group.id} has a dependent object`);
  }
  state.resources.delete(group.id);
  return { return: true, groupId: group.id };
}

const sourceFields: Readonly<Record<Source["list"], string>> = {
  IpRanges: "CidrIp",
  Ipv6Ranges: "CidrIpv6",
  Groups: "GroupId",
  PrefixListIds: "PrefixListId",
};

const sourceLists: readonly Source["list"][] = ["IpRanges", "Ipv6Ranges", "Groups", "PrefixListIds"];

/** Both forms of a request: IpPermissions, and one rule as plain parameters. */
function rulesOf(query: Query): Rule[] {
  const permissions = query.structs("IpPermissions");
  const plain = query.string("CidrIp");
  if (plain !== undefined)
    return [{ ...portsOf(query), source: { list: "IpRanges", value: plain }, description: undefined }];
  return permissions.flatMap((permission) =>
    sourceLists.flatMap((list) => permission.structs(list).map((source) => ruleOf(permission, list, source))),
  );
}

function ruleOf(permission: Query, list: Source["list"], source: Query): Rule {
  return {
    ...portsOf(permission),
    source: { list, value: source.required(sourceFields[list]) },
    description: source.string("Description"),
  };
}

function portsOf(query: Query): Pick<Rule, "ipProtocol" | "fromPort" | "toPort"> {
  const ipProtocol = query.required("IpProtocol");
  // EC2 API reference, IpPermission: -1 means all protocols, and then ports do not count.
  const isAll = ipProtocol === "-1";
  return {
    ipProtocol,
    fromPort: isAll ? undefined : query.number("FromPort"),
    toPort: isAll ? undefined : query.number("ToPort"),
  };
}

function identity({ ipProtocol, fromPort, toPort, source }: Rule): string {
  return JSON.stringify([ipProtocol, fromPort, toPort, source.list, source.value]);
}

function ruleId(state: Ec2State, group: SecurityGroup, rule: Rule, direction: Direction): string {
  return `sgr-${digits(state, `${group.id}/${direction}/${identity(rule)}`)}`;
}

function arn({ region, ownerId, id }: SecurityGroup): string {
  return `arn:aws:ec2:${region}:${ownerId}:security-group/${id}`;
}

function renderedRule(
  state: Ec2State,
  group: SecurityGroup,
  rule: Rule,
  direction: Direction,
): Record<string, unknown> {
  const { ipProtocol, fromPort = -1, toPort = -1, source, description } = rule;
  const valueOf = (list: Source["list"]): string | undefined =>
    source.list === list ? source.value : undefined;
  const groupId = valueOf("Groups");
  return {
    securityGroupRuleId: ruleId(state, group, rule, direction),
    groupId: group.id,
    groupOwnerId: group.ownerId,
    isEgress: direction === "egress",
    ipProtocol,
    fromPort,
    toPort,
    cidrIpv4: valueOf("IpRanges"),
    cidrIpv6: valueOf("Ipv6Ranges"),
    prefixListId: valueOf("PrefixListIds"),
    referencedGroupInfo: groupId === undefined ? undefined : { groupId },
    description,
  };
}

function rendered(group: SecurityGroup): Record<string, unknown> {
  return {
    groupId: group.id,
    groupName: group.name,
    groupDescription: group.description,
    ownerId: group.ownerId,
    vpcId: group.vpcId,
    securityGroupArn: arn(group),
    ipPermissions: { item: renderedPermissions(group, group.ingress) },
    ipPermissionsEgress: { item: renderedPermissions(group, group.egress) },
    tagSet: tagSet(group.tags),
  };
}

/** Rules of the same protocol and ports are one permission. */
function renderedPermissions(group: SecurityGroup, rules: readonly Rule[]): Record<string, unknown>[] {
  const byPorts = Map.groupBy(rules, ({ ipProtocol, fromPort, toPort }) =>
    JSON.stringify([ipProtocol, fromPort, toPort]),
  );
  return [...byPorts.values()].map((rules) => {
    const listed = (list: Source["list"], name: string): { item: Record<string, unknown>[] } => ({
      item: rules
        .filter((rule) => rule.source.list === list)
        .map(({ source, description }) => ({
          [name]: source.value,
          userId: list === "Groups" ? group.ownerId : undefined,
          description,
        })),
    });
    return {
      ipProtocol: rules[0]?.ipProtocol,
      fromPort: rules[0]?.fromPort,
      toPort: rules[0]?.toPort,
      ipRanges: listed("IpRanges", "cidrIp"),
      ipv6Ranges: listed("Ipv6Ranges", "cidrIpv6"),
      groups: listed("Groups", "groupId"),
      prefixListIds: listed("PrefixListIds", "prefixListId"),
    };
  });
}

/** The groups of a launch: by id, by name, or the default group of the VPC. */
export function launchGroups(
  state: Ec2State,
  place: Place,
  ids: readonly string[],
  names: readonly string[],
): string[] {
  const defaultGroup = defaultSecurityGroup(state, place);
  if (ids.length + names.length === 0) return [defaultGroup.id];
  return [
    ...ids.map((id) => find(state, place, "security-group", id).id),
    ...names.map((name) => groupNamed(state, place, name).id),
  ];
}

/** The groups as an instance shows them. */
export function groupSet(state: Ec2State, ids: readonly string[]): { item: Record<string, unknown>[] } {
  const item = ids.map((groupId) => {
    const group = state.resources.get(groupId);
    return { groupId, groupName: group?.kind === "security-group" ? group.name : undefined };
  });
  return { item };
}
