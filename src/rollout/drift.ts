import { formatDuration } from "../domain/duration.ts";
import { inService, runsVersion, type TargetInstance, type TargetState } from "./target-state.ts";

/** What the newest record says that a target runs. */
export interface Recorded {
  readonly release: string;
  readonly imageId: string;
  readonly template: { readonly id: string; readonly version: string };
}

/** What can be said of images other than the recorded one. */
export interface KnownImages {
  /** The image that each template version in use launches, by `<template>@<version>`, where it could be read. */
  readonly ofVersions: ReadonlyMap<string, string>;
  /** The release that an image was. */
  readonly releases: ReadonlyMap<string, number>;
}

/**
 * Whether an instance runs what the record says. Overrides of a policy may have templates of their own, which the record
 * does not name: what they launch now counts where it is the record's image.
 */
export function runsRecorded(state: TargetState, instance: TargetInstance, recorded: Recorded): boolean {
  const own = state.overrideTemplates.filter(({ imageId }) => imageId === recorded.imageId);
  return runsVersion(instance, [recorded.template, ...own], recorded.imageId);
}

/**
 * In words, how a target differs from what its newest record says; empty where it does not. Pure.
 */
export function driftOf(
  state: TargetState,
  recorded: Recorded,
  known: KnownImages,
  now: Date,
): readonly string[] {
  const drift: string[] = [];
  const serving = inService(state);
  const { template, activeRefresh } = state;
  const strangers = new Map<string, number>();
  for (const instance of serving) {
    if (runsRecorded(state, instance, recorded)) continue;
    const image =
      instance.imageId ??
      known.ofVersions.get(`${instance.templateId ?? ""}@${instance.templateVersion ?? ""}`) ??
      `version ${instance.templateVersion ?? "?"} of its template`;
    strangers.set(image, (strangers.get(image) ?? 0) + 1);
  }
  for (const [image, count] of strangers) {
    const release = known.releases.get(image);
    drift.push(
      `${count} of ${serving.length} instances run ${image}${release === undefined ? "" : `, the image of release ${release}`}`,
    );
  }
  if (template.id !== recorded.template.id || template.version !== recorded.template.version) {
    drift.push(
      `the group launches from version ${template.version} of ${template.name} (${template.imageId ?? "no image"}), ${recorded.release} says ${recorded.template.version}`,
    );
  } else if (template.written !== template.version) {
    drift.push(`the group launches from ${template.written}, which the next template version changes`);
  }
  if (activeRefresh !== undefined) {
    const started = activeRefresh.StartTime;
    drift.push(
      `a refresh is running${started === undefined ? "" : ` since ${formatDuration(now.getTime() - started.getTime())}`}: ${activeRefresh.Status ?? "?"} ${activeRefresh.PercentageComplete ?? 0} %`,
    );
  }
  return drift;
}
