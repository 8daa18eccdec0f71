import { describe, expect, test } from "vitest";
import { type Inputs, parseInputs } from "../../src/action/inputs.ts";
import type { Runner } from "../../src/action/runner.ts";
import { resolveApplication, selectEnvironments } from "../../src/action/selection.ts";
import type { Application } from "../../src/domain/application.ts";
import { InvalidInputError } from "../../src/domain/errors.ts";

const RUNNER: Runner = {
  workspace: "/work",
  temporaryFolder: "/tmp",
  eventPath: undefined,
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
    const application = await resolveApplication(given({ config: "ops/kiln.yml" }), RUNNER, async (path) => {
      read.push(path);
      return CONFIG;
    });
    expect(read).toStrictEqual(["ops/kiln.yml"]);
    expect(application.name).toBe("shop");
    expect(application.environments.map(({ name }) => name)).toStrictEqual(["qa", "dev", "production"]);
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
    return selectEnvironments(application, given(inputs), { ...RUNNER.run, ...run }).map(({ name }) => name);
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
