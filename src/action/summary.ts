import { markdownTable } from "markdown-table";
import type { PackageChanges } from "../domain/changes.ts";
import { countCommits, describeContent, describePackages, describeTarget } from "../release/changes.ts";
import { statusTable } from "../release/status-table.ts";
import type { EnvironmentResult, Outcome, PruneResult, Result, TargetEnd } from "../domain/result.ts";
import { retirementTable } from "../image/retirement-table.ts";

/** Where a summary's links lead. */
export interface SummaryLinks {
  readonly serverUrl: string;
  readonly repository: string;
}

/** The largest summary that the runner keeps is 1 MiB; over it the whole of it is dropped. */
const MAX_BYTES = 1_000_000;

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
  const text = `${parts.join("\n\n")}\n`;
  if (Buffer.byteLength(text) <= MAX_BYTES) return text;
  return `${Buffer.from(text).subarray(0, MAX_BYTES).toString("utf8")}\n\n(cut: the summary was longer than the runner keeps)\n`;
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

/** A code block whose fence nothing in the text can close. */
function fence(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = "`".repeat(longest + 1);
  return `${ticks}text\n${text.trimEnd()}\n${ticks}`;
}

/** Text of a cell: nothing in it is read as Markdown's own. */
function cell(text: string): string {
  return text.replace(/[\\`*_{}[\]<>|]/g, (character) => `\\${character}`).replace(/\s+/g, " ");
}

const code = (text: string): string =>
  text.includes("`") ? cell(text) : `\`${text.replace(/\s+/g, " ").replaceAll("|", "\\|")}\``;

/** Text within a line of HTML, where Markdown's escapes would be shown. */
const html = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

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
    ...(images.length === 0 ? [] : [retirementTable(prune, planned, cell)]),
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

function releaseLink(tag: string, { serverUrl, repository }: SummaryLinks): string {
  return `[${cell(tag)}](${serverUrl}/${repository}/releases/tag/${encodeURI(tag)})`;
}

function imageTable(result: Result, { serverUrl, repository }: SummaryLinks): string {
  const { image } = result;
  if (image === undefined) return "";
  const commitLink = (commit: string): string =>
    `[${code(commit.slice(0, 12))}](${serverUrl}/${repository}/commit/${commit})`;
  const rows: string[][] = [];
  const row = (name: string, value: string | undefined): void => {
    if (value !== undefined) rows.push([name, value]);
  };
  row("Application", result.application && cell(result.application));
  row("Commit", result.commit && commitLink(result.commit));
  row("Version", result.version && code(result.version));
  row("Image", image.name && code(image.name));
  for (const [region, id] of Object.entries(image.ids ?? {})) row(`AMI in ${region}`, code(id));
  row(
    "Baked",
    image.baked === undefined
      ? undefined
      : image.baked
        ? "by this run"
        : `earlier: ${image.created ?? "?"}${image.commit === undefined ? "" : ` from ${commitLink(image.commit)}`}`,
  );
  for (const [region, id] of Object.entries(image.baseImages ?? {})) row(`Base image in ${region}`, code(id));
  row("Phases", image.phases?.map(({ phase, seconds }) => `${phase} ${seconds} s`).join(", "));
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
          `[${cell(countCommits(commits))}](${encodeURI(commits.url)})`,
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
      `**Warnings for ${cell(environment.environment)}**\n\n${environment.warnings.map((warning) => `- ${cell(warning)}`).join("\n")}`,
    );
  }
  if (environment.plan !== undefined) {
    const open = environment.outcome === "planned" ? " open" : "";
    parts.push(
      `<details${open}><summary>Plan for ${html(environment.environment)}</summary>\n\n${environment.plan.map((line) => `- ${cell(line)}`).join("\n")}\n\n</details>`,
    );
  }
  if (environment.unrecorded !== undefined) {
    parts.push(
      `**The record that could not be written for ${cell(environment.environment)}** (the next run of the same job writes it)\n\n${fence(environment.unrecorded)}`,
    );
  }
  return parts;
}
