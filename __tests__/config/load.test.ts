import { describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import type { Application } from "../../src/domain/application.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";

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
environments:
  dev:
    branches: [develop]
    instance-type: t3.small
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
  production:
    branches: [main, "release/**"]
    targets:
      - { region: us-gov-west-1, auto-scaling-group: web production }
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
      },
      environments: [
        {
          name: "dev",
          branches: ["develop"],
          instanceType: "t3.small",
          requires: undefined,
          targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev" }],
          rollout: { strategy: "rolling" },
        },
        {
          name: "production",
          branches: ["main", "release/**"],
          instanceType: undefined,
          requires: undefined,
          targets: [{ region: "us-gov-west-1", autoScalingGroup: "web production" }],
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

  test("a variable file written with ./ is the same file", () => {
    expect(load(withImage("var-files: [./a.pkrvars.hcl]")).image.varFiles).toStrictEqual(["a.pkrvars.hcl"]);
  });

  test("a number of instances as canary", () => {
    const { environments } = load(withRollout("strategy: canary", "canary: 2"));
    expect(environments[0]?.rollout).toStrictEqual({ strategy: "canary", canary: { instances: 2 } });
  });

  test("environments keep the file's order, names that look like numbers too", () => {
    const text = `image: { template: web.pkr.hcl }\nenvironments:\n  z: { targets: ${TARGET} }\n  "2": { targets: ${TARGET} }\n  a: { targets: ${TARGET} }\n  1: { targets: ${TARGET} }\n`;
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
  "strategy, canary, min-healthy, max-healthy, instance-warmup, checkpoints, checkpoint-delay, bake-time, alarms, skip-matching, auto-rollback, scale-in-protected, standby";

describe("every problem is told with its place", () => {
  test.each<[what: string, text: string, problems: string[]]>([
    [
      "an unknown key at the top",
      `aplication: web\n${withImage("max-age: 1d")}`,
      [
        '1:1 unknown key "aplication"; did you mean "application"? Known here: application, record-prefix, image, environments',
      ],
    ],
    [
      "an unknown key of the image",
      withImage("max_age: 30d"),
      [
        '3:3 unknown key "max_age"; did you mean "max-age"? Known here: template, inputs, vars, var-files, max-age',
      ],
    ],
    [
      "an unknown key of an environment",
      withEnvironment("branch: [main]"),
      [
        '5:5 unknown key "branch"; did you mean "branches"? Known here: branches, requires, instance-type, targets, rollout',
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
        '4:36 unknown key "auto-scaling-groop"; did you mean "auto-scaling-group"? Known here: region, auto-scaling-group',
      ],
    ],
    [
      "an unknown key of a rollout",
      withRollout("min_healthy: 90"),
      [`6:7 unknown key "min_healthy"; did you mean "min-healthy"? Known here: ${KNOWN_ROLLOUT}`],
    ],
    [
      "a key of a later version",
      withEnvironment("kms-key: x"),
      ['5:5 "kms-key" is not available in this version of Kiln'],
    ],
    [
      "a rollout key of a later version",
      withRollout("smoke-test: ./smoke.sh"),
      ['6:7 "smoke-test" is not available in this version of Kiln'],
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
      "two targets",
      withEnvironment("branches: []").replace("[{", "[{ region: us-east-1, auto-scaling-group: w }, {"),
      [
        '4:14 "environments.dev.targets" must be one target: this version releases to one Auto Scaling group an environment',
      ],
    ],
    [
      "a list where text belongs",
      withImage("max-age: [1]"),
      ['3:12 "image.max-age" must be string, not array'],
    ],
    [
      "text where a list belongs",
      withEnvironment("branches: main"),
      ['5:15 "environments.dev.branches" must be array, not string'],
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
      ['6:17 "environments.dev.rollout.strategy" must be one of "rolling"|"canary"|"all-at-once"|"recycle"'],
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
        `3:3 "environments.${name}" must be usable as one segment of a git ref: letters, digits, '.', '_' and '-', not beginning with '.' or '-', not ending with '.' or '.lock', without '..'`,
      ]);
    },
  );

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
    branches: main
record-prefix: a/b
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
  const path = '"environments.dev.rollout';

  test.each<[lines: string[], problems: string[]]>([
    [["checkpoints: [20, 50, 100]"], []],
    [["checkpoints: [100]", "checkpoint-delay: 0s"], []],
    [["strategy: canary", "checkpoint-delay: 5m"], []],
    [
      ["checkpoints: []"],
      [
        `6:20 ${path}.checkpoints" must not be empty`,
        `6:20 ${path}.checkpoints" must end with 100: else AWS calls the refresh successful with the rest of the group on the old image`,
      ],
    ],
    [["checkpoints: [50, 20, 100]"], [`6:20 ${path}.checkpoints" must be ascending, without repetition`]],
    [["checkpoints: [50, 50, 100]"], [`6:20 ${path}.checkpoints" must be ascending, without repetition`]],
    [
      ["checkpoints: [20, 50]"],
      [
        `6:20 ${path}.checkpoints" must end with 100: else AWS calls the refresh successful with the rest of the group on the old image`,
      ],
    ],
    [["checkpoints: [0, 100]"], [`6:21 ${path}.checkpoints.0" must be 1 to 100 percent`]],
    [["checkpoint-delay: 5m"], [`6:25 ${path}.checkpoint-delay" needs checkpoints, or the canary strategy`]],
  ])("%j", (lines, problems) => {
    expect(problemsOf(withRollout(...lines))).toStrictEqual(problems);
  });
});
