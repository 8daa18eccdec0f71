import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readCheckedOut } from "../../src/action/config-file.ts";
import { parseInputs } from "../../src/action/inputs.ts";
import type { ImageRecipe } from "../../src/domain/application.ts";
import { InvalidInputError, KilnError } from "../../src/domain/errors.ts";
import { isRepositoryPath } from "../../src/domain/repository-path.ts";
import { prepareBake } from "../../src/image/bake-preparation.ts";
import { filesIn } from "../image/git-checkout.ts";
import { KeptLog, plainGit, ScriptedPrograms, VirtualClock } from "../image/programs.ts";
import { hostileText, told } from "./texts.ts";
import { Secrets } from "../../src/domain/secrets.ts";

/** Real git in a repository, beside which there is what nobody pushed. */

let root: string;
let folder: string;
let commit: string;

const git = (...args: readonly string[]): string =>
  execFileSync("git", [...args], { cwd: folder, env: plainGit(), encoding: "utf8", stdio: "pipe" }).trim();

function write(path: string, content: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

function commitAll(): string {
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", "a change");
  return git("rev-parse", "HEAD");
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kiln-paths-"));
  folder = join(root, "repository");
  mkdirSync(folder);
  writeFileSync(join(root, "secret"), "image: hunter2\n");
  mkdirSync(join(root, "elsewhere"));
  writeFileSync(join(root, "elsewhere/web.pkr.hcl"), "# not pushed\n");
  git("init", "--quiet", "--initial-branch", "main");
  write("packer/web.pkr.hcl", "# web\n");
  write("app/main.py", "print(1)\n");
  write(".github/kiln.yml", "image: {}\n");
  commit = commitAll();
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const recipe = (changes: Partial<ImageRecipe> = {}): ImageRecipe => ({
  template: "packer/web.pkr.hcl",
  inputs: undefined,
  vars: {},
  varFiles: [],
  maxAge: undefined,
  ...changes,
});
const files = async (changes: Partial<ImageRecipe> = {}) => (await filesIn(folder, changes)).files;
const outside = async (changes: Partial<ImageRecipe> = {}) => (await filesIn(folder, changes)).linksOutside;

async function refused(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof KilnError) return error.message;
  throw new Error("it was not refused", { cause: error });
}

describe("the config file's path", () => {
  test.each([
    "../secret",
    "/etc/passwd",
    "a/../../secret",
    ".github/../../secret",
    "a\nb",
    "a\0b",
    "./../secret",
  ])("%j is refused, and no file is looked for", (config) => {
    const looked: string[] = [];
    expect(() => parseInputs({ token: "t", config }, (path) => looked.push(path) > 0)).toThrow(
      InvalidInputError,
    );
    expect(looked).toEqual([]);
  });

  test("a link out of the repository is refused, and nothing of its end is shown", async () => {
    symlinkSync("../secret", join(folder, "link.yml"));
    symlinkSync("/proc/self/environ", join(folder, "environ.yml"));
    symlinkSync("..", join(folder, "up"));
    for (const path of ["link.yml", "environ.yml", "up/secret"])
      expect(await refused(readCheckedOut(folder, path))).toBe(
        `input config: ${path} leads out of the repository by a symbolic link`,
      );
  });

  test("a link within the repository is followed", async () => {
    symlinkSync(".github/kiln.yml", join(folder, "link.yml"));
    expect(await readCheckedOut(folder, "link.yml")).toBe("image: {}\n");
  });

  test("a folder and a pipe are no config files", async () => {
    execFileSync("mkfifo", [join(folder, "pipe.yml")]);
    expect(await refused(readCheckedOut(folder, "pipe.yml"))).toBe("input config: pipe.yml is no file");
    expect(await refused(readCheckedOut(folder, ".github"))).toBe("input config: .github is no file");
  });

  test("a file that is not there is none", async () => {
    expect(await readCheckedOut(folder, "kiln.yml")).toBeUndefined();
  });

  test("of a file without an end only the beginning is read", async () => {
    write("long.yml", "x".repeat(10_000_000));
    expect((await readCheckedOut(folder, "long.yml"))?.length).toBe(64 * 1024 + 1);
  });
});

describe("template, variable files and inputs", () => {
  test("a template's path is in the repository, in the step too", () => {
    const inline = { token: "t", environment: "dev", region: "eu-west-1", "auto-scaling-group": "web" };
    for (const template of ["../elsewhere", "/etc", "packer/../../x"])
      expect(() => parseInputs({ ...inline, template }, () => false), template).toThrow(
        "input template: must be a path inside the repository",
      );
  });

  test("a template that is a link out of the repository is refused, committed or not", async () => {
    rmSync(join(folder, "packer/web.pkr.hcl"));
    symlinkSync("../../elsewhere/web.pkr.hcl", join(folder, "packer/web.pkr.hcl"));
    const message = "packer/web.pkr.hcl is a symbolic link that leads out of the repository";
    expect(await refused(outside())).toBe(message);
    commit = commitAll();
    expect(await refused(outside())).toBe(message);
    // In a folder that is the template, Packer reads each of them.
    expect(await refused(outside({ template: "packer" }))).toBe(message);
  });

  test("so is a variable file", async () => {
    symlinkSync("/etc/hostname", join(folder, "packer/a.pkrvars.hcl"));
    expect(await refused(outside({ varFiles: ["packer/a.pkrvars.hcl"] }))).toBe(
      "packer/a.pkrvars.hcl is a symbolic link that leads out of the repository",
    );
  });

  test("a folder that became a link is not the folder that was pushed", async () => {
    rmSync(join(folder, "packer"), { recursive: true });
    symlinkSync("../elsewhere", join(folder, "packer"));
    const message = "packer/web.pkr.hcl is a symbolic link that leads out of the repository";
    expect(await refused(outside())).toBe(message);
    commit = commitAll();
    expect(await refused(outside())).toBe(message);
  });

  test("links of other content that lead out are told", async () => {
    symlinkSync("/usr/share/zoneinfo/UTC", join(folder, "app/localtime"));
    symlinkSync("../../elsewhere", join(folder, "app/elsewhere"));
    symlinkSync("main.py", join(folder, "app/own"));
    symlinkSync("../nowhere", join(folder, "app/dangling"));
    expect((await outside({ inputs: ["app/**"] })).toSorted()).toEqual(["app/elsewhere", "app/localtime"]);
    commit = commitAll();
    expect((await outside({ inputs: ["app/**"] })).toSorted()).toEqual(["app/elsewhere", "app/localtime"]);
  });

  test("a link to a folder in a repository within this one is not followed", async () => {
    mkdirSync(join(folder, "app/nested"));
    execFileSync("git", ["init", "--quiet"], { cwd: join(folder, "app/nested"), env: plainGit() });
    writeFileSync(join(folder, "app/nested/a"), "a");
    symlinkSync("../../../elsewhere", join(folder, "app/nested/link"));
    const paths = (await files({ inputs: ["app/**"] })).map(({ path }) => path);
    expect(paths.filter((path) => path.includes("nested")).toSorted()).toEqual([
      "app/nested/a",
      "app/nested/link",
    ]);
  });

  test("patterns are no pathspecs, and escape nothing", async () => {
    write(":(glob)**/x", "x");
    expect((await files({ inputs: ["app/**", "\\:\\(glob\\)**/x"] })).length).toBeGreaterThan(0);
    for (const pattern of ["\\.\\./secret", "!../secret"])
      expect(
        (await files({ inputs: ["app/**", pattern] }).catch((error: unknown) => [error])).length,
      ).toBeGreaterThan(0);
  });
});

describe("names of files", () => {
  test("with line breaks and quotes are hashed as themselves", async () => {
    const names = [
      "app/a\nb",
      'app/"quoted"',
      'app/"',
      "app/\\",
      "app/a\tb",
      "app/-rf",
      "app/é",
      "app/\n",
      "app/ x ",
    ];
    for (const [index, name] of names.entries()) write(name, `content ${index}`);
    // Were the line break the end of a name, this is what would be hashed.
    mkdirSync(join(folder, "app/x\n"));
    write("app/x\n/etc/hostname", "mine");
    const before = new Map((await files({ inputs: ["app/**"] })).map(({ path, object }) => [path, object]));
    expect([...before.keys()].toSorted()).toEqual(
      [...names, "app/x\n/etc/hostname", "app/main.py", "packer/web.pkr.hcl"].toSorted(),
    );
    commit = commitAll();
    const after = new Map((await files({ inputs: ["app/**"] })).map(({ path, object }) => [path, object]));
    expect(after).toEqual(before);
  });

  test("that look like options are paths to Packer", async () => {
    write("-var-file=x.pkr.hcl", "# web\n");
    const programs = new ScriptedPrograms();
    programs.answer = () => ({ code: 0, stdout: "Packer v1.16.0", stderr: "" });
    await prepareBake(
      {
        recipe: recipe({ template: "-var-file=x.pkr.hcl" }),
        secretVars: {},
        sensitive: new Set(),
        imageName: "a",
        version: "v",
        commit,
        tags: {},
        digest: `sha256:${"a".repeat(64)}`,
        mark: "m",
        region: "eu-west-1",
      },
      {
        clock: new VirtualClock(),
        log: new KeptLog(),
        subprocess: programs,
        folder,
        temporaryFolder: folder,
        signal: new AbortController().signal,
        token: "t",
        onStarted: () => undefined,
        onMade: () => undefined,
        secrets: new Secrets(),
      },
    );
    const last = programs.calls.map(({ args }) => args.at(-1));
    expect(last).toEqual(["version", "./-var-file=x.pkr.hcl", "./-var-file=x.pkr.hcl"]);
  });

  test("a path that is taken stays below the folder that it is joined to", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          hostileText,
          fc.array(fc.constantFrom("..", ".", "", "a", "~")).map((all) => all.join("/")),
        ),
        (path) => {
          const place = `${join("/checkout", path)}/`;
          expect(!isRepositoryPath(path) || place.startsWith("/checkout/")).toBe(true);
        },
      ),
      told("paths", 5000),
    );
  });
});

test("nothing was written outside", () => {
  expect(readFileSync(join(root, "secret"), "utf8")).toBe("image: hunter2\n");
});
