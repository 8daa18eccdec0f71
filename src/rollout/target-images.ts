import type { LaunchTemplateSpecification } from "@aws-sdk/client-auto-scaling";
import {
  DescribeLaunchTemplateVersionsCommand,
  type EC2Client,
  type LaunchTemplateVersion,
} from "@aws-sdk/client-ec2";
import { pagesOf } from "../aws/pages.ts";
import { targetName } from "../domain/application.ts";
import { hasCode, KilnError } from "../domain/errors.ts";
import { isAlias } from "./launch-template.ts";
import { launchedImages, overridesOf, templatesOf, type TargetState } from "./target-state.ts";

/** A launch template version that names an image. */
export interface VersionImage {
  readonly templateId: string;
  readonly templateName: string;
  readonly version: string;
  readonly imageId: string;
}

/** An image that a target has a use for, and which. */
export interface ImageUse {
  readonly imageId: string;
  readonly why: string;
}

/** Versions below a target's own that are read for the images of its latest rollouts; what one page holds. */
const VERSIONS_READ = 200;

export interface VersionsWanted {
  /** Versions by template that something else relies on. */
  readonly recorded: readonly { readonly templateId: string; readonly version: string }[];
  /** How many different images of each template's newest versions count. */
  readonly recent: number;
}

/**
 * The images of the launch template versions that a target may launch from: of each template that the group, an instance
 * or a running refresh has, `$Default`, `$Latest`, and the numbers that those three or `recorded` name; and of the group's
 * own templates those of the newest versions, which only the account's roles can have made. Two requests a template, and
 * one more where versions take their image from a parameter.
 * @throws KilnError where the image of a version cannot be found out
 */
export async function readVersionImages(
  ec2: EC2Client,
  state: TargetState,
  { recorded, recent }: VersionsWanted,
): Promise<readonly VersionImage[]> {
  const wanted = new Map<string, Wanted>();
  const add = (template: TemplateName, version: string): void => {
    const key = "id" in template ? template.id : template.name;
    const known = wanted.get(key) ?? { template, versions: new Set(["$Default", "$Latest"]) };
    known.versions.add(version);
    wanted.set(key, known);
  };
  for (const { id, version } of templatesOf(state)) add({ id }, version);
  for (const { templateId, templateVersion } of state.instances)
    if (templateId !== undefined && templateVersion !== undefined) add({ id: templateId }, templateVersion);
  for (const { LaunchTemplateId: id, LaunchTemplateName: name, Version = "$Default" } of desired(state)) {
    if (id !== undefined) add({ id }, Version);
    else if (name !== undefined) add({ name }, Version);
  }
  for (const { templateId, version } of recorded)
    if (wanted.has(templateId)) add({ id: templateId }, version);
  const own = new Map(templatesOf(state).map(({ id, version }) => [id, version]));
  const found = await Promise.all([
    ...[...wanted.values()].map((each) => readVersions(ec2, state, each)),
    ...[...own].map(([id, version]) => recentVersions(ec2, id, version, recent)),
  ]);
  const byVersion = found.flat().map((each) => [`${each.templateId}@${each.version}`, each] as const);
  return [...new Map(byVersion).values()];
}

/** The newest versions of a template, as many as have `count` different images. */
async function recentVersions(
  ec2: EC2Client,
  id: string,
  version: string,
  count: number,
): Promise<readonly VersionImage[]> {
  if (count === 0) return [];
  const versions: VersionImage[] = [];
  const pages = pagesOf("DescribeLaunchTemplateVersions", (next) =>
    ec2.send(
      new DescribeLaunchTemplateVersionsCommand({
        LaunchTemplateId: id,
        MinVersion: String(Math.max(1, Number(version) - VERSIONS_READ)),
        MaxResults: VERSIONS_READ,
        ...next,
      }),
    ),
  );
  for await (const { LaunchTemplateVersions } of pages)
    versions.push(...toVersionImages(LaunchTemplateVersions));
  const images = new Set<string>();
  return versions
    .filter(({ imageId }) => !isAlias(imageId))
    .toSorted((a, b) => Number(b.version) - Number(a.version))
    .filter(({ imageId }) => images.size < count && !images.has(imageId) && images.add(imageId));
}

type TemplateName = { readonly id: string } | { readonly name: string };

interface Wanted {
  readonly template: TemplateName;
  readonly versions: Set<string>;
}

/** The templates of a running refresh's desired configuration. */
function desired({ activeRefresh }: TargetState): readonly LaunchTemplateSpecification[] {
  const { LaunchTemplate, MixedInstancesPolicy } = activeRefresh?.DesiredConfiguration ?? {};
  const policy = MixedInstancesPolicy?.LaunchTemplate;
  return [
    LaunchTemplate ?? [],
    policy?.LaunchTemplateSpecification ?? [],
    (policy?.Overrides ?? []).flatMap((override) => override.LaunchTemplateSpecification ?? []),
  ].flat();
}

const NOT_THERE = [
  "InvalidLaunchTemplateId.NotFound",
  "InvalidLaunchTemplateName.NotFoundException",
  "InvalidLaunchTemplateId.VersionNotFound",
] as const;

async function readVersions(
  ec2: EC2Client,
  state: TargetState,
  { template, versions }: Wanted,
): Promise<readonly VersionImage[]> {
  const found = await describe(ec2, template, [...versions]);
  const aliases = found.filter(({ imageId }) => isAlias(imageId)).map(({ version }) => version);
  if (aliases.length === 0) return found;
  const resolved = await describe(ec2, template, aliases, true);
  const open = resolved.find(({ imageId }) => isAlias(imageId));
  if (open !== undefined) {
    throw new KilnError(`${targetName(state.target)}: what ${open.imageId} means could not be found out`, {
      state: "Nothing was changed.",
      next: "See that the parameter exists and holds an AMI id, and that the role may do ssm:GetParameters.",
    });
  }
  return [...found.filter(({ imageId }) => !isAlias(imageId)), ...resolved];
}

function toVersionImages(versions: readonly LaunchTemplateVersion[] = []): readonly VersionImage[] {
  return versions.flatMap((version) => {
    const imageId = version.LaunchTemplateData?.ImageId;
    if (imageId === undefined) return [];
    return [
      {
        templateId: version.LaunchTemplateId ?? "",
        templateName: version.LaunchTemplateName ?? "",
        version: String(version.VersionNumber ?? ""),
        imageId,
      },
    ];
  });
}

/** One version that is gone fails the whole request: each is then asked for by itself. */
async function describe(
  ec2: EC2Client,
  template: TemplateName,
  versions: readonly string[],
  resolveAlias = false,
): Promise<readonly VersionImage[]> {
  try {
    const { LaunchTemplateVersions } = await ec2.send(
      new DescribeLaunchTemplateVersionsCommand({
        ...("id" in template ? { LaunchTemplateId: template.id } : { LaunchTemplateName: template.name }),
        Versions: [...versions],
        ...(resolveAlias ? { ResolveAlias: true } : {}),
      }),
    );
    return toVersionImages(LaunchTemplateVersions);
  } catch (error) {
    if (!hasCode(error, ...NOT_THERE)) throw error;
    if (versions.length <= 1) return [];
    const each = await Promise.all(
      versions.map((version) => describe(ec2, template, [version], resolveAlias)),
    );
    return each.flat();
  }
}

/**
 * Every image that a target has a use for: that an instance runs, in whatever state of its life; that the group or a
 * running refresh launches; that a version of their templates names. The most telling use of an image comes first.
 */
export function imageUses(state: TargetState, versions: readonly VersionImage[]): readonly ImageUse[] {
  const name = targetName(state.target);
  const ofVersion = new Map(
    versions.map(({ templateId, version, imageId }) => [`${templateId}@${version}`, imageId]),
  );
  const policy = state.activeRefresh?.DesiredConfiguration?.MixedInstancesPolicy?.LaunchTemplate;
  const uses = (why: string, imageIds: readonly (string | undefined)[]): ImageUse[] =>
    imageIds.flatMap((imageId) => (imageId === undefined || isAlias(imageId) ? [] : [{ imageId, why }]));
  return [
    ...uses(
      `an instance of ${name} runs it`,
      state.instances.map(
        ({ imageId, templateId, templateVersion }) =>
          imageId ?? ofVersion.get(`${templateId ?? ""}@${templateVersion ?? ""}`),
      ),
    ),
    ...uses(`${name} launches it`, [
      ...launchedImages(state),
      ...overridesOf(state).map((override) => override.ImageId),
    ]),
    ...uses(
      `the running refresh of ${name} launches it`,
      (policy?.Overrides ?? []).map((override) => override.ImageId),
    ),
    ...versions.map(({ templateName, version, imageId }) => ({
      imageId,
      why: `version ${version} of the launch template ${templateName} launches it`,
    })),
  ];
}
