import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readHead } from "../../src/action/head.ts";
import { KilnError } from "../../src/domain/errors.ts";
import type { Subprocess } from "../../src/domain/ports.ts";
import { plainGit, realPrograms, ScriptedPrograms } from "../image/programs.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "kiln-head-")));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const git = (...args: string[]): string =>
  execFileSync("git", args, { cwd: folder, env: plainGit(), encoding: "utf8" }).trim();

function commit(name: string): string {
  writeFileSync(join(folder, name), name);
  git("add", "--all");
  git("commit", "--quiet", "-m", name);
  return git("rev-parse", "HEAD");
}

async function errorOf(work: Promise<unknown>): Promise<KilnError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof KilnError) return error;
  throw new Error("it was read", { cause: error });
}

describe("HEAD", () => {
  test("is a branch's commit, a commit itself, a tag's", async () => {
    git("init", "--quiet", "--initial-branch=release/1");
    const first = commit("a");
    expect(await readHead(folder, realPrograms)).toEqual({ commit: first, branch: "release/1" });
    git("tag", "v1");
    const second = commit("b");
    expect(await readHead(folder, realPrograms)).toEqual({ commit: second, branch: "release/1" });
    git("checkout", "--quiet", "--detach");
    expect(await readHead(folder, realPrograms)).toEqual({ commit: second, branch: undefined });
    git("checkout", "--quiet", "v1");
    expect(await readHead(folder, realPrograms)).toEqual({ commit: first, branch: undefined });
  });

  test("is read where files and tags are called HEAD", async () => {
    git("init", "--quiet", "--initial-branch=main");
    const first = commit("HEAD");
    git("tag", "HEAD");
    commit("b");
    git("tag", "-f", "HEAD", first);
    expect((await readHead(folder, realPrograms)).commit).toBe(git("rev-parse", "--verify", "main"));
  });

  test("is read by one call of git, which is told to trust this folder and no other", async () => {
    const programs = new ScriptedPrograms();
    programs.answer = () => ({ code: 0, stdout: `\n${"a".repeat(40)}\nrefs/heads/main\n`, stderr: "" });
    symlinkSync(folder, join(folder, "link"));
    await readHead(join(folder, "link"), programs);
    expect(programs.calls.map(({ args }) => args.slice(0, 2))).toEqual([["-c", `safe.directory=${folder}`]]);
  });
});

test("is read in a folder of another user, as a container job has it", async () => {
  git("init", "--quiet", "--initial-branch=main");
  const first = commit("a");
  const foreign: Subprocess = {
    ...realPrograms,
    // git's own tests have no other user either.
    run: (command, args, options) =>
      realPrograms.run(command, args, {
        ...options,
        env: { ...options.env, GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" },
      }),
  };
  const plain = await foreign.run("git", ["rev-parse", "HEAD"], { cwd: folder });
  expect(plain.stderr).toContain("dubious ownership");
  expect((await readHead(folder, foreign)).commit).toBe(first);
});

test("is read there by a git that takes no trust from a command line, as before 2.38", async () => {
  git("init", "--quiet", "--initial-branch=main");
  const first = commit("a");
  const old: Subprocess = {
    ...realPrograms,
    run: (command, args, options) =>
      realPrograms.run(
        command,
        args.map((arg) => arg.replace(/^safe\.directory=.*/, "safe.directory=/elsewhere")),
        { ...options, env: { ...options.env, GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" } },
      ),
  };
  expect(await readHead(folder, old)).toEqual({ commit: first, branch: "main" });
});

describe("there is none", () => {
  test("without git", async () => {
    const error = await errorOf(readHead(folder, new ScriptedPrograms()));
    expect(error.message).toBe("git is not installed on this runner");
    expect(error.next).toContain("in a container job in the container's image");
  });

  test("without a checkout", async () => {
    const error = await errorOf(readHead(folder, realPrograms));
    expect(error.message).toBe(`There is no checkout in ${folder}`);
    expect(error.next).toMatch(
      /^Run actions\/checkout before this step\. If it has `path`, set `working-directory`/,
    );
  });

  test("in a folder of a checkout, which is no checkout itself", async () => {
    git("init", "--quiet", "--initial-branch=main");
    mkdirSync(join(folder, "services/api"), { recursive: true });
    commit("services/api/x");
    const error = await errorOf(readHead(join(folder, "services/api"), realPrograms));
    expect(error.message).toBe(
      `${join(folder, "services/api")} is the folder services/api of a checkout, and not the checkout itself`,
    );
    expect(error.next).toContain("`working-directory`");
  });

  test("before the first commit", async () => {
    git("init", "--quiet");
    expect((await errorOf(readHead(folder, realPrograms))).message).toBe(
      `git cannot read the commit that is checked out in ${folder}`,
    );
  });

  test("where git does not trust the folder although it was told to", async () => {
    const programs = new ScriptedPrograms();
    programs.answer = () => ({
      code: 128,
      stdout: "",
      stderr: `fatal: detected dubious ownership in repository at '${folder}'`,
    });
    const error = await errorOf(readHead(folder, programs));
    expect(error.message).toBe(`git does not trust the checkout in ${folder}: it belongs to another user`);
    expect(error.next).toContain(`git config --global --add safe.directory ${folder}`);
  });

  test.each(["", "\nHEAD\n", `\n${"a".repeat(39)}\nHEAD\n`])("where git says %j", async (stdout) => {
    const programs = new ScriptedPrograms();
    programs.answer = () => ({ code: 0, stdout, stderr: "" });
    expect((await errorOf(readHead(folder, programs))).message).toContain("git does not say which commit");
  });
});
