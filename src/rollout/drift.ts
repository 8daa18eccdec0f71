import { formatDuration } from "../domain/duration.ts";
import { inService, runsVersion, type TargetState } from "./target-state.ts";

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
    if (runsVersion(instance, recorded.template, recorded.imageId)) continue;
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
