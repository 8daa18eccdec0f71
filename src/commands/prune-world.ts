import type { AwsClients } from "../aws/clients.ts";
import {
  type Application,
  DEFAULT_PRUNE,
  type Environment,
  type Target,
  targetName,
} from "../domain/application.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { TAG } from "../domain/image.ts";
import { imageReferences, launchedImages, listImages } from "../image/retire.ts";
import {
  type Ownership,
  planRetirement,
  type RetirementWorld,
  type StoredImage,
} from "../image/retirement.ts";
import { HISTORY_READ, type LedgerPage, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { lockRef } from "../release/lock.ts";
import { readVersionImages } from "../rollout/target-images.ts";
import { observeTarget, templatesOf, type TargetState } from "../rollout/target-state.ts";
import { imageNeeds, type ObservedEnvironment } from "./image-needs.ts";
import { ownAccount, repositoriesOf } from "./own-account.ts";
import type { Ports, Run } from "./ports.ts";

export interface PruneRequest {
  readonly application: Application;
  /** Whose targets' regions are pruned; needed is what any environment of the application needs. */
  readonly environments: readonly Environment[];
  readonly dryRun: boolean;
  readonly run: Pick<Run, "repository">;
}

export type Ledger = ReadonlyMap<string, LedgerPage>;

const NOTHING_PRUNED = "Nothing was pruned.";

/**
 * Reads all that decides which images go. All environments of the application are looked at, whichever were asked for.
 * @throws KilnError where the ledger or a target cannot be read: what it needs would look like what nobody needs
 */
export async function observeWorld(
  { application, environments, run }: PruneRequest,
  ports: Ports,
): Promise<{
  readonly world: RetirementWorld;
  readonly ledger: Ledger;
  /** The targets' own launch templates. */
  readonly templates: ReadonlySet<string>;
}> {
  const regions = [...new Set(environments.flatMap(({ targets }) => targets.map((target) => target.region)))];
  const settings = application.prune ?? DEFAULT_PRUNE;
  const { name, environments: all } = application;
  const asked = ownAccount(regions[0] ?? "", ports).then((account): Ownership => ({
    account,
    application: name,
    repositories: repositoriesOf({ application, run }),
  }));
  const [ledger, states, ours, images] = await Promise.all([
    readRecords(application, ports),
    readStates(application, ports),
    asked,
    Promise.all(regions.map(async (region) => listImages(await ports.aws.ec2(region), region, await asked))),
  ]);
  const counted = countedRecords({ ledger, images: images.flat(), environments: all }, settings.keep);
  const observed = await withVersions(all, states, counted, settings.keep, ports);
  const world: RetirementWorld = {
    now: awsNow(ports),
    ours,
    settings,
    images: images.flat(),
    ...imageNeeds(observed),
    launched: new Set(),
    references: new Map(),
  };
  const candidates = candidatesOf(world);
  const templates = templateIds(observed);
  const [launched, references] = await Promise.all([
    instancesOf(candidates, application, ports),
    referencesTo(candidates, templates, ports),
  ]);
  return { world: { ...world, launched, references }, ledger, templates };
}

/**
 * The time that ages are measured by: AWS's own, which made the images. A runner's clock that is wrong by a month would
 * make young images old.
 * @throws KilnError if no answer of AWS's had a date
 */
export function awsNow({ aws }: Pick<Ports, "aws">): Date {
  const now = aws.now();
  if (now !== undefined) return now;
  throw new KilnError(`${NOTHING_PRUNED} AWS's answers do not tell the time`, {
    state: "How old images are is measured by AWS's clock, which the `Date` header of its answers tells.",
    next: "See whether a proxy between the runner and AWS removes that header.",
  });
}

/** The images that could go as far as the targets and records tell. */
function candidatesOf(world: RetirementWorld): readonly StoredImage[] {
  return planRetirement(world).steps.flatMap(({ action, image }) =>
    action === "restored" || action === "protected" ? [] : [image],
  );
}

/** The targets' own launch templates: which of their versions' images are needed is decided by more than their number. */
function templateIds(observed: readonly ObservedEnvironment[]): ReadonlySet<string> {
  const states = observed.flatMap(({ targets }) => targets.map(({ state }) => state));
  return new Set(states.flatMap((state) => templatesOf(state).map(({ id }) => id)));
}

/**
 * What else in the images' account names some images: launch templates and parameters that no target uses.
 * @returns undefined if the role may not ask: then nothing may be deregistered
 */
export async function referencesTo(
  images: readonly { readonly id: string; readonly region: string }[],
  templates: ReadonlySet<string>,
  { aws, log }: Pick<Ports, "aws" | "log">,
): Promise<ReadonlyMap<string, string> | undefined> {
  const byRegion = [...Map.groupBy(images, ({ region }) => region)];
  try {
    const found = await Promise.all(
      byRegion.map(async ([region, there]) =>
        imageReferences(
          await aws.ec2(region),
          there.map(({ id }) => id),
          templates,
        ),
      ),
    );
    return new Map(found.flatMap((references) => [...references]));
  } catch (error) {
    if (!(error instanceof KilnError) || error instanceof CancelledError) throw error;
    log.warning(`No image is deregistered: what names the images could not be looked up. ${error.message}`);
    return undefined;
  }
}

/** Those of some images that have instances, in the account that owns them and in the environments' accounts. */
export async function instancesOf(
  images: readonly { readonly id: string; readonly region: string }[],
  application: Application,
  ports: Ports,
): Promise<ReadonlySet<string>> {
  const accounts = new Set<AwsClients>([
    ports.aws,
    ...application.environments.map((each) => ports.awsOf(each)),
  ]);
  const byRegion = Map.groupBy(images, ({ region }) => region);
  const found = await Promise.all(
    [...accounts].flatMap((clients) =>
      [...byRegion].map(async ([region, there]) =>
        launchedImages(
          await clients.ec2(region),
          there.map(({ id }) => id),
        ),
      ),
    ),
  );
  return new Set(found.flatMap((ids) => [...ids]));
}

async function readRecords(application: Application, ports: Ports): Promise<Ledger> {
  const names = application.environments.map(({ name }) => name);
  let ledger: Ledger;
  try {
    ledger = await readLedger(ports.repository, application, names, ports.log, HISTORY_READ);
  } catch (error) {
    if (!(error instanceof KilnError) || error instanceof CancelledError) throw error;
    throw new KilnError("Nothing was pruned: the records could not be read", {
      state: [error.message, error.state].filter(Boolean).join("\n"),
      next: error.next ?? "Run the job again.",
      cause: error,
    });
  }
  const unread = [...ledger].flatMap(([, { unreadable }]) => unreadable);
  if (unread.length === 0) return ledger;
  throw new KilnError(
    `Nothing was pruned: this version of Kiln cannot read the newest record of an environment: ${unread.join(", ")}`,
    {
      state: "A newer version may have written it: the images that it names would not be known.",
      next: "Use the version of Kiln that releases there. If no run of yours wrote that tag, delete it.",
    },
  );
}

/**
 * The records of each environment whose images are needed: as many as it takes to have `keep` with an image of ours. A
 * record of an image that there is not, or that is another content's, takes no other's place.
 * @throws KilnError if other tags may hide older records
 */
function countedRecords(
  { ledger, images, environments }: Pick<Looked, "ledger" | "images" | "environments">,
  keep: number,
): ReadonlyMap<string, readonly ReleaseRecord[]> {
  const digests = new Map(images.map(({ id, tags }) => [id, tags[TAG.digest]]));
  const counts = ({ images: named, imageDigest }: ReleaseRecord): boolean =>
    Object.values(named).some((id) => digests.get(id) === imageDigest);
  const regions = new Set(images.map(({ region }) => region));
  return new Map(
    environments.map(({ name, targets }) => {
      const { records = [], cut = false } = ledger.get(name) ?? {};
      // Its images are in regions that this run does not prune.
      if (!targets.some(({ region }) => regions.has(region))) return [name, records] as const;
      const counted = records.filter(counts);
      const last = counted[keep - 1];
      if (last === undefined && cut) throw hiddenByOthers(name, counted.length, keep);
      return [name, last === undefined ? records : records.slice(0, records.indexOf(last) + 1)] as const;
    }),
  );
}

/** What was read before it is known which records count. */
interface Looked {
  readonly ledger: Ledger;
  readonly images: readonly StoredImage[];
  readonly environments: readonly Environment[];
}

function hiddenByOthers(environment: string, found: number, keep: number): KilnError {
  return new KilnError(
    `${NOTHING_PRUNED} Among the last ${HISTORY_READ} tags of ${environment} only ${found} are records with an image, and ${keep} are kept`,
    {
      state: "The images that older records name would not be known.",
      next: "Delete the tags of the environment that are no records, or choose a lower `prune.keep`.",
    },
  );
}

interface ObservedTarget {
  readonly environment: Environment;
  readonly state: TargetState;
}

/** All targets of all environments at the same time. */
function readStates(application: Application, ports: Ports): Promise<readonly ObservedTarget[]> {
  const targets = application.environments.flatMap((environment) =>
    environment.targets.map((target) => ({ environment, target })),
  );
  return allOrNothing(targets, async ({ environment, target }) => ({
    environment,
    state: await observeTarget(ports.awsOf(environment), target),
  }));
}

/** What the launch templates name that targets use, and the observations by environment. */
async function withVersions(
  environments: readonly Environment[],
  states: readonly ObservedTarget[],
  records: ReadonlyMap<string, readonly ReleaseRecord[]>,
  keep: number,
  ports: Ports,
): Promise<readonly ObservedEnvironment[]> {
  const recordsOf = ({ name }: Environment): readonly ReleaseRecord[] => records.get(name) ?? [];
  const read = await allOrNothing(
    states.map(({ environment, state }) => ({ environment, state, target: state.target })),
    async ({ environment, state }) => {
      const ec2 = await ports.awsOf(environment).ec2(state.target.region);
      const recorded = recordsOf(environment).flatMap(({ targets }) =>
        targets.map(({ launchTemplate, version }) => ({ templateId: launchTemplate, version })),
      );
      return {
        environment,
        state,
        versions: await readVersionImages(ec2, state, { recorded, recent: keep }),
      };
    },
  );
  return environments.map((environment) => ({
    records: recordsOf(environment),
    targets: read.filter((each) => each.environment === environment),
  }));
}

/** Every target is read before anything is said, so that all that cannot be read are named at once. */
async function allOrNothing<T extends { readonly target: Target }, R>(
  targets: readonly T[],
  read: (each: T) => Promise<R>,
): Promise<readonly R[]> {
  const failures: string[] = [];
  const found = await Promise.all(
    targets.map(async (each): Promise<R[]> => {
      try {
        return [await read(each)];
      } catch (error) {
        if (!(error instanceof KilnError) || error instanceof CancelledError) throw error;
        failures.push(`${targetName(each.target)}: ${error.message}`);
        return [];
      }
    }),
  );
  if (failures.length === 0) return found.flat();
  throw new KilnError(
    `${NOTHING_PRUNED} What ${failures.length === 1 ? "a target needs" : "some targets need"} could not be found out`,
    {
      state: failures.join("\n"),
      next: "Mend what the messages name, or take the target out of the config file, then run the job again.",
    },
  );
}

/**
 * Why no image may be deregistered any more, asked right before it is done: a release that ended since the look around, or
 * one that is under way, may need an image that nobody needed then. Undefined: nothing has moved.
 */
export async function whatMoved(
  application: Application,
  before: Ledger,
  ports: Ports,
): Promise<string | undefined> {
  const names = application.environments.map(({ name }) => name);
  const quiet = { ...ports.log, notice: () => undefined };
  // In this order: a release that ends in between has let its lock go, and has its record.
  const refOf = (environment: string): string => lockRef({ prefix: application.recordPrefix, environment });
  const locks = await Promise.all(names.map(async (name) => ports.repository.readRef(refOf(name))));
  const held = names.find((_, index) => locks[index] !== undefined);
  if (held !== undefined) return `a release to ${held} is under way: ${refOf(held)} is held`;
  const ledger = await readLedger(ports.repository, application, names, quiet, HISTORY_READ);
  const newestOf = (pages: Ledger, name: string): string => {
    const { highestNumber = 0, unreadable = [] } = pages.get(name) ?? {};
    return [highestNumber, ...unreadable].join(" ");
  };
  const moved = names.find((name) => newestOf(ledger, name) !== newestOf(before, name));
  return moved && `${moved} got release ${ledger.get(moved)?.highestNumber ?? 0} meanwhile`;
}
