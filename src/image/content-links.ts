import { readlink, realpath } from "node:fs/promises";
import { posix } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import type { ContentFile } from "./digest.ts";

const LINK = "120000";
/** What Packer reads of a folder by itself (Packer documentation: templates, variable files). */
const PACKERS_OWN = /\.(?:pkr|auto\.pkrvars)\.(?:hcl|json)$/;

/**
 * The symbolic links among an image's content that lead out of the repository: git, and so the image's identity, knows
 * where they lead to, not what is there.
 * @throws KilnError where the template or a variable file is one: the image would be made of what nobody pushed
 */
export async function linksOutside(
  recipe: Pick<ImageRecipe, "template" | "varFiles">,
  files: readonly ContentFile[],
  folder: string,
): Promise<readonly string[]> {
  const links = files.filter(({ mode }) => mode === LINK);
  if (links.length === 0) return [];
  const root = await realpath(folder);
  const checked = await Promise.all(
    links.map(async ({ path }) => ((await leadsOutside(root, path)) ? [path] : [])),
  );
  const outside = checked.flat();
  const read = outside.find((path) => isReadByPacker(path, recipe));
  if (read === undefined) return outside;
  throw new KilnError(`${read} is a symbolic link that leads out of the repository`, {
    state: "Nothing was changed.",
    next: "Commit the file itself: what Packer builds from has to be in the commit that is released.",
  });
}

function isReadByPacker(
  path: string,
  { template, varFiles }: Pick<ImageRecipe, "template" | "varFiles">,
): boolean {
  if (path === template || varFiles.includes(path)) return true;
  const folder = template === "." ? "." : template;
  return posix.dirname(path) === folder && PACKERS_OWN.test(path);
}

/** Where a link's end is not there, its own words tell where it would be. */
async function leadsOutside(root: string, path: string): Promise<boolean> {
  const place = posix.join(root, path);
  const end = await realpath(place).catch(async () => {
    const target = await readlink(place).catch(() => "");
    return posix.resolve(posix.dirname(place), target);
  });
  return end !== root && !end.startsWith(`${root}/`);
}
