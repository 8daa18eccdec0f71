import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import { printable, shortened } from "../domain/printable.ts";
import type { Digest } from "../domain/image.ts";
import type { Clock, Log } from "../domain/ports.ts";
import type { Repository } from "../github/repository.ts";

/** A lock that this run holds. */
export interface Lock {
  readonly ref: string;
  /** The tag object that the ref points at. */
  readonly sha: string;
}

/** What is locked: one run at a time changes an environment, and one bakes a content. */
export interface Lockable {
  readonly ref: string;
  /** In words, for who waits: `production`. */
  readonly name: string;
  /** The tag object's own name. */
  readonly tag: string;
}

export interface LockOrder {
  readonly what: Lockable;
  /** The commit that the record will tag: whether the token may write on it is found out here. */
  readonly commit: string;
  readonly run: LockHolder;
  /** Milliseconds to wait for a lock that another run holds. */
  readonly timeout: number;
  /** Done before each pause of that wait. */
  readonly meanwhile?: (() => Promise<void>) | undefined;
}

/** Who holds a lock: a run of a workflow. */
export interface LockHolder {
  readonly id: string;
  readonly attempt: string;
  readonly url: string;
  readonly actor: string;
}

export interface LockTools {
  readonly repository: Repository;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const PAUSE = 10_000;

export function lockRef(environment: string): string {
  return `refs/kiln/lock/${environment}`;
}

export function environmentLock(environment: string): Lockable {
  return { ref: lockRef(environment), name: environment, tag: `kiln-lock-${environment}` };
}

/** Beside the environments' locks, whose names could be anything. */
export function bakeLock(digest: Digest): Lockable {
  const hash = digest.slice("sha256:".length);
  return {
    ref: `refs/kiln/bake/${hash}`,
    name: `the bake of ${digest}`,
    tag: `kiln-bake-${hash.slice(0, 12)}`,
  };
}

/**
 * Takes a lock: the creation of a ref, which GitHub does for one run only. A lock whose run has ended is
 * taken over; a live one is waited for.
 * @returns the lock, and whether it had to be waited for or taken over: then what was observed before may be old
 * @throws KilnError where the token may not write (nothing was touched), or the holder does not let go in time
 */
export async function takeLock(
  order: LockOrder,
  tools: LockTools,
): Promise<{ lock: Lock; contended: boolean }> {
  const { repository, clock, log } = tools;
  const { ref, name, tag } = order.what;
  const sha = await repository.createTag({
    name: tag,
    message: formatHolder(order),
    commit: order.commit,
  });
  const deadline = clock.now().getTime() + order.timeout;
  let contended = false;
  let said = "";
  for (;;) {
    if ((await repository.createRef(ref, sha)) === "created") return { lock: { ref, sha }, contended };
    const held = await repository.readRef(ref);
    // Released in this very moment: try again, at a walking pace in case the ref can never be read.
    if (held === undefined && clock.now().getTime() < deadline) {
      await clock.sleep(1000, tools.signal);
      continue;
    }
    if (held === undefined) throw stillHeld(order, ref, "somebody (its lock cannot be read)");
    // Our own, its creation's answer was lost.
    if (held === sha) return { lock: { ref, sha }, contended };
    contended = true;
    const holder = parseHolder((await repository.readTag(held))?.message ?? "");
    if (await mayTakeOver(holder, order, tools)) {
      log.notice(
        `Taking over the lock of ${name}: ${holder?.url ?? "its run"} has ended without releasing it`,
      );
      await releaseLock(repository, { ref, sha: held });
      continue;
    }
    const whose =
      holder === undefined ? "somebody (its lock cannot be read)" : `${holder.actor}'s run ${holder.url}`;
    if (clock.now().getTime() >= deadline) throw stillHeld(order, ref, whose);
    if (said !== whose) {
      log.notice(`${name} is locked by ${whose}; waiting for up to ${formatDuration(order.timeout)}`);
      said = whose;
    }
    await order.meanwhile?.();
    await clock.sleep(Math.min(PAUSE, Math.max(0, deadline - clock.now().getTime())), tools.signal);
  }
}

/** A run's own earlier attempt has ended, since this one runs; of other runs GitHub is asked. */
async function mayTakeOver(
  holder: LockHolder | undefined,
  order: LockOrder,
  tools: LockTools,
): Promise<boolean> {
  if (holder === undefined) return false;
  if (holder.id === order.run.id) return holder.attempt !== order.run.attempt;
  const state = await tools.repository.runState(holder.id);
  if (state === "unknown") {
    tools.log.debug(
      `Whether run ${holder.id} has ended is not known: the token needs \`actions: read\` to ask`,
    );
  }
  return state === "ended";
}

function stillHeld(order: LockOrder, ref: string, whose: string): KilnError {
  return new KilnError(
    `${order.what.name} is still locked by ${whose} after ${formatDuration(order.timeout)}`,
    {
      state: "Nothing was changed.",
      next: `Wait for that run, or cancel it, then run this job again. If it is gone for good, give this job \`permissions: actions: read\` so that Kiln can see that, or delete the lock: \`gh api -X DELETE repos/{owner}/{repo}/git/${ref}\`.`,
    },
  );
}

/** Lets a lock go, if the ref still points at it: nobody else's lock is ever deleted. */
export async function releaseLock(repository: Repository, lock: Lock): Promise<boolean> {
  if ((await repository.readRef(lock.ref)) !== lock.sha) return false;
  await repository.deleteRef(lock.ref);
  return true;
}

/** Lets go a lock that an earlier attempt of this very run took and did not come to release. */
export async function releaseAbandoned(
  repository: Repository,
  { ref }: Lockable,
  run: Pick<LockHolder, "id" | "attempt">,
): Promise<boolean> {
  const sha = await repository.readRef(ref);
  const holder = sha === undefined ? undefined : parseHolder((await repository.readTag(sha))?.message ?? "");
  if (sha === undefined || holder?.id !== run.id || holder.attempt === run.attempt) return false;
  return releaseLock(repository, { ref, sha });
}

function formatHolder({ what, run }: LockOrder): string {
  const lines = [`Run-Id: ${run.id}`, `Attempt: ${run.attempt}`, `Run: ${run.url}`, `Actor: ${run.actor}`];
  return `Lock of ${what.name}\n\n${lines.map((line) => printable(line.replace(/[\r\n]/g, " "))).join("\n")}\n`;
}

/** Characters of a lock's message that are read, and of a line of it: anybody who may push can have written it. */
const MAX_HOLDER = 10_000;
const MAX_FIELD = 500;

function parseHolder(message: string): LockHolder | undefined {
  const lines = message.slice(0, MAX_HOLDER).split("\n");
  const value = (key: string): string | undefined => {
    const line = lines.find((each) => each.startsWith(`${key}: `));
    const text = line === undefined ? "" : printable(line.slice(key.length + 2));
    return text === "" ? undefined : shortened(text, MAX_FIELD);
  };
  const [id, attempt, url, actor] = [value("Run-Id"), value("Attempt"), value("Run"), value("Actor")];
  return id === undefined || attempt === undefined || url === undefined || actor === undefined
    ? undefined
    : { id, attempt, url, actor };
}
