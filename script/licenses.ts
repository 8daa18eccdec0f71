/** The notices of what dist/ contains of others: their licences ask that copies carry them. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The packages that modules of a bundle come from, by name and version, each text once for all that have it.
 * @param modules absolute paths, and rollup's virtual ids, which are skipped
 * @throws Error where a package names no licence
 */
export function licensesOf(modules: Iterable<string>): string {
  const folders = new Set([...modules].map(packageFolder).filter((folder) => folder !== undefined));
  const byText = Map.groupBy([...folders].map(license), ({ text }) => text);
  return [...byText]
    .map(
      ([text, packages]) =>
        `${[...new Set(packages.map(({ title }) => title))].toSorted().join("\n")}\n\n${text}\n`,
    )
    .toSorted()
    .join(`\n${"-".repeat(80)}\n\n`);
}

/** The folder of the installed package that a module belongs to; nested copies have their own. */
function packageFolder(module: string): string | undefined {
  const path = module.replaceAll("\0", "").replace(/\?.*$/, "");
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0];
}

function license(folder: string): { readonly title: string; readonly text: string } {
  const metadata = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    readonly name: string;
    readonly version: string;
    readonly license?: string;
  };
  if (metadata.license === undefined) throw new Error(`${metadata.name} names no licence`);
  const [file] = globSync(["LICEN[CS]E*", "licen[cs]e*"], { cwd: folder }).toSorted();
  return {
    title: `${metadata.name} ${metadata.version}`,
    text:
      file === undefined ? `Licence: ${metadata.license}` : plain(readFileSync(join(folder, file), "utf8")),
  };
}

/** Without what differs between copies of the same text: ends of lines, blanks at them, form feeds. */
const plain = (text: string): string =>
  text
    .replaceAll("\f", "")
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .join("\n")
    .trim();
