import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KilnError } from "../../src/domain/errors.ts";
import type { FileReference } from "../../src/image/template/template-facts.ts";
import { digestIn, filesIn, GitCheckout, pathsIn } from "./git-checkout.ts";
import { plainGit } from "./programs.ts";

/** Which files decide an image: real git in temporary repositories. */

let checkout: GitCheckout;
let folder: string;

beforeEach(() => {
  checkout = new GitCheckout();
  folder = checkout.folder;
  checkout.write("packer/web.pkr.hcl", "# web\n");
  checkout.write("packer/scripts/install.sh", "echo install\n");
  checkout.write("app/main.py", "print(1)\n");
  checkout.write("app/notes.md", "# notes\n");
  checkout.write("README.md", "# read me\n");
  checkout.commit();
});

afterEach(() => checkout[Symbol.dispose]());

const reference = (path: string, changes: Partial<FileReference> = {}): FileReference => ({
  path,
  attribute: "script",
  place: { file: "packer/web.pkr.hcl", line: 12, column: 3 },
  required: true,
  ...changes,
});

describe("without inputs", () => {
  test("the template's folder counts, with everything below it", async () => {
    expect(await pathsIn(folder)).toStrictEqual(["packer/scripts/install.sh", "packer/web.pkr.hcl"]);
  });

  test("of a folder as template, that folder counts, not the one that it is in", async () => {
    checkout.write("packer/api/api.pkr.hcl", "# api\n");
    checkout.commit();
    expect(await pathsIn(folder, { template: "packer/api" })).toStrictEqual(["packer/api/api.pkr.hcl"]);
  });

  test.each(["./packer", "packer/", "packer/."])("%s is the folder packer", async (template) => {
    expect(await pathsIn(folder, { template })).toStrictEqual(await pathsIn(folder, { template: "packer" }));
  });

  test("a folder that git does not track yet can be the template", async () => {
    checkout.write("packer/new/new.pkr.hcl", "# new\n");
    expect(await pathsIn(folder, { template: "packer/new" })).toStrictEqual(["packer/new/new.pkr.hcl"]);
  });

  test.each(["web.pkr.hcl", "."])("with %s as template, the whole repository counts", async (template) => {
    checkout.write("web.pkr.hcl", "# root\n");
    checkout.commit();
    expect(await pathsIn(folder, { template })).toStrictEqual([
      "README.md",
      "app/main.py",
      "app/notes.md",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
      "web.pkr.hcl",
    ]);
  });

  test("patterns that only take out take out of the template's folder", async () => {
    checkout.write("packer/README.md", "# packer\n");
    const inputs = ["!packer/*.md"];
    expect(await pathsIn(folder, { inputs })).toStrictEqual([
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
    expect(await pathsIn(folder, { template: "packer", inputs })).toStrictEqual([
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
  });
});

describe("with inputs", () => {
  test("what they match counts, and always the template and the variable files", async () => {
    checkout.write("vars/common.pkrvars.hcl", "a = 1\n");
    checkout.commit();
    const { files } = await filesIn(folder, {
      inputs: ["app/**", "!**/*.md"],
      varFiles: ["vars/common.pkrvars.hcl"],
    });
    expect(files.map(({ path, reason }) => [path, reason])).toStrictEqual([
      ["app/main.py", "inputs"],
      ["packer/web.pkr.hcl", "template"],
      ["vars/common.pkrvars.hcl", "variable file"],
    ]);
  });

  test("an exclusion takes a file out wherever it is in the list, but never the template", async () => {
    expect(await pathsIn(folder, { inputs: ["!app/notes.md", "**", "!packer/**"] })).toStrictEqual([
      "README.md",
      "app/main.py",
      "packer/web.pkr.hcl",
    ]);
  });

  test("a folder as template counts with everything below it", async () => {
    expect(await pathsIn(folder, { template: "packer", inputs: ["app/*.py"] })).toStrictEqual([
      "app/main.py",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
  });

  test("an exclusion takes files out of a folder as template, but none that Packer reads", async () => {
    checkout.write("packer/README.md", "# packer\n");
    checkout.write("packer/vars.auto.pkrvars.hcl", "a = 1\n");
    checkout.write("packer/scripts/own.pkr.hcl", "# not read by Packer\n");
    checkout.commit();
    expect(
      await pathsIn(folder, { template: "packer", inputs: ["app/*.py", "!packer/README.md"] }),
    ).not.toContain("packer/README.md");
    expect(await pathsIn(folder, { template: "packer", inputs: ["app/*.py", "!packer/**"] })).toStrictEqual([
      "app/main.py",
      "packer/vars.auto.pkrvars.hcl",
      "packer/web.pkr.hcl",
    ]);
  });

  test("hidden files are matched like others", async () => {
    checkout.write("app/.env", "A=1\n");
    checkout.commit();
    expect(await pathsIn(folder, { inputs: ["app/*"] })).toStrictEqual([
      "app/.env",
      "app/main.py",
      "app/notes.md",
      "packer/web.pkr.hcl",
    ]);
  });

  test.each([[["app/main.py", "app/*.md"]], [["./app/**"]], [["{app,nowhere}/**"]]])(
    "%j gives the digest of app/**, which matches the same files",
    async (inputs) => {
      expect(await digestIn(folder, { inputs })).toBe(await digestIn(folder, { inputs: ["app/**"] }));
    },
  );
});

describe("what the template refers to", () => {
  test("counts without being listed: a file, and a folder with everything below it", async () => {
    const { files } = await filesIn(folder, {}, { references: [reference("app"), reference("README.md")] });
    expect(files.map(({ path, reason, because }) => [path, reason, because])).toStrictEqual([
      ["README.md", "reference", "packer/web.pkr.hcl:12: script"],
      ["app/main.py", "reference", "packer/web.pkr.hcl:12: script"],
      ["app/notes.md", "reference", "packer/web.pkr.hcl:12: script"],
      ["packer/scripts/install.sh", "template", undefined],
      ["packer/web.pkr.hcl", "template", undefined],
    ]);
  });

  test("counts with what git ignores, as Packer uploads it, but never .git", async () => {
    checkout.write(".gitignore", "dist/\n");
    checkout.write("app/dist/app.jar", "one");
    expect(await pathsIn(folder, {}, { references: [reference("app")] })).toContain("app/dist/app.jar");
    const all = await pathsIn(folder, {}, { references: [reference(".")] });
    expect(all).toContain("app/dist/app.jar");
    expect(all.filter((path) => path.split("/").includes(".git"))).toStrictEqual([]);
  });

  test("less what `!` takes out of a folder; a file that is named itself counts", async () => {
    const references = [reference("app"), reference("app/notes.md")];
    const inputs = ["!app/**"];
    expect(await pathsIn(folder, { inputs }, { references: [reference("app")] })).not.toContain(
      "app/main.py",
    );
    expect(await pathsIn(folder, { inputs }, { references })).toStrictEqual([
      "app/notes.md",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
  });

  test("is missing if Packer needs it and it is not there", async () => {
    const references = [
      reference("scripts/gone.sh"),
      reference("scripts/perhaps.sh", { required: false }),
      reference("app/main.py"),
    ];
    const { missing } = await filesIn(folder, {}, { references });
    expect(missing.map(({ path }) => path)).toStrictEqual(["scripts/gone.sh"]);
  });
});

describe("what git ignores", () => {
  beforeEach(() => {
    checkout.write(".gitignore", "dist/\nmanifest.json\n*.auto.pkrvars.hcl\n");
    checkout.write("dist/app.jar", "one");
    checkout.commit();
  });

  test("counts if inputs match it: an artifact of the build", async () => {
    const inputs = ["dist/**"];
    expect(await pathsIn(folder, { inputs })).toStrictEqual(["dist/app.jar", "packer/web.pkr.hcl"]);
    const before = await digestIn(folder, { inputs });
    checkout.write("dist/app.jar", "two");
    expect(await digestIn(folder, { inputs })).not.toBe(before);
  });

  test("does not count in the template's folder: a manifest of an earlier bake", async () => {
    const before = await digestIn(folder);
    checkout.write("packer/manifest.json", "{}");
    expect(await digestIn(folder)).toBe(before);
    expect(await digestIn(folder, { template: "packer" })).toBe(await digestIn(folder));
  });

  test("counts if Packer reads it by itself", async () => {
    checkout.write("packer/local.auto.pkrvars.hcl", "a = 1\n");
    expect(await pathsIn(folder, { template: "packer" })).toContain("packer/local.auto.pkrvars.hcl");
    // Of a template that is a file Packer reads nothing else.
    expect(await pathsIn(folder)).not.toContain("packer/local.auto.pkrvars.hcl");
  });

  test("counts if it is a variable file or the template", async () => {
    checkout.write("dist/all.pkrvars.hcl", "a = 1\n");
    checkout.write("dist/made.pkr.hcl", "# made\n");
    const changes = {
      template: "dist/made.pkr.hcl",
      varFiles: ["dist/all.pkrvars.hcl"],
      inputs: ["app/*.py"],
    };
    expect(await pathsIn(folder, changes)).toStrictEqual([
      "app/main.py",
      "dist/all.pkrvars.hcl",
      "dist/made.pkr.hcl",
    ]);
  });
});

describe("what the template writes itself", () => {
  const outputs = ["packer/manifest.json"];

  test("never counts, tracked or not, whatever matches it", async () => {
    checkout.write("packer/manifest.json", "{}");
    const inputs = ["packer/**"];
    expect(await pathsIn(folder, {}, { outputs })).not.toContain("packer/manifest.json");
    expect(await pathsIn(folder, { inputs }, { outputs })).not.toContain("packer/manifest.json");
    checkout.commit();
    expect(await pathsIn(folder, { inputs }, { outputs })).not.toContain("packer/manifest.json");
    expect(await pathsIn(folder, { inputs })).toContain("packer/manifest.json");
  });
});

describe("what the working tree adds", () => {
  test("a file that git does not track counts, and gives the digest that it gives once it is committed", async () => {
    const before = await digestIn(folder);
    checkout.write("packer/files/nginx.conf", "worker_processes 2;\n");
    const untracked = await digestIn(folder);
    checkout.git("add", "--all");
    const staged = await digestIn(folder);
    checkout.commit();
    expect(untracked).not.toBe(before);
    expect(staged).toBe(untracked);
    expect(await digestIn(folder)).toBe(untracked);
  });

  test("a file that was deleted no longer counts", async () => {
    rmSync(join(folder, "packer/scripts/install.sh"));
    expect(await pathsIn(folder)).toStrictEqual(["packer/web.pkr.hcl"]);
  });

  test("a change of a file that does not count changes nothing", async () => {
    const before = await digestIn(folder);
    checkout.write("README.md", "# changed\n");
    checkout.write("elsewhere.txt", "new\n");
    expect(await digestIn(folder)).toBe(before);
    checkout.commit();
    expect(await digestIn(folder)).toBe(before);
  });

  test("the files of a repository that was checked out within count", async () => {
    const roles = join(folder, "packer/roles");
    mkdirSync(roles);
    execFileSync("git", ["init", "--quiet"], { cwd: roles, env: plainGit() });
    checkout.write("packer/roles/tasks.yml", "- one\n");
    checkout.write("packer/roles/.gitignore", "*.log\n");
    checkout.write("packer/roles/x.log", "x");
    const before = await digestIn(folder);
    checkout.write("packer/roles/tasks.yml", "- two\n");
    expect(await digestIn(folder)).not.toBe(before);
    expect(await pathsIn(folder)).toStrictEqual([
      "packer/roles/.gitignore",
      "packer/roles/tasks.yml",
      "packer/scripts/install.sh",
      "packer/web.pkr.hcl",
    ]);
    // A pattern that begins within it.
    expect(await pathsIn(folder, { inputs: ["packer/roles/tasks.yml"] })).toStrictEqual([
      "packer/roles/tasks.yml",
      "packer/web.pkr.hcl",
    ]);
  });
});

describe("what is refused", () => {
  const refusal = async (work: Promise<unknown>): Promise<KilnError> => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error instanceof KilnError) return error;
    throw new Error("it was accepted", { cause: error });
  };

  test("a folder that is no repository, with what to do if actions/checkout ran with `path`", async () => {
    const error = await refusal(filesIn(checkout.root));
    expect(error.message).toBe(`There is no checkout in ${checkout.root}`);
    expect(error.next).toContain("If it has `path`, set `working-directory` to the same path");
  });

  test("a folder in a repository that is not its root", async () => {
    const error = await refusal(filesIn(join(folder, "app")));
    expect(error.message).toBe(`There is no checkout in ${join(folder, "app")}`);
  });

  test("a template that is not there", async () => {
    const error = await refusal(filesIn(folder, { template: "packer/api.pkr.hcl" }));
    expect(error.message).toBe("The Packer template packer/api.pkr.hcl is not in the checkout");
    expect(error.state).toBe("Nothing was changed.");
  });

  test("a variable file that is not there", async () => {
    const error = await refusal(filesIn(folder, { varFiles: ["packer/x.pkrvars.hcl"] }));
    expect(error.message).toBe("The Packer variable file packer/x.pkrvars.hcl is not in the checkout");
  });

  test("a pattern that matches nothing", async () => {
    const error = await refusal(filesIn(folder, { inputs: ["app/**", "ansible/"] }));
    expect(error.message).toBe('The pattern "ansible/" in the image\'s inputs matches no file');
  });
});
