import type { AutoScalingClient } from "@aws-sdk/client-auto-scaling";
import type { EC2Client } from "@aws-sdk/client-ec2";
import type { STSClient } from "@aws-sdk/client-sts";
import { translate } from "./errors.ts";

/** Clients made once a region. Each SDK is loaded when it is first asked for: EC2's alone is half of the bundle. */
export interface AwsClients {
  ec2(region: string): Promise<EC2Client>;
  autoScaling(region: string): Promise<AutoScalingClient>;
  /**
   * Auto Scaling without the SDK's own repetition, for StartInstanceRefresh: it has no client token, so that a second
   * try may meet the refresh that the first one started (API reference, StartInstanceRefresh).
   */
  autoScalingOnce(region: string): Promise<AutoScalingClient>;
  sts(region: string): Promise<STSClient>;
}

export interface AwsClientOptions {
  /** Told to AWS with every request, so that CloudTrail names the run: `kiln/0.1.0`, `run/123`. */
  readonly userAgent: readonly (readonly [name: string, value: string])[];
}

/** Tries of one request, the first included; the SDK waits between them with jitter, by class of error. */
const MAX_ATTEMPTS = 5;

export function createAwsClients(options: AwsClientOptions): AwsClients {
  const cache = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    const made = (cache.get(key) as Promise<T> | undefined) ?? make();
    cache.set(key, made);
    return made;
  };
  const settings = (region: string, maxAttempts = MAX_ATTEMPTS): ClientSettings => ({
    region,
    maxAttempts,
    // A connection that says nothing any more is an error that is tried again, not a wait without end.
    requestHandler: { connectionTimeout: 10_000, requestTimeout: 60_000, throwOnRequestTimeout: true },
    customUserAgent: options.userAgent.map(([name, value]): [string, string] => [name, value]),
  });
  return {
    ec2: (region) =>
      once(`ec2 ${region}`, async () => {
        const { EC2Client } = await import("@aws-sdk/client-ec2");
        return withTranslatedErrors(new EC2Client(settings(region)));
      }),
    autoScaling: (region) => once(`autoscaling ${region}`, () => autoScaling(settings(region))),
    autoScalingOnce: (region) => once(`autoscaling-once ${region}`, () => autoScaling(settings(region, 1))),
    sts: (region) =>
      once(`sts ${region}`, async () => {
        const { STSClient } = await import("@aws-sdk/client-sts");
        return withTranslatedErrors(new STSClient(settings(region)));
      }),
  };
}

interface ClientSettings {
  readonly region: string;
  readonly maxAttempts: number;
  readonly customUserAgent: [string, string][];
  readonly requestHandler: {
    readonly connectionTimeout: number;
    readonly requestTimeout: number;
    readonly throwOnRequestTimeout: boolean;
  };
}

async function autoScaling(settings: ClientSettings): Promise<AutoScalingClient> {
  const { AutoScalingClient } = await import("@aws-sdk/client-auto-scaling");
  return withTranslatedErrors(new AutoScalingClient(settings));
}

/** The part of an SDK client that middleware is added to, whatever its commands. */
interface MiddlewareClient {
  readonly config: { region: () => Promise<string> };
  readonly middlewareStack: {
    add(
      middleware: (
        next: (args: never) => Promise<{ response: unknown; output: unknown }>,
        context: { readonly commandName?: string; readonly clientName?: string },
      ) => (args: never) => Promise<{ response: unknown; output: unknown }>,
      options: {
        readonly step: "initialize" | "finalizeRequest";
        readonly priority: "high" | "low";
        readonly name: string;
      },
    ): void;
  };
}

function withTranslatedErrors<T>(client: T): T {
  const { middlewareStack, config } = client as unknown as MiddlewareClient;
  // Below the retry middleware: the code that Auto Scaling's reference names for throttling is not on the SDK's list.
  middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        if (isRateExceeded(error)) error.$retryable = { throttling: true };
        throw error;
      }
    },
    { step: "finalizeRequest", priority: "low", name: "kilnThrottling" },
  );
  middlewareStack.add(
    (next, context) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        throw translate(error, {
          action: context.commandName?.replace(/Command$/, "") ?? "request",
          service: context.clientName?.replace(/Client$/, "") ?? "AWS",
          region: await config.region(),
        });
      }
    },
    { step: "initialize", priority: "high", name: "kilnErrors" },
  );
  return client;
}

function isRateExceeded(error: unknown): error is Error & { $retryable?: { throttling: boolean } } {
  return (
    error instanceof Error &&
    (error.name === "RateExceeded" || ("Code" in error && error.Code === "RateExceeded"))
  );
}
