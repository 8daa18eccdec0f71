import type { ImageRecipe } from "../../domain/application.ts";
import type { Subprocess } from "../../domain/ports.ts";
import { setByKiln } from "../template/kiln-variables.ts";
import { readTemplateFacts, type TemplateFacts } from "../template/template-facts.ts";
import { readTemplateFiles } from "../template/template-files.ts";
import { declarationsIn } from "../template/variables.ts";
import { type CountedFile, findContentFiles, type FoundFiles } from "./content-files.ts";
import type { ImageContent } from "./digest.ts";
import { decidingEnvironment } from "./environment.ts";

/** What an image is made from, and where that is. */
export interface ContentOrder {
  readonly recipe: ImageRecipe;
  /** Names of variables that the step passes as secrets. */
  readonly secretVars: readonly string[];
  /** Variables that the template marks sensitive. */
  readonly sensitive: ReadonlySet<string>;
  /** The job's environment without secrets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The checkout's root. */
  readonly folder: string;
  readonly subprocess: Subprocess;
}

/** Everything that decides an image, and what is known about it. */
export interface FoundContent extends FoundFiles {
  readonly content: ImageContent;
  readonly files: readonly CountedFile[];
  readonly facts: TemplateFacts;
}

/**
 * Reads everything that decides the image: from the working tree, the config file's recipe, and the environment.
 * @throws KilnError if the checkout cannot be read, lacks content, or names content that is not there
 */
export async function readContent(order: ContentOrder): Promise<FoundContent> {
  const { recipe, secretVars, sensitive, environment, folder, subprocess } = order;
  const byKiln = setByKiln(declarationsIn(await readTemplateFiles(recipe, folder)));
  const elsewhere = new Set([...byKiln, ...secretVars]);
  const facts = await readTemplateFacts(recipe, folder, {
    environment,
    elsewhere: new Set([...elsewhere, ...sensitive]),
  });
  const found = await findContentFiles(recipe, facts, { folder, subprocess });
  const { template, varFiles, workingDirectory, only, except, vars } = recipe;
  return {
    ...found,
    facts,
    content: {
      template,
      varFiles,
      ...(workingDirectory === undefined ? {} : { workingDirectory }),
      ...(only === undefined ? {} : { only }),
      ...(except === undefined ? {} : { except }),
      files: found.files,
      vars,
      sensitive,
      environment: decidingEnvironment(facts, recipe, elsewhere, environment),
    },
  };
}
