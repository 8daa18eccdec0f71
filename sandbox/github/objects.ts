import type { GitObject } from "./git.ts";

/** Who wrote a commit or a tag, and when. */
export interface Actor {
  readonly name: string;
  readonly email: string;
  /** Seconds since the epoch. */
  readonly time: number;
  /** `+0200`. */
  readonly zone: string;
}

export interface Commit {
  readonly oid: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: Actor;
  readonly committer: Actor;
  readonly message: string;
}

export interface Tag {
  readonly oid: string;
  readonly object: string;
  readonly type: string;
  readonly name: string;
  /** Absent in tags from git's first year, and where a tool left it out. */
  readonly tagger: Actor | undefined;
  readonly message: string;
}

/** Commits and tags have one form: header lines, a blank line, the message. */
function split(object: GitObject): { header: readonly string[]; message: string } {
  const text = object.body.toString();
  const end = text.indexOf("\n\n");
  return end === -1
    ? { header: text.split("\n"), message: "" }
    : { header: text.slice(0, end).split("\n"), message: text.slice(end + 2) };
}

function values(header: readonly string[], key: string): string[] {
  return header.filter((line) => line.startsWith(`${key} `)).map((line) => line.slice(key.length + 1));
}

function readActor(text: string | undefined): Actor | undefined {
  const match = /^(.*?) ?<(.*)> (\d+) ([+-]\d{4})$/.exec(text ?? "");
  if (match === null) return undefined;
  const [, name = "", email = "", time, zone = "+0000"] = match;
  return { name, email, time: Number(time), zone };
}

const NOBODY: Actor = { name: "", email: "", time: 0, zone: "+0000" };

export function readCommit(object: GitObject): Commit {
  const { header, message } = split(object);
  return {
    oid: object.oid,
    tree: values(header, "tree")[0] ?? "",
    parents: values(header, "parent"),
    author: readActor(values(header, "author")[0]) ?? NOBODY,
    committer: readActor(values(header, "committer")[0]) ?? NOBODY,
    message,
  };
}

export function readTag(object: GitObject): Tag {
  const { header, message } = split(object);
  return {
    oid: object.oid,
    object: values(header, "object")[0] ?? "",
    type: values(header, "type")[0] ?? "",
    name: values(header, "tag")[0] ?? "",
    tagger: readActor(values(header, "tagger")[0]),
    message,
  };
}

export function formatCommit(commit: Omit<Commit, "oid">): string {
  return [
    `tree ${commit.tree}`,
    ...commit.parents.map((parent) => `parent ${parent}`),
    `author ${formatActor(commit.author)}`,
    `committer ${formatActor(commit.committer)}`,
    "",
    commit.message,
  ].join("\n");
}

/** The message goes in byte for byte: GitHub does not clean messages up as `git tag` does. */
export function formatTag(tag: Omit<Tag, "oid" | "tagger"> & { readonly tagger: Actor }): string {
  return [
    `object ${tag.object}`,
    `type ${tag.type}`,
    `tag ${tag.name}`,
    `tagger ${formatActor(tag.tagger)}`,
    "",
    tag.message,
  ].join("\n");
}

/** git drops what would end the field early (`ident.c`, "crud"). */
function formatActor(actor: Actor): string {
  const clean = (text: string): string => text.replaceAll(/[<>\n\0]/g, "").trim();
  return `${clean(actor.name)} <${clean(actor.email)}> ${actor.time} ${actor.zone}`;
}

/** REST's form of a date: always UTC, whole seconds. */
export function utc(actor: Actor): string {
  return new Date(actor.time * 1000).toISOString().replace(".000Z", "Z");
}

/** GraphQL's `GitTimestamp`: the zone of the author is kept. */
export function zoned(actor: Actor): string {
  if (actor.zone === "+0000") return utc(actor);
  const sign = actor.zone.startsWith("-") ? -1 : 1;
  const minutes = sign * (Number(actor.zone.slice(1, 3)) * 60 + Number(actor.zone.slice(3)));
  const local = utc({ ...actor, time: actor.time + minutes * 60 });
  return local.replace("Z", `${actor.zone.slice(0, 3)}:${actor.zone.slice(3)}`);
}
