import { describe, expect, test } from "vitest";
import { pushOf } from "../../src/action/checkout.ts";
import { type Inputs, parseInputs } from "../../src/action/inputs.ts";
import type { Runner } from "../../src/action/runner.ts";
import { resolveApplication, selectEnvironments, unlistedBranch } from "../../src/action/selection.ts";
import type { Application } from "../../src/domain/application.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";

const RUNNER: Runner = {
  workspace: "/work",
  temporaryFolder: "/tmp",
  ref: "refs/heads/main",
  payload: {},
  apiUrl: "https://api.github.com",
  inputs: {},
  run: {
    repository: "acme/shop",
    id: "100",
    attempt: "1",
    url: "https://github.com/acme/shop/actions/runs/100",
    actor: "ada",
    commit: "c".repeat(40),
    branch: "main",
    event: "push",
    serverUrl: "https://github.com",
  },
};

const CONFIG = `
image: { template: web.pkr.hcl }
environments:
  qa: { branches: [main], targets: [{ region: eu-west-1, auto-scaling-group: web-qa }] }
  dev: { branches: [develop], targets: [{ region: eu-west-1, auto-scaling-group: web-dev }] }
  production: { branches: [main], targets: [{ region: eu-west-1, auto-scaling-group: web-production }] }
`;

const given = (inputs: Readonly<Record<string, string>>, config = true): Inputs =>
  parseInputs({ token: "t", ...inputs }, () => config);
const noFile = (): Promise<string> => Promise.reject(new Error("no file is read"));

async function messageOf(work: () => Promise<unknown>): Promise<string> {
  const error: unknown = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof InvalidInputError) return error.message;
  throw new Error("it was accepted", { cause: error });
}

describe("the application", () => {
  test("is what the config file says, by default under the repository's name", async () => {
    const read: string[] = [];
    const application = await resolveApplication(given({}), RUNNER, async (path) => {
      read.push(path);
      return CONFIG;
    });
    expect(read).toStrictEqual([".github/kiln.yml"]);
    expect(application.name).toBe("shop");
    expect(application.environments.map(({ name }) => name)).toStrictEqual(["qa", "dev", "production"]);
  });

  test("has a name of its own in a config file other than the default one", async () => {
    const inputs = given({ config: "ops/kiln.yml" });
    const named = await resolveApplication(inputs, RUNNER, async () => `application: ops\n${CONFIG}`);
    expect(named.name).toBe("ops");
    expect(await messageOf(() => resolveApplication(inputs, RUNNER, async () => CONFIG))).toMatch(
      /^ops\/kiln\.yml:1:1: application is missing: a config file other than the default one must name/,
    );
  });

  test("has its problems told under the config file's path", async () => {
    expect(
      await messageOf(() => resolveApplication(given({ config: "ops/kiln.yml" }), RUNNER, async () => "")),
    ).toMatch(/^ops\/kiln\.yml:1:1: /);
  });

  const inline = {
    environment: "dev",
    template: "./packer/",
    region: "eu-west-1",
    "auto-scaling-group": "web-dev",
  };

  test("is what the step itself says, where there is no file", async () => {
    expect(await resolveApplication(given(inline, false), RUNNER, noFile)).toStrictEqual<Application>({
      name: "shop",
      recordPrefix: "release",
      image: { template: "packer", inputs: undefined, vars: {}, varFiles: [], maxAge: undefined },
      environments: [
        {
          name: "dev",
          branches: [],
          instanceType: undefined,
          requires: undefined,
          targets: [{ region: "eu-west-1", autoScalingGroup: "web-dev" }],
          rollout: { strategy: "rolling" },
        },
      ],
    });
  });

  test("has the step's own name and strategy", async () => {
    const application = await resolveApplication(
      given({ ...inline, application: "web", strategy: "recycle" }, false),
      RUNNER,
      noFile,
    );
    expect(application).toMatchObject({ name: "web", environments: [{ rollout: { strategy: "recycle" } }] });
  });

  test("cannot have names that are no segments of a ref", async () => {
    expect(
      await messageOf(() =>
        resolveApplication(
          given({ ...inline, environment: "a/b", application: ".x" }, false),
          RUNNER,
          noFile,
        ),
      ),
    ).toBe(
      [
        `input application: ".x" cannot be a segment of a git ref: at most 100 letters, digits, '.', '_' and '-' only, not beginning with '.' or '-'`,
        `input environment: "a/b" cannot be a segment of a git ref: at most 100 letters, digits, '.', '_' and '-' only, not beginning with '.' or '-'`,
      ].join("\n"),
    );
  });
});

describe("the environments that a run serves", () => {
  const select = async (inputs: Readonly<Record<string, string>>, run: Partial<Runner["run"]> = {}) => {
    const application = await resolveApplication(given(inputs), RUNNER, async () => CONFIG);
    const runner = { ...RUNNER, run: { ...RUNNER.run, ...run } };
    const push = pushOf(runner, runner.run.commit);
    return selectEnvironments(application, given(inputs), push, runner.run.event).map(({ name }) => name);
  };

  test.each<[what: string, inputs: Record<string, string>, run: Partial<Runner["run"]>, names: string[]]>([
    ["the pushed branch's, in the file's order", {}, {}, ["qa", "production"]],
    ["the pushed branch's", {}, { branch: "develop" }, ["dev"]],
    ["none for another branch", {}, { branch: "feature/x" }, []],
    ["none for a pushed tag", {}, { branch: undefined }, []],
    ["the one that is named, whatever the branch", { environment: "dev" }, {}, ["dev"]],
    [
      "the one that is named, whatever the event",
      { environment: "qa" },
      { event: "workflow_dispatch" },
      ["qa"],
    ],
  ])("%s", async (_, inputs, run, names) => {
    expect(await select(inputs, run)).toStrictEqual(names);
  });

  test("are, of a workflow_run, those of the branch that was pushed, if its commit is checked out", async () => {
    const application = await resolveApplication(given({}), RUNNER, async () => CONFIG);
    const names = (head_sha: string): string[] => {
      const runner = {
        run: { ...RUNNER.run, event: "workflow_run" },
        payload: { workflow_run: { event: "push", head_branch: "develop", head_sha } },
      };
      const push = pushOf(runner, RUNNER.run.commit);
      return selectEnvironments(application, given({}), push, "workflow_run").map(({ name }) => name);
    };
    expect(names(RUNNER.run.commit)).toStrictEqual(["dev"]);
    expect(() => names("d".repeat(40))).toThrow(
      "input environment: is missing: on workflow_run nothing else says which environment to release to, unless the other workflow ran for a push, and actions/checkout has `ref: ${{ github.event.workflow_run.head_sha }}`. There are: qa, dev, production",
    );
  });

  test("are none that are unknown", async () => {
    expect(await messageOf(() => select({ environment: "prodution" }))).toBe(
      'input environment: there is no environment "prodution" in .github/kiln.yml; did you mean "production"? There are: qa, dev, production',
    );
  });

  test("are none that are unknown; one that begins with the name is proposed first", async () => {
    expect(await messageOf(() => select({ environment: "prod" }))).toContain('did you mean "production"?');
  });

  test.each(["workflow_dispatch", "schedule", "pull_request"])("are not guessed on %s", async (event) => {
    expect(await messageOf(() => select({}, { event }))).toBe(
      `input environment: is missing: on ${event} nothing else says which environment to release to. There are: qa, dev, production`,
    );
  });
});

describe("what an environment takes", () => {
  const environments = async (lists: Readonly<Record<string, string>>) => {
    const config = Object.entries(lists).map(
      ([name, branches]) =>
        `  ${name}: { ${branches}targets: [{ region: eu-west-1, auto-scaling-group: web-${name} }] }\n`,
    );
    const text = `image: { template: web.pkr.hcl }\nenvironments:\n${config.join("")}`;
    return (await resolveApplication(given({}), RUNNER, async () => text)).environments;
  };
  const commit = "c".repeat(40);
  const of = (branch: string | undefined, ...candidates: string[]) => ({ commit, branch, candidates });

  test("is what is on a branch that it lists, and everything where it lists none", async () => {
    const production = await environments({
      production: "branches: [main, 'release/**', '!release/**-rc'], ",
    });
    for (const branch of ["main", "release/1/2"])
      expect(unlistedBranch(production, of(branch), `refs/heads/${branch}`)).toBeUndefined();
    // The merge queue's branches are branches of their own, whatever they are to be merged into.
    for (const branch of ["release/1-rc", "gh-readonly-queue/main/pr-7-0123456"])
      expect(unlistedBranch(production, of(branch), `refs/heads/${branch}`)).toBeDefined();
    for (const lists of ["", "branches: [], "]) {
      const spare = await environments({ spare: lists });
      expect(unlistedBranch(spare, of("feature/x"), "refs/heads/feature/x")).toBeUndefined();
      expect(unlistedBranch(spare, of(undefined), "refs/tags/v1")).toBeUndefined();
    }
  });

  test("is not what is on another branch: it names the branch, and what each environment lists", async () => {
    const some = await environments({
      qa: "branches: main, ",
      dev: "branches: [feature/*], ",
      production: "branches: [main, 'release/*'], ",
    });
    const error = unlistedBranch(some, of("feature/x", "feature/x"), "refs/heads/feature/x");
    expect(error?.message).toBe(
      "qa takes only main; production takes only main, release/*, and this is the branch feature/x",
    );
    expect(error?.state).toBe("Nothing was changed.");
    expect(error?.next).toBe(
      "Release it from a branch that the environment lists. If it is meant to be released from here, set `any-branch: true`.",
    );
  });

  test.each(["refs/tags/v1", "refs/pull/7/merge"])("is not %s, which is no branch", async (ref) => {
    const error = unlistedBranch(await environments({ dev: "branches: ['**'], " }), of(undefined), ref);
    expect(error?.message).toBe(`dev takes only **, and ${ref} is no branch`);
  });

  test("is not a commit that GitHub does not have on the branch", async () => {
    const dev = await environments({ dev: "branches: [develop], " });
    const error = unlistedBranch(dev, of(undefined, "hotfix", "develop"), "refs/heads/develop");
    expect(error?.message).toBe(
      "dev takes only develop, and commit cccccccccccc, which is checked out, is not on hotfix or develop on GitHub",
    );
    expect(error?.next).toContain("If the commit was made in this job, push it first.");
  });
});
