import { KilnError, RolloutError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { describeImage } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import { readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { environmentLock } from "../release/lock.ts";
import { waitForForeign } from "../rollout/follow.ts";
import { findTemplateVersion, type TemplateVersion } from "../rollout/launch-template.ts";
import { Pace } from "../rollout/pace.ts";
import { isOurs } from "../rollout/refresh.ts";
import { observeSurroundings } from "../rollout/surroundings.ts";
import {
  alreadyRuns,
  instanceCount,
  launchesTheSame,
  observeTarget,
  type TargetState,
} from "../rollout/target-state.ts";
import { withChanges } from "./changes.ts";
import { changeOf, retireVersions, rollOutImages, rolloutTools } from "./carry-out.ts";
import {
  type ChosenImage,
  homeOf,
  imageIn,
  type ObservedTarget,
  planRelease,
  type ReleasePlan,
  type Settled,
  type Situation,
} from "./plan.ts";
import { freshnessOf } from "./freshness.ts";
import { allOf } from "./region-images.ts";
import { holding, releaseDead } from "./locks.ts";
import { overwritten } from "./overwritten.ts";
import { ownAccount } from "./own-account.ts";
import type { Ports } from "./ports.ts";
import { writeRecord } from "./recording.ts";
import type { ComingImages, ReleaseOrder } from "./release-order.ts";
import { proveSmokeTest } from "./smoke-test.ts";

/**
 * One release: observe, plan, and where there is something to do: lock, look again, bake, roll out, verify, record.
 * Every step looks first, so that running the same job again finishes what an earlier run began.
 */
export async function releaseTo(order: ReleaseOrder, ports: Ports): Promise<void> {
  const started = ports.clock.now();
  const { name } = order.environment;
  ports.facts.publish({ commit: order.commit, version: order.version });
  ports.facts.publishEnvironment(name, { outcome: "failed" });
  const situation = await observe(order, ports);
  await order.guard?.(situation.ledger.newest);
  const plan = announce(await plannedFor(order, situation, ports), situation, ports);
  if (order.request.dryRun) {
    ports.facts.publishEnvironment(name, { outcome: "planned" });
    return;
  }
  if (!plan.rollOut && !plan.record) {
    // Nothing is rolled out, so the image is there in all regions: this only publishes it.
    await allOf(await order.source.obtain(plan.image, undefined));
    publishUnchanged(situation, name, ports);
    // An earlier attempt that came as far as the record may have died holding the lock.
    if (order.request.run.attempt !== "1") await releaseDead(environmentLock(name), order.request.run, ports);
    return;
  }
  // Independent of each other: whether a bake could begin, and whether there would be a way back.
  const [ready] = await Promise.all([
    order.source.prepare(plan.image),
    proveWayBack(plan, situation, ports),
    plan.rollOut ? proveSmokeTest(order.environment.rollout.smokeTest, ports) : undefined,
  ]);
  await underLock(order, ports, async (contended) => {
    const locked = await lookAgain(contended, { situation, plan }, order, ports);
    // The name may have been taken meanwhile: then the bake is prepared anew, with another.
    const prepared = locked.plan === plan ? ready : await order.source.prepare(locked.plan.image);
    const coming = await order.source.obtain(locked.plan.image, prepared);
    const settled = await lookAfterBake(locked, coming, order, ports);
    const versions = await rollOutImages(settled, coming, order, ports);
    const images = await allOf(coming);
    if (settled.plan.record) await writeRecord(settled, images, versions, started, order, ports);
    else publishUnchanged(settled.situation, name, ports);
    if (settled.plan.rollOut) await retireVersions(settled, versions, order, ports);
  });
}

async function plannedFor(order: ReleaseOrder, situation: Situation, ports: Ports): Promise<ReleasePlan> {
  const { recordPrefix } = order.request.application;
  const alwaysRecord = order.alwaysRecord?.(situation.ledger) ?? false;
  return withChanges(
    planRelease(situation, { ...order, recordPrefix, alwaysRecord }),
    situation,
    order,
    ports,
  );
}

/**
 * The ledger; then, at the same time, the targets and the images; then what surrounds the targets. The ledger first: a run
 * that changes what is read after it adds a record, and so is noticed when the lock is held.
 */
async function observe(order: ReleaseOrder, ports: Ports): Promise<Situation> {
  const { application } = order.request;
  const { name, targets } = order.environment;
  const names = application.environments.map((environment) => environment.name);
  const pages = await readLedger(ports.repository, application.recordPrefix, names, ports.log);
  const [states, image] = await Promise.all([
    Promise.all(targets.map((target) => observeTarget(ports.awsOf(order.environment), target))),
    order.source.choose(),
  ]);
  refuseForeignLedger(pages.get(name)?.newest, application.name);
  const [observed, baseImage] = await Promise.all([
    Promise.all(
      states.map(async (state) => {
        const [around, overwrites] = await Promise.all([
          withSurroundings(state, image, order, ports),
          overwritten(state, pages, order, ports),
        ]);
        return { ...around, overwrites };
      }),
    ),
    baseImageNews(image, states, order, ports),
  ]);
  return {
    ledger: pages.get(name) ?? { newest: undefined, records: [], highestNumber: 0 },
    elsewhere: [...pages].flatMap(([other, page]) => (other === name ? [] : (page.newest ?? []))),
    targets: observed,
    image,
    baseImage,
  };
}

/** The base image's age matters where an image is used again: a bake takes the newest. */
async function baseImageNews(
  { home }: ChosenImage,
  states: readonly TargetState[],
  { environment }: ReleaseOrder,
  ports: Ports,
): Promise<string | undefined> {
  if (home.kind === "bake" || home.image.baseImage === undefined) return undefined;
  const { id, region, baseImage } = home.image;
  // In other regions the same image has other ids: this one tells enough.
  const isThere = states.every(
    (state) => state.target.region !== region || alreadyRuns(state, id, environment.instanceType),
  );
  return isThere ? undefined : freshnessOf(baseImage, region, ports);
}

/** What surrounds a target matters only where it is to be rolled out. */
async function withSurroundings(
  state: TargetState,
  image: ChosenImage,
  { environment }: ReleaseOrder,
  ports: Ports,
): Promise<ObservedTarget> {
  const { instanceType, rollout } = environment;
  const there = imageIn(image, homeOf(environment), state.target.region);
  if (there !== undefined && alreadyRuns(state, there.id, instanceType)) {
    return { state, surroundings: { alarms: new Map(), architectures: new Map() } };
  }
  const wanted = { alarms: rollout.alarms ?? [], instanceType };
  return { state, surroundings: await observeSurroundings(ports.awsOf(environment), state, wanted) };
}

/** Two applications in one repository whose environments have one name would take each other's releases for their own. */
function refuseForeignLedger(newest: ReleaseRecord | undefined, application: string): void {
  if (newest === undefined || newest.application === application) return;
  throw new KilnError(
    `The newest release of ${newest.tag.environment}, ${formatReleaseTag(newest.tag)}, is of another application: ${newest.application}, not ${application}`,
    {
      state: "Nothing was changed.",
      next: "Give each application of the repository a `record-prefix` of its own in its config file.",
    },
  );
}

/** Says whether what the environment runs now could be restored now: the way back is best proved before it is needed. */
async function proveWayBack(plan: ReleasePlan, { ledger }: Situation, ports: Ports): Promise<void> {
  const { newest } = ledger;
  if (!plan.rollOut || newest === undefined) return;
  const regions = new Set(plan.targets.map(({ target }) => target.region));
  await Promise.all([...regions].map((region) => proveWayBackIn(region, newest, ports)));
}

async function proveWayBackIn(region: string, newest: ReleaseRecord, ports: Ports): Promise<void> {
  const id = newest.images[region];
  if (id === undefined) return;
  const [image, account] = await Promise.all([
    describeImage(await ports.aws.ec2(region), region, id),
    ownAccount(region, ports),
  ]);
  const why = whyNotLaunchable(image, { digest: newest.imageDigest, account });
  const name = formatReleaseTag(newest.tag);
  if (why === undefined) ports.log.info(`Way back: ${name} (${id}) can be restored`);
  else ports.log.warning(`No way back to ${name} (${id}): ${why}. An older release may still do`);
}

/** Prints the plan and its warnings; stops at what is fatal. */
function announce(plan: ReleasePlan, situation: Situation, ports: Ports): ReleasePlan {
  const { environment } = plan.tag;
  ports.log.info(`Plan for ${environment}:`);
  for (const line of plan.lines) ports.log.info(`  - ${line}`);
  const warnings = plan.findings.filter((finding) => !finding.fatal);
  for (const { message, remedy } of warnings) ports.log.warning(`${message}. ${remedy}`);
  const { newest } = situation.ledger;
  ports.facts.publishEnvironment(environment, {
    plan: plan.lines,
    warnings: warnings.map(({ message }) => message),
    ...(newest === undefined || !(plan.rollOut || plan.record)
      ? {}
      : { previousRelease: formatReleaseTag(newest.tag), previousImages: newest.images }),
  });
  const fatal = plan.findings.filter((finding) => finding.fatal);
  if (fatal.length > 0) {
    throw new KilnError(fatal.map(({ message }) => message).join("\n"), {
      state: "Nothing was changed.",
      next: fatal.map(({ remedy }) => remedy).join("\n"),
    });
  }
  return plan;
}

function publishUnchanged({ ledger }: Situation, environment: string, ports: Ports): void {
  const { newest } = ledger;
  ports.facts.publishEnvironment(environment, {
    outcome: "unchanged",
    ...(newest === undefined
      ? {}
      : {
          release: formatReleaseTag(newest.tag),
          releaseNumber: newest.tag.number,
          ...(newest.previous === undefined ? {} : { previousRelease: newest.previous }),
        }),
  });
  ports.log.info(
    `${environment} runs this image already, as ${newest === undefined ? "?" : formatReleaseTag(newest.tag)} records: nothing to do`,
  );
}

function underLock(
  order: ReleaseOrder,
  ports: Ports,
  work: (contended: boolean) => Promise<void>,
): Promise<void> {
  const { name } = order.environment;
  const told = async (contended: boolean): Promise<void> => {
    try {
      await work(contended);
    } catch (error) {
      if (error instanceof RolloutError && error.rolledBack) {
        ports.facts.publishEnvironment(name, { outcome: "rolled-back" });
      }
      throw error;
    }
  };
  const { commit, whileLocked: meanwhile, request } = order;
  return holding({ what: environmentLock(name), commit, meanwhile, work: told }, request, ports);
}

/**
 * What was observed before the lock was taken may be old: where another run held it, or released meanwhile, everything
 * is read again; a refresh that is not ours is waited for.
 */
async function lookAgain(
  contended: boolean,
  before: Settled,
  order: ReleaseOrder,
  ports: Ports,
): Promise<Settled> {
  const { name } = order.environment;
  const [pages, gone] = await Promise.all([
    readLedger(ports.repository, order.request.application.recordPrefix, [name], ports.log),
    imageIsGone(before, ports),
  ]);
  const moved = pages.get(name)?.highestNumber !== before.situation.ledger.highestNumber;
  let settled = before;
  if (contended || moved || gone) {
    ports.log.info(`${gone ? "The image is gone" : "Another run released meanwhile"}: looking again`);
    settled = await observeAndPlan(order, ports);
  }
  for (;;) {
    const foreign = await foreignRefreshes(settled, order, ports);
    if (foreign.length === 0) return settled;
    await Promise.all(foreign.map((state) => waitFor(state, order, ports)));
    settled = await observeAndPlan(order, ports);
  }
}

/** What retires images looks at the lock before it does: what is there once the lock is held, stays. */
async function imageIsGone({ plan }: Settled, ports: Ports): Promise<boolean> {
  const { home } = plan.image;
  if (home.kind === "bake" || !plan.rollOut) return false;
  const { id, region } = home.image;
  return (await describeImage(await ports.aws.ec2(region), region, id))?.state !== "available";
}

/**
 * A bake takes minutes, in which somebody else may have changed a group: the release is made from what is effective now. A
 * refresh that was begun meanwhile cannot be ours, and is waited for.
 */
async function lookAfterBake(
  settled: Settled,
  coming: ComingImages,
  order: ReleaseOrder,
  ports: Ports,
): Promise<Settled> {
  const { plan, situation } = settled;
  const image = await coming.get(homeOf(order.environment));
  if (plan.image.home.kind !== "bake" || image === undefined) return settled;
  for (;;) {
    const targets = await Promise.all(
      situation.targets.map(async (observed): Promise<ObservedTarget> => {
        const state = await observeTarget(ports.awsOf(order.environment), observed.state.target);
        return { ...observed, state };
      }),
    );
    const busy = targets.filter(({ state }) => state.activeRefresh !== undefined);
    await Promise.all(busy.map(({ state }) => waitFor(state, order, ports)));
    if (busy.length > 0) continue;
    if (targets.every(({ state }, index) => launchesTheSame(state, situation.targets[index]?.state))) {
      return settled;
    }
    ports.log.info("A target was changed while the image was baked: planning again");
    const home = { kind: "reuse", image, why: "was baked just now" } as const;
    const now = { ...situation, targets, image: { ...situation.image, home } };
    return { situation: now, plan: announce(await plannedFor(order, now, ports), now, ports) };
  }
}

/** The targets on which a refresh is running that does not bring this release. */
async function foreignRefreshes(
  { situation }: Settled,
  order: ReleaseOrder,
  ports: Ports,
): Promise<readonly TargetState[]> {
  const looked = await Promise.all(
    situation.targets.map(async ({ state }) => {
      const { activeRefresh } = state;
      if (activeRefresh === undefined) return [];
      const ours = await ourVersion(state, situation, order, ports);
      return ours !== undefined &&
        isOurs(activeRefresh, { LaunchTemplate: { LaunchTemplateId: ours.id, Version: ours.version } })
        ? []
        : [state];
    }),
  );
  return looked.flat();
}

function waitFor(state: TargetState, order: ReleaseOrder, ports: Ports): Promise<void> {
  const { activeRefresh, warmup, target } = state;
  if (activeRefresh === undefined) return Promise.resolve();
  const pace = new Pace({
    capacity: instanceCount(state),
    warmup: activeRefresh.Preferences?.InstanceWarmup ?? warmup ?? 0,
    preferences: activeRefresh.Preferences ?? {},
    image: "the other refresh's version",
  });
  return waitForForeign(rolloutTools(order, ports), target, activeRefresh, pace);
}

async function observeAndPlan(order: ReleaseOrder, ports: Ports): Promise<Settled> {
  const situation = await observe(order, ports);
  await order.guard?.(situation.ledger.newest);
  return { situation, plan: announce(await plannedFor(order, situation, ports), situation, ports) };
}

/** The template version that an earlier run of this release made, where its image exists. */
async function ourVersion(
  state: TargetState,
  { image }: Situation,
  order: ReleaseOrder,
  ports: Ports,
): Promise<TemplateVersion | undefined> {
  const { region } = state.target;
  const there = imageIn(image, homeOf(order.environment), region);
  if (there === undefined) return undefined;
  const change = changeOf(there, state, order.environment);
  return findTemplateVersion(await ports.awsOf(order.environment).ec2(region), state.template, change);
}
