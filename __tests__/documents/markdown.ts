import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The documents that people read, relative to the repository's root. */
export const DOCUMENTS: readonly string[] = globSync(["*.md", "docs/**/*.md", "examples/**/*.md"], {
  cwd: ROOT,
}).toSorted();

/** A fenced block of a document. */
export interface Block {
  /** `README.md:12`, for messages. */
  readonly where: string;
  readonly document: string;
  /** `yaml`, `yaml kiln`, `json`, … */
  readonly info: string;
  readonly text: string;
}

export function blocksOf(document: string): Block[] {
  const text = readText(document);
  return [...text.matchAll(/^( *)(`{3,})([^\n`]*)\n([\s\S]*?)^\1\2[ ]*$/gm)].map((match) => ({
    where: `${document}:${text.slice(0, match.index).split("\n").length}`,
    document,
    info: (match[3] ?? "").trim(),
    text: match[4] ?? "",
  }));
}

export function blocks(language: string): Block[] {
  return DOCUMENTS.flatMap(blocksOf).filter((block) => block.info.split(" ")[0] === language);
}

/** The text without fenced blocks and inline code, where links are not links. */
export function prose(document: string): string {
  return readText(document)
    .replace(/^( *)(`{3,})[^\n]*\n[\s\S]*?^\1\2[ ]*$/gm, "")
    .replace(/`[^`\n]*`/g, "`…`");
}

/** The anchors that GitHub gives a document's headings. */
export function anchorsOf(document: string): ReadonlySet<string> {
  const headings = [...readText(document).matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1] ?? "");
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** The workflows of documents and examples, and the repository's own. */
export function workflows(): readonly { readonly where: string; readonly text: string }[] {
  const files = globSync(["examples/**/.github/workflows/*.yml", ".github/workflows/*.yml"], { cwd: ROOT });
  return [
    ...files.map((path) => ({ where: path, text: readText(path) })),
    ...blocks("yaml").filter((block) => /^jobs:/m.test(block.text)),
  ];
}

export function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}
