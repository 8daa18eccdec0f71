import {
  attributeOf,
  blocksOf,
  everyExpression,
  type Expression,
  type HclBlock,
  type HclItem,
} from "./expression.ts";
import { goTemplateParts, hasActions } from "./go-template.ts";
import type { Place, SourceText, Span } from "./source-text.ts";
import type { TemplateFile, TemplateFiles } from "./template-files.ts";
import { type Evaluation, Unknown, type Value } from "./values.ts";

export type LiteralValue = string | boolean | number | readonly string[];

/** What a template says about one attribute. */
export interface AttributeFact {
  readonly place: Place;
  /**
   * The value, if it is known before the bake: written out, or made of variables and locals whose values are known.
   * Undefined otherwise, and for maps. `null` is as if the attribute was not there.
   */
  readonly value: LiteralValue | null | undefined;
  /** True if the value is written out, without any variable or function. */
  readonly literal: boolean;
  /** What the value refers to, each once: `var.x`, `local.x`, and functions as `timestamp()`, in `{{ }}` too. */
  readonly names: readonly string[];
}

/** A `source` block, what a build adds to one, or a builder of a legacy template. */
export interface BuilderFacts {
  readonly type: string;
  /** The source's name; for a legacy builder without a name its type. */
  readonly name: string;
  readonly place: Place;
  /** By name; those of nested blocks by `block.attribute`, such as `source_ami_filter.most_recent`. */
  readonly attributes: ReadonlyMap<string, AttributeFact>;
}

/** A provisioner or post-processor. */
export interface PluginUse {
  readonly type: string;
  readonly place: Place;
}

/** What a build block says; a legacy template is one build of all its builders. */
export interface BuildFacts {
  readonly name: string | undefined;
  /** `amazon-ebs.web`; for a legacy template the builders' names. */
  readonly sources: readonly string[];
  /** False if the build's name or some of its sources are known during the bake only. */
  readonly isKnown: boolean;
  readonly provisioners: readonly PluginUse[];
  readonly postProcessors: readonly PluginUse[];
  readonly place: Place;
}

/** The builders of a template: its sources, and after them what build blocks add to sources. */
export function buildersIn({ template }: TemplateFiles, evaluation: Evaluation): readonly BuilderFacts[] {
  return template.flatMap(({ source, items }) => [
    ...blocksOf(items, "source").map((block) => {
      const [type = "", name = type] = block.labels;
      return builderFacts(block, { type, name }, source, evaluation);
    }),
    ...blocksOf(items, "build").flatMap(({ body }) =>
      blocksOf(body, "source").map((block) => {
        const [type = "", name = ""] = sourceName(block.labels[0] ?? "").split(".");
        return builderFacts(block, { type, name }, source, evaluation);
      }),
    ),
  ]);
}

/** The build blocks of a template. */
export function buildsIn({ template }: TemplateFiles, evaluation: Evaluation): readonly BuildFacts[] {
  return template.flatMap((file) =>
    blocksOf(file.items, "build").map((build) => buildFacts(build, file, evaluation)),
  );
}

function buildFacts({ body, start }: HclBlock, { source }: TemplateFile, evaluation: Evaluation): BuildFacts {
  const valueOf = (name: string): LiteralValue | null | undefined => {
    const attribute = attributeOf(body, name);
    return attribute === undefined ? null : literalOf(evaluation.valueOf(attribute.value));
  };
  const textsOf = (name: string): readonly string[] => {
    const value = valueOf(name);
    return typeof value === "string" ? [value] : Array.isArray(value) ? (value as readonly string[]) : [];
  };
  const uses = (blocks: readonly HclBlock[]): readonly PluginUse[] =>
    blocks.map((block) => ({ type: block.labels[0] ?? "", place: source.placeOf(block.start) }));
  return {
    name: textsOf("name")[0],
    sources: [...textsOf("sources"), ...blocksOf(body, "source").map(({ labels }) => labels[0] ?? "")].map(
      sourceName,
    ),
    isKnown:
      valueOf("name") !== undefined &&
      valueOf("sources") !== undefined &&
      !blocksOf(body, "dynamic").some(({ labels }) => labels[0] === "source"),
    provisioners: uses(blocksOf(body, "provisioner", "error-cleanup-provisioner")),
    postProcessors: uses(
      body.flatMap((item) => {
        if (item.kind !== "block") return [];
        return item.type === "post-processors"
          ? blocksOf(item.body, "post-processor")
          : blocksOf([item], "post-processor");
      }),
    ),
    place: source.placeOf(start),
  };
}

/** `source.amazon-ebs.web` and `amazon-ebs.web` are the same. */
function sourceName(reference: string): string {
  return reference.replace(/^source\./, "");
}

function builderFacts(
  block: HclBlock,
  { type, name }: { readonly type: string; readonly name: string },
  source: SourceText,
  evaluation: Evaluation,
): BuilderFacts {
  const attributes = new Map<string, AttributeFact>();
  const add = (path: string, value: Expression, span: Span): void => {
    // Of several blocks of a kind the first one's attributes are told.
    if (!attributes.has(path))
      attributes.set(path, attributeFact(value, source.placeOf(span.start), evaluation));
    // JSON writes nested blocks as objects, or lists of them.
    for (const map of value.kind === "list" ? value.operands : [value]) {
      if (map.kind !== "map" || path.split(".").length > MAX_NESTING) continue;
      for (const entry of map.entries) {
        if (entry.key.kind === "literal") add(`${path}.${String(entry.key.value)}`, entry.value, entry.key);
      }
    }
  };
  const addAll = (items: readonly HclItem[], prefix: string): void => {
    for (const item of items) {
      if (item.kind === "attribute") add(`${prefix}${item.name}`, item.value, item);
      else if (prefix.split(".").length <= MAX_NESTING) addAll(item.body, `${prefix}${item.type}.`);
    }
  };
  addAll(block.body, "");
  return { type, name, place: source.placeOf(block.start), attributes };
}

/** Levels of nested blocks and maps whose attributes are told; Packer's builders have two. */
const MAX_NESTING = 4;

function attributeFact(expression: Expression, place: Place, evaluation: Evaluation): AttributeFact {
  const names = namesIn(expression);
  return {
    place,
    value: literalOf(evaluation.valueOf(expression)),
    literal: names.length === 0 && isWrittenOut(expression),
    names,
  };
}

function isWrittenOut(expression: Expression): boolean {
  return [...everyExpression(expression)].every(({ kind }) => ["literal", "list", "map"].includes(kind));
}

/** The variables, locals and functions that an expression refers to, each once. */
export function namesIn(expression: Expression): readonly string[] {
  const names = [...everyExpression(expression)].flatMap((each): readonly string[] => {
    if (each.kind === "call") return [`${each.name}()`];
    if (each.kind === "access" && each.of.kind === "name") {
      const [first] = each.steps;
      return first !== undefined && "attribute" in first ? [`${each.of.name}.${first.attribute}`] : [];
    }
    return actionsIn(each).map((name) => `${name}()`);
  });
  return [...new Set(names)];
}

/** The functions of `{{ … }}` in the literal text of an expression; of those inside it nothing. */
export function actionsIn(expression: Expression): readonly string[] {
  const texts =
    expression.kind === "literal"
      ? [expression.value]
      : expression.kind === "template"
        ? expression.parts
        : [];
  return texts.flatMap((text) => {
    if (typeof text !== "string" || !hasActions(text)) return [];
    return goTemplateParts(text, { start: 0, end: 0 }).flatMap((part) =>
      typeof part === "string"
        ? []
        : [...everyExpression(part)].flatMap((each) => (each.kind === "call" ? [each.name] : [])),
    );
  });
}

function literalOf(value: Value): LiteralValue | null | undefined {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (value === null) return null;
  if (value instanceof Unknown || !Array.isArray(value)) return undefined;
  const items: readonly Value[] = value;
  const texts = items.filter((each) => typeof each === "string");
  return texts.length === items.length ? texts : undefined;
}
