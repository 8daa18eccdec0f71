import { once } from "node:events";
import type { ChildProcess } from "node:child_process";
import type { Hold } from "../../sandbox/clock.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Stage } from "./stage.ts";
import { until } from "./until.ts";

/**
 * Moments of a job at which something is done to it. The sandbox's time stands still from the moment on, so that what
 * follows meets the same state on every machine, however slow it is.
 */

/** Waits until something is so; from then on time stands still, until `release` is called. */
export async function standStill(stage: Stage, what: string, holds: () => boolean): Promise<Hold> {
  const hold = stage.sandbox.clock.holdWhen(holds);
  await until(what, () => hold.isReached());
  return hold;
}

/** Lets time go on when the process has ended, or something is so. */
export async function goOnAfter(
  hold: Hold,
  child: ChildProcess | undefined,
  answered: () => boolean = () => false,
): Promise<void> {
  let hasEnded = child === undefined || child.exitCode !== null || child.signalCode !== null;
  if (child !== undefined && !hasEnded) void once(child, "exit").then(() => (hasEnded = true));
  await until("the process has answered", () => hasEnded || answered());
  hold.release();
}

/** Whether Packer's instance is being terminated: Packer is cleaning up. */
export function isTakenDown({ sandbox }: Stage): boolean {
  return sandbox.ec2
    .instances(HOME)
    .some(
      ({ keyName, state }) =>
        keyName?.startsWith("packer_") === true && ["shutting-down", "terminated"].includes(state),
    );
}

/** For a job's `onOutput`: lets time go on when the log says something. */
export function goOnAt(hold: Hold, words: string): (text: string) => void {
  let log = "";
  return (text) => {
    log += text;
    if (log.includes(words)) hold.release();
  };
}
