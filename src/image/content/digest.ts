import { createHash } from "node:crypto";
import type { ImageRecipe } from "../../domain/application.ts";
import type { Digest } from "../../domain/image.ts";
import { byText } from "./paths.ts";

/** Raised when the list below means something else; it is part of every digest. */
export const FORMAT = 2;

/** One file that decides the image, as it is on disk. */
export interface ContentFile {
  /** Relative to the repository's root. */
  readonly path: string;
  /** `100644`, `100755` (executable), `120000` (symbolic link). */
  readonly mode: string;
  /** The id that git gives to the bytes on disk, without filters. */
  readonly object: string;
}

/** Everything that decides an image, as far as it can be known before the bake. */
export interface ImageContent extends Pick<
  ImageRecipe,
  "template" | "varFiles" | "workingDirectory" | "only" | "except"
> {
  readonly files: readonly ContentFile[];
  readonly vars: Readonly<Record<string, string>>;
  /** Those of `vars` that the template marks sensitive: no part of the digest. */
  readonly sensitive: ReadonlySet<string>;
  /** Variables of the environment that decide Packer variables. */
  readonly environment: Readonly<Record<string, string>>;
}

type Line = readonly [kind: string, ...texts: (string | number)[]];

/** SHA-256 over the canonical list. A pure function. */
export function digestOf(content: ImageContent): Digest {
  const lines: Line[] = [
    ["kiln-digest", FORMAT],
    ...settingLines(content),
    ...sortedFiles(content).map(({ mode, object, path }): Line => ["file", mode, object, path]),
    ...sortedEntries(content.vars)
      .filter(([name]) => !content.sensitive.has(name))
      .map((entry): Line => ["var", ...entry]),
    ...sortedEntries(content.environment).map((entry): Line => ["env", ...entry]),
  ];
  // One JSON text per line: unambiguous whatever the paths and values contain.
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

/**
 * The same list for people, one item per line, as git keeps it beside the image (docs/record.md). Values of variables are
 * hashed: they may be long, and only whether they differ is asked. Of sensitive ones, and of the environment's, even that is
 * left out: a short secret can be found by its hash, and a variable of the environment may hold one whatever its name.
 */
export function contentList(content: ImageContent): string {
  const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
  const lines = [
    `format ${FORMAT}`,
    ...settingLines(content).map(([kind, ...texts]) =>
      [kind, ...texts.map((text) => quoted(String(text)))].join(" "),
    ),
    ...sortedFiles(content).map(({ mode, object, path }) => `${mode} ${object} ${quoted(path)}`),
    ...sortedEntries(content.vars).map(
      ([name, value]) => `var ${quoted(name)} ${content.sensitive.has(name) ? "sensitive" : hash(value)}`,
    ),
    ...sortedEntries(content.environment).map(([name]) => `env ${quoted(name)} hidden`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** What Packer is told to build. The order of variable files counts, that of builds does not. */
function settingLines({ template, workingDirectory, varFiles, only, except }: ImageContent): Line[] {
  const builds = (names: readonly string[] | undefined): string[] => [...new Set(names)].sort(byText);
  return [
    ["template", template],
    ...(workingDirectory === undefined || workingDirectory === "."
      ? []
      : [["working-directory", workingDirectory] as const]),
    ...varFiles.map((path): Line => ["var-file", path]),
    ...builds(only).map((name): Line => ["only", name]),
    ...builds(except).map((name): Line => ["except", name]),
  ];
}

function sortedFiles({ files }: ImageContent): readonly ContentFile[] {
  return files.toSorted((a, b) => byText(a.path, b.path));
}

function sortedEntries(values: Readonly<Record<string, string>>): [name: string, value: string][] {
  return Object.entries(values).sort(([a], [b]) => byText(a, b));
}

/** A path may contain a line break or bytes that are not UTF-8: what could be read as something else is a JSON text. */
export const quoted = (path: string): string =>
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}"\\]/u.test(path) ? JSON.stringify(path) : path;
