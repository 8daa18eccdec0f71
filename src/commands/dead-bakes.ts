import { CancelledError } from "../domain/errors.ts";
import { type Digest, type ImageId, TAG } from "../domain/image.ts";
import type { BakeOrder } from "../image/bake-order.ts";
import {
  bakeMark,
  type BakeRun,
  type BakeTraces,
  type Ended,
  formatTraces,
  type Made,
  type NotedBake,
  parseTraces,
} from "../image/bake-traces.ts";
import { type CatalogueImage, describeImage } from "../image/catalogue.ts";
import { adoptable, completeImages } from "../image/completion.ts";
import { sweepBake } from "../image/sweep.ts";
import { isMarked } from "../image/trust.ts";
import { BAKE_LOCKS, lockOfBake } from "../release/lock.ts";
import { notesOf, parseHolder } from "../release/lock-holder.ts";
import { releaseDead } from "./locks.ts";
import { ownAccount, repositoriesOf, trustedOwner } from "./own-account.ts";
import type { Ports, Run } from "./ports.ts";
import type { DeployRequest } from "./request.ts";

/**
 * What a run leaves that died in a bake together with its machine: no post step will finish or remove it. So the bake notes
 * in its lock, in the repository, what Packer makes and that Packer ended with 0; whoever finds that lock dead completes the
 * image or removes what is left, before the lock is let go.
 */

/** The mark of a run's bake of a content. */
export function markOf(digest: Digest, run: BakeRun): string {
  return bakeMark(hashOf(digest), run);
}

const hashOf = (digest: Digest): string => digest.slice("sha256:".length);

/** Writes what a bake makes into its lock, one after another. A bake does not fail because it cannot be noted. */
export class NotedTraces {
  #traces: BakeTraces;
  readonly #note: (notes: string) => Promise<void>;
  readonly #ports: Pick<Ports, "log">;
  #last: Promise<void> = Promise.resolve();

  constructor(
    { region, imageName, mark }: Pick<BakeOrder, "region" | "imageName" | "mark">,
    note: (notes: string) => Promise<void>,
    ports: Pick<Ports, "log">,
  ) {
    this.#traces = { region, imageName, mark, from: "note" };
    this.#note = note;
    this.#ports = ports;
  }

  add(more: Made | { readonly ended: Ended }): void {
    const before = formatTraces(this.#traces);
    this.#traces = { ...this.#traces, ...more };
    const notes = formatTraces(this.#traces);
    if (notes === before) return;
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

/** What a dead run noted of its bake, in a lock that it or who took that over held. */
interface DeadBake {
  readonly traces: NotedBake;
  /** The page of the run that baked. */
  readonly url: string;
}

/** Undefined if the lock says nothing, or not in the form in which Kiln writes it: then nothing is touched. */
async function readDead(
  message: string,
  hash: string,
  run: Run,
  ports: Ports,
): Promise<DeadBake | undefined> {
  const holder = parseHolder(message);
  const traces = parseTraces(notesOf(message), { hash, repository: run.repository });
  if (holder === undefined || traces === undefined) return undefined;
  const { id, attempt } = traces.run;
  // The holder has ended. It may have died while it finished what another's bake had left.
  const isHolders = id === holder.id && attempt === holder.attempt;
  if (!isHolders && !(await hasEnded(traces.run, run, ports))) return undefined;
  return { traces, url: `${run.serverUrl}/${run.repository}/actions/runs/${id}` };
}

async function hasEnded({ id, attempt }: BakeRun, run: Run, { repository }: Ports): Promise<boolean> {
  if (id === run.id) return Number(attempt) < Number(run.attempt);
  const state = await repository.runState(id);
  if (state.kind === "forbidden" || state.kind === "gone") return false;
  return Number(attempt) < state.attempt || (Number(attempt) === state.attempt && state.kind === "ended");
}

/** An image that a dead run's bake made, completed by this run. */
export interface Inherited {
  readonly id: ImageId;
  /** The run that baked it. */
  readonly runId: string;
}

/**
 * Finishes what a dead run's bake of this content left: completes its image if the run noted that Packer had ended with 0,
 * else removes what is left of it.
 * @param message the dead lock's
 */
export async function inheritBake(
  message: string,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<Inherited | undefined> {
  const dead = await readDead(message, hashOf(digest), request.run, ports);
  if (dead === undefined) return undefined;
  const image = await adopt(dead, digest, request, ports);
  if (image !== undefined) return { id: image.id, runId: dead.traces.run.id };
  await sweep(dead, request, ports);
  return undefined;
}

/** The image of a dead run's bake, complete; undefined if Packer did not end with 0, or it is not what the run noted. */
async function adopt(
  { url, traces }: DeadBake,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<CatalogueImage | undefined> {
  const { ended, region } = traces;
  if (ended === undefined) return undefined;
  const { aws, log } = ports;
  log.info(`Run ${url} died after Packer had ended with 0: looking for its image ${traces.imageName}`);
  try {
    const account = await ownAccount(region, ports);
    const owner = { ...trustedOwner(request, account), digest };
    const found = await adoptable(aws, { ...traces, ended }, owner);
    if ("why" in found) {
      log.notice(`The image that ${url} baked is not used: ${found.why}`);
      return undefined;
    }
    const { repository } = request.run;
    const tags = {
      [TAG.application]: request.application.name,
      [TAG.repository]: repository,
      [TAG.commit]: ended.commit,
      [TAG.version]: ended.version,
      ...(ended.branch === undefined ? {} : { [TAG.branch]: ended.branch }),
      [TAG.run]: url,
    };
    const image = await completeImages(aws, { region, ids: found.ids, account, digest, tags }, ports);
    log.notice(`Completed ${image.id} (${image.name}), which ${url} baked before it died`);
    return image;
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    log.warning(
      `The image that ${url} baked could not be completed: ${error instanceof Error ? error.message : String(error)}`,
    );
    return undefined;
  }
}

/** Removes what a dead run's bake left, by what it noted in its lock. */
async function sweep({ url, traces }: DeadBake, request: DeployRequest, ports: Ports): Promise<void> {
  const { clock, log, signal } = ports;
  log.info(`Looking for what the bake of ${traces.imageName} by ${url} left`);
  await sweepBake(ports.aws, traces, {
    clock,
    log,
    signal,
    deadline: new Date(clock.now().getTime() + PATIENCE),
    repositories: repositoriesOf(request),
    run: url,
  });
}

/** Bake locks that are looked at. */
const MOST_LOCKS = 100;

/** Sweeps up behind dead bakes of other contents: nobody may ever bake those again. Live ones are left alone. */
export async function sweepOtherBakes(digest: Digest, request: DeployRequest, ports: Ports): Promise<void> {
  const { run } = request;
  try {
    const found = await ports.repository.newestTags([BAKE_LOCKS], MOST_LOCKS);
    for (const { name, tag } of found.get(BAKE_LOCKS) ?? []) {
      if (name === hashOf(digest) || tag === undefined || !/^[0-9a-f]{64}$/.test(name)) continue;
      const dead = await readDead(tag.message, name, run, ports);
      if (dead !== undefined && (await isWaiting(dead, ports))) continue;
      await releaseDead(lockOfBake(name), run, ports, async (message) => {
        const now = await readDead(message, name, run, ports);
        if (now !== undefined) await sweep(now, request, ports);
      });
    }
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    ports.log.debug(
      `Dead bakes of other contents could not be looked for: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Milliseconds that an image which Packer finished waits for a run of its own content to complete it. */
const ADOPTABLE_FOR = 24 * 60 * 60_000;

/** Whether another content's image is still to be completed: by the re-run of the job that baked it. */
async function isWaiting({ traces: { ended, region } }: DeadBake, ports: Ports): Promise<boolean> {
  const id = ended?.ids[region];
  if (id === undefined) return false;
  const image = await describeImage(await ports.aws.ec2(region), region, id);
  if (image === undefined || isMarked(image)) return false;
  return ports.clock.now().getTime() - image.created.getTime() < ADOPTABLE_FOR;
}
