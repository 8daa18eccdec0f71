import { posix } from "node:path";
import type { ImageRecipe } from "../../domain/application.ts";
import type { Digest } from "../../domain/image.ts";
import { FILE_FUNCTIONS } from "../template/reference-attributes.ts";
import type { FileReference, Place, TemplateFacts, UnresolvedReference } from "../template/template-facts.ts";
import type { CountedFile } from "./content-files.ts";
import { besideTemplate } from "./content-files.ts";
import { quoted } from "./digest.ts";
import type { FoundContent } from "./image-content.ts";
import { type Reason, REASONS } from "./rules.ts";

/** Places and paths that a message names; debug logging has all. */
const NAMED = 5;

const BY_REASON: Readonly<Record<Reason, string>> = {
  template: "template",
  "variable file": "variable files",
  inputs: "inputs",
  reference: "referred to by the template",
  link: "behind symbolic links",
};

/** `Content digest sha256:…: 14 files (template 3, inputs 9, referred to by the template 2), 4 variables` */
export function digestLine(digest: Digest, { content, files }: FoundContent): string {
  const byReason = REASONS.flatMap((reason) => {
    const number = files.filter((file) => file.reason === reason).length;
    return number === 0 ? [] : [`${BY_REASON[reason]} ${number}`];
  });
  const environment = Object.keys(content.environment).length;
  const variables = Object.keys(content.vars).filter((name) => !content.sensitive.has(name)).length;
  const all = count(variables + environment, "variable");
  const some = environment === 0 ? "" : ` (${environment} of the environment)`;
  return `Content digest ${digest}: ${count(files.length, "file")} (${byReason.join(", ")}), ${all}${some}`;
}

/** Everything that decides the digest, one item per line, with what makes it count. Values are left out. */
export function digestDetails({ content, files }: FoundContent): string[] {
  return [
    ...files.map((file) => `content: ${file.mode} ${file.object} ${quoted(file.path)} (${whyCounted(file)})`),
    ...Object.keys(content.vars).map(
      (name) =>
        `content: variable ${name}${content.sensitive.has(name) ? " (sensitive: does not count)" : ""}`,
    ),
    ...Object.keys(content.environment).map((name) => `content: environment variable ${name}`),
  ];
}

function whyCounted({ reason, because }: CountedFile): string {
  if (reason === "link") return `symbolic link ${quoted(because ?? "")}`;
  return because ?? reason;
}

/** What is known only during the bake; undefined if nothing is. */
export function decidedAtBakeLine({ decidedAtBake }: TemplateFacts): string | undefined {
  if (decidedAtBake.length === 0) return undefined;
  const things = decidedAtBake.map(({ what, place }) => `${what} (${placeText(place)})`);
  return `Decided at bake time, and no part of the digest: ${some(things)}`;
}

/** What the digest may not cover, for a notice each. */
export function gapNotices({ linksOutside, facts }: FoundContent): string[] {
  const outside = facts.unresolved.filter(({ why }) => why === "outside");
  const unknown = facts.unresolved.filter(({ why }) => why !== "outside");
  const each = (references: readonly UnresolvedReference[]): string =>
    some(
      references.map(
        ({ place, attribute, expression }) => `${placeText(place)} (${attribute}: ${expression})`,
      ),
    );
  return [
    ...(unknown.length === 0
      ? []
      : [
          `Kiln cannot tell which files the template refers to at ${each(unknown)}. Make sure that \`inputs\` lists them: a change of a file that is not listed makes no new image`,
        ]),
    ...(outside.length === 0
      ? []
      : [
          `The template refers to files outside of the repository at ${each(outside)}. They are no part of the image's identity: a change of them makes no new image`,
        ]),
    ...(linksOutside.length === 0
      ? []
      : [
          `Symbolic links of the content lead out of the repository: ${some(linksOutside.map(quoted))}. What is there is no part of the image's identity`,
        ]),
  ];
}

/** What the template needs and is not there, for a warning each. */
export async function missingWarnings(
  { missing }: FoundContent,
  recipe: ImageRecipe,
  folder: string,
): Promise<string[]> {
  const named = missing.slice(0, NAMED).map((reference) => missingWarning(reference, recipe, folder));
  const more = missing.length - NAMED;
  return [
    ...(await Promise.all(named)),
    ...(more > 0 ? [`The template refers to ${count(more, "more file")} that do not exist`] : []),
  ];
}

async function missingWarning(
  { path, attribute, place }: FileReference,
  recipe: ImageRecipe,
  folder: string,
): Promise<string> {
  const { workingDirectory = "." } = recipe;
  const said = `${placeText(place)}: ${attribute} refers to ${path}, which does not exist`;
  if (FILE_FUNCTIONS[attribute.replace("()", "")]?.relativeTo === "template")
    return `${said}. The paths of ${attribute} begin in the template's folder: write them without path.root`;
  const base = await besideTemplate(recipe, posix.relative(workingDirectory, path), folder);
  if (base !== undefined && base !== workingDirectory)
    return `${said}. It exists relative to the template's folder: set \`working-directory: ${base}\` below \`image\` in the config file, and Packer runs there`;
  return `${said}. Packer runs in ${workingDirectory === "." ? "the repository's root" : workingDirectory}, and relative paths begin there`;
}

const placeText = ({ file, line }: Place): string => `${quoted(file)}:${line}`;

function some(texts: readonly string[]): string {
  const more = texts.length > NAMED ? ` and ${texts.length - NAMED} more` : "";
  return `${texts.slice(0, NAMED).join(", ")}${more}`;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
