import { AwsError } from "../query.ts";
import type { Call } from "../query.ts";

/**
 * One action's memory of client tokens. EC2 developer guide, Ensuring idempotency: the same client token with the
 * same parameters gives the first request's result and no second effect; with other parameters it is
 * IdempotentParameterMismatch. A token counts for one action, account and region, once a request with it succeeded.
 */
export function rememberTokens<T>(): (call: Call, perform: () => T) => T {
  const tokens = new Map<string, { readonly parameters: string; readonly result: T }>();
  return (call, perform) => {
    const token = call.query.string("ClientToken");
    if (token === undefined) return perform();
    const key = JSON.stringify([call.accountId, call.region, token]);
    const parameters = canonical(call.query.flat());
    const earlier = tokens.get(key);
    if (earlier === undefined) {
      const result = perform();
      tokens.set(key, { parameters, result });
      return result;
    }
    if (earlier.parameters === parameters) return earlier.result;
    throw new AwsError(
      "IdempotentParameterMismatch",
      "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    );
  };
}

function canonical(parameters: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(parameters).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
