import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ImageRecipe } from "../../../src/domain/application.ts";
import { readTemplateFacts } from "../../../src/image/template/template-facts.ts";
import { recipeOf } from "../git-checkout.ts";

/** The files that a bake of a template writes into the repository. */

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kiln-outputs-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function outputsOf(text: string, changes: Partial<ImageRecipe> = {}): Promise<readonly string[]> {
  const recipe = recipeOf(changes);
  const place = join(folder, recipe.template);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, text);
  return (await readTemplateFacts(recipe, folder)).outputs;
}

test.each<[what: string, build: string, outputs: readonly string[]]>([
  ["a manifest", 'post-processor "manifest" { output = "out/manifest.json" }', ["out/manifest.json"]],
  ["a manifest by its default name", 'post-processor "manifest" {}', ["packer-manifest.json"]],
  [
    "a manifest beside the template",
    'post-processor "manifest" { output = "${path.root}/manifest.json" }',
    ["packer/manifest.json"],
  ],
  [
    "several, in a chain",
    'post-processors {\n post-processor "manifest" { output = "a.json" }\n post-processor "checksum" { output = "a.sum" }\n }',
    ["a.json", "a.sum"],
  ],
  [
    "a download",
    'provisioner "file" {\n direction = "download"\n source = "/etc/os-release"\n destination = "packer/os-release"\n }',
    ["packer/os-release"],
  ],
  [
    "an upload, which writes nothing here",
    'provisioner "file" {\n source = "app"\n destination = "packer/app"\n }',
    [],
  ],
  [
    "a download into a folder: its name there is another's",
    'provisioner "file" {\n direction = "download"\n source = "/etc/os-release"\n destination = "packer/"\n }',
    [],
  ],
  [
    "a name that is known during the bake only",
    'post-processor "checksum" { output = "{{.BuildName}}.sum" }',
    [],
  ],
  ["a name that a variable has", 'post-processor "manifest" { output = var.unknown }', []],
  ["a file elsewhere", 'post-processor "manifest" { output = "/tmp/manifest.json" }', []],
  ["a post-processor that writes none", 'post-processor "shell-local" { inline = ["true"] }', []],
])("%s", async (_, build, outputs) => {
  expect(await outputsOf(`build {\n  sources = ["null.x"]\n  ${build}\n}\n`)).toStrictEqual(outputs);
});

test("relative to Packer's working directory", async () => {
  const text = 'build { post-processor "manifest" { output = "manifest.json" } }';
  expect(await outputsOf(text, { workingDirectory: "packer" })).toStrictEqual(["packer/manifest.json"]);
});

test("of a legacy template", async () => {
  const text = JSON.stringify({
    builders: [{ type: "amazon-ebs" }],
    "post-processors": ["manifest", [{ type: "manifest", output: "b.json" }]],
  });
  expect(await outputsOf(text, { template: "packer/web.json" })).toStrictEqual([
    "packer-manifest.json",
    "b.json",
  ]);
});
