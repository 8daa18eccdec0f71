import { markdownTable } from "markdown-table";
import type { PackageChanges } from "../domain/changes.ts";
import { countCommits, describeContent, describePackages, describeTarget } from "../release/changes.ts";
import { statusTable } from "../release/status-table.ts";
import type { EnvironmentResult, Outcome, PruneResult, Result, TargetEnd } from "../domain/result.ts";
import { parseReleaseTag } from "../domain/release-tag.ts";
import { retirementTable } from "../image/retirement-table.ts";
import { cell, code, fence, html, items, link } from "./markdown.ts";

/** Where a summary's links lead. */
export interface SummaryLinks {
  readonly serverUrl: string;
  readonly repository: string;
}

/** The largest summary that the runner keeps is 1 MiB; over it the whole of it is dropped. */
const MAX_BYTES = 1_000_000;
/** Rows of a table and items of a list, where there may be any number. */
const MAX_ROWS = 200;

/** The job summary as Markdown; a pure function of the result. */
export function renderSummary(result: Result, links: SummaryLinks): string {
  const parts = [
    `## ${heading(result)}`,
    ...(result.error === undefined ? [] : [renderError(result.error)]),
    ...(result.status === undefined ? [] : [statusTable(result.status, cell)]),
    ...(result.prune === undefined ? [] : pruneParts(result.prune, result.outcome === "planned")),
    ...(result.environments.length > 0 ? [environmentsTable(result, links)] : []),
    ...(result.image === undefined ? [] : [imageTable(result, links)]),
    ...result.environments.flatMap((environment) => environmentDetails(environment, links)),
  ];
  return `${fitting(parts).join("\n\n")}\n`;
}

/** As many of the parts, whole, as the runner keeps. */
function fitting(parts: readonly string[]): readonly string[] {
  let left = MAX_BYTES;
  const tooMany = parts.findIndex((part) => (left -= Buffer.byteLength(part) + 2) < 0);
  if (tooMany === -1) return parts;
  return [...parts.slice(0, tooMany), "(cut: the summary was longer than the runner keeps)"];
}

function heading({ command, outcome, status }: Result): string {
  if (status !== undefined)
    return status.some(({ drift }) => drift.length > 0) ? "⚠️ Status: drift" : "✅ Status";
  if (outcome === "succeeded" && command === "bake") return "✅ Baked";
  if (outcome === "succeeded" && command === "prune") return "✅ Pruned";
  if (outcome === "succeeded" && command === "rollback") return "✅ Restored an earlier release";
  return HEADINGS[outcome];
}

const HEADINGS: Readonly<Record<Outcome, string>> = {
  succeeded: "✅ Released",
  unchanged: "✅ Nothing to do",
  skipped: "⏭️ Skipped",
  planned: "📋 Plan (dry run)",
  "rolled-back": "↩️ Rolled back",
  failed: "❌ Failed",
};

const IN_A_ROW: Readonly<Record<Outcome, string>> = {
  succeeded: "✅ released",
  unchanged: "✅ unchanged",
  skipped: "⏭️ skipped",
  planned: "📋 planned",
  "rolled-back": "↩️ rolled back",
  failed: "❌ failed",
};

function renderError(error: NonNullable<Result["error"]>): string {
  const lines = [
    error.message,
    ...(error.state === undefined ? [] : [error.state]),
    ...(error.next === undefined ? [] : [`Next: ${error.next}`]),
  ];
  return fence(lines.join("\n\n"));
}

function environmentsTable(result: Result, links: SummaryLinks): string {
  const rows = result.environments.map((environment) => {
    const targets = environment.targets ?? [];
    const verified = targets.flatMap((target) => target.verified ?? []);
    const seconds = targets.flatMap((target) => target.seconds ?? []);
    return [
      cell(environment.environment),
      IN_A_ROW[environment.outcome],
      environment.release === undefined ? "" : releaseLink(environment.release, links),
      environment.previousRelease === undefined ? "" : releaseLink(environment.previousRelease, links),
      targets.map((target) => code(`${target.region}/${target.autoScalingGroup}`)).join(", "),
      verified.length === 0 ? "" : `${verified.reduce((all, each) => all + each, 0)} verified`,
      seconds.length === 0 ? "" : `${Math.max(...seconds)} s`,
    ];
  });
  return markdownTable([
    ["Environment", "Outcome", "Release", "Before", "Target", "Instances", "Refresh"],
    ...rows,
  ]);
}

function pruneParts(prune: PruneResult, planned: boolean): string[] {
  const { images, kept, gigabytes } = prune;
  const size = gigabytes === 0 ? "" : ` Snapshots of ${gigabytes} GB ${planned ? "would go" : "went"}.`;
  return [
    ...(images.length === 0
      ? []
      : [retirementTable({ ...prune, images: images.slice(0, MAX_ROWS) }, planned, cell)]),
    ...(images.length > MAX_ROWS ? [`… and ${images.length - MAX_ROWS} more`] : []),
    `${kept} ${kept === 1 ? "image" : "images"} kept.${size}`,
  ];
}

/** Where each target of an environment ended, where there are several. */
function targetsTable({ environment, targets = [] }: EnvironmentResult): string[] {
  if (targets.length < 2) return [];
  const rows = targets.map((target) => [
    code(`${target.region}/${target.autoScalingGroup}`),
    target.ended === undefined ? "" : TARGET_IN_A_ROW[target.ended],
    target.launchTemplateVersion === undefined ? "" : `version ${cell(target.launchTemplateVersion)}`,
    target.verified === undefined ? "" : `${target.verified} verified`,
    target.seconds === undefined ? "" : `${target.seconds} s`,
  ]);
  return [
    `**Targets of ${cell(environment)}**\n\n${markdownTable([["Target", "Ended", "Launch template", "Instances", "Refresh"], ...rows])}`,
  ];
}

const TARGET_IN_A_ROW: Readonly<Record<TargetEnd, string>> = {
  released: "✅ on the new release",
  "rolled-back": "↩️ back on what it ran before",
  unchanged: "⏸️ untouched",
  failed: "❌ not back: see the error",
};

/** A record may say that it follows anything: only what can be a record's name leads somewhere. */
function releaseLink(tag: string, { serverUrl, repository }: SummaryLinks): string {
  if (parseReleaseTag(tag) === undefined) return cell(tag);
  return link(cell(tag), `${serverUrl}/${repository}/releases/tag/${tag}`);
}

/** An image's tag may say that it was baked from anything. */
function commitLink(commit: string, { serverUrl, repository }: SummaryLinks): string {
  const words = code(commit.slice(0, 12));
  return /^[0-9a-f]{40,64}$/.test(commit)
    ? link(words, `${serverUrl}/${repository}/commit/${commit}`)
    : words;
}

function imageTable(result: Result, links: SummaryLinks): string {
  const { image } = result;
  if (image === undefined) return "";
  const rows: string[][] = [];
  const row = (name: string, value: string | undefined): void => {
    if (value !== undefined) rows.push([name, value]);
  };
  row("Application", result.application && cell(result.application));
  row("Commit", result.commit && commitLink(result.commit, links));
  row("Version", result.version && code(result.version));
  row("Image", image.name && code(image.name));
  for (const [region, id] of Object.entries(image.ids ?? {})) row(`AMI in ${cell(region)}`, code(id));
  row(
    "Baked",
    image.baked === undefined
      ? undefined
      : image.baked
        ? "by this run"
        : `earlier: ${cell(image.created ?? "?")}${image.commit === undefined ? "" : ` from ${commitLink(image.commit, links)}`}`,
  );
  for (const [region, id] of Object.entries(image.baseImages ?? {}))
    row(`Base image in ${cell(region)}`, code(id));
  row("Phases", image.phases?.map(({ phase, seconds }) => `${cell(phase)} ${seconds} s`).join(", "));
  row("Digest", code(image.digest));
  return markdownTable([["Image", ""], ...rows]);
}

/** What a release changes against the one before it; nothing where nothing of it is known. */
function changesBlock({ environment, changes }: EnvironmentResult, links: SummaryLinks): string[] {
  if (changes === undefined) return [];
  const { commits, content, packages, baseImage, targets = [] } = changes;
  const told = content === undefined ? "" : describeContent(content);
  const lines = [
    ...(changes.sameContent ? ["the same content"] : []),
    ...(commits === undefined
      ? []
      : [
          link(cell(countCommits(commits)), commits.url),
          ...commits.newest.map(({ commit, subject }) => `  - ${code(commit.slice(0, 7))} ${cell(subject)}`),
        ]),
    ...(told === "" ? [] : [`content: ${cell(told)}`]),
    ...(baseImage === undefined ? [] : [`base image: ${code(baseImage.from)} → ${code(baseImage.to)}`]),
    ...targets.map((target) => `launch template of ${code(target.target)}: ${cell(describeTarget(target))}`),
    ...(packages === undefined ? [] : [`packages: ${cell(describePackages(packages))}`]),
  ].map((line) => (line.startsWith("  - ") ? line : `- ${line}`));
  if (lines.length === 0) return [];
  return [
    `### Changes of ${cell(environment)} since ${releaseLink(changes.since, links)}\n\n${lines.join("\n")}`,
    ...(packages === undefined ? [] : packagesTable(packages)),
  ];
}

/** All packages that are kept of the comparison, folded: an update of the base image changes hundreds. */
function packagesTable({ counts, changed, added, removed }: PackageChanges): string[] {
  const rows = [
    ...changed.map(({ name, from, to }) => [code(name), code(from), code(to)]),
    ...added.map(({ name, version }) => [code(name), "", code(version)]),
    ...removed.map(({ name, version }) => [code(name), code(version), ""]),
  ];
  if (rows.length === 0) return [];
  const left = counts.changed + counts.added + counts.removed - rows.length;
  const table = markdownTable([["Package", "Before", "Now"], ...rows]);
  const more = left > 0 ? `\n\n… and ${left} more` : "";
  const numbers = `${counts.changed} changed, ${counts.added} added, ${counts.removed} removed`;
  return [`<details><summary>Packages: ${numbers}</summary>\n\n${table}${more}\n\n</details>`];
}

function environmentDetails(environment: EnvironmentResult, links: SummaryLinks): string[] {
  const parts: string[] = [...targetsTable(environment), ...changesBlock(environment, links)];
  if (environment.warnings !== undefined && environment.warnings.length > 0) {
    parts.push(
      `**Warnings for ${cell(environment.environment)}**\n\n${items(environment.warnings, MAX_ROWS)}`,
    );
  }
  if (environment.plan !== undefined) {
    const open = environment.outcome === "planned" ? " open" : "";
    parts.push(
      `<details${open}><summary>Plan for ${html(environment.environment)}</summary>\n\n${items(environment.plan, MAX_ROWS)}\n\n</details>`,
    );
  }
  if (environment.unrecorded !== undefined) {
    parts.push(
      `**The record that could not be written for ${cell(environment.environment)}** (the next run of the same job writes it)\n\n${fence(environment.unrecorded)}`,
    );
  }
  return parts;
}
