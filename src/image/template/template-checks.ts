import type { ImageRecipe } from "../../domain/application.ts";
import type { Problem } from "../../domain/errors.ts";
import type { AttributeFact, BuilderFacts } from "./builders.ts";
import { buildsToRun } from "./builds-to-run.ts";
import { regionEnvironment } from "../packer.ts";
import { hasOwnValue, isKilnVariable, setByKiln } from "./kiln-variables.ts";
import type { Place } from "./source-text.ts";
import { readTemplateFacts, type TemplateFacts } from "./template-facts.ts";
import { readTemplateFiles } from "./template-files.ts";
import { type Declaration, declarationsIn } from "./variables.ts";

/** What a template is checked against. */
export interface TemplateCheck {
  /** With the variables of the config file and of the step. */
  readonly recipe: ImageRecipe;
  /** The repository's folder. */
  readonly folder: string;
  /** Where each variable of `recipe.vars`, and each secret one, is set. */
  readonly given: ReadonlyMap<string, Given>;
  /** The step's environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where the image is baked. */
  readonly region: string;
  /** Where the targets of all environments are. */
  readonly targetRegions: ReadonlySet<string>;
  /** Where `image.only` is. */
  readonly onlyPlace: string;
}

/** A variable that the config file or the step sets. */
export interface Given {
  readonly where: string;
  /** Set by the step: another run may set it otherwise. */
  readonly byStep: boolean;
  readonly value: string;
  readonly isSecret: boolean;
}

export interface TemplateFindings {
  /** What would fail after a whole bake, or harm images that are in use. */
  readonly problems: readonly Problem[];
  /** What may surprise. */
  readonly notices: readonly string[];
}

/**
 * Finds what is wrong with a template before anything is touched. What can only be known during the bake is not looked at,
 * except for `force_deregister`.
 */
export async function checkTemplate(check: TemplateCheck): Promise<TemplateFindings> {
  const { recipe, folder, given } = check;
  const declarations = declarationsIn(await readTemplateFiles(recipe, folder));
  const byKiln = setByKiln(declarations);
  const secret = [...given].flatMap(([name, { isSecret }]) => (isSecret ? [name] : []));
  const byStep = [...given].flatMap(([name, each]) => (each.byStep ? [name] : []));
  const byEnvironment = Object.keys(check.environment).flatMap((name) =>
    name.startsWith("PKR_VAR_") ? [name.slice("PKR_VAR_".length)] : [],
  );
  const [facts, fixed] = await Promise.all([
    readTemplateFacts(recipe, folder, {
      // What Packer gets from Kiln.
      environment: { ...check.environment, ...regionEnvironment(check.region) },
      elsewhere: new Set([...byKiln, ...secret]),
    }),
    // What is the same for every run of this commit.
    readTemplateFacts(recipe, folder, {
      elsewhere: new Set([...byKiln, ...secret, ...byStep, ...byEnvironment]),
    }),
  ]);
  return findingsOf(check, { facts, fixed, declarations, byKiln });
}

/** A template as it was read. */
export interface CheckedTemplate {
  /** With all values that this run has. */
  readonly facts: TemplateFacts;
  /** With the values only that every run of this commit has. */
  readonly fixed: TemplateFacts;
  readonly declarations: readonly Declaration[];
  /** The variables that Kiln sets. */
  readonly byKiln: ReadonlySet<string>;
}

/** What is wrong with a template: a pure function. */
export function findingsOf(check: TemplateCheck, template: CheckedTemplate): TemplateFindings {
  const { facts, fixed } = template;
  const { builders, names, unmatched } = buildsToRun(facts, check.recipe);
  const running = builders.filter(({ type }) => MAKES_AMIS.test(type));
  const fixedRunning = buildsToRun(fixed, check.recipe).builders.filter(({ type }) => MAKES_AMIS.test(type));
  return {
    problems: [
      ...kilnVariablesSetTwice(check, template),
      ...actionsInValues(check, facts),
      ...unmatched.map((pattern) => ({
        where: check.onlyPlace,
        message: `"${pattern}" names no build of ${check.recipe.template}, which has: ${names.join(", ")}`,
      })),
      ...(unmatched.length > 0 ? [] : withoutImage(running, facts)),
      ...running.flatMap(forcedDeregistration),
      ...fixedRunning.flatMap((builder) => fixedName(builder, template)),
      ...wrongRegions(running, check),
    ],
    notices: [
      ...ownValues(template),
      ...unusedEnvironment(check, template),
      ...uselessCopies(running, check),
    ],
  };
}

const MAKES_AMIS = /^amazon-(?:ebs|ebssurrogate|instance|chroot)$/;

const at = ({ file, line, column }: Place): string => `${file}:${line}:${column}`;

/** Packer would take the file's or the step's value, and the image would not be what Kiln believes it to be. */
function kilnVariablesSetTwice(
  { given, recipe }: TemplateCheck,
  { facts, byKiln }: CheckedTemplate,
): readonly Problem[] {
  const inFiles = facts.assignments.map(({ name, place }) => ({ name, where: at(place) }));
  const byUser = [...given].map(([name, { where }]) => ({ name, where }));
  return [...inFiles, ...byUser].flatMap(({ name, where }) =>
    byKiln.has(name)
      ? [
          {
            where,
            message: `sets "${name}", which Kiln sets for ${recipe.template}: remove it here, or rename the variable in the template. A variable that has a default in the template is left to it`,
          },
        ]
      : [],
  );
}

/** Packer interpolates the values of a legacy template's variables, and nothing can be escaped from that for good. */
function actionsInValues({ given }: TemplateCheck, { legacy }: TemplateFacts): readonly Problem[] {
  if (!legacy) return [];
  return [...given].flatMap(([name, { where, value }]) =>
    value.includes("{{")
      ? [
          {
            where,
            message: `the value of "${name}" has {{ in it, which Packer would take for a function: legacy JSON templates cannot be given such a value. Write it into the template, or convert the template with \`packer hcl2_upgrade\``,
          },
        ]
      : [],
  );
}

/** A bake that can make no AMI is of no use, and Packer ends it well. */
function withoutImage(
  running: readonly BuilderFacts[],
  { builders, builds }: TemplateFacts,
): readonly Problem[] {
  const skipped = running.flatMap(({ attributes }) => {
    const fact = attributes.get("skip_create_ami");
    return fact !== undefined && isTrue(fact) ? [fact] : [];
  });
  const [build] = builds;
  if (running.length === 0 && builders.length > 0 && build !== undefined) {
    const message = "no build that runs makes an AMI: name one with an Amazon builder, such as amazon-ebs";
    return [{ where: at(build.place), message }];
  }
  return skipped.map((fact) => ({
    where: at(fact.place),
    message: "skip_create_ami is true, so the bake would make no AMI: remove it",
  }));
}

/** The image of that name may be the one in service, and the one that a rollback restores. */
function forcedDeregistration({ attributes }: BuilderFacts): readonly Problem[] {
  const fact = attributes.get("force_deregister");
  if (fact === undefined || isFalse(fact)) return [];
  const is = isTrue(fact) ? "is" : "may be";
  return [
    {
      where: at(fact.place),
      message: `force_deregister ${is} true: Packer would deregister the image of the same name, which instances may run and a rollback may need. Remove it, and force_delete_snapshot with it; var.image_name is new for each bake, and \`command: prune\` removes old images`,
    },
  ];
}

const isTrue = ({ value }: AttributeFact): boolean => /^(?:true|t|1)$/i.test(String(value));

/** Absent, `null` and `false` are the same. */
const isFalse = ({ value }: AttributeFact): boolean =>
  value === null || /^(?:false|f|0|)$/i.test(String(value));

/** EC2 gives a name once in an account and region: the second bake would fail, after it has run. */
function fixedName(
  { attributes }: BuilderFacts,
  { declarations, facts: { legacy } }: CheckedTemplate,
): readonly Problem[] {
  const fact = attributes.get("ami_name");
  // A name with `{{ }}` or a function in it has no known value.
  if (typeof fact?.value !== "string") return [];
  const own = declarations.find(({ name }) => name === "image_name");
  const ownName =
    own !== undefined && hasOwnValue(own)
      ? `. Kiln does not set image_name here, because it has a default (${at(own.place)})`
      : "";
  const name = legacy ? "{{user `image_name`}}" : "var.image_name";
  return [
    {
      where: at(fact.place),
      message: `ami_name is "${fact.value.slice(0, 128)}" for every bake, but EC2 gives a name only once: the next bake would fail. Use ${name}, which Kiln makes unique, or {{timestamp}}${ownName}`,
    },
  ];
}

/** The regions that a builder makes images in; undefined if they are not known before the bake. */
function regionsOf({ attributes }: BuilderFacts, home: string): readonly string[] | undefined {
  const region = attributes.get("region");
  const copies = attributes.get("ami_regions");
  const skipped = attributes.get("skip_save_build_region");
  const own = region === undefined ? home : region.value;
  const others = copies === undefined ? [] : copies.value;
  const list = typeof others === "string" ? others.split(",") : others;
  if (typeof own !== "string" || !Array.isArray(list)) return undefined;
  if (skipped !== undefined && !isTrue(skipped) && !isFalse(skipped)) return undefined;
  const saved = skipped !== undefined && isTrue(skipped) ? [] : [own === "" ? home : own];
  return [...saved, ...(list as readonly string[])];
}

/** An image in a region without a target would be found out only after the bake. */
function wrongRegions(builders: readonly BuilderFacts[], check: TemplateCheck): readonly Problem[] {
  const all = mergedBySource(builders).map((builder) => ({
    builder,
    regions: regionsOf(builder, check.region),
  }));
  const useless = all.filter(
    ({ regions }) => regions?.some((region) => check.targetRegions.has(region)) === false,
  );
  const isMadeAtHome = all.some(({ regions }) => regions?.includes(check.region) ?? true);
  const wrong = useless.length > 0 || isMadeAtHome ? useless : all.slice(0, 1);
  return wrong.flatMap(({ builder, regions }) => {
    const place = (builder.attributes.get("region") ?? builder).place;
    return [
      {
        where: at(place),
        message: `${builder.type}.${builder.name} makes its image in ${(regions ?? []).join(", ")}, but it is needed in ${check.region}: set region to ${check.region}, or leave it out, and Kiln sets it`,
      },
    ];
  });
}

/** A source, with what a build adds to it. */
function mergedBySource(builders: readonly BuilderFacts[]): readonly BuilderFacts[] {
  const merged = new Map<string, BuilderFacts>();
  for (const builder of builders) {
    const key = `${builder.type}.${builder.name}`;
    const before = merged.get(key);
    merged.set(
      key,
      before === undefined
        ? builder
        : { ...before, attributes: new Map([...before.attributes, ...builder.attributes]) },
    );
  }
  return [...merged.values()];
}

/** What nobody should be surprised by: the template's own value stays. */
function ownValues({ declarations }: CheckedTemplate): readonly string[] {
  return declarations.flatMap((each) =>
    isKilnVariable(each.name) && hasOwnValue(each)
      ? [`${at(each.place)}: ${each.name} has a default in the template, so Kiln does not set it`]
      : [],
  );
}

/** What Kiln sets wins over the step's environment. */
function unusedEnvironment({ environment }: TemplateCheck, { byKiln }: CheckedTemplate): readonly string[] {
  return [...byKiln].flatMap((name) =>
    environment[`PKR_VAR_${name}`] === undefined
      ? []
      : [`environment variable PKR_VAR_${name}: Packer gets the value that Kiln sets instead`],
  );
}

function uselessCopies(
  builders: readonly BuilderFacts[],
  { targetRegions }: TemplateCheck,
): readonly string[] {
  return builders.flatMap(({ attributes }) => {
    const fact = attributes.get("ami_regions");
    if (fact === undefined || !Array.isArray(fact.value)) return [];
    const regions = (fact.value as readonly string[]).filter((region) => !targetRegions.has(region));
    return regions.length === 0
      ? []
      : [
          `${at(fact.place)}: ami_regions makes copies in ${regions.join(", ")}, where no target is. Kiln neither uses nor prunes them`,
        ];
  });
}
