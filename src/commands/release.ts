import { CancelledError, RolloutError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { describeImage } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import type { HeldLock } from "../release/held-lock.ts";
import { environmentLock } from "../release/lock.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { Turn } from "../release/turn.ts";
import { rollOutImages } from "./carry-out.ts";
import { type Held, holding, releaseDead } from "./locks.ts";
import { lookAfterBake, lookAgain } from "./look-again.ts";
import { observeAndPlan } from "./observe-and-plan.ts";
import { claimOf, ownAccount } from "./own-account.ts";
import type { ReleasePlan, Situation } from "./plan.ts";
import type { Ports } from "./ports.ts";
import { writeRecord } from "./recording.ts";
import { allOf } from "./region-images.ts";
import type { ReleaseOrder } from "./release-order.ts";
import { retireVersions } from "./retire-versions.ts";
import { proveSmokeTest } from "./smoke-test.ts";

/**
 * One release: observe, plan, and where there is something to do: lock, look again, bake, roll out, verify, record.
 * Every step looks first, so that running the same job again finishes what an earlier run began.
 * @returns whether anything was rolled out
 */
export async function releaseTo(order: ReleaseOrder, ports: Ports): Promise<{ readonly rolledOut: boolean }> {
  const started = ports.clock.now();
  const { name } = order.environment;
  const key = { prefix: order.request.application.recordPrefix, environment: name };
  ports.facts.publish({ commit: order.commit, version: order.version });
  ports.facts.publishEnvironment(name, { outcome: "failed" });
  const { situation, plan } = await observeAndPlan(order, ports);
  if (order.request.dryRun) {
    const rehearsed = await order.source.rehearse?.(plan.image);
    ports.facts.publishEnvironment(name, {
      outcome: "planned",
      plan: rehearsed === undefined ? plan.lines : [...plan.lines, rehearsed],
    });
    return { rolledOut: false };
  }
  if (!plan.rollOut && !plan.record) {
    // Nothing is rolled out, so the image is there in all regions: this only publishes it.
    await allOf(await order.source.obtain(plan.image, undefined));
    publishUnchanged(situation, name, ports);
    // An earlier attempt that came as far as the record may have died holding the lock.
    if (order.request.run.attempt !== "1") await releaseDead(environmentLock(key), order.request.run, ports);
    return { rolledOut: false };
  }
  // Independent of each other: whether a bake could begin, and whether there would be a way back.
  const [ready] = await Promise.all([
    order.source.prepare(plan.image),
    proveWayBack(plan, situation, order.request, ports),
    order.kind === "rollback" ? undefined : warnOfRules(plan, ports),
    plan.targets.some(({ rollOut, unrecorded }) => rollOut || unrecorded)
      ? proveSmokeTest(order.environment.rollout.smokeTest, ports)
      : undefined,
  ]);
  return underLock(order, ports, async (contended, lock) => {
    const locked = await lookAgain(contended, { situation, plan }, order, ports);
    // The name may have been taken meanwhile: then the bake is prepared anew, with another.
    const prepared = locked.plan === plan ? ready : await order.source.prepare(locked.plan.image);
    const coming = await order.source.obtain(locked.plan.image, prepared);
    const settled = await lookAfterBake(locked, coming, order, ports);
    if (!settled.plan.record) {
      await allOf(coming);
      publishUnchanged(settled.situation, name, ports);
      return { rolledOut: false };
    }
    const turn = new Turn(lock, key, settled.situation.ledger.highestNumber, ports.repository);
    const targets = await rollOutImages({ settled, turn }, coming, order, ports);
    const images = await allOf(coming);
    await writeRecord({ settled, images, targets, started, turn }, order, ports);
    if (settled.plan.rollOut) await retireVersions(settled, targets, order, ports);
    return { rolledOut: settled.plan.rollOut };
  });
}

/** GitHub has the last word when the record is written; whether it could be one "no" is best known before. */
async function warnOfRules({ tag }: ReleasePlan, { repository, log }: Ports): Promise<void> {
  const name = formatReleaseTag(tag);
  try {
    for (const { ruleset, rule } of await repository.rulesAgainst(name))
      log.warning(
        `The ruleset "${ruleset}" has the rule ${rule} for ${name}, and does not say that this token may bypass it: the release may not be recorded`,
      );
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    log.debug(
      `The rulesets for tags could not be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Says whether what the environment runs now could be restored now: the way back is best proved before it is needed. */
async function proveWayBack(
  plan: ReleasePlan,
  { ledger }: Situation,
  request: ReleaseOrder["request"],
  ports: Ports,
): Promise<void> {
  const { newest } = ledger;
  if (!plan.rollOut || newest === undefined) return;
  const regions = new Set(plan.targets.map(({ target }) => target.region));
  await Promise.all([...regions].map((region) => proveWayBackIn(region, newest, request, ports)));
}

async function proveWayBackIn(
  region: string,
  newest: ReleaseRecord,
  request: ReleaseOrder["request"],
  ports: Ports,
): Promise<void> {
  const id = newest.images[region];
  if (id === undefined) return;
  const [image, account] = await Promise.all([
    describeImage(await ports.aws.ec2(region), region, id),
    ownAccount(region, ports),
  ]);
  const why = whyNotLaunchable(image, claimOf(newest, request, account));
  const name = formatReleaseTag(newest.tag);
  if (why === undefined) ports.log.info(`Way back: ${name} (${id}) can be restored`);
  else ports.log.warning(`No way back to ${name} (${id}): ${why}. An older release may still do`);
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

function underLock<T>(
  order: ReleaseOrder,
  ports: Ports,
  work: (contended: boolean, lock: HeldLock) => Promise<T>,
): Promise<T> {
  const { commit, whileLocked: meanwhile, request } = order;
  const environment = order.environment.name;
  const told = async (contended: boolean, { lock }: Held): Promise<T> => {
    try {
      return await work(contended, lock);
    } catch (error) {
      if (error instanceof RolloutError && error.rolledBack) {
        ports.facts.publishEnvironment(environment, { outcome: "rolled-back" });
      }
      throw error;
    }
  };
  const what = environmentLock({ prefix: request.application.recordPrefix, environment });
  return holding({ what, commit, meanwhile, work: told }, request, ports);
}
