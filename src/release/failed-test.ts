import * as z from "zod";
import { isImageId } from "../domain/image.ts";
import { printable, shortened } from "../domain/printable.ts";
import { type LedgerKey, ledgerPath } from "../domain/release-tag.ts";
import type { Repository } from "../github/repository.ts";

/**
 * Where a run keeps that a release's smoke test failed, before it reverts: a run that dies in between leaves an image in
 * service whose test is known to have failed. Only failures are kept. A test that passed is run again by the next attempt,
 * since whoever may push refs could forge that it did.
 */
const refOf = (key: LedgerKey): string => `refs/kiln/failed-test/${ledgerPath(key)}`;

/** A smoke test that failed, and the refresh and image that it belongs to. */
export interface FailedTest {
  readonly region: string;
  readonly group: string;
  readonly refresh: string;
  readonly image: string;
  /** One line. */
  readonly why: string;
  /** The run's page. */
  readonly run: string;
}

const MAX_MESSAGE = 10_000;
const MAX_WHY = 500;

const schema = z.strictObject({
  region: z.string().regex(/^[a-z0-9-]{1,30}$/),
  group: z.string().min(1).max(255),
  refresh: z.string().regex(/^[0-9a-f-]{8,64}$/),
  image: z.string().refine(isImageId),
  why: z.string().max(MAX_WHY),
  run: z.string().max(500),
});

/** Keeps it, over what an earlier run kept. */
export async function keepFailedTest(
  repository: Repository,
  key: LedgerKey,
  failed: FailedTest,
  commit: string,
): Promise<void> {
  const line = JSON.stringify({ ...failed, why: shortened(printable(failed.why), MAX_WHY) });
  const message = `The smoke test of a release of ${key.environment} failed\n\n${line}\n`;
  const sha = await repository.createTag({ name: `kiln-failed-test-${key.environment}`, message, commit });
  const ref = refOf(key);
  if ((await repository.createRef(ref, sha)) === "exists") await repository.replaceRef(ref, sha);
}

/** The test that was last kept as failed; undefined if there is none, or what is there was not written by Kiln. */
export async function readFailedTest(
  repository: Repository,
  key: LedgerKey,
): Promise<FailedTest | undefined> {
  const sha = await repository.readRef(refOf(key));
  const message = sha === undefined ? undefined : (await repository.readTag(sha))?.message;
  const line = message?.slice(0, MAX_MESSAGE).trimEnd().split("\n").at(-1);
  try {
    const { data } = schema.safeParse(JSON.parse(line ?? ""));
    return data && { ...data, why: printable(data.why), run: printable(data.run) };
  } catch {
    return undefined;
  }
}

/** The release was reverted. */
export function forgetFailedTest(repository: Repository, key: LedgerKey): Promise<void> {
  return repository.deleteRef(refOf(key));
}
