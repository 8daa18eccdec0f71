/**
 * Seconds that a checkpoint lasts longer than the smoke test may take: as long as Kiln may need to notice the
 * checkpoint and to ask for the way back. AWS goes on by itself when the delay has passed, and has no call to go on
 * earlier or later.
 */
export const CHECKPOINT_NOTICE_SECONDS = 60;
