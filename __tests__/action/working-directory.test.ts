import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findWorkingDirectory } from "../../src/action/working-directory.ts";

let workspace: string;
let elsewhere: string;
beforeAll(() => {
  workspace = mkdtempSync(join(tmpdir(), "kiln-workspace-"));
  elsewhere = mkdtempSync(join(tmpdir(), "kiln-elsewhere-"));
  for (const path of ["app/.git", "deep/er/.git", "plain", "worktree"])
    mkdirSync(join(workspace, path), { recursive: true });
  // A submodule's or a worktree's is a file.
  writeFileSync(join(workspace, "worktree/.git"), "gitdir: ../app/.git\n");
  writeFileSync(join(workspace, "file"), "");
  symlinkSync(elsewhere, join(workspace, "out"));
  symlinkSync(join(workspace, "app"), join(workspace, "in"));
});
afterAll(() => {
  for (const folder of [workspace, elsewhere]) rmSync(folder, { recursive: true, force: true });
});

test.each([
  ["app", "app"],
  [" ./app/ ", "app/"],
  ["deep/er", "deep/er"],
  ["worktree", "worktree"],
  ["in", "in"],
])("%j is a folder with a checkout", (given, path) => {
  const found = findWorkingDirectory(workspace, given);
  expect(found).toEqual({ folder: join(workspace, path), problem: undefined, advice: undefined });
});

test.each([undefined, "", "  "])(
  "%j is the workspace itself; where nothing is checked out there, it says where",
  (given) => {
    const found = findWorkingDirectory(workspace, given);
    expect(found).toMatchObject({ folder: workspace, problem: undefined });
    expect(found.advice).toBe(
      `nothing is checked out in ${workspace}. Run actions/checkout before this step, or set \`working-directory: app\` or \`working-directory: worktree\`, where there is a checkout`,
    );
  },
);

test("a folder without a checkout is told when something is missing there", () => {
  expect(findWorkingDirectory(workspace, "plain").advice).toMatch(
    /^nothing is checked out in .*\/plain\. Run/,
  );
  expect(findWorkingDirectory(elsewhere, undefined).advice).toBe(
    `nothing is checked out in ${elsewhere}. Run actions/checkout before this step`,
  );
});

test.each([
  ["../other", /^must be a path inside the job's workspace, relative to it$/],
  ["/etc", /^must be a path inside the job's workspace, relative to it$/],
  ["app/../..", /^must be a path inside the job's workspace, relative to it$/],
  ["a\nb", /^must be a path inside the job's workspace, relative to it$/],
  [
    "missing",
    /^there is no folder missing in the workspace\. Run actions\/checkout with `path: missing` before this step, or set `working-directory: app`/,
  ],
  ["file", /^there is no folder file in the workspace/],
  ["out", /^out leads out of the workspace by a symbolic link$/],
])("%j is refused", (given, problem) => {
  expect(findWorkingDirectory(workspace, given).problem).toMatch(problem);
});

test("a workspace that is not there has nothing", () => {
  expect(findWorkingDirectory("/nowhere", undefined).advice).toContain("nothing is checked out in /nowhere");
  expect(findWorkingDirectory("/nowhere", "app").problem).toContain("there is no folder app");
});
