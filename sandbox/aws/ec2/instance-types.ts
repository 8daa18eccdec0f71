/** Instance types: which there are, what processor they have, where they are offered. */
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filteredWith } from "./filters.ts";
import { defaultSubnets } from "./network.ts";
import { page } from "./paging.ts";
import type { Ec2State } from "./state.ts";

/** What DescribeInstanceTypes lists when it is not asked for certain types. */
const listed: readonly string[] = [
  "c6i.large",
  "c7g.large",
  "m5.large",
  "m7g.large",
  "m7i.large",
  "t2.micro",
  "t3.micro",
  "t3.small",
  "t3.medium",
  "t4g.micro",
  "t4g.small",
];

/** EC2 instance types guide: families by the least that they run; old and rare ones are left out. */
const families: Readonly<Record<string, string>> = {
  i386: "c1 c3 m1 m3 t1 t2",
  x86_64:
    "c4 c5 c5a c5ad c5d c5n c6a c6i c6id c6in c7a c7i c7i-flex d3 g4dn g5 g6 i3 i4i inf2 m4 m5 m5a m5ad m5d m5n m6a " +
    "m6i m6id m6in m7a m7i m7i-flex p3 p4d p5 r4 r5 r5a r5ad r5b r5d r5n r6a r6i r6id r6in r7a r7i t3 t3a trn1 z1d",
  arm64:
    "a1 c6g c6gd c6gn c7g c7gd c7gn c8g g5g i4g im4gn is4gen m6g m6gd m7g m7gd m8g r6g r6gd r7g r7gd r8g t4g x2gd",
};
const known = new Map(
  Object.entries(families).flatMap(([least, names]) =>
    names.split(" ").map((name) => [name, least] as const),
  ),
);

function parts(instanceType: string): { family: string; size: string } | undefined {
  const [, family, size] = /^([a-z][\w-]*)\.([\w-]+)$/.exec(instanceType) ?? [];
  return family === undefined || size === undefined ? undefined : { family, size };
}

function exists(instanceType: string): boolean {
  const type = parts(instanceType);
  if (type === undefined || !known.has(type.family)) return false;
  return /^(?:nano|micro|small|medium|(?:\d+x?|x)?large|metal(?:-\d+xl)?)$/.test(type.size);
}

/**
 * The one that counts for launching. EC2 user guide, Instance type naming: a `g` after the generation means AWS Graviton.
 * Types that this sandbox has not heard of are told by their name.
 */
export function architectureOf(instanceType: string): string {
  const family = parts(instanceType)?.family;
  if (family === undefined) {
    throw new AwsError("InvalidParameterValue", `Invalid value '${instanceType}' for InstanceType.`);
  }
  return family === "a1" || /^[a-z]+\d+g[a-z]*(?:-|$)/.test(family) ? "arm64" : "x86_64";
}

/** EC2 API reference, ProcessorInfo: the types that run 32-bit images say so. */
function supportedArchitectures(instanceType: string): string[] {
  const is32Bit = known.get(parts(instanceType)?.family ?? "") === "i386";
  return [...(is32Bit ? ["i386"] : []), architectureOf(instanceType)];
}

export function instanceTypeOperations(state: Ec2State): Operations {
  return {
    DescribeInstanceTypes: (call) => describeTypes(state, call),
    DescribeInstanceTypeOfferings: (call) => describeOfferings(state, call),
  };
}

interface Named {
  readonly name: string;
}

/** The text is EC2's own (scylladb/scylla-cluster-tests #12419). */
function describeTypes(state: Ec2State, call: Call): Record<string, unknown> {
  const asked = call.query.strings("InstanceType");
  const missing = asked.filter((name) => !exists(name));
  if (missing.length > 0) {
    const text = `The following supplied instance types do not exist: [${missing.join(", ")}]`;
    throw new AwsError("InvalidInstanceType", text);
  }
  const types = (asked.length > 0 ? asked : listed).map((name) => ({ name }));
  const fields = {
    "instance-type": (type: Named) => type.name,
    "processor-info.supported-architecture": (type: Named) => supportedArchitectures(type.name),
    "current-generation": () => true,
  };
  const { items, nextToken } = page(state, call, filteredWith(call.query, fields, types), {
    action: "DescribeInstanceTypes",
    bounds: [5, 100],
    ids: "InstanceType",
  });
  const item = items.map(({ name }) => ({
    instanceType: name,
    currentGeneration: true,
    bareMetal: false,
    hypervisor: "nitro",
    supportedRootDeviceTypes: { item: ["ebs"] },
    supportedVirtualizationTypes: { item: ["hvm"] },
    processorInfo: { supportedArchitectures: { item: supportedArchitectures(name) } },
    vCpuInfo: { defaultVCpus: 2 },
    memoryInfo: { sizeInMiB: 4096 },
    networkInfo: { enaSupport: "required" },
  }));
  return { nextToken, instanceTypeSet: { item } };
}

interface Offering {
  readonly instanceType: string;
  readonly location: string;
}

/** Every type is offered everywhere; a type that only a filter names is offered too. */
function describeOfferings(state: Ec2State, call: Call): Record<string, unknown> {
  const locationType = call.query.string("LocationType") ?? "region";
  const subnets = defaultSubnets(state, call);
  const locations = {
    region: [call.region],
    "availability-zone": subnets.map((subnet) => subnet.availabilityZone),
    "availability-zone-id": subnets.map((subnet) => subnet.zoneId),
  }[locationType];
  if (locations === undefined) {
    throw new AwsError(
      "InvalidParameterValue",
      `Value (${locationType}) for parameter locationType is invalid.`,
    );
  }
  const named = call.query
    .structs("Filter")
    .filter((filter) => filter.string("Name") === "instance-type")
    .flatMap((filter) => filter.strings("Value"))
    .filter((value) => !/[*?]/.test(value));
  const types = [...new Set([...listed, ...named])];
  const offerings = locations.flatMap((location) =>
    types.map((instanceType) => ({ instanceType, locationType, location })),
  );
  const fields = {
    "instance-type": (offering: Offering) => offering.instanceType,
    location: (offering: Offering) => offering.location,
  };
  const { items, nextToken } = page(state, call, filteredWith(call.query, fields, offerings), {
    action: "DescribeInstanceTypeOfferings",
    bounds: [5, 1000],
  });
  return { nextToken, instanceTypeOfferingSet: { item: items } };
}
