import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../../src/domain/application.ts";
import {
  checkTemplate,
  type Given,
  type TemplateCheck,
  type TemplateFindings,
} from "../../../src/image/template/template-checks.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-checks-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

type More = Partial<Omit<TemplateCheck, "recipe">> & { readonly recipe?: Partial<ImageRecipe> };

/** Checks files of a repository; the template is the folder packer, unless the recipe says otherwise. */
function check(files: Readonly<Record<string, string>>, more: More = {}): Promise<TemplateFindings> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return checkTemplate({
    folder,
    given: new Map(),
    environment: {},
    region: "eu-west-1",
    targetRegions: new Set(["eu-west-1", "us-east-1"]),
    onlyPlace: "kiln.yml:4:3",
    ...more,
    recipe: {
      template: "packer",
      inputs: undefined,
      vars: {},
      varFiles: [],
      maxAge: undefined,
      ...more.recipe,
    },
  });
}

const messages = ({ problems }: TemplateFindings): string[] =>
  problems.map(({ where, message }) => `${where}: ${message}`);

/** What of each problem's message matches; one that does not match, whole. */
const matching = (findings: TemplateFindings, pattern: RegExp): string[] =>
  messages(findings).map((message) => pattern.exec(message)?.[0] ?? message);

/** A template with one builder. */
const hcl = (attributes: string, variables = 'variable "image_name" {}\n'): Record<string, string> => ({
  "packer/web.pkr.hcl": `${variables}source "amazon-ebs" "web" {\n${attributes}\n}\nbuild {\n  sources = ["source.amazon-ebs.web"]\n}\n`,
});
const legacy = (builder: object, variables: object = { image_name: "" }): Record<string, string> => ({
  "web.json": JSON.stringify({ variables, builders: [{ type: "amazon-ebs", ...builder }] }),
});
const LEGACY: More = { recipe: { template: "web.json" } };
const givenBy = (where: string, byStep: boolean, values: Record<string, string>): Map<string, Given> =>
  new Map(Object.entries(values).map(([name, value]) => [name, { where, byStep, isSecret: false, value }]));

const SECRET: Given = { where: "input secret-vars", byStep: true, isSecret: true, value: "x{{y" };

test("a template as the README has it is fine", async () => {
  const files = hcl(
    "  ami_name = var.image_name\n  tags = var.image_tags",
    'variable "image_name" { type = string }\nvariable "image_version" { type = string }\nvariable "commit" { type = string }\nvariable "image_tags" {\n  type = map(string)\n  default = {}\n}\nvariable "inventory_file" { default = "" }\n',
  );
  expect(await check(files)).toStrictEqual({ problems: [], notices: [] });
});

const ROOT = join(import.meta.dirname, "../../..");

test.each<readonly [repository: string, template: string]>([
  ["examples/web", "packer/web.pkr.hcl"],
  ...["two-images", "tells-all", "no-image-tags", "looks-around", "legacy.json"].map(
    (name) => ["__tests__/fixtures/templates", name] as const,
  ),
])("%s/%s is fine", async (repository, template) => {
  const recipe = { template };
  expect(await check({}, { folder: join(ROOT, repository), recipe })).toStrictEqual({
    problems: [],
    notices: [],
  });
});

describe("a variable that Kiln sets", () => {
  const declared =
    'variable "image_name" {}\nvariable "commit" { default = "" }\nvariable "image_tags" { default = {} }\n';
  const files = hcl("  ami_name = var.image_name", declared);

  test("is set by no variable file, neither one of the config file's nor one that Packer loads by itself", async () => {
    const findings = await check(
      {
        ...files,
        "packer/a.auto.pkrvars.hcl": 'nginx = "1"\nimage_name = "nginx"\n',
        "packer/b.auto.pkrvars.json": '{\n  "commit": "abc"\n}',
        "common.pkrvars.hcl": "image_tags = {}\n",
        "unused.pkrvars.hcl": 'image_name = "x"\n',
      },
      { recipe: { varFiles: ["common.pkrvars.hcl"] } },
    );
    expect(findings.problems.map(({ where }) => where)).toStrictEqual([
      "packer/a.auto.pkrvars.hcl:2:1",
      "packer/b.auto.pkrvars.json:2:3",
      "common.pkrvars.hcl:1:1",
    ]);
    expect(findings.problems[0]?.message).toContain(
      'sets "image_name", which Kiln sets for packer: remove it here',
    );
  });

  test("is set by no vars", async () => {
    const given = new Map([
      ...givenBy("kiln.yml:9:5", false, { image_name: "nginx", nginx: "1" }),
      ["commit", SECRET],
    ]);
    expect(
      (await check(files, { given, recipe: { vars: { image_name: "nginx", nginx: "1" } } })).problems.map(
        ({ where }) => where,
      ),
    ).toStrictEqual(["kiln.yml:9:5", "input secret-vars"]);
  });

  test("may be set anywhere if the template does not declare it", async () => {
    const given = givenBy("kiln.yml:9:5", false, { image_name: "nginx" });
    const none = hcl('  ami_name = "web-{{timestamp}}"', "");
    expect(messages(await check(none, { given, recipe: { vars: { image_name: "nginx" } } }))).toStrictEqual(
      [],
    );
  });

  test.each([
    ["a default", 'variable "image_name" { default = "nginx" }\n'],
    ["the environment's", 'variable "image_name" { default = env("IMAGE") }\n'],
    ["a block of variables", 'variables { image_name = "nginx" }\n'],
  ])("with a value of its own (%s) is left to the template, and may be set", async (_, variable) => {
    const given = givenBy("kiln.yml:9:5", false, { image_name: "nginx" });
    const own = hcl('  ami_name = "${var.image_name}-{{timestamp}}"', variable);
    const { problems, notices } = await check(own, { given, recipe: { vars: { image_name: "nginx" } } });
    expect(problems).toStrictEqual([]);
    expect(notices).toStrictEqual([
      expect.stringMatching(
        /^packer\/web\.pkr\.hcl:1:\d+: image_name has a default in the template, so Kiln does not set it$/,
      ),
    ]);
  });

  test("wins over the step's environment, with a notice", async () => {
    const found = await check(files, { environment: { PKR_VAR_image_name: "nginx", PKR_VAR_nginx: "1" } });
    expect(found).toStrictEqual({
      problems: [],
      notices: ["environment variable PKR_VAR_image_name: Packer gets the value that Kiln sets instead"],
    });
  });

  test("in a legacy template is the same", async () => {
    const findings = await check(
      {
        ...legacy({ ami_name: "{{user `image_name`}}" }, { image_name: "", image_version: "1.27.0" }),
        "v.json": '{"image_name": "x"}',
      },
      { recipe: { template: "web.json", varFiles: ["v.json"] } },
    );
    expect(findings.problems.map(({ where }) => where)).toStrictEqual(["v.json:1:2"]);
    expect(findings.notices).toHaveLength(1);
  });
});

describe("force_deregister", () => {
  const TWO = 'variable "a" { default = true }\nvariable "b" { default = false }\n';

  test.each<
    [what: string, value: string, variables: string, more: More, refused: "is" | "may be" | undefined]
  >([
    ["true", "true", "", {}, "is"],
    ["false", "false", "", {}, undefined],
    ["null", "null", "", {}, undefined],
    ["a text", '"true"', "", {}, "is"],
    ["a default", "var.force", 'variable "force" { default = true }\n', {}, "is"],
    [
      "a default that vars changes",
      "var.force",
      'variable "force" {\n  type = bool\n  default = true\n}\n',
      { recipe: { vars: { force: "false" } } },
      undefined,
    ],
    [
      "vars",
      "var.force",
      'variable "force" {\n  type = bool\n  default = false\n}\n',
      { recipe: { vars: { force: "true" } } },
      "is",
    ],
    [
      "the environment",
      "var.force",
      'variable "force" {\n  type = bool\n  default = false\n}\n',
      { environment: { PKR_VAR_force: "true" } },
      "is",
    ],
    ["a local", "local.force", "locals { force = true }\n", {}, "is"],
    [
      "a default that is null",
      "var.force",
      'variable "force" {\n  type = bool\n  default = null\n}\n',
      {},
      undefined,
    ],
    ["two conditions, one of them false", "var.a && var.b", TWO, {}, undefined],
    ["two conditions, both true", "var.a && var.a", TWO, {}, "is"],
    ["an alternative", "var.b || var.a", TWO, {}, "is"],
    ["an alternative, both false", "var.b || var.b", TWO, {}, undefined],
    ["a condition that decides alone", "var.b && data.http.x.body", TWO, {}, undefined],
    ["a condition that does not decide", "var.a && data.http.x.body", TWO, {}, "may be"],
    ["what nobody knows", 'data.http.x.body == "y"', "", {}, "may be"],
    [
      "a secret",
      "var.force",
      'variable "force" { default = false }\n',
      { given: new Map([["force", SECRET]]) },
      "may be",
    ],
  ])("%s", async (_, value, variables, more, refused) => {
    const files = hcl(
      `  ami_name = var.image_name\n  force_deregister = ${value}`,
      `variable "image_name" {}\n${variables}`,
    );
    const found = matching(await check(files, more), /force_deregister (?:is|may be) true/);
    expect(found).toStrictEqual(refused === undefined ? [] : [`force_deregister ${refused} true`]);
  });

  test.each([[true], ["true"], ["{{user `force`}}"]])("%j in a legacy template", async (value) => {
    const files = legacy(
      { ami_name: "{{user `image_name`}}", force_deregister: value },
      { image_name: "", force: "true" },
    );
    expect(messages(await check(files, LEGACY))).toStrictEqual([
      expect.stringContaining("force_deregister is true"),
    ]);
  });

  test("of a build that does not run does not matter", async () => {
    const files = {
      "packer/web.pkr.hcl":
        'variable "image_name" {}\nsource "amazon-ebs" "web" { ami_name = var.image_name }\nsource "amazon-ebs" "old" {\n  ami_name = "x"\n  force_deregister = true\n}\nbuild {\n  sources = ["amazon-ebs.web", "amazon-ebs.old"]\n}\n',
    };
    expect(messages(await check(files, { recipe: { only: ["amazon-ebs.web"] } }))).toStrictEqual([]);
    expect(messages(await check(files, { recipe: { except: ["*.old"] } }))).toStrictEqual([]);
    expect(messages(await check(files))).toHaveLength(2);
  });
});

describe("ami_name", () => {
  test.each<[what: string, value: string, variables: string, more: More, refused: boolean]>([
    ["a literal", '"web"', "", {}, true],
    ["Kiln's name", "var.image_name", 'variable "image_name" {}\n', {}, false],
    ["Kiln's name and more", '"x-${var.image_name}"', 'variable "image_name" {}\n', {}, false],
    ["Kiln's version", '"web-${var.image_version}"', 'variable "image_version" {}\n', {}, false],
    ["the template's own name", "var.image_name", 'variable "image_name" { default = "nginx" }\n', {}, true],
    ["a default", '"web-${var.app}"', 'variable "app" { default = "x" }\n', {}, true],
    [
      "the config file's vars",
      '"web-${var.app}"',
      'variable "app" {}\n',
      { recipe: { vars: { app: "x" } }, given: givenBy("kiln.yml:3:1", false, { app: "x" }) },
      true,
    ],
    [
      "the step's vars",
      '"web-${var.app}"',
      'variable "app" {}\n',
      { recipe: { vars: { app: "x" } }, given: givenBy("input vars", true, { app: "x" }) },
      false,
    ],
    [
      "the environment",
      '"web-${var.app}"',
      'variable "app" { default = "x" }\n',
      { environment: { PKR_VAR_app: "y" } },
      false,
    ],
    [
      "what env() gives",
      '"web-${var.app}"',
      'variable "app" { default = env("GITHUB_SHA") }\n',
      { environment: { GITHUB_SHA: "abc" } },
      false,
    ],
    ["a timestamp of Packer's", '"web-{{timestamp}}"', "", {}, false],
    ["a timestamp of HCL's", '"web-${formatdate("YYYYMMDD", timestamp())}"', "", {}, false],
    [
      "a local with a timestamp",
      '"web-${local.now}"',
      'locals { now = regex_replace(timestamp(), "[- TZ:]", "") }\n',
      {},
      false,
    ],
    ["a fixed local", '"web-${local.app}"', 'locals { app = "x" }\n', {}, true],
    ["a unique id", '"web-${uuidv4()}"', "", {}, false],
  ])("%s: %s", async (_, value, variables, more, refused) => {
    const found = await check(hcl(`  ami_name = ${value}`, variables), more);
    const pattern = /^packer\/web\.pkr\.hcl:\d+:3: ami_name is "[^"]+" for every bake/;
    expect(matching(found, pattern).map((message) => message.replace(/.*: |".*"/g, ""))).toStrictEqual(
      refused ? ["ami_name is  for every bake"] : [],
    );
  });

  test("that is the template's own name says why Kiln does not set it", async () => {
    const [found] = messages(
      await check(hcl("  ami_name = var.image_name", 'variable "image_name" { default = "nginx" }\n')),
    );
    expect(found).toContain(
      "Kiln does not set image_name here, because it has a default (packer/web.pkr.hcl:1:1)",
    );
  });

  test.each([
    ["web", true],
    ["{{user `image_name`}}", false],
    ["web-{{user `app`}}", true],
    ["web-{{timestamp}}", false],
    ['web-{{isotime "2006"}}', false],
    ["web-{{user `build`}}", false],
  ])("%s in a legacy template", async (name, refused) => {
    const files = legacy({ ami_name: name }, { image_name: "", app: "x", build: "{{env `GITHUB_RUN_ID`}}" });
    expect(messages(await check(files, LEGACY))).toHaveLength(refused ? 1 : 0);
  });

  test("of another kind of builder does not matter", async () => {
    const files = {
      "packer/web.pkr.hcl":
        'variable "image_name" {}\nsource "null" "x" {\n  ami_name = "web"\n  region = "mars-1"\n}\nsource "amazon-ebs" "web" { ami_name = var.image_name }\nbuild {\n  sources = ["null.x", "amazon-ebs.web"]\n}\n',
    };
    expect(messages(await check(files))).toStrictEqual([]);
  });
});

describe("the region", () => {
  test.each<[what: string, attributes: string, variables: string, more: More, refused: string | undefined]>([
    ["none", "", "", {}, undefined],
    ["where images are baked", 'region = "eu-west-1"', "", {}, undefined],
    ["where no target is", 'region = "ap-south-1"', "", {}, "ap-south-1"],
    ["of another target", 'region = "us-east-1"', "", {}, "us-east-1"],
    [
      "of another target, with a copy",
      'region = "us-east-1"\n  ami_regions = ["eu-west-1"]',
      "",
      {},
      undefined,
    ],
    [
      "where no target is, with a copy",
      'region = "ap-south-1"\n  ami_regions = ["eu-west-1"]',
      "",
      {},
      undefined,
    ],
    [
      "that is not saved",
      'region = "eu-west-1"\n  skip_save_build_region = true\n  ami_regions = ["us-east-1"]',
      "",
      {},
      "us-east-1",
    ],
    [
      "by a default",
      "region = var.region",
      'variable "region" { default = "ap-south-1" }\n',
      {},
      "ap-south-1",
    ],
    [
      "by vars",
      "region = var.region",
      'variable "region" { default = "eu-west-1" }\n',
      { recipe: { vars: { region: "ap-south-1" } } },
      "ap-south-1",
    ],
    [
      "by the environment, which Kiln sets",
      "region = var.region",
      'variable "region" { default = env("AWS_REGION") }\n',
      { environment: { AWS_REGION: "ap-south-1" } },
      undefined,
    ],
    ["by what nobody knows", "region = data.x.y.z", "", {}, undefined],
    [
      "by a secret",
      "region = var.region",
      'variable "region" {}\n',
      { given: new Map([["region", SECRET]]) },
      undefined,
    ],
  ])("%s", async (_, attributes, variables, more, refused) => {
    const files = hcl(
      `  ami_name = var.image_name\n  ${attributes}`,
      `variable "image_name" {}\n${variables}`,
    );
    const found = matching(await check(files, more), /makes its image in .*, but it is needed in [\w-]+/);
    expect(found).toStrictEqual(
      refused === undefined ? [] : [`makes its image in ${refused}, but it is needed in eu-west-1`],
    );
  });

  test("of one of two builders, each with its own", async () => {
    const source = (name: string, region: string): string =>
      `source "amazon-ebs" "${name}" {\n  ami_name = var.image_name\n  region = "${region}"\n}\n`;
    const build = 'variable "image_name" {}\nbuild {\n  sources = ["amazon-ebs.a", "amazon-ebs.b"]\n}\n';
    const both = (a: string, b: string) => ({
      "packer/web.pkr.hcl": `${build}${source("a", a)}${source("b", b)}`,
    });
    expect(messages(await check(both("eu-west-1", "us-east-1")))).toStrictEqual([]);
    expect(messages(await check(both("eu-west-1", "ap-south-1")))).toStrictEqual([
      expect.stringMatching(/^packer\/web\.pkr\.hcl:11:3: amazon-ebs\.b makes its image in ap-south-1/),
    ]);
  });

  test("what a build adds to a source counts", async () => {
    const files = {
      "packer/web.pkr.hcl":
        'variable "image_name" {}\nsource "amazon-ebs" "web" { ami_name = var.image_name }\nbuild {\n  source "amazon-ebs.web" {\n    region = "ap-south-1"\n  }\n}\n',
    };
    expect(messages(await check(files))).toStrictEqual([
      expect.stringContaining("makes its image in ap-south-1"),
    ]);
  });

  test("copies to where no target is are a notice", async () => {
    const files = hcl('  ami_name = var.image_name\n  ami_regions = ["us-east-1", "ap-south-1"]');
    expect(await check(files)).toStrictEqual({
      problems: [],
      notices: [
        "packer/web.pkr.hcl:4:3: ami_regions makes copies in ap-south-1, where no target is. Kiln neither uses nor prunes them",
      ],
    });
  });
});

describe("a template that makes no AMI", () => {
  test("since no builder is Amazon's", async () => {
    const files = {
      "packer/web.pkr.hcl": 'source "docker" "x" {}\nbuild {\n  sources = ["docker.x"]\n}\n',
    };
    expect(messages(await check(files))).toStrictEqual([
      expect.stringMatching(/^packer\/web\.pkr\.hcl:2:1: no build that runs makes an AMI/),
    ]);
  });

  test("since Amazon's does not run", async () => {
    const files = {
      "packer/web.pkr.hcl":
        'source "docker" "x" {}\nsource "amazon-ebs" "web" {}\nbuild {\n  sources = ["docker.x", "amazon-ebs.web"]\n}\n',
    };
    expect(messages(await check(files))).toStrictEqual([]);
    expect(messages(await check(files, { recipe: { only: ["docker.x"] } }))).toHaveLength(1);
  });

  test("since it says so", async () => {
    const files = hcl("  ami_name = var.image_name\n  skip_create_ami = true");
    expect(messages(await check(files))).toStrictEqual([
      expect.stringMatching(/^packer\/web\.pkr\.hcl:4:3: skip_create_ami is true/),
    ]);
  });
});

describe("only", () => {
  const files = {
    "packer/web.pkr.hcl":
      'variable "image_name" {}\nsource "amazon-ebs" "web" { ami_name = var.image_name }\nsource "amazon-ebs" "api" { ami_name = var.image_name }\nbuild {\n  name = "all"\n  sources = ["amazon-ebs.web"]\n  source "amazon-ebs.api" { name = "backend" }\n}\n',
  };

  test.each([
    ["all.amazon-ebs.web", true],
    ["*.web", true],
    ["all.*", true],
    ["all.amazon-ebs.backend", true],
    ["amazon-ebs.web", false],
    ["web", false],
  ])("%s names a build: %s", async (pattern, matches) => {
    const found = matching(
      await check(files, { recipe: { only: [pattern] } }),
      /^kiln\.yml:4:3: "[^"]*" names no build of packer, which has: all\.amazon-ebs\.web/,
    );
    expect(found).toStrictEqual(
      matches ? [] : [`kiln.yml:4:3: "${pattern}" names no build of packer, which has: all.amazon-ebs.web`],
    );
  });

  test.each([
    ["web", true],
    ["*", false],
  ])("%s names a builder of a legacy template: %s", async (pattern, matches) => {
    const found = await check(legacy({ name: "web", ami_name: "{{user `image_name`}}" }), {
      recipe: { template: "web.json", only: [pattern] },
    });
    expect(messages(found)).toHaveLength(matches ? 0 : 1);
  });
});

describe("builds that are known during the bake only", () => {
  const sources =
    'variable "image_name" {}\nvariable "stage" {}\nsource "amazon-ebs" "web" { ami_name = var.image_name }\nsource "amazon-ebs" "old" {\n  ami_name = var.image_name\n  force_deregister = true\n}\n';

  test.each([
    ["a build's name", 'build {\n  name = var.stage\n  sources = ["amazon-ebs.web", "amazon-ebs.old"]\n}\n'],
    [
      "a build's sources",
      'build {\n  sources = ["amazon-ebs.web"]\n}\nbuild {\n  sources = ["amazon-ebs.${var.stage}"]\n}\n',
    ],
    [
      "a dynamic source",
      'build {\n  sources = ["amazon-ebs.web"]\n  dynamic "source" {\n    for_each = [var.stage]\n    labels = ["amazon-ebs.${source.value}"]\n    content {}\n  }\n}\n',
    ],
  ])("%s: any item of only may name them, and all of them are looked at", async (_, build) => {
    const found = await check({ "packer/web.pkr.hcl": sources + build }, { recipe: { only: ["prod.*"] } });
    expect(messages(found)).toStrictEqual([
      expect.stringMatching(/^packer\/web.pkr.hcl:6:3: force_deregister/),
    ]);
  });
});

test("a value with {{ is refused for a legacy template, in HCL2 it is data", async () => {
  const given = givenBy("kiln.yml:9:5", false, { greeting: "{{ .Name }}" });
  given.set("token", SECRET);
  const recipe = { vars: { greeting: "{{ .Name }}" } };
  const json = legacy({ ami_name: "{{user `image_name`}}" }, { image_name: "", greeting: "" });
  expect(messages(await check(json, { given, recipe: { ...recipe, template: "web.json" } }))).toStrictEqual([
    expect.stringMatching(/^kiln\.yml:9:5: the value of "greeting" has \{\{ in it/),
    expect.stringMatching(/^input secret-vars: the value of "token" has \{\{ in it/),
  ]);
  expect(messages(await check(hcl("  ami_name = var.image_name"), { given, recipe }))).toStrictEqual([]);
});

test("all problems are told at once", async () => {
  const files = {
    ...hcl(
      '  ami_name = "web"\n  force_deregister = true\n  region = "ap-south-1"',
      'variable "commit" {}\n',
    ),
    "packer/x.auto.pkrvars.hcl": 'commit = "x"\n',
  };
  expect(messages(await check(files))).toHaveLength(4);
});

test("a template that is missing or broken has no problems here: Packer tells them", async () => {
  expect(await check({})).toStrictEqual({ problems: [], notices: [] });
  expect(await check({ "packer/web.pkr.hcl": 'source "amazon-ebs" "web" {\n' })).toStrictEqual({
    problems: [],
    notices: [],
  });
});
