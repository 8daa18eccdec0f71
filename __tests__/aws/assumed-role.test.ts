import type { STSClient } from "@aws-sdk/client-sts";
import { expect, test } from "vitest";
import { accountOfRole, roleCredentials } from "../../src/aws/assumed-role.ts";

const ROLE = "arn:aws:iam::222222222222:role/deploy/web";

function fakeSts(answer: object): { readonly asked: unknown[]; readonly client: () => Promise<STSClient> } {
  const asked: unknown[] = [];
  const send = async (command: { readonly input: unknown }): Promise<object> => {
    asked.push(command.input);
    return { Credentials: answer };
  };
  return { asked, client: async () => ({ send }) as unknown as STSClient };
}

test("a role's credentials come with their end, so that the SDK asks again before it", async () => {
  const Expiration = new Date("2026-11-20T11:00:00Z");
  const { asked, client } = fakeSts({
    AccessKeyId: "ASIA",
    SecretAccessKey: "s",
    SessionToken: "t",
    Expiration,
  });
  const provide = roleCredentials(
    {
      arn: ROLE,
      sessionName: "kiln 42/1",
      tags: { "kiln:environment": "production", long: "x".repeat(300) },
    },
    client,
  );
  expect(await provide()).toEqual({
    accessKeyId: "ASIA",
    secretAccessKey: "s",
    sessionToken: "t",
    expiration: Expiration,
  });
  expect(asked).toEqual([
    {
      RoleArn: ROLE,
      RoleSessionName: "kiln-42-1",
      DurationSeconds: 3600,
      Tags: [
        { Key: "kiln:environment", Value: "production" },
        { Key: "long", Value: "x".repeat(256) },
      ],
    },
  ]);
});

test.each([
  [ROLE, "222222222222"],
  ["arn:aws-cn:iam::333333333333:role/web", "333333333333"],
])("%s is of account %s", (arn, account) => {
  expect(accountOfRole(arn)).toBe(account);
});
