import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative } from "node:path";
import { parseAst } from "rollup/parseAst";
import { ROOT } from "./markdown.ts";

/** The product's modules, as far as its doors lead to them: what is not wired in yet needs no document. */

interface AstNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface SourceModule {
  /** `src/image/bake.ts`. */
  readonly path: string;
  readonly nodes: readonly AstNode[];
}

function isNode(value: unknown): value is AstNode {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

function descendants(node: AstNode): AstNode[] {
  const found: AstNode[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) for (const item of value) visit(item);
    else if (isNode(value)) {
      found.push(value);
      for (const child of Object.values(value)) visit(child);
    }
  };
  visit(node);
  return found;
}

/** The modules that `main` and `post` import, however far away. */
export function productModules(): readonly SourceModule[] {
  const modules = new Map<string, SourceModule>();
  const waiting = [join(ROOT, "src/main.ts"), join(ROOT, "src/post.ts")];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const path = relative(ROOT, file);
    if (modules.has(path)) continue;
    // Types are erased, and imports of types with them.
    const nodes = descendants(
      parseAst(stripTypeScriptTypes(readFileSync(file, "utf8"))) as unknown as AstNode,
    );
    modules.set(path, { path, nodes });
    for (const node of nodes) {
      const specifier = isNode(node["source"]) ? node["source"]["value"] : undefined;
      if (typeof specifier === "string" && specifier.startsWith("."))
        waiting.push(join(dirname(file), specifier));
    }
  }
  return [...modules.values()];
}

const ERRORS = new Set([
  "KilnError",
  "RolloutError",
  "CancelledError",
  "RemoteError",
  "PackerUnavailableError",
  "TakenOverError",
  "LeftAloneError",
  "WatchLostError",
]);

/** Modules whose `message:` properties become errors or warnings elsewhere. */
const MESSAGE_MODULES = new Set([
  "src/aws/errors.ts",
  "src/aws/access-denied.ts",
  "src/rollout/preflight.ts",
  "src/image/template/template-checks.ts",
]);

/** The constant pieces of every error's and finding's message, in order: what stands between the placeholders. */
export function errorMessages(): readonly { readonly where: string; readonly pieces: readonly string[] }[] {
  return productModules().flatMap(({ path, nodes }) => {
    const constructed = nodes.flatMap((node) => {
      const [first] = (node["arguments"] ?? []) as unknown[];
      const callee = node["callee"];
      return node.type === "NewExpression" &&
        isNode(callee) &&
        ERRORS.has(String(callee["name"])) &&
        isNode(first)
        ? [first]
        : [];
    });
    const properties = nodes.flatMap((node) => {
      const { key, value } = node;
      return MESSAGE_MODULES.has(path) &&
        node.type === "Property" &&
        isNode(key) &&
        key["name"] === "message" &&
        isNode(value)
        ? [value]
        : [];
    });
    return [...constructed, ...properties].flatMap(textsOf).map((pieces) => ({ where: path, pieces }));
  });
}

/** The texts that an expression can be; none where it holds no text of its own. */
function textsOf(node: AstNode): string[][] {
  const alternatives = (...keys: readonly string[]): string[][] =>
    keys.flatMap((key) => {
      const child = node[key];
      return isNode(child) ? textsOf(child) : [];
    });
  if (node.type === "Literal") return typeof node["value"] === "string" ? [[node["value"]]] : [];
  if (node.type === "ConditionalExpression") return alternatives("consequent", "alternate");
  if (node.type === "LogicalExpression") return alternatives("left", "right");
  if (node.type !== "TemplateLiteral") return [];
  const quasis = node["quasis"] as readonly { readonly value: { readonly cooked: string } }[];
  return [quasis.map(({ value }) => value.cooked)];
}

/** The AWS operations that the product asks for, as IAM names them: `ec2:DescribeImages`. */
export function awsActions(): ReadonlySet<string> {
  return new Set(
    productModules().flatMap(({ nodes }) =>
      nodes.flatMap((node) => {
        const source = isNode(node["source"]) ? String(node["source"]["value"]) : "";
        const service = IAM_PREFIXES[source];
        if (node.type !== "ImportDeclaration" || service === undefined) return [];
        const names = (
          node["specifiers"] as readonly { readonly imported?: { readonly name: string } }[]
        ).map(({ imported }) => imported?.name ?? "");
        return names.flatMap((name) => {
          const operation = /^([A-Z]\w+)Command$/.exec(name)?.[1];
          return operation === undefined ? [] : [`${service}:${operation}`];
        });
      }),
    ),
  );
}

const IAM_PREFIXES: Readonly<Record<string, string>> = {
  "@aws-sdk/client-ec2": "ec2",
  "@aws-sdk/client-auto-scaling": "autoscaling",
  "@aws-sdk/client-cloudwatch": "cloudwatch",
  "@aws-sdk/client-elastic-load-balancing-v2": "elasticloadbalancing",
  "@aws-sdk/client-sts": "sts",
};
