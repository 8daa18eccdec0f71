import type { Application, Environment } from "../domain/application.ts";
import { matchesPattern, readBranchPattern } from "./branch-pattern.ts";

/** The environments that a push to `branch` serves, in the file's order. */
export function environmentsForBranch(application: Application, branch: string): readonly Environment[] {
  return application.environments.filter((environment) => matchesBranch(environment.branches, branch));
}

/**
 * Whether a branch is among those that the patterns name. They are taken in order, and the last one that matches decides:
 * `!release/old` after `release/**` takes one branch out, and `release/old` after that takes it in again.
 * @throws Error for a malformed pattern, which the config file's schema refuses
 */
export function matchesBranch(patterns: readonly string[], branch: string): boolean {
  let matched = false;
  for (const text of patterns) {
    const pattern = readBranchPattern(text);
    if (typeof pattern === "string") throw new Error(`the pattern "${text}" ${pattern}`);
    if (matchesPattern(pattern, branch)) matched = !pattern.negated;
  }
  return matched;
}
