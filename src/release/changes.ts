import type {
  CommitChanges,
  ContentChanges,
  PackageChanges,
  ReleaseChanges,
  TargetChange,
} from "../domain/changes.ts";
import { printable } from "../domain/printable.ts";

/** Names that a line shows of each kind; the count is always there. */
const NAMES_SHOWN = 3;
/** Packages and files of each kind that are kept for the result and the summary's table. */
const KEPT = 200;
/** Longest name that a line shows, characters; of a path its end tells more. */
const NAME_LENGTH = 100;
/** Commits that a record names. */
export const COMMITS_SHOWN = 5;
/** Longest commit subject that is shown, characters. */
const SUBJECT_LENGTH = 100;

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What is different between two images' `packages.txt`: a package in several versions is compared as a whole. */
export function comparePackages(before: string, after: string): PackageChanges {
  const [old, now] = [versionsByName(before), versionsByName(after)];
  const changed: { name: string; from: string; to: string }[] = [];
  const added: { name: string; version: string }[] = [];
  const removed: { name: string; version: string }[] = [];
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const [had, has] = [old.get(name) ?? [], now.get(name) ?? []];
    const [left, came] = [without(had, has), without(has, had)];
    if (left !== "" && came !== "") changed.push({ name, from: left, to: came });
    else if (came !== "") added.push({ name, version: came });
    else if (left !== "") removed.push({ name, version: left });
  }
  const first = <T extends { readonly name: string }>(all: readonly T[]): T[] =>
    all.toSorted((a, b) => byText(a.name, b.name)).slice(0, KEPT);
  return {
    counts: { changed: changed.length, added: added.length, removed: removed.length },
    changed: first(changed),
    added: first(added),
    removed: first(removed),
  };
}

/** The versions of one that the other does not have. */
const without = (versions: readonly string[], others: readonly string[]): string =>
  versions.filter((version) => !others.includes(version)).join(", ");

/** Versions in the list's own order. */
function versionsByName(packages: string): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const line of packages.split("\n")) {
    const match = /^(\S{1,200}) (\S{1,100})$/.exec(line);
    const [, name, version] = match ?? [];
    if (name === undefined || version === undefined) continue;
    const known = byName.get(name);
    if (known === undefined) byName.set(name, [version]);
    else known.push(version);
  }
  return byName;
}

/** What is different between two images' `content.txt`. */
export function compareContent(before: string, after: string): ContentChanges {
  const [old, now] = [readContent(before), readContent(after)];
  const difference = (
    kind: "files" | "variables",
  ): { changed: string[]; added: string[]; removed: string[] } => ({
    changed: [...now[kind]]
      .filter(([key, value]) => (old[kind].get(key) ?? value) !== value)
      .map(([key]) => key),
    added: [...now[kind].keys()].filter((key) => !old[kind].has(key)),
    removed: [...old[kind].keys()].filter((key) => !now[kind].has(key)),
  });
  const [files, variables] = [difference("files"), difference("variables")];
  const settings = SETTINGS.flatMap(([name]): string[] => {
    const [was, is] = [old.settings.get(name) ?? "none", now.settings.get(name) ?? "none"];
    return was === is ? [] : [`${name}: ${was} → ${is}`];
  });
  const told = [
    ...variables.changed.map((name) => `${name} changed`),
    ...variables.added.map((name) => `${name} added`),
    ...variables.removed.map((name) => `${name} removed`),
  ];
  return {
    counts: {
      changed: files.changed.length,
      added: files.added.length,
      removed: files.removed.length,
    },
    changed: files.changed.sort(byText),
    added: files.added.sort(byText),
    removed: files.removed.sort(byText),
    variables: [...settings, ...told.sort(byText)],
  };
}

/** The same, short enough for a result. */
export function boundedContent(content: ContentChanges): ContentChanges {
  return {
    counts: content.counts,
    changed: content.changed.slice(0, KEPT),
    added: content.added.slice(0, KEPT),
    removed: content.removed.slice(0, KEPT),
    variables: content.variables.slice(0, KEPT),
  };
}

interface ContentList {
  /** What Packer is told, by the names of {@link SETTINGS}. */
  readonly settings: Map<string, string>;
  readonly files: Map<string, string>;
  readonly variables: Map<string, string>;
}

/** What a list has besides files and variables: its name for people, and what its line begins with. */
const SETTINGS = [
  // If it changes, every digest does, whatever else is the same.
  ["digest format", "format"],
  ["template", "template"],
  ["working directory", "working-directory"],
  ["variable files", "var-file"],
  ["only", "only"],
  ["except", "except"],
] as const;

/** The format of lists that do not name it. */
const FIRST_FORMAT = "1";

function readContent(content: string): ContentList {
  const list: ContentList = {
    settings: new Map([["digest format", FIRST_FORMAT]]),
    files: new Map(),
    variables: new Map(),
  };
  for (const line of content.split("\n")) {
    const [, what = "", value = "", path = ""] = /^(\S+) (\S+)(?: (.*))?$/.exec(line) ?? [];
    const [setting] = SETTINGS.find(([, kind]) => line.startsWith(`${kind} `)) ?? [];
    if (setting !== undefined) addSetting(list.settings, setting, line.slice(line.indexOf(" ") + 1));
    else if (what === "var") list.variables.set(value, path);
    else if (what === "env") list.variables.set(`${value} of the environment`, path);
    else if (/^\d{6}$/.test(what)) list.files.set(path, `${what} ${value}`);
  }
  return list;
}

/** Of several lines of a kind the order counts: variable files. */
function addSetting(settings: Map<string, string>, name: string, value: string): void {
  const known = name === "digest format" || name === "template" ? undefined : settings.get(name);
  settings.set(name, known === undefined ? value : `${known}, ${value}`);
}

const isSetting = (text: string): boolean => SETTINGS.some(([name]) => text.startsWith(`${name}: `));

/** `2 files changed (app/server.py, packer/web.pkr.hcl), variable nginx_version changed`; empty where nothing is. */
export function describeContent({ counts, changed, added, removed, variables }: ContentChanges): string {
  const files = (what: string, number: number, paths: readonly string[]): string[] =>
    number === 0 ? [] : [`${count(number, "file")} ${what} (${few(paths, number)})`];
  const told = variables.slice(0, NAMES_SHOWN).map(shortened);
  const left = variables.length - told.length;
  return [
    ...files("changed", counts.changed, changed),
    ...files("added", counts.added, added),
    ...files("removed", counts.removed, removed),
    ...told.map((text) => (isSetting(text) ? text : `variable ${text}`)),
    ...(left > 0 ? [count(left, "more variable")] : []),
  ]
    .map(printable)
    .join(", ");
}

/** The whole of it, a line each, for those who look closely. */
export function listContent({ changed, added, removed, variables }: ContentChanges): string[] {
  return [
    ...changed.map((path) => `changed: ${path}`),
    ...added.map((path) => `added: ${path}`),
    ...removed.map((path) => `removed: ${path}`),
    ...variables.map((text) => (isSetting(text) ? text : `variable: ${text}`)),
  ].map(printable);
}

/** One thing that a release changes, and what is listed below it. */
export interface ChangeLine {
  readonly text: string;
  readonly below: readonly string[];
}

/**
 * What a release changes against the one before it, for people; pure. Text from outside (commits' subjects, packages'
 * names) is one line each, and never begins one.
 */
export function describeChanges(changes: ReleaseChanges): ChangeLine[] {
  const { commits, packages, baseImage, content, targets = [] } = changes;
  const line = (text: string): ChangeLine => ({ text, below: [] });
  return [
    ...(commits === undefined ? [] : [describeCommits(commits)]),
    ...(content === undefined || describeContent(content) === ""
      ? []
      : [line(`content: ${describeContent(content)}`)]),
    ...(packages === undefined ? [] : [line(`packages: ${describePackages(packages)}`)]),
    ...(baseImage === undefined ? [] : [line(`base image: ${baseImage.from} → ${baseImage.to}`)]),
    ...targets.map((target) => line(`launch template of ${target.target}: ${describeTarget(target)}`)),
  ];
}

export function describeTarget({ image, instanceType }: TargetChange): string {
  return [
    ...(image === undefined ? [] : [`image ${image.from} → ${image.to}`]),
    ...(instanceType === undefined ? [] : [`instance type ${instanceType.from} → ${instanceType.to}`]),
  ].join(", ");
}

function describeCommits({ added, takenBack, listed, newest, url }: CommitChanges): ChangeLine {
  const shown = newest.slice(0, COMMITS_SHOWN);
  const left = (listed === "added" ? added : takenBack) - shown.length;
  return {
    text: `${countCommits({ added, takenBack })}: ${url}`,
    below: [
      ...shown.map(({ commit, subject }) => `${commit.slice(0, 7)} ${subject}`),
      ...(shown.length > 0 && left > 0 ? [`… and ${left} more`] : []),
    ],
  };
}

/** `3 commits`, `takes back 2 commits`, or both. */
export function countCommits({ added, takenBack }: Pick<CommitChanges, "added" | "takenBack">): string {
  const parts = [
    ...(added === 0 ? [] : [count(added, "commit")]),
    ...(takenBack === 0 ? [] : [`takes back ${count(takenBack, "commit")}`]),
  ];
  return parts.length === 0 ? "no commits" : parts.join(", ");
}

/** The same as a paragraph of a record: a list, what is below a line indented. Empty where nothing is known to change. */
export function changesParagraph(changes: ReleaseChanges): string {
  const lines = describeChanges(changes).flatMap(({ text, below }) => [
    `- ${text}`,
    ...below.map((inner) => `  ${inner}`),
  ]);
  return lines.length === 0 ? "" : [`Since ${changes.since}:`, ...lines].join("\n");
}

/** A commit's subject as it is shown: one line of printable text, not too long. */
export function shownSubject(subject: string): string {
  const line = printable(subject.replace(/[\r\n]/g, " ")).trim();
  if (line.length <= SUBJECT_LENGTH) return line;
  // The cut may go through a character.
  return `${line.slice(0, SUBJECT_LENGTH - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** `1 changed (nginx 1.24 → 1.26), 2 added (curl 8.5, jq 1.7)`. */
export function describePackages({ counts, changed, added, removed }: PackageChanges): string {
  const part = (number: number, what: string, names: readonly string[]): string[] =>
    number === 0 ? [] : [`${number} ${what} (${few(names, number)})`];
  const parts = [
    ...part(
      counts.changed,
      "changed",
      changed.map(({ name, from, to }) => `${name} ${from} → ${to}`),
    ),
    ...part(
      counts.added,
      "added",
      added.map(({ name, version }) => `${name} ${version}`),
    ),
    ...part(
      counts.removed,
      "removed",
      removed.map(({ name, version }) => `${name} ${version}`),
    ),
  ];
  return parts.length === 0 ? "the same" : printable(parts.join(", "));
}

function few(names: readonly string[], total: number): string {
  const shown = names.slice(0, NAMES_SHOWN).map(shortened).join(", ");
  return total > NAMES_SHOWN ? `${shown}, …` : shown;
}

/** The end of a long text, beginning with a whole character. */
function shortened(text: string): string {
  return text.length <= NAME_LENGTH
    ? text
    : `…${text.slice(1 - NAME_LENGTH).replace(/^[\uDC00-\uDFFF]/, "")}`;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
