import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../src/domain/application.ts";
import { overriddenSecrets, sensitiveVariables } from "../../src/image/sensitive-variables.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-sensitive-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

const recipe = (template: string, more: Partial<ImageRecipe> = {}): ImageRecipe => ({
  template,
  inputs: undefined,
  vars: {},
  varFiles: [],
  maxAge: undefined,
  ...more,
});

async function found(of: ImageRecipe, env: Record<string, string> = {}): Promise<[string[], string[]]> {
  const { names, values } = await sensitiveVariables(of, folder, env);
  return [[...names].toSorted(), values.map(({ name, value }) => `${name}=${value}`).toSorted()];
}

const HCL = `
variable "token" {
  sensitive = true
  default   = "by-default"
}
variable "keys" {
  type      = map(string)
  sensitive = true
  default   = { one = "first", "two" = env("SECOND") }
}
variable "plain" { default = "open" }
local "made" {
  expression = "made-here"
  sensitive  = true
}
`;

describe("what a template marks sensitive, with every value that is written down", () => {
  test("HCL2: defaults, variable files, vars and the environment", async () => {
    write({
      "packer/web.pkr.hcl": HCL,
      "packer/other.pkr.hcl": 'variable "token2" { sensitive = true }\n',
      "common.pkrvars.hcl": 'token = "by-file"\nplain = "x"\n',
      "more.pkrvars.json": '{"token": "by-json", "keys": {"a": "in-map"}}',
    });
    const of = recipe("packer/web.pkr.hcl", {
      vars: { keys: '{ z = "by-vars" }', plain: "y" },
      varFiles: ["common.pkrvars.hcl", "more.pkrvars.json"],
    });
    const env = { PKR_VAR_token: "by-environment", PKR_VAR_plain: "z", SECOND: "second" };
    expect(await found(of, env)).toStrictEqual([
      ["keys", "made", "token"],
      [
        "keys=by-vars",
        "keys=first",
        "keys=in-map",
        "keys=second",
        'keys={ z = "by-vars" }',
        "made=made-here",
        "token=by-default",
        "token=by-environment",
        "token=by-file",
        "token=by-json",
      ],
    ]);
  });

  test("a folder: all of its files, and the variable files that Packer loads by itself", async () => {
    write({
      "packer/a.pkr.hcl": HCL,
      "packer/b.pkr.json":
        '{"variable": {"j": {"sensitive": true, "default": ["x1", 4711]}, "k": {"default": "no"}}}',
      "packer/all.auto.pkrvars.hcl": 'token = "automatic"\n',
      "packer/not.pkrvars.hcl": 'token = "not loaded"\n',
    });
    const [names, values] = await found(recipe("packer"));
    expect(names).toStrictEqual(["j", "keys", "made", "token"]);
    expect(values).toContain("token=automatic");
    expect(values).toContain("j=4711");
    expect(values.join()).not.toContain("not loaded");
  });

  test("legacy JSON: sensitive-variables, and the environment in defaults", async () => {
    write({
      "web.json": JSON.stringify({
        variables: { token: "{{env `NPM_TOKEN`}}", pass: "default", made: "{{user `x`}}-1", plain: "no" },
        "sensitive-variables": ["token", "pass", "made"],
      }),
      "vars.json": '{"pass": "by-file", "plain": "no"}',
    });
    const of = recipe("web.json", { vars: { pass: "by-vars" }, varFiles: ["vars.json"] });
    expect(await found(of, { NPM_TOKEN: "npm", PKR_VAR_pass: "not read" })).toStrictEqual([
      ["made", "pass", "token"],
      ["pass=by-file", "pass=by-vars", "pass=default", "token=npm"],
    ]);
  });

  test.each(["gone.pkr.hcl", "gone", "broken.json", "broken.pkr.hcl"])(
    "%s, which Packer will refuse, has none",
    async (template) => {
      write({ "broken.json": "{", "broken.pkr.hcl": 'variable "a" {{{ "' });
      expect(await found(recipe(template))).toStrictEqual([[], []]);
    },
  );
});

describe("a secret that a variable file sets too", () => {
  const where = async (of: ImageRecipe) =>
    (await overriddenSecrets(of, folder, new Set(["token"]))).map((problem) => problem.where);

  test("is told with its place: HCL and JSON, listed or loaded by itself", async () => {
    write({
      "packer/web.pkr.hcl": HCL,
      "packer/x.auto.pkrvars.hcl": '# token = 1\nplain = "x"\n  token = "placeholder"\n',
      "vars.pkrvars.json": '{\n  "token": "placeholder"\n}',
    });
    const varFiles = ["vars.pkrvars.json"];
    expect(await where(recipe("packer", { varFiles }))).toStrictEqual([
      "packer/x.auto.pkrvars.hcl:3:3",
      "vars.pkrvars.json:2:3",
    ]);
    // Packer loads no files by itself for a template that is a file.
    expect(await where(recipe("packer/web.pkr.hcl", { varFiles }))).toStrictEqual(["vars.pkrvars.json:2:3"]);
  });

  test("is fine with a legacy template, whose secrets come last", async () => {
    write({ "web.json": "{}", "vars.json": '{"token": "placeholder"}' });
    expect(await where(recipe("web.json", { varFiles: ["vars.json"] }))).toStrictEqual([]);
  });
});
