import type { EC2Client } from "@aws-sdk/client-ec2";
import { accountOfRole } from "../aws/assumed-role.ts";
import type { AwsClients } from "../aws/clients.ts";
import {
  DEFAULT_MAX_LAUNCH_FAILURES,
  type Environment,
  type Target,
  targetName,
} from "../domain/application.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { TargetEnd, TargetResult } from "../domain/result.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import { shareWith } from "../image/sharing.ts";
import type { RolloutTools } from "../rollout/follow.ts";
import {
  configurationWith,
  createTemplateVersion,
  findTemplateVersion,
  pinTemplates,
  type ReleaseVersions,
  releaseVersions,
  type TemplateChange,
  type TemplateVersion,
} from "../rollout/launch-template.ts";
import { architectureFindings } from "../rollout/preflight.ts";
import { newInstances } from "../rollout/new-instances.ts";
import type { RolledOut, TargetRollout } from "../rollout/rollout.ts";
import { instanceTypes } from "../rollout/surroundings.ts";
import {
  appliedInstanceType,
  type EffectiveTemplate,
  observeTarget,
  templatesOf,
  type TargetState,
  instanceCount,
} from "../rollout/target-state.ts";
import { type RolloutEntry, rollOutTargets } from "../rollout/targets.ts";
import { deleteOldVersions } from "../rollout/template-retention.ts";
import { cancelRollouts } from "./cancelled-rollout.ts";
import { ownAccount } from "./own-account.ts";
import { homeOf, type Settled, type TargetPlan } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ComingImages, ReleaseOrder } from "./release-order.ts";
import { runSmokeTest } from "./smoke-test.ts";

/** What a release changes in a target's launch template. */
export function changeOf(
  image: CatalogueImage,
  state: TargetState,
  environment: Environment,
): TemplateChange {
  return {
    imageId: image.id,
    imageName: image.name,
    instanceType: appliedInstanceType(state, environment.instanceType),
  };
}

export function rolloutTools(
  { environment, request }: Pick<ReleaseOrder, "environment" | "request">,
  ports: Ports,
): RolloutTools {
  return {
    clients: ports.awsOf(environment),
    clock: ports.clock,
    log: ports.log,
    signal: ports.signal,
    polling: { interval: request.pollInterval },
    timeout: request.timeout,
  };
}

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

/** Everything that a target's rollout needs before its refresh begins: numbered versions, and the release's own. */
async function prepareTarget(
  plan: TargetPlan,
  image: CatalogueImage,
  release: string,
  board: TargetBoard,
  order: ReleaseOrder,
  ports: Ports,
): Promise<TargetRollout> {
  ports.signal.throwIfAborted();
  const { target, preferences, strategy } = plan;
  const { environment } = order;
  const { rollout } = environment;
  const clients = ports.awsOf(environment);
  const state = plan.pin ? await pinned(plan, clients, ports) : plan.state;
  const versions = await versionsFor(state, changeOf(image, state, environment), clients, ports);
  const warmup = preferences.InstanceWarmup ?? state.warmup ?? 0;
  board.update(target, {
    launchTemplate: versions.base.id,
    launchTemplateVersion: versions.base.version,
  });
  const { smokeTest } = rollout;
  return {
    state,
    versions,
    preferences,
    strategy,
    imageId: image.id,
    configuration: configurationWith(state, versions.choose, {
      id: image.id,
      inEveryOverride: strategy === "ReplaceRootVolume",
    }),
    pace: { capacity: instanceCount(state), warmup, preferences, image: image.id },
    maxFailures: rollout.maxLaunchFailures ?? DEFAULT_MAX_LAUNCH_FAILURES,
    mayGoBack: rollout.autoRollback ?? true,
    check:
      smokeTest === undefined
        ? undefined
        : async (checkpoint, signal) =>
            runSmokeTest(
              smokeTest,
              {
                environment: environment.name,
                target,
                release,
                imageId: image.id,
                checkpoint,
                instances: await newInstances(clients, target, versions.all, image.id),
              },
              { ...ports, signal },
            ),
    onStarting: () => board.starting(target, versions.base),
    onStarted: (id) => board.started(target, id),
  };
}

/** Sets the group to numbers and AMI ids; the target as it is then. */
async function pinned(
  { state, target }: TargetPlan,
  clients: AwsClients,
  ports: Ports,
): Promise<TargetState> {
  const versions = await pinTemplates(clients, state);
  for (const template of templatesOf(state)) {
    const { version } = versions.choose(template);
    const meant = template.version === version ? template.written : (template.imageId ?? template.written);
    ports.log.notice(
      `${targetName(target)}: pinned to version ${version} of ${template.name}, which is what ${meant} meant`,
    );
  }
  return observeTarget(clients, target);
}

/** The release's template versions, one for each template of the group: those that an earlier run made, or new ones. */
async function versionsFor(
  state: TargetState,
  change: TemplateChange,
  clients: AwsClients,
  ports: Ports,
): Promise<ReleaseVersions> {
  const ec2 = await clients.ec2(state.target.region);
  return releaseVersions(
    await Promise.all(
      templatesOf(state).map(async (template, index) => {
        // The environment's instance type is the group's own; templates of overrides keep theirs.
        const own = index === 0 ? change : { ...change, instanceType: undefined };
        return [template, await versionFor(ec2, state.target, template, own, ports)] as const;
      }),
    ),
  );
}

async function versionFor(
  ec2: EC2Client,
  target: Target,
  template: EffectiveTemplate,
  change: TemplateChange,
  ports: Ports,
): Promise<TemplateVersion> {
  const found = await findTemplateVersion(ec2, template, change);
  const version = found ?? (await createTemplateVersion(ec2, target, template, change));
  ports.log.info(
    `${targetName(target)}: version ${version.version} of ${version.name} ${found === undefined ? "made" : "is there already"}`,
  );
  return version;
}

/** What is known of the environment's targets, published with every change. */
export class TargetBoard {
  readonly #environment: Environment;
  readonly #ports: Ports;
  readonly #results = new Map<string, TargetResult>();
  readonly #refreshes = new Map<string, { readonly id: string; readonly isBack: boolean }>();

  constructor(environment: Environment, targets: readonly TargetPlan[], ports: Ports) {
    this.#environment = environment;
    this.#ports = ports;
    for (const { target } of targets) {
      const { region, autoScalingGroup } = target;
      this.#results.set(targetName(target), { region, autoScalingGroup });
    }
  }

  /** The refresh that was last started on a target; a second one takes it back. */
  refreshOf(target: Target): { readonly id: string; readonly isBack: boolean } | undefined {
    return this.#refreshes.get(targetName(target));
  }

  resultOf(target: Target): TargetResult | undefined {
    return this.#results.get(targetName(target));
  }

  /** About to be started: where this process dies before AWS has answered, the post step looks for it. */
  starting(target: Target, { id: launchTemplate, version }: TemplateVersion): void {
    const { roleToAssume } = this.#environment;
    const brings = { launchTemplate, version };
    this.#ports.unfinished.refreshNoted({ ...target, id: undefined, brings, roleToAssume });
  }

  started(target: Target, id: string): void {
    const isBack = this.#refreshes.has(targetName(target));
    this.#refreshes.set(targetName(target), { id, isBack });
    const { roleToAssume } = this.#environment;
    this.#ports.unfinished.refreshNoted({ ...target, id, isBack, roleToAssume });
    this.update(target, { instanceRefresh: id });
  }

  update(target: Target, facts: Partial<TargetResult>): void {
    const { region, autoScalingGroup } = target;
    const name = targetName(target);
    this.#results.set(name, { region, autoScalingGroup, ...this.#results.get(name), ...facts });
    this.#ports.facts.publishEnvironment(this.#environment.name, { targets: [...this.#results.values()] });
  }
}

/**
 * Deletes template versions of ours that nothing needs any more, long before AWS's limit is reached. The release stands
 * whatever comes of it.
 */
export async function retireVersions(
  { situation, plan }: Settled,
  versions: readonly TargetVersion[],
  { environment }: ReleaseOrder,
  ports: Ports,
): Promise<void> {
  const records = [...situation.ledger.records, ...situation.elsewhere];
  await Promise.all(
    plan.targets.map(async ({ target, rollOut, state }, index) => {
      const version = versions[index]?.version;
      if (!rollOut || version === undefined) return;
      const needed = new Set([
        version.version,
        state.template.version,
        ...records.flatMap((record) =>
          record.targets.flatMap((entry) => (entry.launchTemplate === version.id ? [entry.version] : [])),
        ),
        ...state.instances.flatMap(({ templateVersion }) => templateVersion ?? []),
      ]);
      try {
        const gone = await deleteOldVersions(
          await ports.awsOf(environment).ec2(target.region),
          version,
          needed,
        );
        if (gone.length > 0) ports.log.info(`Deleted old versions of ${version.name}: ${gone.join(", ")}`);
      } catch (error) {
        ports.log.notice(
          `Old versions of ${version.name} could not be deleted: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }),
  );
}
