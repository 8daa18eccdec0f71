import type { EC2Client } from "@aws-sdk/client-ec2";
import type { Environment } from "../domain/application.ts";
import { targetName } from "../domain/application.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { type Digest, TAG } from "../domain/image.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import type { ImageChoice } from "../image/choice.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import { readLedger, appendRecord } from "../release/ledger.ts";
import { type Lock, releaseLock, takeLock } from "../release/lock.ts";
import { formatRecord, type ReleaseRecord } from "../release/record.ts";
import {
  createTemplateVersion,
  findTemplateVersion,
  pinTemplate,
  type TemplateChange,
  type TemplateVersion,
} from "../rollout/launch-template.ts";
import { isOurs, rollBackActive } from "../rollout/refresh.ts";
import { rollOut, type RolloutTools, waitForForeign } from "../rollout/rollout.ts";
import { observeTarget, type TargetState } from "../rollout/target-state.ts";
import { chooseImage, getReady, obtainImage } from "./image.ts";
import { planRelease, type ReleasePlan, type Situation, type Wish } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { DeployRequest } from "./request.ts";

/**
 * One release: observe, plan, and where there is something to do: lock, look again, bake, roll out, verify, record.
 * Every step looks first, so that running the same job again finishes what an earlier run began.
 */
export async function releaseTo(
  environment: Environment,
  digest: Digest,
  request: DeployRequest,
  ports: Ports,
): Promise<void> {
  const started = ports.clock.now();
  const wish: Wish = {
    environment,
    digest,
    commit: request.run.commit,
    recordPrefix: request.application.recordPrefix,
  };
  ports.facts.publishEnvironment(environment.name, { outcome: "failed" });
  const situation = await observe(wish, request, ports);
  const plan = announce(planRelease(situation, wish), situation, ports);
  if (request.dryRun) {
    ports.facts.publishEnvironment(environment.name, { outcome: "planned" });
    return;
  }
  if (!plan.rollOut && !plan.record) {
    await obtainImage(plan.image, undefined, plan.target.region, digest, request, ports);
    publishUnchanged(situation, environment.name, ports);
    return;
  }
  const getBakeReady = async (image: ImageChoice) =>
    image.kind === "bake" ? getReady(image.name, plan.target.region, digest, request, ports) : undefined;
  const ready = await getBakeReady(plan.image);
  await underLock(wish, request, ports, async (contended) => {
    const settled = await lookAgain(contended, situation, plan, wish, request, ports);
    // The name may have been taken meanwhile: then the bake is prepared anew, with another.
    const prepared = settled.plan === plan ? ready : await getBakeReady(settled.plan.image);
    const image = await obtainImage(settled.plan.image, prepared, plan.target.region, digest, request, ports);
    const version = settled.plan.rollOut
      ? await carryOut(settled, image, wish, request, ports)
      : { ...settled.situation.target.template };
    if (settled.plan.record) await record(settled, image, version, started, wish, request, ports);
    else publishUnchanged(settled.situation, environment.name, ports);
  });
}

/** Independent reads, at the same time: the ledger, the target, the images. */
async function observe(wish: Wish, request: DeployRequest, ports: Ports): Promise<Situation> {
  const [target] = wish.environment.targets;
  if (target === undefined) throw new Error(`environment ${wish.environment.name} has no target`);
  const name = wish.environment.name;
  const names = request.application.environments.map((environment) => environment.name);
  const [pages, state, image] = await Promise.all([
    readLedger(ports.repository, wish.recordPrefix, names, ports.log),
    observeTarget(ports.aws, target),
    chooseImage(request, wish.digest, target.region, ports),
  ]);
  return {
    ledger: pages.get(name) ?? { newest: undefined, highestNumber: 0 },
    elsewhere: [...pages].flatMap(([other, page]) => (other === name ? [] : (page.newest ?? []))),
    target: state,
    image,
  };
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

async function underLock(
  wish: Wish,
  request: DeployRequest,
  ports: Ports,
  work: (contended: boolean) => Promise<void>,
): Promise<void> {
  const { run } = request;
  const { lock, contended } = await takeLock(
    {
      environment: wish.environment.name,
      commit: wish.commit,
      run: { id: run.id, attempt: run.attempt, url: run.url, actor: run.actor },
      timeout: request.timeout,
    },
    ports,
  );
  ports.unfinished.locked(lock);
  try {
    await work(contended);
  } catch (error) {
    // A cancelled run has seconds left: its post step waits for what is under way and releases the lock then.
    if (!(error instanceof CancelledError)) await letGo(lock, ports);
    throw error;
  }
  await letGo(lock, ports);
}

/** A lock that cannot be released now is released by the post step; the release itself stands. */
async function letGo(lock: Lock, ports: Ports): Promise<void> {
  try {
    await releaseLock(ports.repository, lock);
    ports.unfinished.unlocked(lock);
  } catch (error) {
    ports.log.warning(
      `The lock ${lock.ref} could not be released yet: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

interface Settled {
  readonly situation: Situation;
  readonly plan: ReleasePlan;
}

/**
 * What was observed before the lock was taken may be old: where another run held it, or released meanwhile, everything
 * is read again; a refresh that is not ours is waited for.
 */
async function lookAgain(
  contended: boolean,
  situation: Situation,
  plan: ReleasePlan,
  wish: Wish,
  request: DeployRequest,
  ports: Ports,
): Promise<Settled> {
  const name = wish.environment.name;
  const pages = await readLedger(ports.repository, wish.recordPrefix, [name], ports.log);
  const moved = pages.get(name)?.highestNumber !== situation.ledger.highestNumber;
  let settled: Settled = { situation, plan };
  if (contended || moved) {
    ports.log.info("Another run released meanwhile: looking again");
    settled = await observeAndPlan(wish, request, ports);
  }
  for (
    let active = settled.situation.target.activeRefresh;
    active !== undefined;
    active = settled.situation.target.activeRefresh
  ) {
    const ours = await ourVersion(settled, wish, ports);
    if (
      ours !== undefined &&
      isOurs(active, { LaunchTemplate: { LaunchTemplateId: ours.id, Version: ours.version } })
    )
      break;
    await waitForForeign(rolloutTools(request, ports), plan.target, active);
    settled = await observeAndPlan(wish, request, ports);
  }
  return settled;
}

async function observeAndPlan(wish: Wish, request: DeployRequest, ports: Ports): Promise<Settled> {
  const situation = await observe(wish, request, ports);
  return { situation, plan: announce(planRelease(situation, wish), situation, ports) };
}

/** The template version that an earlier run of this release made, where its image exists. */
async function ourVersion(
  { situation }: Settled,
  wish: Wish,
  ports: Ports,
): Promise<TemplateVersion | undefined> {
  const { image, target } = situation;
  if (image.kind === "bake") return undefined;
  return findTemplateVersion(await ports.aws.ec2(target.target.region), target, changeOf(image.image, wish));
}

function changeOf(image: CatalogueImage, wish: Wish) {
  return { imageId: image.id, imageName: image.name, instanceType: wish.environment.instanceType };
}

function rolloutTools(request: DeployRequest, ports: Ports): RolloutTools {
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
async function carryOut(
  { situation, plan }: Settled,
  image: CatalogueImage,
  wish: Wish,
  request: DeployRequest,
  ports: Ports,
): Promise<TemplateVersion> {
  const { target: state } = situation;
  const ec2 = await ports.aws.ec2(plan.target.region);
  const change = changeOf(image, wish);
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
  const name = wish.environment.name;
  ports.facts.publishEnvironment(name, { targets: [target] });
  let refreshId: string | undefined;
  try {
    const done = await rollOut(
      rolloutTools(request, ports),
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
      throw await cancelled(plan, refreshId, request, ports);
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
  request: DeployRequest,
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

async function record(
  { situation, plan }: Settled,
  image: CatalogueImage,
  version: TemplateVersion,
  started: Date,
  wish: Wish,
  request: DeployRequest,
  ports: Ports,
): Promise<void> {
  const { newest, highestNumber } = situation.ledger;
  const { run } = request;
  const { region } = plan.target;
  const draft: ReleaseRecord = {
    application: request.application.name,
    tag: { ...plan.tag, number: highestNumber + 1 },
    kind: "deploy",
    commit: wish.commit,
    version: request.version,
    images: { [region]: image.id },
    imageName: image.name,
    imageDigest: wish.digest,
    imageCommit: image.tags[TAG.commit] ?? wish.commit,
    baseImages: image.baseImage === undefined ? {} : { [region]: image.baseImage },
    targets: [
      { region, group: plan.target.autoScalingGroup, launchTemplate: version.id, version: version.version },
    ],
    previous: newest === undefined ? undefined : formatReleaseTag(newest.tag),
    restores: undefined,
    promotedFrom: undefined,
    reason: undefined,
    actor: run.actor,
    run: run.url,
    started,
    finished: ports.clock.now(),
  };
  const changes = describeChanges(newest, draft);
  try {
    const written = await appendRecord(ports.repository, draft, changes);
    const release = formatReleaseTag(written.tag);
    ports.facts.publishEnvironment(wish.environment.name, {
      outcome: "succeeded",
      release,
      releaseNumber: written.tag.number,
    });
    ports.log.info(`Recorded as ${release}`);
  } catch (cause) {
    const message = formatRecord(draft, changes);
    ports.facts.publishEnvironment(wish.environment.name, { unrecorded: message });
    throw new KilnError(
      `${wish.environment.name} was rolled out, not recorded: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        state: `The environment runs ${image.id}. The whole record is in the job summary.`,
        next: "Mend what the message names, then run the job again: it writes the record without rolling out again.",
        cause,
      },
    );
  }
}

/** The record's paragraph for people: what ran before and what runs since. */
function describeChanges(newest: ReleaseRecord | undefined, record: ReleaseRecord): string {
  const now = `Runs image ${record.imageName}, baked from commit ${record.imageCommit.slice(0, 12)}.`;
  if (newest === undefined) return `${now}\nThe first release of ${record.tag.environment}.`;
  const before = `Before: release ${newest.tag.number}, commit ${newest.commit.slice(0, 12)}, image ${newest.imageName}.`;
  return newest.imageDigest === record.imageDigest
    ? `${now}\n${before} The same content.`
    : `${now}\n${before}`;
}
