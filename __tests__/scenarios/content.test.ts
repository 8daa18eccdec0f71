import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Job, JobResult } from "../../sandbox/runner.ts";
import { Stage } from "./stage.ts";

/** What decides the digest, by the built action: dry runs, which print it, and one bake with real Packer. */

/** The example's config without `inputs` and `vars`, with more settings of the image. */
const config = (...image: string[]): string => `application: web
image:
  template: packer/web.pkr.hcl
${image.map((line) => `  ${line}\n`).join("")}environments:
  dev:
    branches: [develop]
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
`;

const TEMPLATE = `variable "image_name" {
  type = string
}
variable "app_version" {
  type    = string
  default = ""
}
variable "build" {
  type    = string
  default = env("BUILD_NAME")
}
variable "password" {
  type      = string
  default   = ""
  sensitive = true
}
variable "script" { default = "none" }
variable "region" {
  default = env("AWS_REGION")
}
source "amazon-ebs" "web" {
  ami_name      = var.image_name
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "ubuntu"
}
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" {
    script = "\${path.root}/../scripts/setup.sh"
  }
}
`;

describe("dry runs", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.open({ ssh: false });
    rmSync(join(stage.copy.folder, "packer/provision.sh"));
    await stage.commit("Use files elsewhere", {
      ".github/kiln.yml": config(),
      "packer/web.pkr.hcl": TEMPLATE,
      "scripts/setup.sh": "echo setup\n",
      "packer/plain.pkrvars.hcl": 'app_version = "plain"\n',
      "packer/hardened.pkrvars.hcl": 'app_version = "hardened"\n',
    });
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  /** Without Packer, which would look at more than what decides the digest. */
  const plan = (job: Partial<Job> = {}): Promise<JobResult> =>
    stage.run({
      ...job,
      env: { PATH: binFolder("git", "sh"), ...job.env },
      inputs: { "dry-run": "true", ...job.inputs },
    });

  /** A folder for PATH with some programs. */
  function binFolder(...names: readonly string[]): string {
    const folder = join(stage.folder, `bin-${names.join("-")}`);
    mkdirSync(folder, { recursive: true });
    for (const name of names) {
      const program = execFileSync("which", [name], { encoding: "utf8" }).trim();
      if (!existsSync(join(folder, name))) symlinkSync(program, join(folder, name));
    }
    return folder;
  }
  const digest = async (job: Partial<Job> = {}): Promise<string | undefined> => {
    const { code, log, outputs } = await plan(job);
    expect(code, log).toBe(0);
    return outputs["image-digest"];
  };

  test("a script outside of the template's folder counts without being listed, and the plan says why", async () => {
    const { log, outputs } = await plan({ env: { RUNNER_DEBUG: "1" } });
    expect(log).toMatch(
      /Content digest sha256:\w+: 4 files \(template 3, referred to by the template 1\), 2 variables \(2 of the environment\)/,
    );
    expect(log).toMatch(
      /::debug::content: 100644 \w{40} scripts\/setup\.sh \(packer\/web\.pkr\.hcl:30: script\)/,
    );
    await stage.commit("Change the script", { "scripts/setup.sh": "echo another setup\n" });
    expect(await digest()).not.toBe(outputs["image-digest"]);
  });

  test("variable files that are switched change the digest, though all of them count", async () => {
    await stage.write(".github/kiln.yml", config("var-files: [packer/plain.pkrvars.hcl]"));
    const plain = await digest();
    await stage.write(".github/kiln.yml", config("var-files: [packer/hardened.pkrvars.hcl]"));
    const hardened = await digest();
    await stage.write(".github/kiln.yml", config());
    expect(hardened).not.toBe(plain);
    expect(await digest()).not.toBe(plain);
  });

  test("PKR_VAR_* and env() of declared variables count; secrets, others and Kiln's own do not", async () => {
    const base = await digest();
    for (const [name, value] of [
      ["PKR_VAR_app_version", "2"],
      ["BUILD_NAME", "nightly"],
    ] as const) {
      const one = await digest({ env: { [name]: value } });
      expect(one, name).not.toBe(base);
      expect(await digest({ env: { [name]: `${value}x` } }), name).not.toBe(one);
    }
    const env = {
      PKR_VAR_password: "hunter2-hunter2",
      PKR_VAR_undeclared: "1",
      PKR_VAR_image_name: "mine",
      OTHER: "1",
    };
    expect(await digest({ env })).toBe(base);
    // Packer gets the image's region in place of the job's.
    expect(await digest({ env: { AWS_REGION: "us-east-1", AWS_DEFAULT_REGION: "us-east-1" } })).toBe(base);
    // One that `vars` sets has no value from the environment.
    const inputs = { vars: "app_version=3" };
    expect(await digest({ inputs, env: { PKR_VAR_app_version: "2" } })).toBe(await digest({ inputs }));
  });

  test("a checkout that belongs to another user is read", async () => {
    expect(await digest({ env: { GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" } })).toBe(await digest());
  });

  test("a path that cannot be known, and one that is relative to the template, are told with what to do", async () => {
    await stage.write(
      "packer/web.pkr.hcl",
      TEMPLATE.replace('"${path.root}/../scripts/setup.sh"', '"local/run.sh"').replace(
        /\}\n$/,
        `  provisioner "shell" {\n    script = uuidv4()\n  }\n}\n`,
      ),
    );
    await stage.write("packer/local/run.sh", "echo run\n");
    const { code, log } = await plan();
    expect(code, log).toBe(0);
    expect(log).toMatch(
      /::warning::packer\/web\.pkr\.hcl:30: script refers to local\/run\.sh, which does not exist\. It exists relative to the template's folder: set `working-directory: packer`/,
    );
    expect(log).toMatch(
      /::notice::Kiln cannot tell which files the template refers to at packer\/web\.pkr\.hcl:33 \(script: uuidv4\(\)\)\. Make sure that `inputs` lists them/,
    );
    await stage.write(".github/kiln.yml", config("working-directory: packer"));
    expect((await plan()).log).not.toContain("does not exist");
    await stage.copy.git("checkout", "--quiet", ".");
    rmSync(join(stage.copy.folder, "packer/local"), { recursive: true });
  });

  test("what Packer asks for during the bake is named once", async () => {
    await stage.write(
      "packer/web.pkr.hcl",
      TEMPLATE.replace(
        "region        = var.region",
        'region = var.region\n  source_ami_filter {\n    owners = ["self"]\n    most_recent = true\n  }',
      ),
    );
    const { log } = await plan();
    expect(log.match(/Decided at bake time, and no part of the digest: source_ami_filter/g)).toHaveLength(1);
    await stage.copy.git("checkout", "--quiet", ".");
  });

  test("Git LFS pointers are refused before anything is asked", async () => {
    await stage.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    await stage.write(
      "packer/app.bin",
      `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d".repeat(32)}\nsize 12345\n`,
    );
    await stage.copy.git("add", "--all");
    const mark = stage.sandbox.log.entries.length;
    const result = await stage.run();
    expect(result.code).toBe(1);
    expect(result.log).toContain(
      "the checkout: has Git LFS pointers in place of files that decide the image: packer/app.bin. Set `lfs: true` in the step with actions/checkout",
    );
    expect(stage.sandbox.log.since(mark)).toEqual([]);
    await stage.copy.git("reset", "--quiet", "--hard");
  });

  test("no git on the machine, and no checkout, are told as that", async () => {
    const without = await plan({ env: { PATH: binFolder("sh") } });
    expect(without.code).toBe(1);
    expect(without.log).toContain("::error::git is not installed on this runner");
    execFileSync("mv", [".git", ".git-elsewhere"], { cwd: stage.copy.folder });
    const nowhere = await plan({ commit: "1".repeat(40) });
    execFileSync("mv", [".git-elsewhere", ".git"], { cwd: stage.copy.folder });
    expect(nowhere.code).toBe(1);
    expect(nowhere.log).toContain("There is no checkout in");
    expect(nowhere.log).toContain("set `working-directory` to the same path");
  });
});

test("bake and then deploy in one job bake once, although the bake writes a manifest into the content", async () => {
  await using stage = await Stage.open();
  const template = await stage.copy.read("packer/web.pkr.hcl");
  await stage.commit("Write a manifest", {
    "packer/web.pkr.hcl": template.replace(
      /\}\n$/,
      '\n  post-processor "manifest" {\n    output = "packer/manifest.json"\n  }\n}\n',
    ),
  });
  await stage.copy.push("develop");
  const baked = await stage.run({ inputs: { command: "bake" } });
  expect(baked.code, baked.log).toBe(0);
  expect(await stage.copy.git("status", "--porcelain")).toBe("?? packer/manifest.json");
  const deployed = await stage.run();
  expect(deployed.code, deployed.log).toBe(0);
  expect(deployed.outputs).toMatchObject({
    outcome: "succeeded",
    baked: "false",
    "image-digest": baked.outputs["image-digest"],
    "image-id": baked.outputs["image-id"],
  });
});
