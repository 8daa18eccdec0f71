import type { ImageRecipe } from "../../domain/application.ts";

/** Where something is written: a file relative to the repository's root; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A path in the template that leads to a file or folder of the repository. */
export interface FileReference {
  /** Relative to the repository's root, normalized, with `/`; `.` is the root itself. */
  readonly path: string;
  /** What refers to it: `script`, `file()`. */
  readonly attribute: string;
  readonly place: Place;
  /** False if Packer bakes without it too: `fileexists()`, `generated = true`, the neighbours of a playbook. */
  readonly required: boolean;
}

/** Why a path is not known before the bake. */
export type UnresolvedReason =
  /** A variable without a known value. */
  | "variable"
  /** An expression or a function that only Packer evaluates. */
  | "function"
  /** A path that leads out of the repository. */
  | "outside"
  /** A command that runs on the runner and may read any file. */
  | "command";

/** A path in the template that cannot be resolved before the bake. */
export interface UnresolvedReference {
  readonly attribute: string;
  /** The expression as it is written; long ones are cut. */
  readonly expression: string;
  readonly place: Place;
  readonly why: UnresolvedReason;
}

export interface DeclaredVariable {
  readonly name: string;
  readonly sensitive: boolean;
  /** False if the default is absent, and for legacy JSON if it is `null`: Packer then requires a value. */
  readonly hasDefault: boolean;
  /** The names in `env("NAME")` or ``{{env `NAME`}}`` of its default. */
  readonly environment: readonly string[];
  readonly place: Place;
}

/** Where a variable file sets a variable: one of `var-files`, or one that Packer loads by itself. */
export interface VariableAssignment {
  readonly name: string;
  readonly place: Place;
}

export type LiteralValue = string | boolean | number | readonly string[];

/** What a template says about one attribute. */
export interface AttributeFact {
  readonly place: Place;
  /**
   * The value, if it can be known before the bake: written out, or made of variables and locals whose values are known.
   * Undefined otherwise, and for maps.
   */
  readonly value: LiteralValue | undefined;
  /** True if the value is written out, without any variable or function. */
  readonly literal: boolean;
  /** What the value refers to, each once: `var.x`, `local.x`, `timestamp()`, `{{isotime}}`. */
  readonly names: readonly string[];
}

/** A `source` block, or a builder of a legacy template. */
export interface BuilderFacts {
  readonly type: string;
  /** The source's name; for a legacy builder without a name its type. */
  readonly name: string;
  readonly place: Place;
  /** By name; those of nested blocks by `block.attribute`, such as `source_ami_filter.most_recent`. */
  readonly attributes: ReadonlyMap<string, AttributeFact>;
}

/** What a build block says; a legacy template is one build of all its builders. */
export interface BuildFacts {
  readonly name: string | undefined;
  /** `amazon-ebs.web`; for a legacy template the builders' names. */
  readonly sources: readonly string[];
  /** The types of its provisioners and post-processors, in order. */
  readonly provisioners: readonly { readonly type: string; readonly place: Place }[];
  readonly postProcessors: readonly { readonly type: string; readonly place: Place }[];
  readonly place: Place;
}

/** An environment variable that decides the value of a variable that is not sensitive. */
export interface EnvironmentReference {
  readonly name: string;
  /** The Packer variable whose default reads it. */
  readonly variable: string;
  readonly place: Place;
}

/** Something that Packer looks up during the bake: its value is not known before. */
export interface DecidedAtBake {
  /** `vault`, `consul_key`, `data.http.x`, `most_recent`, `timestamp`. */
  readonly what: string;
  /** The first place. */
  readonly place: Place;
}

/** What a template says about its inputs, read without Packer and without evaluating functions. */
export interface TemplateFacts {
  readonly legacy: boolean;
  /** The template's own files: itself, or what Packer reads of its folder. */
  readonly sources: readonly string[];
  /** The variable files in the order in which Packer loads them, those that it loads by itself first. */
  readonly variableFiles: readonly string[];
  readonly references: readonly FileReference[];
  readonly unresolved: readonly UnresolvedReference[];
  readonly variables: readonly DeclaredVariable[];
  readonly assignments: readonly VariableAssignment[];
  readonly environment: readonly EnvironmentReference[];
  readonly decidedAtBake: readonly DecidedAtBake[];
  readonly builders: readonly BuilderFacts[];
  readonly builds: readonly BuildFacts[];
}

/** What else decides the values of a template's variables. */
export interface VariableContext {
  /** The step's environment, for `PKR_VAR_*` and `env()`; absent: what depends on it is unresolved. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Variables that get a value from elsewhere (secrets, Kiln's own): unresolved, whatever their default is. */
  readonly elsewhere?: ReadonlySet<string>;
}

/**
 * What a template refers to and depends on. Files that are missing or broken contribute what could be read of them:
 * whether they are valid, Packer says.
 * @param folder the checkout's root
 */
export async function readTemplateFacts(
  _recipe: ImageRecipe,
  _folder: string,
  _context: VariableContext = {},
): Promise<TemplateFacts> {
  return {
    legacy: false,
    sources: [],
    variableFiles: [],
    references: [],
    unresolved: [],
    variables: [],
    assignments: [],
    environment: [],
    decidedAtBake: [],
    builders: [],
    builds: [],
  };
}
