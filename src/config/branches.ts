import picomatch from "picomatch";
import type { Application, Environment } from "../domain/application.ts";

/** The environments that a push to `branch` serves, in the file's order. */
export function environmentsForBranch(application: Application, branch: string): readonly Environment[] {
  return application.environments.filter((environment) => matchesBranch(environment.branches, branch));
}

/**
 * Patterns are read as in a workflow's `on.push.branches`: `*` stays within a segment, `**` does not, and of several
 * that match the last one decides, so that `!release/old` after `release/**` takes one branch out.
 */
export function matchesBranch(patterns: readonly string[], branch: string): boolean {
  let matched = false;
  for (const pattern of patterns) {
    const negated = pattern.startsWith("!");
    if (picomatch.isMatch(branch, negated ? pattern.slice(1) : pattern, { dot: true })) matched = !negated;
  }
  return matched;
}
