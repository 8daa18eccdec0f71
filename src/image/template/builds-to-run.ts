import picomatch from "picomatch";
import type { ImageRecipe } from "../../domain/application.ts";
import type { BuilderFacts } from "./builders.ts";
import type { TemplateFacts } from "./template-facts.ts";

/** The builds that Packer runs with `only` and `except`. */
export interface BuildsToRun {
  /** Their builders; what a build adds to a source is one more. */
  readonly builders: readonly BuilderFacts[];
  /** The names of all builds of the template, as `-only` takes them. */
  readonly names: readonly string[];
  /** Items of `only` that name none of them. */
  readonly unmatched: readonly string[];
}

/**
 * Which builds of a template Packer runs. In HCL2 `-only` and `-except` take globs over `<build's name>.<type>.<name>`, in
 * legacy templates the builders' names (Packer's documentation, "packer build").
 */
export function buildsToRun(
  { legacy, builders, builds }: Pick<TemplateFacts, "legacy" | "builders" | "builds">,
  { only, except }: Pick<ImageRecipe, "only" | "except">,
): BuildsToRun {
  const matches = (pattern: string, name: string): boolean =>
    legacy ? pattern === name : picomatch.isMatch(name, pattern, GLOB);
  const all = builds.flatMap(({ name, sources }) =>
    sources.flatMap((source) =>
      namesOf(source, builders).map((own) => ({
        source,
        name: name === undefined ? own : `${name}.${own}`,
      })),
    ),
  );
  // A name that is made of a variable is not known here: then nothing can be left out, and nothing be wrong.
  const isKnown =
    all.length > 0 && builds.every((build) => build.isKnown) && all.every(({ name }) => !name.includes("{{"));
  const selected = all.filter(
    ({ name }) =>
      (only?.some((pattern) => matches(pattern, name)) ?? true) &&
      !(except?.some((pattern) => matches(pattern, name)) ?? false),
  );
  const running = new Set((isKnown ? selected : all).map(({ source }) => source));
  return {
    builders: builders.filter(({ type, name }) => !isKnown || running.has(legacy ? name : `${type}.${name}`)),
    names: all.map(({ name }) => name),
    unmatched: isKnown
      ? (only ?? []).filter((pattern) => !all.some(({ name }) => matches(pattern, name)))
      : [],
  };
}

/** Packer's globs have no separators: `*` takes dots too. */
const GLOB = { dot: true, noextglob: true, nonegate: true } as const;

/** A source's names in builds: its own, and those that builds give it (`source "amazon-ebs.web" { name = "x" }`). */
function namesOf(source: string, builders: readonly BuilderFacts[]): readonly string[] {
  const [type, name] = source.split(".");
  const local = builders.flatMap((builder) => {
    const value = builder.attributes.get("name")?.value;
    return builder.type === type && builder.name === name && typeof value === "string"
      ? [`${type}.${value}`]
      : [];
  });
  return [source, ...local];
}
