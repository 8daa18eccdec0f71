import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Finished, Subprocess, SubprocessOptions } from "../../src/domain/ports.ts";
import { findContentFiles } from "../../src/image/content/content-files.ts";
import { digestIn, filesIn, GitCheckout, NO_FILES, recipeOf } from "./git-checkout.ts";
import { plainGit, realPrograms } from "./programs.ts";

/** What counts is what is on disk, whatever git would store or was told about it. */

let checkout: GitCheckout;
let folder: string;
const SCRIPT = "packer/scripts/install.sh";

beforeEach(() => {
  checkout = new GitCheckout();
  folder = checkout.folder;
  checkout.write("packer/web.pkr.hcl", "# web\n");
  checkout.write(SCRIPT, "echo install\n");
  checkout.commit();
});

afterEach(() => checkout[Symbol.dispose]());

/** The digest of the same bytes in a repository that has no settings, attributes or index to be misled by. */
async function digestOfPlainCopy(of = folder): Promise<string> {
  using plain = new GitCheckout();
  execFileSync("cp", ["-a", join(of, "packer"), plain.folder]);
  return await digestIn(plain.folder);
}

const rawId = (path: string, of = folder): string =>
  execFileSync("git", ["hash-object", "--no-filters", path], {
    cwd: of,
    env: plainGit(),
    encoding: "utf8",
  }).trim();

const objectOf = async (path: string, of = folder): Promise<string | undefined> =>
  (await filesIn(of)).files.find((file) => file.path === path)?.object;

describe("an unchanged file", () => {
  test("has git's own mode and object id", async () => {
    const { files } = await filesIn(folder);
    const object = checkout.git("rev-parse", `HEAD:${SCRIPT}`);
    expect(files).toContainEqual({ path: SCRIPT, mode: "100644", object, reason: "template" });
  });

  test("has the digest of the same bytes in any checkout: at another commit, shallow, without an index", async () => {
    const digest = await digestIn(folder);
    checkout.write("README.md", "# later\n");
    checkout.commit();
    expect(await digestIn(folder)).toBe(digest);
    expect(await digestIn(checkout.clone("shallow", { clone: ["--depth", "1"] }))).toBe(digest);
    rmSync(join(folder, ".git/index"));
    expect(await digestIn(folder)).toBe(digest);
  });

  test("in a repository with SHA-256 has that repository's ids, changed or not", async () => {
    using other = new GitCheckout("sha256");
    other.write("packer/web.pkr.hcl", "# web\n");
    const untracked = await digestIn(other.folder);
    other.commit();
    expect(await digestIn(other.folder)).toBe(untracked);
    expect(await objectOf("packer/web.pkr.hcl", other.folder)).toHaveLength(64);
  });
});

describe("a changed file", () => {
  test("counts as it is now, and gives the digest that it gives once it is committed", async () => {
    const before = await digestIn(folder);
    checkout.write(SCRIPT, "echo something else\n");
    const modified = await digestIn(folder);
    checkout.commit();
    expect(modified).not.toBe(before);
    expect(await digestIn(folder)).toBe(modified);
  });

  test("counts if it has the length and the times that it had: git's racy second, and a time that was set back", async () => {
    const before = await digestIn(folder);
    const { atime, mtime } = statSync(join(folder, SCRIPT));
    checkout.write(SCRIPT, "echo INSTALL\n");
    utimesSync(join(folder, SCRIPT), atime, mtime);
    checkout.git("config", "core.trustctime", "false");
    checkout.git("config", "core.checkStat", "minimal");
    expect(await digestIn(folder)).not.toBe(before);
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
  });

  test.each(["--assume-unchanged", "--skip-worktree"])("counts after git update-index %s", async (option) => {
    const before = await digestIn(folder);
    checkout.git("update-index", option, SCRIPT);
    expect(await digestIn(folder)).toBe(before);
    checkout.write(SCRIPT, "echo changed by hand\n");
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    expect(await digestIn(folder)).not.toBe(before);
  });

  test("counts with core.ignoreStat, an untracked cache and a file system monitor", async () => {
    checkout.git("config", "core.ignoreStat", "true");
    checkout.git("config", "core.untrackedCache", "true");
    checkout.git("update-index", "--force-untracked-cache");
    checkout.git("config", "core.fsmonitor", "touch ran-by-git; false");
    checkout.write(SCRIPT, "echo 1\n");
    checkout.git("-c", "core.fsmonitor=false", "add", "--all");
    checkout.git("-c", "core.fsmonitor=false", "status");
    checkout.write(SCRIPT, "echo 2\n");
    checkout.write("packer/new.sh", "echo new\n");
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    expect(await objectOf("packer/new.sh")).toBe(rawId("packer/new.sh"));
    expect(() => statSync(join(folder, "ran-by-git"))).toThrow("ENOENT");
  });

  test("counts if it was only staged, or is to be added later", async () => {
    checkout.write("packer/staged.sh", "echo 1\n");
    checkout.write("packer/later.sh", "echo 1\n");
    checkout.git("add", "packer/staged.sh");
    checkout.git("add", "--intent-to-add", "packer/later.sh");
    expect(await digestIn(folder)).toBe(await digestOfPlainCopy());
    checkout.write("packer/staged.sh", "echo 2\n");
    expect(await digestIn(folder)).toBe(await digestOfPlainCopy());
  });

  test("counts as it is on disk in the middle of a merge", async () => {
    checkout.git("checkout", "--quiet", "-b", "other");
    checkout.write(SCRIPT, "echo theirs\n");
    checkout.commit();
    checkout.git("checkout", "--quiet", "main");
    checkout.write(SCRIPT, "echo ours\n");
    checkout.commit();
    expect(() => checkout.git("merge", "other")).toThrow("Command failed");
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    expect(await digestIn(folder)).toBe(await digestOfPlainCopy());
  });
});

describe("the executable bit", () => {
  test("counts, and gives the digest that it gives once it is committed", async () => {
    const before = await digestIn(folder);
    chmodSync(join(folder, SCRIPT), 0o755);
    const changed = await digestIn(folder);
    checkout.commit();
    expect(changed).not.toBe(before);
    expect(await digestIn(folder)).toBe(changed);
  });

  test("counts as it is on disk with core.fileMode off", async () => {
    checkout.git("config", "core.fileMode", "false");
    chmodSync(join(folder, SCRIPT), 0o755);
    checkout.write(SCRIPT, "echo x\n");
    checkout.commit();
    expect(checkout.git("ls-files", "--stage", SCRIPT)).toMatch(/^100644/);
    expect((await filesIn(folder)).files.find(({ path }) => path === SCRIPT)?.mode).toBe("100755");
  });
});

describe("filters", () => {
  const CRLF = "echo install\r\n";

  test.each([
    ["core.autocrlf=true, kept", ["-c", "core.autocrlf=true"], "true"],
    ["core.autocrlf=true for the clone only", ["-c", "core.autocrlf=true"], undefined],
    ["core.eol=crlf with text=auto", ["-c", "core.eol=crlf"], undefined],
  ])("%s: the lines on disk end with CRLF, and that counts", async (_, git, kept) => {
    checkout.write(".gitattributes", "packer/scripts/* text=auto\n");
    checkout.commit();
    const clone = checkout.clone("clone", { git });
    if (kept !== undefined)
      execFileSync("git", ["config", "core.autocrlf", kept], { cwd: clone, env: plainGit() });
    expect(readFileSync(join(clone, SCRIPT), "utf8")).toBe(CRLF);
    expect(await objectOf(SCRIPT, clone)).toBe(rawId(SCRIPT, clone));
    expect(await digestIn(clone)).toBe(await digestOfPlainCopy(clone));
    expect(await digestIn(clone)).not.toBe(await digestIn(folder));
  });

  test.each(["true", "input"])(
    "core.autocrlf=%s: a CRLF that git would not store counts",
    async (setting) => {
      checkout.git("config", "core.autocrlf", setting);
      checkout.write(SCRIPT, CRLF);
      expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
      // To git nothing has changed, and its index is told so.
      checkout.git("add", "--all");
      expect(checkout.git("status", "--porcelain")).toBe("");
      expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    },
  );

  test("eol=crlf counts, and so do lines that an earlier .gitattributes left on disk", async () => {
    checkout.write(".gitattributes", "*.sh text eol=crlf\n");
    rmSync(join(folder, SCRIPT));
    checkout.git("checkout", "--", SCRIPT);
    expect(readFileSync(join(folder, SCRIPT), "utf8")).toBe(CRLF);
    checkout.commit();
    const digest = await digestIn(folder);
    expect(digest).toBe(await digestOfPlainCopy());
    // What a runner that keeps its workspace does: the next commit has no such line, and git leaves the file as it is.
    checkout.git("rm", "--quiet", ".gitattributes");
    checkout.git("commit", "--quiet", "--message", "no attributes");
    expect(readFileSync(join(folder, SCRIPT), "utf8")).toBe(CRLF);
    expect(await digestIn(folder)).toBe(digest);
  });

  test("ident and working-tree-encoding count as they are on disk", async () => {
    checkout.write(".gitattributes", "*.id ident\n*.utf16 text working-tree-encoding=UTF-16LE\n");
    checkout.write("packer/a.id", "$Id$\n");
    checkout.write("packer/b.utf16", Buffer.from("hello\n", "utf16le"));
    checkout.commit();
    const clone = checkout.clone("clone");
    expect(readFileSync(join(clone, "packer/a.id"), "utf8")).toMatch(/^\$Id: [0-9a-f]{40} \$\n$/);
    expect(readFileSync(join(clone, "packer/b.utf16"))).toEqual(Buffer.from("hello\n", "utf16le"));
    expect(await digestIn(clone)).toBe(await digestOfPlainCopy(clone));
  });

  test("a filter that keeps the length counts as it is on disk", async () => {
    checkout.git("config", "filter.upper.clean", "tr a-z A-Z");
    checkout.git("config", "filter.upper.smudge", "tr A-Z a-z");
    checkout.write(".gitattributes", "packer/scripts/* filter=upper\n");
    checkout.write(SCRIPT, "echo lower\n");
    checkout.commit();
    expect(checkout.git("show", `HEAD:${SCRIPT}`)).toBe("ECHO LOWER");
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    expect(await digestIn(folder)).toBe(await digestOfPlainCopy());
  });

  test("no filter program of the repository's configuration is run: one that is required and fails", async () => {
    checkout.write(".gitattributes", "packer/scripts/* filter=secret\n");
    checkout.commit();
    checkout.git("config", "filter.secret.clean", `touch ${join(checkout.root, "ran")}; false`);
    checkout.git("config", "filter.secret.required", "true");
    checkout.write(SCRIPT, "echo changed\n");
    expect(() => checkout.git("add", "--all")).toThrow("clean filter 'secret' failed");
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    // In the second in which the index was written git would compare the content.
    checkout.git("-c", "filter.secret.clean=cat", "add", "--all");
    rmSync(join(checkout.root, "ran"), { force: true });
    expect(await objectOf(SCRIPT)).toBe(rawId(SCRIPT));
    expect(() => statSync(join(checkout.root, "ran"))).toThrow("ENOENT");
  });

  test("a file that Git LFS has put in place counts with its own bytes", async () => {
    checkout.git(
      "config",
      "filter.lfs.clean",
      "sha256sum | sed 's/ .*//; s/^/version https:..git-lfs.github.com.spec.v1 oid /'",
    );
    checkout.git("config", "filter.lfs.smudge", "cat");
    checkout.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    checkout.write("packer/app.bin", "the file itself");
    checkout.commit();
    expect(await objectOf("packer/app.bin")).toBe(rawId("packer/app.bin"));
    expect(await digestIn(folder)).toBe(await digestOfPlainCopy());
  });
});

describe("names that are not UTF-8", () => {
  /** Bytes that no text has. */
  const place = (name: string): Buffer =>
    Buffer.concat([Buffer.from(`${folder}/packer/`), Buffer.from(name, "latin1")]);
  const odd = "caf\xe9.sh";

  test("count, untracked, tracked, changed, and are told apart", async () => {
    const before = await digestIn(folder);
    writeFileSync(place(odd), "echo 1\n");
    const untracked = await digestIn(folder);
    checkout.commit();
    const tracked = await digestIn(folder);
    appendFileSync(place(odd), "echo 2\n");
    const changed = await digestIn(folder);
    rmSync(place(odd));
    writeFileSync(place("caf\xe8.sh"), "echo 1\n");
    const renamed = await digestIn(folder);
    expect(new Set([before, untracked, changed, renamed]).size).toBe(4);
    expect(tracked).toBe(untracked);
    checkout.commit();
    expect(await digestIn(folder)).toBe(renamed);
  });

  test("are matched by wildcards, and printed with escapes", async () => {
    writeFileSync(place(odd), "echo 1\n");
    const { files } = await filesIn(folder, { inputs: ["packer/*.sh"] });
    expect(files.map(({ path }) => JSON.stringify(path))).toContain('"packer/caf\\udce9.sh"');
  });

  test("in UTF-8 are the text that they are, beside such ones", async () => {
    writeFileSync(place(odd), "echo 1\n");
    checkout.write("packer/café.sh", "echo 2\n");
    const { files } = await filesIn(folder);
    expect(files.map(({ path }) => path)).toContain("packer/café.sh");
  });

  test("that git would quote are taken as they are", async () => {
    const name = 'packer/scripts/naïve file\t"1".sh';
    const before = await digestIn(folder);
    checkout.write(name, "echo\n");
    expect((await filesIn(folder)).files.map(({ path }) => path)).toContain(name);
    expect(await digestIn(folder)).not.toBe(before);
  });
});

describe("git", () => {
  const dubious: Subprocess = {
    ...realPrograms,
    run: (command, args, options) =>
      realPrograms.run(command, args, {
        ...options,
        env: { ...options.env, GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" },
      }),
  };

  test("reads a checkout that belongs to another user, as in a container job", async () => {
    const paths = (subprocess: Subprocess) => findContentFiles(recipeOf(), NO_FILES, { folder, subprocess });
    expect(await paths(dubious)).toStrictEqual(await paths(realPrograms));
    expect((await dubious.run("git", ["status"], { cwd: folder })).stderr).toContain("dubious ownership");
  });

  test("that is not installed is named", async () => {
    const none: Subprocess = {
      ...realPrograms,
      run: (_: string, args: readonly string[], options: SubprocessOptions): Promise<Finished> =>
        realPrograms.run("no-such-git", args, options),
    };
    await expect(findContentFiles(recipeOf(), NO_FILES, { folder, subprocess: none })).rejects.toMatchObject({
      message: "git is not installed on this runner",
    });
  });

  test("that fails is no answer", async () => {
    const failing: Subprocess = {
      ...realPrograms,
      run: async (command, args, options) =>
        args.includes("diff-files")
          ? { code: 128, stdout: "", stderr: "fatal: index file corrupt" }
          : realPrograms.run(command, args, options),
    };
    await expect(
      findContentFiles(recipeOf(), NO_FILES, { folder, subprocess: failing }),
    ).rejects.toMatchObject({
      message: `git diff-files failed in ${folder}`,
      state: "Nothing was changed. git said: fatal: index file corrupt",
    });
  });

  test("starts no process per file", async () => {
    for (let index = 0; index < 200; index += 1) checkout.write(`packer/many/${index}`, String(index));
    const calls: string[] = [];
    const counting: Subprocess = {
      ...realPrograms,
      run: (command, args, options) => {
        calls.push(command);
        return realPrograms.run(command, args, options);
      },
    };
    await findContentFiles(recipeOf(), NO_FILES, { folder, subprocess: counting });
    expect(calls.length).toBeLessThan(10);
  });
});
