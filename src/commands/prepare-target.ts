import type { EC2Client } from "@aws-sdk/client-ec2";
import type { AwsClients } from "../aws/clients.ts";
import { untilKnown } from "../aws/new-ids.ts";
import {
  DEFAULT_MAX_LAUNCH_FAILURES,
  type Environment,
  type Target,
  targetName,
} from "../domain/application.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import type { RolloutTools } from "../rollout/follow.ts";
import {
  configurationWith,
  createTemplateVersion,
  findTemplateVersion,
  pinTemplates,
  type ReleaseVersions,
  releaseVersions,
  savedConfiguration,
  type TemplateChange,
  type TemplateVersion,
} from "../rollout/launch-template.ts";
import { recentRefreshes } from "../rollout/refresh.ts";
import type { TargetRollout } from "../rollout/rollout.ts";
import { stateBefore } from "../rollout/state-before.ts";
import {
  appliedInstanceType,
  type EffectiveTemplate,
  instanceCount,
  observeTarget,
  type TargetState,
  templatesOf,
} from "../rollout/target-state.ts";
import type { TargetPlan } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";
import { type FailedTests, smokeTestCheck } from "./smoke-test.ts";
import type { TargetBoard } from "./target-board.ts";

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

/** @param confirmTurn see {@link RolloutTools.confirmTurn}; absent for what only watches */
export function rolloutTools(
  { environment, request }: Pick<ReleaseOrder, "environment" | "request">,
  ports: Ports,
  confirmTurn: RolloutTools["confirmTurn"] = async () => undefined,
): RolloutTools {
  return {
    clients: ports.awsOf(environment),
    clock: ports.clock,
    log: ports.log,
    signal: ports.signal,
    polling: { interval: request.pollInterval },
    timeout: request.timeout,
    confirmTurn,
  };
}

/** What all targets of a release have in common. */
export interface Release {
  /** The record's tag that it will have. */
  readonly tag: string;
  readonly order: ReleaseOrder;
  readonly board: TargetBoard;
  readonly failedTests: FailedTests;
}

/** Everything that a target's rollout needs before its refresh begins: numbered versions, and the release's own. */
export async function prepareTarget(
  plan: TargetPlan,
  image: CatalogueImage,
  { tag, order, board, failedTests }: Release,
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
  return {
    kind: "refresh",
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
    check: smokeTestCheck(
      order,
      {
        target,
        versions: versions.all,
        imageId: image.id,
        release: tag,
        refreshId: () => board.refreshOf(target)?.id,
      },
      failedTests,
      ports,
    ),
    onStarting: () => board.starting(target, versions.base),
    onStarted: (id) => board.started(target, id),
    refreshes: () => board.refreshesOf(target),
  };
}

/**
 * A target that runs the image already, though no release records it: an earlier run died before it did. It is verified and
 * tested like any release, unless that run's test is known to have failed, and reverted if it fails.
 */
export async function prepareInService(
  { target, state, preferences, strategy }: TargetPlan,
  image: CatalogueImage,
  { tag, order, board, failedTests }: Release,
  ports: Ports,
): Promise<TargetRollout> {
  ports.signal.throwIfAborted();
  const { environment } = order;
  const clients = ports.awsOf(environment);
  const versions = releaseVersions(
    templatesOf(state).map((template) => [template, { ...template }] as const),
  );
  const [before, refreshId, kept] = await Promise.all([
    stateBefore(clients, state),
    recentRefreshes(clients, target).then(([newest]) => newest?.InstanceRefreshId),
    failedTests.read(),
  ]);
  const hasFailed = kept !== undefined && kept.refresh === refreshId && kept.image === image.id;
  const tested = { target, versions: versions.all, imageId: image.id, release: tag };
  return {
    kind: "in-service",
    state: before ?? state,
    versions,
    preferences,
    strategy,
    imageId: image.id,
    configuration: savedConfiguration(state),
    pace: {
      capacity: instanceCount(state),
      warmup: preferences.InstanceWarmup ?? state.warmup ?? 0,
      preferences,
      image: image.id,
    },
    maxFailures: environment.rollout.maxLaunchFailures ?? DEFAULT_MAX_LAUNCH_FAILURES,
    mayGoBack: before !== undefined,
    check: hasFailed
      ? async () => ({
          kind: "failed",
          why: `${kept.why}, in ${kept.run}, which ended before it reverted this`,
        })
      : smokeTestCheck(order, { ...tested, refreshId: () => refreshId }, failedTests, ports),
    onStarting: () => undefined,
    onStarted: (id) => board.started(target, id),
    // The one that brought the release is an earlier run's of this release.
    refreshes: () => [...(refreshId === undefined ? [] : [refreshId]), ...board.refreshesOf(target)],
  };
}

/** Sets the group to numbers and AMI ids; the target as it is then. */
async function pinned(
  { state, target }: TargetPlan,
  clients: AwsClients,
  ports: Ports,
): Promise<TargetState> {
  const versions = await pinTemplates(clients, state, ports);
  for (const template of templatesOf(state)) {
    const { version } = versions.choose(template);
    const meant = template.version === version ? template.written : (template.imageId ?? template.written);
    ports.log.notice(
      `${targetName(target)}: pinned to version ${version} of ${template.name}, which is what ${meant} meant`,
    );
  }
  return untilKnown(() => observeTarget(clients, target), { ...ports, of: ["launchTemplateVersion"] });
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
  const version = found ?? (await createTemplateVersion(ec2, { target, template, change }, ports));
  ports.log.info(
    `${targetName(target)}: version ${version.version} of ${version.name} ${found === undefined ? "made" : "is there already"}`,
  );
  return version;
}
