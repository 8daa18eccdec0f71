/** Launch templates and their versions: the data, reading and resolving. Changes are in launch-template-changes.ts. */
import type { LaunchTemplateSpecification, Place, ResolvedLaunchTemplateVersion } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { filtered, filteredWith } from "./filters.ts";
import { page } from "./paging.ts";
import { find, owned } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { tagSet } from "./tags.ts";

/** LaunchTemplateData as it was sent, flat: `BlockDeviceMapping.1.Ebs.SnapshotId` and so on. */
export type TemplateData = Readonly<Record<string, string>>;

export interface LaunchTemplateVersion {
  readonly number: number;
  readonly description: string | undefined;
  readonly createdAt: number;
  readonly data: TemplateData;
}

export interface LaunchTemplate extends Resource {
  readonly kind: "launch-template";
  readonly name: string;
  defaultVersion: number;
  /** Numbers are never used again (EC2 user guide, Delete a launch template version). */
  latestVersion: number;
  versions: readonly LaunchTemplateVersion[];
}

/**
 * Data in which each top-level field that is given replaces the whole field below. EC2 API reference,
 * CreateLaunchTemplateVersion: given parameters overwrite those of the source version; how deep is not documented.
 */
export function withOverrides(data: TemplateData, given: TemplateData): TemplateData {
  const top = (key: string): string => key.split(".", 1)[0] ?? key;
  const replaced = new Set(Object.keys(given).map(top));
  const kept = Object.entries(data).filter(([key]) => !replaced.has(top(key)));
  return { ...Object.fromEntries(kept), ...given };
}

/**
 * EC2 user guide, Use a Systems Manager parameter instead of an AMI ID: `resolve:ssm:<name>`, and with a version's number
 * or label after a colon.
 */
export function resolveAlias(state: Ec2State, imageId: string): string {
  const name = /^resolve:ssm:(.+)$/.exec(imageId)?.[1];
  if (name === undefined) return imageId;
  const value = state.settings.ssmParameters[name];
  if (value !== undefined) return value;
  throw new AwsError("InvalidParameterValue", `The SSM parameter '${name}' does not exist.`);
}

/** The template that a request names, by id or by name but not both. */
export function namedTemplate(
  state: Ec2State,
  place: Place,
  specification: LaunchTemplateSpecification,
): LaunchTemplate {
  const { launchTemplateId: id, launchTemplateName: name } = specification;
  if ((id === undefined) === (name === undefined)) {
    const text = "Exactly one of the launch template ID and the launch template name must be specified";
    throw new AwsError(id === undefined ? "MissingParameter" : "InvalidParameterCombination", text);
  }
  if (id !== undefined) return find(state, place, "launch-template", id);
  const found = owned(state, place, "launch-template").find((template) => template.name === name);
  if (found !== undefined) return found;
  throw new AwsError(
    "InvalidLaunchTemplateName.NotFoundException",
    `The specified launch template, with template name ${name}, does not exist.`,
  );
}

export function targetTemplate(state: Ec2State, call: Call): LaunchTemplate {
  return namedTemplate(state, call, {
    launchTemplateId: call.query.string("LaunchTemplateId"),
    launchTemplateName: call.query.string("LaunchTemplateName"),
  });
}

export interface NamedVersion {
  readonly template: LaunchTemplate;
  readonly version: LaunchTemplateVersion;
}

/** EC2 API reference, LaunchTemplateSpecification: without a version the default one is meant. */
export function templateVersion(
  state: Ec2State,
  place: Place,
  specification: LaunchTemplateSpecification,
): NamedVersion {
  const template = namedTemplate(state, place, specification);
  return { template, version: versionOf(template, specification.version ?? "$Default") };
}

export function versionOf(template: LaunchTemplate, text: string): LaunchTemplateVersion {
  const number = { $Latest: template.latestVersion, $Default: template.defaultVersion }[text] ?? Number(text);
  if (!Number.isInteger(number) || number < 1) {
    throw new AwsError("InvalidLaunchTemplateId.VersionNotFound", `Invalid launch template version: ${text}`);
  }
  const found = template.versions.find((version) => version.number === number);
  if (found !== undefined) return found;
  throw new AwsError(
    "InvalidLaunchTemplateId.VersionNotFound",
    `Could not find the specified version ${number} for the launch template with ID ${template.id}.`,
  );
}

export function resolvedVersion({ template, version }: NamedVersion): ResolvedLaunchTemplateVersion {
  return {
    launchTemplateId: template.id,
    launchTemplateName: template.name,
    version: String(version.number),
    imageId: version.data["ImageId"],
    instanceType: version.data["InstanceType"],
  };
}

const templateFields = {
  "create-time": (template: LaunchTemplate) => new Date(template.createdAt).toISOString(),
  "launch-template-name": (template: LaunchTemplate) => template.name,
};

const versionFields = {
  "create-time": ({ version }: NamedVersion) => new Date(version.createdAt).toISOString(),
  "ebs-optimized": ({ version }: NamedVersion) => version.data["EbsOptimized"],
  "image-id": ({ version }: NamedVersion) => version.data["ImageId"],
  "instance-type": ({ version }: NamedVersion) => version.data["InstanceType"],
  "is-default-version": ({ template, version }: NamedVersion) => version.number === template.defaultVersion,
};

export function launchTemplateOperations(state: Ec2State): Operations {
  return {
    DescribeLaunchTemplates(call) {
      const chosen = filtered(call.query, templateFields, requestedTemplates(state, call));
      const { items, nextToken } = page(state, call, chosen, {
        action: "DescribeLaunchTemplates",
        bounds: [1, 200],
      });
      return { nextToken, launchTemplates: { item: items.map(renderedTemplate) } };
    },
    DescribeLaunchTemplateVersions(call) {
      const chosen = filteredWith(call.query, versionFields, requestedVersions(state, call));
      const { items, nextToken } = page(state, call, chosen, {
        action: "DescribeLaunchTemplateVersions",
        bounds: [1, 200],
      });
      const resolve = call.query.boolean("ResolveAlias") === true;
      const item = items.map((named) => renderedVersion(named, resolve ? state : undefined));
      return { nextToken, launchTemplateVersionSet: { item } };
    },
  };
}

function requestedTemplates(state: Ec2State, { query, ...call }: Call): LaunchTemplate[] {
  const ids = query.strings("LaunchTemplateId").map((launchTemplateId) => ({ launchTemplateId }));
  const names = query.strings("LaunchTemplateName").map((launchTemplateName) => ({ launchTemplateName }));
  if (ids.length + names.length === 0) return owned(state, call, "launch-template");
  return [...ids, ...names].map((specification) => namedTemplate(state, call, specification));
}

/**
 * EC2 API reference, DescribeLaunchTemplateVersions: of one template the given versions or all, newest first; without
 * a template only `$Latest` and `$Default`, of all templates.
 */
function requestedVersions(state: Ec2State, call: Call): NamedVersion[] {
  const { query } = call;
  const texts = query.strings("LaunchTemplateVersion");
  const isNamed = (query.string("LaunchTemplateId") ?? query.string("LaunchTemplateName")) !== undefined;
  if (!isNamed) return versionsOfAll(state, call, texts);
  const template = targetTemplate(state, call);
  const chosen =
    texts.length === 0
      ? template.versions
          .toSorted((a, b) => b.number - a.number)
          .filter((version) => isInRange(query, version))
      : new Set(texts.map((text) => versionOf(template, text)));
  return [...chosen].map((version) => ({ template, version }));
}

function versionsOfAll(state: Ec2State, call: Call, texts: readonly string[]): NamedVersion[] {
  if (texts.length === 0 || texts.some((text) => !["$Latest", "$Default"].includes(text))) {
    const text = "Without a launch template, the versions must be $Latest, $Default or both";
    throw new AwsError("MissingParameter", text);
  }
  return owned(state, call, "launch-template").flatMap((template) =>
    [...new Set(texts.map((text) => versionOf(template, text)))].map((version) => ({ template, version })),
  );
}

function isInRange(query: Query, { number }: LaunchTemplateVersion): boolean {
  return number >= (query.number("MinVersion") ?? 1) && number <= (query.number("MaxVersion") ?? Infinity);
}

function creator(template: LaunchTemplate): string {
  return `arn:aws:sts::${template.ownerId}:assumed-role/kiln/session`;
}

export function renderedTemplate(template: LaunchTemplate): Record<string, unknown> {
  return {
    launchTemplateId: template.id,
    launchTemplateName: template.name,
    createTime: new Date(template.createdAt),
    createdBy: creator(template),
    defaultVersionNumber: template.defaultVersion,
    latestVersionNumber: template.latestVersion,
    tagSet: tagSet(template.tags),
  };
}

/** `aliases` is given where the request wants `resolve:ssm:` resolved. */
export function renderedVersion(
  { template, version }: NamedVersion,
  aliases: Ec2State | undefined,
): Record<string, unknown> {
  const imageId = version.data["ImageId"];
  const resolved = aliases && imageId ? { ImageId: resolveAlias(aliases, imageId) } : {};
  return {
    launchTemplateId: template.id,
    launchTemplateName: template.name,
    versionNumber: version.number,
    versionDescription: version.description,
    createTime: new Date(version.createdAt),
    createdBy: creator(template),
    defaultVersion: version.number === template.defaultVersion,
    launchTemplateData: renderedData({ ...version.data, ...resolved }),
  };
}

/** Lists whose name in answers is not their name in requests with `Set` after it, and the name of an element. */
const irregularLists: Readonly<Record<string, readonly [list: string, element: string]>> = {
  "NetworkInterface.SecurityGroupId": ["groupSet", "groupId"],
  LicenseSpecification: ["licenseSet", "item"],
  "SecondaryInterface.PrivateIpAddress": ["privateIpAddressesSet", "item"],
};

/** The flat data as an answer has it: camelCase, `{ item: [...] }` for everything that is numbered. */
function renderedData(data: TemplateData, path: readonly string[] = []): Record<string, unknown> {
  const groups = Map.groupBy(Object.entries(data), ([key]) => key.split(".", 1)[0] ?? key);
  return Object.fromEntries(
    [...groups].map(([name, entries]) => {
      const rest = entries.map(([key, value]) => [key.slice(name.length + 1), value] as const);
      const isList = rest.every(([key]) => /^\d/.test(key));
      const here = [...path, name];
      const camel = name.charAt(0).toLowerCase() + name.slice(1);
      if (!isList) return [camel, renderedValue(rest, here)];
      const [list, element] = irregularLists[here.join(".")] ?? [`${camel}Set`, "item"];
      return [list, { [element]: renderedItems(rest, here) }];
    }),
  );
}

function renderedItems(entries: readonly (readonly [string, string])[], path: readonly string[]): unknown[] {
  const numbered = Map.groupBy(entries, ([key]) => Number.parseInt(key, 10));
  return [...numbered]
    .toSorted(([a], [b]) => a - b)
    .map(([number, entries]) =>
      renderedValue(
        entries.map(([key, value]) => [key.slice(String(number).length + 1), value] as const),
        path,
      ),
    );
}

function renderedValue(entries: readonly (readonly [string, string])[], path: readonly string[]): unknown {
  const [first] = entries;
  return first?.[0] === "" ? first[1] : renderedData(Object.fromEntries(entries), path);
}
