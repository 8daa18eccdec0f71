/** What is tried with each seed: 6 in every run of the tests, 200 by KILN_CHAOS=all; KILN_SEEDS sets how many, KILN_SEED tries one. */
export interface Seeded {
  readonly name: string;
  /** Plays it with one seed; what was wrong, in words. */
  readonly play: (seed: number) => Promise<Played>;
  /** Seeds in every run of the tests, where six would take too long. */
  readonly few?: number;
  /** Seeds that once showed a defect: tried in every run of the tests. */
  readonly also?: readonly number[];
}

export interface Played {
  /** Empty where all was as it must be. */
  readonly wrong: readonly string[];
  /** What each run printed, for whoever has to find out why. */
  readonly told: readonly string[];
  /** What became of the runs, counted over all seeds: a story in which only one thing ever happens tests little. */
  readonly ends: readonly string[];
}

const ALL = 200;
const FEW = 6;

function seeds(few: number, also: readonly number[]): number[] {
  const one = process.env["KILN_SEED"];
  if (one !== undefined) return [Number(one)];
  const count = Number(process.env["KILN_SEEDS"] ?? (process.env["KILN_CHAOS"] === "all" ? ALL : few));
  return [...new Set([...Array.from({ length: count }, (_, index) => index + 1), ...also])];
}

/** Plays a story with all seeds, and prints one line with the counts. Returns what went wrong, with the seeds. */
export async function tryAll({ name, play, few = FEW, also = [] }: Seeded): Promise<readonly string[]> {
  const wrong: string[] = [];
  const ends = new Map<string, number>();
  const tried = seeds(few, also);
  for (const seed of tried) {
    const played = await play(seed);
    if (played.wrong.length > 0)
      wrong.push(`KILN_SEED=${seed}: ${played.wrong.join("; ")}\n${played.told.join("\n---\n")}`);
    const end = played.ends.join(", ");
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  const counted = [...ends].toSorted(([, a], [, b]) => b - a).map(([end, count]) => `${count} × ${end}`);
  process.stdout.write(
    `${name}: ${tried.length} tried, ${tried.length - wrong.length} as they must be (${counted.join("; ")})\n`,
  );
  return wrong;
}

/** mulberry32: small, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
