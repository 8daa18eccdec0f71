import { accountOfRole } from "../aws/assumed-role.ts";
import { type Target, targetName } from "../domain/application.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { TargetEnd } from "../domain/result.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import { shareWith } from "../image/sharing.ts";
import type { TemplateVersion } from "../rollout/launch-template.ts";
import { architectureFindings } from "../rollout/preflight.ts";
import type { RolledOut, TargetRollout } from "../rollout/rollout.ts";
import { instanceTypes } from "../rollout/surroundings.ts";
import { type RolloutEntry, rollOutTargets } from "../rollout/targets.ts";
import { cancelRollouts } from "./cancelled-rollout.ts";
import { ownAccount } from "./own-account.ts";
import { homeOf, type Settled, type TargetPlan } from "./plan.ts";
import type { Ports } from "./ports.ts";
import { prepareTarget, rolloutTools } from "./prepare-target.ts";
import type { ComingImages, ReleaseOrder } from "./release-order.ts";
import { TargetBoard } from "./target-board.ts";

/** A target and the template version that the release has on it. */
export interface TargetVersion {
  readonly target: Target;
  readonly version: TemplateVersion;
}

/**
 * Pins, makes the template versions, rolls all targets out and verifies them, all or nothing; on a cancel asks AWS to roll
 * back. A target begins as soon as its region's copy is there. Returns the version that each target of the environment is
 * on, in order.
 */
export async function rollOutImages(
  { plan, situation }: Settled,
  images: ComingImages,
  order: ReleaseOrder,
  ports: Ports,
): Promise<readonly TargetVersion[]> {
  const home = await images.get(homeOf(order.environment));
  if (home !== undefined) refuseWrongArchitecture({ plan, situation }, home, order);
  // Whose credentials these are is asked while they hold: without it they could not be renewed when they have expired.
  if (plan.rollOut) await ownAccount(homeOf(order.environment), ports);
  const board = new TargetBoard(order.environment, plan.targets, ports);
  const launchable = launchableImages(plan.targets, images, order, ports);
  const release = formatReleaseTag(plan.tag);
  const begun: TargetRollout[] = [];
  const entries = plan.targets.flatMap((target): RolloutEntry[] => {
    if (!target.rollOut) return [];
    const prepare = async (): Promise<TargetRollout> => {
      const image = await imageFor(target, launchable);
      const rollout = await prepareTarget(target, image, release, board, order, ports);
      begun.push(rollout);
      return rollout;
    };
    return [{ target: target.target, prepare }];
  });
  try {
    await rollOutTargets(rolloutTools(order, ports), entries, {
      order: order.environment.rollout.order ?? "parallel",
      onEnd: (target, ended, done) => publishEnd(board, target, ended, done, ports),
    });
  } catch (error) {
    if (error instanceof CancelledError) throw await cancelRollouts(begun, board, order, ports);
    throw error;
  }
  return plan.targets.map(({ target, state }) => ({
    target,
    version: begun.find((rollout) => targetName(rollout.state.target) === targetName(target))?.versions
      .base ?? { ...state.template },
  }));
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
  board.update(target, {
    adopted: done.adopted,
    seconds: Math.round(done.took / 1000),
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
  if (await shareWith(await ports.aws.ec2(image.region), image, account))
    ports.log.info(`Shared ${image.id} in ${image.region} with account ${account}`);
  return image;
}

function imageFor({ target }: TargetPlan, images: ComingImages): Promise<CatalogueImage> {
  const image = images.get(target.region);
  if (image === undefined) throw new Error(`no image in ${target.region}`);
  return image;
}
