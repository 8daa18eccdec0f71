import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CancelledError, KilnError } from "../../src/domain/errors.ts";
import { Secrets } from "../../src/domain/secrets.ts";
import { bake } from "../../src/image/bake.ts";
import type { BakeOrder, BakeReady, BakeTools } from "../../src/image/bake-order.ts";
import { prepareBake, rehearseBake } from "../../src/image/bake-preparation.ts";
import { KeptLog, ScriptedPrograms, VirtualClock } from "./programs.ts";

let folder: string;
let programs: ScriptedPrograms;
let clock: VirtualClock;
let log: KeptLog;
let controller: AbortController;
let started: unknown[];
let made: unknown[];
let tools: BakeTools;
let secrets: Secrets;

const ORDER: BakeOrder = {
  recipe: {
    template: "web.pkr.hcl",
    inputs: undefined,
    vars: { nginx: "1.26" },
    varFiles: [],
    maxAge: undefined,
  },
  secretVars: { npm_token: "hunter2-token" },
  sensitive: new Set(),
  imageName: "web-v1-0123456789ab",
  version: "v1",
  commit: "c".repeat(40),
  tags: { "kiln:branch": "${branch}" },
  digest: `sha256:${"a".repeat(64)}`,
  region: "eu-west-1",
  mark: "acme/web/100/1/0123456789ab",
};
const READY: BakeReady = {
  packer: { version: "1.16.0", hasInit: true },
  call: {
    args: ["-var-file=a.pkrvars.hcl"],
    env: { PKR_VAR_npm_token: "hunter2-token" },
    secretFile: undefined,
  },
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-bake-"));
  mkdirSync(join(folder, "temporary"));
  programs = new ScriptedPrograms();
  clock = new VirtualClock();
  log = new KeptLog();
  controller = new AbortController();
  started = [];
  secrets = new Secrets();
  secrets.add(["hunter2-token"]);
  made = [];
  tools = {
    clock,
    log,
    subprocess: programs,
    folder,
    temporaryFolder: join(folder, "temporary"),
    signal: controller.signal,
    token: "ghs_token",
    secrets,
    onStarted: (packer) => started.push(packer),
    onMade: (found) => made.push(found),
  };
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function failure(work: Promise<unknown>): Promise<KilnError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof KilnError) return error;
  throw new Error("it did not fail as expected", { cause: error });
}

const END = [
  "==> Builds finished. The artifacts of successful builds are:",
  "--> amazon-ebs.web: AMIs were created:",
];
const SUCCESS = [
  "==> amazon-ebs.web: Prevalidating any provided VPC information",
  "==> amazon-ebs.web: Found Image ID: ami-0aaaaaaaaaaaaaaaa",
  "==> amazon-ebs.web: Launching a source AWS instance...",
  "==> amazon-ebs.web: Provisioning with shell script: install.sh",
  "    amazon-ebs.web: Found Image ID: ami-0ffffffffffffffff",
  "==> amazon-ebs.web: Creating AMI web from instance i-0123456789abcdef0",
  ...END,
  "eu-west-1: ami-0bbbbbbbbbbbbbbbb",
  "us-east-1: ami-0cccccccccccccccc",
];

describe("a bake that makes images", () => {
  test("tells them by region, the base image and how long each phase took", async () => {
    programs.output = SUCCESS;
    programs.beforeLine = () => clock.pass(10_000);
    expect(await bake(ORDER, READY, tools)).toStrictEqual({
      ids: new Map([
        ["eu-west-1", new Set(["ami-0bbbbbbbbbbbbbbbb"])],
        ["us-east-1", new Set(["ami-0cccccccccccccccc"])],
      ]),
      baseImage: "ami-0aaaaaaaaaaaaaaaa",
      phases: [
        { phase: "prepare", milliseconds: 20_000 },
        { phase: "launch", milliseconds: 10_000 },
        { phase: "provision", milliseconds: 20_000 },
        { phase: "image", milliseconds: 40_000 },
      ],
      inventory: undefined,
    });
  });

  test("runs Packer in the repository, in the region where the image is needed, without telemetry", async () => {
    programs.output = SUCCESS;
    await bake(ORDER, READY, tools);
    expect(
      programs.started.map(({ command, args, options }) => ({
        command,
        args,
        cwd: options.cwd,
        env: options.env,
      })),
    ).toStrictEqual([
      {
        command: "packer",
        args: ["build", "-color=false", "-var-file=a.pkrvars.hcl", "web.pkr.hcl"],
        cwd: folder,
        env: {
          CHECKPOINT_DISABLE: "1",
          PACKER_NO_COLOR: "1",
          AWS_REGION: "eu-west-1",
          AWS_DEFAULT_REGION: "eu-west-1",
          PKR_VAR_npm_token: "hunter2-token",
        },
      },
    ]);
    expect(started).toMatchObject([{ pid: 4242, output: "packer.log", region: "eu-west-1" }]);
  });

  test("runs Packer in the working directory, for the builds that are selected", async () => {
    programs.output = SUCCESS;
    mkdirSync(join(folder, "packer"));
    const recipe = {
      ...ORDER.recipe,
      template: "packer/web.pkr.hcl",
      workingDirectory: "packer",
      only: ["amazon-ebs.web"],
      except: ["amazon-ebs.worker"],
    };
    await bake({ ...ORDER, recipe }, READY, tools);
    expect(programs.started.map(({ args, options }) => ({ args, cwd: options.cwd }))).toStrictEqual([
      {
        args: [
          "build",
          "-color=false",
          "-only=amazon-ebs.web",
          "-except=amazon-ebs.worker",
          "-var-file=a.pkrvars.hcl",
          "web.pkr.hcl",
        ],
        cwd: join(folder, "packer"),
      },
    ]);
  });

  test("shows each line, and each phase as it begins, once", async () => {
    programs.output = [
      "==> amazon-ebs.web: Prevalidating any provided VPC information",
      "==> amazon-ebs.web: Prevalidating AMI Name: web",
      ...END,
      "eu-west-1: ami-0bbbbbbbbbbbbbbbb",
    ];
    await bake(ORDER, READY, tools);
    expect(log.lines).toStrictEqual([
      "==> amazon-ebs.web: Prevalidating any provided VPC information",
      "── prepare (after 0 s) ──",
      "==> amazon-ebs.web: Prevalidating AMI Name: web",
      ...END,
      "eu-west-1: ami-0bbbbbbbbbbbbbbbb",
    ]);
  });

  test("keeps several images of one region apart, so that its caller can refuse them", async () => {
    programs.output = [...SUCCESS, "eu-west-1: ami-0dddddddddddddddd"];
    const { ids } = await bake(ORDER, READY, tools);
    expect([...(ids.get("eu-west-1") ?? [])]).toStrictEqual([
      "ami-0bbbbbbbbbbbbbbbb",
      "ami-0dddddddddddddddd",
    ]);
  });

  test("has its secrets in a private file only while Packer runs", async () => {
    const path = join(folder, "temporary", "kiln-secret-vars.json");
    let seen: unknown;
    programs.output = SUCCESS;
    programs.onStart = () => {
      seen = { text: readFileSync(path, "utf8"), mode: statSync(path).mode & 0o777 };
    };
    await bake(ORDER, { ...READY, call: { args: [], env: {}, secretFile: '{"a":"b"}' } }, tools);
    expect(seen).toStrictEqual({ text: '{"a":"b"}', mode: 0o600 });
    expect(existsSync(path)).toBe(false);
  });
});

describe("a bake that fails", () => {
  test("by ending well without an image", async () => {
    programs.output = ["==> Builds finished but no artifacts were created."];
    const error = await failure(bake(ORDER, READY, tools));
    expect(error.message).toBe("Packer ended well but made no AMI");
    expect(error.state).toBe(
      "Nothing was rolled out. The last lines of its output:\n==> Builds finished but no artifacts were created.",
    );
    expect(error.next).toContain("skip_create_ami");
  });

  test("shows its last 30 lines, empty ones left out", async () => {
    programs.output = Array.from({ length: 40 }, (_, index) => [`line ${index + 1}`, " "]).flat();
    programs.exitCode = 1;
    const error = await failure(bake(ORDER, READY, tools));
    expect(error.message).toBe("The bake failed: packer build ended with 1");
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index + 11}`);
    expect(error.state).toBe(`Nothing was rolled out. The last lines of its output:\n${lines.join("\n")}`);
  });

  test.each([
    ["Timeout waiting for SSH.", "The instance could not be reached"],
    ["E: Could not get lock /var/lib/dpkg/lock-frontend", "cloud-init was still installing packages"],
    ["Error waiting for AMI: ResourceNotReady: exceeded wait attempts", "AWS took longer than Packer waits"],
    ["Script exited with non-zero exit status: 2", "A provisioner failed"],
    ["something else", "The lines above are Packer's own"],
  ])("with %j gets the hint %j", async (line, hint) => {
    programs.output = [`==> amazon-ebs.web: ${line}`];
    programs.exitCode = 1;
    expect((await failure(bake(ORDER, READY, tools))).next).toContain(hint);
  });

  test("since the name is taken says by which image", async () => {
    programs.output = [
      "==> amazon-ebs.web: Error: AMI Name: 'web-v1-0123456789ab' is used by an existing AMI: ami-0dddddddddddddddd",
    ];
    programs.exitCode = 1;
    const error = await failure(bake(ORDER, READY, tools));
    expect(error.message).toBe("The image name web-v1-0123456789ab is taken by ami-0dddddddddddddddd");
    expect(error.state).toBe("Packer stopped before it started an instance. Nothing was rolled out.");
  });

  test("shows no secret, neither in the log nor in the error", async () => {
    programs.output = ["==> amazon-ebs.web: curl -H 'token: hunter2-token' failed"];
    programs.exitCode = 1;
    const error = await failure(bake(ORDER, READY, tools));
    expect(log.lines).toStrictEqual(["==> amazon-ebs.web: curl -H 'token: ***' failed"]);
    expect(error.state).toContain("curl -H 'token: ***' failed");
    expect(`${error.message}${error.state ?? ""}${error.next ?? ""}`).not.toContain("hunter2");
  });
});

describe("a bake that is cancelled", () => {
  test("asks Packer to stop once, waits for its end, and says so", async () => {
    programs.output = [
      "==> amazon-ebs.web: Launching a source AWS instance...",
      "Cleanly cancelled builds after being interrupted.",
    ];
    programs.exitCode = 1;
    programs.beforeLine = (index) => {
      if (index === 1) controller.abort(new CancelledError("cancelled"));
    };
    const error = await failure(bake(ORDER, READY, tools));
    expect(error).toBeInstanceOf(CancelledError);
    expect(error.state).toMatch(
      /^Packer ended and removed its temporary resources\. .*Nothing was rolled out\.$/,
    );
    expect(programs.stops).toBe(1);
    expect(log.lines).toContain("Cleanly cancelled builds after being interrupted.");
  });

  test("before Packer runs does not start it", async () => {
    controller.abort(new CancelledError("cancelled"));
    expect(await failure(bake(ORDER, READY, tools))).toBeInstanceOf(CancelledError);
    expect(started).toEqual([]);
  });

  test("in the moment in which Packer starts asks it to stop", async () => {
    programs.exitCode = 1;
    const cancelling = {
      ...tools,
      onStarted: () => controller.abort(new CancelledError("cancelled")),
    };
    expect(await failure(bake(ORDER, READY, cancelling))).toBeInstanceOf(CancelledError);
    expect(programs.stops).toBe(1);
  });

  test("after its end has nothing to stop", async () => {
    programs.output = SUCCESS;
    await bake(ORDER, READY, tools);
    controller.abort(new CancelledError("cancelled"));
    expect(programs.stops).toBe(0);
  });
});

describe("the inventory that a template writes", () => {
  const bakeWith = async (write: (path: string) => void) => {
    programs.output = SUCCESS;
    programs.onStart = () => write(join(folder, "temporary", "kiln-inventory"));
    return bake(ORDER, READY, tools);
  };
  const warnings = (): string[] => log.lines.filter((line) => line.startsWith("warning: "));

  test("is read after the bake, without secrets", async () => {
    const { inventory } = await bakeWith((path) =>
      writeFileSync(path, "nginx 1.26\nbash 5.2\ntool 1-hunter2-token\nsome words\n"),
    );
    expect(inventory?.packages).toStrictEqual([
      { name: "bash", version: "5.2" },
      { name: "nginx", version: "1.26" },
      { name: "tool", version: "1-***" },
    ]);
    expect(log.lines).toContain("Inventory: 3 packages; ignored, since without a version: 1");
    expect(warnings()).toStrictEqual([
      "warning: The template's inventory_file holds a secret: it is left out here and in git, but it may be in the image too",
    ]);
    expect(existsSync(join(folder, "temporary", "kiln-inventory"))).toBe(false);
  });

  test("of an earlier bake of the job is not taken for this one's", async () => {
    writeFileSync(join(folder, "temporary", "kiln-inventory"), "old 1.0\n");
    expect((await bakeWith(() => {})).inventory).toBeUndefined();
    expect(warnings()).toStrictEqual([]);
  });

  test.each<[what: string, write: (path: string) => void, why: string]>([
    [
      "is no list",
      (path) => writeFileSync(path, "{ not json"),
      "it is neither a list of `name version` lines nor CycloneDX or SPDX in JSON",
    ],
    ["is empty", (path) => writeFileSync(path, ""), "it names no package with a version"],
    [
      "is larger than 10 MiB",
      (path) => writeFileSync(path, "a 1\n".repeat(3 * 1024 * 1024)),
      "it is larger than 10 MiB",
    ],
    ["is a folder", (path) => mkdirSync(path), "EISDIR: illegal operation on a directory, read"],
  ])("that %s is a warning, and the bake is as good", async (_, write, why) => {
    const baked = await bakeWith(write);
    expect(baked.inventory).toBeUndefined();
    expect(baked.ids.size).toBe(2);
    expect(warnings()).toStrictEqual([
      `warning: The template's inventory_file is not used: ${why}. The release has no list of packages`,
    ]);
  });
});

describe("before a bake", () => {
  const answers = (answer: Partial<Record<string, { code: number; stdout: string; stderr: string }>>) => {
    programs.answer = ({ args }) =>
      answer[args[0] ?? ""] ?? {
        code: 0,
        stdout: args[0] === "version" ? "Packer v1.16.0\n" : "",
        stderr: "",
      };
  };

  test("the plugins are installed, and the template is validated as it will be built", async () => {
    answers({});
    const ready = await prepareBake(ORDER, tools);
    expect(programs.calls.map(({ args }) => args)).toStrictEqual([
      ["version"],
      ["init", "web.pkr.hcl"],
      ["validate", "web.pkr.hcl"],
    ]);
    expect(ready.call.env).toStrictEqual({
      PKR_VAR_bake_tags: '{"kiln:bake":"acme/web/100/1/0123456789ab"}',
      PKR_VAR_image_name: "web-v1-0123456789ab",
      PKR_VAR_image_version: "v1",
      PKR_VAR_commit: "c".repeat(40),
      PKR_VAR_inventory_file: join(folder, "temporary", "kiln-inventory"),
      PKR_VAR_image_tags: '{"kiln:branch":"$${branch}"}',
      PKR_VAR_nginx: "1.26",
      PKR_VAR_npm_token: "hunter2-token",
    });
    expect(programs.calls.map(({ options }) => options.env?.["PACKER_GITHUB_API_TOKEN"])).toStrictEqual([
      undefined,
      "ghs_token",
      undefined,
    ]);
  });

  test("a variable with a value of its own keeps it, and Packer need not render a tag", async () => {
    answers({});
    writeFileSync(
      join(folder, "web.pkr.hcl"),
      'variable "image_name" { default = "nginx" }\nvariable "image_version" { default = "" }\nvariable "steps" { type = list(string) }\n',
    );
    const tags = { "kiln:branch": "a{{b}}", "kiln:version": "v1" };
    const recipe = { ...ORDER.recipe, vars: { steps: '["${HOME}"]', nginx: '["${HOME}"]' } };
    const { call } = await prepareBake({ ...ORDER, recipe, tags }, tools);
    expect(call.env).not.toHaveProperty("PKR_VAR_image_name");
    expect(call.env).toMatchObject({
      PKR_VAR_image_version: "v1",
      PKR_VAR_image_tags: '{"kiln:version":"v1"}',
      PKR_VAR_steps: '["$${HOME}"]',
    });
  });

  test("Packer runs in the working directory, and validates the builds that are selected", async () => {
    answers({});
    mkdirSync(join(folder, "packer"));
    writeFileSync(join(folder, "common.pkrvars.hcl"), 'nginx = "1.0"\n');
    const recipe = {
      ...ORDER.recipe,
      template: "packer/web.pkr.hcl",
      varFiles: ["common.pkrvars.hcl"],
      workingDirectory: "packer",
      only: ["amazon-ebs.web"],
    };
    const { call } = await prepareBake({ ...ORDER, recipe }, tools);
    expect(programs.calls.map(({ args, options }) => ({ args, cwd: options.cwd }))).toStrictEqual([
      { args: ["version"], cwd: folder },
      { args: ["init", "web.pkr.hcl"], cwd: join(folder, "packer") },
      {
        args: [
          "validate",
          "-only=amazon-ebs.web",
          "-var-file=../common.pkrvars.hcl",
          "-var",
          "nginx=1.26",
          "web.pkr.hcl",
        ],
        cwd: join(folder, "packer"),
      },
    ]);
    expect(call.env["PKR_VAR_inventory_file"]).toBe(join(folder, "temporary", "kiln-inventory"));
  });

  test.each([
    ["a Packer without packer init", "Packer v1.6.6\n", "web.pkr.hcl"],
    ["a legacy template", "Packer v1.16.0\n", "web.json"],
  ])("%s installs nothing", async (_, stdout, template) => {
    answers({ version: { code: 0, stdout, stderr: "" } });
    await prepareBake({ ...ORDER, recipe: { ...ORDER.recipe, template } }, tools);
    expect(programs.calls.map(({ args }) => args[0])).toStrictEqual(["version", "validate"]);
  });

  test("a legacy template's secrets are in a file for the time of the validation, never in arguments", async () => {
    let seen = "";
    const path = join(folder, "temporary", "kiln-secret-vars.json");
    programs.answer = ({ args }) => {
      if (args[0] === "validate") seen = readFileSync(path, "utf8");
      return { code: 0, stdout: "Packer v1.16.0\n", stderr: "" };
    };
    const ready = await prepareBake({ ...ORDER, recipe: { ...ORDER.recipe, template: "web.json" } }, tools);
    expect(seen).toBe('{"npm_token":"hunter2-token"}');
    expect(existsSync(path)).toBe(false);
    expect(ready.call.args.join(" ")).not.toContain("hunter2");
    expect(ready.call.args).not.toContain("image_tags={}");
  });

  test("a variable that a var file sets is given by argument too", async () => {
    answers({});
    writeFileSync(join(folder, "a.pkrvars.hcl"), 'nginx = "1.0"\n');
    const ready = await prepareBake(
      { ...ORDER, recipe: { ...ORDER.recipe, varFiles: ["a.pkrvars.hcl"] } },
      tools,
    );
    expect(ready.call.args).toStrictEqual(["-var-file=a.pkrvars.hcl", "-var", "nginx=1.26"]);
  });

  test("an invalid template is refused, without its secrets", async () => {
    answers({ validate: { code: 1, stdout: "Error: bad value hunter2-token\n", stderr: "on line 3" } });
    const error = await failure(prepareBake(ORDER, tools));
    expect(error.message).toBe("The Packer template web.pkr.hcl is not valid");
    expect(error.state).toBe(
      "Nothing was changed. `packer validate` says:\nError: bad value ***\n\non line 3",
    );
  });

  test.each([
    ["HCL", "Error: Unsupported argument\n\n  on web.pkr.hcl line 3, in source:\n"],
    ["a folder", "Error: Missing newline\n\n  on packer/web.pkr.hcl line 12:\n"],
  ])("an error in the template that packer init finds is the template's: %s", async (_, stdout) => {
    answers({ init: { code: 1, stdout, stderr: "" } });
    const error = await failure(prepareBake(ORDER, tools));
    expect(error.message).toBe("The Packer template web.pkr.hcl is not valid");
    expect(error.state).toContain("`packer init` says:\nError: ");
  });

  test.each([
    ["could not get sha256 checksum file for x: 404 Not Found", "Use Packer 1.14 or newer"],
    ["API rate limit exceeded for 203.0.113.7", "GitHub's rate limit was met"],
    ["dial tcp: lookup github.com: no such host", "Check the template's required_plugins"],
  ])("plugins that cannot be installed: %s", async (stderr, hint) => {
    answers({ init: { code: 1, stdout: "", stderr } });
    const error = await failure(prepareBake(ORDER, tools));
    expect(error.message).toBe("Packer could not install the plugins that web.pkr.hcl requires");
    expect(error.next).toContain(hint);
  });
});

describe("a dry run of a bake", () => {
  const answers = (answer: Readonly<Record<string, { code: number; stdout: string }>>) => {
    programs.answer = ({ args }) => ({
      code: 0,
      stdout: args[0] === "version" ? "Packer v1.16.0\n" : "",
      stderr: "",
      ...answer[args[0] ?? ""],
    });
  };

  test("validates the template as a bake would", async () => {
    answers({});
    expect(await rehearseBake(ORDER, tools)).toBe("the template is valid, says Packer 1.16.0");
    expect(programs.calls.map(({ args }) => args[0])).toStrictEqual(["version", "init", "validate"]);
    expect(programs.started).toStrictEqual([]);
  });

  test.each<[what: string, answer: Readonly<Record<string, { code: number; stdout: string }>>, why: string]>([
    [
      "another packer",
      { version: { code: 1, stdout: "" } },
      "The `packer` on this runner's PATH is not HashiCorp's Packer",
    ],
    [
      "an old Packer",
      { version: { code: 0, stdout: "Packer v1.5.0\n" } },
      "Packer 1.5.0 is too old: Kiln needs 1.6.0 or newer",
    ],
    [
      "no way to the plugins",
      { init: { code: 1, stdout: "dial tcp: lookup github.com: no such host" } },
      "Packer could not install the plugins that web.pkr.hcl requires",
    ],
  ])("with %s says that it did not", async (_, answer, why) => {
    answers(answer);
    expect(await rehearseBake(ORDER, tools)).toBe(`the template was not validated: ${why}`);
  });

  test("without Packer says that it did not", async () => {
    expect(await rehearseBake(ORDER, tools)).toBe(
      "the template was not validated: Packer is not installed on this runner",
    );
  });

  test.each([
    ["validate", "Error: Unsupported argument"],
    ["init", "Error: Missing newline\n\n  on web.pkr.hcl line 3:"],
  ])("fails if packer %s refuses the template", async (command, stdout) => {
    answers({ [command]: { code: 1, stdout } });
    expect((await failure(rehearseBake(ORDER, tools))).message).toBe(
      "The Packer template web.pkr.hcl is not valid",
    );
  });
});
