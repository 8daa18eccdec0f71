import { posix, resolve } from "node:path";
import picomatch from "picomatch";
import { isRepositoryPath } from "../../domain/repository-path.ts";
import { foldersInAnsibleConfig } from "./ansible-config.ts";
import { attributeOf, childrenOf, type Expression, type HclBlock, type HclItem } from "./expression.ts";
import {
  FILE_FUNCTIONS,
  isPlugin,
  KNOWN_PLUGINS,
  PATH_NAME,
  PLUGIN_KINDS,
  type PluginKind,
  REFERENCE_ATTRIBUTES,
  type ReferenceAttribute,
  UNCOUNTED_ATTRIBUTES,
} from "./reference-attributes.ts";
import type { Place, SourceText, Span } from "./source-text.ts";
import { asText, type Evaluation, Unknown, type Value } from "./values.ts";

/** A path in the template that leads to a file or folder of the repository. */
export interface FileReference {
  /** Relative to the repository's root, normalized, with `/`; `.` is the root itself. */
  readonly path: string;
  /** What refers to it: `script`, `file()`. */
  readonly attribute: string;
  readonly place: Place;
  /** False if Packer may bake without it: `fileexists()`, `generated = true`, the neighbours of a playbook. */
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
  /** The expression as it is written; a long one is cut. */
  readonly expression: string;
  readonly place: Place;
  readonly why: UnresolvedReason;
}

/** The folders that paths are relative to, absolute. */
export interface Folders {
  readonly repository: string;
  readonly workingDirectory: string;
  readonly template: string;
}

type Bound = ReadonlyMap<string, Value>;

/** Where an expression stands: the plugin's block, and what loops have bound. */
interface Surroundings {
  readonly kind: PluginKind;
  readonly type: string;
  readonly bound: Bound;
  readonly required: boolean;
  /** `block.` for attributes of nested blocks. */
  readonly prefix: string;
}

/** One path to resolve: what refers to it, and how. */
interface Mention {
  readonly attribute: string;
  readonly span: Span;
  readonly required: boolean;
  readonly mayBeOutside?: boolean;
  /** Absolute; absent: Packer's working directory. */
  readonly base?: string;
}

/** Ansible looks for these beside a playbook (https://docs.ansible.com/ansible/latest/tips_tricks/sample_setup.html, 2026-11). */
const BESIDE_A_PLAYBOOK = [
  "action_plugins",
  "callback_plugins",
  "collections",
  "files",
  "filter_plugins",
  "group_vars",
  "handlers",
  "host_vars",
  "library",
  "lookup_plugins",
  "meta",
  "module_utils",
  "roles",
  "tasks",
  "templates",
  "vars",
];

/** Collects the references of one file. */
export class ReferenceCollector {
  readonly references: FileReference[] = [];
  readonly unresolved: UnresolvedReference[] = [];
  readonly #source: SourceText;
  readonly #evaluation: Evaluation;
  readonly #folders: Folders;

  constructor(source: SourceText, evaluation: Evaluation, folders: Folders) {
    this.#source = source;
    this.#evaluation = evaluation;
    this.#folders = folders;
  }

  /** All references of a file's blocks. */
  collect(items: readonly HclItem[]): void {
    this.#items(items, undefined, NOTHING_BOUND);
  }

  /** The files that functions in an expression read. */
  collectFunctions(expression: Expression): void {
    this.#functions(expression, NOTHING_BOUND);
  }

  /** The folders that a configuration file of Ansible, which is the collector's own file, names. */
  collectAnsibleConfig(): void {
    const { path: file, text } = this.#source;
    const { repository, workingDirectory } = this.#folders;
    for (const { setting, path, start } of foldersInAnsibleConfig(text)) {
      const span = { start, end: start };
      const mention = { attribute: setting, span, required: false, mayBeOutside: true };
      const base = resolve(repository, posix.dirname(file));
      this.#refer(path.replace(/^\{\{CWD\}\}/, workingDirectory), { ...mention, base });
    }
  }

  #items(items: readonly HclItem[], plugin: Surroundings | undefined, bound: Bound): void {
    for (const item of items) {
      if (item.kind === "block") this.#block(item, plugin, bound);
      else {
        this.#functions(item.value, bound);
        if (plugin !== undefined) this.#attribute(item.name, item.value, plugin);
      }
    }
  }

  #block(block: HclBlock, plugin: Surroundings | undefined, bound: Bound): void {
    if (block.type === "dynamic") return this.#dynamic(block, plugin, bound);
    const own = pluginOf(block);
    if (own === undefined || plugin !== undefined) {
      const inside = plugin && { ...plugin, prefix: `${plugin.prefix}${block.type}.`, bound };
      return this.#items(block.body, inside, bound);
    }
    this.#plugin(own.kind, own.type, block, bound);
  }

  #plugin(kind: PluginKind, type: string, { body, start, end }: HclBlock, bound: Bound): void {
    const value = (name: string): Value => {
      const attribute = attributeOf(body, name);
      return attribute === undefined ? null : this.#evaluation.valueOf(attribute.value, bound);
    };
    const isDownload = kind === "provisioner" && type === "file" && value("direction") === "download";
    const generated = kind === "provisioner" && type === "file" ? value("generated") : null;
    const required = generated === null || generated === false || generated === "false";
    const plugin: Surroundings = { kind, type, bound, required, prefix: "" };
    this.#items(body, isDownload ? undefined : plugin, bound);
    if (kind !== "provisioner") return;
    if (type === "shell-local") this.#command(body);
    if (type === "ansible") {
      this.#refer("ansible.cfg", { attribute: "ansible.cfg", span: { start, end }, required: false });
    }
  }

  /** A command on the runner may read whatever it likes. */
  #command(body: readonly HclItem[]): void {
    for (const name of ["command", "inline"]) {
      const attribute = attributeOf(body, name);
      if (attribute !== undefined) this.#unresolved(name, attribute.value, "command");
    }
  }

  /** `dynamic "provisioner" { for_each = …, labels = ["shell"], content { … } }`. */
  #dynamic(
    { labels: [type = ""], body, start, end }: HclBlock,
    plugin: Surroundings | undefined,
    bound: Bound,
  ): void {
    const content = body.find((item): item is HclBlock => item.kind === "block" && item.type === "content");
    const collection = attributeOf(body, "for_each")?.value;
    if (content === undefined || collection === undefined) return this.#items(body, plugin, bound);
    this.#functions(collection, bound);
    const iterator = attributeOf(body, "iterator")?.value;
    const name = iterator?.kind === "name" ? iterator.name : type;
    const labelled = attributeOf(body, "labels")?.value;
    const iterations = this.#evaluation.iterations({ names: ["key", "value"], collection }, bound) ?? [
      new Map<string, Value>([
        ...bound,
        ["key", UNKNOWN],
        ["value", this.#evaluation.valueOf(collection, bound)],
      ]),
    ];
    for (const each of iterations) {
      if (this.#evaluation.isExhausted) return this.#unresolved("for_each", collection, "function");
      const value = each.get("value") ?? UNKNOWN;
      const element =
        value instanceof Unknown
          ? value
          : new Map([
              ["key", each.get("key") ?? null],
              ["value", value],
            ]);
      const inside: Bound = new Map([...bound, [name, element]]);
      const labels = labelled === undefined ? null : this.#evaluation.valueOf(labelled, inside);
      const made = Array.isArray(labels)
        ? labels.flatMap((label) => (typeof label === "string" ? [label] : []))
        : [];
      this.#block({ kind: "block", type, labels: made, body: content.body, start, end }, plugin, inside);
    }
  }

  #attribute(name: string, value: Expression, plugin: Surroundings): void {
    if (name === "override" && plugin.prefix === "") return this.#override(value, plugin);
    const full = `${plugin.prefix}${name}`;
    const known = REFERENCE_ATTRIBUTES.find(
      (each) => each.kind === plugin.kind && each.attribute === full && isPlugin(plugin.type, each.plugins),
    );
    if (known !== undefined) this.#known(known, value, plugin);
    else if (isPlugin(plugin.type, KNOWN_PLUGINS[plugin.kind])) this.#nested(full, value, plugin);
    else if (
      PATH_NAME.test(name) &&
      !/^(?:remote|staging)_/.test(name) &&
      !UNCOUNTED_ATTRIBUTES.includes(name)
    ) {
      const mention = { attribute: full, required: false, mayBeOutside: true };
      for (const [text, span] of this.#texts(value, plugin.bound)) {
        if (typeof text === "string") this.#refer(text, { ...mention, span });
      }
    }
  }

  /** A block's attributes by builder: `override = { web = { script = "…" } }`. */
  #override(value: Expression, plugin: Surroundings): void {
    if (value.kind !== "map") return;
    for (const builder of value.entries) this.#nested("", builder.value, plugin);
  }

  /** JSON writes nested blocks as objects, or lists of them. */
  #nested(name: string, value: Expression, plugin: Surroundings): void {
    const prefix = name === "" ? "" : `${name}.`;
    const maps = value.kind === "list" ? value.operands : [value];
    for (const map of maps) {
      if (map.kind !== "map") continue;
      for (const entry of map.entries) {
        if (entry.key.kind !== "literal") continue;
        this.#attribute(String(entry.key.value), entry.value, { ...plugin, prefix });
      }
    }
  }

  #known(reference: ReferenceAttribute, value: Expression, { bound, required }: Surroundings): void {
    const { attribute, holds, mayBeOutside = false } = reference;
    const texts = [...this.#texts(value, bound)];
    texts.forEach(([text, span], index) => {
      const mention: Mention = { attribute, span, required, mayBeOutside };
      if (typeof text === "string") {
        const before = texts[index - 1]?.[0];
        for (const path of pathsIn(holds, text, typeof before === "string" ? before : "")) {
          this.#refer(path, mention);
          if (holds === "playbook") this.#besidePlaybook(path, mention);
        }
      } else if (!text.isFileName && (holds === "path" || holds === "pattern" || holds === "playbook")) {
        this.#unresolved(attribute, span, text.reason);
      }
    });
  }

  /** Ansible reads roles, variables and files from beside a playbook, which the template does not name. */
  #besidePlaybook(path: string, mention: Mention): void {
    const folder = posix.dirname(path);
    const attribute = `${mention.attribute} (its folder)`;
    const found = this.#resolved(folder, this.#folders.workingDirectory);
    if (found === undefined) return;
    // The whole repository would be too much: what Ansible knows by name.
    const names = found === "." ? BESIDE_A_PLAYBOOK.map((name) => posix.join(folder, name)) : [folder];
    for (const name of names)
      this.#refer(name, { ...mention, attribute, required: false, mayBeOutside: true });
  }

  /** The texts of an expression, with the place of each: of lists each item, of a condition that is not known both. */
  *#texts(expression: Expression, bound: Bound): Generator<readonly [string | Unknown, Span]> {
    if (expression.kind === "list" || (expression.kind === "call" && LISTS.has(expression.name))) {
      for (const each of expression.operands) yield* this.#texts(each, bound);
      return;
    }
    const value = this.#evaluation.valueOf(expression, bound);
    if (value instanceof Unknown && expression.kind === "conditional") {
      yield* this.#texts(expression.yes, bound);
      yield* this.#texts(expression.no, bound);
      return;
    }
    for (const each of Array.isArray(value) ? (value as readonly Value[]) : [value]) {
      if (typeof each === "string" || each instanceof Unknown) yield [each, expression];
    }
  }

  /** Every call of a function that reads files, inside loops once for each item. */
  #functions(expression: Expression, bound: Bound): void {
    this.#evaluation.spend();
    if (expression.kind === "unreadable") return this.#unreadable(expression);
    if (expression.kind === "call" && Object.hasOwn(FILE_FUNCTIONS, expression.name))
      this.#call(expression, bound);
    if (expression.kind !== "for") {
      for (const child of childrenOf(expression)) this.#functions(child, bound);
      return;
    }
    this.#functions(expression.collection, bound);
    const { key, value, condition } = expression;
    const inside = [key, value, condition].filter((each) => each !== undefined);
    for (const each of this.#evaluation.iterations(expression, bound) ?? [bound]) {
      if (this.#evaluation.isExhausted) return this.#unresolved("for", expression, "function");
      for (const child of inside) this.#functions(child, each);
    }
  }

  #call({ name, operands, start, end }: Extract<Expression, { kind: "call" }>, bound: Bound): void {
    const reads = FILE_FUNCTIONS[name];
    const [path, pattern] = operands;
    if (reads === undefined || path === undefined) return;
    const base = reads.relativeTo === "template" ? this.#folders.template : this.#folders.workingDirectory;
    const mention: Mention = { attribute: `${name}()`, span: { start, end }, required: reads.required, base };
    const value = asText(this.#evaluation.valueOf(path, bound));
    if (typeof value !== "string") {
      if (!value.isFileName) this.#unresolved(mention.attribute, mention.span, value.reason);
      return;
    }
    const below = name === "fileset" && pattern !== undefined ? this.#evaluation.valueOf(pattern, bound) : "";
    this.#refer(typeof below === "string" ? posix.join(value, patternBase(below)) : value, mention);
  }

  /** Nested too deeply to be read: it may refer to anything. What is no HCL, Packer refuses. */
  #unreadable(expression: Expression): void {
    if (expression.end > expression.start) this.#unresolved("expression", expression, "function");
  }

  #refer(text: string, { attribute, span, required, mayBeOutside, base }: Mention): void {
    if (text === "") return;
    const path = this.#resolved(text, base ?? this.#folders.workingDirectory);
    if (path !== undefined) {
      this.references.push({ path, attribute, required, place: this.#source.placeOf(span.start) });
    } else if (mayBeOutside !== true) this.#unresolved(attribute, span, "outside");
  }

  /** @returns `undefined` for a path outside of the repository, or a URL */
  #resolved(text: string, base: string): string | undefined {
    if (text.startsWith("~") || /^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return undefined;
    const path = posix.relative(this.#folders.repository, resolve(base, text)) || ".";
    return isRepositoryPath(path) ? path : undefined;
  }

  #unresolved(attribute: string, span: Span, why: UnresolvedReason): void {
    const { start, end } = span;
    const place = this.#source.placeOf(start);
    this.unresolved.push({ attribute, expression: this.#source.excerpt({ start, end }), place, why });
  }
}

const NOTHING_BOUND: Bound = new Map();
const UNKNOWN = new Unknown("function");
/** Functions whose value is a list of their operands' items. */
const LISTS: ReadonlySet<string> = new Set(["compact", "concat", "distinct", "flatten", "reverse", "sort"]);

/** The plugin that a block names. */
function pluginOf({
  type,
  labels,
}: HclBlock): { readonly kind: PluginKind; readonly type: string } | undefined {
  const [first = ""] = labels;
  const kind = PLUGIN_KINDS.find((each) => each === type);
  if (type === "error-cleanup-provisioner") return { kind: "provisioner", type: first };
  if (kind === undefined) return undefined;
  // Inside a build block a source has one label: `source "amazon-ebs.web"`.
  const inBuild = kind === "source" && labels.length === 1;
  return { kind, type: inBuild ? (first.replace(/^source\./, "").split(".")[0] ?? "") : first };
}

/** The paths in one text, by what the attribute holds. */
function pathsIn(holds: ReferenceAttribute["holds"], text: string, before: string): readonly string[] {
  switch (holds) {
    case "path":
    case "playbook":
      return [text];
    case "pattern":
      return [patternBase(text)];
    case "command":
      return text.includes("/") ? [text] : [];
    case "arguments":
      return argumentPaths(text, before);
    case "environment":
    default:
      return environmentPaths(text);
  }
}

/** `ANSIBLE_CONFIG=ansible.cfg`, `ANSIBLE_ROLES_PATH=roles:more`. */
function environmentPaths(text: string): readonly string[] {
  const match = /^ANSIBLE_(?:CONFIG|INVENTORY|LIBRARY|[A-Z_]*PATHS?|[A-Z_]*PLUGINS)=(.*)$/s.exec(text);
  return match?.[1]?.split(":") ?? [];
}

/** `-e @vars.yml`, `--extra-vars=@vars.yml`, `-i hosts`, `--inventory=hosts`: values and inventories from files. */
function argumentPaths(text: string, before: string): readonly string[] {
  const values = /^(?:-e ?|--extra-vars[= ])?["']?@([^"']+)["']?$/.exec(text)?.[1];
  if (values !== undefined) return [values];
  const inventory = /^(?:-i ?|--inventory[= ])([^-].*)$/s.exec(text)?.[1];
  if (inventory !== undefined) return inventory.endsWith(",") ? [] : [inventory];
  return ["-i", "--inventory"].includes(before) && !text.endsWith(",") ? [text] : [];
}

/** The folder that a pattern begins in, or a path without wildcards itself. */
function patternBase(pattern: string): string {
  return pattern === "" ? "" : picomatch.scan(pattern).base || ".";
}
