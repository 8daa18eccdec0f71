import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { COMMANDS, INPUT_NAMES, type Inputs, parseInputs } from "../../src/action/inputs.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";

const withConfig = (path: string): boolean => path === ".github/kiln.yml";
const withoutConfig = (): boolean => false;
const TOKEN = { token: "ghs_token" };
const INLINE = {
  environment: "dev",
  template: "web.pkr.hcl",
  region: "eu-west-1",
  "auto-scaling-group": "web-dev",
};

function problemsOf(given: Readonly<Record<string, string>>, configExists = withConfig): string[] {
  try {
    parseInputs({ ...TOKEN, ...given }, configExists);
  } catch (error) {
    if (error instanceof InvalidInputError)
      return error.problems.map(({ where, message }) => `${where}: ${message}`);
    throw error;
  }
  return [];
}

describe("inputs that are right", () => {
  test("have defaults", () => {
    expect(parseInputs(TOKEN, withConfig)).toMatchObject<Partial<Inputs>>({
      command: "deploy",
      environment: undefined,
      config: ".github/kiln.yml",
      version: undefined,
      vars: {},
      secretVars: {},
      rebake: "auto",
      dryRun: false,
      onCancel: "rollback",
      timeout: 7_200_000,
      pollInterval: undefined,
      token: "ghs_token",
      inline: undefined,
    });
  });

  test("are all taken", () => {
    expect(
      parseInputs(
        {
          command: "bake",
          environment: " dev ",
          config: "ops/kiln.yml",
          version: "v1.4.2",
          vars: "a=1\n\n  b=x=y \r\nc=",
          "secret-vars": "npm-token= hunter2 \n  key<<END\n-----BEGIN-----\r\n c2Vj==\n\n  END\n",
          rebake: "always",
          "dry-run": "true",
          "on-cancel": "leave",
          timeout: "60m",
          "poll-interval": "10s",
          token: " ghs_token ",
        },
        (path) => path === "ops/kiln.yml",
      ),
    ).toMatchObject<Partial<Inputs>>({
      command: "bake",
      environment: "dev",
      config: "ops/kiln.yml",
      version: "v1.4.2",
      vars: { a: "1", b: "x=y ", c: "" },
      secretVars: { "npm-token": " hunter2 ", key: "-----BEGIN-----\n c2Vj==\n" },
      rebake: "always",
      dryRun: true,
      onCancel: "leave",
      timeout: 3_600_000,
      pollInterval: 10_000,
      token: "ghs_token",
      inline: undefined,
    });
  });

  test("that are blank are not set", () => {
    const blank = Object.fromEntries(INPUT_NAMES.map((name) => [name, "  "]));
    expect(parseInputs({ ...blank, ...TOKEN }, withConfig)).toStrictEqual(parseInputs(TOKEN, withConfig));
  });

  test("describe one environment where there is no config file", () => {
    expect(parseInputs({ ...TOKEN, ...INLINE }, withoutConfig).inline).toStrictEqual({
      application: undefined,
      template: "web.pkr.hcl",
      region: "eu-west-1",
      autoScalingGroup: "web-dev",
      strategy: undefined,
    });
    expect(
      parseInputs({ ...TOKEN, ...INLINE, application: "web", strategy: "canary" }, withoutConfig).inline,
    ).toMatchObject({ application: "web", strategy: "canary" });
  });

  test("keep a value's own text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).filter((text) => !/[\r\n]/.test(text)),
        (value) => {
          expect(parseInputs({ ...TOKEN, vars: `name=${value}` }, withConfig).vars).toStrictEqual({
            name: value,
          });
        },
      ),
    );
  });
});

describe("commands that bake nothing", () => {
  const nowhere = (): boolean => false;

  test("need no checkout: whether there is a config file is found out later", () => {
    expect(parseInputs({ ...TOKEN, command: "rollback", environment: "dev" }, nowhere)).toMatchObject({
      command: "rollback",
      to: "previous",
      incident: false,
      inline: undefined,
    });
    expect(parseInputs({ ...TOKEN, command: "status" }, nowhere)).toMatchObject({ failOnDrift: false });
  });

  test("need no template in an environment that the step describes", () => {
    const given = {
      command: "rollback",
      environment: "live",
      region: "eu-west-1",
      "auto-scaling-group": "web",
    };
    expect(parseInputs({ ...TOKEN, ...given }, nowhere).inline).toMatchObject({
      autoScalingGroup: "web",
      template: "",
    });
  });

  test("take false for what is another command's as not given", () => {
    expect(parseInputs({ ...TOKEN, incident: "false", "fail-on-drift": "false" }, withConfig).command).toBe(
      "deploy",
    );
  });
});

describe("a folder that is not as the step says", () => {
  const told = (given: Record<string, string>, place: { problem?: string; advice?: string }): string[] => {
    try {
      parseInputs({ ...TOKEN, ...given }, withoutConfig, { problem: undefined, advice: undefined, ...place });
    } catch (error) {
      if (error instanceof InvalidInputError)
        return error.problems.map(({ where, message }) => `${where}: ${message}`);
      throw error;
    }
    return [];
  };

  test("is told, with all else that is wrong but for what would be in it", () => {
    expect(
      told({ timeout: "soon", "working-directory": "app" }, { problem: "there is no folder app" }),
    ).toEqual([
      'input timeout: "soon" is not a duration such as 10s, 60m or 2h',
      "input working-directory: there is no folder app",
    ]);
    expect(told({ command: "status" }, { problem: "there is no folder app" })).toHaveLength(1);
  });

  test("is why there is no config file", () => {
    const place = { advice: "nothing is checked out in /w. Run actions/checkout before this step" };
    expect(told({}, place)).toEqual([
      "input config: there is no file .github/kiln.yml: nothing is checked out in /w. Run actions/checkout before this step",
    ]);
    expect(told({ command: "status" }, place)).toEqual([]);
  });
});

describe("every problem of an input is told", () => {
  test.each<[given: Record<string, string>, problem: string]>([
    [{ command: "deplou" }, `input command: "deplou" is not one of ${COMMANDS.join(", ")}`],
    [{ "dry-run": "yes" }, 'input dry-run: "yes" is neither true nor false'],
    [{ "dry-run": "True" }, 'input dry-run: "True" is neither true nor false'],
    [{ rebake: "force" }, 'input rebake: "force" is not one of auto, always, never'],
    [{ to: "previous" }, "input to: is for `command: rollback`; the command is deploy"],
    [{ incident: "true" }, "input incident: is for `command: rollback`; the command is deploy"],
    [{ from: "qa" }, "input from: is for `command: promote`; the command is deploy"],
    [{ "fail-on-drift": "true" }, "input fail-on-drift: is for `command: status`; the command is deploy"],
    [
      { command: "bake", "allow-older": "true" },
      "input allow-older: is for `command: deploy`; the command is bake",
    ],
    [
      { command: "bake", "any-branch": "true" },
      "input any-branch: is for `command: deploy`; the command is bake",
    ],
    [
      { command: "status", "allow-pull-request": "true" },
      "input allow-pull-request: is for `command: deploy` and `command: bake`; the command is status",
    ],
    [{ "any-branch": "yes" }, 'input any-branch: "yes" is neither true nor false'],
    [{ "allow-pull-request": "on" }, 'input allow-pull-request: "on" is neither true nor false'],
    [{ command: "rollback" }, "input environment: is missing: rollback needs to be told which"],
    [{ command: "promote" }, "input environment: is missing: promote needs to be told which"],
    [
      { command: "rollback", environment: "dev", incident: "perhaps" },
      'input incident: "perhaps" is neither true nor false',
    ],
    [{ "on-cancel": "stop" }, 'input on-cancel: "stop" is not one of rollback, leave'],
    [{ timeout: "60" }, 'input timeout: "60" is not a duration such as 10s, 60m or 2h'],
    [{ timeout: "0s" }, 'input timeout: "0s" is not a duration such as 10s, 60m or 2h'],
    [{ "poll-interval": "often" }, 'input poll-interval: "often" is not a duration such as 10s, 60m or 2h'],
    [{ token: "" }, "input token: is empty; leave it out for the job's own token, ${{ github.token }}"],
    [{ vars: "a=1\nb" }, 'input vars: line 2 is neither NAME=value nor NAME<<END: "b"'],
    [{ vars: "1a=1" }, 'input vars: line 1 is neither NAME=value nor NAME<<END: "1a=1"'],
    [{ vars: "a = 1" }, 'input vars: line 1 is neither NAME=value nor NAME<<END: "a = 1"'],
    [{ vars: "a: 1" }, 'input vars: line 1 is neither NAME=value nor NAME<<END: "a: 1"'],
    [{ vars: "a=1\na=2" }, 'input vars: "a" is set twice'],
    [{ "secret-vars": "hunter2" }, "input secret-vars: line 1 is neither NAME=value nor NAME<<END"],
    [{ "secret-vars": "a=hunter2\na=hunter3" }, "input secret-vars: line 2 sets a variable again"],
    [{ vars: "a<<END\n1\n2" }, 'input vars: line 1 begins a value that no line "END" ends'],
    [{ "secret-vars": "a<<hunter2\n1" }, "input secret-vars: line 1 begins a value that no line ends"],
    [{ vars: "a<<" }, 'input vars: line 1 is neither NAME=value nor NAME<<END: "a<<"'],
    [
      { "secret-vars": "a=x1" },
      'input secret-vars: the value of "a" is too short to be masked: a secret has 3 characters or more; pass what is none in vars',
    ],
    [{ vars: "a=1", "secret-vars": "a=hunter2" }, 'input secret-vars: "a" is in vars too'],
    [{ environmant: "dev" }, 'input environmant: there is no such input; did you mean "environment"?'],
    [{ "secret-var": "a=1" }, 'input secret-var: there is no such input; did you mean "secret-vars"?'],
    [
      { template: "web.pkr.hcl" },
      "input template: is for use without a config file, and there is one: .github/kiln.yml",
    ],
    [
      { strategy: "canary" },
      "input strategy: is for use without a config file, and there is one: .github/kiln.yml",
    ],
    [
      { application: "web" },
      "input application: is for use without a config file, and there is one: .github/kiln.yml",
    ],
  ])("%j", (given, problem) => {
    expect(problemsOf(given)).toStrictEqual([problem]);
  });

  test("that there is no config file", () => {
    expect(problemsOf({ config: "ops/kiln.yml" })).toStrictEqual([
      "input config: there is no file ops/kiln.yml in the repository; write one, or describe one environment in the step with environment, template, region, auto-scaling-group",
    ]);
    expect(problemsOf({ environment: "dev" }, withoutConfig)).toHaveLength(1);
  });

  test.each(["environment", "template", "region", "auto-scaling-group"] as const)(
    "that without a config file %s is missing",
    (name) => {
      expect(problemsOf({ ...INLINE, [name]: "" }, withoutConfig)).toStrictEqual([
        `input ${name}: is missing: without a config file the step describes the environment`,
      ]);
    },
  );

  test("that prune would know one environment only", () => {
    const given = { command: "prune", region: "eu-west-1", "auto-scaling-group": "web" };
    expect(problemsOf(given, withoutConfig)).toStrictEqual([
      "input command: prune needs the config file, not `region`, `auto-scaling-group`: environments that it does not know may need an image",
    ]);
    expect(parseInputs({ ...TOKEN, command: "prune" }, withoutConfig).inline).toBeUndefined();
  });

  test("that a strategy is unknown", () => {
    expect(problemsOf({ ...INLINE, strategy: "blue-green" }, withoutConfig)).toStrictEqual([
      'input strategy: "blue-green" is not one of rolling, canary, all-at-once, recycle, replace-root-volume',
    ]);
  });

  test("all at once", () => {
    const problems = problemsOf({
      comand: "x",
      command: "deplou",
      rebake: "x",
      "dry-run": "x",
      "on-cancel": "x",
      timeout: "x",
      "poll-interval": "x",
      token: " ",
      vars: "x",
      "secret-vars": "x",
      region: "eu-west-1",
    });
    expect(new Set(problems.map((problem) => problem.split(":", 1)[0]))).toStrictEqual(
      new Set(
        [
          "comand",
          "command",
          "dry-run",
          "on-cancel",
          "poll-interval",
          "rebake",
          "region",
          "secret-vars",
          "timeout",
          "token",
          "vars",
        ].map((name) => `input ${name}`),
      ),
    );
  });

  test("without ever repeating a secret", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            "a=hunter2",
            "hunter2",
            "hunter2=",
            "=hunter2",
            "a hunter2",
            " ",
            "a=1=hunter2",
            "b<<hunter2",
          ),
          {
            minLength: 1,
            maxLength: 5,
          },
        ),
        (lines) => {
          expect(problemsOf({ "secret-vars": lines.join("\n"), vars: "a=2" }).join("\n")).not.toContain(
            "hunter2",
          );
        },
      ),
    );
  });
});

test("the inputs are those of action.yml", () => {
  const text = readFileSync(join(import.meta.dirname, "../../action.yml"), "utf8");
  const { inputs } = parse(text) as { inputs: Readonly<Record<string, unknown>> };
  expect(Object.keys(inputs).toSorted()).toStrictEqual([...INPUT_NAMES].toSorted());
});
