import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../src/domain/application.ts";
import type { KilnError } from "../../src/domain/errors.ts";
import { contentFiles, digestOf } from "../../src/image/digest.ts";
import { plainGit, realPrograms } from "./programs.ts";

/** Real git in temporary repositories. */

let root: string;
let folder: string;

const git = (...args: readonly string[]): string =>
  execFileSync("git", [...args], { cwd: folder, env: plainGit(), encoding: "utf8", stdio: "pipe" }).trim();

function write(path: string, content: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

function commit(): string {
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", "a change");
  return git("rev-parse", "HEAD");
}

const recipe = (changes: Partial<ImageRecipe> = {}): ImageRecipe => ({
  template: "packer/web.pkr.hcl",
  inputs: undefined,
  vars: {},
  varFiles: [],
  maxAge: undefined,
  ...changes,
});

const filesAt = (commit: string, changes: Partial<ImageRecipe> = {}, at = folder) =>
  contentFiles(recipe(changes), { folder: at, commit, subprocess: realPrograms });
const pathsAt = async (commit: string, changes: Partial<ImageRecipe> = {}): Promise<string[]> =>
  (await filesAt(commit, changes)).map(({ path }) => path).toSorted();
const digestAt = async (commit: string, changes: Partial<ImageRecipe> = {}, at = folder) =>
  digestOf("packer/web.pkr.hcl", await filesAt(commit, changes, at), {});

let first: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "unit-content-"));
  folder = join(root, "repository");
  mkdirSync(folder);
  git("init", "--quiet", "--initial-branch", "main");
  write("packer/web.pkr.hcl", "# web\n");
  write("packer/scripts/install.sh", "echo install\n");
  write("app/main.py", "print(1)\n");
  write("app/notes.md", "# notes\n");
  write("README.md", "# read me\n");
  first = commit();
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

describe("which files decide the content", () => {
  test("without inputs: the template's folder, with all below it", async () => {
    expect(await pathsAt(first)).toStrictEqual(["packer/scripts/install.sh", "packer/web.pkr.hcl"]);
  });

  test("without inputs, with a folder as template: that folder, not the one it is in", async () => {
    write("packer/api/api.pkr.hcl", "# api\n");
    const head = commit();
    expect(await pathsAt(head, { template: "packer/api" })).toStrictEqual(["packer/api/api.pkr.hcl"]);
  });

  test("without inputs, with a folder of no commit yet as template: that folder", async () => {
    write("packer/new/new.pkr.hcl", "# new\n");
    expect(await pathsAt(first, { template: "packer/new" })).toStrictEqual(["packer/new/new.pkr.hcl"]);
  });

  test.each(["web.pkr.hcl", "."])(
    "without inputs, with %s as template: the whole repository",
    async (template) => {
      write("web.pkr.hcl", "# root\n");
      const head = commit();
      expect(await pathsAt(head, { template })).toStrictEqual([
        "README.md",
        "app/main.py",
        "app/notes.md",
        "packer/scripts/install.sh",
        "packer/web.pkr.hcl",
        "web.pkr.hcl",
      ]);
    },
  );

  test("with inputs: what they match, and always the template and the variable files", async () => {
    write("vars/common.pkrvars.hcl", "a = 1\n");
    const head = commit();
    expect(
      await pathsAt(head, { inputs: ["app/**", "!**/*.md"], varFiles: ["vars/common.pkrvars.hcl"] }),
    ).toStrictEqual(["app/main.py", "packer/web.pkr.hcl", "vars/common.pkrvars.hcl"]);
  });

  test("an exclusion takes a file out wherever it stands in the list, but never the template", async () => {
    expect(await pathsAt(first, { inputs: ["!app/notes.md", "**", "!packer/**"] })).toStrictEqual([
      "README.md",
      "app/main.py",
      "packer/web.pkr.hcl",
    ]);
  });

  test("a folder as template is taken whole, whatever the inputs", async () => {
    expect(await pathsAt(first, { template: "packer", inputs: ["app/*.py"] })).toStrictEqual([
      "app/main.py",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
  });

  test("hidden files are matched like others", async () => {
    write("app/.env", "A=1\n");
    const head = commit();
    expect(await pathsAt(head, { inputs: ["app/*"] })).toStrictEqual([
      "app/.env",
      "app/main.py",
      "app/notes.md",
      "packer/web.pkr.hcl",
    ]);
  });

  test("names that git would quote are taken as they are", async () => {
    write('packer/scripts/naïve file\t"1".sh', "echo\n");
    const head = commit();
    const tracked = await filesAt(head);
    expect(tracked.map(({ path }) => path)).toContain('packer/scripts/naïve file\t"1".sh');
    expect(await digestAt(first)).toBe(await digestAt(head));
  });
});

describe("what the working tree adds", () => {
  test("the commit's files have git's own modes and object ids", async () => {
    expect(await filesAt(first)).toContainEqual({
      path: "packer/web.pkr.hcl",
      mode: "100644",
      object: git("rev-parse", "HEAD:packer/web.pkr.hcl"),
    });
  });

  test("a file that was modified counts as it is now, and as it will be once committed", async () => {
    const before = await digestAt(first);
    write("packer/scripts/install.sh", "echo something else\n");
    const modified = await digestAt(first);
    const second = commit();
    expect(modified).not.toBe(before);
    expect(await digestAt(second)).toBe(modified);
  });

  test("a file that git does not track counts, and as it will once committed", async () => {
    const before = await digestAt(first);
    write("packer/files/nginx.conf", "worker_processes 2;\n");
    const untracked = await digestAt(first);
    git("add", "--all");
    const staged = await digestAt(first);
    const second = commit();
    expect(untracked).not.toBe(before);
    expect(staged).toBe(untracked);
    expect(await digestAt(second)).toBe(untracked);
  });

  test("an ignored file that inputs match counts: an artifact of the build", async () => {
    write(".gitignore", "dist/\n");
    write("dist/app.jar", "one");
    const head = commit();
    expect(await pathsAt(head, { inputs: ["dist/**"] })).toStrictEqual([
      "dist/app.jar",
      "packer/web.pkr.hcl",
    ]);
    const before = await digestAt(head, { inputs: ["dist/**"] });
    write("dist/app.jar", "two");
    expect(await digestAt(head, { inputs: ["dist/**"] })).not.toBe(before);
  });

  test("a file that was deleted no longer counts", async () => {
    rmSync(join(folder, "packer/scripts/install.sh"));
    expect(await pathsAt(first)).toStrictEqual(["packer/web.pkr.hcl"]);
  });

  test("a change outside of what decides the content changes nothing", async () => {
    const before = await digestAt(first);
    write("README.md", "# changed\n");
    write("elsewhere.txt", "new\n");
    expect(await digestAt(first)).toBe(before);
    expect(await digestAt(commit())).toBe(before);
  });

  test("the executable bit counts, before and after it is committed", async () => {
    const before = await digestAt(first);
    chmodSync(join(folder, "packer/scripts/install.sh"), 0o755);
    const changed = await digestAt(first);
    const second = commit();
    expect(changed).not.toBe(before);
    expect(await digestAt(second)).toBe(changed);
  });

  test("a symbolic link counts by where it points, before and after it is committed", async () => {
    symlinkSync("scripts/install.sh", join(folder, "packer/link.sh"));
    const untracked = await filesAt(first);
    const second = commit();
    const link = { path: "packer/link.sh", mode: "120000", object: git("rev-parse", "HEAD:packer/link.sh") };
    expect(untracked).toContainEqual(link);
    expect(await filesAt(second)).toContainEqual(link);
    rmSync(join(folder, "packer/link.sh"));
    symlinkSync("web.pkr.hcl", join(folder, "packer/link.sh"));
    expect(await digestAt(second)).not.toBe(digestOf("packer/web.pkr.hcl", untracked, {}));
  });

  test("a symbolic link to a folder is a link, not the folder's files", async () => {
    symlinkSync("../app", join(folder, "packer/app"));
    const untracked = await filesAt(first);
    expect(untracked.map(({ path }) => path)).toContain("packer/app");
    expect(await digestAt(commit())).toBe(digestOf("packer/web.pkr.hcl", untracked, {}));
  });

  test("a file of a repository that was checked out within counts", async () => {
    const roles = join(folder, "packer/roles");
    mkdirSync(roles);
    execFileSync("git", ["init", "--quiet"], { cwd: roles, env: plainGit() });
    write("packer/roles/tasks.yml", "- one\n");
    const before = await digestAt(first);
    write("packer/roles/tasks.yml", "- two\n");
    expect(await digestAt(first)).not.toBe(before);
    expect(await pathsAt(first)).toStrictEqual([
      "packer/roles/tasks.yml",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
  });
});

describe("the same content has the same digest", () => {
  test("at any commit", async () => {
    write("README.md", "# later\n");
    expect(await digestAt(commit())).toBe(await digestAt(first));
  });

  test("at an older commit than the one that is checked out: the working tree decides, as Packer reads it", async () => {
    write("packer/web.pkr.hcl", "# second\n");
    const second = commit();
    expect(await digestAt(first)).toBe(await digestAt(second));
  });

  test("in a shallow clone", async () => {
    write("packer/web.pkr.hcl", "# second\n");
    const second = commit();
    const shallow = join(root, "shallow");
    git("clone", "--quiet", "--depth", "1", `file://${folder}`, shallow);
    expect(await digestAt(second, {}, shallow)).toBe(await digestAt(second));
  });

  test.each(["true", "input", "false"])("with core.autocrlf %s", async (setting) => {
    const clone = join(root, "clone");
    git("-c", `core.autocrlf=${setting}`, "clone", "--quiet", `file://${folder}`, clone);
    execFileSync("git", ["config", "core.autocrlf", setting], { cwd: clone, env: plainGit() });
    // As if it had been touched: git looks at the content again.
    writeFileSync(join(clone, "packer/web.pkr.hcl"), setting === "true" ? "# web\r\n" : "# web\n");
    expect(await digestAt(first, {}, clone)).toBe(await digestAt(first));
  });

  test("with every inputs pattern that matches the same files", async () => {
    const reference = await digestAt(first, { inputs: ["app/**"] });
    expect(await digestAt(first, { inputs: ["app/main.py", "app/*.md"] })).toBe(reference);
    expect(await digestAt(first, { inputs: ["./app/**"] })).toBe(reference);
    expect(await digestAt(first, { inputs: ["{app,nowhere}/**"] })).toBe(reference);
  });
});

describe("what cannot be", () => {
  const refusal = (work: Promise<unknown>): Promise<KilnError> =>
    work.then(
      () => Promise.reject(new Error("it was accepted")),
      (error: KilnError) => error,
    );

  test("a commit that this checkout does not have", async () => {
    const commit = "0".repeat(40);
    const error = await refusal(filesAt(commit));
    expect(error.message).toBe(`git does not know commit ${commit} in this checkout`);
    expect(error.next).toContain("actions/checkout");
  });

  test("a folder that is no repository", async () => {
    const error = await refusal(filesAt(first, {}, root));
    expect(error.message).toBe(`${root} is not a git checkout that git will read`);
    expect(error.next).toBe("Run actions/checkout before this step.");
  });

  test("a template that is not there", async () => {
    const error = await refusal(filesAt(first, { template: "packer/api.pkr.hcl" }));
    expect(error.message).toBe(
      `The Packer template packer/api.pkr.hcl is not in the repository at commit ${first.slice(0, 12)}`,
    );
    expect(error.state).toBe("Nothing was changed.");
  });

  test("a variable file that is not there", async () => {
    const error = await refusal(filesAt(first, { varFiles: ["packer/x.pkrvars.hcl"] }));
    expect(error.message).toBe(
      `The Packer variable file packer/x.pkrvars.hcl is not in the repository at commit ${first.slice(0, 12)}`,
    );
  });
});
