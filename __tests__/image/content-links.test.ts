import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Subprocess } from "../../src/domain/ports.ts";
import { findContentFiles } from "../../src/image/content/content-files.ts";
import { digestIn, filesIn, GitCheckout, NO_FILES, pathsIn, recipeOf } from "./git-checkout.ts";
import { plainGit, realPrograms } from "./programs.ts";

/** Symbolic links in the content: what they lead to counts. */

let checkout: GitCheckout;
let folder: string;

const link = (target: string, path: string): void => symlinkSync(target, join(folder, path));

beforeEach(() => {
  checkout = new GitCheckout();
  folder = checkout.folder;
  checkout.write("packer/web.pkr.hcl", "# web\n");
  checkout.write("shared/setup.sh", "echo setup\n");
  checkout.write("shared/lib/a.sh", "echo a\n");
  checkout.commit();
});

afterEach(() => checkout[Symbol.dispose]());

/** Whether a change changes the digest. */
async function counts(change: () => void): Promise<boolean> {
  const before = await digestIn(folder);
  change();
  return (await digestIn(folder)) !== before;
}

describe("a link to a file", () => {
  beforeEach(() => link("../shared/setup.sh", "packer/setup.sh"));

  test("counts by its target's name, and with its target", async () => {
    const { files } = await filesIn(folder);
    expect(files.map(({ path, mode, reason, because }) => [path, mode, reason, because])).toStrictEqual([
      ["packer/setup.sh", "120000", "template", undefined],
      ["packer/web.pkr.hcl", "100644", "template", undefined],
      ["shared/setup.sh", "100644", "link", "packer/setup.sh"],
    ]);
  });

  test("gives the same digest once it is committed", async () => {
    const untracked = await digestIn(folder);
    checkout.commit();
    expect(await digestIn(folder)).toBe(untracked);
    expect((await filesIn(folder)).files.find(({ path }) => path === "packer/setup.sh")?.object).toBe(
      checkout.git("rev-parse", "HEAD:packer/setup.sh"),
    );
  });

  test.each<[what: string, change: () => void]>([
    ["the target's bytes", () => checkout.write("shared/setup.sh", "echo changed\n")],
    ["the target's executable bit", () => chmodSync(join(folder, "shared/setup.sh"), 0o755)],
    [
      "where it leads",
      () => {
        checkout.write("shared/copy.sh", "echo setup\n");
        rmSync(join(folder, "packer/setup.sh"));
        link("../shared/copy.sh", "packer/setup.sh");
      },
    ],
    ["that its target is gone", () => rmSync(join(folder, "shared/setup.sh"))],
  ])("another digest with another %s", async (_, change) => {
    checkout.commit();
    expect(await counts(change)).toBe(true);
  });

  test("as it is on disk where links are checked out as files", async () => {
    checkout.commit();
    const clone = checkout.clone("clone", { git: ["-c", "core.symlinks=false"] });
    execFileSync("git", ["config", "core.symlinks", "false"], { cwd: clone, env: plainGit() });
    const { files } = await filesIn(clone);
    expect(files.map(({ path, mode }) => [path, mode])).toContainEqual(["packer/setup.sh", "100644"]);
  });
});

describe("a link to a folder", () => {
  beforeEach(() => link("../shared", "packer/shared"));

  test("counts with every file below the folder", async () => {
    expect(await pathsIn(folder)).toStrictEqual([
      "packer/shared",
      "packer/web.pkr.hcl",
      "shared/lib/a.sh",
      "shared/setup.sh",
    ]);
    expect(await counts(() => checkout.write("shared/lib/b.sh", "echo b\n"))).toBe(true);
  });

  test("does not count what git ignores there, unless the template refers to it", async () => {
    checkout.write(".gitignore", "*.log\n");
    expect(await counts(() => checkout.write("shared/x.log", "x"))).toBe(false);
    const reference = {
      path: "packer/shared",
      attribute: "source",
      place: { file: "packer/web.pkr.hcl", line: 1, column: 1 },
      required: true,
    };
    expect(await pathsIn(folder, {}, { references: [reference] })).toContain("shared/x.log");
  });

  test("counts without what inputs take out", async () => {
    expect(await pathsIn(folder, { inputs: ["!shared/lib/**"] })).not.toContain("shared/lib/a.sh");
  });
});

test("every link on a way counts, so that a change of any of them is seen", async () => {
  checkout.write("v1/setup.sh", "echo 1\n");
  checkout.write("v2/setup.sh", "echo 2\n");
  link("v1", "current");
  link("../current/setup.sh", "packer/setup.sh");
  const inputs = ["packer/**", "v1/**", "v2/**"];
  expect(await pathsIn(folder, { inputs })).toStrictEqual([
    "current",
    "packer/setup.sh",
    "packer/web.pkr.hcl",
    "v1/setup.sh",
    "v2/setup.sh",
  ]);
  const before = await digestIn(folder, { inputs });
  rmSync(join(folder, "current"));
  link("v2", "current");
  expect(await digestIn(folder, { inputs })).not.toBe(before);
});

test("links that lead in circles, to themselves and to folders that they are in end", async () => {
  link("loop-b", "packer/loop-a");
  link("loop-a", "packer/loop-b");
  link("self", "packer/self");
  link("..", "packer/up");
  link("nowhere/at/all", "packer/dangling");
  mkdirSync(join(folder, "shared/deep"));
  link("../../packer", "shared/deep/packer");
  const paths = await pathsIn(folder);
  expect(paths).toContain("shared/deep/packer");
  expect(new Set(paths).size).toBe(paths.length);
  checkout.commit();
  expect(await pathsIn(folder)).toStrictEqual(paths);
});

test("many links to many folders take no more than each file once", async () => {
  for (let from = 0; from < 30; from += 1) {
    checkout.write(`packer/d${from}/file`, String(from));
    for (let to = 0; to < 30; to += 1) link(`../d${to}`, `packer/d${from}/l${to}`);
  }
  expect((await pathsIn(folder)).length).toBe(1 + 30 * 31);
});

test("links to thousands of files are listed at once, and only those files count", async () => {
  const name = (index: number): string => `${"long-".repeat(20)}${index}`;
  for (let index = 0; index < 3000; index += 1) {
    checkout.write(`bundle/${name(index)}`, String(index));
    if (index % 2 === 0) link(`../bundle/${name(index)}`, `packer/l${index}`);
  }
  const lengths: number[] = [];
  const measuring: Subprocess = {
    ...realPrograms,
    run: (command, args, options) => {
      lengths.push(args.join(" ").length);
      return realPrograms.run(command, args, options);
    },
  };
  const { files } = await findContentFiles(recipeOf(), NO_FILES, { folder, subprocess: measuring });
  expect(files.filter(({ path }) => path.startsWith("bundle/"))).toHaveLength(1500);
  // Linux takes 2 MB, with the environment.
  expect(Math.max(...lengths)).toBeLessThan(50_000);
});

test("a link into .git is one out of the repository", async () => {
  link("../.git/hooks", "packer/hooks");
  const { files, linksOutside } = await filesIn(folder);
  expect(files.map(({ path }) => path).filter((path) => path.includes(".git"))).toStrictEqual([]);
  expect(linksOutside).toStrictEqual(["packer/hooks"]);
});

test("an absolute link, and one that leads out and back in, are followed", async () => {
  link(join(folder, "shared/setup.sh"), "packer/absolute.sh");
  link("../../repository/shared/lib/a.sh", "packer/around.sh");
  const { files, linksOutside } = await filesIn(folder);
  expect(linksOutside).toStrictEqual([]);
  expect(files.filter(({ reason }) => reason === "link").map(({ path }) => path)).toStrictEqual([
    "shared/lib/a.sh",
    "shared/setup.sh",
  ]);
});

test("a link in a folder that is uploaded leads to what git ignores too", async () => {
  checkout.write(".gitignore", "*.log\n");
  checkout.write("shared/x.log", "x");
  link("../shared", "packer/shared");
  const place = { file: "packer/web.pkr.hcl", line: 1, column: 1 };
  const references = [{ path: "packer", attribute: "source", place, required: true }];
  expect(await pathsIn(folder, {}, { references })).toContain("shared/x.log");
});

describe("a template behind a link", () => {
  test("counts with the link: a link in the folder's place", async () => {
    checkout.write("images/web/web.pkr.hcl", "# web\n");
    checkout.write("images/web/vars.auto.pkrvars.hcl", "a = 1\n");
    link("images/web", "current");
    const paths = ["current", "images/web/vars.auto.pkrvars.hcl", "images/web/web.pkr.hcl"];
    expect(await pathsIn(folder, { template: "current", inputs: ["!images/**"] })).toStrictEqual(paths);
    expect(await pathsIn(folder, { template: "current/web.pkr.hcl" })).toStrictEqual(paths);
  });

  test("counts with the link: a link in the file's place", async () => {
    link("web.pkr.hcl", "packer/current.pkr.hcl");
    const changes = { template: "packer/current.pkr.hcl", inputs: ["shared/*"] };
    expect(await pathsIn(folder, changes)).toStrictEqual([
      "packer/current.pkr.hcl",
      "packer/web.pkr.hcl",
      "shared/setup.sh",
    ]);
  });
});
