import { createHash } from "node:crypto";
import type { RolloutSettings } from "../../src/domain/application.ts";
import { type ImageId, imageName, type Digest } from "../../src/domain/image.ts";
import { digestOf } from "../../src/image/content/digest.ts";
import { NotARecord, parseRecord, formatRecord, type ReleaseRecord } from "../../src/release/record.ts";
import type { Environment, PruneSettings } from "../../src/domain/application.ts";
import { ACTIVE_STATUSES } from "../../src/rollout/target-state.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { HealthyWatch } from "../../sandbox/aws/autoscaling/watch.ts";
import { InMemoryRepository } from "../release/in-memory-repository.ts";
import { RECORD } from "../release/records.ts";
import { type AwsOfAPlay, awsOfAPlay } from "./aws-of-a-play.ts";
import { Interleaving, type Request, type Strand } from "./interleaving.ts";
import { type PlayedBake, TEMPLATE } from "./played-programs.ts";
import { type Ended, type Job, runJob } from "./run.ts";
import { type Played, randomOf } from "./seeded.ts";

const ROLLING: RolloutSettings = { strategy: "rolling" };

interface EnvironmentChanges {
  readonly desired?: number;
  readonly rollout?: RolloutSettings;
  readonly repository?: string;
}

const DAY = 24 * 60 * 60_000;

/** The commit of a content, and the git object of its template. */
export const commitOf = (content: string): string => createHash("sha1").update(content).digest("hex");
export const digestOfContent = (content: string): Digest =>
  digestOf({
    template: TEMPLATE,
    varFiles: [],
    files: [{ path: TEMPLATE, mode: "100644", object: commitOf(content) }],
    vars: {},
    sensitive: new Set(),
    environment: {},
  });

/** One play's AWS account, GitHub repositories and runs. */
export class World {
  readonly aws: AwsOfAPlay;
  readonly interleaving: Interleaving;
  /** What the story decides by chance; apart from the order of steps. */
  readonly random: () => number;
  readonly repositories = new Map<string, InMemoryRepository>();
  readonly ended: Ended[] = [];
  /** By the name of the run that called it. */
  readonly builds: string[] = [];
  bake: PlayedBake = { takes: 5 * 60_000, tags: true };
  prune: PruneSettings | undefined;
  /** The environments of each repository's config file. */
  readonly environments = new Map<string, Environment[]>();
  readonly wrong: string[] = [];
  /** Whether GitHub changes several refs in one atomic request; both are played. */
  readonly atomic: boolean;
  readonly #watches = new Map<string, { readonly watch: HealthyWatch; readonly desired: number }>();
  #runs = 0;
  /** A run of this story goes on after GitHub takes it for ended. */
  #lost = false;

  private constructor(aws: AwsOfAPlay, seed: number) {
    this.aws = aws;
    this.interleaving = new Interleaving(aws.clock, seed);
    this.random = randomOf(seed + 0x5eed);
    // Seeds choose one of three orders in turn: each is played both ways.
    this.atomic = Math.floor((seed - 1) / 3) % 2 === 0;
    this.interleaving.onRequest = (strand, request) => this.#watch(strand, request);
    this.interleaving.afterStep = () => this.#look();
  }

  static async open(seed: number): Promise<World> {
    return new World(await awsOfAPlay(), seed);
  }

  nextRun(): number {
    this.#runs += 1;
    return this.#runs;
  }

  repository(name = "acme/web"): InMemoryRepository {
    const known = this.repositories.get(name) ?? new InMemoryRepository();
    known.atomic = this.atomic;
    this.repositories.set(name, known);
    return known;
  }

  /** An image of some content, as a run of a repository baked it. */
  addImage(content: string, { repository = "acme/web", days = 1 } = {}): ImageId {
    const digest = digestOfContent(content);
    const application = repository.replace(/^.*\//, "");
    const image = this.aws.ec2.addImage(HOME, {
      name: imageName(application, content, digest),
      sourceInstanceId: "i-0123456789abcdef0",
      tags: {
        "kiln:application": application,
        "kiln:digest": digest,
        "kiln:commit": commitOf(content),
        "kiln:repository": repository,
      },
    });
    Object.assign(image, { createdAt: this.aws.clock.now() - days * DAY });
    return image.id as ImageId;
  }

  /** A group behind a load balancer on a template with an image, and the environment that has it as its target. */
  addEnvironment(
    name: string,
    imageId: ImageId,
    { desired = 2, rollout = ROLLING, repository = "acme/web" }: EnvironmentChanges = {},
  ): Environment {
    const template = this.aws.ec2.addLaunchTemplate(HOME, name, {
      ImageId: imageId,
      InstanceType: "t3.small",
    });
    this.aws.autoScaling.addGroup({
      ...HOME,
      name,
      min: 0,
      max: desired * 2 + 2,
      desired,
      defaultInstanceWarmup: 60,
      healthCheckGracePeriod: 30,
      healthCheckType: "ELB",
      targetGroupArns: [
        `arn:aws:elasticloadbalancing:${HOME.region}:${HOME.accountId}:targetgroup/${name}/0123456789abcdef`,
      ],
      launchTemplate: { launchTemplateId: template.id, version: "1" },
    });
    this.#watches.set(name, { watch: this.aws.autoScaling.watchHealthy(name), desired });
    return this.nameEnvironment(name, name, { rollout, repository });
  }

  /** An environment of a repository on a group that is there. */
  nameEnvironment(
    name: string,
    group: string,
    { rollout = ROLLING, repository = "acme/web" }: EnvironmentChanges = {},
  ): Environment {
    const environment: Environment = {
      name,
      branches: [],
      requires: undefined,
      instanceType: undefined,
      targets: [{ region: HOME.region, autoScalingGroup: group }],
      rollout,
    };
    this.environments.set(repository, [...(this.environments.get(repository) ?? []), environment]);
    return environment;
  }

  /** A release that was made before the play begins. */
  addRecord(environment: string, number: number, content: string, image: ImageId): void {
    const template = this.aws.ec2.launchTemplates(HOME).find((each) => each.name === environment);
    const tag = { prefix: "release", environment, number };
    const digest = digestOfContent(content);
    const record: ReleaseRecord = {
      ...RECORD,
      tag,
      commit: commitOf(content),
      imageCommit: commitOf(content),
      version: content,
      images: { [HOME.region]: image },
      baseImages: {},
      imageName: imageName("web", content, digest),
      imageDigest: digest,
      inventory: undefined,
      previous: number === 1 ? undefined : tagOf(environment, number - 1),
      targets: [
        { region: HOME.region, group: environment, launchTemplate: template?.id ?? "", version: "1" },
      ],
      run: `https://github.com/acme/web/actions/runs/${1000 + number}`,
    };
    this.repository().push(tagOf(environment, number), formatRecord(record, ""), commitOf(content));
  }

  /** Records of an environment, oldest first. */
  records(environment: string, repository = "acme/web"): ReleaseRecord[] {
    const { refs, objects } = this.repository(repository);
    return [...refs]
      .filter(([ref]) => ref.startsWith(`refs/tags/release/${environment}/`))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([ref, sha]) => {
        const found = objects.get(sha);
        const record = parseRecord(ref.slice("refs/tags/".length), found?.message ?? "", found?.target ?? "");
        if (record instanceof NotARecord) throw new Error(`${ref}: ${record.reason}`);
        return record;
      });
  }

  /** The images of the instances in service. */
  running(group: string): string[] {
    const { members } = this.aws.autoScaling.group(group);
    return members.filter((each) => each.lifecycleState === "InService").map((each) => each.imageId);
  }

  isThere(image: ImageId): boolean {
    return this.aws.ec2
      .images(HOME)
      .some(({ id, deregisteredAt }) => id === image && deregisteredAt === undefined);
  }

  /** Whether a group has a refresh that has not ended. */
  isRefreshing(group: string): boolean {
    return this.#active(group) > 0;
  }

  #active(group: string): number {
    return this.aws.autoScaling.refreshes(group).filter(({ status }) => ACTIVE_STATUSES.has(status)).length;
  }

  /** A job that begins at once, or after some virtual time. */
  begin(job: Job): Promise<Ended> {
    this.#lost ||= job.lostAfter !== undefined;
    return runJob(this, job);
  }

  /** Plays jobs that were begun to their ends. */
  play<T>(work: Promise<T>): Promise<T> {
    return this.interleaving.play(work);
  }

  /** Lets a run stand still once, from the moment in which so many of its requests have taken effect. */
  holdAfter(run: string, requests: number, milliseconds: number): void {
    let counted = 0;
    const watch = this.interleaving.onRequest;
    this.interleaving.onRequest = (strand, request) => {
      if (strand.name === run) counted += 1;
      if (strand.name === run && counted === requests) this.interleaving.hold(strand, milliseconds);
      watch(strand, request);
    };
  }

  /** What must hold whenever a run writes: it holds the lock of what it writes about. */
  #watch(strand: Strand, { name, args }: Request): void {
    const [first] = args;
    const group =
      name === "StartInstanceRefreshCommand" || name === "UpdateAutoScalingGroupCommand"
        ? (first as { AutoScalingGroupName: string }).AutoScalingGroupName
        : undefined;
    // A run that was taken over from may do so once more, and rolls it back: that it ends well is what counts there.
    if (
      group !== undefined &&
      !this.#lost &&
      !this.#holds(strand, (each) => each.targets[0]?.autoScalingGroup === group)
    )
      this.wrong.push(`${strand.name} does ${name} on ${group} without a lock`);
    const release = /^refs\/tags\/release\/([^/]+)\//.exec(String(first))?.[1];
    if (
      name === "createRef" &&
      release !== undefined &&
      !this.#lost &&
      !this.#holds(strand, (each) => each.name === release)
    )
      this.wrong.push(`${strand.name} records a release of ${release} without its lock`);
  }

  /** Whether a run holds the lock of an environment. */
  #holds(strand: Strand, is: (environment: Environment) => boolean): boolean {
    return [...this.environments].some(([repository, environments]) =>
      environments.some((environment) => {
        const { refs, objects } = this.repository(repository);
        const sha = refs.get(`refs/kiln/lock/release/${environment.name}`);
        const holder = sha === undefined ? undefined : objects.get(sha)?.message;
        const attempt = strand.name.includes(" again ") ? 2 : 1;
        const own = new RegExp(`^Run-Id: ${strand.name.replace(/^.* /, "")}\nAttempt: ${attempt}$`, "m");
        return is(environment) && own.test(holder ?? "");
      }),
    );
  }

  #look(): void {
    for (const [group] of this.#watches)
      if (this.#active(group) > 1) this.wrong.push(`${group} has two refreshes at once`);
  }

  /** What must hold at the end of every story. */
  settled(): string[] {
    const wrong = [...new Set(this.wrong)];
    for (const [name, repository] of this.repositories) {
      const locks = [...repository.refs.keys()].filter((ref) => /^refs\/kiln\/(?:lock|bake)\//.test(ref));
      if (locks.length > 0) wrong.push(`locks of ${name}: ${locks.join(", ")}`);
      for (const environment of this.environments.get(name) ?? [])
        wrong.push(...this.#numbers(environment.name, name));
    }
    for (const [group, { watch, desired }] of this.#watches) {
      const images = new Set(this.running(group));
      if (images.size !== 1) wrong.push(`${group} is mixed: ${[...images].join(", ")}`);
      if (this.isRefreshing(group)) wrong.push(`a refresh of ${group} still runs`);
      if (watch.lowest() < desired) wrong.push(`${group} had only ${watch.lowest()} healthy of ${desired}`);
    }
    return wrong;
  }

  #numbers(environment: string, repository: string): string[] {
    const numbers = this.records(environment, repository).map(({ tag }) => tag.number);
    return numbers.every((number, index) => number === index + 1)
      ? []
      : [`numbers of ${environment}: ${numbers.join(", ")}`];
  }

  /** That a group runs what an environment's newest record says. */
  runsRecord(environment: string, group = environment, repository = "acme/web"): string[] {
    const newest = this.records(environment, repository).at(-1);
    const says = newest?.images[HOME.region];
    const runs = [...new Set(this.running(group))].join(", ");
    return says === runs ? [] : [`${group} runs ${runs}, the newest record says ${says ?? "nothing"}`];
  }

  /** The story's end: what was wrong, and what each run told. */
  played(wrong: readonly string[], ends: readonly string[]): Played {
    const told = this.ended.map(
      ({ name, log, error, began, ended }) =>
        `${name}: ${new Date(began).toISOString()} to ${new Date(ended).toISOString()}\n${log.join("\n")}\n${error}`,
    );
    return { wrong: [...this.settled(), ...wrong], told, ends };
  }
}

export function tagOf(environment: string, number: number): string {
  return `release/${environment}/${String(number).padStart(6, "0")}`;
}
