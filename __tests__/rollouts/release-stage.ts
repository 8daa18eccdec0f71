import { Secrets } from "../../src/domain/secrets.ts";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clientsOf } from "../../src/action/aws-options.ts";
import { createAwsClients } from "../../src/aws/clients.ts";
import { deploy } from "../../src/commands/deploy.ts";
import { everywhere, regionsOf } from "../../src/commands/region-images.ts";
import type { Ports } from "../../src/commands/ports.ts";
import { promote } from "../../src/commands/promote.ts";
import { prune } from "../../src/commands/prune.ts";
import { releaseTo } from "../../src/commands/release.ts";
import type { RolloutRequest } from "../../src/commands/request.ts";
import { rollback } from "../../src/commands/rollback.ts";
import { status } from "../../src/commands/status.ts";
import type { Environment, RolloutSettings, Target } from "../../src/domain/application.ts";
import { CancelledError, KilnError } from "../../src/domain/errors.ts";
import type { Subprocess } from "../../src/domain/ports.ts";
import type { ImageId } from "../../src/domain/image.ts";
import type { EnvironmentResult } from "../../src/domain/result.ts";
import { createOctokit } from "../../src/github/client.ts";
import { createRepository } from "../../src/github/repository.ts";
import { describeImage } from "../../src/image/catalogue.ts";
import { findCopy } from "../../src/image/copies.ts";
import { formatReleaseTag } from "../../src/domain/release-tag.ts";
import { releaseLock } from "../../src/release/held-lock.ts";
import { type Lock, takeLock } from "../../src/release/lock.ts";
import { formatRecord, type ReleaseRecord } from "../../src/release/record.ts";
import type { GroupRequest, HealthRule } from "../../sandbox/aws/autoscaling/world.ts";
import type { Place } from "../../sandbox/aws/fleet.ts";
import { Query } from "../../sandbox/aws/query.ts";
import {
  ACCESS_KEY,
  HOME,
  type Sandbox,
  type SandboxOptions,
  startSandbox,
  TOKEN,
} from "../../sandbox/sandbox.ts";
import { type PlayedBake, PlayedPrograms, TEMPLATE } from "../at-once/played-programs.ts";
import { RECORD } from "../release/records.ts";
import { VirtualTime } from "./virtual-time.ts";

const ROLLING = { strategy: "rolling" } as const;
/** The git object of the template that Packer is played with. */
const TEMPLATE_OBJECT = "cd".repeat(20);
const DIGEST = `sha256:${"ab".repeat(32)}` as const;

/** What a smoke test is played as: its exit code, and how long it takes in milliseconds of virtual time. */
export interface PlayedTest {
  readonly code: number;
  readonly takes?: number;
}

export interface ReleaseOptions {
  readonly test?: PlayedTest;
  /** Told when the run begins; handed what cancels it. */
  readonly onStart?: (cancel: () => void) => void;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly environment?: Partial<Environment>;
  /** Default: the new one. */
  readonly image?: ImageId;
  /** What the run does; default: the release of an image that is there. */
  readonly work?: (request: RolloutRequest, ports: Ports) => Promise<void>;
}

export interface Released {
  readonly run: number;
  /** Undefined where the release succeeded. */
  readonly error: unknown;
  readonly log: readonly string[];
  readonly facts: Partial<EnvironmentResult>;
  /** Environments of the smoke tests that were run. */
  readonly tests: readonly Readonly<Record<string, string>>[];
  /** Requests to AWS. */
  readonly requests: number;
  /** Milliseconds of virtual time. */
  readonly took: number;
}

/** Releases of an image that is there, by the action's own code in this process, on virtual time. */
export class ReleaseStage implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly time: VirtualTime;
  readonly #folder: string;
  #commit = "";
  readonly oldImage: string;
  readonly newImage: ImageId;
  /** Real milliseconds after which a request counts as not answered; undefined: the product's own. */
  answerWithin: number | undefined;
  /** How Packer bakes, and how often it did. */
  readonly bake: PlayedBake = { takes: 120_000, tags: false, inventory: "nginx 1.26.3-1\nopenssl 3.5.1-1\n" };
  builds = 0;
  #runs = 0;
  readonly #held = new Set<Lock>();

  private constructor(folder: string, sandbox: Sandbox) {
    this.#folder = folder;
    this.sandbox = sandbox;
    this.time = new VirtualTime(sandbox.clock);
    this.oldImage = this.addImage(HOME, "old");
    this.newImage = this.addImage(HOME, "new");
  }

  static async open(options: Partial<SandboxOptions> = {}): Promise<ReleaseStage> {
    const folder = await mkdtemp(join(tmpdir(), "kiln-release-"));
    const stage = new ReleaseStage(folder, await startSandbox({ folder, speed: 0, ssh: false, ...options }));
    stage.#commit = await stage.sandbox.repository.addCommit({
      message: "First",
      branch: "main",
      files: { a: "a" },
    });
    return stage;
  }

  addImage(place: Place, name: string, tags: Readonly<Record<string, string>> = {}): ImageId {
    return this.sandbox.ec2.addImage(place, {
      name,
      tags: {
        "kiln:application": "web",
        "kiln:repository": "acme/web",
        "kiln:digest": DIGEST,
        ...tags,
      },
    }).id as ImageId;
  }

  /** A group behind a load balancer on a template with the old image. */
  addGroup(name: string, desired: number, changes: Partial<GroupRequest> = {}, place: Place = HOME): void {
    const template = this.sandbox.ec2.addLaunchTemplate(place, name, {
      ImageId: place.region === HOME.region ? this.oldImage : this.addImage(place, `old-${name}`),
      InstanceType: "t3.small",
    });
    this.sandbox.autoScaling.addGroup({
      ...place,
      name,
      min: 0,
      max: desired * 2 + 2,
      desired,
      defaultInstanceWarmup: 60,
      healthCheckGracePeriod: 30,
      healthCheckType: "ELB",
      targetGroupArns: [
        `arn:aws:elasticloadbalancing:${place.region}:${place.accountId}:targetgroup/${name}/0123456789abcdef`,
      ],
      launchTemplate: { launchTemplateId: template.id, version: "1" },
      ...changes,
    });
  }

  setHealth(rule: HealthRule): void {
    this.sandbox.autoScaling.setHealth(rule);
  }

  /** Images of the instances in service. */
  running(group: string): string[] {
    const { members } = this.sandbox.autoScaling.group(group);
    return members.filter((member) => member.lifecycleState === "InService").map((member) => member.imageId);
  }

  /** A launch template's id. */
  template(name: string): string {
    return this.sandbox.ec2.launchTemplates(HOME).find((template) => template.name === name)?.id ?? "";
  }

  versions(name: string) {
    return this.sandbox.ec2.launchTemplateVersions(this.template(name));
  }

  /** The last run's post step: releases the locks that it could not, and ends the run. */
  async finishRun(): Promise<void> {
    const repository = createRepository(this.#octokit(), "acme/web");
    const { time } = this;
    const looking = time.functions(repository);
    for (const lock of this.#held) await time.run(releaseLock(looking, [lock], time));
    this.#held.clear();
    this.sandbox.repository.setRunStatus(this.#runs, "completed", "failure");
  }

  #octokit() {
    return createOctokit({
      token: TOKEN,
      apiUrl: this.sandbox.githubUrl,
      userAgent: "test",
      clock: this.time.ofRequests,
      log: { debug: () => undefined, notice: () => undefined },
      answerWithin: this.answerWithin,
      random: () => 0.5,
    });
  }

  /** What somebody with the console does to a group. */
  call(action: string, group: string, parameters: Readonly<Record<string, string>> = {}): void {
    this.sandbox.autoScaling.operations[action]?.({
      ...HOME,
      requestId: "console",
      query: new Query([["AutoScalingGroupName", group], ...Object.entries(parameters)]),
    });
  }

  /** By plain git. */
  records(): string[] {
    return this.refs("refs/tags/**");
  }

  locks(): string[] {
    return this.refs("refs/kiln/lock/**");
  }

  bakeLocks(): string[] {
    return this.refs("refs/kiln/bake/**");
  }

  /** A record's text. */
  message(tag: string): string {
    const { path } = this.sandbox.repository;
    return execFileSync("git", ["cat-file", "tag", tag], { cwd: path, encoding: "utf8" });
  }

  /** By plain git. */
  refs(pattern: string): string[] {
    const { path } = this.sandbox.repository;
    const text = execFileSync("git", ["for-each-ref", "--format=%(refname:short)", pattern], {
      cwd: path,
      encoding: "utf8",
    });
    return text.split("\n").filter(Boolean);
  }

  /** Releases the new image to targets; `cancel` may abort the run whenever it likes. */
  release(
    targets: readonly Target[],
    rollout: RolloutSettings,
    options: ReleaseOptions = {},
  ): Promise<Released> {
    return this.time.run(this.begin(targets, rollout, options));
  }

  /** The same, to be let run by `time.run` together with others. */
  async begin(
    targets: readonly Target[],
    rollout: RolloutSettings,
    options: ReleaseOptions = {},
  ): Promise<Released> {
    this.#runs += 1;
    const run = this.#runs;
    const { sandbox } = this;
    sandbox.repository.addRun({ id: run, status: "in_progress" });
    const before = sandbox.log.entries.length;
    const began = sandbox.clock.now();
    const log: string[] = [];
    const tests: Readonly<Record<string, string>>[] = [];
    let facts: Partial<EnvironmentResult> = {};
    const abort = new AbortController();
    const ports = await this.#ports(log, tests, options.test, abort.signal, (more) => {
      facts = { ...facts, ...more };
    });
    options.onStart?.(() => abort.abort(new CancelledError("The run was cancelled")));
    const environment: Environment = {
      name: "production",
      branches: [],
      requires: undefined,
      instanceType: undefined,
      targets,
      rollout,
      ...options.environment,
    };
    let error: unknown;
    try {
      if (options.work === undefined) await this.#start(run, environment, ports, options);
      else await options.work(this.#request(run, environment, options.timeout), ports);
    } catch (caught) {
      error = caught;
    }
    const requests = sandbox.log.since(before).filter(({ service }) => service !== "github").length;
    return { run, error, log, facts, tests, requests, took: sandbox.clock.now() - began };
  }

  async #start(
    run: number,
    environment: Environment,
    ports: Ports,
    { timeout, image = this.newImage }: ReleaseOptions,
  ): Promise<void> {
    const commit = this.#commit;
    const [, ...others] = regionsOf(environment);
    await releaseTo(
      {
        environment,
        kind: "promotion",
        commit,
        version: "v2",
        digest: DIGEST,
        promotedFrom: "release/qa/000001",
        source: {
          choose: async () => {
            const home = await this.#image(HOME.region, image, ports);
            const copies = others.map(async (place) => {
              const copy = await findCopy(await ports.aws.ec2(place.region), home, place);
              return [place.region, copy?.state === "available" ? copy : undefined] as const;
            });
            const elsewhere = new Map(await Promise.all(copies));
            return { home: { kind: "reuse", image: home, why: "is there" }, elsewhere };
          },
          prepare: async () => undefined,
          obtain: async () => {
            const home = await this.#image(HOME.region, image, ports);
            return everywhere(home, DIGEST, others, new Map(), ports);
          },
        },
        request: this.#request(run, environment, timeout),
      },
      ports,
    );
  }

  #request(run: number, environment: Environment, timeout = 2 * 3_600_000): RolloutRequest {
    return {
      application: {
        name: "web",
        recordPrefix: "release",
        environments: [environment],
        image: { template: "web.pkr.hcl", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
      },
      environments: [environment],
      dryRun: false,
      onCancel: "rollback",
      timeout,
      pollInterval: undefined,
      run: {
        repository: "acme/web",
        id: String(run),
        attempt: "1",
        url: `https://github.com/acme/web/actions/runs/${run}`,
        actor: "octocat",
        commit: this.#commit,
        branch: "main",
        event: "push",
        serverUrl: "https://github.com",
      },
    };
  }

  /** Smoke tests, git and Packer, as they are played. */
  #programs(tests: Readonly<Record<string, string>>[], test: PlayedTest | undefined): Subprocess {
    const { time } = this;
    const played = new PlayedPrograms(time, this.sandbox.ec2, TEMPLATE_OBJECT, this.bake, () => {
      this.builds += 1;
    });
    return {
      run: (command, args) => played.run(command, args),
      start: async (command, args, options) => {
        if (command === "packer") return played.start(command, args, options);
        tests.push(options.env ?? {});
        return {
          pid: 1,
          output: "/dev/null",
          exit: time.sleep(test?.takes ?? 1000).then(() => test?.code ?? 0),
          stop: () => undefined,
          kill: () => undefined,
        };
      },
    };
  }

  async #image(region: string, id: ImageId, ports: Ports) {
    const image = await describeImage(await ports.aws.ec2(region), region, id);
    if (image === undefined) throw new KilnError(`no image ${id}`);
    return image;
  }

  async #ports(
    log: string[],
    tests: Readonly<Record<string, string>>[],
    test: PlayedTest | undefined,
    signal: AbortSignal,
    publish: (facts: Partial<EnvironmentResult>) => void,
  ): Promise<Ports> {
    const { sandbox, time } = this;
    const line = (kind: string) => (message: string) => void log.push(`${kind}${message}`);
    const octokit = this.#octokit();
    process.env["AWS_ENDPOINT_URL"] = sandbox.awsUrl;
    process.env["AWS_ACCESS_KEY_ID"] = ACCESS_KEY;
    process.env["AWS_SECRET_ACCESS_KEY"] = "sandbox";
    const aws = time.clients(
      createAwsClients({
        userAgent: [["kiln", "test"]],
        clock: time.ofRequests,
        answerWithin: this.answerWithin,
        random: () => 0.5,
      }),
    );
    return {
      clock: time,
      signal,
      log: {
        info: line(""),
        debug: line("debug: "),
        notice: line("notice: "),
        warning: line("warning: "),
        group: (_, work) => work(),
      },
      aws,
      awsOf: (environment) => clientsOf(aws, environment, { id: "1", repository: "acme/web" }),
      repository: time.functions(createRepository(octokit, "acme/web")),
      subprocess: this.#programs(tests, test),
      facts: {
        publish: () => undefined,
        publishEnvironment: (_, facts) => publish(facts),
      },
      unfinished: {
        locked: (lock) => this.#held.add(lock),
        unlocked: ({ ref }) => {
          for (const lock of this.#held) if (lock.ref === ref) this.#held.delete(lock);
        },
        packerStarted: () => undefined,
        packerEnded: () => undefined,
        bakeFinished: () => undefined,
        refreshNoted: () => undefined,
        programStarted: () => undefined,
        programEnded: () => undefined,
      },
      workspace: this.#folder,
      temporaryFolder: this.#folder,
      token: TOKEN,
      secrets: new Secrets(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** A record, as an earlier run left it: the newest one's target is the group on its template's first version. */
  async record(
    environment: string,
    number: number,
    image: ImageId,
    group = "web",
    changes: Partial<ReleaseRecord> = {},
  ): Promise<void> {
    const tag = { prefix: "release", environment, number };
    const record: ReleaseRecord = {
      ...RECORD,
      tag,
      commit: this.#commit,
      images: { [HOME.region]: image },
      imageDigest: DIGEST,
      baseImages: {},
      inventory: undefined,
      targets: [
        { region: HOME.region, group, launchTemplate: this.template(group) || "lt-elsewhere", version: "1" },
      ],
      previous: undefined,
      run: "https://github.com/acme/web/actions/runs/999",
      ...changes,
    };
    const repository = createRepository(this.#octokit(), "acme/web");
    const name = formatReleaseTag(tag);
    const sha = await repository.createTag({ name, message: formatRecord(record, ""), commit: this.#commit });
    await repository.createRef(`refs/tags/${name}`, sha);
  }

  /** `promote` from qa. */
  promote(
    targets: readonly Target[],
    rollout: RolloutSettings,
    options: ReleaseOptions = {},
  ): Promise<Released> {
    return this.release(targets, rollout, {
      ...options,
      work: (request, ports) => promote({ ...request, from: "qa", allowUnverified: false }, ports),
    });
  }

  /** `rollback` to the release before. */
  rollBack(
    targets: readonly Target[],
    rollout: RolloutSettings,
    options: ReleaseOptions = {},
  ): Promise<Released> {
    return this.release(targets, rollout, {
      ...options,
      work: (request, ports) =>
        rollback({ ...request, to: "previous", reason: undefined, incident: false }, ports),
    });
  }

  /** `deploy` of a content that no image has. */
  deploy(targets: readonly Target[], rollout: RolloutSettings): Promise<Released> {
    return this.release(targets, rollout, {
      work: ({ application, ...request }, ports) =>
        deploy(
          {
            ...request,
            application: { ...application, image: { ...application.image, template: TEMPLATE } },
            version: "v2",
            vars: {},
            secretVars: {},
            sensitive: new Set(),
            templateEnvironment: {},
            rebake: "auto",
            allowOlder: false,
            allowUnverified: false,
          },
          ports,
        ),
    });
  }

  status(targets: readonly Target[]): Promise<Released> {
    return this.release(targets, ROLLING, {
      work: (request, ports) => status({ ...request, failOnDrift: false }, ports),
    });
  }

  prune(targets: readonly Target[]): Promise<Released> {
    return this.release(targets, ROLLING, { work: (request, ports) => prune(request, ports) });
  }

  /** A lock, as a run that was killed left it. */
  async abandonLock(ref: string): Promise<void> {
    await this.#lock(ref, { status: "completed", conclusion: "failure" });
  }

  /**
   * Has another run take over, and release, what locks are left by runs that have ended; those of live ones stay. GitHub
   * may make a lock after the run that asked for it has given up, asked again, and ended.
   */
  async takeOverLocks(): Promise<void> {
    for (const name of [...this.locks(), ...this.bakeLocks()]) {
      const { repository, lock } = await this.#lock(`refs/${name}`, { status: "in_progress" });
      await releaseLock(repository, [lock], this.time);
    }
  }

  async #lock(
    ref: string,
    run: { readonly status: "completed" | "in_progress"; readonly conclusion?: "failure" },
  ) {
    this.#runs += 1;
    const id = String(this.#runs);
    this.sandbox.repository.addRun({ id: this.#runs, ...run });
    const repository = createRepository(this.#octokit(), "acme/web");
    const url = `https://github.com/acme/web/actions/runs/${id}`;
    const quiet = () => undefined;
    const { lock } = await takeLock(
      {
        what: { ref, name: ref, tag: "kiln-lock" },
        commit: this.#commit,
        run: { id, attempt: "1", url, actor: "octocat" },
        timeout: 0,
      },
      {
        repository,
        clock: this.time,
        log: { info: quiet, debug: quiet, notice: quiet, warning: quiet, group: (_, work) => work() },
        signal: new AbortController().signal,
      },
    );
    return { repository, lock };
  }
}
