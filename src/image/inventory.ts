import type { Secrets } from "../domain/secrets.ts";
import { linesOf, printable } from "../domain/printable.ts";

/** One installed package. */
export interface Package {
  readonly name: string;
  readonly version: string;
}

/** What a template says is inside of the image. */
export interface Inventory {
  /** Sorted by code point, each once; a package that is there in several versions has an entry for each. */
  readonly packages: readonly Package[];
  /** `unknown`: neither a list nor an SBOM in JSON that is known here. */
  readonly format: "list" | "cyclonedx" | "spdx" | "unknown";
  /** Lines or entries that name no package with a version. */
  readonly ignored: number;
  /** A secret stood in it, and was left out. */
  readonly hidden: boolean;
}

/** Longest inventory file that is read, bytes. */
export const MAX_INVENTORY_BYTES = 10 * 1024 * 1024;
/** Longest name and version that are kept, characters: a line of the list can be shown anywhere. */
const MAX_NAME = 200;
const MAX_VERSION = 100;
/** A Linux server has some hundreds to some thousands of packages; what is over this is no inventory any more. */
const MAX_PACKAGES = 50_000;

/**
 * Reads an inventory, whatever wrote it: a plain list (`dpkg-query -W`, `rpm -qa`, `pip freeze`), CycloneDX JSON or SPDX
 * JSON. Never throws: what is no package is counted.
 * @param secrets left out, before anything is cut or changed that they could be told by
 */
export function parseInventory(text: string, secrets: Secrets): Inventory {
  const redacted = secrets.redact(text);
  const read = readPackages(redacted.replace(/^\uFEFF/, ""), secrets);
  return { ...read, hidden: read.hidden || redacted !== text };
}

function readPackages(plain: string, secrets: Secrets): Inventory {
  if (!/^\s*[{[]/.test(plain)) return normalised("list", linesOf(plain).map(readLine), secrets);
  const document = readJson(plain);
  const components = listOf(document, "components");
  // CycloneDX 1.6 JSON reference: components[], each with components[] of its own.
  if (components !== undefined)
    return normalised("cyclonedx", nested(components).map(readComponent), secrets);
  const packages = listOf(document, "packages");
  // SPDX 2.3, "Package information": name, versionInfo.
  if (packages !== undefined) return normalised("spdx", packages.map(readSpdxPackage), secrets);
  return { packages: [], format: "unknown", ignored: 0, hidden: false };
}

/** The normalised list as text: `name version` a line. Equal for equal sets of packages, whatever order they came in. */
export function inventoryText({ packages }: Inventory): string {
  return packages.map(({ name, version }) => `${name} ${version}\n`).join("");
}

/** Undefined: nothing that should have been a package; `ignored`: something else than a package with a version. */
type Read = Package | "ignored" | undefined;

function normalised(format: Inventory["format"], read: readonly Read[], secrets: Secrets): Inventory {
  const listed = read.filter((entry) => typeof entry === "object");
  // Once more: JSON may write a letter in another way.
  const open = listed.map(({ name, version }) => ({
    name: secrets.redact(name),
    version: secrets.redact(version),
  }));
  const found = open.map(bounded);
  const complete = found.filter(({ name, version }) => name !== "" && version !== "");
  const byLine = new Map(complete.map((entry) => [`${entry.name} ${entry.version}`, entry]));
  // Bytes of UTF-8 sort as code points do, in every locale; JavaScript's own order is by UTF-16 unit.
  const sorted = [...byLine]
    .map(([line, entry]) => ({ bytes: Buffer.from(line), entry }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ entry }) => entry);
  return {
    packages: sorted.slice(0, MAX_PACKAGES),
    format,
    ignored:
      read.filter((entry) => entry === "ignored").length +
      (found.length - complete.length) +
      Math.max(0, sorted.length - MAX_PACKAGES),
    hidden: open.some(
      ({ name, version }, index) => name !== listed[index]?.name || version !== listed[index].version,
    ),
  };
}

/** One line, no control characters, a blank only between name and version. */
function bounded({ name, version }: Package): Package {
  const clean = (text: string, length: number): string =>
    printable(text.replace(/[\r\n]/g, " "))
      .trim()
      .replace(/\s+/g, "_")
      .slice(0, length)
      // The cut may have gone through a character.
      .replace(/[\uD800-\uDBFF]$/, "");
  return { name: clean(name, MAX_NAME), version: clean(version, MAX_VERSION) };
}

/**
 * A line of a plain list. A version has a digit, which tells a package from a heading or a sentence.
 * `name<tab>version` (dpkg-query -W), `name=version` (apt's own form), `name==version` (pip freeze), `name version`, with
 * an architecture or a repository behind it (dnf list), and `name-version-release.arch` (rpm -qa).
 */
function readLine(raw: string): Read {
  const line = raw.replace(/[^\P{Cc}\t]/gu, "").trim();
  if (line === "" || line.startsWith("#")) return undefined;
  const match =
    /^([^\t]+)\t+([^\t]+)/.exec(line) ??
    /^([^\s=]+)\s*==?\s*(\S+)$/.exec(line) ??
    /^(\S+)\s+(\S+)(?:\s+\S+)?$/.exec(line) ??
    /^(\S+)-([^\s-]+-[^\s-]+)$/.exec(line);
  const [, name, version] = match ?? [];
  return name === undefined || version === undefined || !/\d/.test(version)
    ? "ignored"
    : { name, version: version.trim() };
}

function readComponent(component: unknown): Read {
  const [name, version, group] = [
    textOf(component, "name"),
    textOf(component, "version"),
    textOf(component, "group"),
  ];
  if (name === undefined || version === undefined) return "ignored";
  return { name: group === undefined ? name : `${group}/${name}`, version };
}

function readSpdxPackage(entry: unknown): Read {
  const [name, version] = [textOf(entry, "name"), textOf(entry, "versionInfo")];
  return name === undefined || version === undefined || version === "NOASSERTION" || version === "NONE"
    ? "ignored"
    : { name, version };
}

/** A component and those inside of it, however deep: by a list of what is still to do, since depth is the writer's. */
function nested(components: readonly unknown[]): unknown[] {
  const all: unknown[] = [];
  let left: readonly unknown[] = components;
  while (left.length > 0) {
    for (const component of left) all.push(component);
    left = left.flatMap((component) => listOf(component, "components") ?? []);
  }
  return all;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function listOf(value: unknown, name: string): readonly unknown[] | undefined {
  const field = fieldOf(value, name);
  return Array.isArray(field) ? field : undefined;
}

function textOf(value: unknown, name: string): string | undefined {
  const field = fieldOf(value, name);
  return typeof field === "string" && field.trim() !== "" ? field : undefined;
}
