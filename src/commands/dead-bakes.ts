import { CancelledError } from "../domain/errors.ts";
import type { Digest } from "../domain/image.ts";
import type { BakeOrder } from "../image/bake-order.ts";
import { formatTraces, type Made, parseTraces } from "../image/bake-traces.ts";
import { sweepBake } from "../image/sweep.ts";
import { BAKE_LOCKS, lockOfBake } from "../release/lock.ts";
import { notesOf, parseHolder } from "../release/lock-holder.ts";
import { releaseDead } from "./locks.ts";
import type { Ports, Run } from "./ports.ts";

/**
 * What a run leaves that died in a bake together with its machine: no post step will sweep up behind it. So what Packer
 * makes is noted in the bake's lock, in the repository, and who finds that lock dead sweeps up before it is let go.
 */

/** What tells a bake from all others: a run's attempt bakes a content once at a time. */
export function markOf(digest: Digest, { repository, id, attempt }: Run): string {
  return [repository, id, attempt, digest.slice("sha256:".length, "sha256:".length + 12)].join("/");
}

/** Writes what a bake makes into its lock, one after another. A bake does not fail because it cannot be noted. */
export class NotedTraces {
  readonly #order: Pick<BakeOrder, "region" | "imageName" | "mark">;
  readonly #note: (notes: string) => Promise<void>;
  readonly #ports: Pick<Ports, "log">;
  #last: Promise<void> = Promise.resolve();

  constructor(
    { region, imageName, mark }: BakeOrder,
    note: (notes: string) => Promise<void>,
    ports: Pick<Ports, "log">,
  ) {
    this.#order = { region, imageName, mark };
    this.#note = note;
    this.#ports = ports;
  }

  add(made: Made): void {
    const notes = formatTraces({ ...this.#order, ...made });
    this.#last = this.#last
      .then(() => this.#note(notes))
      .catch((error: unknown) =>
        this.#ports.log.debug(
          `What Packer made could not be noted in the bake's lock: ${error instanceof Error ? error.message : String(error)}`,
        ),
      );
  }

  /** When all of it is written. */
  written(): Promise<void> {
    return this.#last;
  }
}

/** Milliseconds that an instance is given to end. */
const PATIENCE = 5 * 60_000;

/** Removes what a dead run's bake left, by what it noted in its lock. */
export async function sweepDeadBake(message: string, ports: Ports): Promise<void> {
  const traces = parseTraces(notesOf(message));
  if (traces === undefined) return;
  const { clock, log, signal } = ports;
  log.info(`Looking for what the bake of ${traces.imageName} by ${parseHolder(message)?.url ?? "?"} left`);
  try {
    const ec2 = await ports.aws.ec2(traces.region);
    await sweepBake(ec2, traces, {
      clock,
      log,
      signal,
      deadline: new Date(clock.now().getTime() + PATIENCE),
    });
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    log.warning(
      `What the dead bake of ${traces.imageName} left could not be looked for: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Bake locks that are looked at. */
const MOST_LOCKS = 100;

/** Sweeps up behind dead bakes of other contents: nobody may ever bake those again. Live ones are left alone. */
export async function sweepOtherBakes(digest: Digest, run: Run, ports: Ports): Promise<void> {
  const own = digest.slice("sha256:".length);
  try {
    const found = await ports.repository.newestTags([BAKE_LOCKS], MOST_LOCKS);
    for (const { name, tag } of found.get(BAKE_LOCKS) ?? []) {
      if (name === own || tag === undefined) continue;
      await releaseDead(lockOfBake(name), run, ports, (message) => sweepDeadBake(message, ports));
    }
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    ports.log.debug(
      `Dead bakes of other contents could not be looked for: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
