import { describe, expect, test } from "vitest";
import { hasOwnValue, variableForms } from "../../../src/image/template/kiln-variables.ts";
import { readHcl } from "../../../src/image/template/hcl-text.ts";
import { SourceText } from "../../../src/image/template/source-text.ts";
import { declarationsIn } from "../../../src/image/template/variables.ts";

/** The variable x of a template. */
function declared(text: string) {
  const source = new SourceText("x.pkr.hcl", text);
  const template = [{ source, items: readHcl(text) }];
  return declarationsIn({ legacy: false, folder: ".", template, variables: [] });
}

describe("a variable's own value", () => {
  test.each([
    ["", false],
    ['default = ""', false],
    ["default = null", false],
    ["default = {}", false],
    ["default = []", false],
    ['default = "nginx"', true],
    ["default = 0", true],
    ["default = false", true],
    ['default = { a = "b" }', true],
    ['default = ["a"]', true],
    ['default = env("X")', true],
    ['default = "${env("X")}"', true],
  ])("%s: %s", (body, own) => {
    expect(declared(`variable "x" {\n${body}\n}\n`).map(hasOwnValue)).toStrictEqual([own]);
  });
});

/** Tried with Packer 1.6.6, and read in the source of 1.16. */
describe("how Packer reads a variable's text", () => {
  test.each([
    ["", "text"],
    ["type = string", "text"],
    ["type = number", "text"],
    ["type = any", "text"],
    ["type = bool", "expression"],
    ["type = list(string)", "expression"],
    ["type = map(string)", "expression"],
    ["type = object({ a = string })", "expression"],
    ['type = string\ndefault = "[]"', "text"],
    ['default = "a"', "text"],
    ['default = "a-${1}"', "text"],
    ["default = 5", "text"],
    ["default = null", "text"],
    ['default = env("X")', "text"],
    ["default = true", "expression"],
    ["default = []", "expression"],
    ["default = {}", "expression"],
    ['default = split(",", "a,b")', undefined],
  ])("%j: %s", (body, form) => {
    expect(variableForms(declared(`variable "x" {\n${body}\n}\n`)).get("x")).toBe(form);
  });

  test("in a block of variables", () => {
    const forms = variableForms(declared('variables {\n  a = "x"\n  b = ["x"]\n}\n'));
    expect([...forms]).toStrictEqual([
      ["a", "text"],
      ["b", "expression"],
    ]);
  });
});
