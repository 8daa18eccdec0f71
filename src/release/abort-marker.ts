import type { ImageId } from "../domain/image.ts";
import { isImageId } from "../domain/image.ts";
import { type LedgerKey, ledgerPath } from "../domain/release-tag.ts";
import type { Repository } from "../github/repository.ts";

/**
 * Where a rollback notes, before it does, that it has a release aborted which no record names: what it has left then is
 * visible nowhere else. If it cannot record that, the next rollback would take the release before for the one to leave.
 * Anybody who can push can write such a ref: what it says is only believed as far as AWS shows it.
 */
export interface AbortMarker {
  /** The newest record's number then: with the next record the marker says nothing any more. */
  readonly after: number;
  /** The run that aborted the release. */
  readonly run: string;
  readonly aborted: readonly AbortedRefresh[];
}

/** A refresh that was rolled back, and the image that it was to bring. */
export interface AbortedRefresh {
  readonly region: string;
  readonly group: string;
  readonly refresh: string;
  readonly image: ImageId;
}

/** Milliseconds after which a marker says nothing any more, counted from the end of the refresh that it names. */
export const MARKER_LIFETIME = 24 * 60 * 60_000;

export const markerRef = (key: LedgerKey): string => `refs/kiln/stopped/${ledgerPath(key)}`;

/** Writes the marker, over what an earlier run noted. */
export async function writeAbortMarker(
  repository: Repository,
  key: LedgerKey,
  { after, run, aborted }: AbortMarker,
  commit: string,
): Promise<void> {
  const lines = [
    `After: ${after}`,
    `Run: ${run}`,
    ...aborted.map((each) => `Aborted: ${each.region} ${each.group} ${each.refresh} ${each.image}`),
  ];
  const message = `Aborted a release of ${key.environment} that is not recorded\n\n${lines.join("\n")}\n`;
  const sha = await repository.createTag({ name: `kiln-stopped-${key.environment}`, message, commit });
  const ref = markerRef(key);
  if ((await repository.createRef(ref, sha)) === "exists") await repository.replaceRef(ref, sha);
}

/** The marker that a rollback left; `undefined` if there is none, or it is not of this form. */
export async function readAbortMarker(
  repository: Repository,
  key: LedgerKey,
): Promise<AbortMarker | undefined> {
  const sha = await repository.readRef(markerRef(key));
  if (sha === undefined) return undefined;
  return parseAbortMarker((await repository.readTag(sha))?.message ?? "");
}

/** Characters of a marker that are read: some lines for each of an environment's targets. */
const MAX_MESSAGE = 20_000;

/** Strict: a line that is not of its form makes the whole marker void. */
export function parseAbortMarker(message: string): AbortMarker | undefined {
  if (message.length > MAX_MESSAGE) return undefined;
  const [, body = ""] = message.split("\n\n");
  const [after, run, ...rest] = body.trimEnd().split("\n");
  const number = /^After: (\d{1,15})$/.exec(after ?? "")?.[1];
  const url = /^Run: (https?:\/\/\S{1,500})$/.exec(run ?? "")?.[1];
  const aborted = rest.map((line) => parseAborted(line));
  const whole = aborted.flatMap((each) => each ?? []);
  if (number === undefined || url === undefined || whole.length === 0 || whole.length < aborted.length)
    return undefined;
  return { after: Number(number), run: url, aborted: whole };
}

/** A group's name may have blanks; the other fields do not. */
function parseAborted(line: string): AbortedRefresh | undefined {
  const match = /^Aborted: ([a-z0-9-]{1,30}) (.{1,255}) ([\w-]{1,100}) (ami-[0-9a-f]{8,17})$/.exec(line);
  const [, region, group, refresh, image] = match ?? [];
  if (region === undefined || group === undefined || refresh === undefined || image === undefined)
    return undefined;
  return isImageId(image) ? { region, group, refresh, image } : undefined;
}

/** Deletes the marker: what it says is recorded now. */
export function deleteAbortMarker(repository: Repository, key: LedgerKey): Promise<void> {
  return repository.deleteRef(markerRef(key));
}
