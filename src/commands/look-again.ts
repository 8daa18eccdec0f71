import { describeImage } from "../image/catalogue.ts";
import { readLedger } from "../release/ledger.ts";
import { waitForForeign } from "../rollout/follow.ts";
import { findTemplateVersion, type TemplateVersion } from "../rollout/launch-template.ts";
import { Pace } from "../rollout/pace.ts";
import { foreignRefresh, isOurs } from "../rollout/refresh.ts";
import { instanceCount, launchesTheSame, observeTarget, type TargetState } from "../rollout/target-state.ts";
import { changeOf, rolloutTools } from "./prepare-target.ts";
import { observeAndPlan, planFor } from "./observe-and-plan.ts";
import { homeOf, imageIn, type ObservedTarget, type Settled, type Situation } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ComingImages, ReleaseOrder } from "./release-order.ts";

/**
 * What was observed before the lock was taken may be old: where another run held it, or released meanwhile, everything
 * is read again; a refresh that is not ours is waited for.
 */
export async function lookAgain(
  contended: boolean,
  before: Settled,
  order: ReleaseOrder,
  ports: Ports,
): Promise<Settled> {
  const { name } = order.environment;
  const [pages, gone] = await Promise.all([
    readLedger(ports.repository, order.request.application, [name], ports.log),
    imageIsGone(before, ports),
  ]);
  const moved = pages.get(name)?.highestNumber !== before.situation.ledger.highestNumber;
  let settled = before;
  if (contended || moved || gone) {
    ports.log.info(`${gone ? "The image is gone" : "Another run released meanwhile"}: looking again`);
    settled = await observeAndPlan(order, ports);
  }
  const deadline = deadlineOf(order, ports);
  for (;;) {
    const foreign = await foreignRefreshes(settled, order, ports);
    if (foreign.length === 0) return settled;
    await Promise.all(foreign.map((state) => waitFor(state, deadline, order, ports)));
    settled = await observeAndPlan(order, ports);
  }
}

/** For all refreshes together that are waited for: each of them may be followed by another. */
const deadlineOf = ({ request }: ReleaseOrder, { clock }: Ports): number =>
  clock.now().getTime() + request.timeout;

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
export async function lookAfterBake(
  settled: Settled,
  coming: ComingImages,
  order: ReleaseOrder,
  ports: Ports,
): Promise<Settled> {
  const { plan, situation } = settled;
  const image = await coming.get(homeOf(order.environment));
  if (plan.image.home.kind !== "bake" || image === undefined) return settled;
  const deadline = deadlineOf(order, ports);
  for (;;) {
    const targets = await Promise.all(
      situation.targets.map(async (observed): Promise<ObservedTarget> => {
        const state = await observeTarget(ports.awsOf(order.environment), observed.state.target);
        return { ...observed, state };
      }),
    );
    const busy = targets.filter(({ state }) => state.activeRefresh !== undefined);
    await Promise.all(busy.map(({ state }) => waitFor(state, deadline, order, ports)));
    if (busy.length > 0) continue;
    if (targets.every(({ state }, index) => launchesTheSame(state, situation.targets[index]?.state))) {
      return settled;
    }
    ports.log.info("A target was changed while the image was baked: planning again");
    const home = { kind: "reuse", image, why: "was baked just now" } as const;
    const now = { ...situation, targets, image: { ...situation.image, home } };
    return { situation: now, plan: await planFor(order, now, ports) };
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

async function waitFor(
  state: TargetState,
  deadline: number,
  order: ReleaseOrder,
  ports: Ports,
): Promise<void> {
  const { activeRefresh, warmup, target } = state;
  if (activeRefresh === undefined) return;
  const tools = rolloutTools(order, ports);
  const timeout = deadline - ports.clock.now().getTime();
  if (timeout <= 0) throw await foreignRefresh(tools.clients, target, activeRefresh);
  const pace = new Pace({
    capacity: instanceCount(state),
    warmup: activeRefresh.Preferences?.InstanceWarmup ?? warmup ?? 0,
    preferences: activeRefresh.Preferences ?? {},
    image: "the other refresh's version",
  });
  await waitForForeign({ ...tools, timeout }, target, activeRefresh, pace);
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
