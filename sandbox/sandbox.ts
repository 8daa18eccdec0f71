/** An AWS and a GitHub on loopback, put together: what rehearsals and tests start. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Access, type Iam } from "./aws/access.ts";
import {
  type AutoScalingOptions,
  type AutoScalingWorld,
  createAutoScalingWorld,
} from "./aws/autoscaling/world.ts";
import { type CloudWatchWorld, createCloudWatchWorld } from "./aws/cloudwatch.ts";
import type { Ec2Options } from "./aws/ec2/state.ts";
import { createEc2World, type Ec2World } from "./aws/ec2/world.ts";
import { createElbWorld, type ElbWorld } from "./aws/elb.ts";
import type { Place } from "./aws/fleet.ts";
import { packerEnvironment, startAwsProxy } from "./aws/proxy.ts";
import { type AwsAccounts, startAwsServer } from "./aws/server.ts";
import { createSshHost, type SshHost } from "./aws/ssh.ts";
import { createSts, type StsOptions, type WebIdentity } from "./aws/sts.ts";
import { createClock, type SandboxClock } from "./clock.ts";
import { Faults } from "./faults.ts";
import type { GitHubTokens } from "./github/access.ts";
import { createIdentityProvider, type IdentityProvider, type OidcJob } from "./github/identity-tokens.ts";
import { createRepository, type GitHubRepository } from "./github/repository.ts";
import { startGitHubServer } from "./github/server.ts";
import type { UpdateRefsScope } from "./github/graphql-mutations.ts";
import { RequestLog } from "./request-log.ts";
import { skippingAutoScaling, skippingEc2 } from "./skipping.ts";

export interface SandboxOptions {
  /** Scratch space; the caller's to delete. */
  readonly folder: string;
  /** Sandbox seconds a real second; 0: stepped. */
  readonly speed?: number;
  /**
   * Whether time skips to what a caller waits for when the caller describes it (an instance refresh, an instance, an
   * image, each by its id). Default: false.
   */
  readonly skips?: boolean;
  readonly autoScaling?: Partial<AutoScalingOptions>;
  readonly ec2?: Ec2Options;
  readonly graphql?: "on" | "missing" | "forbidden";
  /** See {@link UpdateRefsScope}. */
  readonly updateRefs?: UpdateRefsScope;
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
  /** Alarms and health are set here, and CloudWatch and Elastic Load Balancing hear of them. */
  readonly autoScaling: AutoScalingWorld;
  readonly cloudWatch: CloudWatchWorld;
  readonly elb: ElbWorld;
  readonly repository: GitHubRepository;
  /** By access key id; may be changed while running. */
  readonly accounts: AwsAccounts;
  /** ARNs of roles whose trust policy lets nobody in; may be changed while running. */
  readonly closedRoles: Set<string>;
  /** What roles may do, and who may assume them; without a word here, everything and everybody. */
  readonly iam: Iam;
  /** By token; may be changed while running. */
  readonly tokens: GitHubTokens;
  readonly host: SshHost | undefined;
  readonly awsUrl: string;
  readonly githubUrl: string;
  /** What a process needs to find the sandbox instead of AWS: credentials and endpoint, for SDKs, CLI and Packer. */
  environment(): Record<string, string>;
  /** What a job with `id-token: write` has besides: the way to its OIDC token. */
  oidcEnvironment(job?: OidcJob): Record<string, string>;
  /** From now on every request that was signed with this key is refused as expired. */
  expireCredentials(accessKeyId: string): void;
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
  const ec2 = createEc2World({ clock, ...(host && { host }), ...(options.ec2 && { options: options.ec2 }) });
  const { autoScaling, cloudWatch, elb } = createGroups(options, clock, ec2);
  const accounts: AwsAccounts = { [ACCESS_KEY]: { accountId: HOME.accountId } };
  const { repository, tokens, identity, github } = await startGitHub(options, { clock, log, faults });
  const closedRoles = new Set<string>();
  const access = new Access({ accounts, ec2, autoScaling });
  const aws = await startAwsServer({
    clock,
    log,
    faults,
    accounts,
    authorize: (request) => access.authorize(request),
    permits: (request, check) => access.permits(request, check),
    services: {
      ec2: options.skips === true ? skippingEc2(clock, ec2) : ec2.operations,
      autoscaling: options.skips === true ? skippingAutoScaling(clock, autoScaling) : autoScaling.operations,
      cloudwatch: cloudWatch.operations,
      elasticloadbalancing: elb.operations,
      sts: createSts({ accounts, closedRoles, ...trustIn(access, identity) }),
    },
    port: options.ports?.aws ?? 0,
  });
  const proxy = await startAwsProxy({ handle: aws.handle, folder: options.folder });
  return {
    clock,
    log,
    faults,
    ec2,
    autoScaling,
    cloudWatch,
    elb,
    repository,
    accounts,
    closedRoles,
    iam: access,
    tokens,
    host,
    awsUrl: aws.url,
    githubUrl: github.apiUrl,
    environment: () => Object.assign(awsEnvironment(aws.url, host), packerEnvironment(proxy)),
    oidcEnvironment: (job = {}) => identity.environment(github.apiUrl, job),
    expireCredentials: (accessKeyId) => expire(accounts, accessKeyId),
    async close() {
      clock.stop();
      await Promise.all([aws.close(), proxy.close(), github.close(), host?.close()]);
    },
  };
}

function awsEnvironment(url: string, host: SshHost | undefined): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: ACCESS_KEY,
    // AWS's own example: a word would be hidden wherever it stands.
    AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    AWS_ENDPOINT_URL: url,
    ...(host === undefined ? {} : { PKR_VAR_ssh_port: String(host.port) }),
  };
}

/** Auto Scaling, and those that look at the same alarms and the same instances from their own side. */
function createGroups(
  options: SandboxOptions,
  clock: SandboxClock,
  ec2: Ec2World,
): Pick<Sandbox, "autoScaling" | "cloudWatch" | "elb"> {
  const world = createAutoScalingWorld({
    clock,
    fleet: ec2.fleet,
    ...(options.autoScaling === undefined ? {} : { options: options.autoScaling }),
  });
  const cloudWatch = createCloudWatchWorld({ clock });
  const elb = createElbWorld({ clock, autoScaling: world });
  const autoScaling: AutoScalingWorld = {
    ...world,
    setAlarm(name, state) {
      cloudWatch.setAlarm(name, state);
      world.setAlarm(name, state);
    },
    setHealth(rule) {
      elb.setHealth(rule);
      world.setHealth(rule);
    },
  };
  return { autoScaling, cloudWatch, elb };
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
    [TOKEN]: { login: "octocat", permissions: { metadata: "read", contents: "write", actions: "read" } },
  };
  const identity = createIdentityProvider(repository);
  const github = await startGitHubServer({
    ...shared,
    tokens,
    identity,
    repositories: [repository],
    port: options.ports?.github ?? 0,
    ...(options.graphql === undefined ? {} : { graphql: options.graphql }),
    ...(options.updateRefs === undefined ? {} : { updateRefs: options.updateRefs }),
  });
  return { repository, tokens, identity, github };
}

/** Who AssumeRoleWithWebIdentity believes, and whom roles let in. */
function trustIn(access: Access, identity: IdentityProvider): Pick<StsOptions, "webIdentity" | "trusts"> {
  return {
    webIdentity: (token) => webIdentity(identity, token),
    trusts: (role, principal, context) => access.trusts(role, principal, context),
  };
}

/** A token of GitHub's as AWS reads it. */
function webIdentity(identity: IdentityProvider, token: string): WebIdentity | undefined {
  const claims = identity.claims(token);
  if (claims === undefined) return undefined;
  const { iss: issuer, sub: subject, aud: audience, exp } = claims;
  return { issuer, subject, audience, expiresAt: exp * 1000 };
}

function expire(accounts: AwsAccounts, accessKeyId: string): void {
  const account = accounts[accessKeyId];
  if (account === undefined) throw new Error(`The sandbox has no access key ${accessKeyId}`);
  account.state = "expired";
}
