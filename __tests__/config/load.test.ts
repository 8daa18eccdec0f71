import { describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import type { Application } from "../../src/domain/application.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";
import { refreshPreferences } from "../../src/rollout/strategy.ts";

const FILE = ".github/kiln.yml";
const load = (text: string): Application => loadConfig(text, FILE, "shop");

/** `line:column message` of each problem, in the order in which they are told. */
function problemsOf(text: string): string[] {
  try {
    load(text);
  } catch (error) {
    if (error instanceof InvalidInputError) {
      return error.problems.map(({ where, message }) => `${where.replace(`${FILE}:`, "")} ${message}`);
    }
    throw error;
  }
  return [];
}

const PATH = '"environments.dev.rollout';
const TARGET = "[{ region: eu-west-1, auto-scaling-group: web-dev }]";
/** A file that is right but for what is added to the image, the environment, or its rollout. */
const withImage = (line: string): string =>
  `image:\n  template: web.pkr.hcl\n  ${line}\nenvironments:\n  dev:\n    targets: ${TARGET}\n`;
const withEnvironment = (line: string): string =>
  `image: { template: web.pkr.hcl }\nenvironments:\n  dev:\n    targets: ${TARGET}\n    ${line}\n`;
const withRollout = (...lines: readonly string[]): string =>
  withEnvironment(`rollout:\n${lines.map((line) => `      ${line}`).join("\n")}`);

describe("a complete file", () => {
  test("says everything about the application", () => {
    const text = `
application: web
record-prefix: rollout
image:
  template: packer/web.pkr.hcl
  inputs: [packer/**, app/**, "!app/**/*.md"]
  vars: { nginx_version: "1.26" }
  var-files: [packer/common.pkrvars.hcl]
  max-age: 30d
  working-directory: packer/
  only: [amazon-ebs.web, "docker.*"]
  except: [vagrant]
  former-repositories: [acme/old-web]
environments:
  dev:
    branches: [develop]
    instance-type: t3.small
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
  production:
    branches: [main, "release/**"]
    targets:
      - { region: us-gov-west-1, auto-scaling-group: web production }
      - { region: us-gov-east-1, auto-scaling-group: web production }
    rollout:
      strategy: canary
      canary: 10%
      min-healthy: 90
      max-healthy: 120
      instance-warmup: 90s
      checkpoint-delay: 10m
      bake-time: 1.5h
      alarms: [web-5xx]
      skip-matching: false
      auto-rollback: false
      scale-in-protected: wait
      standby: terminate
      smoke-test: { command: [./smoke.sh, "a b"], timeout: 90s }
      max-launch-failures: 5
      order: sequential
`;
    expect(load(text)).toStrictEqual<Application>({
      name: "web",
      recordPrefix: "rollout",
      image: {
        template: "packer/web.pkr.hcl",
        inputs: ["packer/**", "app/**", "!app/**/*.md"],
        vars: { nginx_version: "1.26" },
        varFiles: ["packer/common.pkrvars.hcl"],
        maxAge: 30 * 24 * 60 * 60 * 1000,
        workingDirectory: "packer",
        only: ["amazon-ebs.web", "docker.*"],
        except: ["vagrant"],
        formerRepositories: ["acme/old-web"],
      },
      environments: [
        {
          name: "dev",
          branches: ["develop"],
          instanceType: "t3.small",
          imageRegion: "eu-west-1",
          roleToAssume: undefined,
          requires: undefined,
          targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev" }],
          rollout: { strategy: "rolling" },
        },
        {
          name: "production",
          branches: ["main", "release/**"],
          instanceType: undefined,
          imageRegion: "eu-west-1",
          roleToAssume: undefined,
          requires: undefined,
          targets: [
            { region: "us-gov-west-1", autoScalingGroup: "web production" },
            { region: "us-gov-east-1", autoScalingGroup: "web production" },
          ],
          rollout: {
            strategy: "canary",
            canary: { percentage: 10 },
            minHealthy: 90,
            maxHealthy: 120,
            instanceWarmup: 90,
            checkpointDelay: 600,
            bakeTime: 5400,
            alarms: ["web-5xx"],
            skipMatching: false,
            autoRollback: false,
            scaleInProtected: "wait",
            standby: "terminate",
            smokeTest: { command: ["./smoke.sh", "a b"], timeout: 90 },
            maxLaunchFailures: 5,
            order: "sequential",
          },
        },
      ],
    });
  });

  test("may leave out all that has a default", () => {
    expect(load(withImage("vars: {}"))).toStrictEqual<Application>({
      name: "shop",
      recordPrefix: "release",
      image: { template: "web.pkr.hcl", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
      environments: [
        {
          name: "dev",
          branches: [],
          instanceType: undefined,
          imageRegion: "eu-west-1",
          roleToAssume: undefined,
          requires: undefined,
          targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev" }],
          rollout: { strategy: "rolling" },
        },
      ],
    });
  });

  test.each([
    ["packer/", "packer"],
    ["./packer/web.pkr.hcl", "packer/web.pkr.hcl"],
    ["packer//web.pkr.hcl", "packer/web.pkr.hcl"],
    ["./", "."],
    [".", "."],
  ])("a template written as %s is %s", (written, template) => {
    expect(load(withImage("max-age: 1d").replace("web.pkr.hcl", written)).image.template).toBe(template);
  });

  test("which images are kept, with the defaults for what is not said", () => {
    const days = 24 * 60 * 60 * 1000;
    expect(load(withImage("max-age: 1d")).prune).toBeUndefined();
    expect(load(`${withImage("max-age: 1d")}prune: { keep: 3 }\n`).prune).toStrictEqual({
      keep: 3,
      minAge: 7 * days,
      grace: 14 * days,
    });
    expect(load(`${withImage("max-age: 1d")}prune: { min-age: 36h, grace: 1h }\n`).prune).toStrictEqual({
      keep: 10,
      minAge: 1.5 * days,
      grace: days / 24,
    });
  });

  test("a variable file written with ./ is the same file", () => {
    expect(load(withImage("var-files: [./a.pkrvars.hcl]")).image.varFiles).toStrictEqual(["a.pkrvars.hcl"]);
  });

  test("a number of instances as canary", () => {
    const { environments } = load(withRollout("strategy: canary", "canary: 2"));
    expect(environments[0]?.rollout).toStrictEqual({ strategy: "canary", canary: { instances: 2 } });
  });

  test("environments keep the file's order, names that look like numbers too", () => {
    const names = ["z", '"2"', "a", "1"];
    const environments = names.map(
      (name, index) => `  ${name}: { targets: ${TARGET.replace("web", `web${index}`)} }`,
    );
    const text = `image: { template: web.pkr.hcl }\nenvironments:\n${environments.join("\n")}\n`;
    expect(load(text).environments.map(({ name }) => name)).toStrictEqual(["z", "2", "a", "1"]);
  });
});

describe("variables reach Packer as they are written", () => {
  test.each([
    ["1.10", "1.10"],
    ['"1.10"', "1.10"],
    ["0x1F", "0x1F"],
    ["007", "007"],
    ["1e3", "1e3"],
    ["12345678901234567890", "12345678901234567890"],
    ["true", "true"],
    ["True", "True"],
    ["yes", "yes"],
    ["''", ""],
    ["[a, 1, true]", '["a",1,true]'],
    ["{ a: [1], b: x }", '{"a":[1],"b":"x"}'],
    ["2026-11-18", "2026-11-18"],
  ])("%s is %s", (written, value) => {
    expect(load(withImage(`vars: { it: ${written} }`)).image.vars).toStrictEqual({ it: value });
  });

  test("a block of text keeps its lines", () => {
    expect(load(withImage("vars:\n    it: |\n      one\n      two")).image.vars).toStrictEqual({
      it: "one\ntwo\n",
    });
  });

  test("an alias is the anchor's text", () => {
    expect(load(withImage("vars: { a: &version 1.10, b: *version }")).image.vars).toStrictEqual({
      a: "1.10",
      b: "1.10",
    });
  });
});

const KNOWN_ROLLOUT =
  "strategy, canary, min-healthy, max-healthy, instance-warmup, checkpoints, checkpoint-delay, bake-time, alarms, skip-matching, auto-rollback, scale-in-protected, standby, smoke-test, max-launch-failures, order";

test("branches may be one pattern, without a list", () => {
  const { environments } = loadConfig(withEnvironment("branches: 'release/**'"), FILE, "web");
  expect(environments[0]?.branches).toStrictEqual(["release/**"]);
});

describe("every problem is told with its place", () => {
  test.each<[what: string, text: string, problems: string[]]>([
    [
      "an unknown key at the top",
      `aplication: web\n${withImage("max-age: 1d")}`,
      [
        '1:1 unknown key "aplication"; did you mean "application"? Known here: application, record-prefix, image, environments, prune',
      ],
    ],
    [
      "an unknown key of the image",
      withImage("max_age: 30d"),
      [
        '3:3 unknown key "max_age"; did you mean "max-age"? Known here: template, inputs, vars, var-files, max-age, working-directory, only, except, former-repositories',
      ],
    ],
    [
      "an unknown key of an environment",
      withEnvironment("branch: [main]"),
      [
        '5:5 unknown key "branch"; did you mean "branches"? Known here: branches, requires, instance-type, role-to-assume, targets, rollout',
      ],
    ],
    [
      "a required environment that is none",
      withEnvironment("requires: qa"),
      ['5:15 "environments.dev.requires" must be another environment of this file, not "qa"'],
    ],
    [
      "an environment that requires itself",
      withEnvironment("requires: dev"),
      ['5:15 "environments.dev.requires" must be another environment of this file, not "dev"'],
    ],
    [
      "an unknown key of a target",
      withEnvironment("branches: []").replace("auto-scaling-group", "auto-scaling-groop"),
      [
        '4:15 "environments.dev.targets.0.auto-scaling-group" is missing',
        '4:36 unknown key "auto-scaling-groop"; did you mean "auto-scaling-group"? Known here: region, auto-scaling-group, kms-key',
      ],
    ],
    [
      "an unknown key of a rollout",
      withRollout("min_healthy: 90"),
      [`6:7 unknown key "min_healthy"; did you mean "min-healthy"? Known here: ${KNOWN_ROLLOUT}`],
    ],
    [
      "a KMS key that is none",
      withImage("").replace(TARGET, "[{ region: eu-west-1, auto-scaling-group: web, kms-key: my key }]"),
      [
        expect.stringMatching(
          /"environments\.dev\.targets\.0\.kms-key" must be a KMS key's ARN, id or alias/,
        ),
      ],
    ],
    [
      "a role that is none",
      withEnvironment("role-to-assume: web-deployer"),
      [
        '5:21 "environments.dev.role-to-assume" must be a role\'s ARN such as arn:aws:iam::222222222222:role/web-deployer',
      ],
    ],
    ["no image", `environments:\n  dev: { targets: ${TARGET} }\n`, ['1:1 "image" is missing']],
    ["no environments", "image: { template: web.pkr.hcl }\n", ['1:1 "environments" is missing']],
    [
      "no template",
      withImage("max-age: 1d").replace("  template: web.pkr.hcl\n", ""),
      ['2:3 "image.template" is missing'],
    ],
    [
      "no targets",
      "image: { template: web.pkr.hcl }\nenvironments:\n  dev:\n    branches: [main]\n",
      ['4:5 "environments.dev.targets" is missing'],
    ],
    [
      "environments, but none",
      "image: { template: web.pkr.hcl }\nenvironments: {}\n",
      ['2:15 "environments" must describe at least one environment'],
    ],
    [
      "a list where text belongs",
      withImage("max-age: [1]"),
      ['3:12 "image.max-age" must be string, not array'],
    ],
    [
      "text where a list belongs",
      withRollout("alarms: web-5xx"),
      ['6:15 "environments.dev.rollout.alarms" must be array, not string'],
    ],
    [
      "a number where branches belong",
      withEnvironment("branches: 5"),
      ['5:15 "environments.dev.branches" must be a pattern, or a list of patterns'],
    ],
    [
      "a malformed pattern of branches",
      withEnvironment("branches: [main, 'release/*+']"),
      [
        '5:22 "environments.dev.branches.1" must have a character or [] right before "+", which counts it; the character itself is written \\+',
      ],
    ],
    [
      "the same, without a list",
      withEnvironment("branches: 'v[1-'"),
      ['5:15 "environments.dev.branches" must close its [ with ]'],
    ],
    [
      "several malformed patterns",
      withEnvironment("branches: [^main, 'a b']"),
      [
        '5:16 "environments.dev.branches.0" must not have "^": no branch has it in its name, and a pattern is no regular expression',
        '5:23 "environments.dev.branches.1" must not have " ": no branch has it in its name, and a pattern is no regular expression',
      ],
    ],
    [
      "nothing but negated patterns",
      withEnvironment('branches: ["!main", "!develop"]'),
      [
        '5:15 "environments.dev.branches" must have a pattern without ! too: those with ! only take branches away',
      ],
    ],
    [
      "one negated pattern without a list",
      withEnvironment('branches: "!main"'),
      [
        '5:15 "environments.dev.branches" must have a pattern without ! too: those with ! only take branches away',
      ],
    ],
    [
      "text where a truth value belongs",
      withRollout('skip-matching: "yes"'),
      ['6:22 "environments.dev.rollout.skip-matching" must be boolean, not string'],
    ],
    [
      "an unquoted number as branch",
      withEnvironment("branches: [main, 1.4]"),
      ['5:22 "environments.dev.branches.1" must be string, not number'],
    ],
    [
      "a duration without a unit",
      withImage('max-age: "30"'),
      ['3:12 "image.max-age" must be a duration such as 90s, 10m, 12h or 30d'],
    ],
    [
      "a number as duration",
      withRollout("bake-time: 600"),
      ['6:18 "environments.dev.rollout.bake-time" must be string, not number'],
    ],
    [
      "a duration over AWS's limit",
      withRollout("bake-time: 49h"),
      ['6:18 "environments.dev.rollout.bake-time" must be at most 48h, the longest that AWS takes'],
    ],
    [
      "a percentage that is too low",
      withRollout("max-healthy: 99"),
      ['6:20 "environments.dev.rollout.max-healthy" must be 100 to 200 percent'],
    ],
    [
      "a percentage that is too high",
      withRollout("min-healthy: 101"),
      ['6:20 "environments.dev.rollout.min-healthy" must be 0 to 100 percent'],
    ],
    [
      "half a percent",
      withRollout("min-healthy: 99.5"),
      ['6:20 "environments.dev.rollout.min-healthy" must be a whole number of percent'],
    ],
    [
      "a pair too far apart for AWS",
      withRollout("min-healthy: 50", "max-healthy: 200"),
      [
        '7:20 "environments.dev.rollout.max-healthy" must be at most 100 percent above min-healthy (50), AWS\'s limit',
      ],
    ],
    [
      "a canary of 0 %",
      withRollout("strategy: canary", "canary: 0%"),
      [
        '7:15 "environments.dev.rollout.canary" must be a number of instances, or a percentage from 1% to 99%',
      ],
    ],
    [
      "a canary of 100 %",
      withRollout("strategy: canary", "canary: 100%"),
      [
        '7:15 "environments.dev.rollout.canary" must be a number of instances, or a percentage from 1% to 99%',
      ],
    ],
    [
      "a canary without its strategy",
      withRollout("canary: 1"),
      ['6:15 "environments.dev.rollout.canary" needs strategy: canary'],
    ],
    [
      "an unknown strategy",
      withRollout("strategy: blue-green"),
      [
        '6:17 "environments.dev.rollout.strategy" must be one of "rolling"|"canary"|"all-at-once"|"recycle"|"replace-root-volume"',
      ],
    ],
    [
      "a path out of the repository",
      withImage("var-files: [../x.hcl]"),
      ['3:15 "image.var-files.0" must be a path inside the repository, relative to its root'],
    ],
    [
      "an absolute path",
      withImage("max-age: 1d").replace("web.pkr.hcl", "/web.pkr.hcl"),
      ['2:13 "image.template" must be a path inside the repository, relative to its root'],
    ],
    [
      "a variable's name",
      withImage("vars: { 1a: x }"),
      ["3:11 \"image.vars.1a\" must be a Packer variable's name: letters, digits, '_' and '-'"],
    ],
    [
      "a region that is none",
      withEnvironment("branches: []").replace("eu-west-1", "ireland"),
      ['4:25 "environments.dev.targets.0.region" must be an AWS region such as eu-west-1'],
    ],
    ["an empty file", "", ["1:1 the file must be object, not null"]],
    ["a file of comments", "# nothing yet\n", ["1:1 the file must be object, not null"]],
    ["a list as file", "- a\n", ["1:1 the file must be object, not array"]],
  ])("%s", (_, text, problems) => {
    expect(problemsOf(text)).toStrictEqual(problems);
  });

  test.each(["a/b", ".x", "x.lock", "-x", "a..b", "x.", "a b", "é", "a@{b"])(
    "an environment cannot be called %s",
    (name) => {
      const text = `image: { template: web.pkr.hcl }\nenvironments:\n  "${name}":\n    targets: ${TARGET}\n`;
      expect(problemsOf(text)).toStrictEqual([
        `3:3 "environments.${name}" must be usable as one segment of a git ref: at most 100 letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'`,
      ]);
    },
  );

  test.each([
    ["keep: 0", '"prune.keep" must be 1 to 100 releases'],
    ["keep: 101", '"prune.keep" must be 1 to 100 releases'],
    ["keep: 1.5", '"prune.keep" must be a whole number of releases'],
    ["min-age: 23h", '"prune.min-age" must be at least 1d: AWS tells that an image was launched a day later'],
    ["min-age: soon", '"prune.min-age" must be a duration such as 90s, 10m, 12h or 30d'],
    ["grace: 59m", '"prune.grace" must be at least 1h'],
    ["kepp: 3", 'unknown key "kepp"; did you mean "keep"? Known here: keep, min-age, grace'],
  ])("prune: { %s }", (line, problem) => {
    const text = `${withImage("max-age: 1d")}prune: { ${line} }\n`;
    expect(problemsOf(text).map((each) => each.replace(/^\d+:\d+ /, ""))).toStrictEqual([problem]);
  });

  test.each([
    ["release", true],
    ["release/api", true],
    ["a/b/c/d/e", true],
    ["a/b/c/d/e/f", false],
    ["release/", false],
    ["/release", false],
    ["release/../x", false],
    ["release/.api", false],
    ["release/api.lock", false],
    ["x".repeat(101), false],
    [`${"x".repeat(80)}/${"y".repeat(80)}`, false],
  ])("a record prefix: %s", (prefix, good) => {
    const text = `${withImage("max-age: 1d")}record-prefix: ${prefix}\n`;
    expect(problemsOf(text).map((each) => each.replace(/^\d+:\d+ /, "").slice(0, 60))).toStrictEqual(
      good ? [] : ['"record-prefix" must be one to five segments of a git ref, s'],
    );
  });

  test("two equal keys", () => {
    expect(problemsOf(withImage("template: other.pkr.hcl"))).toStrictEqual(["3:3 Map keys must be unique"]);
  });

  test("an error of YAML's syntax", () => {
    expect(problemsOf("image: { template: web\nenvironments: {}\n")[0]).toMatch(/^\d+:\d+ .*flow map/i);
  });

  test("a tab as indentation", () => {
    expect(problemsOf("image:\n\ttemplate: x\n")).toContain("2:1 Tabs are not allowed as indentation");
  });

  test("several at once, by line", () => {
    const text = `image:
  template: web.pkr.hcl
  max-age: soon
  colour: red
environments:
  dev:
    targets: ${TARGET}
    rollout:
      min-healthy: 120
  x.lock:
    targets: ${TARGET}
  qa:
    branches: 5
record-prefix: a//b
`;
    expect(problemsOf(text).map((problem) => problem.split(" ", 1)[0])).toStrictEqual([
      "3:12",
      "4:3",
      "9:20",
      "10:3",
      // What is missing is told where it would be written.
      "13:5",
      "13:15",
      "14:16",
    ]);
  });

  test("the message as a whole names the file and says that nothing was changed", () => {
    expect(() => load(withImage("max-age: soon"))).toThrow(
      expect.objectContaining({
        message: `${FILE}:3:12: "image.max-age" must be a duration such as 90s, 10m, 12h or 30d`,
        state: "Nothing was changed.",
      }),
    );
  });
});

describe("checkpoints", () => {
  test.each<[lines: string[], problems: string[]]>([
    [["checkpoints: [20, 50, 100]"], []],
    [["checkpoints: [100]", "checkpoint-delay: 0s"], []],
    [["strategy: canary", "checkpoint-delay: 5m"], []],
    [
      ["checkpoints: []"],
      [
        `6:20 ${PATH}.checkpoints" must not be empty`,
        `6:20 ${PATH}.checkpoints" must end with 100: else AWS calls the refresh successful with the rest of the group on the old image`,
      ],
    ],
    [["checkpoints: [50, 20, 100]"], [`6:20 ${PATH}.checkpoints" must be ascending, without repetition`]],
    [["checkpoints: [50, 50, 100]"], [`6:20 ${PATH}.checkpoints" must be ascending, without repetition`]],
    [
      ["checkpoints: [20, 50]"],
      [
        `6:20 ${PATH}.checkpoints" must end with 100: else AWS calls the refresh successful with the rest of the group on the old image`,
      ],
    ],
    [["checkpoints: [0, 100]"], [`6:21 ${PATH}.checkpoints.0" must be 1 to 100 percent`]],
    [["checkpoint-delay: 5m"], [`6:25 ${PATH}.checkpoint-delay" needs checkpoints, or the canary strategy`]],
  ])("%j", (lines, problems) => {
    expect(problemsOf(withRollout(...lines))).toStrictEqual(problems);
  });
});

describe("contradictions of a rollout", () => {
  const noRoom = (key: string, other: string, origin = ""): string =>
    `${PATH}.${key}" of 100 with ${other} of 100${origin} lets no instance go and none be added, and AWS would exceed the maximum: write min-healthy: 100 with max-healthy: 110, or a lower min-healthy`;
  const tooShort = (needed: number, timeout: string): string =>
    `${PATH}.checkpoint-delay" must be at least ${needed}s, the smoke test's timeout (${timeout}) and a minute to notice the checkpoint: AWS goes on by itself after the delay`;
  const inPlace = "strategy: replace-root-volume";

  test.each<[lines: string[], problems: string[]]>([
    // How many may be missing, and how many more there may be.
    [["min-healthy: 100", "max-healthy: 200"], []],
    [["min-healthy: 100", "max-healthy: 101"], []],
    [["min-healthy: 99", "max-healthy: 100"], []],
    [["min-healthy: 100"], []],
    [["min-healthy: 0", "max-healthy: 100"], []],
    [["strategy: recycle", "max-healthy: 100"], []],
    [["strategy: recycle", "min-healthy: 100", "max-healthy: 110"], []],
    [["min-healthy: 100", "max-healthy: 100"], [`7:20 ${noRoom("max-healthy", "min-healthy")}`]],
    [["max-healthy: 100"], [`6:20 ${noRoom("max-healthy", "min-healthy", " (the default of rolling)")}`]],
    [
      ["strategy: all-at-once", "max-healthy: 100"],
      [`7:20 ${noRoom("max-healthy", "min-healthy", " (the default of all-at-once)")}`],
    ],
    [
      ["strategy: recycle", "min-healthy: 100"],
      [`7:20 ${noRoom("min-healthy", "max-healthy", " (the default of recycle)")}`],
    ],
    [
      ["max-healthy: 101", "min-healthy: 0"],
      [`6:20 ${PATH}.max-healthy" must be at most 100 percent above min-healthy (0), AWS's limit`],
    ],
    // The canary.
    [["strategy: canary", "checkpoints: [10, 50, 100]"], []],
    [["strategy: all-at-once", "canary: 10%"], [`7:15 ${PATH}.canary" needs strategy: canary`]],
    [
      ["strategy: canary", "canary: 10%", "checkpoints: [10, 100]"],
      [`7:15 ${PATH}.canary" cannot be combined with checkpoints: both say how many go first`],
    ],
    // The test has to end before AWS goes on.
    [["strategy: canary", "smoke-test: ./smoke.sh"], []],
    [["strategy: canary", "smoke-test: ./smoke.sh", "checkpoint-delay: 6m"], []],
    [["checkpoints: [50, 100]", "smoke-test: ./smoke.sh", "checkpoint-delay: 6m"], []],
    [
      ["strategy: canary", "smoke-test: ./smoke.sh", "checkpoint-delay: 359s"],
      [`8:25 ${tooShort(360, "5m")}`],
    ],
    [
      ["checkpoints: [50, 100]", "checkpoint-delay: 5m", "smoke-test: { command: ./smoke.sh }"],
      [`7:25 ${tooShort(360, "5m")}`],
    ],
    [["strategy: canary", "smoke-test: { command: a, timeout: 47h }", "checkpoint-delay: 48h"], []],
    [["strategy: canary", "smoke-test: { command: a, timeout: 30s }", "checkpoint-delay: 90s"], []],
    [
      ["strategy: canary", "smoke-test: { command: a, timeout: 30s }", "checkpoint-delay: 0s"],
      [`8:25 ${tooShort(90, "30s")}`],
    ],
    [
      ["smoke-test: ./smoke.sh", "checkpoint-delay: 1m"],
      [`7:25 ${PATH}.checkpoint-delay" needs checkpoints, or the canary strategy`],
    ],
    // A root volume that is replaced: the instances stay.
    [[inPlace], []],
    [[inPlace, "min-healthy: 0", "max-healthy: 100"], []],
    [[inPlace, "checkpoints: [50, 100]", "instance-warmup: 60s", "bake-time: 5m", "alarms: [a]"], []],
    [
      [inPlace, "min-healthy: 100"],
      [
        `7:20 ${PATH}.min-healthy" must be less than 100 with replace-root-volume: an instance is out of service while its volume is replaced`,
      ],
    ],
    [
      [inPlace, "max-healthy: 110"],
      [`7:20 ${PATH}.max-healthy" must be 100 with replace-root-volume, which adds no instances`],
    ],
    [[inPlace, "canary: 1"], [`7:15 ${PATH}.canary" needs strategy: canary`]],
    // What sounds like a contradiction, and is none.
    [["alarms: [a]", "auto-rollback: false"], []],
    [["smoke-test: ./smoke.sh", "auto-rollback: false"], []],
    [["order: sequential"], []],
    // Alarms.
    [["alarms: [a, b, a]"], [`6:22 ${PATH}.alarms.2" repeats a`]],
    [["alarms: []"], [`6:15 ${PATH}.alarms" must name at least one alarm`]],
    [
      [`alarms: [${"abcdefghijk".split("").join(", ")}]`],
      [`6:15 ${PATH}.alarms" must be at most 10 alarms, AWS's limit`],
    ],
    [[`alarms: [${"x".repeat(256)}]`], [`6:16 ${PATH}.alarms.0" must be at most 255 characters`]],
  ])("%j", (lines, problems) => {
    expect(problemsOf(withRollout(...lines))).toStrictEqual(problems);
  });

  test("the shortest delay that is taken is the one that a rollout has without one", () => {
    const lines = ["strategy: canary", "smoke-test: { command: a, timeout: 7m }"];
    const [environment] = load(withRollout(...lines)).environments;
    const { CheckpointDelay: delay = NaN } = refreshPreferences(
      environment?.rollout ?? { strategy: "rolling" },
      10,
    );
    expect(problemsOf(withRollout(...lines, `checkpoint-delay: ${delay}s`))).toStrictEqual([]);
    expect(problemsOf(withRollout(...lines, `checkpoint-delay: ${delay - 1}s`))).toHaveLength(1);
  });

  test("an instance type of one's own, where the instances stay", () => {
    expect(
      problemsOf(withEnvironment("instance-type: t3.small\n    rollout: { strategy: replace-root-volume }")),
    ).toStrictEqual([
      '5:20 "environments.dev.instance-type" cannot be combined with replace-root-volume, which keeps the instances that there are',
    ]);
  });
});

describe("a smoke test", () => {
  test.each<[written: string, command: string[], timeout: number]>([
    ["./smoke.sh", ["./smoke.sh"], 300],
    ["  ./smoke.sh  ", ["./smoke.sh"], 300],
    ["./smoke.sh --fast 'two words' \"it's\" ''", ["./smoke.sh", "--fast", "two words", "it's", ""], 300],
    ['curl --url="http://localhost/?a=1&b=2"', ["curl", "--url=http://localhost/?a=1&b=2"], 300],
    ["curl http://localhost/?a=1&b=2;c", ["curl", "http://localhost/?a=1&b=2;c"], 300],
    [
      "bash -c 'curl -f http://$KILN_INSTANCE_ADDRESSES/ || exit 1'",
      ["bash", "-c", "curl -f http://$KILN_INSTANCE_ADDRESSES/ || exit 1"],
      300,
    ],
    [
      "/bin/bash -c \"test $KILN_TARGET = 'a b' && true\"",
      ["/bin/bash", "-c", "test $KILN_TARGET = 'a b' && true"],
      300,
    ],
    ["awk '$1 {exit}' \"for $5\"", ["awk", "$1 {exit}", "for $5"], 300],
    // No escapes: a backslash is a character.
    ["grep a\\.b", ["grep", "a\\.b"], 300],
    [">-\n        ./smoke.sh\n        --fast", ["./smoke.sh", "--fast"], 300],
    ["|\n        ./smoke.sh --fast", ["./smoke.sh", "--fast"], 300],
    ["{ command: ./smoke.sh --fast }", ["./smoke.sh", "--fast"], 300],
    ["{ command: ./smoke.sh, timeout: 1s }", ["./smoke.sh"], 1],
    ["{ command: ./smoke.sh, timeout: 47h }", ["./smoke.sh"], 169_200],
    ["{ command: [./smoke.sh] }", ["./smoke.sh"], 300],
    [
      '{ command: [bash, -c, "test \\"$KILN_TARGET\\" && true"], timeout: 1.5m }',
      ["bash", "-c", 'test "$KILN_TARGET" && true'],
      90,
    ],
    ['{ command: [./smoke.sh, "", \'"\', "a  b"] }', ["./smoke.sh", "", '"', "a  b"], 300],
  ])("written as %s", (written, command, timeout) => {
    const [environment] = load(withRollout(`smoke-test: ${written}`)).environments;
    expect(environment?.rollout).toStrictEqual({ strategy: "rolling", smokeTest: { command, timeout } });
  });

  const form = "must be a command line, or a map with command and timeout";
  const command = "must be a command line, or a list of the program and its arguments";
  const forShell = (what: string): string =>
    `has ${what}, which only a shell understands, and none is run: name a script, or write command: [bash, -c, "…"]`;

  test.each<[written: string, problem: string]>([
    ['""', `6:19 ${PATH}.smoke-test" must begin with a program`],
    ['"  "', `6:19 ${PATH}.smoke-test" must begin with a program`],
    ["\"'' x\"", `6:19 ${PATH}.smoke-test" must begin with a program`],
    ["./smoke.sh 'a", `6:19 ${PATH}.smoke-test" has a quote (') that is not closed`],
    ["./smoke.sh \"it's", `6:19 ${PATH}.smoke-test" has a quote (") that is not closed`],
    ["./smoke.sh it's", `6:19 ${PATH}.smoke-test" has a quote (') that is not closed`],
    ["a && b", `6:19 ${PATH}.smoke-test" ${forShell("&&")}`],
    ["a || b", `6:19 ${PATH}.smoke-test" ${forShell("||")}`],
    ["a | b", `6:19 ${PATH}.smoke-test" ${forShell("|")}`],
    ["a; b", `6:19 ${PATH}.smoke-test" ${forShell(";")}`],
    ["a >/dev/null", `6:19 ${PATH}.smoke-test" ${forShell(">/dev/null")}`],
    ["a 2>&1", `6:19 ${PATH}.smoke-test" ${forShell("2>&1")}`],
    [
      "curl http://$KILN_INSTANCE_ADDRESSES/",
      `6:19 ${PATH}.smoke-test" ${forShell("$KILN_INSTANCE_ADDRESSES/")}`,
    ],
    ['./smoke.sh "at $KILN_TARGET!"', `6:19 ${PATH}.smoke-test" ${forShell("$KILN_TARGET")}`],
    ['./smoke.sh "${KILN_TARGET}"', `6:19 ${PATH}.smoke-test" ${forShell("${")}`],
    ["a $(hostname)", `6:19 ${PATH}.smoke-test" ${forShell("$(hostname)")}`],
    ["a `hostname`", `6:19 ${PATH}.smoke-test" ${forShell("`hostname`")}`],
    ["HOST=x ./smoke.sh", `6:19 ${PATH}.smoke-test" ${forShell("HOST=x")}`],
    ["|\n        ./one.sh\n        ./two.sh", `6:19 ${PATH}.smoke-test" ${forShell("several lines")}`],
    ["{ command: a && b }", `6:30 ${PATH}.smoke-test.command" ${forShell("&&")}`],
    ["5", `6:19 ${PATH}.smoke-test" ${form}`],
    ["[./smoke.sh]", `6:19 ${PATH}.smoke-test" ${form}`],
    ["{ timeout: 5m }", `6:19 ${PATH}.smoke-test.command" is missing`],
    ["{ command: 5 }", `6:30 ${PATH}.smoke-test.command" ${command}`],
    ["{ command: [] }", `6:30 ${PATH}.smoke-test.command" must begin with a program`],
    ['{ command: ["", a] }', `6:30 ${PATH}.smoke-test.command" must begin with a program`],
    ["{ command: [a, 1] }", `6:34 ${PATH}.smoke-test.command.1" must be string, not number`],
    ["{ command: a, timeout: 999ms }", `6:42 ${PATH}.smoke-test.timeout" must be 1s to 47h`],
    ["{ command: a, timeout: 48h }", `6:42 ${PATH}.smoke-test.timeout" must be 1s to 47h`],
    ["{ command: a, timeout: 5 }", `6:42 ${PATH}.smoke-test.timeout" must be string, not number`],
    [
      "{ command: a, timeout: soon }",
      `6:42 ${PATH}.smoke-test.timeout" must be a duration such as 90s, 10m, 12h or 30d`,
    ],
    [
      "{ command: a, time-out: 5m }",
      '6:33 unknown key "time-out"; did you mean "timeout"? Known here: command, timeout',
    ],
  ])("%s", (written, problem) => {
    expect(problemsOf(withRollout(`smoke-test: ${written}`))).toStrictEqual([problem]);
  });
});

describe("the numbers of failures and the order", () => {
  test.each<[line: string, problems: string[]]>([
    ["max-launch-failures: 1", []],
    ["max-launch-failures: 100", []],
    ["max-launch-failures: 0", [`6:28 ${PATH}.max-launch-failures" must be 1 to 100`]],
    ["max-launch-failures: 101", [`6:28 ${PATH}.max-launch-failures" must be 1 to 100`]],
    ["max-launch-failures: 1.5", [`6:28 ${PATH}.max-launch-failures" must be a whole number`]],
    ['max-launch-failures: "3"', [`6:28 ${PATH}.max-launch-failures" must be number, not string`]],
    ["order: parallel", []],
    ["order: serial", [`6:14 ${PATH}.order" must be one of "parallel"|"sequential"`]],
  ])("%s", (line, problems) => {
    expect(problemsOf(withRollout(line))).toStrictEqual(problems);
  });
});

describe("targets", () => {
  const inRegion = (group: string, region = "eu-west-1"): string =>
    `{ region: ${region}, auto-scaling-group: ${group} }`;
  const file = (environments: Readonly<Record<string, readonly string[]>>): string =>
    `image: { template: web.pkr.hcl }\nenvironments:\n${Object.entries(environments)
      .map(
        ([name, targets]) =>
          `  ${name}:\n    targets:\n${targets.map((line) => `      - ${line}\n`).join("")}`,
      )
      .join("")}`;

  test("several, in the file's order", () => {
    const [environment] = load(
      file({ dev: [inRegion("b"), inRegion("a"), inRegion("b", "us-east-1")] }),
    ).environments;
    expect(environment?.targets).toStrictEqual([
      { region: "eu-west-1", autoScalingGroup: "b" },
      { region: "eu-west-1", autoScalingGroup: "a" },
      { region: "us-east-1", autoScalingGroup: "b" },
    ]);
  });

  const many = (count: number): string[] =>
    Array.from({ length: count }, (_, index) => inRegion(`web-${index}`));

  test.each<[what: string, environments: Record<string, string[]>, problems: string[]]>([
    ["twenty", { dev: many(20) }, []],
    ["twenty-one", { dev: many(21) }, ['5:7 "environments.dev.targets" must be at most 20 targets']],
    [
      "the same group twice",
      { dev: [inRegion("a"), inRegion("b"), inRegion("a")] },
      ['7:9 "environments.dev.targets.2" repeats eu-west-1/a: each group may stand here once'],
    ],
    ["the same name in two regions", { dev: [inRegion("a"), inRegion("a", "us-east-1")] }, []],
    [
      "one group in two environments",
      { dev: [inRegion("a")], qa: [inRegion("b"), inRegion("a")] },
      [
        '9:9 "environments.qa.targets.1" cannot be eu-west-1/a, which environment dev has: each of dev and qa would replace the other\'s releases',
      ],
    ],
    [
      "one group in three environments",
      { dev: [inRegion("a")], qa: [inRegion("a")], live: [inRegion("a")] },
      [
        '8:9 "environments.qa.targets.0" cannot be eu-west-1/a, which environment dev has: each of dev and qa would replace the other\'s releases',
        '11:9 "environments.live.targets.0" cannot be eu-west-1/a, which environment dev has: each of dev and live would replace the other\'s releases',
      ],
    ],
    [
      "a region that is none, of the second",
      { dev: [inRegion("a"), inRegion("a", "ireland")] },
      ['6:19 "environments.dev.targets.1.region" must be an AWS region such as eu-west-1'],
    ],
  ])("%s", (_, environments, problems) => {
    expect(problemsOf(file(environments))).toStrictEqual(problems);
  });

  test("none at all", () => {
    expect(problemsOf(withEnvironment("branches: []").replace(TARGET, "[]"))).toStrictEqual([
      '4:14 "environments.dev.targets" must name at least one target',
    ]);
  });
});
