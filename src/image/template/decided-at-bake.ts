import { actionsIn } from "./builders.ts";
import { everyExpression, type Expression, type HclItem } from "./expression.ts";
import type { Place, SourceText, Span } from "./source-text.ts";
import type { TemplateFiles } from "./template-files.ts";

/** Something that Packer finds out during the bake: its value is not known before. */
export interface DecidedAtBake {
  /** A function without its brackets (`vault`, `timestamp`), a data source (`data.http.x`), or `source_ami_filter`. */
  readonly what: string;
  /** The first place. */
  readonly place: Place;
}

/**
 * Functions that give another value each time, or ask a service. HCL2's are listed in Packer's `hcl2template/functions.go`, those of
 * `{{ }}` in packer-plugin-sdk's `template/interpolate/funcs.go`.
 */
export const FUNCTIONS_OF_THE_BAKE: ReadonlySet<string> = new Set([
  "aws_secretsmanager",
  "aws_secretsmanager_raw",
  // A new salt each time.
  "bcrypt",
  "consul_key",
  "isotime",
  "legacy_isotime",
  "legacy_strftime",
  "strftime",
  "timestamp",
  "uuid",
  "uuidv4",
  "vault",
]);

/** Nested blocks that describe an image which Packer looks up; the newest one that matches, with `most_recent`. */
const LOOKED_UP: ReadonlySet<string> = new Set(["source_ami_filter"]);

/** What a template leaves to the bake, each once, in the order in which it is written. */
export function decidedAtBakeIn({ template }: TemplateFiles): readonly DecidedAtBake[] {
  const found = new Map<string, Place>();
  for (const { source, items } of template) {
    for (const { what, span } of everyDecision(items)) {
      if (!found.has(what)) found.set(what, placeIn(source, span));
    }
  }
  return [...found].map(([what, place]) => ({ what, place }));
}

interface Decision {
  readonly what: string;
  readonly span: Span;
}

function* everyDecision(items: readonly HclItem[]): Generator<Decision> {
  for (const item of items) {
    if (LOOKED_UP.has(item.kind === "block" ? item.type : item.name)) {
      yield { what: item.kind === "block" ? item.type : item.name, span: item };
    }
    if (item.kind === "attribute") {
      yield* decisionsOf(item.value);
      continue;
    }
    const [type, name] = item.labels;
    // `data "null"` only passes its input on.
    if (item.type === "data" && type !== "null")
      yield { what: `data.${type ?? ""}.${name ?? ""}`, span: item };
    yield* everyDecision(item.body);
  }
}

function* decisionsOf(expression: Expression): Generator<Decision> {
  for (const each of everyExpression(expression)) {
    const names = each.kind === "call" ? [each.name] : actionsIn(each);
    for (const what of names) if (FUNCTIONS_OF_THE_BAKE.has(what)) yield { what, span: each };
  }
}

function placeIn(source: SourceText, { start }: Span): Place {
  return source.placeOf(start);
}
