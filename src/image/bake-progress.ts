import { formatDuration } from "../domain/duration.ts";
import type { ImageId } from "../domain/image.ts";
import { shortened } from "../domain/printable.ts";
import type { Baked, BakeTools } from "./bake-order.ts";
import { MadeReader } from "./bake-traces.ts";
import { PackerOutput, type Phase } from "./packer-output.ts";

/** Characters of a line of Packer's output that are shown. */
const MAX_LINE = 2000;

/** How many lines of Packer's output are shown again when a bake fails. */
const TAIL_LINES = 30;

/** How many are searched for a known cause: a filter that finds no base image is printed in full after the message. */
const RECENT_LINES = 200;

/** Prints what Packer does as it does it, and keeps what the result needs. */
export class BakeProgress {
  /** The last lines of Packer's output that are not empty. */
  readonly recent: string[] = [];
  readonly #output = new PackerOutput();
  readonly #made = new MadeReader();
  readonly #ids = new Map<string, Set<ImageId>>();
  readonly #phases: { phase: Phase; startedAt: number }[] = [];
  readonly #startedAt: number;
  readonly #tools: BakeTools;
  #baseImage: ImageId | undefined;

  constructor(tools: BakeTools) {
    this.#tools = tools;
    this.#startedAt = tools.clock.now().getTime();
  }

  /** The last of them, to be shown again when the bake fails. */
  get tail(): readonly string[] {
    return this.recent.slice(-TAIL_LINES);
  }

  line(raw: string): void {
    // Cut only now: half of a secret would not be known for one.
    const line = shortened(this.#tools.secrets.redact(raw), MAX_LINE);
    if (line.trim() !== "") {
      this.recent.push(line);
      if (this.recent.length > RECENT_LINES) this.recent.shift();
    }
    this.#tools.log.info(line);
    if (this.#made.read(raw)) this.#tools.onMade(this.#made.made);
    for (const event of this.#output.read(raw)) {
      if (event.kind === "phase") this.#enter(event.phase);
      else if (event.kind === "base-image") this.#baseImage ??= event.id;
      else if (event.kind === "artifact") {
        this.#ids.set(event.region, (this.#ids.get(event.region) ?? new Set<ImageId>()).add(event.id));
      }
    }
  }

  result(): Omit<Baked, "inventory"> {
    const end = this.#tools.clock.now().getTime();
    return {
      ids: this.#ids,
      baseImage: this.#baseImage,
      phases: this.#phases.map(({ phase, startedAt }, index) => ({
        phase,
        milliseconds: (this.#phases[index + 1]?.startedAt ?? end) - startedAt,
      })),
    };
  }

  #enter(phase: Phase): void {
    if (this.#phases.at(-1)?.phase === phase) return;
    const startedAt = this.#tools.clock.now().getTime();
    this.#phases.push({ phase, startedAt });
    this.#tools.log.info(`── ${phase} (after ${formatDuration(startedAt - this.#startedAt)}) ──`);
  }
}
