import { accountOfRole } from "../aws/assumed-role.ts";
import { type Target, targetName } from "../domain/application.ts";
import { CancelledError, KilnError, RolloutError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { TargetEnd } from "../domain/result.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import { shareWith } from "../image/sharing.ts";
import type { Turn } from "../release/turn.ts";
import { releaseVersions, type TemplateVersion } from "../rollout/launch-template.ts";
import { architectureFindings } from "../rollout/preflight.ts";
import type { RolledOut, TargetRollout } from "../rollout/rollout.ts";
import { instanceTypes } from "../rollout/surroundings.ts";
import { templatesOf } from "../rollout/target-state.ts";
import { type RolloutEntry, rollOutTargets } from "../rollout/targets.ts";
import { verify } from "../rollout/verify.ts";
import { cancelRollouts } from "./cancelled-rollout.ts";
import { ownAccount } from "./own-account.ts";
import { homeOf, type Settled, type TargetPlan } from "./plan.ts";
import type { Ports } from "./ports.ts";
import { prepareInService, prepareTarget, type Release, rolloutTools } from "./prepare-target.ts";
import type { ComingImages, ReleaseOrder } from "./release-order.ts";
import { FailedTests } from "./smoke-test.ts";
import { TargetBoard } from "./target-board.ts";

/** A target as it was released. */
export interface ReleasedTarget {
  readonly target: Target;
  /** The template version that the release has on it. */
  readonly version: TemplateVersion;
  /** How many instances in service were seen to run the release, and how many are in service. */
  readonly verified: { readonly count: number; readonly of: number };
  /** What came of the smoke test on the whole group; `none` if there is none. */
  readonly smokeTest: "passed" | "not-run" | "none";
}

/**
 * Pins, makes the template versions, rolls all targets out and verifies them, all or nothing; on a cancel asks AWS to roll
 * back. A target begins as soon as its region's copy is there. Returns each target of the environment as it was released,
 * in order.
 */
export async function rollOutImages(
  { settled: { plan, situation }, turn }: { readonly settled: Settled; readonly turn: Turn },
  images: ComingImages,
  order: ReleaseOrder,
  ports: Ports,
): Promise<readonly ReleasedTarget[]> {
  const home = await images.get(homeOf(order.environment));
  if (home !== undefined) refuseWrongArchitecture({ plan, situation }, home, order);
  // Whose credentials these are is asked while they hold: without it they could not be renewed when they have expired.
  if (plan.rollOut) await ownAccount(homeOf(order.environment), ports);
  const board = new TargetBoard(order.environment, plan.targets, ports);
  const launchable = launchableImages(plan.targets, images, order, ports);
  const failedTests = new FailedTests(order, ports);
  const release: Release = { tag: formatReleaseTag(plan.tag), order, board, failedTests };
  const begun: TargetRollout[] = [];
  const done = new Map<string, RolledOut>();
  const entries = plan.targets.flatMap((target): RolloutEntry[] => {
    if (!target.rollOut && !target.unrecorded) return [];
    const prepare = async (): Promise<TargetRollout> => {
      const image = await imageFor(target, target.rollOut ? launchable : images);
      const rollout = await (target.rollOut ? prepareTarget : prepareInService)(
        target,
        image,
        release,
        ports,
      );
      begun.push(rollout);
      return rollout;
    };
    return [{ target: target.target, prepare }];
  });
  try {
    const tools = rolloutTools(order, ports, (state) => turn.confirm(state));
    await rollOutTargets(tools, entries, {
      order: order.environment.rollout.order ?? "parallel",
      onEnd: (target, ended, result) => {
        if (result !== undefined) done.set(targetName(target), result);
        publishEnd(board, target, ended, result, ports);
      },
    });
  } catch (error) {
    if (error instanceof CancelledError) throw await cancelRollouts(begun, board, order, ports);
    await failedTests.end(error instanceof RolloutError && error.rolledBack);
    throw error;
  }
  return Promise.all(
    plan.targets.map(async (target): Promise<ReleasedTarget> => {
      const result = done.get(targetName(target.target));
      const rollout = begun.find(({ state }) => targetName(state.target) === targetName(target.target));
      if (result !== undefined && rollout !== undefined) return releasedTarget(rollout, result);
      return confirmed(target, await imageFor(target, images), order, ports);
    }),
  );
}

function releasedTarget({ state, versions }: TargetRollout, result: RolledOut): ReleasedTarget {
  return {
    target: state.target,
    version: versions.base,
    verified: { count: result.verified.length, of: result.inService },
    smokeTest: result.checked,
  };
}

/**
 * A target that runs what the newest release records: a release that changes nothing on it still says how many instances
 * were seen to run it. Its smoke test was run when that release was made.
 * @throws RolloutError if its instances do not run it
 */
async function confirmed(
  { target, state, preferences }: TargetPlan,
  { id: imageId }: CatalogueImage,
  order: ReleaseOrder,
  ports: Ports,
): Promise<ReleasedTarget> {
  const versions = releaseVersions(
    templatesOf(state).map((template) => [template, { ...template }] as const),
  );
  const verified = await verify(rolloutTools(order, ports), state, { versions, imageId, preferences });
  if (verified.kind === "failed") {
    throw new RolloutError(`${targetName(target)} cannot be verified: ${verified.why}`, {
      rolledBack: false,
      state: `The group launches from version ${state.template.version} of ${state.template.name} (${imageId}), as before. Nothing was recorded.`,
      next: "See why its instances are not in service, then run the job again.",
    });
  }
  const { smokeTest } = order.environment.rollout;
  return {
    target,
    version: versions.base,
    verified: { count: verified.instances.length, of: verified.of },
    smokeTest: smokeTest === undefined ? "none" : "not-run",
  };
}

function publishEnd(
  board: TargetBoard,
  target: Target,
  ended: TargetEnd,
  done: RolledOut | undefined,
  ports: Ports,
): void {
  board.update(target, { ended });
  if (done === undefined) return;
  const { refresh } = done;
  board.update(target, {
    ...(refresh === undefined ? {} : { adopted: refresh.adopted, seconds: Math.round(refresh.took / 1000) }),
    verified: done.verified.length,
  });
  ports.log.info(
    `${targetName(target)}: every instance in service (${done.verified.length}) runs ${done.imageId}`,
  );
}

/** What could not be looked at while the image was still to be baked. */
function refuseWrongArchitecture(
  { plan, situation }: Settled,
  image: CatalogueImage,
  { environment }: ReleaseOrder,
): void {
  const findings = plan.targets.flatMap((target, index) => {
    const observed = situation.targets[index];
    if (!target.rollOut || observed === undefined) return [];
    const types = instanceTypes(target.state, environment.instanceType);
    return architectureFindings(types, image, observed.surroundings.architectures);
  });
  if (findings.length === 0) return;
  throw new KilnError(findings.map(({ message }) => message).join("\n"), {
    state: "Nothing was rolled out. The image stays.",
    next: findings.map(({ remedy }) => remedy).join("\n"),
  });
}

/** The images as the targets' account can launch them: shared with it, where it is another than the one that has them. */
function launchableImages(
  targets: readonly TargetPlan[],
  images: ComingImages,
  { environment: { roleToAssume } }: ReleaseOrder,
  ports: Ports,
): ComingImages {
  if (roleToAssume === undefined) return images;
  const account = accountOfRole(roleToAssume);
  const regions = new Set(targets.flatMap(({ rollOut, target }) => (rollOut ? [target.region] : [])));
  return new Map(
    [...images]
      .filter(([region]) => regions.has(region))
      .map(([region, coming]) => {
        const shared = share(coming, account, ports);
        shared.catch(() => undefined);
        return [region, shared] as const;
      }),
  );
}

async function share(
  coming: Promise<CatalogueImage>,
  account: string,
  ports: Ports,
): Promise<CatalogueImage> {
  const image = await coming;
  if (await shareWith(await ports.aws.ec2(image.region), image, account, ports))
    ports.log.info(`Shared ${image.id} in ${image.region} with account ${account}`);
  return image;
}

function imageFor({ target }: TargetPlan, images: ComingImages): Promise<CatalogueImage> {
  const image = images.get(target.region);
  if (image === undefined) throw new Error(`no image in ${target.region}`);
  return image;
}
