import type { AutoScalingClient } from "@aws-sdk/client-auto-scaling";
import type { CloudWatchClient } from "@aws-sdk/client-cloudwatch";
import type { EC2Client } from "@aws-sdk/client-ec2";
import type { ElasticLoadBalancingV2Client } from "@aws-sdk/client-elastic-load-balancing-v2";
import type { STSClient } from "@aws-sdk/client-sts";
import { type AssumedRole, roleCredentials } from "./assumed-role.ts";
import type { Clock } from "../domain/ports.ts";
import { AwsTime } from "./aws-time.ts";
import { withMiddleware } from "./middleware.ts";
import { MAX_ATTEMPTS, type RetryStrategy, retryStrategy } from "./retries.ts";
import { type AwsCredentials, createRenewal, type ProvidedCredentials, type Renewal } from "./renewal.ts";

/** Clients made once a region. Each SDK is loaded when it is first asked for: EC2's alone is half of the bundle. */
export interface AwsClients {
  ec2(region: string): Promise<EC2Client>;
  autoScaling(region: string): Promise<AutoScalingClient>;
  /**
   * Auto Scaling without the SDK's own repetition, for StartInstanceRefresh: it has no client token, so that a second
   * try may meet the refresh that the first one started (API reference, StartInstanceRefresh).
   */
  autoScalingOnce(region: string): Promise<AutoScalingClient>;
  elasticLoadBalancing(region: string): Promise<ElasticLoadBalancingV2Client>;
  cloudWatch(region: string): Promise<CloudWatchClient>;
  sts(region: string): Promise<STSClient>;
  /** Clients with a role's credentials, which these get; the same ones for the same role. */
  as(role: AssumedRole): AwsClients;
  /** The time by AWS's newest answer to any of these clients; undefined before the first one. */
  now(): Date | undefined;
}

export interface AwsClientOptions {
  /** Told to AWS with every request, so that CloudTrail names the run: `kiln/0.1.0`, `run/123`. */
  readonly userAgent: readonly (readonly [name: string, value: string])[];
  /**
   * The access key of the job's environment, where that is what the SDK would take. With `idToken`, it is renewed when
   * it has expired; without, and for other sources of credentials, the SDK finds and renews them by itself.
   */
  readonly env?: AwsCredentials | undefined;
  /** Asks for an OIDC token for an audience; undefined where the job may not. */
  readonly idToken?: ((audience: string) => Promise<string>) | undefined;
  /** AWS_ROLE_ARN: the role that `env` is for. Without it, the one that an answer to GetCallerIdentity showed. */
  readonly roleArn?: string | undefined;
  /** How CloudTrail names the renewed session. */
  readonly sessionName?: string | undefined;
  readonly onRenewed?: ((message: string) => void) | undefined;
  /** What the waits between two tries go by. */
  readonly clock: Clock;
  /** Milliseconds that one try may take; default: ANSWER_WITHIN. */
  readonly answerWithin?: number | undefined;
  /** From 0 to 1: what spreads the waits. */
  readonly random?: (() => number) | undefined;
  /** Told the keys and tokens that AWS gives out, before they are used. */
  readonly onSecrets?: ((values: readonly string[]) => void) | undefined;
}

/** Milliseconds: a describe of a large group takes seconds, nothing that Kiln asks takes a minute. */
const ANSWER_WITHIN = 60_000;

interface ClientSettings {
  readonly region: string;
  readonly maxAttempts: number;
  readonly retryStrategy: RetryStrategy;
  readonly customUserAgent: [string, string][];
  readonly requestHandler: {
    readonly connectionTimeout: number;
    readonly requestTimeout: number;
    readonly throwOnRequestTimeout: boolean;
  };
  readonly credentials?: () => Promise<ProvidedCredentials>;
}

type ClientModules = Omit<AwsClients, "autoScalingOnce" | "as" | "now">;

/** How each client is made; the SDK's module is loaded here. */
const MAKERS: {
  readonly [K in keyof ClientModules]: (
    settings: ClientSettings,
  ) => Promise<Awaited<ReturnType<ClientModules[K]>>>;
} = {
  ec2: async (settings) => new (await import("@aws-sdk/client-ec2")).EC2Client(settings),
  autoScaling: async (settings) =>
    new (await import("@aws-sdk/client-auto-scaling")).AutoScalingClient(settings),
  elasticLoadBalancing: async (settings) =>
    new (await import("@aws-sdk/client-elastic-load-balancing-v2")).ElasticLoadBalancingV2Client(settings),
  cloudWatch: async (settings) => new (await import("@aws-sdk/client-cloudwatch")).CloudWatchClient(settings),
  sts: async (settings) => new (await import("@aws-sdk/client-sts")).STSClient(settings),
};

/** The clients of one run. None is made, and nothing asked of AWS, before somebody asks for it. */
export function createAwsClients(options: AwsClientOptions): AwsClients {
  const renewal = renewalOf(options);
  return clientsWith(options, new AwsTime(options.clock), renewal?.provide, renewal);
}

function clientsWith(
  options: AwsClientOptions,
  time: AwsTime,
  credentials: (() => Promise<ProvidedCredentials>) | undefined,
  renewal: Renewal | undefined,
): AwsClients {
  const cache = new Map<string, Promise<unknown>>();
  const roles = new Map<string, AwsClients>();
  const settings = (region: string, maxAttempts = MAX_ATTEMPTS): ClientSettings => ({
    ...plainSettings(options, region, maxAttempts),
    ...(credentials === undefined ? {} : { credentials }),
  });
  const once = <T>(
    key: string,
    make: (settings: ClientSettings) => Promise<T>,
    ofClient: ClientSettings,
  ): Promise<T> => {
    const cached = cache.get(key) as Promise<T> | undefined;
    const made = cached ?? make(ofClient).then((client) => withMiddleware(client, renewal, time));
    cache.set(key, made);
    return made;
  };
  const clients: AwsClients = {
    ec2: (region) => once(`ec2 ${region}`, MAKERS.ec2, settings(region)),
    autoScaling: (region) => once(`autoscaling ${region}`, MAKERS.autoScaling, settings(region)),
    autoScalingOnce: (region) => once(`autoscaling-once ${region}`, MAKERS.autoScaling, settings(region, 1)),
    elasticLoadBalancing: (region) =>
      once(`elasticloadbalancing ${region}`, MAKERS.elasticLoadBalancing, settings(region)),
    cloudWatch: (region) => once(`cloudwatch ${region}`, MAKERS.cloudWatch, settings(region)),
    sts: (region) => once(`sts ${region}`, MAKERS.sts, settings(region)),
    now: () => time.now(),
    as(role) {
      const known = roles.get(role.arn);
      if (known !== undefined) return known;
      // Any region's STS knows the role; the own one's errors are translated, and its expired credentials renewed.
      const made = clientsWith(
        options,
        time,
        roleCredentials(role, () => clients.sts(ROLE_REGION), options.onSecrets),
        undefined,
      );
      roles.set(role.arn, made);
      return made;
    },
  };
  return clients;
}

/** Where roles are asked for: one region that every account has enabled. */
const ROLE_REGION = "us-east-1";

function plainSettings(options: AwsClientOptions, region: string, maxAttempts: number): ClientSettings {
  return {
    region,
    maxAttempts,
    retryStrategy: retryStrategy({
      maxAttempts,
      clock: options.clock,
      random: options.random ?? Math.random,
    }),
    // A connection that says nothing any more is an error that is tried again, not a wait without end.
    requestHandler: {
      connectionTimeout: 10_000,
      requestTimeout: options.answerWithin ?? ANSWER_WITHIN,
      throwOnRequestTimeout: true,
    },
    customUserAgent: options.userAgent.map(([name, value]): [string, string] => [name, value]),
  };
}

function renewalOf(options: AwsClientOptions): Renewal | undefined {
  const { env, idToken, roleArn, sessionName, onRenewed, onSecrets } = options;
  if (env === undefined || idToken === undefined) return undefined;
  return createRenewal({
    first: env,
    idToken,
    roleArn,
    sessionName,
    onRenewed,
    onSecrets,
    sts: (region) => MAKERS.sts(plainSettings(options, region, MAX_ATTEMPTS)),
  });
}
