import Ajv from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { between, generate, inputsTable, staleFiles } from "../../script/generate.ts";
import { readText } from "./markdown.ts";

test("generated files are current", async () => {
  expect(
    (await staleFiles()).map(({ path }) => path),
    "run `npm run generate`",
  ).toEqual([]);
});

test("generating is deterministic", async () => {
  expect(await generate()).toEqual(await generate());
});

test("the schema of the config file takes the example, and refuses an unknown key", () => {
  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
    JSON.parse(readText("schemas/config.schema.json")) as object,
  );
  const config = parse(readText("examples/web/.github/kiln.yml")) as object;
  expect(validate(config), JSON.stringify(validate.errors)).toBe(true);
  expect(validate({ ...config, enviroments: {} })).toBe(false);
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
}

/** `image.vars`, `environments.<name>.branches`: the keys as README's table writes them. */
function keysOf(schema: Schema, path = ""): string[] {
  const properties = Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => {
    const below = keysOf(inner, `${path}${key}.`);
    return below.length > 0 ? below : [`${path}${key}`];
  });
  const { additionalProperties: map } = schema;
  return typeof map === "object" ? [...properties, ...keysOf(map, `${path}<name>.`)] : properties;
}

test("README's table has every key of the config file, and no other", () => {
  const section = /## The config file\n([\s\S]*?)\n## /.exec(readText("README.md"))?.[1] ?? "";
  const rows = [...section.matchAll(/^\| `([a-z][^`]*\.[^`]*|application|record-prefix)` +\|/gm)].map(
    ([, key]) => key,
  );
  expect(rows).toEqual(keysOf(JSON.parse(readText("schemas/config.schema.json")) as Schema));
});

test("a table's cell keeps what Markdown would split", () => {
  const table = inputsTable({ inputs: { a: { description: "x | y\n  z", default: "1" } }, outputs: {} });
  expect(table.split("\n")[2]).toBe("| `a`   | `1`     | x \\| y z |");
});

test("markers that are missing are an error", () => {
  expect(() => between("text", "inputs", "table")).toThrow("inputs:start");
});
