import { chmodSync, mkdirSync, symlinkSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HOME } from "../../sandbox/sandbox.ts";
import { Stage } from "./stage.ts";

/** Templates as people write them, with real Packer. */

/** A config file whose `image` has more keys. */
const config = (image: string, template = "packer/web.pkr.hcl"): string => `application: web
image:
  template: ${template}
  inputs: [packer/**]
${image}environments:
  dev:
    branches: [develop]
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
`;

const builder = (name: string, more = ""): string => `source "amazon-ebs" "${name}" {
  region        = "eu-west-1"
  instance_type = "t3.small"
  ssh_username  = "ubuntu"
  ssh_port      = var.ssh_port
  ami_name      = "\${var.image_name}-${name}"
  tags          = merge(var.image_tags, { version = var.image_version })
  snapshot_tags = var.image_tags
  ${more}

  source_ami_filter {
    owners      = ["099720109477"]
    most_recent = true
    filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*" }
  }
}
`;

/** Two builds, relative paths, lists of commands, and a version of its own. */
const TEMPLATE = `variable "image_name" { type = string }
variable "image_version" {
  type    = string
  default = "1.27.0"
}
variable "image_tags" {
  type    = map(string)
  default = {}
}
variable "ssh_port" {
  type    = number
  default = 22
}
variable "steps" { type = list(string) }
variable "more" { type = list(string) }
variable "text" { type = string }
variable "secrets" {
  type      = map(string)
  sensitive = true
}
variable "greeting" { type = string }
${builder("web")}${builder("worker")}
build {
  sources = ["amazon-ebs.web", "amazon-ebs.worker"]

  provisioner "shell" {
    script           = "scripts/setup.sh"
    environment_vars = ["GREETING=\${var.greeting}", "TEXT=\${var.text}", "LENGTH=\${length(var.secrets.token)}"]
  }

  provisioner "shell" {
    inline = concat(var.steps, var.more)
  }
}
`;

const LEGACY = JSON.stringify({
  variables: { image_name: "", image_version: "", ssh_port: "22", token: null, text: "" },
  "sensitive-variables": ["token"],
  builders: ["web", "worker"].map((name) => ({
    type: "amazon-ebs",
    name,
    region: "eu-west-1",
    instance_type: "t3.small",
    ssh_username: "ubuntu",
    ssh_port: "{{user `ssh_port`}}",
    ami_name: `{{user \`image_name\`}}-${name}`,
    source_ami_filter: {
      owners: ["099720109477"],
      most_recent: true,
      filters: { name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*" },
    },
  })),
  provisioners: [
    {
      type: "shell",
      script: "scripts/setup.sh",
      environment_vars: ["GREETING=legacy", "TEXT={{user `text`}}", "LENGTH={{user `token`}}"],
    },
  ],
});

// Single quotes: what is inside reaches the script as it is.
const SETUP = '#!/bin/sh\necho "set up: $GREETING, $TEXT, $(printf %s "$LENGTH" | wc -c)"\n';
const STEPS = `  vars:\n    steps: ["echo home=\${HOME}", "echo 'as it is: \${HOME} %{if} $$'"]\n    text: '["\${a}"]'\n`;
const FILES = {
  "packer/web.pkr.hcl": TEMPLATE,
  "packer/web.json": LEGACY,
  "packer/scripts/setup.sh": SETUP,
  "packer/common.pkrvars.hcl": 'greeting = "hello"\n',
};
const INPUTS = {
  vars: `more=["echo 'by input: \${HOME}'",\n]`.replace("\n", ""),
  "secret-vars": 'secrets={"token": "s3cr3t-${x}"}',
};

describe("a template that expects its own folder", () => {
  test("is refused with the folder's name, and baked with working-directory, only, and values as they are", async () => {
    await using stage = await Stage.open();
    const image = `  var-files: [packer/common.pkrvars.hcl]\n  only: [amazon-ebs.web]\n${STEPS}`;
    await stage.commit("Add it", { ...FILES, ".github/kiln.yml": config(image) });
    const planned = await stage.push("develop", { inputs: { ...INPUTS, "dry-run": "true" } });
    expect(planned.code).toBe(1);
    expect(planned.log).toContain("The Packer template packer/web.pkr.hcl is not valid");
    expect(planned.log).toContain("set `image.working-directory: packer` in the config file");

    const set = `${image}  working-directory: packer\n`;
    await stage.commit("Say where", { ".github/kiln.yml": config(set) });
    const result = await stage.push("develop", { inputs: INPUTS });
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain('amazon-ebs.web: set up: hello, ["${a}"], 2');
    expect(result.log).toMatch(/amazon-ebs\.web: home=\/\S+/);
    expect(result.log).toContain("amazon-ebs.web: as it is: ${HOME} %{if} $$");
    expect(result.log).toContain("amazon-ebs.web: by input: ${HOME}");
    expect(result.log.replace(/^::add-mask::.*$/gm, "")).not.toContain("s3cr3t");
    expect(result.log).not.toContain("amazon-ebs.worker");
    expect(result.log).toContain("image_version has a default in the template, so Kiln does not set it");
    const [made, ...others] = stage.sandbox.ec2
      .images(HOME)
      .filter(({ ownerId }) => ownerId === HOME.accountId);
    expect(others).toStrictEqual([]);
    expect(made?.tags).toMatchObject({ version: "1.27.0", "kiln:application": "web" });
    expect(stage.running("web-dev")).toStrictEqual([made?.id]);
  });

  test("is baked also if it is a legacy one", async () => {
    await using stage = await Stage.open();
    const image = "  working-directory: packer\n  only: [worker]\n";
    await stage.commit("Add it", { ...FILES, ".github/kiln.yml": config(image, "packer/web.json") });
    const result = await stage.push("develop", {
      inputs: { command: "bake", "secret-vars": "token=s3cr3t-123", vars: "text=${HOME} %{x}" },
    });
    expect(result.code, result.log).toBe(0);
    expect(result.log).toContain("worker: set up: legacy, ${HOME} %{x}, 10");
    expect(result.log).not.toContain("web: set up");
    expect(stage.images()).toHaveLength(1);
  });
});

describe("a dry run", () => {
  test.each(["deploy", "bake"])("of %s is red if the template has a syntax error", async (command) => {
    await using stage = await Stage.open({ ssh: false });
    const template = await stage.copy.read("packer/web.pkr.hcl");
    await stage.commit("Break it", {
      "packer/web.pkr.hcl": template.replace("type = string\n}", "type = string\n"),
    });
    const result = await stage.push("develop", { inputs: { command, "dry-run": "true" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("The Packer template packer/web.pkr.hcl is not valid");
    expect(result.log).toMatch(/on packer\/web\.pkr\.hcl line \d+/);
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("without Packer says that the template was not validated", async () => {
    await using stage = await Stage.open({ ssh: false });
    const bin = join(stage.folder, "bin");
    mkdirSync(bin);
    symlinkSync(execFileSync("which", ["git"], { encoding: "utf8" }).trim(), join(bin, "git"));
    chmodSync(bin, 0o755);
    const result = await stage.push("develop", { inputs: { "dry-run": "true" }, env: { PATH: bin } });
    expect(result.code, result.log).toBe(0);
    const line = "the template was not validated: Packer is not installed on this runner";
    expect(result.log).toContain(line);
    expect(result.summary).toContain(line);
  });
});

test("what would harm images in use, or fail after the bake, is refused before anything is asked", async () => {
  await using stage = await Stage.open({ ssh: false });
  const template = TEMPLATE.replace('"eu-west-1"', '"us-west-2"')
    .replace('"${var.image_name}-web"', '"web"')
    .replace("  snapshot_tags", "  force_deregister = true\n  snapshot_tags");
  await stage.commit("Add it", {
    ...FILES,
    "packer/web.pkr.hcl": template,
    "packer/common.pkrvars.hcl": 'greeting   = "hello"\nimage_tags = {}\n',
    ".github/kiln.yml": config(
      "  var-files: [packer/common.pkrvars.hcl]\n  only: [amazon-ebs.wbe, amazon-ebs.web]\n  vars: { image_name: nginx }\n",
    ),
  });
  for (const inputs of [{}, { "dry-run": "true" }, { command: "bake" }]) {
    const result = await stage.push("develop", { inputs });
    expect(result.code).toBe(1);
    expect(result.log).toMatch(/packer\/common\.pkrvars\.hcl:2:1: .*sets "image_tags"/);
    expect(result.log).toMatch(/\.github\/kiln\.yml:7:11: .*sets "image_name"/);
    expect(result.log).toMatch(/\.github\/kiln\.yml:6:3: .*"amazon-ebs\.wbe" names no build/);
    expect(result.log).toMatch(/packer\/web\.pkr\.hcl:\d+:3: .*force_deregister is true/);
    expect(result.log).toMatch(/packer\/web\.pkr\.hcl:\d+:3: .*ami_name is "web" for every bake/);
    expect(result.log).toMatch(
      /packer\/web\.pkr\.hcl:\d+:3: .*makes its image in us-west-2, but it is needed in eu-west-1/,
    );
    expect(result.log).toContain("6 things are wrong");
    expect(result.requests).toEqual([]);
  }
});
