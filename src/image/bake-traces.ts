import * as z from "zod";
import { type BakeEvent, PackerOutput } from "./packer-output.ts";

/** What a bake is known to have made, noted while it ran, by Packer's own words. */
export interface BakeTraces extends Made {
  readonly region: string;
  /** The name that the image was to have. */
  readonly imageName: string;
  /** The value of the tag that this bake alone gives to its instance, where the template uses `bake_tags`. */
  readonly mark: string;
}

/** What Packer said that it made for the time of the bake. */
export interface Made {
  readonly keyPair?: string;
  readonly securityGroup?: string;
  readonly instance?: string;
}

/** Follows what Packer says that it makes. The first of a kind is its own: a provisioner prints later, if at all. */
export class MadeReader {
  readonly #reader = new PackerOutput();
  made: Made = {};

  /** True where the line tells of something more. */
  read(line: string): boolean {
    const before = this.made;
    for (const event of this.#reader.read(line)) this.#take(event);
    return this.made !== before;
  }

  #take(event: BakeEvent): void {
    if (event.kind !== "temporary") return;
    const key = KEYS[event.resource];
    if (this.made[key] === undefined) this.made = { ...this.made, [key]: event.id };
  }
}

const KEYS = { "key-pair": "keyPair", "security-group": "securityGroup", instance: "instance" } as const;

/** What Packer's output, line by line, tells that it made. */
export async function madeOf(output: AsyncIterable<string> | Iterable<string>): Promise<Made> {
  const reader = new MadeReader();
  for await (const line of output) reader.read(line);
  return reader.made;
}

/** What a bake notes in its lock, for who takes that over: one line. */
export function formatTraces(traces: BakeTraces): string {
  return JSON.stringify(traces);
}

/** Undefined where it says nothing that could be swept up. */
export function parseTraces(text: string | undefined): BakeTraces | undefined {
  try {
    const found = TRACES.safeParse(JSON.parse(text ?? ""));
    return found.success ? (found.data as BakeTraces) : undefined;
  } catch {
    return undefined;
  }
}

const TRACES = z.object({
  region: z.string().regex(/^[a-z]{2}(?:-[a-z]+)+-\d$/),
  imageName: z.string(),
  mark: z.string(),
  keyPair: z.string().optional(),
  securityGroup: z.string().optional(),
  instance: z.string().optional(),
});
