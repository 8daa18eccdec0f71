import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../src/domain/application.ts";
import type { KilnError } from "../../src/domain/errors.ts";
import {
  findPacker,
  invocationOf,
  isLegacyTemplate,
  type PackerCall,
  passVariables,
  type Variables,
} from "../../src/image/packer.ts";
import { ScriptedPrograms } from "./programs.ts";

describe("the Packer on the PATH", () => {
  const find = (stdout: string, code = 0, stderr = "") => {
    const programs = new ScriptedPrograms();
    programs.answer = () => ({ code, stdout, stderr });
    return findPacker(programs, "/repository");
  };
  const refusal = (work: Promise<unknown>): Promise<KilnError> =>
    work.then(
      () => Promise.reject(new Error("it was accepted")),
      (error: KilnError) => error,
    );

  test.each([
    ["Packer v1.6.0\n", "1.6.0", false],
    ["Packer v1.6.6\n\nYour version of Packer is out of date!\n", "1.6.6", false],
    ["Packer v1.7.0\n", "1.7.0", true],
    ["Packer v1.16.0-dev (abc)\n", "1.16.0", true],
    ["Packer v2.0.0\n", "2.0.0", true],
    ["Packer v1.10.3\n", "1.10.3", true],
  ])("%j is version %s, with packer init: %s", async (stdout, version, hasInit) => {
    expect(await find(stdout)).toStrictEqual({ version, hasInit });
  });

  test("is asked without telemetry, in the repository's folder", async () => {
    const programs = new ScriptedPrograms();
    programs.answer = () => ({ code: 0, stdout: "Packer v1.16.0\n", stderr: "" });
    await findPacker(programs, "/repository");
    expect(programs.calls).toStrictEqual([
      {
        command: "packer",
        args: ["version"],
        options: { cwd: "/repository", env: { CHECKPOINT_DISABLE: "1", PACKER_NO_COLOR: "1" } },
      },
    ]);
  });

  test.each([
    ["Packer v1.5.6\n", "1.5.6"],
    ["Packer v0.12.3\n", "0.12.3"],
  ])("%j is too old", async (stdout, version) => {
    const error = await refusal(find(stdout));
    expect(error.message).toBe(`Packer ${version} is too old: Kiln needs 1.6.0 or newer`);
    expect(error.next).toContain("hashicorp/setup-packer");
  });

  test.each([
    ["cracklib's", "", 1, "skipping line: 1\n", "`packer version` ended with 1: skipping line: 1"],
    ["another program's", "pkr 3\n", 0, "", "`packer version` ended with 0: pkr 3"],
    [
      "a Packer that fails",
      "Packer v1.16.0\n",
      2,
      "boom",
      "`packer version` ended with 2: Packer v1.16.0\nboom",
    ],
  ])("%s is not HashiCorp's", async (_, stdout, code, stderr, state) => {
    const error = await refusal(find(stdout, code, stderr));
    expect(error.message).toBe("The `packer` on this runner's PATH is not HashiCorp's Packer");
    expect(error.state).toBe(state);
  });

  test("is missing", async () => {
    const error = await refusal(findPacker(new ScriptedPrograms(), "/repository"));
    expect(error.message).toBe("Packer is not installed on this runner");
    expect(error.next).toContain("hashicorp/setup-packer");
  });
});

test.each([
  ["packer/web.pkr.hcl", false, false],
  ["packer/web.pkr.json", false, false],
  ["packer", true, false],
  ["packer.json", true, false],
  ["packer/web.json", false, true],
  ["packer/web.hcl", false, true],
  ["packer/pkr.hcl", false, true],
])("%s (folder: %s) is a legacy template: %s", (template, isFolder, legacy) => {
  expect(isLegacyTemplate(template, isFolder)).toBe(legacy);
});

describe("where Packer runs", () => {
  let folder: string;
  const recipe = (more: Partial<ImageRecipe>): ImageRecipe => ({
    template: "packer/web.pkr.hcl",
    inputs: undefined,
    vars: {},
    varFiles: ["packer/web.pkrvars.hcl", "common.pkrvars.hcl"],
    maxAge: undefined,
    ...more,
  });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "unit-packer-"));
    mkdirSync(join(folder, "packer/images"), { recursive: true });
    mkdirSync(join(folder, "packer-old"));
    writeFileSync(join(folder, "packer/web.pkr.hcl"), "");
    symlinkSync("packer/images", join(folder, "linked"));
    symlinkSync("/", join(folder, "outside"));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test("is the repository's root by default", async () => {
    expect(await invocationOf(recipe({}), folder)).toStrictEqual({
      cwd: folder,
      template: "packer/web.pkr.hcl",
      varFiles: ["packer/web.pkrvars.hcl", "common.pkrvars.hcl"],
      selection: [],
    });
  });

  test.each([
    [".", ".", "packer/web.pkr.hcl", ["packer/web.pkrvars.hcl", "common.pkrvars.hcl"]],
    ["packer", "packer", "web.pkr.hcl", ["web.pkrvars.hcl", "../common.pkrvars.hcl"]],
    ["packer/images", "packer/images", "../web.pkr.hcl", ["../web.pkrvars.hcl", "../../common.pkrvars.hcl"]],
    [
      "packer-old",
      "packer-old",
      "../packer/web.pkr.hcl",
      ["../packer/web.pkrvars.hcl", "../common.pkrvars.hcl"],
    ],
    // A link to a folder at another depth: `..` starts from where it leads to.
    ["linked", "packer/images", "../web.pkr.hcl", ["../web.pkrvars.hcl", "../../common.pkrvars.hcl"]],
  ])("%s: the paths start there", async (workingDirectory, cwd, template, varFiles) => {
    expect(await invocationOf(recipe({ workingDirectory }), folder)).toStrictEqual({
      cwd: join(folder, cwd),
      template,
      varFiles,
      selection: [],
    });
  });

  test("a template that is the working directory itself is `.`", async () => {
    const { template } = await invocationOf(
      recipe({ template: "packer", workingDirectory: "packer" }),
      folder,
    );
    expect(template).toBe(".");
  });

  test("a template whose name begins like an option is no option", async () => {
    const { template } = await invocationOf(
      recipe({ template: "packer/-x.pkr.hcl", workingDirectory: "packer" }),
      folder,
    );
    expect(template).toBe("./-x.pkr.hcl");
  });

  test.each(["missing", "packer/web.pkr.hcl", "outside", "outside/tmp"])(
    "%s is refused",
    async (workingDirectory) => {
      await expect(invocationOf(recipe({ workingDirectory }), folder)).rejects.toThrow(
        `The working-directory ${workingDirectory} is not a folder of the repository`,
      );
    },
  );

  test("only and except are options", async () => {
    const { selection } = await invocationOf(
      recipe({ only: ["amazon-ebs.web", "*.api"], except: ["amazon-ebs.old"] }),
      folder,
    );
    expect(selection).toStrictEqual(["-only=amazon-ebs.web,*.api", "-except=amazon-ebs.old"]);
  });
});

const VARIABLES: Variables = {
  own: { image_name: "web-1", commit: "abc" },
  vars: { nginx: "1.26", zone: "a=b c" },
  secretVars: { npm_token: "hunter2" },
  varFiles: ["packer/common.pkrvars.hcl"],
  sensitive: new Set(),
  forms: new Map(),
};
const SECRET_FILE = "/tmp/secrets.json";

describe("variables of an HCL2 template", () => {
  test("go by environment, secrets too", () => {
    expect(passVariables(false, VARIABLES, ["other = 1\n"], SECRET_FILE)).toStrictEqual({
      args: ["-var-file=packer/common.pkrvars.hcl"],
      env: {
        PKR_VAR_image_name: "web-1",
        PKR_VAR_commit: "abc",
        PKR_VAR_nginx: "1.26",
        PKR_VAR_zone: "a=b c",
        PKR_VAR_npm_token: "hunter2",
      },
      secretFile: undefined,
    });
  });

  test("without any are Kiln's own", () => {
    const none = { ...VARIABLES, vars: {}, secretVars: {}, varFiles: [] };
    expect(passVariables(false, none, [], SECRET_FILE)).toStrictEqual({
      args: [],
      env: { PKR_VAR_image_name: "web-1", PKR_VAR_commit: "abc" },
      secretFile: undefined,
    });
  });

  test("the user's win over Kiln's, secrets over both", () => {
    const { env } = passVariables(
      false,
      {
        own: { a: "own", b: "own", c: "own" },
        vars: { b: "var", c: "var" },
        secretVars: { c: "secret" },
        varFiles: [],
        sensitive: new Set(),
        forms: new Map(),
      },
      [],
      SECRET_FILE,
    );
    expect(env).toStrictEqual({ PKR_VAR_a: "own", PKR_VAR_b: "var", PKR_VAR_c: "secret" });
  });

  test.each([
    ['nginx = "1.0"\n', true],
    ['a = 1\n  nginx="1.0"\n', true],
    ['"nginx" = "1.0"\n', true],
    ['{\n  "nginx": "1.0"\n}\n', true],
    ['{"a":"1","nginx":"1.0"}', true],
    ['# nginx = "1.0"\n', false],
    ['nginx_version = "1.0"\n', false],
    ['my_nginx = "1.0"\n', false],
    ["", false],
  ])("one that a variable file sets too (%j) goes by argument besides: %s", (text, besides) => {
    expect(passVariables(false, VARIABLES, ["x = 1\n", text], SECRET_FILE).args).toStrictEqual(
      besides
        ? ["-var-file=packer/common.pkrvars.hcl", "-var", "nginx=1.26"]
        : ["-var-file=packer/common.pkrvars.hcl"],
    );
  });

  test("a secret is no argument, also where a variable file sets it", () => {
    const { args } = passVariables(false, VARIABLES, ['npm_token = "placeholder"\n'], SECRET_FILE);
    expect(args.join(" ")).not.toContain("hunter2");
  });
});

describe("values of an HCL2 template arrive as data", () => {
  const pass = (value: string, forms: Variables["forms"]): PackerCall =>
    passVariables(
      false,
      { ...VARIABLES, vars: { x: value }, secretVars: { y: value }, forms },
      ["x = []\n"],
      SECRET_FILE,
    );

  test.each<[form: "text" | "expression" | undefined, value: string, given: string]>([
    ["text", '["${HOME}"]', '["${HOME}"]'],
    ["text", "a ${HOME}", "a ${HOME}"],
    ["expression", '["${HOME}"]', '["$${HOME}"]'],
    ["expression", "yes", '"yes"'],
    [undefined, '["${HOME}"]', '["$${HOME}"]'],
    [undefined, '{ "a": "b" }', '{ "a": "b" }'],
    [undefined, "a ${HOME}", "a ${HOME}"],
  ])("%s: %s is given as %s, by environment and by argument", (form, value, given) => {
    const forms = new Map(form === undefined ? [] : ["x", "y"].map((name) => [name, form] as const));
    const { args, env } = pass(value, forms);
    expect(args.slice(1)).toStrictEqual(["-var", `x=${given}`]);
    expect([env["PKR_VAR_x"], env["PKR_VAR_y"]]).toStrictEqual([given, given]);
  });
});

describe("a variable of vars that the template marks sensitive", () => {
  const marked = { ...VARIABLES, sensitive: new Set(["zone"]) };

  test("is no argument in HCL2", () => {
    const { args, env } = passVariables(false, marked, ['zone = "x"\n'], SECRET_FILE);
    expect(args).toStrictEqual(["-var-file=packer/common.pkrvars.hcl"]);
    expect(env["PKR_VAR_zone"]).toBe("a=b c");
  });

  test("is in the private file of a legacy template", () => {
    const { args, secretFile } = passVariables(true, marked, [], SECRET_FILE);
    expect(args.join(" ")).not.toContain("zone");
    expect(secretFile).toBe('{"zone":"a=b c","npm_token":"hunter2"}');
  });
});

describe("variables of a legacy template", () => {
  test("go by argument, secrets in a private file", () => {
    expect(passVariables(true, VARIABLES, ["{}"], SECRET_FILE)).toStrictEqual({
      args: [
        "-var-file=packer/common.pkrvars.hcl",
        "-var",
        "image_name=web-1",
        "-var",
        "commit=abc",
        "-var",
        "nginx=1.26",
        "-var",
        "zone=a=b c",
        `-var-file=${SECRET_FILE}`,
      ],
      env: {},
      secretFile: '{"npm_token":"hunter2"}',
    });
  });

  test("without secrets need no file", () => {
    const call = passVariables(true, { ...VARIABLES, secretVars: {} }, [], SECRET_FILE);
    expect(call.secretFile).toBeUndefined();
    expect(call.args.filter((argument) => argument.includes(SECRET_FILE))).toStrictEqual([]);
  });
});
