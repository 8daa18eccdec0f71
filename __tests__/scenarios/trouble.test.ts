import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { GitHubToken } from "../../sandbox/github/access.ts";
import { ACCESS_KEY, HOME, TOKEN } from "../../sandbox/sandbox.ts";
import { isPacker, ourWrites, Stage } from "./stage.ts";

/** Bad input and trouble: one clear error, a red run, and nothing touched. */

const TEMPLATES = join(import.meta.dirname, "../fixtures/templates");

/** A folder for PATH with git, and what else is given as a shell script. */
function binFolder(stage: Stage, scripts: Readonly<Record<string, string>> = {}): string {
  const folder = join(stage.folder, "bin");
  mkdirSync(folder);
  for (const name of ["git", "sh"])
    symlinkSync(execFileSync("which", [name], { encoding: "utf8" }).trim(), join(folder, name));
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

async function useTemplate(stage: Stage, name: string): Promise<void> {
  const config = await stage.copy.read(".github/kiln.yml");
  await stage.commit(`Use ${name}`, {
    "packer/web.pkr.hcl": readFileSync(join(TEMPLATES, name, `${name}.pkr.hcl`), "utf8"),
    ".github/kiln.yml": config.replace(/ {2}vars:.*\n/, ""),
  });
}

describe("refused before anything is asked", () => {
  test("problems of the config file, all at once, each with its line", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.commit("Break it", {
      ".github/kiln.yml": (await stage.copy.read(".github/kiln.yml"))
        .replace("branches: [stage]", "branchs: [stage]")
        .replace("web-qa }", "web-qa, regoin: x }")
        .replace("production:", "pro/duction:"),
    });
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toMatch(/kiln\.yml:12:5: unknown key "branchs"; did you mean "branches"\?/);
    expect(result.log).toMatch(/kiln\.yml:13:\d+: unknown key "regoin"; did you mean "region"\?/);
    expect(result.log).toMatch(
      /kiln\.yml:14:3: .*"environments\.pro\/duction" must be usable as one segment of a git ref/,
    );
    expect(result.log).toContain("3 things are wrong");
    expect(result.outputs["outcome"]).toBe("failed");
    expect(result.requests).toEqual([]);
  });

  test("problems of the inputs, all at once, without repeating a secret", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.push("develop", {
      inputs: {
        timeout: "soon",
        rebake: "sometimes",
        "secret-vars": "hunter2 oops",
        enviroment: "dev",
        region: "eu-west-1",
      },
    });
    expect(result.code).toBe(1);
    for (const name of ["timeout", "rebake", "secret-vars", "enviroment", "region"])
      expect(result.log).toContain(`input ${name}:`);
    expect(result.log).toContain('did you mean "environment"?');
    expect(result.log.replaceAll(/^::add-mask::.*\n/gm, "")).not.toContain("hunter2");
    expect(result.summary).not.toContain("hunter2");
    expect(result.requests).toEqual([]);
  });

  test("an environment that does not exist", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.run({ event: "workflow_dispatch", inputs: { environment: "prodution" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain('there is no environment "prodution"');
    expect(result.log).toContain('did you mean "production"?');
    expect(result.requests).toEqual([]);
  });

  test("an application's name that is no ref segment", async () => {
    await using stage = await Stage.open({ ssh: false });
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Rename", {
      ".github/kiln.yml": config.replace("application: web", "application: web/shop"),
    });
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toMatch(/kiln\.yml:1:14: "application" must be usable as one segment of a git ref/);
    expect(result.requests).toEqual([]);
  });

  test("no config file, and nothing said instead", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.push("develop", { inputs: { config: "deploy/kiln.yml" } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("there is no file deploy/kiln.yml");
    expect(result.requests).toEqual([]);
  });
});

describe("refused after looking, with nothing written", () => {
  test("a group that does not exist", async () => {
    await using stage = await Stage.open({ ssh: false });
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Misspell", { ".github/kiln.yml": config.replace("web-dev", "web-dve") });
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("There is no Auto Scaling group web-dve in eu-west-1");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("no AWS credentials", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.push("develop", {
      env: { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
    });
    expect(result.code).toBe(1);
    expect(result.log).toContain("There are no AWS credentials");
    expect(result.log).toContain("aws-actions/configure-aws-credentials");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("expired AWS credentials", async () => {
    await using stage = await Stage.open({ ssh: false });
    stage.sandbox.accounts[ACCESS_KEY] = { accountId: HOME.accountId, state: "expired" };
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The AWS credentials have expired");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("Packer missing", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.push("develop", { env: { PATH: binFolder(stage) } });
    expect(result.code).toBe(1);
    expect(result.log).toContain("Packer is not installed on this runner");
    expect(result.log).toContain("hashicorp/setup-packer");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("Packer too old", async () => {
    await using stage = await Stage.open({ ssh: false });
    const result = await stage.push("develop", {
      env: { PATH: binFolder(stage, { packer: "echo Packer v1.5.6" }) },
    });
    expect(result.code).toBe(1);
    expect(result.log).toContain("Packer 1.5.6 is too old: Kiln needs 1.6.0 or newer");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("a template that is not valid", async () => {
    await using stage = await Stage.open({ ssh: false });
    await useTemplate(stage, "invalid");
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The Packer template packer/web.pkr.hcl is not valid");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });

  test("a token without contents: write", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    const tokens = stage.sandbox.tokens as Record<string, GitHubToken>;
    tokens[TOKEN] = { login: "octocat", permissions: { contents: "read", actions: "read" } };
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("`permissions: contents: write`");
    expect(result.requests.filter((request) => request.writes && request.status < 300)).toEqual([]);
  });

  test("a suspended process that a refresh needs", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.seedImage();
    stage.sandbox.autoScaling.suspend("web-dev", "Launch");
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("eu-west-1/web-dev: the process Launch is suspended");
    expect(result.requests.filter((request) => request.writes)).toEqual([]);
  });
});

/** What Packer began it ends; of ours, only the environment's lock and the bake's with its notes were written, and let go. */
function expectOnlyTheLock(requests: Awaited<ReturnType<Stage["push"]>>["requests"]): void {
  const writes = ourWrites(requests).map((write) => write.replace(/[0-9a-f]{64}$/, "<digest>"));
  const noted = ["POST /repos/acme/web/git/tags", "POST /graphql"];
  expect(writes).toEqual([
    "POST /repos/acme/web/git/tags",
    "POST /repos/acme/web/git/refs",
    "POST /repos/acme/web/git/tags",
    "POST /repos/acme/web/git/refs",
    // Key pair, security group and instance.
    ...noted,
    ...noted,
    ...noted,
    // The bake's lock, then the environment's.
    "POST /graphql",
    "POST /graphql",
  ]);
}

describe("bakes that fail", () => {
  test("a provisioner that fails: its own lines, nothing left over, nothing rolled out", async () => {
    await using stage = await Stage.open();
    await useTemplate(stage, "failing-provisioner");
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The bake failed: packer build ended with 1");
    expect(result.log).toContain("A provisioner failed");
    expectOnlyTheLock(result.requests);
    expect(stage.leftovers()).toEqual([]);
    expect(stage.images()).toEqual([]);
    expect(stage.locks()).toEqual([]);
    expect(stage.records()).toEqual([]);
  });

  test("a template that builds two images for one region: both are removed again", async () => {
    await using stage = await Stage.open();
    await useTemplate(stage, "two-images");
    const result = await stage.push("develop");
    expect(result.code).toBe(1);
    expect(result.log).toContain("The template builds 2 images for eu-west-1");
    expect(stage.images()).toEqual([]);
    expect(stage.records()).toEqual([]);
    expect(stage.sandbox.autoScaling.refreshes("web-dev")).toEqual([]);
  });

  test("a secret that a provisioner prints is in no log, no summary, no output and no record", async () => {
    await using stage = await Stage.open();
    await useTemplate(stage, "prints-secret");
    const result = await stage.push("develop", { inputs: { "secret-vars": "token=hunter2-and-more" } });
    expect(result.code, result.log).toBe(0);
    expect(result.log.replaceAll(/^::add-mask::.*\n/gm, "")).not.toContain("hunter2");
    expect(result.summary).not.toContain("hunter2");
    expect(JSON.stringify(result.outputs)).not.toContain("hunter2");
    expect(stage.git("cat-file", "tag", "release/dev/000001")).not.toContain("hunter2");
  });
});

describe("templates of other kinds", () => {
  test("a legacy JSON template, with a secret passed by file", async () => {
    await using stage = await Stage.open();
    const config = await stage.copy.read(".github/kiln.yml");
    await stage.commit("Use a legacy template", {
      "packer/web.json": readFileSync(join(TEMPLATES, "legacy.json"), "utf8"),
      ".github/kiln.yml": config.replace("web.pkr.hcl", "web.json").replace(/ {2}vars:.*\n/, ""),
    });
    const result = await stage.push("develop", {
      inputs: { vars: `ssh_port=${stage.sandbox.host?.port}`, "secret-vars": "unused=hunter2" },
    });
    expect(result.code, result.log).toBe(0);
    expect(stage.running("web-dev")).toEqual([result.outputs["image-id"]]);
  });

  test("a template that does not use image_tags gets the tags right after the bake", async () => {
    await using stage = await Stage.open();
    await useTemplate(stage, "no-image-tags");
    const result = await stage.push("develop");
    expect(result.code, result.log).toBe(0);
    const image = stage.sandbox.ec2.images().find((candidate) => candidate.id === result.outputs["image-id"]);
    expect(image?.tags["kiln:digest"]).toBe(result.outputs["image-digest"]);
    const byPacker = result.requests.filter(
      (request) => isPacker(request) && request.action === "CreateTags",
    );
    expect(JSON.stringify(byPacker)).not.toContain("kiln:");
  });

  test("a Packer that has it installs the template's plugins before it validates, with the job's token for GitHub", async () => {
    await using stage = await Stage.open();
    const calls = join(stage.folder, "calls.txt");
    const real = execFileSync("which", ["packer"], { encoding: "utf8" }).trim();
    const path = binFolder(stage, {
      packer: [
        `echo "$1 token=\${PACKER_GITHUB_API_TOKEN:-none} input=\${INPUT_TOKEN:-none}" >>${calls}`,
        'case "$1" in',
        '  version) echo "Packer v1.16.0" ;;',
        "  init) exit 0 ;;",
        `  *) exec ${real} "$@" ;;`,
        "esac",
      ].join("\n"),
    });
    const result = await stage.push("develop", { env: { PATH: `${path}:${process.env["PATH"]}` } });
    expect(result.code, result.log).toBe(0);
    expect(readFileSync(calls, "utf8").trim().split("\n")).toEqual([
      "version token=none input=none",
      `init token=${TOKEN} input=none`,
      "validate token=none input=none",
      "build token=none input=none",
    ]);
  });
});

test("an image baked for another architecture than the group's instance types is not rolled out", async () => {
  await using stage = await Stage.open();
  const template = stage.sandbox.ec2.launchTemplates(HOME).find(({ name }) => name === "web-dev");
  const config = await stage.copy.read(".github/kiln.yml");
  await stage.commit("Graviton", { ".github/kiln.yml": config.replace("t3.small", "t4g.small") });
  const result = await stage.push("develop");
  expect(result.code).toBe(1);
  expect(result.log).toMatch(/::error::image ami-\w+ is for x86_64, instances of type t4g\.small run arm64/);
  expect(result.log).toContain("Nothing was rolled out. The image stays.");
  expect(stage.sandbox.ec2.launchTemplateVersions(template?.id ?? "")).toHaveLength(1);
  expect(stage.locks()).toEqual([]);
});
