import { describe, expect, test } from "vitest";
import type { EC2Client } from "@aws-sdk/client-ec2";
import { deprecate, deregisterWithSnapshots, launchedImages, listImages } from "../../src/image/retire.ts";
import { planRetirement, type RetirementWorld, type StoredImage } from "../../src/image/retirement.ts";
import { RemoteError } from "../../src/domain/errors.ts";
import { carriedOut, DAY, daysAgo, idOf, NOW, OURS, storedImage, TAGS, worldOf } from "./stored-images.ts";

/** What is planned for image 1, where image 9 is newer. */
function fate(changes: Partial<StoredImage>, world: Partial<RetirementWorld> = {}) {
  const images = [storedImage(1, changes), storedImage(9, { created: daysAgo(90) })];
  return planRetirement(worldOf(images, world))
    .steps.filter(({ image }) => image.id === idOf(1))
    .map(({ action, why }) => [action, why]);
}

describe("an image that nothing needs", () => {
  test("is deprecated first", () => {
    expect(fate({})).toStrictEqual([
      ["deprecated", "nothing runs it, and it is not among the last 10 releases of any environment"],
    ]);
  });

  test("waits for its time of grace to end", () => {
    expect(fate({ deprecated: daysAgo(13.9) })).toStrictEqual([
      ["waiting", "deprecated since 2026-11-07; it goes from 2026-11-21 on"],
    ]);
  });

  test.each([14, 15, 400])("is deregistered %d days after it was deprecated", (days) => {
    expect(fate({ deprecated: daysAgo(days) })).toMatchObject([["deregistered", /still nothing needs it/]]);
  });

  test("whose deprecation the template has set far ahead is deprecated now", () => {
    expect(fate({ deprecated: daysAgo(-30) })).toMatchObject([["deprecated", expect.anything()]]);
  });

  test("is not deprecated again where that begins in a minute", () => {
    expect(fate({ deprecated: new Date(NOW.getTime() + 60_000) })).toMatchObject([
      ["waiting", expect.anything()],
    ]);
  });
});

describe("an image stays", () => {
  test.each<[what: string, image: Partial<StoredImage>, world: Partial<RetirementWorld>]>([
    ["that something needs", {}, { needed: new Map([[idOf(1), "a target runs it"]]) }],
    ["that has instances", {}, { launched: new Set([idOf(1)]) }],
    ["that is young", { created: daysAgo(6.9) }, {}],
    ["that was launched lately", { lastLaunched: daysAgo(6.9) }, {}],
    ["that is the newest of its region", { region: "us-east-1" }, {}],
    ["that is being made", { state: "pending" }, {}],
    ["that somebody disabled", { state: "disabled" }, {}],
    ["that failed", { state: "failed" }, {}],
    ["of another account", { owner: "222222222222" }, {}],
    ["of another application", { tags: { ...TAGS, "kiln:application": "api" } }, {}],
    ["of another repository", { tags: { ...TAGS, "kiln:repository": "acme/other" } }, {}],
    ["without a digest", { tags: { ...TAGS, "kiln:digest": "" } }, {}],
    ["with a malformed digest", { tags: { ...TAGS, "kiln:digest": "sha256:abc" } }, {}],
  ])("%s", (_, image, world) => {
    expect(fate(image, world)).toStrictEqual([]);
    // However long ago it was deprecated.
    const kinds = fate({ ...image, deprecated: daysAgo(300) }, world).map(([action]) => action);
    expect(kinds.filter((action) => action !== "restored")).toStrictEqual([]);
  });
});

describe("an image that is needed again", () => {
  const needed = new Map([[idOf(1), "release/dev/000007 names it"]]);

  test("gets its deprecation taken back", () => {
    expect(fate({ deprecated: daysAgo(20) }, { needed })).toStrictEqual([
      ["restored", "release/dev/000007 names it"],
    ]);
  });

  test("keeps a deprecation that somebody has planned far ahead", () => {
    expect(fate({ deprecated: daysAgo(-30) }, { needed })).toStrictEqual([]);
  });

  test("that is only young keeps the deprecation that somebody gave it", () => {
    const images = [
      storedImage(1, { created: daysAgo(2), deprecated: daysAgo(1) }),
      storedImage(9, { created: NOW }),
    ];
    expect(planRetirement(worldOf(images)).steps).toStrictEqual([]);
  });

  test("by an environment's newest record is protected too, once", () => {
    const current = new Set([idOf(1)]);
    expect(fate({}, { needed, current })).toStrictEqual([["protected", "release/dev/000007 names it"]]);
    expect(fate({ protection: "with cooldown" }, { needed, current })).toStrictEqual([]);
  });
});

test("what is kept is counted, and foreign images are not", () => {
  const images = [
    storedImage(1),
    storedImage(2, { created: daysAgo(1) }),
    storedImage(3, { owner: "222222222222" }),
  ];
  expect(planRetirement(worldOf(images)).kept).toBe(1);
});

test("a second run changes nothing more", () => {
  const images = [storedImage(1, { protection: "with cooldown" }), storedImage(9, { created: daysAgo(90) })];
  const after = carriedOut(images, planRetirement(worldOf(images)), NOW);
  const later = new Date(NOW.getTime() + 60_000);
  expect(planRetirement(worldOf(after, { now: later })).steps).toMatchObject([{ action: "waiting" }]);
  const end = new Date(NOW.getTime() + 14 * DAY + 3 * 60_000);
  expect(planRetirement(worldOf(after, { now: end })).steps).toMatchObject([{ action: "deregistered" }]);
});

type Input = Readonly<Record<string, unknown>>;

/** EC2 that answers each operation as told; what it was asked stays. */
function ec2With(answers: Readonly<Record<string, (input: Input) => unknown>>) {
  const asked: string[] = [];
  const send = async (command: {
    readonly constructor: { readonly name: string };
    readonly input: Input;
  }) => {
    const operation = command.constructor.name.replace(/Command$/, "");
    asked.push(operation);
    return answers[operation]?.(command.input) ?? {};
  };
  return { ec2: { send } as unknown as EC2Client, asked };
}

describe("AWS is asked", () => {
  test("for all pages of images, in whatever form they are described", async () => {
    const pages = [
      {
        Images: [{ ImageId: idOf(1), Name: "web-1", CreationDate: "2026-11-01T00:00:00.000Z" }],
        NextToken: "t",
      },
      {
        Images: [
          {
            ImageId: idOf(2),
            DeregistrationProtection: "enabled-with-cooldown",
            DeprecationTime: "2026-11-02T00:00:00.000Z",
            LastLaunchedTime: "2026-11-03T00:00:00Z",
            BlockDeviceMappings: [
              { Ebs: { SnapshotId: "snap-1", VolumeSize: 8 } },
              { VirtualName: "ephemeral0" },
              { Ebs: { SnapshotId: "snap-2", VolumeSize: 30 } },
            ],
          },
          { ImageId: "ami-of-nobody" },
        ],
      },
    ];
    const { ec2, asked } = ec2With({ DescribeImages: ({ NextToken }) => pages[NextToken === "t" ? 1 : 0] });
    const [first, second, ...more] = await listImages(ec2, "eu-west-1", OURS);
    expect(asked).toHaveLength(2);
    expect(more).toStrictEqual([]);
    expect(first).toMatchObject({ id: idOf(1), protection: "none", snapshots: [], deprecated: undefined });
    expect(second).toMatchObject({
      protection: "with cooldown",
      deprecated: new Date("2026-11-02T00:00:00Z"),
      lastLaunched: new Date("2026-11-03T00:00:00Z"),
      snapshots: [
        { id: "snap-1", gigabytes: 8 },
        { id: "snap-2", gigabytes: 30 },
      ],
    });
    // An image without a date is left alone.
    expect(second?.state).toBe("of unknown age");
  });

  test("for instances of many images in as many requests as its filter needs", async () => {
    const ids = Array.from({ length: 401 }, (_, index) => idOf(index));
    const { ec2, asked } = ec2With({
      DescribeInstances: (input) => {
        const [filter] = input["Filters"] as readonly { readonly Values: readonly string[] }[];
        const [first] = filter?.Values ?? [];
        return input["NextToken"] === undefined
          ? { Reservations: [], NextToken: "t" }
          : { Reservations: [{ Instances: [{ ImageId: first }] }] };
      },
    });
    expect(await launchedImages(ec2, ids)).toStrictEqual(new Set([ids[0], ids[200], ids[400]]));
    expect(asked).toHaveLength(6);
    expect(await launchedImages(ec2, [])).toStrictEqual(new Set());
    expect(asked).toHaveLength(6);
  });

  test("to take a protection off before it is asked to deprecate", async () => {
    const { ec2, asked } = ec2With({});
    await deprecate(ec2, storedImage(1, { protection: "with cooldown" }), NOW);
    expect(asked).toStrictEqual(["DisableImageDeregistrationProtection", "EnableImageDeprecation"]);
  });

  test("to deprecate in a moment, not in the past", async () => {
    const inputs: Input[] = [];
    const { ec2, asked } = ec2With({ EnableImageDeprecation: (input) => inputs.push(input) });
    await deprecate(ec2, storedImage(1), NOW);
    expect(asked).toStrictEqual(["EnableImageDeprecation"]);
    expect(inputs).toStrictEqual([{ ImageId: idOf(1), DeprecateAt: new Date("2026-11-21T12:02:00Z") }]);
  });
});

describe("a deregistration", () => {
  test("tells the snapshots that are left", async () => {
    const { ec2 } = ec2With({
      DeregisterImage: () => ({
        DeleteSnapshotResults: [
          { SnapshotId: "snap-1", ReturnCode: "success" },
          { SnapshotId: "snap-2", ReturnCode: "skipped" },
          { SnapshotId: "snap-3", ReturnCode: "missing-permissions" },
        ],
      }),
    });
    expect(await deregisterWithSnapshots(ec2, storedImage(1))).toStrictEqual({
      left: [
        { snapshot: "snap-2", code: "skipped" },
        { snapshot: "snap-3", code: "missing-permissions" },
      ],
    });
  });

  test("of an image whose protection cools down is left", async () => {
    const cooling = ec2With({});
    const image = storedImage(1, { protection: "with cooldown" });
    expect(await deregisterWithSnapshots(cooling.ec2, image)).toBe("cooling down");
    expect(cooling.asked).toStrictEqual(["DisableImageDeregistrationProtection"]);
    const refused = ec2With({
      DeregisterImage: () => {
        throw new RemoteError("no", { code: "OperationNotPermitted" });
      },
    });
    expect(await deregisterWithSnapshots(refused.ec2, storedImage(1))).toBe("cooling down");
  });

  test("of one that is only protected follows at once", async () => {
    const { ec2, asked } = ec2With({});
    expect(
      await deregisterWithSnapshots(ec2, storedImage(1, { protection: "without cooldown" })),
    ).toStrictEqual({ left: [] });
    expect(asked).toStrictEqual(["DisableImageDeregistrationProtection", "DeregisterImage"]);
  });
});
