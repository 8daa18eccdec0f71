import type { AutoScalingClient, AutoScalingGroup } from "@aws-sdk/client-auto-scaling";
import type { EC2Client, LaunchTemplateVersion } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { deleteOldVersions, VERSIONS_KEPT } from "../../src/rollout/template-retention.ts";

interface Asked {
  readonly operation: string;
  readonly input: Readonly<Record<string, unknown>>;
}

/** EC2 with these versions of one template, of which it answers a page. */
function awsWith(
  versions: readonly LaunchTemplateVersion[],
  undeletable: ReadonlySet<string> = new Set(),
  groups: readonly AutoScalingGroup[] = [],
) {
  const asked: Asked[] = [];
  const client = {
    send: async (command: {
      readonly constructor: { readonly name: string };
      readonly input: Readonly<Record<string, unknown>>;
    }) => {
      const operation = command.constructor.name.replace(/Command$/, "");
      asked.push({ operation, input: command.input });
      if (operation === "DescribeLaunchTemplateVersions") return { LaunchTemplateVersions: versions };
      if (operation === "DescribeAutoScalingGroups") {
        const [first, ...others] = groups;
        if (command.input["NextToken"] === "more") return { AutoScalingGroups: others };
        return { AutoScalingGroups: first === undefined ? [] : [first], NextToken: "more" };
      }
      const numbers = command.input["Versions"] as readonly string[];
      return {
        SuccessfullyDeletedLaunchTemplateVersions: numbers
          .filter((number) => !undeletable.has(number))
          .map((number) => ({ VersionNumber: Number(number) })),
      };
    },
  };
  const clients = {
    ec2: client as unknown as EC2Client,
    autoScaling: client as unknown as AutoScalingClient,
  };
  return { clients, asked };
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
    const { clients, asked } = awsWith([ours(1)]);
    expect(await deleteOldVersions(clients, newest(version), none)).toStrictEqual([]);
    expect(asked).toStrictEqual([]);
  });

  test("are looked for far below the newest, and deleted, in few requests", async () => {
    const { clients, asked } = awsWith([ours(50), ours(49)]);
    expect(await deleteOldVersions(clients, newest(250), none)).toStrictEqual(["50", "49"]);
    expect(asked).toStrictEqual([
      {
        operation: "DescribeLaunchTemplateVersions",
        input: { LaunchTemplateId: "lt-1", MaxVersion: "50", MaxResults: 200 },
      },
      { operation: "DescribeAutoScalingGroups", input: { MaxRecords: 100 } },
      { operation: "DescribeAutoScalingGroups", input: { MaxRecords: 100, NextToken: "more" } },
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
    const { clients, asked } = awsWith([kept]);
    expect(await deleteOldVersions(clients, newest(50 + VERSIONS_KEPT), new Set(["9"]))).toStrictEqual([]);
    expect(asked.map(({ operation }) => operation)).toStrictEqual(["DescribeLaunchTemplateVersions"]);
    // Beside one that can go, too.
    const beside = awsWith([kept, ours(3)]);
    expect(await deleteOldVersions(beside.clients, newest(50 + VERSIONS_KEPT), new Set(["9"]))).toStrictEqual(
      ["3"],
    );
  });

  test("are deleted at most 200 at a time", async () => {
    const { clients, asked } = awsWith(Array.from({ length: 205 }, (_, index) => ours(300 - index)));
    expect(await deleteOldVersions(clients, newest(500), none)).toHaveLength(200);
    expect(asked.at(-1)?.input["Versions"]).toHaveLength(200);
  });

  test("that AWS did not delete are not reported as gone", async () => {
    const { clients } = awsWith([ours(3), ours(2)], new Set(["3"]));
    expect(await deleteOldVersions(clients, newest(500), none)).toStrictEqual(["2"]);
  });

  const pinned = { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: "3" };
  const byName = { LaunchTemplateName: "web", Version: "3" };
  const group = (changes: Partial<AutoScalingGroup>): AutoScalingGroup =>
    ({ AutoScalingGroupName: "elsewhere", ...changes }) as AutoScalingGroup;

  test.each<[where: string, group: AutoScalingGroup]>([
    ["a group's template", group({ LaunchTemplate: pinned })],
    ["a group's template by its name", group({ LaunchTemplate: byName })],
    [
      "a mixed instances policy",
      group({ MixedInstancesPolicy: { LaunchTemplate: { LaunchTemplateSpecification: pinned } } }),
    ],
    [
      "an override",
      group({
        MixedInstancesPolicy: { LaunchTemplate: { Overrides: [{ LaunchTemplateSpecification: byName }] } },
      }),
    ],
    [
      "what an instance was launched from",
      group({
        Instances: [{ LaunchTemplate: pinned } as NonNullable<AutoScalingGroup["Instances"]>[number]],
      }),
    ],
  ])("that %s names are kept, though no target's group does", async (_, used) => {
    const groups = [group({}), used];
    const { clients } = awsWith([ours(3), ours(2)], new Set(), groups);
    expect(await deleteOldVersions(clients, newest(500), none)).toStrictEqual(["2"]);
    const only = awsWith([ours(3)], new Set(), groups);
    expect(await deleteOldVersions(only.clients, newest(500), none)).toStrictEqual([]);
    expect(only.asked.map(({ operation }) => operation)).not.toContain("DeleteLaunchTemplateVersions");
  });

  test("that groups of another template name are none of ours", async () => {
    const other = group({ LaunchTemplate: { LaunchTemplateId: "lt-2", Version: "3" } });
    const { clients } = awsWith([ours(3)], new Set(), [other]);
    expect(await deleteOldVersions(clients, newest(500), none)).toStrictEqual(["3"]);
  });
});
