import { describe, expect, test } from "vitest";
import { hclExpression, hclMap } from "../../src/image/hcl-expression.ts";

describe("a map as an HCL expression", () => {
  test.each<[map: Record<string, string>, expression: string]>([
    [{}, "{}"],
    [{ "kiln:version": "1.0" }, '{"kiln:version":"1.0"}'],
    [{ a: '"\\' }, '{"a":"\\"\\\\"}'],
    [{ a: "one\ntwo" }, '{"a":"one\\ntwo"}'],
    [{ branch: "${env(1)}" }, '{"branch":"$${env(1)}"}'],
    [{ branch: "%{if true}x" }, '{"branch":"%%{if true}x"}'],
    [{ "${a}": "${b}${c}" }, '{"$${a}":"$${b}$${c}"}'],
    [{ a: "$ { % {" }, '{"a":"$ { % {"}'],
  ])("%j is %s", (map, expression) => {
    expect(hclMap(map)).toBe(expression);
  });
});

describe("a value that Packer parses as an expression", () => {
  test.each<[what: string, text: string, expression: string]>([
    ["a list", '["echo home=${HOME}"]', '["echo home=$${HOME}"]'],
    ["a template directive", '["%{if x}"]', '["%%{if x}"]'],
    ["what looks escaped is data in JSON", '["$${a}"]', '["$$${a}"]'],
    ["a sign without a brace", '["$a", "$", "50%"]', '["$a","$","50%"]'],
    ["at any depth", '{"a":[{"${b}":"${c}"}]}', '{"a":[{"$${b}":"$${c}"}]}'],
    ["after a backslash", '["\\\\${a}"]', '["\\\\$${a}"]'],
    ["numbers, as they are written", "[1.10, 12345678901234567890, 1e3]", "[1.10,12345678901234567890,1e3]"],
    ["words", "[true,false,null]", "[true,false,null]"],
    ["a single word", "true", "true"],
    ["a number", "5", "5"],
    ["JSON over several lines", '{\n  "a": "x y"\n  , "b":\n "c"\n}\n', '{"a":"x y","b":"c"}'],
    ["escapes that HCL does not know", '["\\/\\b\\f\\n\\u00e9"]', '["/\\u0008\\u000c\\n\\u00e9"]'],
    ["a character in two halves", '["\\ud83d\\uDE00"]', '["😀"]'],
    ["half a character", '["\\ud83d", "\\udE00x"]', '["\ufffd","\ufffdx"]'],
    ["a backslash before a u", '["\\\\ud83d"]', '["\\\\ud83d"]'],
    ["HCL's own syntax", '["a ${b}", "c",]', '["a $${b}", "c",]'],
    ["HCL's own syntax that is escaped", '{ a = "$${b} %%{c}" }', '{ a = "$${b} %%{c}" }'],
    ["a word for a list", "abc", '"abc"'],
    ["a path for a list", "/opt/${x}", '"/opt/$${x}"'],
    ["nothing", "", '""'],
  ])("%s: %j", (_, text, expression) => {
    expect(hclExpression(text)).toBe(expression);
  });
});
