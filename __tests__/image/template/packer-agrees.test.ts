import { execFile } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTemplateFacts } from "../../../src/image/template/template-facts.ts";

/**
 * Real Packer as the judge: a template whose references are all there is valid, and without them Packer misses exactly these.
 * So every path is resolved as Packer resolves it, none is left out, and none is made up.
 */

const HCL = `
locals {
  text = file("text.txt")
  dir  = "\${path.root}/../scripts"
}
source "null" "x" {
  communicator = "none"
}
build {
  sources = ["source.null.x"]
  provisioner "shell" {
    script = "\${local.dir}/one.sh"
  }
  provisioner "shell" {
    scripts = [for name in ["two", "three"] : "scripts/\${name}.sh"]
  }
  provisioner "powershell" {
    script = "\${path.cwd}/scripts/four.ps1"
  }
  provisioner "windows-shell" {
    script = "\${abspath(path.root)}/five.cmd"
  }
  provisioner "shell-local" {
    script = "scripts/local.sh"
  }
  provisioner "file" {
    sources     = ["files/a.txt", "\${path.root}/files/"]
    destination = "/tmp/"
  }
  provisioner "ansible-local" {
    playbook_file    = "ansible/site.yml"
    playbook_dir     = "ansible/play"
    playbook_paths   = ["ansible/books"]
    role_paths       = ["ansible/roles/one"]
    group_vars       = "ansible/group_vars"
    host_vars        = "ansible/host_vars"
    inventory_file   = "ansible/hosts"
    galaxy_file      = "ansible/requirements.yml"
  }
  provisioner "puppet-masterless" {
    manifest_file     = "puppet/site.pp"
    module_paths      = ["puppet/modules"]
    hiera_config_path = "puppet/hiera.yaml"
  }
  provisioner "chef-solo" {
    cookbook_paths  = ["chef/cookbooks"]
    config_template = "chef/solo.rb"
    roles_path      = "chef/roles"
    data_bags_path  = "chef/bags"
    environments_path = "chef/environments"
  }
  provisioner "salt-masterless" {
    local_state_tree   = "salt/states"
    local_pillar_roots = "salt/pillar"
    minion_config      = "salt/minion"
  }
  post-processor "shell-local" {
    script = "scripts/after.sh"
  }
}
`;

/** What Kiln finds in it; a trailing slash is a folder. */
const HCL_REFERENCES = [
  "packer/text.txt",
  "scripts/one.sh",
  "scripts/two.sh",
  "scripts/three.sh",
  "scripts/four.ps1",
  "packer/five.cmd",
  "scripts/local.sh",
  "files/a.txt",
  "packer/files/",
  "ansible/site.yml",
  "ansible/play/",
  "ansible/books/",
  "ansible/roles/one/",
  "ansible/group_vars/",
  "ansible/host_vars/",
  "ansible/hosts",
  "ansible/requirements.yml",
  "puppet/site.pp",
  "puppet/modules/",
  "puppet/hiera.yaml",
  "chef/cookbooks/",
  "chef/solo.rb",
  "chef/roles/",
  "chef/bags/",
  "chef/environments/",
  "salt/states/",
  "salt/pillar/",
  "salt/minion",
  "scripts/after.sh",
];

const LEGACY = JSON.stringify({
  variables: { dir: "scripts", all: "{{user `dir`}}/two" },
  builders: [{ type: "null", communicator: "none" }],
  provisioners: [
    { type: "shell", script: "{{template_dir}}/one.sh" },
    { type: "shell", scripts: ["{{user `all`}}.sh", "{{pwd}}/three.sh", "../up.sh"] },
    { type: "file", source: "{{template_dir}}/../files", destination: "/tmp" },
  ],
});

const LEGACY_REFERENCES = ["packer/one.sh", "app/scripts/two.sh", "app/three.sh", "up.sh", "files/"];

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-agrees-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function hasPacker(): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((each) => {
    try {
      accessSync(join(each, "packer"), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether Packer, run in that folder, finds the template valid; and what it printed. */
async function validate(cwd: string, template: string): Promise<readonly [isValid: boolean, output: string]> {
  const env = { ...process.env, CHECKPOINT_DISABLE: "1", PACKER_NO_COLOR: "1" };
  return new Promise((done) => {
    execFile("packer", ["validate", template], { cwd, env }, (error, stdout, stderr) =>
      done([error === null, stdout + stderr]),
    );
  });
}

/** The paths that Packer says are missing. It does not say all at once: what it has missed is put back, until it is content. */
async function missed(cwd: string, template: string): Promise<readonly string[]> {
  const paths: string[] = [];
  for (;;) {
    const [isValid, output] = await validate(cwd, template);
    if (isValid) return paths;
    const words = output.replaceAll(/\s+/g, " ");
    const found = [...words.matchAll(/(?: stat (\S+): no such file| no file exists at (\S+)\.)/g)].map(
      ([, stated, read]) => resolve(cwd, stated ?? read ?? ""),
    );
    if (found.length === 0) throw new Error(output);
    for (const path of found) renameSync(`${path}.gone`, path);
    paths.push(...found.map((path) => relative(folder, path)));
  }
}

async function referencesOf(
  template: string,
  workingDirectory: string | undefined,
): Promise<readonly string[]> {
  const { references, unresolved } = await readTemplateFacts(
    {
      template,
      inputs: undefined,
      vars: {},
      varFiles: [],
      maxAge: undefined,
      ...(workingDirectory === undefined ? {} : { workingDirectory }),
    },
    folder,
  );
  expect(unresolved).toStrictEqual([]);
  return references.filter(({ required }) => required).map(({ path }) => path);
}

interface Case {
  readonly template: string;
  readonly text: string;
  readonly workingDirectory?: string;
  /** As Packer gets it. */
  readonly argument: string;
  readonly references: readonly string[];
}

const CASES: readonly Case[] = [
  { template: "packer/web.pkr.hcl", text: HCL, argument: "packer/web.pkr.hcl", references: HCL_REFERENCES },
  {
    template: "packer/web.json",
    text: LEGACY,
    workingDirectory: "app",
    argument: "../packer/web.json",
    references: LEGACY_REFERENCES,
  },
];

describe.skipIf(!hasPacker())("Packer agrees on every path", () => {
  test.each(CASES)(
    "$template",
    { timeout: 60_000 },
    async ({ template, text, workingDirectory, argument, references }) => {
      const cwd = join(folder, workingDirectory ?? ".");
      const write = (path: string, content: string): void => {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        if (path.endsWith("/")) mkdirSync(join(folder, path));
        else writeFileSync(join(folder, path), content);
      };
      mkdirSync(cwd, { recursive: true });
      write(template, text);
      for (const path of references) write(path, "# ${a}\n");
      const found = await referencesOf(template, workingDirectory);
      expect(found).toStrictEqual(references.map((path) => path.replace(/\/$/, "")));

      expect(await validate(cwd, argument)).toStrictEqual([true, expect.any(String)]);
      for (const path of found) renameSync(join(folder, path), join(folder, `${path}.gone`));
      expect((await missed(cwd, argument)).toSorted()).toStrictEqual(found.toSorted());
    },
  );
});
