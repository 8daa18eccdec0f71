/**
 * What every account finds in every region without making it: a default VPC with one default subnet in each of
 * three availability zones. Nothing here is stored: ids follow from region and account.
 */
import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filteredWith } from "./filters.ts";
import { digits } from "./state.ts";
import type { Ec2State } from "./state.ts";

export const regions: readonly string[] = [
  "ap-northeast-1",
  "ap-south-1",
  "ap-southeast-1",
  "ap-southeast-2",
  "ca-central-1",
  "eu-central-1",
  "eu-north-1",
  "eu-west-1",
  "eu-west-2",
  "eu-west-3",
  "sa-east-1",
  "us-east-1",
  "us-east-2",
  "us-west-1",
  "us-west-2",
];

export interface Vpc {
  readonly id: string;
  readonly ownerId: string;
}

export interface Subnet {
  readonly id: string;
  readonly vpcId: string;
  readonly ownerId: string;
  readonly availabilityZone: string;
  readonly zoneId: string;
  readonly cidrBlock: string;
}

export function defaultVpc(state: Ec2State, { region, accountId }: Place): Vpc {
  return { id: `vpc-${digits(state, `vpc/${region}/${accountId}`)}`, ownerId: accountId };
}

export function defaultSubnets(state: Ec2State, place: Place): Subnet[] {
  return ["a", "b", "c"].map((letter, index) => ({
    id: `subnet-${digits(state, `subnet/${place.region}/${place.accountId}/${letter}`)}`,
    vpcId: defaultVpc(state, place).id,
    ownerId: place.accountId,
    availabilityZone: `${place.region}${letter}`,
    zoneId: `${zonePrefix(place.region)}-az${index + 1}`,
    cidrBlock: `172.31.${index * 16}.0/20`,
  }));
}

/** EC2 user guide, Regions and Zones: `eu-west-1` has zone ids like `euw1-az1`. */
function zonePrefix(region: string): string {
  const [area = "", direction = "", number = ""] = region.split("-");
  const letters = (direction.match(/north|south|east|west|central/g) ?? []).map((word) => word.charAt(0));
  return `${area}${letters.join("")}${number}`;
}

export function networkOperations(state: Ec2State): Operations {
  return {
    DescribeRegions,
    DescribeVpcs: (call) => describeVpcs(state, call),
    DescribeSubnets: (call) => describeSubnets(state, call),
    DescribeAvailabilityZones: (call) => describeZones(state, call),
  };
}

function DescribeRegions({ query }: Call): Record<string, unknown> {
  const names = query.strings("RegionName");
  const unknown = names.find((name) => !regions.includes(name));
  if (unknown !== undefined) {
    throw new AwsError("InvalidParameterValue", `Invalid region name: ${unknown}`);
  }
  const known = (names.length > 0 ? names : regions).map((regionName) => ({
    regionName,
    regionEndpoint: `ec2.${regionName}.amazonaws.com`,
    optInStatus: "opt-in-not-required",
  }));
  const fields = {
    "region-name": (region: (typeof known)[number]) => region.regionName,
    endpoint: (region: (typeof known)[number]) => region.regionEndpoint,
    "opt-in-status": (region: (typeof known)[number]) => region.optInStatus,
  };
  return { regionInfo: { item: filteredWith(query, fields, known) } };
}

function describeVpcs(state: Ec2State, call: Call): Record<string, unknown> {
  const vpcs = chosen([defaultVpc(state, call)], call.query.strings("VpcId"), "InvalidVpcID.NotFound", "vpc");
  const fields = {
    "vpc-id": (vpc: Vpc) => vpc.id,
    "is-default": () => true,
    isDefault: () => true,
    "owner-id": (vpc: Vpc) => vpc.ownerId,
    state: () => "available",
    cidr: () => "172.31.0.0/16",
  };
  const item = filteredWith(call.query, fields, vpcs).map((vpc) => ({
    vpcId: vpc.id,
    ownerId: vpc.ownerId,
    state: "available",
    cidrBlock: "172.31.0.0/16",
    instanceTenancy: "default",
    isDefault: true,
  }));
  return { vpcSet: { item } };
}

const subnetFields = {
  "availability-zone": (subnet: Subnet) => subnet.availabilityZone,
  availabilityZone: (subnet: Subnet) => subnet.availabilityZone,
  "default-for-az": () => true,
  "owner-id": (subnet: Subnet) => subnet.ownerId,
  state: () => "available",
  "subnet-id": (subnet: Subnet) => subnet.id,
  "vpc-id": (subnet: Subnet) => subnet.vpcId,
};

function describeSubnets(state: Ec2State, call: Call): Record<string, unknown> {
  const ids = call.query.strings("SubnetId");
  const subnets = chosen(defaultSubnets(state, call), ids, "InvalidSubnetID.NotFound", "subnet");
  const item = filteredWith(call.query, subnetFields, subnets).map((subnet) => ({
    subnetId: subnet.id,
    vpcId: subnet.vpcId,
    ownerId: subnet.ownerId,
    state: "available",
    cidrBlock: subnet.cidrBlock,
    availableIpAddressCount: 4091,
    availabilityZone: subnet.availabilityZone,
    availabilityZoneId: subnet.zoneId,
    defaultForAz: true,
    mapPublicIpOnLaunch: true,
  }));
  return { subnetSet: { item } };
}

/** The named ones, each of which must be there, or all. */
function chosen<T extends { readonly id: string }>(
  items: readonly T[],
  ids: readonly string[],
  code: string,
  noun: string,
): readonly T[] {
  const missing = ids.find((id) => !items.some((item) => item.id === id));
  if (missing !== undefined) throw new AwsError(code, `The ${noun} ID '${missing}' does not exist`);
  return ids.length === 0 ? items : items.filter((item) => ids.includes(item.id));
}

function describeZones(state: Ec2State, call: Call): Record<string, unknown> {
  const names = call.query.strings("ZoneName");
  const zones = defaultSubnets(state, call);
  const unknown = names.find((name) => !zones.some((zone) => zone.availabilityZone === name));
  if (unknown !== undefined) {
    throw new AwsError("InvalidParameterValue", `Invalid availability zone: [${unknown}]`);
  }
  const fields = {
    "region-name": () => call.region,
    state: () => "available",
    "zone-id": (zone: Subnet) => zone.zoneId,
    "zone-name": (zone: Subnet) => zone.availabilityZone,
    "zone-type": () => "availability-zone",
    "opt-in-status": () => "opt-in-not-required",
  };
  const item = filteredWith(call.query, fields, zones)
    .filter((zone) => names.length === 0 || names.includes(zone.availabilityZone))
    .map((zone) => ({
      zoneName: zone.availabilityZone,
      zoneId: zone.zoneId,
      zoneState: "available",
      zoneType: "availability-zone",
      regionName: call.region,
      optInStatus: "opt-in-not-required",
    }));
  return { availabilityZoneInfo: { item } };
}
