import { describe, expect, test } from "vitest";
import { environmentsForBranch, matchesBranch } from "../../src/config/branches.ts";
import type { Application } from "../../src/domain/application.ts";

describe("a branch and an environment's patterns", () => {
  test.each<[patterns: string[], branch: string, matches: boolean]>([
    [["main"], "main", true],
    [["main"], "main2", false],
    [["main"], "feature/main", false],
    [["Main"], "main", false],
    [["develop", "main"], "main", true],
    [["feature/*"], "feature/login", true],
    [["feature/*"], "feature/login/form", false],
    [["feature/**"], "feature/login/form", true],
    [["**"], "any/thing.at-all", true],
    [["*"], "main", true],
    [["*"], "feature/login", false],
    [["release-*"], "release-1.4", true],
    [["*"], ".hidden", true],
    [["release/**", "!release/old"], "release/new", true],
    [["release/**", "!release/old"], "release/old", false],
    [["release/**", "!release/**-rc", "release/9-rc"], "release/8-rc", false],
    [["release/**", "!release/**-rc", "release/9-rc"], "release/9-rc", true],
    [["!main", "**"], "main", true],
    [["!main"], "develop", false],
    [[], "main", false],
  ])("%j and %s: %s", (patterns, branch, matches) => {
    expect(matchesBranch(patterns, branch)).toBe(matches);
  });
});

function application(branches: Readonly<Record<string, readonly string[]>>): Application {
  return {
    name: "web",
    recordPrefix: "release",
    image: { template: "web.pkr.hcl", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
    environments: Object.entries(branches).map(([name, patterns]) => ({
      name,
      branches: patterns,
      instanceType: undefined,
      requires: undefined,
      targets: [{ region: "eu-west-1", autoScalingGroup: `web-${name}` }],
      rollout: { strategy: "rolling" as const },
    })),
  };
}

describe("the environments that a push serves", () => {
  const described = application({
    qa: ["main", "develop"],
    dev: ["develop"],
    production: ["main"],
    spare: [],
  });

  test.each([
    ["main", ["qa", "production"]],
    ["develop", ["qa", "dev"]],
    ["feature/x", []],
  ])("%s: %j, in the file's order", (branch, names) => {
    expect(environmentsForBranch(described, branch).map(({ name }) => name)).toStrictEqual(names);
  });
});
