import type { EC2Client } from "@aws-sdk/client-ec2";
import { type Environment, targetName } from "../domain/application.ts";
import { CancelledError } from "../domain/errors.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import {
  createTemplateVersion,
  findTemplateVersion,
  pinTemplate,
  type TemplateChange,
  type TemplateVersion,
} from "../rollout/launch-template.ts";
import { rollBackActive } from "../rollout/refresh.ts";
import { rollOut, type RolloutTools } from "../rollout/rollout.ts";
import type { TargetState } from "../rollout/target-state.ts";
import type { ReleasePlan, Settled } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";
import type { RolloutRequest } from "./request.ts";

/** What a release changes in a target's launch template. */
export function changeOf(image: CatalogueImage, environment: Environment): TemplateChange {
  return { imageId: image.id, imageName: image.name, instanceType: environment.instanceType };
}

export function rolloutTools(request: RolloutRequest, ports: Ports): RolloutTools {
  return {
    clients: ports.aws,
    clock: ports.clock,
    log: ports.log,
    signal: ports.signal,
    polling: { interval: request.pollInterval },
    timeout: request.timeout,
  };
}

/** Pins, makes the template version, rolls out and verifies; on a cancel asks AWS to roll back. */
export async function rollOutImage(
  { situation, plan }: Settled,
  image: CatalogueImage,
  order: ReleaseOrder,
  ports: Ports,
): Promise<TemplateVersion> {
  const { target: state } = situation;
  const ec2 = await ports.aws.ec2(plan.target.region);
  const change = changeOf(image, order.environment);
  if (plan.pin) {
    await pinTemplate(ports.aws, state);
    ports.log.notice(
      `${targetName(plan.target)}: pinned to version ${state.template.version} of ${state.template.name}, which is what ${state.template.written} meant`,
    );
  }
  const version = await versionFor(ec2, state, change, ports);
  const target = {
    region: plan.target.region,
    autoScalingGroup: plan.target.autoScalingGroup,
    launchTemplate: version.id,
    launchTemplateVersion: version.version,
  };
  const { name } = order.environment;
  ports.facts.publishEnvironment(name, { targets: [target] });
  let refreshId: string | undefined;
  try {
    const done = await rollOut(
      rolloutTools(order.request, ports),
      state,
      version,
      image.id,
      plan.preferences,
      (id) => {
        refreshId = id;
        ports.unfinished.refreshStarted({ ...plan.target, id });
        ports.facts.publishEnvironment(name, { targets: [{ ...target, instanceRefresh: id }] });
      },
    );
    ports.facts.publishEnvironment(name, {
      targets: [
        {
          ...target,
          instanceRefresh: done.refreshId,
          adopted: done.adopted,
          seconds: Math.round(done.took / 1000),
          verified: done.verified,
        },
      ],
    });
    ports.log.info(
      `${targetName(plan.target)}: every instance in service (${done.verified}) runs ${image.id}`,
    );
    return version;
  } catch (error) {
    if (error instanceof CancelledError && refreshId !== undefined)
      throw await cancelled(plan, refreshId, order.request, ports);
    throw error;
  }
}

/** The release's template version: the one that an earlier run made, or a new one. */
async function versionFor(
  ec2: EC2Client,
  state: TargetState,
  change: TemplateChange,
  ports: Ports,
): Promise<TemplateVersion> {
  const found = await findTemplateVersion(ec2, state, change);
  const version = found ?? (await createTemplateVersion(ec2, state, change));
  ports.log.info(
    `${targetName(state.target)}: version ${version.version} of ${version.name} ${found === undefined ? "made" : "is there already"}`,
  );
  return version;
}

async function cancelled(
  plan: ReleasePlan,
  refreshId: string,
  request: RolloutRequest,
  ports: Ports,
): Promise<CancelledError> {
  const name = targetName(plan.target);
  if (request.onCancel === "leave") {
    return new CancelledError(`Cancelled while ${name} was being rolled out`, {
      state: `The instance refresh ${refreshId} goes on, as \`on-cancel: leave\` says. Nothing was recorded.`,
      next: "Run the job again: it takes the refresh up and records it.",
    });
  }
  const answer = await rollBackActive(ports.aws, plan.target);
  return new CancelledError(`Cancelled while ${name} was being rolled out`, {
    state:
      answer === "started"
        ? `The instance refresh ${refreshId} is being rolled back; AWS finishes that by itself. Nothing was recorded.`
        : `The instance refresh ${refreshId} ${answer === "ended" ? "had ended already" : "cannot be rolled back by AWS and goes on"}. Nothing was recorded.`,
    next: "Run the job again to release.",
  });
}
