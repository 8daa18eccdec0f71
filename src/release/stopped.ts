import type { Repository } from "../github/repository.ts";

/**
 * Where a rollback notes that it has a release stopped which no record names, before it does: what it has left then is
 * seen nowhere else. Where it cannot record that, the next run would take the release before for the one to leave.
 */
const refOf = (environment: string): string => `refs/kiln/stopped/${environment}`;

/** A release that was stopped after the newest record was written. */
export interface Stopped {
  readonly environment: string;
  /** The newest record's number then: with the next record the note says nothing any more. */
  readonly after: number;
}

/** Notes it, over what an earlier run noted. */
export async function noteStopped(
  repository: Repository,
  { environment, after }: Stopped,
  run: { readonly url: string; readonly commit: string },
): Promise<void> {
  const message = `Stopped a release of ${environment} that is not recorded\n\nAfter: ${after}\nRun: ${run.url}\n`;
  const tag = { name: `kiln-stopped-${environment}`, message, commit: run.commit };
  const sha = await repository.createTag(tag);
  const ref = refOf(environment);
  if ((await repository.createRef(ref, sha)) === "exists") await repository.replaceRef(ref, sha);
}

/** Whether a rollback stopped something since the newest record, and came to no record of its own. */
export async function wasStopped(repository: Repository, { environment, after }: Stopped): Promise<boolean> {
  const sha = await repository.readRef(refOf(environment));
  if (sha === undefined) return false;
  const message = (await repository.readTag(sha))?.message ?? "";
  return message.slice(0, 1000).split("\n").includes(`After: ${after}`);
}

/** It is recorded now. */
export function forgetStopped(repository: Repository, environment: string): Promise<void> {
  return repository.deleteRef(refOf(environment));
}
