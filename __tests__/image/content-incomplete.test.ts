import { execFileSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/domain/errors.ts";
import { digestIn, filesIn, GitCheckout, pathsIn } from "./git-checkout.ts";
import { plainGit } from "./programs.ts";

/** Checkouts that lack content are refused, with the remedy. */

let checkout: GitCheckout;
let folder: string;

beforeEach(() => {
  checkout = new GitCheckout();
  folder = checkout.folder;
  checkout.write("packer/web.pkr.hcl", "# web\n");
  checkout.write("app/main.py", "print(1)\n");
  checkout.write("docs/page.md", "# page\n");
  checkout.commit();
});

afterEach(() => checkout[Symbol.dispose]());

async function problemsOf(work: Promise<unknown>): Promise<readonly string[]> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof InvalidInputError) return error.problems.map(({ message }) => message);
  throw new Error("it was not refused", { cause: error });
}

const git = (at: string, ...args: readonly string[]): string =>
  execFileSync("git", ["-c", "protocol.file.allow=always", ...args], {
    cwd: at,
    env: plainGit(),
    encoding: "utf8",
    stdio: "pipe",
  });

const POINTER = `version https://git-lfs.github.com/spec/v1
oid sha256:${"4d".repeat(32)}
size 12345
`;

describe("Git LFS pointers", () => {
  const MESSAGE =
    "has Git LFS pointers in place of files that decide the image: packer/app.bin. Set `lfs: true` in the step with actions/checkout";

  beforeEach(() => {
    // What `lfs: false` leaves, with Git LFS installed or not.
    checkout.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    checkout.write("packer/app.bin", POINTER);
    checkout.write("docs/movie.bin", POINTER);
    checkout.commit();
  });

  test("are refused: in the template's folder, by inputs, by a reference", async () => {
    expect(await problemsOf(filesIn(folder))).toStrictEqual([MESSAGE]);
    expect(await problemsOf(filesIn(folder, { inputs: ["packer/*.bin"] }))).toStrictEqual([MESSAGE]);
    const place = { file: "packer/web.pkr.hcl", line: 1, column: 1 };
    const references = [{ path: "packer/app.bin", attribute: "source", place, required: true }];
    expect(await problemsOf(filesIn(folder, { inputs: ["app/**"] }, { references }))).toStrictEqual([
      MESSAGE,
    ]);
  });

  test("are refused in a fresh clone, in which git knows the files as unchanged", async () => {
    const clone = checkout.clone("clone");
    expect(git(clone, "status", "--porcelain")).toBe("");
    expect(await problemsOf(filesIn(clone))).toStrictEqual([MESSAGE]);
  });

  test("that do not count are none of the image's business", async () => {
    expect(await pathsIn(folder, { inputs: ["app/**"] })).toStrictEqual([
      "app/main.py",
      "packer/web.pkr.hcl",
    ]);
  });

  test("are accepted as what they are where no filter would put a file in their place", async () => {
    checkout.write(".gitattributes", "*.bin -text\n");
    checkout.commit();
    expect(await pathsIn(folder)).toContain("packer/app.bin");
  });
});

describe("submodules", () => {
  let library: GitCheckout;

  beforeEach(() => {
    library = new GitCheckout();
    library.write("role/tasks.yml", "- one\n");
    library.write("README.md", "# library\n");
    library.commit();
    checkout.git(
      "-c",
      "protocol.file.allow=always",
      "submodule",
      "--quiet",
      "add",
      `file://${library.folder}`,
      "packer/library",
    );
    checkout.commit();
  });

  afterEach(() => library[Symbol.dispose]());

  const MESSAGE =
    "lacks submodules whose files decide the image: packer/library. Set `submodules: true` in the step with actions/checkout";

  test("that are not checked out are refused", async () => {
    const clone = checkout.clone("clone");
    expect(await problemsOf(filesIn(clone))).toStrictEqual([MESSAGE]);
    for (const inputs of [
      ["packer/**"],
      ["packer/library/role/*.yml"],
      ["**/*.yml"],
      ["packer/l*/role/*"],
      ["packer/l*/**"],
    ])
      expect(await problemsOf(filesIn(clone, { inputs })), inputs.join()).toStrictEqual([MESSAGE]);
  });

  test("that are not checked out do not matter if nothing below them counts", async () => {
    const clone = checkout.clone("clone");
    for (const inputs of [
      ["app/**"],
      ["packer/*"],
      ["packer/**", "!packer/library/**"],
      ["app/**", "packer/w*"],
      ["packer/*.hcl"],
    ])
      expect(await pathsIn(clone, { inputs }), inputs.join()).toContain("packer/web.pkr.hcl");
    expect(await pathsIn(clone, { inputs: ["!packer/library/**"] })).toStrictEqual(["packer/web.pkr.hcl"]);
  });

  test("that are checked out count with their files, as they are on disk", async () => {
    const clone = checkout.clone("clone", { clone: ["--recurse-submodules"] });
    expect(await pathsIn(clone)).toStrictEqual([
      "packer/library/README.md",
      "packer/library/role/tasks.yml",
      "packer/web.pkr.hcl",
    ]);
    expect(await digestIn(clone)).toBe(await digestIn(folder));
    expect(await pathsIn(clone, { inputs: ["packer/library/role/*"] })).toStrictEqual([
      "packer/library/role/tasks.yml",
      "packer/web.pkr.hcl",
    ]);
    const before = await digestIn(folder);
    checkout.write("packer/library/role/tasks.yml", "- two\n");
    expect(await digestIn(folder)).not.toBe(before);
  });

  test("give the digest of the same files without a submodule", async () => {
    const before = await digestIn(folder);
    checkout.git("rm", "--quiet", "--cached", "packer/library");
    rmSync(join(folder, "packer/library/.git"));
    checkout.commit();
    expect(await digestIn(folder)).toBe(before);
  });
});

describe("sparse checkouts", () => {
  const REMEDY =
    "Add them to `sparse-checkout` in the step with actions/checkout, or remove that input; a file that was hidden by hand comes back with `git update-index --no-skip-worktree` and `git checkout`";

  test.each([["--cone"], ["--no-cone"], ["--sparse-index"]])(
    "%s: content that is not there is refused, the rest does not matter",
    async (mode) => {
      const clone = checkout.clone("clone");
      git(clone, "sparse-checkout", "set", mode, mode === "--no-cone" ? "/packer/" : "packer");
      expect(existsSync(join(clone, "app/main.py"))).toBe(false);
      expect(await digestIn(clone)).toBe(await digestIn(folder));
      expect(await problemsOf(filesIn(clone, { inputs: ["app/**"] }))).toStrictEqual([
        `is sparse and lacks files that decide the image: app/main.py. ${REMEDY}`,
      ]);
      expect(await pathsIn(clone, { inputs: ["packer/*", "!app/**"] })).toStrictEqual(["packer/web.pkr.hcl"]);
    },
  );

  test("a partial clone is not asked for what it lacks", async () => {
    checkout.git("config", "uploadpack.allowFilter", "true");
    const clone = checkout.clone("clone", { clone: ["--filter=blob:none", "--sparse"] });
    git(clone, "sparse-checkout", "set", "packer");
    rmSync(join(folder, ".git"), { recursive: true });
    expect(await pathsIn(clone)).toStrictEqual(["packer/web.pkr.hcl"]);
    expect((await problemsOf(filesIn(clone, { inputs: ["**"] })))[0]).toContain("app/main.py, docs/page.md");
  });

  test("a file that was hidden by hand and is missing is refused", async () => {
    checkout.git("update-index", "--skip-worktree", "packer/web.pkr.hcl");
    rmSync(join(folder, "packer/web.pkr.hcl"));
    expect(await problemsOf(filesIn(folder))).toStrictEqual([
      `is sparse and lacks files that decide the image: packer/web.pkr.hcl. ${REMEDY}`,
    ]);
  });

  test("what the template or a link refers to is refused too", async () => {
    const clone = checkout.clone("clone");
    git(clone, "sparse-checkout", "set", "packer");
    const place = { file: "packer/web.pkr.hcl", line: 1, column: 1 };
    for (const path of ["app", "app/main.py"]) {
      const references = [{ path, attribute: "source", place, required: true }];
      expect((await problemsOf(filesIn(clone, {}, { references })))[0]).toContain("app/main.py");
    }
    execFileSync("ln", ["-s", "../app", "packer/app"], { cwd: clone });
    expect((await problemsOf(filesIn(clone)))[0]).toContain("app/main.py");
  });
});

test("everything that is missing is said at once", async () => {
  checkout.write(".gitattributes", "*.bin filter=lfs\n");
  for (let index = 0; index < 7; index += 1) checkout.write(`packer/${index}.bin`, POINTER);
  checkout.commit();
  checkout.git("update-index", "--skip-worktree", "app/main.py");
  rmSync(join(folder, "app/main.py"));
  const problems = await problemsOf(filesIn(folder, { inputs: ["packer/**", "app/**"] }));
  expect(problems).toHaveLength(2);
  expect(problems[0]).toContain(
    "packer/0.bin, packer/1.bin, packer/2.bin, packer/3.bin, packer/4.bin and 2 more",
  );
});
