import { KilnError, TakenOverError } from "../domain/errors.ts";
import { TAG } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { changesParagraph } from "../release/changes.ts";
import { appendRecord } from "../release/ledger.ts";
import { formatRecord, type ReleaseRecord, type SmokeTestResult } from "../release/record.ts";
import type { Turn } from "../release/turn.ts";
import type { ReleasedTarget } from "./carry-out.ts";
import { tellChanges, type Told } from "./changes.ts";
import { homeOf, type Settled } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { RegionImages, ReleaseOrder } from "./release-order.ts";

/** A release that was rolled out and verified. */
export interface RolledOutRelease {
  readonly settled: Settled;
  readonly images: RegionImages;
  readonly targets: readonly ReleasedTarget[];
  readonly started: Date;
  readonly turn: Turn;
}

/**
 * Writes the record of what was rolled out and releases the environment's lock with it; if it cannot be written, the whole
 * record goes to the summary.
 */
export async function writeRecord(
  { settled: { situation, plan }, images, targets, started, turn }: RolledOutRelease,
  order: ReleaseOrder,
  ports: Ports,
): Promise<void> {
  // The rollout is verified: reading and keeping what it changed is no part of it.
  const finished = ports.clock.now();
  const told = await tellChanges({ situation, plan }, images, order, ports);
  const draft = draftRecord({ situation, plan }, images, targets, { started, finished }, order, told);
  // Commits and packages are others' words.
  const changes = ports.secrets.redact(paragraph(situation.ledger.newest, draft, told));
  try {
    const written = await appendRecord(draft, changes, {
      repository: ports.repository,
      clock: ports.clock,
      lock: turn.lock,
      guard: order.guard,
    });
    const release = formatReleaseTag(written.tag);
    ports.facts.publishEnvironment(order.environment.name, {
      outcome: "succeeded",
      release,
      releaseNumber: written.tag.number,
    });
    ports.log.info(`Recorded as ${release}`);
  } catch (cause) {
    const message = formatRecord(draft, changes);
    ports.facts.publishEnvironment(order.environment.name, { unrecorded: message });
    throw notRecorded(cause, draft, order.environment.name);
  }
}

/** GitHub's own reason and its remedy are part of the error: a ruleset's refusal is nothing that running again mends. */
function notRecorded(cause: unknown, draft: ReleaseRecord, environment: string): KilnError {
  const message = `${environment} was rolled out, not recorded: ${cause instanceof Error ? cause.message : String(cause)}`;
  if (cause instanceof TakenOverError) {
    return new TakenOverError(message, {
      state: `This run rolled out ${draft.imageName}; what the environment runs now is up to the other run. The whole record is in the job summary.`,
      next: cause.next,
      cause,
    });
  }
  const { state, next } = cause instanceof KilnError ? cause : { state: undefined, next: undefined };
  return new KilnError(message, {
    state: [`The environment runs ${draft.imageName}. The whole record is in the job summary.`, state]
      .filter((text) => text !== undefined)
      .join("\n"),
    next: `${next ?? "Fix what the message names."} Then run the job again: it writes the record without rolling out again.`,
    cause,
  });
}

/** The record as it is to be written, but for a number that somebody else takes meanwhile. */
function draftRecord(
  { situation, plan }: Settled,
  images: RegionImages,
  targets: readonly ReleasedTarget[],
  times: { readonly started: Date; readonly finished: Date },
  order: ReleaseOrder,
  { inventory }: Told,
): ReleaseRecord {
  const { newest, nextNumber } = situation.ledger;
  const { run, application } = order.request;
  const home = homeOf(order.environment);
  const image = images.get(home);
  if (image === undefined) throw new Error(`a release without an image in ${home}`);
  return {
    application: application.name,
    tag: { ...plan.tag, number: nextNumber },
    kind: order.kind,
    commit: order.commit,
    version: order.version,
    images: Object.fromEntries([...images].map(([region, { id }]) => [region, id])),
    imageName: image.name,
    imageDigest: order.digest,
    imageCommit: image.tags[TAG.commit] ?? order.commit,
    baseImages: image.baseImage === undefined ? {} : { [image.region]: image.baseImage },
    inventory,
    targets: targets.map(({ target, version }) => ({
      region: target.region,
      group: target.autoScalingGroup,
      launchTemplate: version.id,
      version: version.version,
    })),
    verified: {
      count: targets.reduce((sum, { verified }) => sum + verified.count, 0),
      of: targets.reduce((sum, { verified }) => sum + verified.of, 0),
    },
    smokeTest: smokeTestOf(targets, order),
    previous: newest === undefined ? undefined : formatReleaseTag(newest.tag),
    restores: order.restores,
    promotedFrom: order.promotedFrom,
    reason: order.reason,
    actor: run.actor,
    run: run.url,
    ...times,
  };
}

/** A test counts as passed if it was run and passed on every target that it could be run on. */
function smokeTestOf(
  targets: readonly ReleasedTarget[],
  { environment: { name }, request }: ReleaseOrder,
): SmokeTestResult {
  if (targets.some(({ smokeTest }) => smokeTest === "passed")) return "passed";
  // In an incident the environment's own test is left out.
  const own = request.application.environments.find((environment) => environment.name === name);
  return own?.rollout.smokeTest === undefined ? "none" : "not-run";
}

/** The record's text for people: what ran before, what runs since, and what that changes. */
function paragraph(
  newest: ReleaseRecord | undefined,
  record: ReleaseRecord,
  { changes }: Pick<Told, "changes">,
): string {
  const now = `Runs image ${record.imageName}, baked from commit ${record.imageCommit.slice(0, 12)}.`;
  if (newest === undefined) return `${now}\nThe first release of ${record.tag.environment}.`;
  const before = `Before: release ${newest.tag.number}, commit ${newest.commit.slice(0, 12)}, image ${newest.imageName}.`;
  const same = newest.imageDigest === record.imageDigest ? " The same content." : "";
  return [`${now}\n${before}${same}`, changes === undefined ? "" : changesParagraph(changes)].join("\n\n");
}
