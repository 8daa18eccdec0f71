import { stripVTControlCharacters } from "node:util";
import * as z from "zod";
import { REGION } from "../domain/application.ts";
import { type ImageId, isImageId, isImageName } from "../domain/image.ts";
import { type BakeEvent, PackerOutput } from "./packer-output.ts";

/** What a bake is known to have made, by Packer's own words. */
export interface BakeTraces extends Made {
  readonly region: string;
  /** The name that the image was to have. */
  readonly imageName: string;
  /** The value of the tag that this bake alone gives to its instance, where the template uses `bake_tags`. */
  readonly mark: string;
  /** Present once Packer has ended with 0. */
  readonly ended?: Ended | undefined;
  /**
   * `output`: read from Packer's output by the job that ran it. `note`: read from the bake's lock, a git ref that anybody
   * who may push can write; then only what AWS shows to be this bake's is touched.
   */
  readonly from: "output" | "note";
}

/** The run that bakes. */
export interface BakeRun {
  readonly repository: string;
  readonly id: string;
  readonly attempt: string;
}

/**
 * What tells a bake from all others: a run's attempt bakes a content once at a time.
 * @param hash the digest's hexadecimal digits
 */
export function bakeMark(hash: string, { repository, id, attempt }: BakeRun): string {
  return [repository, id, attempt, hash.slice(0, 12)].join("/");
}

/** What Packer said that it made for the time of the bake; one of each kind for each of the template's builds. */
export interface Made {
  readonly keyPairs?: readonly string[] | undefined;
  readonly securityGroups?: readonly string[] | undefined;
  readonly instances?: readonly string[] | undefined;
  /** The build runs on a Spot Instance: there is a launch template to look for. */
  readonly spot?: true | undefined;
  /** The build registers its image from snapshots of its volumes: there are snapshots to look for. */
  readonly surrogate?: true | undefined;
  /** The other regions that Packer began to copy the image to (`ami_regions`). */
  readonly copiedTo?: readonly string[] | undefined;
  /** Images that were begun, as a build or one of its provisioners says. Never noted. */
  readonly images?: readonly string[] | undefined;
  /** The closing list, which no provisioner can forge: `region ami-…`. Never noted. */
  readonly artifacts?: readonly string[] | undefined;
}

/** What is needed to complete the images of a bake that Packer ended with 0. */
export interface Ended {
  /** Region → AMI: one in each. */
  readonly ids: Readonly<Record<string, ImageId>>;
  readonly commit: string;
  readonly version: string;
  readonly branch?: string | undefined;
}

/** What Packer's Amazon builder calls what it makes for a bake: `packer_` and a UUID, new for each. */
export const PACKER_NAME = /^packer_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const INSTANCE = /^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;

/** Builds of a template, and regions, whose resources are followed. */
const MOST = 30;

/**
 * Follows what Packer says that it makes. A build's first of a kind is its own: a provisioner prints later, if at all, and
 * only under its own build's name.
 */
export class MadeReader {
  readonly #reader = new PackerOutput();
  readonly #seen = new Set<string>();
  made: Made = {};

  /** True if the line tells of something more. */
  read(line: string): boolean {
    const before = this.made;
    const build = /^(?:==>|\s{4})([^:]+):/.exec(stripVTControlCharacters(line))?.[1]?.trim() ?? "";
    for (const event of this.#reader.read(line)) this.#take(event, build);
    return this.made !== before;
  }

  #take(event: BakeEvent, build: string): void {
    if ((event.kind === "spot" || event.kind === "surrogate") && this.made[event.kind] === undefined)
      this.made = { ...this.made, [event.kind]: true };
    if (event.kind === "copying") this.#add("copiedTo", event.region);
    if (event.kind === "image") this.#add("images", event.id);
    if (event.kind === "artifact") this.#add("artifacts", `${event.region} ${event.id}`);
    if (event.kind !== "temporary") return;
    const key = `${build} ${event.resource}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    // A name that the template gives (`temporary_key_pair_name`) may be anybody's.
    if (event.resource === "instance" ? INSTANCE.test(event.id) : PACKER_NAME.test(event.id))
      this.#add(KEYS[event.resource], event.id);
  }

  #add(kind: Exclude<keyof Made, "spot" | "surrogate">, id: string): void {
    const known = this.made[kind] ?? [];
    if (!known.includes(id) && known.length < MOST) this.made = { ...this.made, [kind]: [...known, id] };
  }
}

const KEYS = { "key-pair": "keyPairs", "security-group": "securityGroups", instance: "instances" } as const;

/** What Packer's output, line by line, tells that it made. */
export async function madeOf(output: AsyncIterable<string> | Iterable<string>): Promise<Made> {
  const reader = new MadeReader();
  for await (const line of output) reader.read(line);
  return reader.made;
}

/** What a bake notes in its lock, for whoever takes that over: one line. */
export function formatTraces(traces: BakeTraces): string {
  const { region, imageName, mark, keyPairs, securityGroups, instances, spot, surrogate } = traces;
  const { copiedTo, ended } = traces;
  // Who takes the lock over and dies as well leaves these notes in a lock of its own: so they say whose bake it was.
  const [id, attempt] = mark.split("/").slice(-3);
  const run = { id, attempt };
  const made = { keyPairs, securityGroups, instances, spot, surrogate, copiedTo };
  return JSON.stringify({ region, imageName, run, ...made, ended });
}

/**
 * What a bake noted in its lock, each part of which has the form that it must have.
 * @param hash the digest's hexadecimal digits, from the name of the lock's ref
 * @param repository this one: a note is about its own bakes only
 * @returns undefined if any part of it is not what Kiln writes
 */
export function parseTraces(
  text: string | undefined,
  { hash, repository }: { readonly hash: string; readonly repository: string },
): NotedBake | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
  const found = NOTED.safeParse(value);
  if (!found.success || !isImageName(found.data.imageName, hash)) return undefined;
  const run = { repository, ...found.data.run };
  return { ...found.data, run, mark: bakeMark(hash, run), from: "note" };
}

/** What a bake noted, and the run whose bake it was. */
export interface NotedBake extends BakeTraces {
  readonly run: BakeRun;
}

const region = z.string().regex(REGION);
const packerNames = z.array(z.string().regex(PACKER_NAME)).max(MOST);
/** A tag's value (EC2 user guide: tag restrictions), on one line. */
const tagValue = z
  .string()
  .max(256)
  .regex(/^[^\p{Cc}]*$/u);

const NOTED = z.object({
  region,
  imageName: z.string(),
  run: z.object({ id: z.string().regex(/^\d{1,15}$/), attempt: z.string().regex(/^\d{1,6}$/) }),
  keyPairs: packerNames.optional(),
  securityGroups: packerNames.optional(),
  instances: z.array(z.string().regex(INSTANCE)).max(MOST).optional(),
  spot: z.literal(true).optional(),
  surrogate: z.literal(true).optional(),
  copiedTo: z.array(region).max(MOST).optional(),
  ended: z
    .object({
      ids: z
        .record(
          region,
          z.custom<ImageId>((id) => typeof id === "string" && isImageId(id)),
        )
        .refine((ids) => Object.keys(ids).length <= MOST),
      commit: z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/),
      version: tagValue,
      branch: tagValue.optional(),
    })
    .optional(),
});
