import { hasCode } from "../domain/errors.ts";
import type { Clock } from "../domain/ports.ts";

/**
 * What EC2 and Auto Scaling answer for an id that they do not know. For one that was made a moment ago it means "not yet
 * everywhere" (EC2 developer guide, Eventual consistency in the Amazon EC2 API).
 */
export const NOT_FOUND = {
  image: ["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"],
  snapshot: ["InvalidSnapshot.NotFound"],
  instance: ["InvalidInstanceID.NotFound"],
  launchTemplateVersion: [
    "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateName.NotFoundException",
  ],
} as const;

/** Milliseconds for which an id that was just made may be unknown. */
export const VISIBLE_WITHIN = 5 * 60_000;

/** Milliseconds between two tries: the first, and the longest. */
const PAUSE = { first: 2000, longest: 15_000 };

export interface NewId {
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  /** What kind of thing was just made; several kinds where the request names several. */
  readonly of: readonly (keyof typeof NOT_FOUND)[];
  /** More that means "not yet": codes that stand for many things, told by their words. */
  readonly isNotYet?: ((error: unknown) => boolean) | undefined;
  /** Milliseconds; VISIBLE_WITHIN by default. */
  readonly within?: number | undefined;
}

/**
 * Makes a request that names an id which Kiln or Packer made a moment ago; while AWS does not know the id, makes it again,
 * for up to five minutes. Only for such ids: of others, "not found" is the answer.
 * @throws what the request fails with, "not found" after five minutes included; what the signal aborted with
 */
export async function untilKnown<T>(
  request: () => Promise<T>,
  { clock, signal, of, isNotYet, within = VISIBLE_WITHIN }: NewId,
): Promise<T> {
  const codes = of.flatMap((kind) => NOT_FOUND[kind]);
  const startedAt = clock.now().getTime();
  for (let pause = PAUSE.first; ; pause = Math.min(pause * 1.5, PAUSE.longest)) {
    try {
      return await request();
    } catch (error) {
      const isUnknown = hasCode(error, ...codes) || isNotYet?.(error) === true;
      if (!isUnknown || clock.now().getTime() - startedAt + pause > within) throw error;
    }
    await clock.sleep(pause, signal);
  }
}

/**
 * A launch template version was made a moment ago, and Auto Scaling, which looks it up in EC2, does not see it yet. The code
 * stands for many things, so that the words have to tell.
 */
export function isVersionUnseen(error: unknown): boolean {
  const said = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return hasCode(error, "ValidationError") && /launch template.*(?:does not exist|not found)/i.test(said);
}
