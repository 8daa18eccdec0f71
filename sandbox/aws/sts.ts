import type { Operations } from "./query.ts";

/** STS API reference, GetCallerIdentity: the answer for the credentials of an assumed role. */
export function createSts(): Operations {
  return {
    GetCallerIdentity: ({ accountId }) => ({
      Arn: `arn:aws:sts::${accountId}:assumed-role/kiln/session`,
      UserId: "AROASANDBOXKILN:session",
      Account: accountId,
    }),
  };
}
