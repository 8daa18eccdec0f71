import fc from "fast-check";
import { expect, test } from "vitest";
import { readHcl, readHclValue } from "../../src/image/hcl-text.ts";

test("blocks and attributes are found with their places, whatever comments and strings hold", () => {
  const text = `# variable "no" { sensitive = true }
/* variable "no" {
} */
variable "token" {
  type        = string // sensitive = true
  description = "a } and a \\" and \${upper("}")} end"
  sensitive   = true
  validation {
    condition = length(var.token) > 3
  }
  default = "hunter2"
}
locals { a = 1 }
`;
  const [token, locals] = readHcl(text);
  expect(token).toMatchObject({
    kind: "block",
    type: "variable",
    labels: ["token"],
    body: [
      { name: "type", value: { literals: [] } },
      { name: "description", value: { literals: ['a } and a " and ', " end"] } },
      { name: "sensitive", line: 7, column: 3, value: { isTrue: true } },
      { kind: "block", type: "validation" },
      { name: "default", line: 11, value: { literals: ["hunter2"], isTrue: false } },
    ],
  });
  expect(locals).toMatchObject({ type: "locals", labels: [], body: [{ name: "a" }] });
});

test.each<[text: string, literals: string[]]>([
  ['"a\\n\\"b\\" \\u00e9 $${x} %%{y}"', ['a\n"b" é ${x} %{y}']],
  ['{ user = "ada", "pass" = "one", (x): "two" }', ["ada", "one", "two"]],
  ['["a", ["b"], 4711, 1.5]', ["a", "b", "4711", "1.5"]],
  ["<<EOT\n  one\n two\nEOT\n", ["  one\n two\n"]],
  ["<<-EOT\n    one\n      two\n    EOT\n", ["one\n  two\n"]],
  ['"a${f("}", "${g}")}b"', ["a", "b"]],
  ["true", []],
  ['"', []],
  ["", []],
])("the literals of %j are %j", (text, literals) => {
  expect(readHclValue(text).literals).toStrictEqual(literals);
});

test("the environment's variables are no literals", () => {
  expect(readHclValue('env("NPM_TOKEN")')).toStrictEqual({
    literals: [],
    environment: ["NPM_TOKEN"],
    isTrue: false,
  });
});

test("any text is read to its end", () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom(
          ...'a= \n{}[]()"\\$#/*<E,:'.split(""),
          "${",
          "<<E\n",
          "\nE\n",
          "variable",
          "true",
        ),
        maxLength: 60,
      }),
      (text) => {
        expect(Array.isArray(readHcl(text))).toBe(true);
      },
    ),
  );
});

/** Each of these would take minutes, or all of the stack, where the time or the depth grew faster than the text. */
test.each([
  ["attributes", "a = 1\n", 200_000],
  ["heredocs that do not end", "a = <<X\n", 200_000],
  ["heredocs of one word that stands at the end", "a = <<X\nb\nX\n", 100_000],
  ["templates in templates", '"${', 200_000],
  ["templates that go over lines", 'a = "${\n', 200_000],
  ["blocks in blocks", "a {\n", 200_000],
  ["brackets in brackets", "a = [", 200_000],
  ["comments that do not end", "/*", 200_000],
])("a large file is read in good time: %s", (_, text, count) => {
  expect(Array.isArray(readHcl(text.repeat(count)))).toBe(true);
});
