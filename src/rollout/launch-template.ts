import { createHash } from "node:crypto";
import { type DesiredConfiguration, UpdateAutoScalingGroupCommand } from "@aws-sdk/client-auto-scaling";
import {
  CreateLaunchTemplateVersionCommand,
  DescribeLaunchTemplateVersionsCommand,
  type EC2Client,
} from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { targetName } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import type { TargetState } from "./target-state.ts";

/** A launch template version, pinned by number. */
export interface TemplateVersion {
  readonly id: string;
  readonly name: string;
  readonly version: string;
}

/** What a release changes in the launch template. */
export interface TemplateChange {
  readonly imageId: ImageId;
  readonly imageName: string;
  readonly instanceType: string | undefined;
}

/** Longest description of a version (EC2 API reference, CreateLaunchTemplateVersion, VersionDescription). */
const MAX_DESCRIPTION = 255;

/** Says what a version is and what it was made from: versions cannot be tagged, so this is how ours are known again. */
function describe(state: TargetState, change: TemplateChange): string {
  const text = `Kiln: ${change.imageName} ${change.imageId}${change.instanceType === undefined ? "" : ` on ${change.instanceType}`}, from version ${state.template.version}`;
  return text.slice(0, MAX_DESCRIPTION);
}

/** The version that an earlier run of this release made from the same source, if there is one. */
export async function findTemplateVersion(
  ec2: EC2Client,
  state: TargetState,
  change: TemplateChange,
): Promise<TemplateVersion | undefined> {
  const description = describe(state, change);
  let token: string | undefined;
  do {
    const page = await ec2.send(
      new DescribeLaunchTemplateVersionsCommand({
        LaunchTemplateId: state.template.id,
        Filters: [{ Name: "image-id", Values: [change.imageId] }],
        MaxResults: 200,
        ...(token === undefined ? {} : { NextToken: token }),
      }),
    );
    const found = page.LaunchTemplateVersions?.find((version) => version.VersionDescription === description);
    if (found?.VersionNumber !== undefined) return toVersion(state, found.VersionNumber);
    token = page.NextToken;
  } while (token !== undefined);
  return undefined;
}

/**
 * Makes the version of a release from the one that is effective now, with only the image (and the environment's
 * instance type) changed. The client token is the same for a run and its re-run.
 * @throws KilnError where AWS says at once that instances could not be launched from it
 */
export async function createTemplateVersion(
  ec2: EC2Client,
  state: TargetState,
  change: TemplateChange,
): Promise<TemplateVersion> {
  const description = describe(state, change);
  const { LaunchTemplateVersion, Warning } = await ec2.send(
    new CreateLaunchTemplateVersionCommand({
      LaunchTemplateId: state.template.id,
      SourceVersion: state.template.version,
      VersionDescription: description,
      LaunchTemplateData: {
        ImageId: change.imageId,
        ...(change.instanceType === undefined ? {} : { InstanceType: change.instanceType as never }),
      },
      ClientToken: createHash("sha256").update(`${state.template.id}\n${description}`).digest("hex"),
    }),
  );
  const number = LaunchTemplateVersion?.VersionNumber;
  const errors = (Warning?.Errors ?? []).map((error) => `${error.Code ?? ""}: ${error.Message ?? ""}`);
  if (number === undefined || errors.length > 0) {
    throw new KilnError(
      `${targetName(state.target)}: AWS would not launch instances from the new version of ${state.template.name}`,
      {
        state: `The group is as it was, on version ${state.template.version}. ${errors.join("; ")}`,
        next: "Correct the launch template's settings that AWS names, then run the job again.",
      },
    );
  }
  return toVersion(state, number);
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

function toVersion(state: TargetState, number: number): TemplateVersion {
  return { id: state.template.id, name: state.template.name, version: String(number) };
}

/**
 * The group's configuration with another template version: the mixed instances policy whole, else the template alone.
 * Sending only the template to a group with a policy would drop the policy (user guide: start an instance refresh).
 */
export function configurationWith(state: TargetState, version: TemplateVersion): DesiredConfiguration {
  const specification = { LaunchTemplateId: version.id, Version: version.version };
  const policy = state.mixedInstancesPolicy;
  if (policy === undefined) return { LaunchTemplate: specification };
  return {
    MixedInstancesPolicy: {
      ...policy,
      LaunchTemplate: { ...policy.LaunchTemplate, LaunchTemplateSpecification: specification },
    },
  };
}

/**
 * Sets the group to the number that `$Latest` or `$Default` means now. Changes nothing about what it launches, but from
 * here on a new version is not a release by itself, and AWS can roll back (user guide: undo changes with a rollback).
 */
export async function pinTemplate(clients: AwsClients, state: TargetState): Promise<void> {
  const autoScaling = await clients.autoScaling(state.target.region);
  const configuration = configurationWith(state, { ...state.template });
  await autoScaling.send(
    new UpdateAutoScalingGroupCommand({
      AutoScalingGroupName: state.target.autoScalingGroup,
      ...(configuration.LaunchTemplate === undefined ? {} : { LaunchTemplate: configuration.LaunchTemplate }),
      ...(configuration.MixedInstancesPolicy === undefined
        ? {}
        : { MixedInstancesPolicy: configuration.MixedInstancesPolicy }),
    }),
  );
}
