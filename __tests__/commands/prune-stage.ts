import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clientsOf } from "../../src/action/aws-options.ts";
import { wallClock } from "../../src/action/wall-clock.ts";
import { createAwsClients } from "../../src/aws/clients.ts";
import type { Ports } from "../../src/commands/ports.ts";
import { prune } from "../../src/commands/prune.ts";
import type { Environment, PruneSettings, Target } from "../../src/domain/application.ts";
import type { ImageId } from "../../src/domain/image.ts";
import type { PrunedImage, Result } from "../../src/domain/result.ts";
import { formatRecord, type ReleaseRecord } from "../../src/release/record.ts";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import type { Image } from "../../sandbox/aws/ec2/images.ts";
import type { GroupRequest } from "../../sandbox/aws/autoscaling/world.ts";
import { ACCESS_KEY, HOME, type Sandbox, startSandbox } from "../../sandbox/sandbox.ts";
import { InMemoryRepository } from "../release/in-memory-repository.ts";
import { COMMIT, RECORD } from "../release/records.ts";
import { DAY, DIGEST, TAGS } from "../image/stored-images.ts";

/** AWS tells the time in whole seconds. */
const SECOND = 1000;
export const AWAY = { region: "us-east-1", accountId: HOME.accountId };

export interface Pruned {
  /** Undefined where the run is green. */
  readonly error: unknown;
  readonly facts: Partial<Result>;
  readonly log: readonly string[];
  readonly requests: readonly LoggedRequest[];
  /** What changed something, in order. */
  readonly writes: readonly string[];
}

/** `prune` by the action's own code in this process, against AWS on this machine, on a clock that tests advance. */
export class PruneStage implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly repository = new InMemoryRepository();
  /** Milliseconds that the runner's clock is ahead of AWS's. */
  runnerAhead = 0;
  readonly #folder: string;
  readonly #environments: Environment[] = [];

  private constructor(folder: string, sandbox: Sandbox) {
    this.#folder = folder;
    this.sandbox = sandbox;
  }

  static async open(): Promise<PruneStage> {
    const folder = await mkdtemp(join(tmpdir(), "kiln-prune-"));
    return new PruneStage(folder, await startSandbox({ folder, speed: 0, ssh: false }));
  }

  /** An image of ours that was made some days ago. */
  image(
    name: string,
    days: number,
    { tags = {}, place = HOME, ...changes }: Partial<Image> & { readonly place?: typeof HOME } = {},
  ): ImageId {
    const image = this.sandbox.ec2.addImage(place, { name, tags: { ...TAGS, ...tags }, ...changes });
    Object.assign(image, { createdAt: this.sandbox.clock.now() - days * DAY - SECOND });
    return image.id as ImageId;
  }

  /** An environment with a group that runs an image; returns its launch template. */
  environment(name: string, imageId: string, changes: Partial<GroupRequest> = {}, place = HOME): string {
    const template = this.sandbox.ec2.addLaunchTemplate(place, name, {
      ImageId: imageId,
      InstanceType: "t3.small",
    });
    this.sandbox.autoScaling.addGroup({
      ...place,
      name,
      min: 0,
      max: 4,
      desired: 1,
      launchTemplate: { launchTemplateId: template.id, version: "1" },
      ...changes,
    });
    const role =
      place.accountId === HOME.accountId ? undefined : `arn:aws:iam::${place.accountId}:role/deployer`;
    this.target(name, { region: place.region, autoScalingGroup: name }, role);
    return template.id;
  }

  target(name: string, target: Target, roleToAssume?: string): void {
    this.#environments.push({
      ...(roleToAssume === undefined ? {} : { roleToAssume }),
      name,
      branches: [],
      requires: undefined,
      instanceType: undefined,
      targets: [target],
      rollout: { strategy: "rolling" },
    });
  }

  record(
    environment: string,
    number: number,
    images: Readonly<Record<string, ImageId>>,
    changes: Partial<ReleaseRecord> = {},
  ): void {
    const tag = { prefix: "release", environment, number };
    const record: ReleaseRecord = { ...RECORD, tag, images, imageDigest: DIGEST, targets: [], ...changes };
    this.repository.push(
      `release/${environment}/${String(number).padStart(6, "0")}`,
      formatRecord(record, ""),
      COMMIT,
    );
  }

  /** Lets days pass. */
  pass(days: number): void {
    this.sandbox.clock.advance(days * DAY);
  }

  /** Ids of the images that there are. */
  left(place = HOME): string[] {
    return this.#there(place).map(({ id }) => id);
  }

  deprecated(place = HOME): string[] {
    return this.#there(place).flatMap(({ id, deprecatedAt }) => (deprecatedAt === undefined ? [] : [id]));
  }

  protectedOnes(place = HOME): string[] {
    return this.#there(place).flatMap(({ id, protection }) => (protection === "disabled" ? [] : [id]));
  }

  #there(place: typeof HOME): Image[] {
    return this.sandbox.ec2.images(place).filter(({ deregisteredAt }) => deregisteredAt === undefined);
  }

  async prune(
    options: {
      readonly dryRun?: boolean;
      readonly settings?: PruneSettings;
      readonly only?: string;
      readonly signal?: AbortSignal;
      /** What happens between the plan and the first thing that is done. */
      readonly meanwhile?: () => void;
    } = {},
  ): Promise<Pruned> {
    const mark = this.sandbox.log.entries.length;
    const log: string[] = [];
    let facts: Partial<Result> = {};
    const { settings, only } = options;
    const environments = this.#environments;
    let error: unknown;
    try {
      await prune(
        {
          application: {
            name: "web",
            recordPrefix: "release",
            environments,
            image: { template: "web.pkr.hcl", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
            ...(settings === undefined ? {} : { prune: settings }),
          },
          environments: environments.filter(({ name }) => only === undefined || name === only),
          dryRun: options.dryRun ?? false,
          run: { repository: "acme/web" },
        },
        this.#ports(
          log,
          (more) => {
            if (facts.prune === undefined) options.meanwhile?.();
            facts = { ...facts, ...more };
          },
          options.signal,
        ),
      );
    } catch (caught) {
      error = caught;
    }
    const requests = this.sandbox.log.since(mark);
    const writes = requests.filter((request) => request.writes).map(({ action }) => action);
    return { error, facts, log, requests, writes };
  }

  #ports(log: string[], publish: (facts: Partial<Result>) => void, signal?: AbortSignal): Ports {
    process.env["AWS_ENDPOINT_URL"] = this.sandbox.awsUrl;
    process.env["AWS_ACCESS_KEY_ID"] = ACCESS_KEY;
    process.env["AWS_SECRET_ACCESS_KEY"] = "sandbox";
    const now = (): Date => new Date(Date.now() + this.runnerAhead);
    const aws = createAwsClients({ userAgent: [["kiln", "test"]], clock: { ...wallClock, now } });
    const line = (kind: string) => (message: string) => void log.push(`${kind}${message}`);
    const ports: Partial<Ports> = {
      clock: {
        now: () => new Date(this.sandbox.clock.now() + this.runnerAhead),
        sleep: () => Promise.reject(new Error("it waits")),
      },
      signal: signal ?? new AbortController().signal,
      log: {
        info: line(""),
        debug: line("debug: "),
        notice: line("notice: "),
        warning: line("warning: "),
        group: (_, work) => work(),
      },
      aws,
      awsOf: (environment) => clientsOf(aws, environment, { id: "1", repository: "acme/web" }),
      repository: this.repository,
      facts: { publish, publishEnvironment: () => undefined },
    };
    return ports as Ports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** What became of each image, in the plan's order. */
export function fates({ facts }: Pruned): string[] {
  return (facts.prune?.images ?? []).map(
    ({ imageId, action, failed }: PrunedImage) => `${imageId} ${failed === undefined ? "" : "not "}${action}`,
  );
}
