import { type Environment, type Target, targetName } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { KilnError } from "../domain/errors.ts";
import type { ImageId } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { StatusResult } from "../domain/result.ts";
import { type CatalogueImage, findByIds } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import { readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { statusTable } from "../release/status-table.ts";
import { driftOf, runsRecorded } from "../rollout/drift.ts";
import { imagesOfVersions } from "../rollout/launch-template.ts";
import { inService, observeTarget, type TargetState } from "../rollout/target-state.ts";
import { claimOf, ownAccount, type OwnerRequest } from "./own-account.ts";
import { freshnessOf } from "./freshness.ts";
import type { Ports } from "./ports.ts";
import type { StatusRequest } from "./request.ts";

/** `status`: for each environment the newest record beside what AWS says now; changes nothing. */
export async function status(request: StatusRequest, ports: Ports): Promise<void> {
  const { application, environments } = request;
  const names = environments.map((environment) => environment.name);
  const pages = await readLedger(ports.repository, application, names, ports.log);
  const records = new Map(environments.map(({ name }) => [name, pages.get(name)?.newest]));
  const regions = new Set(environments.flatMap(({ targets }) => targets.map((target) => target.region)));
  const [images, states] = await Promise.all([
    readImages([...regions], [...records.values()], ports),
    Promise.all(
      environments.map((environment) =>
        Promise.all(environment.targets.map((target) => stateOf(target, environment, ports))),
      ),
    ),
  ]);
  const freshness = await readFreshness([...records.values()], images, ports);
  const entries = await Promise.all(
    environments.map((environment, index) =>
      entryOf(
        environment,
        pages.get(environment.name)?.records ?? [],
        states[index] ?? [],
        { ...images, freshness, request },
        ports,
      ),
    ),
  );
  ports.facts.publish({ status: entries, outcome: "succeeded" });
  for (const line of statusTable(entries).split("\n")) ports.log.info(line);
  const drifted = entries.filter((entry) => entry.drift.length > 0);
  for (const { environment, drift } of drifted) ports.log.warning(`${environment}: ${drift.join("; ")}`);
  if (request.failOnDrift && drifted.length > 0) {
    throw new KilnError(
      `${drifted.map(({ environment }) => environment).join(", ")} ${drifted.length === 1 ? "does" : "do"} not run what the newest record says`,
      {
        state: drifted.map(({ environment, drift }) => `${environment}: ${drift.join("; ")}`).join("\n"),
        next: "Deploy again to bring the environment to its record, or find out who changed it.",
      },
    );
  }
}

/** What is known of images by region: those of the records, and their base images. */
interface Images {
  readonly account: string;
  readonly byRegion: ReadonlyMap<string, ReadonlyMap<ImageId, CatalogueImage>>;
  /** What is to be said of a base image, by its id. */
  readonly freshness: ReadonlyMap<ImageId, string>;
  /** Whose they have to be. */
  readonly request: OwnerRequest;
}

/** One request for each base image that is in use: whether its publisher has a newer one. */
async function readFreshness(
  records: readonly (ReleaseRecord | undefined)[],
  { byRegion }: Omit<Images, "freshness" | "request">,
  ports: Ports,
): Promise<ReadonlyMap<ImageId, string>> {
  const bases = new Map(
    records.flatMap((record) =>
      Object.entries(record?.baseImages ?? {}).map(([region, id]) => [id, region] as const),
    ),
  );
  const said = await Promise.all(
    [...bases].map(
      async ([id, region]) =>
        [id, await freshnessOf(id, region, ports, byRegion.get(region)?.get(id))] as const,
    ),
  );
  return new Map(said.flatMap(([id, text]) => (text === undefined ? [] : [[id, text] as const])));
}

/** Two requests a region and one for the account, whatever the number of environments. */
async function readImages(
  regions: readonly string[],
  records: readonly (ReleaseRecord | undefined)[],
  ports: Ports,
): Promise<Omit<Images, "freshness" | "request">> {
  const byRegion = regions.map(async (region) => {
    const ids = records.flatMap((record) =>
      [record?.images[region] ?? [], record?.baseImages[region] ?? []].flat(),
    );
    return [region, await findByIds(await ports.aws.ec2(region), region, ids)] as const;
  });
  // Together: what fails while nobody waits for it ends the process.
  const [account, ...found] = await Promise.all([ownAccount(regions[0] ?? "", ports), ...byRegion]);
  return { account, byRegion: new Map(found) };
}

/** A target as it is, or why it could not be read. */
type Observed = { readonly target: Target; readonly state: TargetState | KilnError };

/** A target that cannot be read is drift of its environment, not the end of the report. */
async function stateOf(target: Target, environment: Environment, ports: Ports): Promise<Observed> {
  try {
    return { target, state: await observeTarget(ports.awsOf(environment), target) };
  } catch (error) {
    if (error instanceof KilnError && error.name === "KilnError") return { target, state: error };
    throw error;
  }
}

async function entryOf(
  environment: Environment,
  history: readonly ReleaseRecord[],
  observed: readonly Observed[],
  images: Images,
  ports: Ports,
): Promise<StatusResult> {
  const [record] = history;
  const parts = await Promise.all(
    observed.map(async ({ target, state }) => {
      const part =
        state instanceof KilnError
          ? { drift: [state.message] }
          : await targetPart(state, environment, history, images, ports);
      // Where there are several, each says which it is.
      return observed.length === 1
        ? part
        : { ...part, drift: part.drift.map((line) => `${targetName(target)}: ${line}`) };
    }),
  );
  const drift = parts.flatMap((part) => part.drift);
  return {
    environment: environment.name,
    ...recordFacts(record, observed[0]?.target, images, ports),
    ...total(parts),
    // With no release yet every target says so; once is enough.
    drift:
      record === undefined
        ? [...new Set(drift.map((line) => line.replace(/^\S+: (?=there is no)/, "")))]
        : drift,
  };
}

/** One target's part of an environment's status. */
interface TargetPart {
  readonly capacity?: number;
  readonly inService?: number;
  readonly running?: number;
  readonly drift: readonly string[];
}

function total(parts: readonly TargetPart[]): Pick<StatusResult, "capacity" | "inService" | "running"> {
  const sum = (of: (part: TargetPart) => number | undefined): number | undefined => {
    const known = parts.flatMap((part) => of(part) ?? []);
    return known.length === 0 ? undefined : known.reduce((all, each) => all + each, 0);
  };
  const [capacity, serving, running] = [
    sum((part) => part.capacity),
    sum((part) => part.inService),
    sum((part) => part.running),
  ];
  return {
    ...(capacity === undefined ? {} : { capacity }),
    ...(serving === undefined ? {} : { inService: serving }),
    ...(running === undefined ? {} : { running }),
  };
}

async function targetPart(
  state: TargetState,
  environment: Environment,
  history: readonly ReleaseRecord[],
  images: Images,
  ports: Ports,
): Promise<TargetPart> {
  const { target } = state;
  const [record] = history;
  const serving = inService(state);
  const counts = { capacity: state.capacity.desired, inService: serving.length };
  const imageId = record?.images[target.region];
  const entry = record?.targets.find(
    ({ region, group }) => region === target.region && group === target.autoScalingGroup,
  );
  if (record === undefined || imageId === undefined || entry === undefined) {
    const why =
      record === undefined
        ? "there is no release yet"
        : `${formatReleaseTag(record.tag)} does not name this target`;
    return { ...counts, drift: [why] };
  }
  const recorded = {
    release: formatReleaseTag(record.tag),
    imageId,
    template: { id: entry.launchTemplate, version: entry.version },
  };
  const onIt = serving.filter((instance) => runsRecorded(state, instance, recorded));
  const others =
    onIt.length < serving.length ? await otherImages(state, environment, ports) : new Map<string, string>();
  const image = images.byRegion.get(target.region)?.get(imageId);
  const gone = whyNotLaunchable(image, claimOf(record, images.request, images.account));
  const known = { ofVersions: others, releases: releasesByImage(history, target) };
  return {
    ...counts,
    running: onIt.length,
    drift: [
      ...driftOf(state, recorded, known, ports.clock.now()),
      ...(gone === undefined ? [] : [`the record's image ${imageId}: ${gone}`]),
    ],
  };
}

/** Which release an image was, for the drift's words; the newest one counts. */
function releasesByImage(history: readonly ReleaseRecord[], target: Target): ReadonlyMap<string, number> {
  return new Map(
    history.toReversed().map((record) => [record.images[target.region] ?? "", record.tag.number]),
  );
}

async function otherImages(
  state: TargetState,
  environment: Environment,
  ports: Ports,
): Promise<ReadonlyMap<string, string>> {
  const versions = inService(state).flatMap((instance) =>
    instance.templateId === state.template.id && instance.templateVersion !== undefined
      ? [instance.templateVersion]
      : [],
  );
  return imagesOfVersions(
    await ports.awsOf(environment).ec2(state.target.region),
    state.template.id,
    versions,
  );
}

function recordFacts(
  record: ReleaseRecord | undefined,
  target: Target | undefined,
  images: Images,
  ports: Ports,
): Omit<StatusResult, "environment" | "drift"> {
  if (record === undefined || target === undefined) return {};
  const imageId = record.images[target.region];
  const base = record.baseImages[target.region];
  const baseImage = base === undefined ? undefined : images.byRegion.get(target.region)?.get(base);
  const said = base === undefined ? undefined : images.freshness.get(base);
  const days = (from: Date): number =>
    Math.floor((ports.clock.now().getTime() - from.getTime()) / 86_400_000);
  return {
    release: formatReleaseTag(record.tag),
    commit: record.commit,
    version: record.version,
    ...(imageId === undefined ? {} : { imageId }),
    ...(baseImage === undefined ? {} : { baseImageDays: days(baseImage.created) }),
    ...(said === undefined ? {} : { baseImage: said }),
    actor: record.actor,
    since: record.finished.toISOString(),
    sinceText: formatDuration(ports.clock.now().getTime() - record.finished.getTime()),
  };
}
