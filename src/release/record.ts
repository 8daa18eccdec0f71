import { isDigest, isImageId, type Digest, type ImageId } from "../domain/image.ts";
import { REGION } from "../domain/application.ts";
import { formatReleaseTag, parseReleaseTag, type ReleaseTag } from "../domain/release-tag.ts";

/** What a release is: since then, this environment runs this image. */
export interface ReleaseRecord {
  readonly application: string;
  readonly tag: ReleaseTag;
  readonly kind: ReleaseKind;
  /** The commit whose content is released. */
  readonly commit: string;
  readonly version: string;
  /** Region → AMI. */
  readonly images: Readonly<Record<string, ImageId>>;
  readonly imageName: string;
  readonly imageDigest: Digest;
  /** The commit that the image was baked from. */
  readonly imageCommit: string;
  readonly baseImages: Readonly<Record<string, ImageId>>;
  /** The commit that holds what git keeps of the image: its packages, and what its digest is made of. */
  readonly inventory: string | undefined;
  readonly targets: readonly RecordedTarget[];
  /** How many instances in service were seen to run the image; undefined in records of before. */
  readonly verified: { readonly count: number; readonly of: number } | undefined;
  /** What came of the smoke test on all targets; undefined in records of before. */
  readonly smokeTest: SmokeTestResult | undefined;
  /** The record's tag that this one follows. */
  readonly previous: string | undefined;
  /** Rollback: the record whose image is restored. */
  readonly restores: string | undefined;
  /** Promotion: the record that the image is taken from. */
  readonly promotedFrom: string | undefined;
  readonly reason: string | undefined;
  readonly actor: string;
  readonly run: string;
  readonly started: Date;
  readonly finished: Date;
}

export const RELEASE_KINDS = ["deploy", "promotion", "rollback"] as const;
export type ReleaseKind = (typeof RELEASE_KINDS)[number];

/** `none`: the environment has no smoke test. `not-run`: no instance was wanted, or none was replaced. */
export const SMOKE_TEST_RESULTS = ["passed", "none", "not-run"] as const;
export type SmokeTestResult = (typeof SMOKE_TEST_RESULTS)[number];

export interface RecordedTarget {
  readonly region: string;
  readonly group: string;
  readonly launchTemplate: string;
  readonly version: string;
}

/** The one record format that this version writes and reads. */
const FORMAT = "1";

/** Longest message, bytes; what is over it is cut from the prose, never from the trailers. */
export const MAX_MESSAGE_BYTES = 16 * 1024;
/** Longest value of a trailer, bytes: all of them together leave room in the message. */
const MAX_VALUE_BYTES = 1000;
/** Longest message that is read, characters: a later version may write more than this one. */
const MAX_READ = 64 * 1024;

/**
 * The tag's message: a subject, prose, and git trailers (git interpret-trailers), which are the last block. No text from
 * outside can forge a trailer: values are one line each, and prose is followed by an empty line.
 * @param changes what changed since the previous release, for people; may be empty
 */
export function formatRecord(record: ReleaseRecord, changes: string): string {
  const subject = `${SUBJECTS[record.kind]} ${record.application} ${oneLine(record.version)} to ${record.tag.environment} (release ${record.tag.number})`;
  const trailers = trailersOf(record)
    .map(([key, value]) => `${key}: ${oneLine(value)}`)
    .join("\n");
  const prose = changes
    // No git message holds a zero byte, and the others are for terminals.
    .replace(/[^\P{Cc}\t\n]|\p{Cs}/gu, "")
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim()
    // For `git interpret-trailers` a line that begins with `---` ends the message.
    .replace(/^---/gm, " ---");
  const room = MAX_MESSAGE_BYTES - Buffer.byteLength(`${subject}\n\n\n\n${trailers}\n`);
  return [subject, cut(prose, room), trailers].filter((part) => part !== "").join("\n\n") + "\n";
}

const SUBJECTS: Readonly<Record<ReleaseKind, string>> = {
  deploy: "Release",
  promotion: "Promote",
  rollback: "Roll back",
};

function trailersOf(record: ReleaseRecord): readonly (readonly [key: string, value: string])[] {
  const optional = (key: string, value: string | undefined): [string, string][] =>
    value === undefined ? [] : [[key, value]];
  return [
    ["Kiln-Record", FORMAT],
    ["Application", record.application],
    ["Environment", record.tag.environment],
    ["Release", String(record.tag.number)],
    ["Kind", record.kind],
    ["Commit", record.commit],
    ["Version", record.version],
    ...Object.entries(record.images).map(([region, id]): [string, string] => ["Image", `${region} ${id}`]),
    ["Image-Name", record.imageName],
    ["Image-Digest", record.imageDigest],
    ["Image-Commit", record.imageCommit],
    ...Object.entries(record.baseImages).map(([region, id]): [string, string] => [
      "Base-Image",
      `${region} ${id}`,
    ]),
    ...optional("Inventory", record.inventory),
    ...record.targets.map((target): [string, string] => [
      "Target",
      `${target.region} ${target.group} ${target.launchTemplate}@${target.version}`,
    ]),
    ...optional("Verified", record.verified && `${record.verified.count} of ${record.verified.of}`),
    ...optional("Smoke-Test", record.smokeTest),
    ...optional("Previous", record.previous),
    ...optional("Restores", record.restores),
    ...optional("Promoted-From", record.promotedFrom),
    ...optional("Reason", record.reason),
    ["Actor", record.actor],
    ["Run", record.run],
    ["Started", timestamp(record.started)],
    ["Finished", timestamp(record.finished)],
  ];
}

/** RFC 3339 in UTC, whole seconds. */
function timestamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** Control characters, line ends among them, become spaces: a value stays on its line, and is not longer than the limit. */
function oneLine(text: string): string {
  const line = text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
  if (Buffer.byteLength(line) <= MAX_VALUE_BYTES) return line;
  // What is left of a character that the cut went through is no character.
  const begun = Buffer.from(line)
    .subarray(0, MAX_VALUE_BYTES - Buffer.byteLength("…"))
    .toString("utf8")
    .replace(/\uFFFD{1,3}$/, "");
  return `${begun.trim()}…`;
}

/** At most `bytes` of UTF-8, on whole lines, saying that it was cut. */
function cut(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const note = "\n(cut)";
  let result = "";
  for (const line of text.split("\n")) {
    if (Buffer.byteLength(`${result}${line}\n${note}`) > bytes) break;
    result += `${line}\n`;
  }
  return `${result.trimEnd()}${note}`.trim();
}

/** Why a tag's message is no record; the text completes "is no record: …". */
export class NotARecord {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/**
 * Reads a record strictly. Only the last block of the message is read as trailers; unknown ones are ignored; an unknown
 * `Kiln-Record` number, a missing or malformed trailer, a doubled one, or a tag that does not match its name is refused.
 * Never throws.
 * @param name the tag's name, `release/production/000042`
 * @param commit what the tag points at
 */
export function parseRecord(name: string, message: string, commit: string): ReleaseRecord | NotARecord {
  const tag = parseReleaseTag(name);
  if (tag === undefined) return new NotARecord("its name is not <prefix>/<environment>/<six-digit number>");
  if (message.length > MAX_READ) return new NotARecord(`its message is longer than ${MAX_READ / 1024} KiB`);
  const trailers = readTrailers(message);
  if (trailers === undefined) return new NotARecord("its message does not end with a block of trailers");
  const format = trailers.get("Kiln-Record");
  if (format?.length !== 1 || format[0] !== FORMAT) {
    return new NotARecord(
      `its format is Kiln-Record: ${format?.join(", ") ?? "(none)"}; this version reads ${FORMAT}`,
    );
  }
  try {
    return readRecord(new Trailers(trailers), tag, commit);
  } catch (error) {
    if (error instanceof TrailerError) return new NotARecord(error.message);
    throw error;
  }
}

/** The last paragraph as trailers, or undefined where a line of it is none. */
function readTrailers(message: string): ReadonlyMap<string, readonly string[]> | undefined {
  const block = message
    .trimEnd()
    .split(/\n[ \t]*\n/)
    .at(-1);
  if (block === undefined || block === message.trimEnd()) return undefined;
  const trailers = new Map<string, string[]>();
  for (const line of block.split("\n")) {
    const match = /^([A-Za-z][A-Za-z0-9-]*): (.*)$/.exec(line);
    const [, key, value] = match ?? [];
    if (key === undefined || value === undefined) return undefined;
    trailers.set(key, [...(trailers.get(key) ?? []), value]);
  }
  return trailers;
}

class TrailerError extends Error {}

/** Trailers by key, with the refusals that reading a record needs. */
class Trailers {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  all(key: string): readonly string[] {
    return this.#values.get(key) ?? [];
  }

  optional(key: string): string | undefined {
    const values = this.all(key);
    if (values.length > 1) throw new TrailerError(`its trailer ${key} is there ${values.length} times`);
    return values[0];
  }

  one(key: string): string {
    const value = this.optional(key);
    if (value === undefined) throw new TrailerError(`its trailer ${key} is missing`);
    return value;
  }

  date(key: string): Date {
    const text = this.one(key);
    const date = new Date(text);
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) || Number.isNaN(date.getTime())) {
      throw new TrailerError(`its trailer ${key} is no time in UTC: ${text}`);
    }
    return date;
  }

  /** A commit as GitHub's API gives it; strictly 40 digits. */
  optionalCommit(key: string): string | undefined {
    const text = this.optional(key);
    if (text === undefined || /^[0-9a-f]{40}$/.test(text)) return text;
    throw new TrailerError(`its trailer ${key} is no commit: ${text}`);
  }

  commit(key: string): string {
    const text = this.one(key);
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text))
      throw new TrailerError(`its trailer ${key} is no commit: ${text}`);
    return text;
  }

  /** `<region> <ami>`, once a region. */
  images(key: string): Record<string, ImageId> {
    const images: Record<string, ImageId> = {};
    for (const value of this.all(key)) {
      const [region = "", id = "", ...rest] = value.split(" ");
      if (!REGION.test(region) || !isImageId(id) || rest.length > 0) {
        throw new TrailerError(`its trailer ${key} is not "<region> <ami>": ${value}`);
      }
      if (Object.hasOwn(images, region)) throw new TrailerError(`its trailer ${key} names ${region} twice`);
      images[region] = id;
    }
    return images;
  }

  /** `4 of 4`. */
  verified(): ReleaseRecord["verified"] {
    const text = this.optional("Verified");
    if (text === undefined) return undefined;
    const [, count, of] = /^(\d{1,6}) of (\d{1,6})$/.exec(text) ?? [];
    if (count === undefined || of === undefined || Number(count) > Number(of))
      throw new TrailerError(`its trailer Verified is not "<number> of <number>": ${text}`);
    return { count: Number(count), of: Number(of) };
  }

  smokeTest(): SmokeTestResult | undefined {
    const text = this.optional("Smoke-Test");
    const result = SMOKE_TEST_RESULTS.find((each) => each === text);
    if (text !== undefined && result === undefined)
      throw new TrailerError(
        `its trailer Smoke-Test is ${text}, not one of ${SMOKE_TEST_RESULTS.join(", ")}`,
      );
    return result;
  }

  targets(): RecordedTarget[] {
    return this.all("Target").map((value) => {
      const match = /^(\S+) (.+) (\S+)@(\d+)$/.exec(value);
      const [, region, group, launchTemplate, version] = match ?? [];
      if (
        region === undefined ||
        !REGION.test(region) ||
        group === undefined ||
        launchTemplate === undefined ||
        version === undefined
      ) {
        throw new TrailerError(
          `its trailer Target is not "<region> <group> <launch template>@<version>": ${value}`,
        );
      }
      return { region, group, launchTemplate, version };
    });
  }
}

function readRecord(trailers: Trailers, tag: ReleaseTag, commit: string): ReleaseRecord {
  const kind = RELEASE_KINDS.find((candidate) => candidate === trailers.one("Kind"));
  if (kind === undefined) throw new TrailerError(`its trailer Kind is ${trailers.one("Kind")}`);
  const digest = trailers.one("Image-Digest");
  if (!isDigest(digest)) throw new TrailerError(`its trailer Image-Digest is no digest: ${digest}`);
  const released = trailers.commit("Commit");
  if (released !== commit)
    throw new TrailerError(`it is on commit ${commit}, its trailer Commit says ${released}`);
  if (trailers.one("Environment") !== tag.environment || trailers.one("Release") !== String(tag.number)) {
    throw new TrailerError(
      `its trailers say release ${trailers.one("Release")} of ${trailers.one("Environment")}, its name ${formatReleaseTag(tag)}`,
    );
  }
  const images = trailers.images("Image");
  if (Object.keys(images).length === 0) throw new TrailerError("its trailer Image is missing");
  return {
    application: trailers.one("Application"),
    tag,
    kind,
    commit: released,
    version: trailers.one("Version"),
    images,
    imageName: trailers.one("Image-Name"),
    imageDigest: digest,
    imageCommit: trailers.commit("Image-Commit"),
    baseImages: trailers.images("Base-Image"),
    inventory: trailers.optionalCommit("Inventory"),
    targets: trailers.targets(),
    verified: trailers.verified(),
    smokeTest: trailers.smokeTest(),
    previous: trailers.optional("Previous"),
    restores: trailers.optional("Restores"),
    promotedFrom: trailers.optional("Promoted-From"),
    reason: trailers.optional("Reason"),
    actor: trailers.one("Actor"),
    run: trailers.one("Run"),
    started: trailers.date("Started"),
    finished: trailers.date("Finished"),
  };
}
