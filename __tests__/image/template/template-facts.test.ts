import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../../src/domain/application.ts";
import {
  readTemplateFacts,
  type TemplateFacts,
  type VariableContext,
} from "../../../src/image/template/template-facts.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-template-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Case {
  /** By path; a text alone is `packer/web.pkr.hcl`. */
  readonly files: string | Readonly<Record<string, string>>;
  readonly recipe?: Partial<ImageRecipe>;
  readonly context?: VariableContext;
  /** `path < attribute`, with `?` if Packer may bake without it. */
  readonly references?: readonly string[];
  /** `attribute: reason`. */
  readonly unresolved?: readonly string[];
  /** `NAME < variable`. */
  readonly environment?: readonly string[];
  readonly decidedAtBake?: readonly string[];
}

const TEMPLATE = "packer/web.pkr.hcl";

async function factsOf({ files, recipe, context }: Case): Promise<TemplateFacts> {
  const all = typeof files === "string" ? { [TEMPLATE]: files } : files;
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const [first = TEMPLATE] = Object.keys(all);
  const whole = { template: first, inputs: undefined, vars: {}, varFiles: [], maxAge: undefined, ...recipe };
  return readTemplateFacts(whole, folder, context);
}

/** What a template refers to, in the words of the table. */
function told(facts: TemplateFacts): Omit<Case, "files" | "recipe" | "context"> {
  return {
    references: facts.references.map(
      ({ path, attribute, required }) => `${path} < ${attribute}${required ? "" : "?"}`,
    ),
    unresolved: facts.unresolved.map(({ attribute, why }) => `${attribute}: ${why}`),
    environment: facts.environment.map(({ name, variable }) => `${name} < ${variable}`),
    decidedAtBake: facts.decidedAtBake.map(({ what }) => what),
  };
}

const shell = (attribute: string): string => `build {\n  provisioner "shell" {\n    ${attribute}\n  }\n}\n`;
const json = (value: unknown): string => JSON.stringify(value, null, 2);

/** Each construct with what it gives; what a case does not name is nothing. */
const CASES: Readonly<Record<string, Case>> = {
  // Where paths lead.
  "a path is relative to Packer's working directory": {
    files: shell('script = "scripts/setup.sh"'),
    references: ["scripts/setup.sh < script"],
  },
  "working-directory moves relative paths": {
    files: shell('script = "scripts/setup.sh"'),
    recipe: { workingDirectory: "packer" },
    references: ["packer/scripts/setup.sh < script"],
  },
  "path.root is the template's folder": {
    files: shell('script = "${path.root}/../scripts/setup.sh"'),
    references: ["scripts/setup.sh < script"],
  },
  "path.root and a working directory": {
    files: shell('script = "${path.root}/../scripts/setup.sh"'),
    recipe: { workingDirectory: "packer" },
    references: ["scripts/setup.sh < script"],
  },
  "path.cwd is the working directory": {
    files: shell('scripts = ["${path.cwd}/a.sh", "./b.sh", "x/../c.sh"]'),
    recipe: { workingDirectory: "app" },
    references: ["app/a.sh < scripts", "app/b.sh < scripts", "app/c.sh < scripts"],
  },
  "the template's folder is the root": {
    files: { "web.pkr.hcl": shell('script = "${path.root}/setup.sh"') },
    references: ["setup.sh < script"],
  },
  "paths out of the repository": {
    files: shell(
      'scripts = ["../a.sh", "/etc/b.sh", "~/c.sh", "https://example.org/d.sh", "${path.root}/../../e.sh"]',
    ),
    unresolved: Array(5).fill("scripts: outside"),
  },
  "the repository itself": {
    files: 'build {\n provisioner "file" {\n source = "./"\n destination = "/srv"\n }\n}',
    references: [". < source"],
  },
  "a trailing slash does not matter": {
    files: 'build {\n provisioner "file" {\n sources = ["app/", "lib"]\n destination = "/srv"\n }\n}',
    references: ["app < sources", "lib < sources"],
  },
  "an empty path is none": { files: shell('script = ""\nscripts = []') },
  "control characters are no path": {
    files: shell('script = "a\\nb"'),
    unresolved: ["script: outside"],
  },

  // Variables and locals.
  "a variable's default": {
    files: `variable "dir" { default = "scripts" }\n${shell('script = "${var.dir}/a.sh"')}`,
    references: ["scripts/a.sh < script"],
  },
  "vars win over the default": {
    files: `variable "dir" { default = "scripts" }\n${shell('script = "${var.dir}/a.sh"')}`,
    recipe: { vars: { dir: "other" } },
    references: ["other/a.sh < script"],
  },
  "the last variable file wins, vars over both": {
    files: {
      [TEMPLATE]: `variable "a" {}\nvariable "b" {}\n${shell("scripts = [var.a, var.b]")}`,
      "one.pkrvars.hcl": 'a = "one/a"\nb = "one/b"\n',
      "two.pkrvars.json": '{"b": "two/b"}',
    },
    recipe: { varFiles: ["one.pkrvars.hcl", "two.pkrvars.json"], vars: { a: "vars/a" } },
    references: ["vars/a < scripts", "two/b < scripts"],
  },
  "a folder's own variable files": {
    files: {
      "packer/web.pkr.hcl": `variable "dir" { default = "no" }\n${shell('script = "${var.dir}/a.sh"')}`,
      "packer/x.auto.pkrvars.hcl": 'dir = "auto"\n',
      "packer/y.auto.pkrvars.json": '{"dir": "json"}',
      "packer/not.pkrvars.hcl": 'dir = "not"\n',
    },
    recipe: { template: "packer" },
    references: ["json/a.sh < script"],
  },
  "a file template loads none by itself": {
    files: {
      "packer/web.pkr.hcl": `variable "dir" { default = "own" }\n${shell('script = "${var.dir}/a.sh"')}`,
      "packer/x.auto.pkrvars.hcl": 'dir = "auto"\n',
    },
    references: ["own/a.sh < script"],
  },
  "a variable without a value": {
    files: `variable "dir" {}\n${shell('script = "${var.dir}/a.sh"')}`,
    unresolved: ["script: variable"],
  },
  "PKR_VAR wins over the default, not over files": {
    files: {
      [TEMPLATE]: `variable "a" { default = "x" }\nvariable "b" { default = "y" }\n${shell("scripts = [var.a, var.b]")}`,
      "v.pkrvars.hcl": 'b = "file"\n',
    },
    recipe: { varFiles: ["v.pkrvars.hcl"] },
    context: { environment: { PKR_VAR_a: "env", PKR_VAR_b: "env" } },
    references: ["env < scripts", "file < scripts"],
  },
  "a value from elsewhere is not known, whatever the default is": {
    files: `variable "a" { default = "x.sh" }\n${shell("script = var.a")}`,
    context: { elsewhere: new Set(["a"]) },
    unresolved: ["script: variable"],
  },
  "sensitive variables decide no path and no environment": {
    files: `variable "a" {\n sensitive = true\n default = env("TOKEN")\n}\n${shell("script = var.a")}`,
    context: { environment: { TOKEN: "x.sh" } },
    unresolved: ["script: variable"],
  },
  "a list in vars": {
    files: `variable "all" { type = list(string) }\n${shell("scripts = var.all")}`,
    recipe: { vars: { all: '["a.sh", "b.sh"]' } },
    references: ["a.sh < scripts", "b.sh < scripts"],
  },
  "a text that looks like a list, for a string": {
    files: `variable "all" { type = string }\n${shell("script = var.all")}`,
    recipe: { vars: { all: '["a.sh"]' } },
    references: ['["a.sh"] < script'],
  },
  "locals, in any order": {
    files: `${shell('script = "${local.dir}/a.sh"')}locals {\n dir = "\${local.base}/sh"\n base = abspath(path.root)\n}\n`,
    references: ["packer/sh/a.sh < script"],
  },
  "a local that needs itself": {
    files: `locals {\n a = local.b\n b = "\${local.a}x"\n}\n${shell("script = local.a")}`,
    unresolved: ["script: function"],
  },
  "a local block": {
    files: `local "dir" { expression = "sh" }\nlocal "key" {\n expression = "k"\n sensitive = true\n}\n${shell('scripts = ["${local.dir}/a", local.key]')}`,
    references: ["sh/a < scripts"],
    unresolved: ["scripts: variable"],
  },
  "maps and lists of variables": {
    files: `variable "by" { default = { web = ["a.sh", "b.sh"] } }\n${shell('scripts = [var.by.web[1], var.by["web"][0], var.by.no]')}`,
    references: ["b.sh < scripts", "a.sh < scripts"],
    unresolved: ["scripts: function"],
  },
  "variables {}": {
    files: `variables {\n dir = "sh"\n name = env("NAME")\n}\n${shell('script = "${var.dir}/a.sh"')}`,
    references: ["sh/a.sh < script"],
    environment: ["NAME < name"],
  },

  // Expressions.
  "functions that make paths": {
    files: shell(
      'scripts = concat([format("%s/%s", "a", "b.sh")], [join("/", ["c", "d.sh"]), "${dirname("e/f")}/g.sh", lower("H.SH")], compact(["", "i.sh"]))',
    ),
    references: ["a/b.sh", "c/d.sh", "e/g.sh", "h.sh", "i.sh"].map((path) => `${path} < scripts`),
  },
  "functions that only Packer evaluates": {
    files: shell('scripts = ["${build.ID}.sh", "${uuidv4()}.sh", upper(regex("a", "b"))]'),
    unresolved: Array(3).fill("scripts: function"),
    decidedAtBake: ["uuidv4"],
  },
  "a condition that is known": {
    files: `variable "debug" {\n type = bool\n default = false\n}\n${shell('script = var.debug ? "debug.sh" : "plain.sh"')}`,
    references: ["plain.sh < script"],
  },
  "a condition that is not known: both": {
    files: `variable "kind" {}\n${shell('script = var.kind == "a" ? "a.sh" : "b.sh"')}`,
    references: ["a.sh < script", "b.sh < script"],
  },
  "a comparison": {
    files: `variable "kind" { default = "a" }\n${shell('script = var.kind != "a" ? "no.sh" : "yes.sh"')}`,
    references: ["yes.sh < script"],
  },
  "a for expression": {
    files: `locals { names = ["a", "b"] }\n${shell('scripts = [for n in local.names : "sh/${n}.sh"]')}`,
    references: ["sh/a.sh < scripts", "sh/b.sh < scripts"],
  },
  "a for expression over a map": {
    files: shell('scripts = [for k, v in { x = "y" } : "${k}/${v}"]'),
    references: ["x/y < scripts"],
  },
  "fileset() gives the folder, and what is made of it no notice": {
    files: shell('scripts = [for f in fileset(path.root, "sh/*.sh") : "${path.root}/${f}"]'),
    references: ["packer/packer/sh < fileset()?"],
  },
  "fileset() where Packer runs in the template's folder": {
    files: shell('scripts = [for f in fileset(path.root, "sh/**/*.sh") : "${path.root}/${f}"]'),
    recipe: { workingDirectory: "packer" },
    references: ["packer/sh < fileset()?"],
  },
  "template directives": {
    files: shell('script = "%{ if var.x }a%{ else }b%{ endif }.sh"'),
    unresolved: ["script: function"],
  },
  "nested templates": {
    files: `variable "a" { default = "x" }\n${shell('script = "${"${var.a}/${"y"}"}.sh"')}`,
    references: ["x/y.sh < script"],
  },
  "escaped templates are text": {
    files: shell('script = "$${var.a}.sh"'),
    references: ["${var.a}.sh < script"],
  },
  "a heredoc": {
    files: shell("scripts = [<<EOT\na.sh\nEOT\n, trimspace(<<-EOT\n    b.sh\n  EOT\n)]"),
    references: ["b.sh < scripts"],
    unresolved: ["scripts: outside"],
  },
  "what is in a heredoc, a comment or a string is no block": {
    files: `locals {\n text = <<EOT\n${shell('script = "no.sh"')}EOT\n}\n# ${shell("").split("\n")[0]}\n/* build { provisioner "shell" { script = "no.sh" } } */\n// script = "no.sh"\n`,
  },

  // Functions that read files.
  "file() is relative to the template": {
    files: 'source "amazon-ebs" "web" {\n user_data = file("user-data.yml")\n}\n',
    references: ["packer/user-data.yml < file()"],
  },
  "file() with path.root, from the root and from the template's folder": {
    files: 'source "amazon-ebs" "web" {\n user_data = file("${path.root}/user-data.yml")\n}\n',
    recipe: { workingDirectory: "packer" },
    references: ["packer/user-data.yml < file()"],
  },
  "file() with path.root doubles it: so does Packer": {
    files: 'source "amazon-ebs" "web" {\n user_data = file("${path.root}/user-data.yml")\n}\n',
    references: ["packer/packer/user-data.yml < file()"],
  },
  "filebase64() is relative to the working directory": {
    files: 'locals { a = filebase64("a.bin") }\n',
    references: ["a.bin < filebase64()"],
  },
  "fileexists()": {
    files: 'locals { a = fileexists("a.txt") ? file("a.txt") : "" }\n',
    references: ["packer/a.txt < fileexists()?", "packer/a.txt < file()"],
  },
  "templatefile(), and what the file reads": {
    files: {
      [TEMPLATE]:
        'locals {\n a = templatefile("a.tpl", { port = 80 })\n b = templatefile("missing.tpl", {})\n}\n',
      "packer/a.tpl":
        'port ${port}\n${file("b.txt")} %{ for x in file("c.txt") }$${file("no")}%{ endfor }\n"${file(port)}"',
    },
    references: [
      "packer/a.tpl < templatefile()",
      "packer/missing.tpl < templatefile()",
      "packer/b.txt < file()",
      "packer/c.txt < file()",
    ],
    unresolved: ["file(): function"],
  },
  "functions in any place": {
    files: `locals {\n m = { "\${file("key")}" = [1, -length(file("list"))], k = "a \${upper(file("deep"))} b" }\n}\n${shell('environment_vars = ["A=${file("env")}"]')}`,
    references: ["key", "list", "deep", "env"].map((name) => `packer/${name} < file()`),
  },
  "file() in a loop": {
    files: 'locals { all = [for n in ["a", "b"] : file("${n}.txt")] }\n',
    references: ["packer/a.txt < file()", "packer/b.txt < file()"],
  },
  "file() of a variable": {
    files: 'variable "f" {}\nlocals { a = file(var.f) }\n',
    unresolved: ["file(): variable"],
  },

  // Provisioners and post-processors.
  "download is no upload": {
    files:
      'build {\n provisioner "file" {\n direction = "download"\n source = "/var/log/x"\n destination = "x"\n }\n}',
  },
  "generated files may be missing": {
    files:
      'build {\n provisioner "file" {\n generated = true\n source = "dist/app.tar"\n destination = "/srv"\n }\n}',
    references: ["dist/app.tar < source?"],
  },
  "a build's sources and required_plugins are no paths": {
    files:
      'packer {\n required_plugins {\n amazon = {\n source = "github.com/hashicorp/amazon"\n version = ">= 1"\n }\n }\n}\nsource "null" "x" {}\nbuild {\n sources = ["source.null.x"]\n}\n',
  },
  override: {
    files: shell(
      'inline = ["true"]\noverride = {\n web = { script = "web.sh" }\n "amazon-ebs.b" = { scripts = ["b.sh"] }\n}',
    ),
    references: ["web.sh < script", "b.sh < scripts"],
  },
  "error-cleanup-provisioner and post-processors": {
    files:
      'build {\n error-cleanup-provisioner "shell" {\n script = "clean.sh"\n }\n post-processor "shell-local" {\n script = "one.sh"\n }\n post-processors {\n post-processor "manifest" {\n output = "manifest.json"\n }\n post-processor "shell-local" {\n scripts = ["two.sh"]\n }\n }\n}',
    references: ["clean.sh < script", "one.sh < script", "two.sh < scripts"],
  },
  "a command on the runner": {
    files:
      'build {\n provisioner "shell-local" {\n inline = ["make"]\n }\n provisioner "shell-local" {\n command = "make"\n }\n post-processor "shell-local" {\n inline = ["true"]\n }\n}',
    unresolved: ["inline: command", "command: command"],
  },
  "dynamic blocks": {
    files:
      'locals { all = ["a.sh", "b.sh"] }\nbuild {\n dynamic "provisioner" {\n for_each = local.all\n labels = ["shell"]\n content {\n script = "sh/${provisioner.value}"\n }\n }\n dynamic "provisioner" {\n for_each = { x = "y" }\n iterator = it\n labels = [it.key == "x" ? "file" : "shell"]\n content {\n source = it.value\n }\n }\n}',
    references: ["sh/a.sh < script", "sh/b.sh < script", "y < source"],
  },
  "a dynamic block over what is not known": {
    files:
      'variable "all" {}\nbuild {\n dynamic "provisioner" {\n for_each = var.all\n labels = ["shell"]\n content {\n script = provisioner.value\n }\n }\n}',
    unresolved: ["script: variable"],
  },
  "ansible: the playbook's folder counts": {
    files:
      'build {\n provisioner "ansible" {\n playbook_file = "ansible/site.yml"\n galaxy_file = "ansible/requirements.yml"\n roles_path = "build/roles"\n extra_arguments = ["-e", "@vars/a.yml", "--extra-vars=@vars/b.yml", "-i", "hosts.ini", "--inventory=host,", "-vv"]\n ansible_env_vars = ["ANSIBLE_CONFIG=cfg/ansible.cfg", "ANSIBLE_ROLES_PATH=roles:shared/roles", "X=y"]\n command = "./run-ansible.sh"\n ssh_host_key_file = "keys/host"\n }\n}',
    references: [
      "ansible/site.yml < playbook_file",
      "ansible < playbook_file (its folder)?",
      "ansible/requirements.yml < galaxy_file",
      "vars/a.yml < extra_arguments",
      "vars/b.yml < extra_arguments",
      "hosts.ini < extra_arguments",
      "cfg/ansible.cfg < ansible_env_vars",
      "roles < ansible_env_vars",
      "shared/roles < ansible_env_vars",
      "run-ansible.sh < command",
      "ansible.cfg < ansible.cfg?",
    ],
  },
  "ansible: the folders that ansible.cfg names": {
    files: {
      "packer/web.pkr.hcl":
        'build {\n provisioner "ansible" {\n playbook_file = "ansible/plays/site.yml"\n ansible_env_vars = ["ANSIBLE_CONFIG=cfg/own.cfg"]\n }\n}',
      "ansible.cfg":
        "[defaults]\ninventory = hosts\n# library = commented\nroles_path = ansible/roles:/etc/ansible/roles : ~/.ansible/roles ; usual\nremote_tmp = /tmp\n",
      "cfg/own.cfg": "roles_path: ../shared\ncallback_plugins={{CWD}}/plugins\nlibrary =\n",
      "not-read.cfg": "roles_path = not-read\n",
    },
    references: [
      "ansible/plays/site.yml < playbook_file",
      "ansible/plays < playbook_file (its folder)?",
      "cfg/own.cfg < ansible_env_vars",
      "ansible.cfg < ansible.cfg?",
      "shared < roles_path?",
      "plugins < callback_plugins?",
      "ansible/roles < roles_path?",
    ],
  },
  "ansible: beside a playbook in the root what Ansible knows by name": {
    files: 'build {\n provisioner "ansible" {\n playbook_file = "./site.yml"\n }\n}',
    references: [
      "site.yml < playbook_file",
      ...[
        "action_plugins",
        "callback_plugins",
        "collections",
        "files",
        "filter_plugins",
        "group_vars",
        "handlers",
        "host_vars",
        "library",
        "lookup_plugins",
        "meta",
        "module_utils",
        "roles",
        "tasks",
        "templates",
        "vars",
      ].map((name) => `${name} < playbook_file (its folder)?`),
      "ansible.cfg < ansible.cfg?",
    ],
  },
  "ansible-local": {
    files:
      'build {\n provisioner "ansible-local" {\n playbook_files = ["a.yml", "b.yml"]\n playbook_dir = "play"\n playbook_paths = ["p"]\n role_paths = ["r/one"]\n collection_paths = ["c"]\n group_vars = "gv"\n host_vars = "hv"\n inventory_file = "inv"\n galaxy_file = "req.yml"\n staging_directory = "/tmp/x"\n }\n}',
    references: [
      "a.yml < playbook_files",
      "b.yml < playbook_files",
      "play < playbook_dir",
      "p < playbook_paths",
      "r/one < role_paths",
      "c < collection_paths",
      "gv < group_vars",
      "hv < host_vars",
      "inv < inventory_file",
      "req.yml < galaxy_file",
    ],
  },
  puppet: {
    files:
      'build {\n provisioner "puppet-masterless" {\n manifest_file = "puppet/site.pp"\n manifest_dir = "puppet/manifests"\n module_paths = ["puppet/modules"]\n hiera_config_path = "puppet/hiera.yaml"\n }\n provisioner "puppet-server" {\n client_private_key_path = "keys/client.pem"\n }\n}',
    references: [
      "puppet/site.pp < manifest_file",
      "puppet/manifests < manifest_dir",
      "puppet/modules < module_paths",
      "puppet/hiera.yaml < hiera_config_path",
    ],
  },
  chef: {
    files:
      'build {\n provisioner "chef-solo" {\n cookbook_paths = ["chef/cookbooks"]\n roles_path = "chef/roles"\n data_bags_path = "chef/bags"\n environments_path = "chef/env"\n config_template = "chef/solo.rb"\n remote_cookbook_paths = ["/srv/cookbooks"]\n encrypted_data_bag_secret_path = "chef/secret"\n }\n provisioner "chef-client" {\n config_template = "chef/client.rb"\n validation_key_path = "chef/key.pem"\n }\n}',
    references: [
      "chef/cookbooks < cookbook_paths",
      "chef/roles < roles_path",
      "chef/bags < data_bags_path",
      "chef/env < environments_path",
      "chef/solo.rb < config_template",
      "chef/client.rb < config_template",
    ],
  },
  "salt, inspec, converge, powershell": {
    files:
      'build {\n provisioner "salt-masterless" {\n local_state_tree = "salt/states"\n local_pillar_roots = "salt/pillar"\n minion_config = "salt/minion"\n grains_file = "salt/grains"\n remote_state_tree = "/srv/salt"\n }\n provisioner "inspec" {\n profile = "profiles/base"\n attributes = ["attributes.yml"]\n }\n provisioner "converge" {\n module = "modules/web.hcl"\n module_dirs {\n source = "modules"\n destination = "/tmp"\n }\n }\n provisioner "powershell" {\n scripts = ["a.ps1"]\n }\n}',
    references: [
      "salt/states < local_state_tree",
      "salt/pillar < local_pillar_roots",
      "salt/minion < minion_config",
      "salt/grains < grains_file",
      "profiles/base < profile",
      "attributes.yml < attributes",
      "modules/web.hcl < module",
      "modules < module_dirs.source",
      "a.ps1 < scripts",
    ],
  },
  "a plugin that Kiln does not know: what is named like a path, if it is there": {
    files:
      'build {\n provisioner "goss" {\n tests = ["goss/goss.yaml"]\n vars_file = "goss/vars.yaml"\n remote_path = "/tmp/goss"\n password_file = "/etc/secret"\n url = "https://example.org"\n }\n}',
    references: ["goss/goss.yaml < tests?", "goss/vars.yaml < vars_file?"],
  },

  // Builders.
  builders: {
    files:
      'source "amazon-ebs" "web" {\n user_data_file = "user-data.yml"\n ssh_private_key_file = "keys/id"\n}\nsource "qemu" "x" {\n http_directory = "http"\n cd_files = ["cloud/*", "meta-data"]\n floppy_files = ["floppy/*.cfg"]\n}\nsource "amazon-chroot" "y" {\n copy_files = ["/etc/resolv.conf", "chroot/hosts"]\n}\nbuild {\n source "amazon-ebs.web" {\n user_data_file = "other.yml"\n }\n}\n',
    references: [
      "user-data.yml < user_data_file",
      "http < http_directory",
      "cloud < cd_files",
      "meta-data < cd_files",
      "floppy < floppy_files",
      "chroot/hosts < copy_files",
      "other.yml < user_data_file",
    ],
  },
  "what the bake looks up": {
    files:
      'data "amazon-ami" "base" {\n most_recent = true\n}\ndata "http" "x" {\n url = "https://example.org"\n}\ndata "null" "y" {\n input = "z"\n}\nlocals {\n a = vault("kv/data/x", "y")\n b = consul_key("x")\n c = aws_secretsmanager("x")\n d = formatdate("YYYY", timestamp())\n e = "{{isotime}}-{{timestamp}}"\n f = timestamp()\n}\nsource "amazon-ebs" "web" {\n source_ami_filter {\n most_recent = true\n owners = ["amazon"]\n filters = { name = "x" }\n }\n}\n',
    decidedAtBake: [
      "data.amazon-ami.base",
      "data.http.x",
      "vault",
      "consul_key",
      "aws_secretsmanager",
      "timestamp",
      "isotime",
      "source_ami_filter",
    ],
  },
  "{{ }} in a path of an HCL2 template": {
    files: shell('scripts = ["{{timestamp}}.sh", "{{pwd}}/a.sh"]'),
    unresolved: ["scripts: function", "scripts: function"],
    decidedAtBake: ["timestamp"],
  },
  "env() of variables that are not sensitive": {
    files:
      'variable "a" { default = env("A") }\nvariable "b" {\n type = list(string)\n default = [env("B"), "x", env("A")]\n}\nvariable "c" {\n default = env("C")\n sensitive = true\n}\n',
    environment: ["A < a", "B < b", "A < b"],
  },
  "env() in a path": {
    files: `variable "dir" { default = env("DIR") }\nvariable "e" { default = env("NO") }\n${shell('scripts = ["${var.dir}/a.sh", "x${var.e}"]')}`,
    context: { environment: { DIR: "from-env" } },
    references: ["from-env/a.sh < scripts", "x < scripts"],
    environment: ["DIR < dir", "NO < e"],
  },
  "env() in a path, when the environment is not known": {
    files: `variable "dir" { default = env("DIR") }\n${shell('script = "${var.dir}/a.sh"')}`,
    unresolved: ["script: variable"],
    environment: ["DIR < dir"],
  },

  // How it is written.
  "one line": {
    files: 'build { provisioner "shell" { script = "a.sh" } }',
    references: ["a.sh < script"],
  },
  "carriage returns and a byte order mark": {
    files: `\uFEFF${shell('scripts = [\n"a.sh", # c\n"b.sh",\n]\nscript = "c.sh"').replaceAll("\n", "\r\n")}`,
    references: ["a.sh < scripts", "b.sh < scripts", "c.sh < script"],
  },
  "comments in odd places": {
    files:
      'build /* a */ { # b\n provisioner /* { */ "shell" /* c */ { // d\n script /* = */ = /* "no.sh" */ "a.sh" # "b.sh"\n }\n}',
    references: ["a.sh < script"],
  },
  "words beyond ASCII": {
    files: `variable "größe" { default = "größe" }\n${shell('script = "skripte/${var.größe}-\\u00fc-😀.sh"')}`,
    references: ["skripte/größe-ü-😀.sh < script"],
  },
  "labels without quotes": {
    files: 'build {\n provisioner shell {\n script = "a.sh"\n }\n}',
    references: ["a.sh < script"],
  },
  "several files of a folder, none below it": {
    files: {
      "packer/a.pkr.hcl": shell('script = "${local.dir}/a.sh"'),
      "packer/b.pkr.hcl": 'locals { dir = "${path.root}/sh" }\n',
      "packer/c.pkr.json": json({ build: { provisioner: { shell: { script: "${local.dir}/c.sh" } } } }),
      "packer/below/d.pkr.hcl": shell('script = "no.sh"'),
      "packer/e.hcl": shell('script = "no.sh"'),
    },
    recipe: { template: "packer" },
    references: ["packer/sh/a.sh < script", "packer/sh/c.sh < script"],
  },
  "a template that is broken gives what could be read": {
    files: `${shell('script = "a.sh"')}build {\n provisioner "shell" {\n script = "b.sh\n }\n = { ] }\n provisioner "shell" {\n script = "c.sh"\n`,
    references: ["a.sh < script", "b.sh < script", "c.sh < script"],
  },
  "a template that is not there": { files: { "other.txt": "" }, recipe: { template: "packer/no.pkr.hcl" } },

  // HCL's JSON syntax.
  "pkr.json": {
    files: {
      "packer/web.pkr.json": json({
        "//": { provisioner: { shell: { script: "no.sh" } } },
        variable: { dir: { default: "sh" }, name: { default: '${env("NAME")}' } },
        locals: { root: "${path.root}" },
        source: {
          "amazon-ebs": {
            web: { user_data_file: "${local.root}/ud.yml", source_ami_filter: { most_recent: true } },
          },
        },
        build: [
          {
            sources: ["source.amazon-ebs.web"],
            provisioner: [
              { shell: { script: "${var.dir}/a.sh" } },
              { file: [{ source: "b" }, { source: "c", direction: "download" }] },
            ],
            "post-processors": [{ "post-processor": { "shell-local": { scripts: ["d.sh"] } } }],
          },
        ],
      }),
    },
    references: ["packer/ud.yml < user_data_file", "sh/a.sh < script", "b < source", "d.sh < scripts"],
    environment: ["NAME < name"],
    decidedAtBake: ["source_ami_filter"],
  },
  "pkr.json: dynamic blocks and overrides": {
    files: {
      "packer/web.pkr.json": json({
        build: {
          dynamic: {
            provisioner: {
              for_each: ["a.sh"],
              labels: ["shell"],
              content: { script: "${provisioner.value}", override: { web: { script: "b.sh" } } },
            },
          },
        },
      }),
    },
    references: ["a.sh < script", "b.sh < script"],
  },

  // Legacy JSON.
  legacy: {
    files: {
      "packer/web.json": json({
        _comment: "script no.sh",
        variables: {
          dir: "sh",
          name: "{{env `NAME`}}",
          both: "{{user `dir`}}/x",
          token: "{{env `TOKEN`}}",
          nothing: null,
        },
        "sensitive-variables": ["token"],
        builders: [
          { type: "amazon-ebs", user_data_file: "{{template_dir}}/ud.yml", ami_name: "x-{{timestamp}}" },
          {
            type: "amazon-ebs",
            name: "two",
            source_ami_filter: { most_recent: true },
            user_data_file: "{{pwd}}/two.yml",
          },
        ],
        provisioners: [
          { type: "shell", script: "{{user `dir`}}/a.sh", override: { two: { script: "b.sh" } } },
          { type: "shell", scripts: ["{{ user `both` }}.sh", "{{user `nothing`}}.sh", '{{user "token"}}'] },
          { type: "file", source: "{{template_dir}}/../files/", destination: "/x" },
          { type: "ansible-local", playbook_file: "site.yml" },
          { type: "shell", script: "{{build_name}}.sh" },
          { type: "shell", script: "{{user `dir` | upper}}.sh" },
        ],
        "error-cleanup-provisioner": { type: "shell", script: "clean.sh" },
        "post-processors": [
          "manifest",
          { type: "shell-local", script: "c.sh" },
          [{ type: "shell-local", script: "d.sh" }],
        ],
      }),
    },
    references: [
      "packer/ud.yml < user_data_file",
      "two.yml < user_data_file",
      "sh/a.sh < script",
      "b.sh < script",
      "sh/x.sh < scripts",
      "files < source",
      "site.yml < playbook_file",
      "clean.sh < script",
      "c.sh < script",
      "d.sh < script",
    ],
    unresolved: ["scripts: variable", "scripts: variable", "script: function", "script: function"],
    environment: ["NAME < name"],
    decidedAtBake: ["timestamp", "source_ami_filter"],
  },
  "legacy: variable files and vars, and no PKR_VAR": {
    files: {
      "web.json": json({
        variables: { a: "x", b: "y", c: "z" },
        provisioners: [{ type: "shell", scripts: ["{{user `a`}}", "{{user `b`}}", "{{user `c`}}"] }],
      }),
      "vars.json": '{"a": "file-a", "b": "file-b"}',
    },
    recipe: { varFiles: ["vars.json"], vars: { b: "vars-b" } },
    context: { environment: { PKR_VAR_c: "no" } },
    references: ["file-a < scripts", "vars-b < scripts", "z < scripts"],
  },
  "legacy: what a template looks up": {
    files: {
      "web.json": json({
        variables: {
          a: "{{consul_key `x`}}",
          b: "{{vault `p` `k`}}",
          c: "{{aws_secretsmanager `s` `k`}}",
          d: "{{uuid}}",
          e: "{{aws_secretsmanager_raw `s`}}",
        },
        provisioners: [{ type: "shell", script: "{{user `a`}}" }],
      }),
    },
    unresolved: ["script: function"],
    decidedAtBake: ["consul_key", "vault", "aws_secretsmanager", "uuid", "aws_secretsmanager_raw"],
  },
  "legacy: any other ending": {
    files: { "packer/web.json.tpl": json({ provisioners: [{ type: "shell", script: "a.sh" }] }) },
    references: ["a.sh < script"],
  },
  "legacy: HCL's templates are text": {
    files: { "web.json": json({ provisioners: [{ type: "shell", script: "${path.root}/a.sh" }] }) },
    references: ["${path.root}/a.sh < script"],
  },
  "legacy: HCL in a file of another name": { files: { "web.hcl": shell('script = "a.sh"') } },
};

describe("what a template refers to", () => {
  test.each(Object.entries(CASES))("%s", async (_, each) => {
    const { references = [], unresolved = [], environment = [], decidedAtBake = [] } = each;
    expect(told(await factsOf(each))).toStrictEqual({ references, unresolved, environment, decidedAtBake });
  });
});

describe("what a template says", () => {
  test("places are those of the path, and an expression is quoted in one line", async () => {
    const { references, unresolved } = await factsOf({
      files: `# größe 😀\n${shell('scripts = ["a.sh",\n      "${build.ID}.sh", join("",\n  [build.ID])]')}`,
    });
    expect(references.map(({ place }) => place)).toStrictEqual([{ file: TEMPLATE, line: 4, column: 16 }]);
    expect(unresolved).toStrictEqual([
      {
        attribute: "scripts",
        expression: '"${build.ID}.sh"',
        place: { file: TEMPLATE, line: 5, column: 7 },
        why: "function",
      },
      {
        attribute: "scripts",
        expression: 'join("",   [build.ID])',
        place: { file: TEMPLATE, line: 5, column: 25 },
        why: "function",
      },
    ]);
  });

  test("a working directory that is a symbolic link", async () => {
    mkdirSync(join(folder, "deep/er/app"), { recursive: true });
    symlinkSync("deep/er/app", join(folder, "app"));
    const { references } = await factsOf({
      files: shell('scripts = ["../a.sh", "b.sh", "${path.root}/c.sh"]'),
      recipe: { workingDirectory: "app" },
    });
    expect(references.map(({ path }) => path)).toStrictEqual([
      "deep/er/a.sh",
      "deep/er/app/b.sh",
      "packer/c.sh",
    ]);
  });

  test("a long expression is cut", async () => {
    const { unresolved } = await factsOf({ files: shell(`script = "\${build.ID}${"x".repeat(1000)}"`) });
    expect(unresolved[0]?.expression).toMatch(/^"\$\{build\.ID\}x{100,}…$/);
    expect(unresolved[0]?.expression.length).toBeLessThanOrEqual(121);
  });

  test("places in JSON, legacy and not", async () => {
    const provisioner = '{\n  "provisioners": [\n    {"type": "shell",\n     "script": "a.sh"}]\n}\n';
    const legacy = await factsOf({ files: { "web.json": provisioner } });
    expect(legacy.references[0]?.place).toStrictEqual({ file: "web.json", line: 4, column: 16 });
    expect(legacy.legacy).toBe(true);
    const hcl = '{"build": {\n "provisioner": {"shell": {\n  "script": "${path.root}/a.sh" }}}}';
    const { references, legacy: isLegacy } = await factsOf({ files: { "web.pkr.json": hcl } });
    expect(references[0]?.place).toStrictEqual({ file: "web.pkr.json", line: 3, column: 13 });
    expect(isLegacy).toBe(false);
  });

  test("variables, where files set them, and the files in Packer's order", async () => {
    const facts = await factsOf({
      files: {
        "packer/web.pkr.hcl":
          'variable "image_name" {}\nvariable "version" {\n  default = env("V")\n}\nvariable "token" {\n  sensitive = true\n  default = ""\n}\n',
        "packer/a.pkr.json": '{"variable": {"from_json": {"default": null}}}',
        "packer/z.auto.pkrvars.hcl": '\n  image_name = "nginx"\n',
        "packer/b.auto.pkrvars.json": '{\n "version": "1"}',
        "vars/more.pkrvars.hcl": 'image_name = "x"',
      },
      recipe: { template: "packer", varFiles: ["vars/more.pkrvars.hcl"] },
    });
    expect(facts.variables).toStrictEqual([
      {
        name: "image_name",
        sensitive: false,
        hasDefault: false,
        environment: [],
        place: { file: "packer/web.pkr.hcl", line: 1, column: 1 },
      },
      {
        name: "version",
        sensitive: false,
        hasDefault: true,
        environment: ["V"],
        place: { file: "packer/web.pkr.hcl", line: 2, column: 1 },
      },
      {
        name: "token",
        sensitive: true,
        hasDefault: true,
        environment: [],
        place: { file: "packer/web.pkr.hcl", line: 5, column: 1 },
      },
      {
        name: "from_json",
        sensitive: false,
        hasDefault: true,
        environment: [],
        place: { file: "packer/a.pkr.json", line: 1, column: 15 },
      },
    ]);
    expect(facts.assignments).toStrictEqual([
      { name: "image_name", place: { file: "packer/z.auto.pkrvars.hcl", line: 2, column: 3 } },
      { name: "version", place: { file: "packer/b.auto.pkrvars.json", line: 2, column: 2 } },
      { name: "image_name", place: { file: "vars/more.pkrvars.hcl", line: 1, column: 1 } },
    ]);
    expect(facts.sources).toStrictEqual(["packer/web.pkr.hcl", "packer/a.pkr.json"]);
    expect(facts.variableFiles).toStrictEqual([
      "packer/z.auto.pkrvars.hcl",
      "packer/b.auto.pkrvars.json",
      "vars/more.pkrvars.hcl",
    ]);
  });

  /** A builder's attributes as `[value, literal, names]`. */
  const attributesOf = (facts: TemplateFacts, index = 0): Readonly<Record<string, readonly unknown[]>> =>
    Object.fromEntries(
      [...(facts.builders[index]?.attributes ?? [])].map(([name, { value, literal, names }]) => [
        name,
        [value, literal, names],
      ]),
    );

  test("builders: what is written out, what is known, what is referred to", async () => {
    const facts = await factsOf({
      files: `
variable "image_name" {}
variable "region" { default = "eu-west-1" }
locals {
  stamp = timestamp()
}
source "amazon-ebs" "web" {
  ami_name         = "\${var.image_name}-\${local.stamp}"
  region           = var.region
  force_deregister = true
  ami_regions      = ["us-east-1", "eu-west-1"]
  ami_users        = [var.region, "1"]
  skip_create_ami  = "false"
  ami_description  = "built {{isotime}}"
  tags = {
    Name = "web"
    By   = uuidv4()
  }
  source_ami_filter {
    most_recent = true
    filters = {
      name = "debian-*"
    }
  }
  launch_block_device_mappings {
    volume_size = 8
  }
  launch_block_device_mappings {
    volume_size = 9
  }
}
`,
    });
    expect(facts.builders.map(({ type, name, place }) => [type, name, place.line])).toStrictEqual([
      ["amazon-ebs", "web", 7],
    ]);
    expect(attributesOf(facts)).toStrictEqual({
      ami_name: [undefined, false, ["var.image_name", "local.stamp"]],
      region: ["eu-west-1", false, ["var.region"]],
      force_deregister: [true, true, []],
      ami_regions: [["us-east-1", "eu-west-1"], true, []],
      ami_users: [["eu-west-1", "1"], false, ["var.region"]],
      skip_create_ami: ["false", true, []],
      ami_description: [undefined, false, ["isotime()"]],
      tags: [undefined, false, ["uuidv4()"]],
      "tags.Name": ["web", true, []],
      "tags.By": [undefined, false, ["uuidv4()"]],
      "source_ami_filter.most_recent": [true, true, []],
      "source_ami_filter.filters": [undefined, true, []],
      "source_ami_filter.filters.name": ["debian-*", true, []],
      "launch_block_device_mappings.volume_size": [8, true, []],
    });
  });

  test("builders of a legacy template, and a build's additions to a source", async () => {
    const legacy = await factsOf({
      files: {
        "web.json": json({
          variables: { image_name: "" },
          builders: [
            { type: "amazon-ebs", ami_name: "{{user `image_name`}}-{{timestamp}}", force_deregister: "true" },
            { type: "amazon-ebs", name: "two", ami_regions: ["us-east-1"], tags: { a: "b" } },
          ],
          provisioners: [{ type: "shell" }],
          "post-processors": [["manifest", { type: "shell-local" }]],
        }),
      },
    });
    expect(legacy.builders.map(({ type, name }) => `${type}.${name}`)).toStrictEqual([
      "amazon-ebs.amazon-ebs",
      "amazon-ebs.two",
    ]);
    expect(attributesOf(legacy)).toStrictEqual({
      ami_name: [undefined, false, ["var.image_name", "timestamp()"]],
      force_deregister: ["true", true, []],
    });
    expect(attributesOf(legacy, 1)).toMatchObject({ name: ["two", true, []], "tags.a": ["b", true, []] });
    expect(legacy.builds).toMatchObject([
      {
        name: undefined,
        sources: ["amazon-ebs", "two"],
        provisioners: [{ type: "shell" }],
        postProcessors: [{ type: "manifest" }, { type: "shell-local" }],
      },
    ]);
    const hcl = await factsOf({
      files: `source "amazon-ebs" "web" {}
build {
  name    = "all"
  sources = ["source.amazon-ebs.web", "amazon-ebs.two"]
  source "source.amazon-ebs.three" {
    ami_name = "x"
  }
  provisioner "file" {}
  post-processors {
    post-processor "manifest" {}
  }
}
`,
    });
    expect(hcl.builds).toMatchObject([
      {
        name: "all",
        sources: ["amazon-ebs.web", "amazon-ebs.two", "amazon-ebs.three"],
        provisioners: [{ type: "file" }],
        postProcessors: [{ type: "manifest" }],
        place: { line: 2 },
      },
    ]);
    expect(hcl.builders.map(({ type, name }) => `${type}.${name}`)).toStrictEqual([
      "amazon-ebs.web",
      "amazon-ebs.three",
    ]);
    expect(attributesOf(hcl, 1)).toStrictEqual({ ami_name: ["x", true, []] });
  });
});
