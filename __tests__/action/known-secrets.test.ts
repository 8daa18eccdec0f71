import { describe, expect, test } from "vitest";
import { exposedSecrets } from "../../src/action/exposed-secrets.ts";
import { type Inputs, parseInputs } from "../../src/action/inputs.ts";
import { isSecret, knownSecrets } from "../../src/action/known-secrets.ts";
import type { Run } from "../../src/commands/ports.ts";
import { loadConfig } from "../../src/config/load.ts";

const values = (env: Record<string, string>): string[] => knownSecrets(env).map(({ value }) => value);

describe("the secrets of a step", () => {
  test("are its token, its secret-vars, and what the environment's names say", () => {
    expect(
      values({
        INPUT_TOKEN: " ghs_1 ",
        "INPUT_SECRET-VARS": "a=one1\nb<<END\ntwo\nthree\nEND\nc=\nd=x",
        INPUT_REASON: "because",
        AWS_SECRET_ACCESS_KEY: "key",
        AWS_SESSION_TOKEN: "session",
        AWS_ACCESS_KEY_ID: "AKIA1",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request",
        npm_token: "long enough",
        CI_TOKEN: "none",
        TOKENIZER: "long enough as well",
        AWS_WEB_IDENTITY_TOKEN_FILE: "/var/run/secrets/token",
        EMPTY_SECRET: "  ",
      }),
    ).toStrictEqual(["ghs_1", "one1", "two\nthree", "key", "session", "AKIA1", "request", "long enough"]);
  });

  test("are all lines and pieces of secret-vars that are not what they should be, and of inputs that there are not", () => {
    const found = values({
      "INPUT_SECRET-VARS": "key=-----BEGIN-----\nc2VjcmV0==\nmore",
      INPUT_SECRET_VAR: "x=four",
    });
    for (const value of ["-----BEGIN-----", "c2VjcmV0==", "c2VjcmV0", "more", "four"])
      expect(found).toContain(value);
  });

  test.each([
    ["DEPLOY_PRIVATE_KEY", true],
    ["PKR_VAR_db_password", true],
    ["KEY_NAME", false],
    ["SECRETARY", false],
  ])("%s: %s", (name, is) => {
    expect(isSecret(name, "a long value")).toBe(is);
  });
});

describe("a secret in plain sight", () => {
  const APPLICATION = loadConfig(
    `application: web-shop
image: { template: packer/web.pkr.hcl, vars: { mirror: "https://ada:hunter2@example.org" } }
environments:
  dev:
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
    rollout: { smoke-test: "curl -u ada:hunter2 localhost" }
`,
    "kiln.yml",
    "web",
  );
  const RUN: Run = {
    repository: "acme/web",
    id: "1",
    attempt: "1",
    url: "",
    actor: "ada-l",
    commit: "",
    branch: "feature/hunter2",
    event: "push",
    serverUrl: "",
  };
  const given = (inputs: Record<string, string>): Inputs =>
    parseInputs({ token: "ghs_1", config: "kiln.yml", ...inputs }, () => true);
  const places = (inputs: Inputs, value: string, sensitive: string[] = []): string[] =>
    exposedSecrets(
      [
        { name: "secret-vars' pass", value },
        { name: "secret-vars' pass", value },
      ],
      inputs,
      APPLICATION,
      RUN,
      new Set(sensitive),
    ).map(({ where }) => where);

  test("is told with all its places, each once", () => {
    const inputs = given({ version: "v1-hunter2", vars: "a=hunter2", command: "bake" });
    expect(places(inputs, "hunter2")).toStrictEqual([
      "input version",
      'input vars, "a"',
      'kiln.yml: vars, "mirror"',
      "kiln.yml: environment dev: its smoke test",
      "the branch",
    ]);
    expect(places(inputs, "hunter2", ["a", "mirror"])).not.toContain('input vars, "a"');
  });

  test.each([
    ["dev", ["kiln.yml: environment dev: its name", "kiln.yml: environment dev: a target's group"]],
    ["web-shop", ["kiln.yml: the application's name"]],
    ["hunter3", []],
    ["first line\nweb-shop", ["kiln.yml: the application's name"]],
    ["first line\ndev\n", []],
  ])("%j is in %j", (value, where) => {
    expect(places(given({}), value)).toStrictEqual(where);
  });

  test("is never repeated", () => {
    const [problem] = exposedSecrets(
      [{ name: "secret-vars' pass", value: "web-shop" }],
      given({}),
      APPLICATION,
      RUN,
      new Set(),
    );
    expect(problem?.message).toContain("holds the value of secret-vars' pass.");
    expect(problem?.message).not.toContain("web-shop");
  });
});
