/** An AWS and a GitHub on loopback, put together: what rehearsals and tests start. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type AutoScalingOptions,
  type AutoScalingWorld,
  createAutoScalingWorld,
} from "./aws/autoscaling/world.ts";
import type { Ec2Options } from "./aws/ec2/state.ts";
import { createEc2World, type Ec2World } from "./aws/ec2/world.ts";
import type { Place } from "./aws/fleet.ts";
import { packerEnvironment, startAwsProxy } from "./aws/proxy.ts";
import { type AwsAccounts, startAwsServer } from "./aws/server.ts";
import { createSshHost, type SshHost } from "./aws/ssh.ts";
import { createSts } from "./aws/sts.ts";
import { createClock, type SandboxClock } from "./clock.ts";
import { Faults } from "./faults.ts";
import type { GitHubTokens } from "./github/access.ts";
import { createRepository, type GitHubRepository } from "./github/repository.ts";
import { startGitHubServer } from "./github/server.ts";
import { RequestLog } from "./request-log.ts";

export interface SandboxOptions {
  /** Scratch space; the caller's to delete. */
  readonly folder: string;
  /** Sandbox seconds a real second; 0: stepped. */
  readonly speed?: number;
  readonly autoScaling?: Partial<AutoScalingOptions>;
  readonly ec2?: Ec2Options;
  readonly graphql?: "on" | "missing" | "forbidden";
  /** Whether instances answer by SSH, for Packer. Default: true. */
  readonly ssh?: boolean;
  /** Ports of the AWS and GitHub servers; default: any free ones. */
  readonly ports?: { readonly aws: number; readonly github: number };
}

export interface Sandbox {
  readonly clock: SandboxClock;
  readonly log: RequestLog;
  readonly faults: Faults;
  readonly ec2: Ec2World;
  readonly autoScaling: AutoScalingWorld;
  readonly repository: GitHubRepository;
  /** By access key id; may be changed while running. */
  readonly accounts: AwsAccounts;
  /** By token; may be changed while running. */
  readonly tokens: GitHubTokens;
  readonly host: SshHost | undefined;
  readonly awsUrl: string;
  readonly githubUrl: string;
  /** What a process needs to find the sandbox instead of AWS: credentials and endpoint, for SDKs, CLI and Packer. */
  environment(): Record<string, string>;
  close(): Promise<void>;
}

/** The account and region that everything happens in unless a test says otherwise. */
export const HOME: Place = { region: "eu-west-1", accountId: "111111111111" };
export const ACCESS_KEY = "AKIASANDBOX000000000";
export const TOKEN = "ghs_sandbox";

export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const clock = createClock({ speed: options.speed ?? 60 });
  const log = new RequestLog();
  const faults = new Faults();
  await mkdir(options.folder, { recursive: true });
  const host = options.ssh === false ? undefined : await createSshHost({ folder: options.folder });
  const ec2 = createEc2World({
    clock,
    ...(host === undefined ? {} : { host }),
    ...(options.ec2 === undefined ? {} : { options: options.ec2 }),
  });
  const autoScaling = createAutoScalingWorld({
    clock,
    fleet: ec2.fleet,
    ...(options.autoScaling === undefined ? {} : { options: options.autoScaling }),
  });
  const accounts: AwsAccounts = { [ACCESS_KEY]: { accountId: HOME.accountId } };
  const aws = await startAwsServer({
    clock,
    log,
    faults,
    accounts,
    services: { ec2: ec2.operations, autoscaling: autoScaling.operations, sts: createSts() },
    port: options.ports?.aws ?? 0,
  });
  const proxy = await startAwsProxy({ handle: aws.handle, folder: options.folder });
  const { repository, tokens, github } = await startGitHub(options, { clock, log, faults });
  return {
    clock,
    log,
    faults,
    ec2,
    autoScaling,
    repository,
    accounts,
    tokens,
    host,
    awsUrl: aws.url,
    githubUrl: github.apiUrl,
    environment: () => ({
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: "sandbox",
      AWS_ENDPOINT_URL: aws.url,
      ...packerEnvironment(proxy),
      ...(host === undefined ? {} : { PKR_VAR_ssh_port: String(host.port) }),
    }),
    async close() {
      clock.stop();
      await Promise.all([aws.close(), proxy.close(), github.close(), host?.close()]);
    },
  };
}

/** One private repository, and a token as a job with `contents: write` and `actions: read` has it. */
async function startGitHub(
  options: SandboxOptions,
  shared: { readonly clock: SandboxClock; readonly log: RequestLog; readonly faults: Faults },
) {
  const repository = await createRepository({
    owner: "acme",
    name: "web",
    path: join(options.folder, "web.git"),
    private: true,
  });
  const tokens: GitHubTokens = {
    [TOKEN]: { login: "octocat", permissions: { contents: "write", actions: "read" } },
  };
  const github = await startGitHubServer({
    ...shared,
    tokens,
    repositories: [repository],
    port: options.ports?.github ?? 0,
    ...(options.graphql === undefined ? {} : { graphql: options.graphql }),
  });
  return { repository, tokens, github };
}
