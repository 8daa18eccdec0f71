import type { Run } from "../commands/ports.ts";

export const KILN_VERSION = "0.1.0";

/** Who asks, as AWS's and GitHub's logs have it; values that are not of the expected form are left out. */
export function userAgent(run: Run): readonly (readonly [name: string, value: string])[] {
  const fields: readonly (readonly [string, string, RegExp])[] = [
    ["kiln", KILN_VERSION, /^[\d.]+$/],
    ["run", run.id, /^\d{1,20}$/],
    ["attempt", run.attempt, /^\d{1,10}$/],
  ];
  return fields.flatMap(([name, value, pattern]) => (pattern.test(value) ? [[name, value] as const] : []));
}
