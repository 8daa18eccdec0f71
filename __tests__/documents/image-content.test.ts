import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ImageRecipe } from "../../src/domain/application.ts";
import { publicEnvironment } from "../../src/action/known-secrets.ts";
import { digestOf } from "../../src/image/content/digest.ts";
import { readContent } from "../../src/image/content/image-content.ts";
import { GitCheckout, recipeOf } from "../image/git-checkout.ts";
import { plainGit, realPrograms } from "../image/programs.ts";
import { readText } from "./markdown.ts";

/** docs/image-content.md: each row of its tables is a change, made here in a checkout, and the digest tells. */

const TEMPLATE = `
variable "image_name" { type = string }
variable "zone" { default = "a" }
variable "build" { default = env("BUILD_NAME") }
variable "token" { default = env("DEPLOY_TOKEN") }
variable "pin" {
  default   = ""
  sensitive = true
}
source "amazon-ebs" "web" { ami_name = var.image_name }
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" { script = "\${path.root}/../scripts/setup.sh" }
  provisioner "file" {
    source      = "assets"
    destination = "/tmp"
  }
  post-processor "manifest" { output = "packer/manifest.json" }
}
`;

/** What a bake is made from: a checkout, the recipe, and what the step is given. */
class Given implements Disposable {
  readonly checkout = new GitCheckout();
  readonly #library = new GitCheckout();
  recipe: Partial<ImageRecipe> = {
    template: "packer/web.pkr.hcl",
    vars: { size: "1" },
    varFiles: ["vars/a.pkrvars.hcl", "vars/b.pkrvars.hcl"],
  };
  secretVars: Record<string, string> = { password: "one" };
  sensitive = new Set(["pin"]);
  env: Record<string, string> = {};

  constructor() {
    const { checkout } = this;
    this.#library.write("role.yml", "- one\n");
    this.#library.commit();
    this.write("packer/web.pkr.hcl", TEMPLATE);
    this.write("packer/notes.txt", "notes\n");
    this.write("packer/README.md", "# packer\n");
    this.write("scripts/setup.sh", "echo setup\n");
    this.write("assets/logo.txt", "logo\n");
    this.write("app/main.py", "print(1)\n");
    this.write("vars/a.pkrvars.hcl", 'one = "a"\n');
    this.write("vars/b.pkrvars.hcl", 'two = "b"\n');
    this.write("shared/one.sh", "echo one\n");
    this.write("shared/two.sh", "echo one\n");
    this.write("elsewhere.txt", "elsewhere\n");
    writeFileSync(join(checkout.root, "outside.txt"), "outside\n");
    this.link("../shared/one.sh", "packer/link.sh");
    this.link("../../outside.txt", "packer/outside.txt");
    this.write(".gitignore", "dist/\n*.cache\n*.auto.pkrvars.hcl\n");
    checkout.git(
      "-c",
      "protocol.file.allow=always",
      "submodule",
      "--quiet",
      "add",
      `file://${this.#library.folder}`,
      "packer/library",
    );
    checkout.commit();
  }

  write(path: string, content: string): void {
    this.checkout.write(path, content);
  }

  link(target: string, path: string): void {
    rmSync(join(this.checkout.folder, path), { force: true });
    symlinkSync(target, join(this.checkout.folder, path));
  }

  set(recipe: Partial<ImageRecipe>): void {
    this.recipe = { ...this.recipe, ...recipe };
  }

  async digest(): Promise<string> {
    const { content } = await readContent({
      recipe: recipeOf(this.recipe),
      secretVars: Object.keys(this.secretVars),
      sensitive: this.sensitive,
      environment: publicEnvironment(this.env),
      folder: this.checkout.folder,
      subprocess: realPrograms,
    });
    return digestOf(content);
  }

  [Symbol.dispose](): void {
    this.checkout[Symbol.dispose]();
    this.#library[Symbol.dispose]();
  }
}

/** A change, and what has to be so before it. */
interface Experiment {
  readonly first?: (given: Given) => void;
  readonly change: (given: Given) => void;
}

const append = (path: string) => (given: Given) =>
  appendFileSync(join(given.checkout.folder, path), "# more\n");
const touch = (path: string, seconds: number) => (given: Given) =>
  utimesSync(join(given.checkout.folder, path), seconds, seconds);

const COUNTS: Readonly<Record<string, Experiment>> = {
  "a file of the template": { change: append("packer/web.pkr.hcl") },
  "`image.template`, although the file is the same": {
    first: (given) => given.write("packer/api.pkr.hcl", TEMPLATE),
    change: (given) => given.set({ template: "packer/api.pkr.hcl" }),
  },
  "a file in the template's folder": { change: append("packer/notes.txt") },
  "a new file in the template's folder that git does not track": {
    change: (given) => given.write("packer/new.txt", "new\n"),
  },
  "the executable bit of a file": {
    change: (given) => chmodSync(join(given.checkout.folder, "scripts/setup.sh"), 0o755),
  },
  "the name of a file": {
    change: ({ checkout: { folder } }) =>
      renameSync(
        join(folder, "packer/notes.txt"),
        Buffer.concat([Buffer.from(`${folder}/packer/caf`), Buffer.from([0xe9])]),
      ),
  },
  "a file that `inputs` matches": {
    first: (given) => given.set({ inputs: ["app/**"] }),
    change: append("app/main.py"),
  },
  "a file that `inputs` matches and git ignores": {
    first: (given) => {
      given.write("dist/app.jar", "one");
      given.set({ inputs: ["dist/*"] });
    },
    change: append("dist/app.jar"),
  },
  "a file elsewhere that the template refers to": { change: append("scripts/setup.sh") },
  "a file that git ignores, in a folder that the template refers to": {
    change: (given) => given.write("assets/x.cache", "x"),
  },
  "a file that a symbolic link of the content leads to": { change: append("shared/one.sh") },
  "where a symbolic link of the content leads": {
    change: (given) => given.link("../shared/two.sh", "packer/link.sh"),
  },
  "line endings on disk": {
    first: ({ checkout }) => checkout.git("config", "core.autocrlf", "input"),
    change: (given) => given.write("packer/notes.txt", "notes\r\n"),
  },
  "a file of a submodule": { change: append("packer/library/role.yml") },
  "a file that git was told to take as unchanged": {
    first: ({ checkout }) => checkout.git("update-index", "--assume-unchanged", "packer/notes.txt"),
    change: append("packer/notes.txt"),
  },
  "a variable file": { change: append("vars/a.pkrvars.hcl") },
  "the order of `var-files`": {
    change: (given) => given.set({ varFiles: ["vars/b.pkrvars.hcl", "vars/a.pkrvars.hcl"] }),
  },
  "a `*.auto.pkrvars.hcl` that git ignores": {
    first: (given) => given.set({ template: "packer" }),
    change: (given) => given.write("packer/local.auto.pkrvars.hcl", 'zone = "b"\n'),
  },
  "a value in `vars`": { change: (given) => given.set({ vars: { size: "2" } }) },
  "`PKR_VAR_*` in the environment, of a variable that the template declares": {
    change: (given) => (given.env = { PKR_VAR_zone: "b" }),
  },
  "an environment variable that a default reads": {
    change: (given) => (given.env = { BUILD_NAME: "nightly" }),
  },
  "`image.working-directory`": {
    first: (given) => given.write("packer/assets/logo.txt", "logo\n"),
    change: (given) => given.set({ workingDirectory: "packer" }),
  },
  "`image.only` and `image.except`": { change: (given) => given.set({ only: ["amazon-ebs.web"] }) },
};

const DOES_NOT_COUNT: Readonly<Record<string, Experiment>> = {
  "another commit with the same files": { change: ({ checkout }) => void checkout.commit() },
  "a file elsewhere in the repository": { change: append("elsewhere.txt") },
  "a file that git ignores in the template's folder": {
    change: (given) => given.write("packer/x.cache", "x"),
  },
  "a file that a pattern with `!` takes out": {
    first: (given) => given.set({ template: "packer", inputs: ["!packer/README.md"] }),
    change: append("packer/README.md"),
  },
  "a file in `.git`": { change: (given) => given.write(".git/hooks/pre-commit", "exit 0\n") },
  "a manifest that the template writes": {
    change: (given) => given.write("packer/manifest.json", "{}\n"),
  },
  "a file outside of the repository that a link leads to": {
    change: ({ checkout }) => appendFileSync(join(checkout.root, "outside.txt"), "more\n"),
  },
  "when a file was changed": { change: touch("packer/notes.txt", 1_000_000_000) },
  "a value in `secret-vars`": { change: (given) => (given.secretVars = { password: "two" }) },
  "a value in `vars` of a variable that is `sensitive`": {
    first: (given) => given.set({ vars: { pin: "1" } }),
    change: (given) => given.set({ vars: { pin: "2" } }),
  },
  "`PKR_VAR_*` of a variable that is `sensitive`": { change: (given) => (given.env = { PKR_VAR_pin: "1" }) },
  "an environment variable that holds a secret by its name": {
    change: (given) => (given.env = { DEPLOY_TOKEN: "hunter2-hunter2" }),
  },
  "`PKR_VAR_*` of a variable that the template does not declare": {
    change: (given) => (given.env = { PKR_VAR_other: "1" }),
  },
  "`PKR_VAR_image_name`, and others that Kiln sets": {
    change: (given) => (given.env = { PKR_VAR_image_name: "mine" }),
  },
  "the order of builds in `image.only`": {
    first: (given) => given.set({ only: ["a", "b"] }),
    change: (given) => given.set({ only: ["b", "a"] }),
  },
};

/** The first cells of the table below a heading. */
function changesBelow(heading: string): string[] {
  const [, section = ""] = readText("docs/image-content.md").split(`## ${heading}\n`);
  const [table = ""] = section.split("\n## ");
  return [...table.matchAll(/^\| (.+?) +\|/gm)]
    .map(([, cell = ""]) => cell)
    .filter((cell) => !/^(?:Change|-+)$/.test(cell));
}

test.each([
  ["What counts", COUNTS],
  ["What does not count", DOES_NOT_COUNT],
])("the table below %s has the changes that are tried", (heading, experiments) => {
  expect(changesBelow(heading)).toStrictEqual(Object.keys(experiments));
});

async function changes({ first, change }: Experiment): Promise<boolean> {
  using given = new Given();
  first?.(given);
  const before = await given.digest();
  change(given);
  return (await given.digest()) !== before;
}

test.each(Object.entries(COUNTS))("%s: another digest", async (_, experiment) => {
  expect(await changes(experiment)).toBe(true);
});

test.each(Object.entries(DOES_NOT_COUNT))("%s: the same digest", async (_, experiment) => {
  expect(await changes(experiment)).toBe(false);
});

test("the submodule of these checkouts is one", () => {
  using given = new Given();
  const status = execFileSync("git", ["submodule", "status"], {
    cwd: given.checkout.folder,
    env: plainGit(),
    encoding: "utf8",
  });
  expect(status).toContain("packer/library");
});
