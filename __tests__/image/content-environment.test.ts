import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { publicEnvironment } from "../../src/action/known-secrets.ts";
import { decidingEnvironment } from "../../src/image/content/environment.ts";
import { readTemplateFacts } from "../../src/image/template/template-facts.ts";
import { recipeOf } from "./git-checkout.ts";

/** The variables of the environment that decide an image. */

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kiln-environment-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const TEMPLATES: Readonly<Record<string, string>> = {
  "packer/web.pkr.hcl": `
variable "zone" { default = env("ZONE") }
variable "both" { default = "\${env("FIRST")}-\${env("SECOND")}" }
variable "image_name" { type = string }
variable "pin" {
  default   = env("PIN")
  sensitive = true
}
`,
  "packer/web.json": JSON.stringify({
    variables: { zone: "{{env `ZONE`}}", pin: "{{env `PIN`}}", plain: "x" },
    "sensitive-variables": ["pin"],
    builders: [],
  }),
};

interface Given {
  readonly template?: string;
  readonly vars?: Readonly<Record<string, string>>;
  readonly secretVars?: readonly string[];
  readonly varFile?: string;
}

async function decided(
  env: Readonly<Record<string, string>>,
  { template = "packer/web.pkr.hcl", vars = {}, secretVars = [], varFile }: Given = {},
): Promise<Record<string, string>> {
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  write(template, TEMPLATES[template] ?? "");
  if (varFile !== undefined) write("a.pkrvars.hcl", varFile);
  const recipe = recipeOf({ template, vars, varFiles: varFile === undefined ? [] : ["a.pkrvars.hcl"] });
  return decidingEnvironment(await readTemplateFacts(recipe, folder), recipe, secretVars, env);
}

describe("of an HCL2 template", () => {
  test("what defaults read counts, as empty where it is not set", async () => {
    expect(await decided({ ZONE: "a", SECOND: "2", OTHER: "x" })).toStrictEqual({
      ZONE: "a",
      FIRST: "",
      SECOND: "2",
    });
  });

  test("PKR_VAR_* counts in place of the default that it replaces", async () => {
    expect(await decided({ ZONE: "a", PKR_VAR_zone: "b", PKR_VAR_both: "c" })).toStrictEqual({
      PKR_VAR_zone: "b",
      PKR_VAR_both: "c",
    });
  });

  test.each<[what: string, given: Given]>([
    ["vars", { vars: { zone: "x", both: "y" } }],
    ["a secret", { secretVars: ["zone", "both"] }],
    ["a variable file", { varFile: 'zone = "x"\nboth = "y"\n' }],
  ])("what %s sets has no value from the environment", async (_, given) => {
    expect(await decided({ ZONE: "a", PKR_VAR_zone: "b" }, given)).toStrictEqual({});
  });

  test("sensitive, undeclared and Kiln's own variables do not count", async () => {
    const env = { PKR_VAR_pin: "1", PIN: "1", PKR_VAR_other: "1", PKR_VAR_image_name: "mine" };
    expect(await decided(env)).toStrictEqual({ ZONE: "", FIRST: "", SECOND: "" });
  });
});

test("a legacy template reads what its defaults name, and no PKR_VAR_*", async () => {
  const env = { ZONE: "a", PIN: "1", PKR_VAR_zone: "b", PKR_VAR_plain: "c" };
  expect(await decided(env, { template: "packer/web.json" })).toStrictEqual({ ZONE: "a" });
});

test("the environment that a digest may have holds no secret, and nothing of the step itself", () => {
  const env = {
    GITHUB_TOKEN: "ghs_1",
    AWS_SECRET_ACCESS_KEY: "k",
    PKR_VAR_DB_PASSWORD: "hunter2-hunter2",
    "INPUT_SECRET-VARS": "a=b",
    STATE_x: "y",
    PKR_VAR_zone: "a",
    HOME: "/root",
  };
  expect(publicEnvironment(env)).toStrictEqual({ PKR_VAR_zone: "a", HOME: "/root" });
});
