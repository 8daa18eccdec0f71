import { targetName } from "../domain/application.ts";
import type { CommitChanges, ReleaseChanges, TargetChange } from "../domain/changes.ts";
import type { ImageId } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import {
  boundedContent,
  compareContent,
  comparePackages,
  COMMITS_SHOWN,
  describeChanges,
  describeContent,
  listContent,
  shownSubject,
} from "../release/changes.ts";
import { type ImageFiles, type KeptImage, readImageFiles, type Wanted } from "../release/image-files.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { appliedInstanceType } from "../rollout/target-state.ts";
import { homeOf, imageIn, type ReleasePlan, type Settled, type Situation } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { RegionImages, ReleaseOrder } from "./release-order.ts";

/** What was read for telling what a release changes, before anything is done. */
export interface Compared {
  readonly commits: CommitChanges | undefined;
  /** What git keeps of the image that the environment's newest record names. */
  readonly before: ImageFiles | undefined;
  /** The same of the image that is to be released; undefined where it is still to be baked. */
  readonly now: ImageFiles | undefined;
  /** The commit of what is kept of it. */
  readonly inventory: string | undefined;
  /** Whether git was asked for it: where it was and nothing is there, it can be kept now. */
  readonly looked: boolean;
}

/**
 * A plan that also says what the release changes: asked for only where something is to be done, at most a comparison of
 * commits (which `deploy` has asked for already) and one request for what is kept of both images. Whatever fails is a
 * notice: a release does not depend on its description.
 */
export async function withChanges(
  plan: ReleasePlan,
  situation: Situation,
  order: ReleaseOrder,
  ports: Ports,
): Promise<ReleasePlan> {
  if (!plan.rollOut && !plan.record) return plan;
  const [commits, files] = await Promise.all([
    orNotice("The commits of this release cannot be told", undefined, ports, () =>
      compareCommits(situation, order, ports),
    ),
    orNotice("What is kept of the images cannot be read", NOTHING_READ, ports, () =>
      readFiles(situation, order, ports),
    ),
  ]);
  const compared: Compared = { commits, ...files };
  const { newest } = situation.ledger;
  if (newest === undefined) return { ...plan, compared };
  const content = plan.image.home.kind === "bake" ? await order.source.files?.content() : files.now?.content;
  const image = imageIn(plan.image, homeOf(order.environment), homeOf(order.environment));
  const changes = changesOf(newest, compared, { ...files.now, content }, image, order);
  publish(changes, order, ports);
  return { ...plan, compared, lines: withLines(plan, changes, order, ports) };
}

const NOTHING_READ = { before: undefined, now: undefined, inventory: undefined, looked: false };

async function orNotice<T>(what: string, otherwise: T, ports: Ports, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    ports.log.notice(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return otherwise;
  }
}

/** Two commits, and what lies between them: for a rollback what it takes back, else what the release brings. */
async function compareCommits(
  { ledger: { newest } }: Situation,
  { kind, commit, request: { run } }: ReleaseOrder,
  ports: Ports,
): Promise<CommitChanges | undefined> {
  if (newest === undefined || newest.commit === commit) return undefined;
  const back = kind === "rollback";
  const [base, head] = back ? [commit, newest.commit] : [newest.commit, commit];
  const found = await ports.repository.compare(base, head);
  if (found === undefined) return undefined;
  return {
    added: back ? found.behind : found.ahead,
    takenBack: back ? found.ahead : found.behind,
    newest: found.commits
      .slice(0, COMMITS_SHOWN)
      .map((each) => ({ commit: each.commit, subject: shownSubject(each.subject) })),
    listed: back ? "takenBack" : "added",
    url: `${run.serverUrl}/${run.repository}/compare/${base}...${head}`,
  };
}

/** What is kept of the image that runs and of the one that is to run; one request for both. */
async function readFiles(
  { ledger, elsewhere, image: chosen }: Situation,
  { environment, digest }: ReleaseOrder,
  ports: Ports,
): Promise<Omit<Compared, "commits">> {
  const home = homeOf(environment);
  const image = imageIn(chosen, home, home);
  const { newest } = ledger;
  // A record that names this very image knows its commit.
  const inventory =
    image &&
    [...ledger.records, ...elsewhere].find(
      (record) => names(record, image.id) && record.inventory !== undefined,
    )?.inventory;
  if (newest !== undefined && image !== undefined && names(newest, image.id) && inventory !== undefined) {
    return { before: undefined, now: undefined, inventory, looked: true };
  }
  const before: Wanted[] = newest?.inventory === undefined ? [] : [{ commit: newest.inventory }];
  const now: Wanted[] =
    // With nothing to compare it with, it is looked for when it is to be recorded.
    image === undefined || before.length === 0
      ? []
      : [inventory === undefined ? { digest, id: image.id, name: image.name } : { commit: inventory }];
  const read = await readImageFiles(ports.repository, [...before, ...now]);
  const kept = now.length === 0 ? undefined : read.at(-1);
  return {
    before: before.length === 0 ? undefined : read[0]?.files,
    now: kept?.files,
    inventory: inventory ?? kept?.commit,
    looked: now.length > 0,
  };
}

const names = (record: ReleaseRecord, id: ImageId): boolean =>
  Object.values(record.images).some((image) => image === id);

/** What is known of a release's changes against the environment's newest one. */
function changesOf(
  newest: ReleaseRecord,
  { commits, before }: Compared,
  now: Partial<ImageFiles>,
  image: CatalogueImage | undefined,
  { digest, environment }: ReleaseOrder,
): ReleaseChanges {
  const home = homeOf(environment);
  const [from, to] = [newest.baseImages[home], image?.baseImage];
  return {
    since: formatReleaseTag(newest.tag),
    sameContent: newest.imageDigest === digest,
    ...(commits === undefined ? {} : { commits }),
    ...(before?.content === undefined || now.content === undefined || newest.imageDigest === digest
      ? {}
      : { content: compareContent(before.content, now.content) }),
    ...(before?.packages === undefined || now.packages === undefined
      ? {}
      : { packages: comparePackages(before.packages, now.packages) }),
    ...(from === undefined || to === undefined || from === to ? {} : { baseImage: { from, to } }),
  };
}

/** The plan's lines with why it bakes again behind the bake, and the rest at the end. */
function withLines(plan: ReleasePlan, changes: ReleaseChanges, order: ReleaseOrder, ports: Ports): string[] {
  const { content, ...others } = changes;
  const [first = "", ...rest] = plan.lines;
  const bakes = plan.image.home.kind === "bake";
  const why =
    !bakes || content === undefined || describeContent(content) === ""
      ? []
      : [`content differs from ${changes.since}: ${describeContent(content)}`];
  if (content !== undefined) {
    for (const line of listContent(content).map((each) => `content since ${changes.since}: ${each}`)) {
      if (order.request.dryRun) ports.log.info(line);
      else ports.log.debug(line);
    }
  }
  const told = describeChanges(bakes ? others : changes).map(({ text, below }) =>
    [`since ${changes.since}: ${text}`, ...(below.length === 0 ? [] : [` (${below.join("; ")})`])].join(""),
  );
  return [first, ...why, ...rest, ...told];
}

/** What a release changed, once its images are there, and what git keeps of its image. */
export interface Told {
  readonly changes: ReleaseChanges | undefined;
  /** The commit of what git keeps of the image. */
  readonly inventory: string | undefined;
}

/** Finds what is kept of the released image, or keeps it now, and compares it with what ran before. Never throws. */
export async function tellChanges(
  { situation, plan }: Settled,
  images: RegionImages,
  order: ReleaseOrder,
  ports: Ports,
): Promise<Told> {
  const { newest } = situation.ledger;
  const image = images.get(homeOf(order.environment));
  if (image === undefined) return { changes: undefined, inventory: undefined };
  const compared = plan.compared ?? { commits: undefined, ...NOTHING_READ };
  const kept = await keptOf(compared, image, order, ports);
  const inventory = kept?.commit ?? compared.inventory;
  if (newest === undefined) return { changes: undefined, inventory };
  const changes: ReleaseChanges = {
    ...changesOf(newest, compared, kept?.files ?? compared.now ?? {}, image, order),
    targets: targetChanges(plan, images, newest, order),
  };
  publish(changes, order, ports);
  return { changes, inventory };
}

function publish({ content, ...others }: ReleaseChanges, { environment }: ReleaseOrder, ports: Ports): void {
  ports.facts.publishEnvironment(environment.name, {
    changes: { ...others, ...(content === undefined ? {} : { content: boundedContent(content) }) },
  });
}

/** What is kept of an image: by this run's bake, found while planning, kept by another run meanwhile, or kept now. */
async function keptOf(
  compared: Compared,
  image: CatalogueImage,
  { source, digest }: ReleaseOrder,
  ports: Ports,
): Promise<KeptImage | undefined> {
  const own = source.files?.keptOf(image.id);
  if (own !== undefined || compared.inventory !== undefined) return own;
  return orNotice("What is kept of the image cannot be read", undefined, ports, async () => {
    const wanted = { digest, id: image.id, name: image.name };
    const [found] = compared.looked ? [] : await readImageFiles(ports.repository, [wanted]);
    return found ?? (await source.files?.keep(image, digest));
  });
}

/** The fields of each target's launch template that are others than in the newest release. */
function targetChanges(
  plan: ReleasePlan,
  images: RegionImages,
  newest: ReleaseRecord,
  { environment }: ReleaseOrder,
): TargetChange[] {
  return plan.targets.flatMap(({ target, state, rollOut }) => {
    const [from, to] = [newest.images[target.region], images.get(target.region)?.id];
    const type = appliedInstanceType(state, environment.instanceType);
    const before = state.template.instanceType;
    const change: TargetChange = {
      target: targetName(target),
      ...(from === undefined || to === undefined || from === to ? {} : { image: { from, to } }),
      ...(!rollOut || type === undefined || before === undefined || before === type
        ? {}
        : { instanceType: { from: before, to: type } }),
    };
    return change.image === undefined && change.instanceType === undefined ? [] : [change];
  });
}
