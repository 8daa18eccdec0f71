/**
 * What the digest of an image's content takes in a repository of 100,000 files, in a clean shallow clone as
 * actions/checkout makes one: where 2,500 of them decide the image, where all do, and all with 100 changed and 50 that git
 * does not track. Beside it `git ls-tree -r HEAD`, the least that lists them, and `git diff-files`, the least that looks at
 * each file on disk. Processor seconds of Kiln and of the git that it starts, so that other work on the machine does not
 * count; the median of seven runs. Linux only.
 *
 * `node bench/digest.ts` prints the table.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { markdownTable } from "markdown-table";
import { plainGit } from "../__tests__/image/programs.ts";
import { createSubprocess } from "../src/action/subprocess.ts";
import { digestOf } from "../src/image/content/digest.ts";
import { readContent } from "../src/image/content/image-content.ts";

const FILES = 100_000;
const PARTS = 40;
const CHANGED = 100;
const UNTRACKED = 50;
const RUNS = 7;
const TEMPLATE = "packer/web.pkr.hcl";

const run = promisify(execFile);
const env = plainGit();
const git = async (folder: string, ...args: readonly string[]): Promise<string> =>
  (await run("git", [...args], { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 })).stdout.trim();

const pathOf = (index: number): string =>
  `app/part-${index % PARTS}/folder-${index % 2000}/file-${index}.txt`;

async function write(folder: string, path: string, content: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

/** A repository of one commit: the template, and the other files in 2,000 folders, about a kilobyte each. */
async function makeRepository(folder: string): Promise<void> {
  await mkdir(folder);
  await git(folder, "init", "--quiet", "--initial-branch", "main");
  await git(folder, "config", "gc.auto", "0");
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

/** Seconds that this process and its children that have ended spent on a processor. */
function processorSeconds(): number {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  // proc(5): the fields behind the command's name, in hundredths; children's are the 14th and 15th of them.
  const fields = readFileSync("/proc/self/stat", "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (userCPUTime + systemCPUTime) / 1e6 + (Number(fields[13]) + Number(fields[14])) / 100;
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
    const start = processorSeconds();
    files = await work();
    seconds.push(processorSeconds() - start);
  }
  return { seconds: seconds.toSorted((a, b) => a - b), files };
}

const median = ({ seconds }: Timed): number => seconds[Math.floor(RUNS / 2)] ?? 0;

function row(what: string, timed: Timed, list: Timed): string[] {
  const { seconds, files } = timed;
  const text = (index: number): string => (seconds.at(index) ?? 0).toFixed(2);
  const times = (median(timed) / median(list)).toFixed(1);
  return [what, String(files), median(timed).toFixed(2), `${text(0)} – ${text(-1)}`, times];
}

async function main(root: string): Promise<void> {
  const [origin, folder] = [join(root, "origin"), join(root, "checkout")];
  await makeRepository(origin);
  await git(root, "clone", "--quiet", "--depth", "1", `file://${origin}`, folder);
  const subprocess = createSubprocess(env, root);
  const digest = (inputs: readonly string[]) => async (): Promise<number> => {
    const { content } = await readContent({
      recipe: { template: TEMPLATE, inputs, vars: {}, varFiles: [], maxAge: undefined },
      secretVars: [],
      sensitive: new Set(),
      environment: {},
      folder,
      subprocess,
    });
    digestOf(content);
    return content.files.length;
  };
  const list = await time(async () => (await git(folder, "ls-tree", "-r", "HEAD")).split("\n").length);
  const look = await time(async () => (await git(folder, "diff-files", "--name-only")).length + FILES);
  const rows = [
    row("`git ls-tree -r HEAD` alone", list, list),
    row("`git diff-files` alone", look, list),
    row(`Kiln's digest, \`inputs: [app/part-1/**]\``, await time(digest(["app/part-1/**"])), list),
    row("Kiln's digest, `inputs: [app/**]`", await time(digest(["app/**"])), list),
  ];
  await dirty(folder);
  rows.push(
    row(
      `The same, ${CHANGED} changed and ${UNTRACKED} untracked files`,
      await time(digest(["app/**"])),
      list,
    ),
  );
  const header = ["What", "Files", "Median, s", "Least – most, s", "Times `ls-tree`"];
  process.stdout.write(`${markdownTable([header, ...rows], { align: ["l", "r", "r", "r", "r"] })}\n`);
}

const root = await mkdtemp(join(tmpdir(), "bench-digest-"));
try {
  await main(root);
} finally {
  await rm(root, { recursive: true, force: true });
}
