import fc from "fast-check";
import { expect, test } from "vitest";
import { readHcl, readHclExpression } from "../../../src/image/template/hcl-text.ts";
import { literalsIn } from "../../../src/image/template/literals.ts";
import { SourceText } from "../../../src/image/template/source-text.ts";
import { environmentIn, isTrue } from "../../../src/image/template/variables.ts";

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
  const source = new SourceText("web.pkr.hcl", text);
  const body = token?.kind === "block" ? token.body : [];
  const attributes = body.map((item) =>
    item.kind === "block"
      ? item.type
      : {
          name: item.name,
          literals: literalsIn(item.value),
          isTrue: isTrue(item.value),
          line: source.placeOf(item.start).line,
          column: source.placeOf(item.start).column,
        },
  );
  expect(token).toMatchObject({ kind: "block", type: "variable", labels: ["token"] });
  expect(attributes).toStrictEqual([
    { name: "type", literals: [], isTrue: false, line: 5, column: 3 },
    { name: "description", literals: ['a } and a " and ', " end"], isTrue: false, line: 6, column: 3 },
    { name: "sensitive", literals: [], isTrue: true, line: 7, column: 3 },
    "validation",
    { name: "default", literals: ["hunter2"], isTrue: false, line: 11, column: 3 },
  ]);
  expect(locals).toMatchObject({ type: "locals", labels: [], body: [{ name: "a" }] });
});

test.each<[text: string, literals: string[]]>([
  ['"a\\n\\"b\\" \\u00e9 $${x} %%{y}"', ['a\n"b" é ${x} %{y}']],
  ['{ user = "ada", "pass" = "one", (x): "two" }', ["ada", "one", "two"]],
  ['["a", ["b"], 4711, 1.5]', ["a", "b", "4711", "1.5"]],
  ["<<EOT\n  one\n two\nEOT\n", ["  one\n two\n"]],
  ["<<-EOT\n    one\n      two\n    EOT\n", ["one\n  two\n"]],
  ['"a${f("}", "${g}")}b"', ["a", "b"]],
  ["12345678901234567890", ["12345678901234567890"]],
  ["true", []],
  ['"', []],
  ["", []],
])("the literals of %j are %j", (text, literals) => {
  expect(literalsIn(readHclExpression(text))).toStrictEqual(literals);
});

test("the environment's variables are no literals", () => {
  const expression = readHclExpression('env("NPM_TOKEN")');
  expect(literalsIn(expression)).toStrictEqual([]);
  expect(environmentIn(expression).map(({ name }) => name)).toStrictEqual(["NPM_TOKEN"]);
});

test("any text is read to its end", () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom(
          ...'a= \n{}[]()"\\$#/*<E,:?.~!'.split(""),
          "${",
          "%{if ",
          "<<E\n",
          "\nE\n",
          "variable",
          "for a in ",
          "true",
        ),
        maxLength: 60,
      }),
      (text) => {
        expect(Array.isArray(readHcl(text))).toBe(true);
      },
    ),
    { numRuns: 2000 },
  );
});

/** Each of these would take minutes, or all of the stack, where the time or the depth grew faster than the text. */
test.each([
  ["attributes", "a = 1\n", 200_000],
  ["heredocs that do not end", "a = <<X\n", 200_000],
  ["heredocs of one word that stands at the end", "a = <<X\nb\nX\n", 100_000],
  ["templates in templates", '"${', 200_000],
  ["directives in templates", '"%{ if ', 200_000],
  ["templates that go over lines", 'a = "${\n', 200_000],
  ["blocks in blocks", "a {\n", 200_000],
  ["brackets in brackets", "a = [", 200_000],
  ["calls in calls", "f(", 200_000],
  ["conditions in conditions", "a = a ? b : ", 200_000],
  ["operators", "a = !-", 200_000],
  ["attributes of attributes", "a.b.c[0]", 200_000],
  ["maps in maps", "a = { b = ", 100_000],
  ["loops in loops", "a = [for a in ", 100_000],
  ["comments that do not end", "/*", 200_000],
])("a large file is read in good time: %s", (_, text, count) => {
  expect(Array.isArray(readHcl(text.repeat(count)))).toBe(true);
});
