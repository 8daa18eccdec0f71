import { getExpressionAst, parse } from "@cdktn/hcl2json";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Expression, HclItem, Step } from "../../../src/image/template/expression.ts";
import { readHcl, readHclExpression } from "../../../src/image/template/hcl-text.ts";

/**
 * Kiln's reader of HCL against HashiCorp's own (`hclsyntax`, compiled to WebAssembly): the same blocks, attributes and literals in
 * random documents, and the same shapes of random expressions.
 */

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Texts that are data in our tree, and templates in theirs, where `$${` stands for `${`. */
const escaped = (text: string): string => text.replaceAll(/[$%](?=\{)/g, (sign) => sign + sign);
/** Their printer sets white space inside templates anew. */
const squeezed = (text: string): string => text.replaceAll(/\s/g, "");

/** Our tree in the form of `parse`: expressions that are no literals are their source in `${}`. */
function asTheirs(items: readonly HclItem[], text: string): Json {
  const found: Record<string, Json> = {};
  for (const item of items) {
    if (item.kind === "attribute") found[item.name] = valueAsTheirs(item.value, text);
    else {
      let place = found as Record<string, unknown>;
      for (const [index, label] of item.labels.entries()) {
        const key = index === 0 ? item.type : (item.labels[index - 1] ?? "");
        place = (place[key] ??= {}) as Record<string, unknown>;
        if (index === item.labels.length - 1)
          ((place[label] ??= []) as Json[]).push(asTheirs(item.body, text));
      }
      if (item.labels.length === 0) ((place[item.type] ??= []) as Json[]).push(asTheirs(item.body, text));
    }
  }
  return found;
}

function valueAsTheirs(value: Expression, text: string): Json {
  const source = (of: Expression): string => text.slice(of.start, of.end);
  if (value.kind === "literal") return typeof value.value === "string" ? escaped(value.value) : value.value;
  if (value.kind === "list") return value.operands.map((each) => valueAsTheirs(each, text));
  if (value.kind === "map") {
    return Object.fromEntries(
      value.entries.map((entry) => [
        entry.key.kind === "literal" ? escaped(String(entry.key.value)) : "?",
        valueAsTheirs(entry.value, text),
      ]),
    );
  }
  if (value.kind !== "template") return squeezed(`\${${source(value)}}`);
  // What is around `${…}`, and the source inside it.
  const parts = value.parts.map((part) => {
    if (typeof part === "string") return escaped(part);
    return part.kind === "directive" ? source(part) : `\${${source(part)}}`;
  });
  return squeezed(parts.join(""));
}

/** Theirs, with the white space of what has templates in it left out too. */
function withoutSpaces(value: unknown): unknown {
  if (typeof value === "string") return /(?:^|[^$])\$\{|(?:^|[^%])%\{/.test(value) ? squeezed(value) : value;
  if (Array.isArray(value)) return value.map(withoutSpaces);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutSpaces(each)]));
}

const word = fc.constantFrom("a", "b2", "web-1", "_x", "größe", "for", "if", "true1", "script", "名前");
const blank = fc.constantFrom("", " ", "  ", "\t");
const comment = fc.constantFrom("# a = {\n", '// "${\n', "/* } \n b = [ */\n", "/**/ ", "\n", "\r\n", "");

/** The inside of a quoted string, without templates. */
const plainText = fc
  .array(
    fc.constantFrom(
      ..."az09 ÄÖ→😀{}[]()#/*<>=,:;.-_'`~%$".match(/./gu)!,
      "\\n",
      "\\t",
      '\\"',
      "\\\\",
      "\\u00e9",
      "\\U0001F600",
      "$${x}",
      "%%{if}",
      "//",
      "<<EOT",
    ),
    { maxLength: 8 },
  )
  .map((pieces) => pieces.join("").replaceAll(/(?<![$%\\])([$%])\{/g, "$1 {"))
  .filter((text) => !/[$%]\{/.test(text.replaceAll(/\$\$\{|%%\{/g, "")));

const reference = fc.constantFrom("var.x", "local.list[0].name", 'local.map["k"]', "path.root", "build.ID");

/** Expressions, with the white space and line breaks that are allowed where they stand. */
const { expression } = fc.letrec<{ expression: string; string: string; leaf: string; interpolation: string }>(
  (tie) => ({
    leaf: fc.oneof(
      fc.constantFrom("1", "0", "4711", "1.5", "2e3", "true", "false", "null"),
      plainText.map((text) => `"${text}"`),
      reference,
    ),
    interpolation: fc
      .tuple(fc.constantFrom("${", "${ ", "${~ "), tie("expression"), fc.constantFrom("}", " }", " ~}"))
      .map((parts) => parts.join("")),
    string: fc
      .array(fc.oneof(plainText, tie("interpolation")), { minLength: 1, maxLength: 3 })
      .map((parts) => `"${parts.join("")}"`)
      // A `$` before an interpolation would escape it.
      .filter((text) => !/[$%](?:\$\{|%\{)/.test(text.replaceAll(/\$\$\{x\}|%%\{if\}/g, ""))),
    expression: fc.oneof(
      { maxDepth: 3 },
      tie("leaf"),
      tie("string"),
      fc.tuple(blank, tie("expression"), blank).map(([a, each, b]) => `(${a}${each}${b})`),
      fc
        .array(tie("expression"), { maxLength: 3 })
        .chain((each) =>
          fc.constantFrom(`[${each.join(", ")}]`, `[\n${each.map((e) => `${e},\n`).join("# c\n")}]`),
        ),
      fc
        .uniqueArray(fc.tuple(word, tie("expression")), { maxLength: 3, selector: ([key]) => key })
        .filter((pairs) => pairs.every(([key]) => key !== "for"))
        .chain((pairs) =>
          fc.constantFrom(
            `{${pairs.map(([key, value]) => `${key} = ${value}`).join(", ")}}`,
            `{\n${pairs.map(([key, value]) => `"${key}" : ${value}\n`).join("\n# c\n")}}`,
            `{ ${pairs.map(([key, value]) => `(var.${key}) = ${value}`).join(",\n")} }`,
          ),
        ),
      fc
        .tuple(fc.constantFrom("file", "format", "concat"), fc.array(tie("expression"), { maxLength: 2 }))
        .map(([name, operands]) => `${name}(${operands.join(",\n ")})`),
      fc
        .tuple(tie("leaf"), tie("expression"), tie("expression"))
        .map(([condition, yes, no]) => `${condition} == 1 ? ${yes} : ${no}`),
      fc
        .tuple(tie("leaf"), fc.constantFrom("+", "&&", "!=", "<=", "||", "%"), tie("leaf"))
        .map(([left, operator, right]) => `!${left} ${operator} (-${right})`),
      fc
        .tuple(fc.constantFrom("a", "k, v"), tie("expression"), tie("expression"))
        .chain(([names, list, value]) =>
          fc.constantFrom(
            `[for ${names} in ${list} : ${value}]`,
            `[\nfor ${names} in ${list} : ${value}\nif true\n]`,
            `{ for ${names} in ${list} : "k" => ${value} }`,
            `{ for ${names} in ${list} : "k" => ${value}... }`,
          ),
        ),
      fc.tuple(tie("leaf"), tie("leaf")).map(([of, index]) => `f(${of})[${index}].b`),
    ),
  }),
);

const heredocLine = fc
  .tuple(
    fc.constantFrom("", "  ", "    ", "\t"),
    fc.constantFrom("text", "EOTX", "a = {", "'\"", "$${x}", "${var.x}", ""),
  )
  .map((parts) => parts.join(""));

const heredoc = fc
  .tuple(
    fc.constantFrom("<<EOT", "<<-EOT"),
    fc.array(heredocLine, { maxLength: 5 }),
    fc.constantFrom("EOT", "   EOT", "\tEOT"),
  )
  .map(([opening, lines, closing]) => [opening, ...lines, closing].join("\n"));

/** Values whose literals `parse` gives; other expressions it gives as text. */
const documentValue = fc.oneof(
  { weight: 3, arbitrary: plainText.map((text) => `"${text}"`) },
  { weight: 1, arbitrary: fc.constantFrom("1", "1.5", "true", "null", "var.x", 'file("x")', "a ? b : c") },
  { weight: 2, arbitrary: heredoc },
  {
    weight: 2,
    arbitrary: fc
      .array(
        fc.oneof(
          plainText.map((text) => `"${text}"`),
          fc.constantFrom("2", "false", "var.x", '"${var.y}/z"'),
        ),
        {
          maxLength: 3,
        },
      )
      .chain((each) =>
        fc.constantFrom(`[${each.join(", ")}]`, `[ # c\n${each.map((e) => `  ${e},\n`).join("")}]`),
      ),
  },
  {
    weight: 2,
    arbitrary: fc
      .uniqueArray(fc.tuple(word, plainText), { maxLength: 3, selector: ([key]) => key })
      .filter((pairs) => pairs.every(([key]) => key !== "for"))
      .chain((pairs) =>
        fc.constantFrom(
          `{${pairs.map(([key, text]) => `${key} = "${text}"`).join(", ")}}`,
          `{\n${pairs.map(([key, text]) => `"${key}" = "${text}" // c\n`).join("")}}`,
        ),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '"a${var.b}c"',
      '"${path.root}/../x"',
      '"%{ if var.x }yes%{ else }no%{ endif }"',
      '"${f("${var.x}")}"',
      '"${upper("}")}{"',
    ),
  },
);

interface Row {
  readonly name: string;
  readonly text: string;
}

const row = fc.letrec<{ row: Row; attribute: Row; block: Row }>((tie) => ({
  attribute: fc
    .tuple(word, blank, blank, documentValue, fc.constantFrom("", " # c", " // {", " /* c */"), comment)
    // A heredoc's closing line has nothing after it.
    .map(([name, a, b, value, end, after]) => ({
      name,
      text: `${name}${a}=${b}${value}${value.startsWith("<<") ? "" : end}\n${after}`,
    })),
  block: fc
    .tuple(
      word,
      fc.array(fc.tuple(word, fc.boolean()), { maxLength: 2 }),
      fc.uniqueArray(tie("row"), { maxLength: 3, selector: ({ name }) => name }),
      comment,
    )
    .map(([type, labels, rows, after]) => {
      const named = labels.map(([label, isQuoted]) => (isQuoted ? ` "${label}"` : ` ${label}`)).join("");
      const body = rows.length === 0 ? "" : `\n${rows.map(({ text }) => text).join("")}`;
      return { name: type, text: `${type}${named} {${body}}\n${after}` };
    }),
  row: fc.oneof({ maxDepth: 3 }, tie("attribute"), tie("block")),
}));

const document = fc
  .tuple(comment, fc.uniqueArray(row.row, { maxLength: 6, selector: ({ name }) => name }))
  .map(([before, rows]) => before + rows.map(({ text }) => text).join(""));

/** A tree without places: what kind each node is, and the names and numbers in it. */
type Shape = string | readonly Shape[];

interface TheirNode {
  readonly type?: string;
  readonly meta?: { readonly [name: string]: unknown };
  readonly children: readonly TheirNode[];
}

function theirShape(node: TheirNode): Shape {
  const inside = (): readonly Shape[] => node.children.map(theirShape);
  switch (node.type) {
    case "literalValue":
      return node.meta?.["type"] === "string"
        ? "text"
        : ["literal", String(Number(node.meta?.["value"]) || node.meta?.["value"])];
    case "template":
    case "templateWrap":
      return ["template", ...inside().filter((each, _, all) => each !== "text" || all.length > 0)];
    case "scopeTraversal":
      return ["access", String(node.meta?.["fullAccessor"])];
    case "relativeTraversal":
      return ["relative", ...inside()];
    case "function":
      return ["call", String(node.meta?.["name"]), ...inside()];
    case "object":
      // A key is a word, which has nothing in it, or an expression.
      return ["object", ...inside().map((each, index) => (index % 2 === 0 && isText(each) ? "key" : each))];
    case "tuple":
      return ["list", ...inside()];
    case "binaryOp":
    case "unaryOp":
      return ["operation", ...operandsOf(node)];
    case undefined:
    case "": {
      // Parentheses, or a key of an object: a word has nothing in it.
      const [only] = node.children;
      return only === undefined ? "word" : theirShape(only);
    }
    default:
      return [node.type ?? "", ...inside()];
  }
}

const isText = (shape: Shape): boolean => shape === "word" || JSON.stringify(shape) === '["template","text"]';

/** Their tree of operators from left to right. */
function operandsOf(node: TheirNode): readonly Shape[] {
  if (node.type !== "binaryOp" && node.type !== "unaryOp") return [theirShape(node)];
  return node.children.flatMap(operandsOf);
}

function ourShape(expression: Expression): Shape {
  const inside = (of: readonly Expression[]): readonly Shape[] => of.map(ourShape);
  switch (expression.kind) {
    case "literal":
      return typeof expression.value === "string"
        ? ["template", "text"]
        : ["literal", String(expression.value)];
    case "template":
      return [
        "template",
        ...expression.parts.map((part) => (typeof part === "string" ? "text" : ourShape(part))),
      ];
    case "name":
      return ["access", expression.name];
    case "access":
      return accessShape(expression.of, expression.steps);
    case "call":
      return ["call", expression.name, ...inside(expression.operands)];
    case "list":
      return ["list", ...inside(expression.operands)];
    case "operation":
      return ["operation", ...inside(expression.operands)];
    case "map":
      return ["object", ...expression.entries.flatMap(({ key, value }) => [keyShape(key), ourShape(value)])];
    case "for": {
      const { collection, key, value, condition } = expression;
      return ["for", ...inside([collection, key, value, condition].filter((each) => each !== undefined))];
    }
    case "conditional":
      return ["conditional", ...inside([expression.condition, expression.yes, expression.no])];
    case "directive":
    case "unreadable":
    default:
      return [expression.kind];
  }
}

const keyShape = (key: Expression): Shape => (key.kind === "literal" ? "key" : ourShape(key));

function accessShape(of: Expression, steps: readonly Step[]): Shape {
  let shape: Shape = of.kind === "name" ? ["access", of.name] : ourShape(of);
  for (const step of steps) {
    if ("splat" in step) return ["splat"];
    if ("index" in step && step.index.kind !== "literal") shape = ["index", shape, ourShape(step.index)];
    else {
      const text =
        "attribute" in step
          ? `.${step.attribute}`
          : `[${JSON.stringify(step.index.kind === "literal" ? step.index.value : "")}]`;
      const [kind, name] = shape as readonly Shape[];
      if (kind === "access") shape = ["access", `${String(name)}${text}`];
      else if (kind !== "relative") shape = ["relative", shape];
    }
  }
  return shape;
}

const RUNS = Number(process.env["ORACLE_RUNS"] ?? 300);

describe("against HashiCorp's reader", () => {
  test("random documents have the same blocks, attributes and literals", { timeout: 60_000 }, async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(document, async (text) => {
        const theirs = await parse("random.pkr.hcl", text);
        expect(withoutSpaces(asTheirs(readHcl(text), text))).toStrictEqual(withoutSpaces(theirs));
        compared += 1;
      }),
      { numRuns: RUNS },
    );
    expect(compared).toBe(RUNS);
  });

  test("random expressions have the same shape", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(expression, async (text) => {
        const theirs = await getExpressionAst("random.pkr.hcl", text);
        expect(JSON.stringify(ourShape(readHclExpression(text)))).toBe(
          JSON.stringify(theirShape(theirs as unknown as TheirNode)),
        );
      }),
      { numRuns: RUNS },
    );
  });
});
