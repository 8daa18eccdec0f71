import { targetName } from "../domain/application.ts";
import { KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { EMPTY_PAGE, type LedgerPage, readLedger } from "../release/ledger.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { recordObstacles } from "../release/recordable.ts";
import { existingGroups } from "../rollout/existing-groups.ts";
import type { Finding } from "../rollout/preflight.ts";
import { observeSurroundings } from "../rollout/surroundings.ts";
import { alreadyRuns, observeTarget, type TargetState } from "../rollout/target-state.ts";
import { withChanges } from "./changes.ts";
import { freshnessOf } from "./freshness.ts";
import { overwritten } from "./overwritten.ts";
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
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";

/** What is, and what is to be done about it, said to whoever reads the log. */
export async function observeAndPlan(order: ReleaseOrder, ports: Ports): Promise<Settled> {
  const situation = await observe(order, ports);
  await order.guard?.(situation.ledger.newest);
  return { situation, plan: await planFor(order, situation, ports) };
}

/**
 * The plan for a situation, printed with its warnings.
 * @throws KilnError where something in it is fatal
 */
export async function planFor(order: ReleaseOrder, situation: Situation, ports: Ports): Promise<ReleasePlan> {
  const { recordPrefix } = order.request.application;
  const alwaysRecord = order.alwaysRecord?.(situation.ledger) ?? false;
  const plan = planRelease(situation, { ...order, recordPrefix, alwaysRecord });
  return announce(await withChanges(plan, situation, order, ports), situation, ports);
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

/**
 * The ledger; then, at the same time, the targets and the images; then what surrounds the targets. The ledger first: a run
 * that changes what is read after it adds a record, and so is noticed when the lock is held.
 */
async function observe(order: ReleaseOrder, ports: Ports): Promise<Situation> {
  const { application } = order.request;
  const { name, targets } = order.environment;
  const names = application.environments.map((environment) => environment.name);
  const pages = await readLedger(ports.repository, application, names, ports.log);
  const page = pages.get(name) ?? EMPTY_PAGE;
  const [states, image, ...found] = await Promise.all([
    Promise.all(targets.map((target) => observeTarget(ports.awsOf(order.environment), target))),
    order.source.choose(),
    ledgerFindings(page.newest, order, ports),
    recordFindings(page, order, ports),
  ]);
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
    ledger: page,
    ledgerFindings: found.flat(),
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

/**
 * What speaks against recording this release. A rollback goes on all the same: a service that is back counts for more than
 * its record, and the run ends red where that cannot be written.
 */
async function recordFindings(
  page: LedgerPage,
  { request, environment, kind }: ReleaseOrder,
  { repository }: Ports,
): Promise<readonly Finding[]> {
  const obstacles = await recordObstacles(repository, request.application, environment.name, page);
  return obstacles.map((obstacle) => ({ ...obstacle, fatal: kind !== "rollback" }));
}

/**
 * A newest record whose targets are all different from the configured ones is another ledger's: two config files of one
 * application whose environments have one name would take each other's releases for their own. Groups that do not exist
 * any more were renamed or replaced.
 */
async function ledgerFindings(
  newest: ReleaseRecord | undefined,
  { environment }: ReleaseOrder,
  ports: Ports,
): Promise<readonly Finding[]> {
  if (newest === undefined || newest.targets.length === 0) return [];
  const configured = new Set(environment.targets.map(targetName));
  const recorded = newest.targets.map(({ region, group }) => ({ region, autoScalingGroup: group }));
  if (recorded.some((target) => configured.has(targetName(target)))) return [];
  const existing = await existingGroups(ports.awsOf(environment), recorded);
  const name = formatReleaseTag(newest.tag);
  const groups = (existing.length > 0 ? existing : recorded.map(targetName)).join(", ");
  const remedies = {
    fatal: `If another config file of the repository releases to ${environment.name}, give each its own \`record-prefix\`. If you moved ${environment.name} to other groups, delete the old ones, or choose another \`record-prefix\`. If no run of yours wrote ${name}, delete that tag.`,
    warning: "If the groups were renamed or replaced, that is as it should be.",
  };
  return existing.length > 0
    ? [
        {
          fatal: true,
          message: `The newest release of ${environment.name}, ${name}, is on ${groups}, not on the configured targets: ${[...configured].join(", ")}`,
          remedy: remedies.fatal,
        },
      ]
    : [
        {
          fatal: false,
          message: `The newest release of ${environment.name}, ${name}, is on groups that do not exist any more: ${groups}`,
          remedy: remedies.warning,
        },
      ];
}
