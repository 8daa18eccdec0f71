import { globSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import picomatch from "picomatch";
import { parseAst } from "rollup/parseAst";
import { analyse } from "scslre";
import { describe, expect, test } from "vitest";
import { patternProblem } from "../../src/config/patterns.ts";
import { remedyFor } from "../../src/rollout/known-causes.ts";
import { ROOT } from "../documents/markdown.ts";

/** Every regular expression of the product: none may take a time that grows with a power of what it reads. */

interface Expression {
  readonly where: string;
  readonly source: string;
  readonly flags: string;
}

interface AstNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

function isNode(value: unknown): value is AstNode {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

function visit(value: unknown, found: (node: AstNode) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, found);
  else if (isNode(value)) {
    found(value);
    for (const child of Object.values(value)) visit(child, found);
  }
}

const sources = globSync("src/**/*.ts", { cwd: ROOT }).toSorted();
const literals: Expression[] = [];
const constructed: string[] = [];
for (const path of sources) {
  const text = stripTypeScriptTypes(readFileSync(join(ROOT, path), "utf8"));
  visit(parseAst(text), (node) => {
    const line = text.slice(0, Number(node["start"])).split("\n").length;
    const expression = node["regex"] as { readonly pattern: string; readonly flags: string } | undefined;
    if (node.type === "Literal" && expression !== undefined)
      literals.push({ where: `${path}:${line}`, source: expression.pattern, flags: expression.flags });
    if (node.type === "NewExpression" && (node["callee"] as AstNode)["name"] === "RegExp")
      constructed.push(path);
  });
}

/** What redaction makes expressions of: signs that are escaped, several of the same, several that escape each other. */
const SECRETS = [
  "abc",
  "a'b\"c$d%e",
  "p%%%%q",
  "a''\"\"$$%%b",
  "x\\'\"y'\\z",
  "one line\nand\\n another",
  "🦊é<&>",
  "aaa   bbb",
  "\\a\\b\\\\c",
];

/** Those that are put together of parts, as the product has them then. */
async function builtExpressions(): Promise<Expression[]> {
  const built: Expression[] = [];
  const Original = RegExp;
  globalThis.RegExp = new Proxy(Original, {
    construct(target, [source, flags]: [string | RegExp, string | undefined]) {
      const made = new target(source, flags);
      built.push({
        where: `new RegExp(${made.source.slice(0, 40)}…)`,
        source: made.source,
        flags: made.flags,
      });
      return made;
    },
  });
  try {
    await import("../../src/image/base-image.ts");
    const { PackerOutput } = await import("../../src/image/packer-output.ts");
    const output = new PackerOutput();
    output.read("==> Builds finished. The artifacts of successful builds are:");
    output.read("eu-west-1: x");
    const { passVariables } = await import("../../src/image/packer.ts");
    passVariables(
      false,
      { own: {}, vars: { "a-b": "" }, secretVars: {}, varFiles: [], sensitive: new Set(), forms: new Map() },
      ["x"],
      "",
    );
    const { Secrets } = await import("../../src/domain/secrets.ts");
    new Secrets().add(SECRETS);
  } finally {
    globalThis.RegExp = Original;
  }
  return built;
}

/** What the checker says of an expression; looking for a match at each place of a text counts. */
function problemsOf({ where, source, flags }: Expression): string[] {
  const { reports } = analyse({ source, flags }, { reportTypes: { Move: true, Self: true, Trade: true } });
  return reports.map(
    (report) =>
      `${where}: /${source}/${flags}: ${report.type} ${report.exponential ? "exponential" : "polynomial"} by ${report.character.literal.source}`,
  );
}

const LENGTH = 20_000;

/** Texts that make an expression begin again and again: its own words, and what its classes take, repeated. */
function attacksOn(source: string): string[] {
  const words = source
    .replace(/\\[a-zA-Z]|\(\?[:=!<]*|[\])(|^$*+?{}.\\[]/g, "\n")
    .split("\n")
    .filter((word) => word !== "");
  const pieces = ["a", "0", " ", "-", ":", "/", ".", "\t", "\n", "f1", "a ", "a: ", "a=", ...words];
  return [...new Set(pieces)].map((piece) => `${piece.repeat(Math.ceil(LENGTH / piece.length))}\u0001`);
}

/** Milliseconds of this process that looking through a text takes. */
function timeOf(expression: RegExp, text: string): number {
  const started = process.cpuUsage();
  text.replace(expression, "");
  return process.cpuUsage(started).user / 1000;
}

describe("regular expressions", () => {
  test("all of them are found", () => {
    expect(literals.length).toBeGreaterThan(100);
    // Each is built below.
    expect([...new Set(constructed)]).toEqual([
      "src/domain/secrets.ts",
      "src/image/base-image.ts",
      "src/image/packer-output.ts",
      "src/image/packer.ts",
    ]);
  });

  test("none has a super-linear time", async () => {
    const built = await builtExpressions();
    expect(built.length).toBeGreaterThanOrEqual(5);
    expect([...literals, ...built].flatMap(problemsOf)).toEqual([]);
    process.stdout.write(`regular expressions: ${literals.length + built.length} checked\n`);
  });

  test("none takes long for long texts of its own words", async () => {
    const slow = [...literals, ...(await builtExpressions())].flatMap(({ where, source, flags }) => {
      // What known causes are looked for in is cut before.
      if (where.startsWith("src/rollout/known-causes.ts")) return [];
      const expression = new RegExp(source, flags);
      const times = attacksOn(source).map((text) => timeOf(expression, text));
      return Math.max(...times) > 400 ? [`${where}: /${source}/ ${Math.max(...times)} ms`] : [];
    });
    expect(slow).toEqual([]);
  });

  test("the clock finds those that do", () => {
    expect(Math.max(...attacksOn("x.*y").map((text) => timeOf(/x.*y/, text)))).toBeGreaterThan(100);
  });

  test("a known cause is looked for in the beginning of a text", () => {
    const started = process.cpuUsage();
    expect(remedyFor("AMI ".repeat(1_000_000))).toBeUndefined();
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  });

  test("the checker finds those that have", () => {
    const found = (source: string): number => problemsOf({ where: "", source, flags: "" }).length;
    expect([found("^(a+)+$"), found("a*a*b"), found("\\s+$")].every((count) => count > 0)).toBe(true);
    expect(found("^[a-z]+$")).toBe(0);
  });
});

describe("patterns of the config file", () => {
  test.each([
    ["*a*a*a*a*b", "must have at most 3 times * between slashes"],
    ["**/a/**/a/**/a/**/b", "must have at most 3 times **"],
    ["*a*a/*a*a/*a*a/*a*b", "must have at most 6 times * in all"],
    ["(a+)+b", "must not have parentheses; write a pattern for each alternative, or {a,b}"],
    ["+(a|aa)b", "must not have parentheses; write a pattern for each alternative, or {a,b}"],
    ["[a]+[a]+b", "must not repeat a group with +"],
    ["{a,b}+c", "must not repeat a group with +"],
    ["{a,a}{a,a}{a,a}{a,a}b", "must have at most 3 times {}"],
    ["a".repeat(501), "must be at most 500 characters"],
  ])("%s is refused", (pattern, problem) => {
    expect(patternProblem(pattern)).toBe(problem);
  });

  test.each([
    "packer/**",
    "app/**/*.py",
    "release/*",
    "{main,develop}",
    "**/*.{md,txt}",
    "a\\(1\\)/**",
    "*".repeat(17),
  ])("%s is taken", (pattern) => {
    expect(patternProblem(pattern)).toBeUndefined();
  });

  test.each([
    ["*a*a*ab", "a".repeat(255)],
    ["**/a/**/a/**/b", "a/".repeat(500)],
    ["**/*a*a*/**/*a*a*/**/b", "aaaaaaaaaa/".repeat(20)],
    ["{a,a}{a,a}{a,a}*a*a*b", "a".repeat(255)],
    ["*****************a", `${"a".repeat(255)}b`],
  ])("the worst that is taken, %s, is over soon", (pattern, path) => {
    expect(patternProblem(pattern)).toBeUndefined();
    const started = process.cpuUsage();
    expect(picomatch.isMatch(path, pattern, { dot: true })).toBe(false);
    // Microseconds of this process; what others do on the machine does not count.
    expect(process.cpuUsage(started).user).toBeLessThan(5_000_000);
  });
});
