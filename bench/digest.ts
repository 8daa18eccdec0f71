/**
 * What the digest of an image's content takes, in a repository of 20,000 files that all decide it, the worst case:
 * Kiln's, in a clean shallow clone as actions/checkout makes one, then with 100 files changed and 50 that git does not
 * track; beside `git ls-tree -r HEAD` alone, the least that lists them. Real time, so that figures differ by machine;
 * the median of five runs.
 *
 * `node bench/digest.ts` prints the table.
 */
import { execFile } from "node:child_process";
import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { markdownTable } from "markdown-table";
import { plainGit } from "../__tests__/image/programs.ts";
import { createSubprocess } from "../src/action/subprocess.ts";
import type { ImageRecipe } from "../src/domain/application.ts";
import { contentFiles, digestOf } from "../src/image/digest.ts";

const FILES = 20_000;
const CHANGED = 100;
const UNTRACKED = 50;
const RUNS = 5;
const TEMPLATE = "packer/web.pkr.hcl";
const RECIPE: ImageRecipe = {
  template: TEMPLATE,
  inputs: ["app/**"],
  vars: { nginx_version: "1.24" },
  varFiles: [],
  maxAge: undefined,
};

const run = promisify(execFile);
const env = plainGit();
const git = async (folder: string, ...args: readonly string[]): Promise<string> =>
  (await run("git", [...args], { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 })).stdout.trim();

const pathOf = (index: number): string => `app/part-${index % 40}/folder-${index % 400}/file-${index}.txt`;

async function write(folder: string, path: string, content: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

/** A repository of one commit: the template, and the other files in 400 folders, about a kilobyte each. */
async function makeRepository(folder: string): Promise<void> {
  await mkdir(folder);
  await git(folder, "init", "--quiet", "--initial-branch", "main");
  await write(folder, TEMPLATE, "# the template\n");
  for (let index = 1; index < FILES; index += 1) {
    await write(folder, pathOf(index), `This is file ${index}.\n`.repeat(50));
  }
  await git(folder, "add", "--all");
  await git(folder, "commit", "--quiet", "--message", "all");
}

async function dirty(folder: string): Promise<void> {
  for (let index = 1; index <= CHANGED; index += 1) {
    await appendFile(join(folder, pathOf(index * 199)), "changed\n");
  }
  for (let index = 1; index <= UNTRACKED; index += 1)
    await write(folder, `app/new/file-${index}.txt`, "new\n");
}

interface Timed {
  readonly seconds: readonly number[];
  readonly files: number;
}

/** Seconds of each run; a first one, which warms the disk's cache, does not count. */
async function time(work: () => Promise<number>): Promise<Timed> {
  const seconds: number[] = [];
  let files = await work();
  for (let index = 0; index < RUNS; index += 1) {
    const start = performance.now();
    files = await work();
    seconds.push((performance.now() - start) / 1000);
  }
  return { seconds: seconds.toSorted((a, b) => a - b), files };
}

function row(what: string, { seconds, files }: Timed): string[] {
  const text = (index: number): string => (seconds.at(index) ?? 0).toFixed(3);
  return [what, String(files), text(Math.floor(RUNS / 2)), `${text(0)} – ${text(-1)}`];
}

async function main(root: string): Promise<void> {
  const [origin, folder] = [join(root, "origin"), join(root, "checkout")];
  await makeRepository(origin);
  await git(root, "clone", "--quiet", "--depth", "1", `file://${origin}`, folder);
  const commit = await git(folder, "rev-parse", "HEAD");
  const subprocess = createSubprocess(env, root);
  const list = async (): Promise<number> => (await git(folder, "ls-tree", "-r", "HEAD")).split("\n").length;
  const digest = async (): Promise<number> => {
    const files = await contentFiles(RECIPE, { folder, commit, subprocess });
    digestOf(TEMPLATE, files, RECIPE.vars);
    return files.length;
  };
  const rows = [
    row("`git ls-tree -r HEAD` alone", await time(list)),
    row("Kiln's digest, clean checkout", await time(digest)),
  ];
  await dirty(folder);
  rows.push(row(`Kiln's digest, ${CHANGED} changed and ${UNTRACKED} untracked files`, await time(digest)));
  const header = ["What", "Files", "Median, s", "Fastest – slowest, s"];
  process.stdout.write(`${markdownTable([header, ...rows], { align: ["l", "r", "r", "r"] })}\n`);
}

const root = await mkdtemp(join(tmpdir(), "bench-digest-"));
try {
  await main(root);
} finally {
  await rm(root, { recursive: true, force: true });
}
