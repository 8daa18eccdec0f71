import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { addGroupOnTemplate } from "../../sandbox/group-on-template.ts";
import type { Job, JobResult } from "../../sandbox/runner.ts";
import { ACCESS_KEY, HOME, TOKEN } from "../../sandbox/sandbox.ts";
import { type Canary, CommandLines, filesIn, leaks, privateKey, word, type Written } from "./canaries.ts";
import { configOf } from "./config-text.ts";
import { goOnAfter, isTakenDown, standStill } from "./moments.ts";
import { Stage } from "./stage.ts";

/**
 * A secret of its own in every place that can hold one, a template that prints and writes down all that it is given, and
 * then a search of everything that was written: no secret is there, in no form.
 */

const TEMPLATE = join(import.meta.dirname, "../fixtures/templates/tells-all");
const OTHER = "222222222222";
const ROLE = `arn:aws:iam::${OTHER}:role/web-deployer`;
const SHOP = { region: "eu-west-1", accountId: OTHER, name: "shop" };

const secretVars = {
  token: `npm_${word()}`,
  deploy_key: privateKey(),
  odd: `${word(6)}"it's" <${word(6)}> & \\${word(6)}/+?=%20 ${word(6)}`,
  pin: `${word(2)}!${word(2)}`,
};
const environment = {
  NPM_TOKEN: word(),
  DB_PASSWORD: word(12),
  AWS_SECRET_ACCESS_KEY: `${word(20)}/+${word(18)}`,
  AWS_SESSION_TOKEN: `${word(40)}/+${word(40)}==`,
  ACTIONS_RUNTIME_TOKEN: word(40),
  PKR_VAR_by_environment: word(),
};
const byVars = word();
const jobToken = `ghs_${word(36)}`;
/** In the repository, so that it is in git and in the checkout; nowhere else. */
const IN_TEMPLATE: Canary = { name: "the template's default", value: "default-of-the-template-1957" };
const FIXED: readonly Canary[] = [
  ...Object.entries(secretVars).map(([name, value]) => ({ name: `secret-vars ${name}`, value })),
  ...Object.entries(environment).map(([name, value]) => ({ name, value })),
  { name: "a sensitive variable in vars", value: byVars },
  { name: "the token", value: jobToken },
];

// What comes first belongs to `dev` still.
const CONFIG = configOf(`    rollout: { smoke-test: script/tell-environment }
  shop:
    branches: [shop]
    role-to-assume: ${ROLE}
    targets: [{ region: eu-west-1, auto-scaling-group: shop }]
`);

async function open(): Promise<{ readonly stage: Stage; readonly job: Partial<Job> }> {
  const stage = await Stage.open();
  const { tokens } = stage.sandbox;
  (tokens as Record<string, unknown>)[jobToken] = tokens[TOKEN];
  addGroupOnTemplate(stage.sandbox, { ...SHOP, desired: 1 });
  await stage.write("script/tell-environment", "#!/bin/sh\nenv\n");
  await stage.copy.chmod("script/tell-environment", 0o755);
  await stage.commit("Tell all", {
    "packer/web.pkr.hcl": readFileSync(join(TEMPLATE, "tells-all.pkr.hcl"), "utf8"),
    "packer/tell.sh": readFileSync(join(TEMPLATE, "tell.sh"), "utf8"),
    ".github/kiln.yml": CONFIG,
  });
  mkdirSync(join(stage.folder, "tmp"));
  return {
    stage,
    job: {
      idToken: true,
      inputs: {
        token: jobToken,
        vars: `by_vars=${byVars}`,
        "secret-vars": Object.entries(secretVars)
          .map(([name, value]) => (value.includes("\n") ? `${name}<<END\n${value}\nEND` : `${name}=${value}`))
          .join("\n"),
      },
      env: {
        ...environment,
        PATH: `${watchedPrograms(stage)}:${process.env["PATH"]}`,
        TMPDIR: join(stage.folder, "tmp"),
        AWS_ROLE_ARN: `arn:aws:iam::${HOME.accountId}:role/kiln`,
        RUNNER_DEBUG: "1",
        ACTIONS_STEP_DEBUG: "true",
      },
    },
  };
}

/** A folder for PATH with Packer and git behind scripts that write down what they are called with. */
function watchedPrograms(stage: Stage): string {
  const folder = join(stage.folder, "watched");
  mkdirSync(folder);
  for (const name of ["packer", "git"]) {
    const real = execFileSync("which", [name], { encoding: "utf8" }).trim();
    const record = join(folder, `${name}.calls`);
    writeFileSync(record, "");
    writeFileSync(
      join(folder, name),
      `#!/bin/sh\necho "${name} $*" >>${record}\nenv >>${record}.environment\nexec ${real} "$@"\n`,
    );
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

type Ran = JobResult & { readonly commandLines: ReadonlySet<string> };

async function watched(stage: Stage, job: Partial<Job>): Promise<Ran> {
  let lines: CommandLines | undefined;
  const { onStarted } = job;
  try {
    const result = await stage.run({
      ...job,
      onStarted: (child) => {
        lines = new CommandLines(child.pid ?? 0);
        onStarted?.(child);
      },
    });
    return { ...result, commandLines: lines?.seen ?? new Set() };
  } finally {
    lines?.stop();
  }
}

/** Everything that the runs wrote, but the workspace and its commits, which hold what the template itself holds. */
function allWritten(stage: Stage, runs: readonly Ran[]): Written[] {
  const folders = readdirSync(stage.folder).filter((name) => /^(?:run-|tmp$|watched$)/.test(name));
  return [
    ...runs.flatMap(({ log, outputs, summary, commandLines }, index) => [
      { where: `the log of run ${index + 1}`, text: withoutMasks(log) },
      { where: `the outputs of run ${index + 1}`, text: JSON.stringify(outputs) },
      { where: `the outputs of run ${index + 1}, each`, text: Object.values(outputs).join("\n") },
      { where: `the summary of run ${index + 1}`, text: summary },
      { where: `processes of run ${index + 1}`, text: [...commandLines].join("\n") },
    ]),
    // Packer's environment is where its secrets are.
    ...folders.flatMap((name) =>
      filesIn(join(stage.folder, name), (path) => basename(path) === "packer.calls.environment"),
    ),
    {
      where: "requests",
      text: JSON.stringify(
        stage.sandbox.log.entries.filter(({ action }) => action !== "AssumeRoleWithWebIdentity"),
      ),
    },
    ...["images", "instances", "launchTemplates"].map((what) => ({
      where: what,
      text: JSON.stringify(stage.sandbox.ec2[what as "images"](HOME)),
    })),
  ];
}

/** The checkout and the server's repository with all of its objects. */
function inRepository(stage: Stage): Written[] {
  const objects = execFileSync("git", ["cat-file", "--batch-all-objects", "--batch"], {
    cwd: stage.sandbox.repository.path,
    maxBuffer: 1 << 30,
  });
  return [
    { where: "git", text: objects.toString("utf8") },
    ...filesIn(stage.copy.folder),
    ...filesIn(stage.sandbox.repository.path, (path) => basename(path) === "objects"),
  ];
}

const isMask = (line: string): boolean => line.startsWith("::add-mask::");
const withoutMasks = (log: string): string =>
  log
    .split("\n")
    .filter((line) => !isMask(line))
    .join("\n");

/** What STS and GitHub gave out while the runs ran. */
function issued(stage: Stage): Canary[] {
  const sessions = Object.entries(stage.sandbox.accounts).flatMap(([key, { secrets = [], role }]) =>
    [key, ...secrets].map((value) => ({ name: `credentials of ${role?.name ?? key}`, value })),
  );
  const tokens = stage.sandbox.log.entries
    .filter(({ action }) => action === "AssumeRoleWithWebIdentity")
    .map(({ params }) => ({
      name: "the OIDC token",
      value: (params as { WebIdentityToken: string }).WebIdentityToken,
    }));
  return [...sessions.filter(({ value }) => value !== ACCESS_KEY), ...tokens];
}

function expectNoLeaks(stage: Stage, runs: readonly Ran[], more: readonly Canary[] = []): number {
  const canaries = [...FIXED, ...issued(stage), ...more];
  const written = allWritten(stage, runs);
  expect(leaks([...canaries, IN_TEMPLATE], written)).toEqual([]);
  expect(leaks(canaries, inRepository(stage))).toEqual([]);
  // The step's private folder has gone with all that it held.
  for (const { where } of written) expect(where).not.toMatch(/run-[^/]+\/kiln-/);
  return canaries.length + 1;
}

describe("the search itself", () => {
  const canaries: Canary[] = [{ name: "key", value: `${word(20)}\n${word(20)}` }];
  const [first = "", second = ""] = canaries[0]?.value.split("\n") ?? [];

  test.each([
    ["plain", `a ${first} b`],
    ["a line of several", `x\n${second}\n`],
    ["JSON", JSON.stringify({ a: `${first}\n${second}` })],
    ["Base64", Buffer.from(canaries[0]?.value ?? "").toString("base64")],
    ["user and password", Buffer.from(`user:${first}`).toString("base64")],
  ])("finds a secret: %s", (_, text) => {
    expect(leaks(canaries, [{ where: "somewhere", text }])).not.toEqual([]);
    expect(leaks(canaries, [{ where: "somewhere", text: text.replaceAll(/\w/g, "_") }])).toEqual([]);
  });
});

test("no secret is in anything that bakes, rollouts, rollbacks and their failures write", async () => {
  const { stage, job } = await open();
  await using _ = stage;
  const runs: Ran[] = [];
  const run = async (more: Partial<Job>): Promise<Ran> => {
    const ran = await watched(stage, { ...job, ...more, inputs: { ...job.inputs, ...more.inputs } });
    runs.push(ran);
    return ran;
  };
  const push = async (branch: string, more: Partial<Job> = {}): Promise<Ran> => {
    await stage.copy.push(branch);
    return run({ ref: `refs/heads/${branch}`, ...more });
  };

  const failed = await push("develop", { inputs: { vars: `by_vars=${byVars}\nends=badly` } });
  expect(failed.log).toContain("The bake failed: packer build ended with 1");
  expect(failed.summary).toContain("***");

  const first = await push("develop");
  expect(first.code, withoutMasks(first.log)).toBe(0);
  expect(first.log).toContain("smoke test | AWS_SECRET_ACCESS_KEY=***");
  expect(first.log).not.toMatch(/smoke test \| (?:PKR_VAR_|INPUT_|STATE_|ACTIONS_(?:ID|RUNTIME))/);
  expect(first.log).toContain("The template's inventory_file holds a secret");
  const images = stage.git("for-each-ref", "--format=%(refname)", "refs/kiln/images/");
  expect(stage.git("show", `${images}:packages.txt`)).toContain("tool 1-***");
  expect(stage.git("show", `${images}:content.txt`)).toContain("var by_vars sensitive");

  // In another account, with a role's credentials, and an image that never becomes healthy there.
  stage.sandbox.autoScaling.setHealth((member) =>
    member.imageId === first.outputs["image-id"] ? { healthyAfter: "never" } : undefined,
  );
  const bad = await push("shop");
  expect(bad.outputs["outcome"], withoutMasks(bad.log)).toBe("rolled-back");
  stage.sandbox.autoScaling.setHealth(() => undefined);

  // The job's own credentials expire: renewed by OIDC.
  stage.sandbox.expireCredentials(ACCESS_KEY);
  const dispatch = { event: "workflow_dispatch", ref: "refs/heads/main" };
  const status = await run({ ...dispatch, inputs: { command: "status" } });
  expect(status.log).toContain("were renewed");
  stage.sandbox.accounts[ACCESS_KEY] = { accountId: HOME.accountId };
  const back = await run({ ...dispatch, inputs: { command: "rollback", environment: "dev" } });
  expect(back.code).toBe(1);

  for (const { log } of runs) {
    const lines = log.split("\n");
    const masks = lines.slice(
      0,
      lines.findIndex((line) => !isMask(line)),
    );
    for (const value of [secretVars.pin, environment.NPM_TOKEN, environment.AWS_SESSION_TOKEN, jobToken])
      expect(masks).toContain(`::add-mask::${value.replaceAll("%", "%25")}`);
  }
  expect(first.log.indexOf(`::add-mask::${byVars}`)).toBeLessThan(first.log.indexOf("Content digest"));
  const packerCalls = readFileSync(join(stage.folder, "watched/packer.calls"), "utf8");
  expect(packerCalls.match(/^packer build/gm)).toHaveLength(2);
  expect([...first.commandLines].join("\n")).toContain("build -color=false");
  const count = expectNoLeaks(stage, runs);
  process.stdout.write(`Canaries: ${count} planted in ${runs.length} runs, 0 found\n`);
}, 180_000);

const SIGNALS =
  process.env["KILN_CHAOS"] === "all" ? (["SIGINT", "SIGKILL"] as const) : (["SIGINT"] as const);

test.each(SIGNALS)(
  "%s amid a bake: its files go with the post step",
  async (signal) => {
    const { stage, job } = await open();
    await using _ = stage;
    await stage.copy.push("develop");
    let child: ChildProcess | undefined;
    let output = "";
    const running = watched(stage, {
      ...job,
      onOutput: (text) => (output += text),
      onStarted: (started) => (child = started),
    });
    const hold = await standStill(stage, "the provisioner tells", () => output.includes("printf"));
    child?.kill(signal);
    await goOnAfter(hold, child, () => isTakenDown(stage));
    const cancelled = await running;
    expect(cancelled.code).not.toBe(0);
    expect(stage.leftovers(), withoutMasks(cancelled.log)).toEqual([]);
    const count = expectNoLeaks(stage, [cancelled]);
    process.stdout.write(`Canaries after ${signal}: ${count} planted, 0 found\n`);
  },
  120_000,
);

describe("a secret that could not be kept is refused before anything is touched", () => {
  test("in plain sight, overridden by a variable file, or too short", async () => {
    await using stage = await Stage.open({ ssh: false });
    await stage.commit("Variables", {
      "packer/common.auto.pkrvars.hcl": 'nginx_version = "1.26"\napi_token = "placeholder"\n',
      ".github/kiln.yml": CONFIG.replace("packer/web.pkr.hcl", "packer"),
    });
    const value = word();
    const job: Partial<Job> = { inputs: { "secret-vars": `api_token=${value}`, version: `v1-${value}` } };
    const result = await watched(stage, { ...job, ref: "refs/heads/develop" });
    expect(result.code).toBe(1);
    expect(result.log).toContain("input version: holds the value of secret-vars' api_token.");
    expect(result.log).toContain('packer/common.auto.pkrvars.hcl:2:1: sets "api_token", a secret');
    expect(result.log).toContain("2 things are wrong");
    expect(stage.sandbox.log.writes()).toEqual([]);
    expect(leaks([{ name: "the secret", value }], allWritten(stage, [result]))).toEqual([]);

    const short = await stage.run({ inputs: { "secret-vars": "pin=42" } });
    expect(short.log).toContain('the value of "pin" is too short to be masked');
    expect(stage.sandbox.log.writes()).toEqual([]);
  });
});
