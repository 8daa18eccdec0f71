import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatRecord, type ReleaseRecord } from "../../src/release/record.ts";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { blocks } from "./markdown.ts";

/** The documents' git commands, in a repository that has records. */

const folder = mkdtempSync(join(tmpdir(), "kiln-documents-"));
const env = {
  PATH: process.env["PATH"],
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.com",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.com",
};
const git = (...args: string[]): string =>
  execFileSync("git", args, { cwd: folder, env, encoding: "utf8" }).trim();

/** What Kiln keeps of an image, as a commit that no branch has. */
function inventory(packages: string): string {
  const blob = execFileSync("git", ["hash-object", "-w", "--stdin"], { cwd: folder, env, input: packages });
  const input = `100644 blob ${blob.toString().trim()}\tpackages.txt\n`;
  const tree = execFileSync("git", ["mktree"], { cwd: folder, env, input }).toString().trim();
  return git("commit-tree", "-m", "Image", tree);
}

function release(environment: string, number: number, content: string): void {
  writeFileSync(join(folder, "page.html"), content);
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "-m", content);
  const commit = git("rev-parse", "HEAD");
  const record: ReleaseRecord = {
    application: "web",
    tag: { prefix: "release", environment, number },
    kind: "deploy",
    commit,
    version: content,
    images: { "eu-west-1": `ami-0000000000000000${number}` },
    imageName: `web-${content}`,
    imageDigest: `sha256:${"0".repeat(64)}`,
    imageCommit: commit,
    baseImages: {},
    inventory: inventory(`web ${content}\n`),
    targets: [{ region: "eu-west-1", group: "web", launchTemplate: "lt-0", version: "1" }],
    verified: { count: 1, of: 1 },
    smokeTest: "none",
    previous: undefined,
    restores: undefined,
    promotedFrom: undefined,
    reason: undefined,
    actor: "ada",
    run: "https://github.com/acme/web/actions/runs/1",
    started: new Date("2026-11-18T10:00:00Z"),
    finished: new Date("2026-11-18T10:12:34Z"),
  };
  git("tag", "--annotate", "--message", formatRecord(record, ""), formatReleaseTag(record.tag));
}

beforeAll(() => {
  git("init", "--quiet");
  release("dev", 1, "v1");
  release("dev", 2, "v2");
  release("production", 1, "v2");
  release("production", 2, "v3");
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const commands = blocks("sh").flatMap(({ where, text }) =>
  text.split("\n").flatMap((command) => (command.startsWith("git ") ? [{ where, command }] : [])),
);

test.each(commands)("$command ($where) answers", ({ command }) => {
  expect(execFileSync("sh", ["-c", command], { cwd: folder, env, encoding: "utf8" }).trim()).not.toBe("");
});

test("the newest release is first, with its image", () => {
  const command = commands.find((entry) => entry.command.startsWith("git tag -l"))?.command ?? "false";
  expect(
    execFileSync("sh", ["-c", command], { cwd: folder, env, encoding: "utf8" }).trim().split("\n"),
  ).toEqual([
    "release/production/000002 eu-west-1 ami-00000000000000002",
    "release/production/000001 eu-west-1 ami-00000000000000001",
  ]);
});
