import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ImageRecipe } from "../../src/domain/application.ts";
import { findContentFiles, type TemplateFiles } from "../../src/image/content/content-files.ts";
import { digestOf } from "../../src/image/content/digest.ts";
import { plainGit, realPrograms } from "./programs.ts";

/** A temporary folder with a git repository in it, for what real git does. */
export class GitCheckout implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), "kiln-content-"));
  readonly folder: string;

  /** @param format the object format; SHA-1 by default */
  constructor(format: "sha1" | "sha256" = "sha1") {
    this.folder = join(this.root, "repository");
    mkdirSync(this.folder);
    this.git("init", "--quiet", "--initial-branch", "main", `--object-format=${format}`);
  }

  git(...args: readonly string[]): string {
    return execFileSync("git", [...args], {
      cwd: this.folder,
      env: plainGit(),
      encoding: "utf8",
      stdio: "pipe",
    }).trim();
  }

  write(path: string, content: string | Buffer): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), content);
  }

  commit(): string {
    this.git("add", "--all");
    this.git("commit", "--quiet", "--allow-empty", "--message", "a change");
    return this.git("rev-parse", "HEAD");
  }

  /** A clone of what is committed, with options of `git clone` or, before it, of git. */
  clone(
    name: string,
    options: { readonly git?: readonly string[]; readonly clone?: readonly string[] } = {},
  ): string {
    const folder = join(this.root, name);
    this.git(
      ...(options.git ?? []),
      "-c",
      "protocol.file.allow=always",
      "clone",
      "--quiet",
      ...(options.clone ?? []),
      `file://${this.folder}`,
      folder,
    );
    return folder;
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export const recipeOf = (changes: Partial<ImageRecipe> = {}): ImageRecipe => ({
  template: "packer/web.pkr.hcl",
  inputs: undefined,
  vars: {},
  varFiles: [],
  maxAge: undefined,
  ...changes,
});

export const NO_FILES: TemplateFiles = { references: [], outputs: [] };

export function filesIn(
  folder: string,
  changes: Partial<ImageRecipe> = {},
  template: Partial<TemplateFiles> = {},
) {
  return findContentFiles(
    recipeOf(changes),
    { ...NO_FILES, ...template },
    { folder, subprocess: realPrograms },
  );
}

export async function pathsIn(...args: Parameters<typeof filesIn>): Promise<string[]> {
  return (await filesIn(...args)).files.map(({ path }) => path).toSorted();
}

export async function digestIn(...args: Parameters<typeof filesIn>): Promise<string> {
  const { files } = await filesIn(...args);
  return digestOf({
    template: "t",
    varFiles: [],
    files,
    vars: {},
    sensitive: new Set(),
    environment: {},
  });
}
