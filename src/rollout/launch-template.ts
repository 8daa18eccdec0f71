import { createHash } from "node:crypto";
import {
  type DesiredConfiguration,
  type LaunchTemplateOverrides,
  type LaunchTemplateSpecification,
  UpdateAutoScalingGroupCommand,
} from "@aws-sdk/client-auto-scaling";
import {
  type _InstanceType,
  CreateLaunchTemplateVersionCommand,
  DescribeLaunchTemplateVersionsCommand,
  type EC2Client,
  type RequestLaunchTemplateData,
  type ValidationError,
} from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { isVersionUnseen, NOT_FOUND, untilKnown } from "../aws/new-ids.ts";
import { pagesOf } from "../aws/pages.ts";
import { type Target, targetName } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import type { Clock } from "../domain/ports.ts";
import { remedyFor } from "./known-causes.ts";
import {
  type EffectiveTemplate,
  overridesOf,
  type PinnedVersion,
  templateOf,
  templatesOf,
  type TargetState,
} from "./target-state.ts";

/** A launch template version with its template's name. */
export interface TemplateVersion extends PinnedVersion {
  readonly name: string;
}

/** What a release changes in the launch template. */
export interface TemplateChange {
  readonly imageId: ImageId;
  readonly imageName: string;
  readonly instanceType: string | undefined;
}

/** Longest description of a version (EC2 API reference, CreateLaunchTemplateVersion, VersionDescription). */
const MAX_DESCRIPTION = 255;

/** How descriptions of versions that Kiln made begin: versions cannot be tagged. */
export const DESCRIPTION_PREFIX = "Kiln: ";

/** Says what a version is and what it was made from: this is how ours are known again. */
function describe(template: EffectiveTemplate, change: TemplateChange): string {
  const type = change.instanceType === undefined ? "" : ` on ${change.instanceType}`;
  const text = `${DESCRIPTION_PREFIX}${change.imageName} ${change.imageId}${type}, from version ${template.version}`;
  return text.slice(0, MAX_DESCRIPTION);
}

/**
 * The version that Kiln made a template's version from for a release, by its description.
 * @returns undefined if Kiln did not make it for the image that it has, or its description was cut
 */
export function sourceVersionOf({
  description,
  imageId,
}: Pick<EffectiveTemplate, "description" | "imageId">): string | undefined {
  const [, image, source] =
    /^Kiln: \S+ (ami-[0-9a-f]+)(?: on \S+)?, from version (\d+)$/.exec(description ?? "") ?? [];
  return image === imageId ? source : undefined;
}

/** The version that an earlier run of this release made from the same source, if there is one. */
export function findTemplateVersion(
  ec2: EC2Client,
  template: EffectiveTemplate,
  change: TemplateChange,
): Promise<TemplateVersion | undefined> {
  return findDescribed(ec2, template, change.imageId, describe(template, change));
}

async function findDescribed(
  ec2: EC2Client,
  template: EffectiveTemplate,
  imageId: string,
  description: string,
): Promise<TemplateVersion | undefined> {
  const pages = pagesOf("DescribeLaunchTemplateVersions", (next) =>
    ec2.send(
      new DescribeLaunchTemplateVersionsCommand({
        LaunchTemplateId: template.id,
        Filters: [{ Name: "image-id", Values: [imageId] }],
        MaxResults: 200,
        ...next,
      }),
    ),
  );
  for await (const { LaunchTemplateVersions } of pages) {
    const found = LaunchTemplateVersions?.find((version) => version.VersionDescription === description);
    if (found?.VersionNumber !== undefined) return versionOf(template, found.VersionNumber);
  }
  return undefined;
}

/** What a version is made of, and from. */
export interface NewVersion {
  readonly target: Target;
  readonly template: EffectiveTemplate;
  readonly change: TemplateChange;
}

/** What waiting for an image needs that was made or shared a moment ago. */
export interface Waiting {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Makes the version of a release from the one that is effective now, with only the image (and the environment's
 * instance type) changed. The client token is the same for a run and its re-run.
 * @throws KilnError if AWS says at once that instances could not be launched from it
 */
export async function createTemplateVersion(
  ec2: EC2Client,
  { target, template, change }: NewVersion,
  waiting: Waiting,
): Promise<TemplateVersion> {
  const description = describe(template, change);
  const data: RequestLaunchTemplateData = {
    ImageId: change.imageId,
    ...(change.instanceType === undefined ? {} : { InstanceType: change.instanceType as _InstanceType }),
  };
  // The same token makes no second version. An image that was copied or shared a moment ago may not be known here yet.
  return untilKnown(() => create(ec2, { target, template, description, data }), {
    ...waiting,
    of: [],
    isNotYet: (error) => error instanceof VersionWarning && error.isOnlyUnknown(change.imageId),
  });
}

/** AWS made the version, and warns that nothing can be launched from it. */
class VersionWarning extends KilnError {
  readonly #errors: readonly ValidationError[];

  constructor(
    { target, template }: Pick<NewVersion, "target" | "template">,
    errors: readonly ValidationError[],
  ) {
    const said = errors.map(({ Code, Message }) => `${Code ?? ""}: ${Message ?? ""}`).join("; ");
    super(`${targetName(target)}: AWS would not launch instances from the new version of ${template.name}`, {
      state: `The group is as it was, on version ${template.version}. ${said}`,
      next:
        remedyFor(said) ?? "Correct the launch template's settings that AWS names, then run the job again.",
    });
    this.#errors = errors;
  }

  /** Whether AWS says no more than that it does not know this image. */
  isOnlyUnknown(imageId: string): boolean {
    return (
      this.#errors.length > 0 &&
      this.#errors.every(
        ({ Code, Message }) =>
          NOT_FOUND.image.some((code) => code === Code) && Message?.includes(imageId) === true,
      )
    );
  }
}

async function create(
  ec2: EC2Client,
  {
    target,
    template,
    description,
    data,
  }: Omit<NewVersion, "change"> & {
    readonly description: string;
    readonly data: RequestLaunchTemplateData;
  },
): Promise<TemplateVersion> {
  const { LaunchTemplateVersion, Warning } = await ec2.send(
    new CreateLaunchTemplateVersionCommand({
      LaunchTemplateId: template.id,
      SourceVersion: template.version,
      VersionDescription: description,
      LaunchTemplateData: data,
      ClientToken: createHash("sha256").update(`${template.id}\n${description}`).digest("hex"),
    }),
  );
  const number = LaunchTemplateVersion?.VersionNumber;
  const errors = Warning?.Errors ?? [];
  if (number === undefined || errors.length > 0) throw new VersionWarning({ target, template }, errors);
  return versionOf(template, number);
}

/** The image of each of some versions of a template, by `<template>@<version>`; one request. */
export async function imagesOfVersions(
  ec2: EC2Client,
  templateId: string,
  versions: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (versions.length === 0) return new Map();
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({
      LaunchTemplateId: templateId,
      Versions: [...new Set(versions)],
    }),
  );
  return new Map(
    (LaunchTemplateVersions ?? []).map((version) => [
      `${templateId}@${version.VersionNumber ?? ""}`,
      version.LaunchTemplateData?.ImageId ?? "no image",
    ]),
  );
}

/** What a version says of itself; undefined where it says nothing, or cannot be read. */
export async function descriptionOf(
  ec2: EC2Client,
  { LaunchTemplateId: id, Version: version }: LaunchTemplateSpecification,
): Promise<string | undefined> {
  if (id === undefined || version === undefined) return undefined;
  try {
    const { LaunchTemplateVersions } = await ec2.send(
      new DescribeLaunchTemplateVersionsCommand({ LaunchTemplateId: id, Versions: [version] }),
    );
    return LaunchTemplateVersions?.[0]?.VersionDescription;
  } catch {
    return undefined;
  }
}

function versionOf(template: EffectiveTemplate, number: number): TemplateVersion {
  return { id: template.id, name: template.name, version: String(number) };
}

/** Which version a template of the group is to launch from. */
export type VersionChoice = (template: EffectiveTemplate) => PinnedVersion;

/** The versions of a release, by the templates that they were made from; the group's own first. */
export interface ReleaseVersions {
  readonly base: TemplateVersion;
  readonly all: readonly TemplateVersion[];
  readonly choose: VersionChoice;
}

export function releaseVersions(
  made: readonly (readonly [EffectiveTemplate, TemplateVersion])[],
): ReleaseVersions {
  const [first] = made;
  if (first === undefined) throw new Error("a release without a template version");
  const all = made.map(([, version]) => version);
  return {
    base: first[1],
    all,
    choose: (template) => made.find(([source]) => source === template)?.[1] ?? template,
  };
}

/**
 * The group's configuration with other template versions: the mixed instances policy whole, its overrides' own templates
 * and images included, else the template alone. Sending only the template to a group with a policy would drop the policy,
 * and an override with a template or an image of its own would stay on it (user guide: start an instance refresh).
 * @param image put where overrides have one of their own; for `ReplaceRootVolume` into every override, which needs it there
 */
export function configurationWith(
  state: TargetState,
  choose: VersionChoice,
  image?: { readonly id: string; readonly inEveryOverride: boolean },
): DesiredConfiguration {
  const base = choose(state.template);
  const specification = { LaunchTemplateId: base.id, Version: base.version };
  const policy = state.mixedInstancesPolicy;
  if (policy === undefined) return { LaunchTemplate: specification };
  const overrides = overridesOf(state).map((override) => overrideWith(state, override, choose, image));
  const { Overrides: _, ...launchTemplate } = policy.LaunchTemplate ?? {};
  return {
    MixedInstancesPolicy: {
      ...policy,
      LaunchTemplate: {
        ...launchTemplate,
        LaunchTemplateSpecification: specification,
        // The SDK sends an empty list as an empty value, which the API refuses.
        ...(overrides.length === 0 ? {} : { Overrides: overrides }),
      },
    },
  };
}

function overrideWith(
  state: TargetState,
  override: LaunchTemplateOverrides,
  choose: VersionChoice,
  image: { readonly id: string; readonly inEveryOverride: boolean } | undefined,
): LaunchTemplateOverrides {
  const own = override.LaunchTemplateSpecification;
  const template = own && templateOf(own, templatesOf(state));
  const version = template && choose(template);
  return {
    ...override,
    ...(version === undefined
      ? {}
      : { LaunchTemplateSpecification: { LaunchTemplateId: version.id, Version: version.version } }),
    ...(image !== undefined && (image.inEveryOverride || override.ImageId !== undefined)
      ? { ImageId: image.id }
      : {}),
  };
}

/** What the group launches from now, as a desired configuration: what a rollback of ours restores. */
export function savedConfiguration(state: TargetState): DesiredConfiguration {
  return configurationWith(state, (template) => template);
}

/** Whether a template takes its image from a parameter of Systems Manager (`resolve:ssm:…`). */
export function isAlias(imageId: string | undefined): boolean {
  return imageId?.startsWith("resolve:") === true;
}

/**
 * Sets the group to numbers and AMI ids: those that `$Latest`, `$Default` or an alias of Systems Manager mean now. Changes
 * nothing about what it launches, but from here on a new version is not a release by itself, and AWS can roll back, which
 * it refuses for any of the three (user guide: undo changes with a rollback; using Systems Manager parameters).
 */
export async function pinTemplates(
  clients: AwsClients,
  state: TargetState,
  waiting: Waiting,
): Promise<ReleaseVersions> {
  const [autoScaling, ec2] = await Promise.all([
    clients.autoScaling(state.target.region),
    clients.ec2(state.target.region),
  ]);
  const pinned = releaseVersions(
    await Promise.all(
      templatesOf(state).map(
        async (template) =>
          [
            template,
            isAlias(template.imageId) ? await withoutAlias(ec2, state.target, template) : { ...template },
          ] as const,
      ),
    ),
  );
  const configuration = configurationWith(state, pinned.choose);
  const update = new UpdateAutoScalingGroupCommand({
    AutoScalingGroupName: state.target.autoScalingGroup,
    ...(configuration.LaunchTemplate === undefined ? {} : { LaunchTemplate: configuration.LaunchTemplate }),
    ...(configuration.MixedInstancesPolicy === undefined
      ? {}
      : { MixedInstancesPolicy: configuration.MixedInstancesPolicy }),
  });
  await untilKnown(() => autoScaling.send(update), { ...waiting, of: [], isNotYet: isVersionUnseen });
  return pinned;
}

/** A version that names the AMI which the alias means now; the one that an earlier run made, where there is one. */
async function withoutAlias(
  ec2: EC2Client,
  target: Target,
  template: EffectiveTemplate,
): Promise<TemplateVersion> {
  const { LaunchTemplateVersions } = await ec2.send(
    new DescribeLaunchTemplateVersionsCommand({
      LaunchTemplateId: template.id,
      Versions: [template.version],
      ResolveAlias: true,
    }),
  );
  const imageId = LaunchTemplateVersions?.[0]?.LaunchTemplateData?.ImageId;
  if (imageId === undefined || isAlias(imageId)) {
    throw new KilnError(
      `${targetName(target)}: what ${template.imageId ?? "?"} means could not be found out`,
      {
        state: "Nothing was changed.",
        next: "See that the parameter exists and holds an AMI id, and that the role may do ssm:GetParameters.",
      },
    );
  }
  const description = `${DESCRIPTION_PREFIX}${imageId} for ${template.imageId ?? ""}, from version ${template.version}`;
  const text = description.slice(0, MAX_DESCRIPTION);
  return (
    (await findDescribed(ec2, template, imageId, text)) ??
    (await create(ec2, { target, template, description: text, data: { ImageId: imageId } }))
  );
}
