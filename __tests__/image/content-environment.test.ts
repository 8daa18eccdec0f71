import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { publicEnvironment } from "../../src/action/known-secrets.ts";
import { readContent } from "../../src/image/content/image-content.ts";
import { GitCheckout, recipeOf } from "./git-checkout.ts";
import { realPrograms } from "./programs.ts";

/** The variables of the environment that decide an image. */

let checkout: GitCheckout;

beforeEach(() => {
  checkout = new GitCheckout();
});

afterEach(() => checkout[Symbol.dispose]());

const TEMPLATES: Readonly<Record<string, string>> = {
  "packer/web.pkr.hcl": `
variable "zone" { default = env("ZONE") }
variable "both" { default = "\${env("FIRST")}-\${env("SECOND")}" }
variable "image_name" { type = string }
variable "image_version" { default = "1.27.0" }
variable "commit" { default = env("REVISION") }
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
): Promise<Readonly<Record<string, string>>> {
  checkout.write(template, TEMPLATES[template] ?? "");
  if (varFile !== undefined) checkout.write("a.pkrvars.hcl", varFile);
  const recipe = recipeOf({ template, vars, varFiles: varFile === undefined ? [] : ["a.pkrvars.hcl"] });
  const { folder } = checkout;
  const order = { recipe, secretVars, sensitive: new Set(["pin"]), environment: env, folder };
  return (await readContent({ ...order, subprocess: realPrograms })).content.environment;
}

describe("of an HCL2 template", () => {
  test("what defaults read counts, as empty where it is not set", async () => {
    expect(await decided({ ZONE: "a", SECOND: "2", OTHER: "x" })).toStrictEqual({
      ZONE: "a",
      FIRST: "",
      SECOND: "2",
      REVISION: "",
    });
  });

  test("a variable that Kiln would set, and leaves to its own default, counts like any other", async () => {
    expect(await decided({ PKR_VAR_image_version: "1.28.0", REVISION: "1" })).toMatchObject({
      PKR_VAR_image_version: "1.28.0",
      REVISION: "1",
    });
  });

  test("PKR_VAR_* counts in place of the default that it replaces", async () => {
    expect(await decided({ ZONE: "a", PKR_VAR_zone: "b", PKR_VAR_both: "c" })).toStrictEqual({
      PKR_VAR_zone: "b",
      PKR_VAR_both: "c",
      REVISION: "",
    });
  });

  test.each<[what: string, given: Given]>([
    ["vars", { vars: { zone: "x", both: "y" } }],
    ["a secret", { secretVars: ["zone", "both"] }],
    ["a variable file", { varFile: 'zone = "x"\nboth = "y"\n' }],
  ])("what %s sets has no value from the environment", async (_, given) => {
    expect(await decided({ ZONE: "a", PKR_VAR_zone: "b" }, given)).toStrictEqual({ REVISION: "" });
  });

  test("sensitive, undeclared and Kiln's own variables do not count", async () => {
    const env = { PKR_VAR_pin: "1", PIN: "1", PKR_VAR_other: "1", PKR_VAR_image_name: "mine" };
    expect(await decided(env)).toStrictEqual({ ZONE: "", FIRST: "", SECOND: "", REVISION: "" });
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
