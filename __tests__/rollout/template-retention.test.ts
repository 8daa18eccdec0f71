import type { EC2Client, LaunchTemplateVersion } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { deleteOldVersions, VERSIONS_KEPT } from "../../src/rollout/template-retention.ts";

interface Asked {
  readonly operation: string;
  readonly input: Readonly<Record<string, unknown>>;
}

/** EC2 with these versions of one template, of which it answers a page. */
function ec2With(versions: readonly LaunchTemplateVersion[], undeletable: ReadonlySet<string> = new Set()) {
  const asked: Asked[] = [];
  const client = {
    send: async (command: {
      readonly constructor: { readonly name: string };
      readonly input: Readonly<Record<string, unknown>>;
    }) => {
      const operation = command.constructor.name.replace(/Command$/, "");
      asked.push({ operation, input: command.input });
      if (operation === "DescribeLaunchTemplateVersions") return { LaunchTemplateVersions: versions };
      const numbers = command.input["Versions"] as readonly string[];
      return {
        SuccessfullyDeletedLaunchTemplateVersions: numbers
          .filter((number) => !undeletable.has(number))
          .map((number) => ({ VersionNumber: Number(number) })),
      };
    },
  };
  return { ec2: client as unknown as EC2Client, asked };
}

const ours = (number: number, changes: Partial<LaunchTemplateVersion> = {}): LaunchTemplateVersion => ({
  VersionNumber: number,
  VersionDescription: `Kiln: web-v1 ami-0aaaaaaaaaaaaaaaa, from version ${number - 1}`,
  DefaultVersion: false,
  ...changes,
});
const newest = (version: number) => ({ id: "lt-1", name: "web", version: String(version) });
const none = new Set<string>();

describe("old versions of a template", () => {
  test.each([1, 2, 199, 200])("are not even looked for at version %i", async (version) => {
    const { ec2, asked } = ec2With([ours(1)]);
    expect(await deleteOldVersions(ec2, newest(version), none)).toStrictEqual([]);
    expect(asked).toStrictEqual([]);
  });

  test("are looked for far below the newest, and deleted, in two requests", async () => {
    const { ec2, asked } = ec2With([ours(50), ours(49)]);
    expect(await deleteOldVersions(ec2, newest(250), none)).toStrictEqual(["50", "49"]);
    expect(asked).toStrictEqual([
      {
        operation: "DescribeLaunchTemplateVersions",
        input: { LaunchTemplateId: "lt-1", MaxVersion: "50", MaxResults: 200 },
      },
      {
        operation: "DeleteLaunchTemplateVersions",
        input: { LaunchTemplateId: "lt-1", Versions: ["50", "49"] },
      },
    ]);
  });

  test.each<[what: string, kept: LaunchTemplateVersion]>([
    ["that somebody else described", ours(7, { VersionDescription: "made by hand" })],
    ["that mention Kiln elsewhere", ours(7, { VersionDescription: "like Kiln: web" })],
    ["that begin almost like ours", ours(7, { VersionDescription: "kiln: web" })],
    ["without a description", { VersionNumber: 7, DefaultVersion: false }],
    ["that are the default", ours(7, { DefaultVersion: true })],
    ["that are needed", ours(9)],
    ["that are not that old, should AWS answer them all the same", ours(51)],
    ["without a number", { VersionDescription: "Kiln: web" }],
  ])("%s are kept", async (_, kept) => {
    const { ec2, asked } = ec2With([kept]);
    expect(await deleteOldVersions(ec2, newest(50 + VERSIONS_KEPT), new Set(["9"]))).toStrictEqual([]);
    expect(asked.map(({ operation }) => operation)).toStrictEqual(["DescribeLaunchTemplateVersions"]);
    // Beside one that can go, too.
    const beside = ec2With([kept, ours(3)]);
    expect(await deleteOldVersions(beside.ec2, newest(50 + VERSIONS_KEPT), new Set(["9"]))).toStrictEqual([
      "3",
    ]);
  });

  test("are deleted at most 200 at a time", async () => {
    const { ec2, asked } = ec2With(Array.from({ length: 205 }, (_, index) => ours(300 - index)));
    expect(await deleteOldVersions(ec2, newest(500), none)).toHaveLength(200);
    expect(asked[1]?.input["Versions"]).toHaveLength(200);
  });

  test("that AWS did not delete are not reported as gone", async () => {
    const { ec2 } = ec2With([ours(3), ours(2)], new Set(["3"]));
    expect(await deleteOldVersions(ec2, newest(500), none)).toStrictEqual(["2"]);
  });
});
