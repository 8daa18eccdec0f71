import { CancelledError, KilnError } from "../domain/errors.ts";
import type { PrunedImage, PruneResult } from "../domain/result.ts";
import { deprecate, deregisterWithSnapshots, protect, readImage, restore } from "../image/retire.ts";
import {
  gigabytesOf,
  planRetirement,
  type RetirementStep,
  type RetirementWorld,
  type StoredImage,
} from "../image/retirement.ts";
import { retirementTable } from "../image/retirement-table.ts";
import type { Ports } from "./ports.ts";
import {
  awsNow,
  instancesOf,
  type Ledger,
  observeWorld,
  type PruneRequest,
  referencesTo,
  whatMoved,
} from "./prune-world.ts";

/** Requests at a time that change something: EC2 refills five a second (developer guide: request throttling). */
const AT_ONCE = 5;

/**
 * `prune`: deprecates the images that nothing needs any more, and deregisters those that were deprecated long enough ago,
 * with their snapshots. No lock is taken: the decision is made again right before each deregistration.
 * @throws KilnError where something cannot be read (nothing was changed then), or could not be done to some images
 */
export async function prune(request: PruneRequest, ports: Ports): Promise<void> {
  const { world, ledger, templates } = await observeWorld(request, ports);
  const plan = planRetirement(world);
  const { kept } = plan;
  const images = plan.steps.map((step) => toResult(step, world));
  const planned: PruneResult = { kept, gigabytes: goneOf(images), images };
  show(planned, request.dryRun, ports);
  if (request.dryRun) {
    ports.facts.publish({ prune: planned, outcome: "planned" });
    return;
  }
  const done: PrunedImage[] = [];
  const publish = (step: RetirementStep, changes: Partial<PrunedImage> = {}): void => {
    done.push({ ...toResult(step, world), ...changes });
    ports.facts.publish({ prune: { kept, images: [...done], gigabytes: goneOf(done) } });
  };
  ports.facts.publish({ prune: { kept, images: [], gigabytes: 0 } });
  await carryOut(plan.steps, { request, world, ledger, templates, ports, publish });
  report(done);
  const changed = done.some(({ action }) => action !== "waiting");
  ports.facts.publish({ outcome: changed ? "succeeded" : "unchanged" });
}

/** What the steps need, and where they tell what came of them. */
interface Work {
  readonly request: PruneRequest;
  readonly world: RetirementWorld;
  readonly ledger: Ledger;
  readonly templates: ReadonlySet<string>;
  readonly ports: Ports;
  readonly publish: (step: RetirementStep, changes?: Partial<PrunedImage>) => void;
}

/** First what keeps images, then what can be taken back, last what cannot. */
async function carryOut(steps: readonly RetirementStep[], work: Work): Promise<void> {
  const of = (...actions: readonly RetirementStep["action"][]): readonly RetirementStep[] =>
    steps.filter(({ action }) => actions.includes(action));
  for (const step of of("waiting")) work.publish(step);
  for (const batch of batches([...of("restored", "protected"), ...of("deprecated")])) {
    work.ports.signal.throwIfAborted();
    await Promise.all(batch.map((step) => attempt(step, work, () => change(step, work))));
  }
  const last = batches(of("deregistered"));
  for (const [index, batch] of last.entries()) {
    work.ports.signal.throwIfAborted();
    const going = await Promise.all(batch.map((step) => stillGoes(step, work)));
    // Last of all: a release takes its lock first, and looks then whether its image is there.
    const moved = await whatMoved(work.request.application, work.ledger, work.ports);
    if (moved !== undefined) {
      work.ports.log.warning(
        `No image is deregistered any more in this run: ${moved}. The next run looks again.`,
      );
      for (const step of [...going.flat().map(({ step: left }) => left), ...last.slice(index + 1).flat()])
        work.publish(step, { action: "waiting", why: `left for the next run: ${moved}` });
      return;
    }
    await Promise.all(
      going.flat().map(({ step, image }) => attempt(step, work, () => deregisterOne(step, image, work))),
    );
  }
}

function batches(steps: readonly RetirementStep[]): readonly (readonly RetirementStep[])[] {
  return Array.from({ length: Math.ceil(steps.length / AT_ONCE) }, (_, index) =>
    steps.slice(index * AT_ONCE, (index + 1) * AT_ONCE),
  );
}

/** What fails for one image is told at the end, and does not stop the others. */
async function attempt(step: RetirementStep, { publish }: Work, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof KilnError) || error instanceof CancelledError) throw error;
    publish(step, { failed: error.message });
  }
}

async function change(step: RetirementStep, { ports, publish }: Work): Promise<void> {
  const { image, action } = step;
  const ec2 = await ports.aws.ec2(image.region);
  if (action === "restored") await restore(ec2, image);
  else if (action === "protected") await protect(ec2, image);
  else await deprecate(ec2, image, awsNow(ports));
  ports.log.info(`${image.region} ${image.id} (${image.name}): ${action}`);
  publish(step);
}

const COOLING_DOWN =
  "its protection from deregistration is off, and AWS keeps it up for 24 hours more: left for the next run";

/** Looks at an image, its instances and the decision once more; only where that is the same again may it go. */
async function stillGoes(
  step: RetirementStep,
  work: Work,
): Promise<readonly { readonly step: RetirementStep; readonly image: StoredImage }[]> {
  let found: StoredImage | undefined;
  await attempt(step, work, async () => {
    found = await lookOnceMore(step, work);
  });
  return found === undefined ? [] : [{ step, image: found }];
}

async function lookOnceMore(
  step: RetirementStep,
  { request, world, templates, ports, publish }: Work,
): Promise<StoredImage | undefined> {
  const ec2 = await ports.aws.ec2(step.image.region);
  const [image, launched, references] = await Promise.all([
    readImage(ec2, step.image),
    instancesOf([step.image], request.application, ports),
    referencesTo([step.image], templates, ports),
  ]);
  if (image === undefined) {
    ports.log.notice(`${nameOf(step)} is gone already`);
    return undefined;
  }
  const again = planRetirement({
    ...world,
    now: awsNow(ports),
    images: world.images.map((other) => (other.id === image.id ? image : other)),
    launched: new Set([...world.launched, ...launched]),
    references,
  }).steps.find((other) => other.image.id === image.id);
  if (again?.action === "deregistered") return image;
  const why = "it has changed since it was looked at: left for the next run";
  ports.log.notice(`${nameOf(step)}: ${why}`);
  publish(step, { action: "waiting", why });
  return undefined;
}

const nameOf = ({ image: { region, id, name } }: RetirementStep): string => `${region} ${id} (${name})`;

async function deregisterOne(
  step: RetirementStep,
  image: StoredImage,
  { ports, publish }: Work,
): Promise<void> {
  const name = nameOf(step);
  const ec2 = await ports.aws.ec2(image.region);
  const ended = await deregisterWithSnapshots(ec2, image);
  if (ended === "gone already") {
    ports.log.notice(`${name} is gone already`);
    return;
  }
  if (ended === "cooling down") {
    ports.log.notice(`${name}: ${COOLING_DOWN}`);
    publish(step, { action: "waiting", why: COOLING_DOWN });
    return;
  }
  for (const { snapshot, code } of ended.left)
    ports.log.warning(
      `${name} is deregistered, its snapshot ${snapshot} is not deleted: ${SNAPSHOT_LEFT.get(code) ?? code}`,
    );
  const left = new Set(ended.left.map(({ snapshot }) => snapshot));
  const gigabytes = gigabytesOf({ ...image, snapshots: image.snapshots.filter(({ id }) => !left.has(id)) });
  ports.log.info(`${name}: deregistered, with snapshots of ${gigabytes} GB`);
  publish(step, { gigabytes });
}

/** API reference, DeleteSnapshotReturnCode, but for `success`. */
const SNAPSHOT_LEFT: ReadonlyMap<string, string> = new Map(
  Object.entries({
    skipped: "another image has it too",
    "missing-permissions": "the role may not do ec2:DeleteSnapshot on it",
    "internal-error": "AWS had an internal error; delete it by hand",
    "client-error": "AWS refused; delete it by hand",
  }),
);

/** Gigabytes of what is deregistered. */
function goneOf(images: readonly PrunedImage[]): number {
  const gone = images.filter(({ action, failed }) => action === "deregistered" && failed === undefined);
  return gone.reduce((all, { gigabytes }) => all + gigabytes, 0);
}

function toResult({ image, action, why }: RetirementStep, { now }: RetirementWorld): PrunedImage {
  return {
    region: image.region,
    imageId: image.id,
    name: image.name,
    action,
    why,
    days: Math.floor((now.getTime() - image.created.getTime()) / 86_400_000),
    gigabytes: gigabytesOf(image),
  };
}

function show(planned: PruneResult, dryRun: boolean, { log }: Ports): void {
  const { images, kept, gigabytes } = planned;
  log.info(`${kept} ${kept === 1 ? "image is" : "images are"} kept`);
  if (images.length === 0) return;
  for (const line of retirementTable(planned, true).split("\n")) log.info(line);
  log.info(`To go: snapshots of ${gigabytes} GB${dryRun ? ". Dry run: nothing was changed" : ""}`);
}

/** @throws KilnError where something could not be done */
function report(done: readonly PrunedImage[]): void {
  const failed = done.filter((image) => image.failed !== undefined);
  if (failed.length === 0) return;
  throw new KilnError(
    `${failed.length === 1 ? "An image" : `${failed.length} images`} could not be pruned as planned`,
    {
      state: failed
        .map(
          ({ region, imageId, name, action, failed: why = "" }) =>
            `${region} ${imageId} (${name}) is not ${action}: ${why}`,
        )
        .join("\n"),
      next: "The others were pruned. Mend what the messages name and run the job again: it does what is missing.",
    },
  );
}
