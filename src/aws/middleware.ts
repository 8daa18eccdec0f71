import type { AwsTime } from "./aws-time.ts";
import { isExpired, translate } from "./errors.ts";
import type { Renewal } from "./renewal.ts";

interface Result {
  readonly response: unknown;
  readonly output: unknown;
}

/** The part of an SDK client that middleware is added to, whatever its commands. */
interface MiddlewareClient {
  readonly config: { region: () => Promise<string> };
  readonly middlewareStack: {
    add(
      middleware: (
        next: (args: never) => Promise<Result>,
        context: { readonly commandName?: string; readonly clientName?: string },
      ) => (args: never) => Promise<Result>,
      options: {
        readonly step: "initialize" | "finalizeRequest";
        readonly priority: "high" | "low";
        readonly name: string;
      },
    ): void;
  };
}

/**
 * Adds to an SDK client what all of Kiln's have: errors for the person on call, throttling by AWS's own list, and where
 * `renewal` is given, a second try with new credentials when they have expired. `time` is told every answer.
 */
export function withMiddleware<T>(client: T, renewal?: Renewal, time?: Pick<AwsTime, "note">): T {
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
  // Above everything that signs: a second try has to choose its credentials anew.
  middlewareStack.add(
    (next, context) => async (args) => {
      const action = context.commandName?.replace(/Command$/, "") ?? "request";
      const request = {
        action,
        service: context.clientName?.replace(/Client$/, "") ?? "AWS",
        region: await config.region(),
      };
      const send = async (): Promise<Result> => {
        const result = await next(args);
        time?.note(result.response);
        if (action === "GetCallerIdentity") rememberCaller(renewal, result.output);
        return result;
      };
      const generation = renewal?.generation ?? 0;
      try {
        return await send();
      } catch (error) {
        if (renewal === undefined || !isExpired(error)) throw translate(error, request);
        const failure = await renewal.renew(generation, request.region);
        if (failure !== undefined) throw translate(error, request, failure);
      }
      // Also what is not idempotent: a request that was refused for its credentials had no effect.
      try {
        return await send();
      } catch (error) {
        throw translate(error, request);
      }
    },
    { step: "initialize", priority: "high", name: "kilnErrors" },
  );
  return client;
}

function rememberCaller(renewal: Renewal | undefined, output: unknown): void {
  if (typeof output === "object" && output !== null && "Arn" in output && typeof output.Arn === "string")
    renewal?.remember(output.Arn);
}

function isRateExceeded(error: unknown): error is Error & { $retryable?: { throttling: boolean } } {
  return (
    error instanceof Error &&
    (error.name === "RateExceeded" || ("Code" in error && error.Code === "RateExceeded"))
  );
}
