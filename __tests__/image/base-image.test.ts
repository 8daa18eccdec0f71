import { DescribeImagesCommand, type EC2Client, type Image as Ec2Image } from "@aws-sdk/client-ec2";
import { describe, expect, test } from "vitest";
import { RemoteError } from "../../src/domain/errors.ts";
import { type ImageId, TAG } from "../../src/domain/image.ts";
import {
  type BaseImage,
  describeBase,
  describeFreshness,
  familyOf,
  newerBase,
} from "../../src/image/base-image.ts";
import { findByIds } from "../../src/image/catalogue.ts";
import { home, setStage } from "../sandbox/ec2-stage.ts";

const CANONICAL = "099720109477";
const NOBLE = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server";
const NOW = new Date("2026-11-18T10:00:00Z");
const id = (digit: string): ImageId => `ami-0${digit.repeat(16)}`;

const base = (changes: Partial<BaseImage> = {}): BaseImage => ({
  id: id("a"),
  region: "eu-west-1",
  name: `${NOBLE}-20261006`,
  owner: CANONICAL,
  architecture: "x86_64",
  created: new Date("2026-10-06T10:00:00Z"),
  tags: {},
  virtualization: "hvm",
  rootDevice: "ebs",
  ...changes,
});

const family = (name: string) => familyOf(base({ name }));

describe("a family", () => {
  test.each<[name: string, pattern: string]>([
    [`${NOBLE}-20261101`, `${NOBLE}-*`],
    [`${NOBLE}-20261101.1`, `${NOBLE}-*`],
    [
      "ubuntu-eks/k8s_1.33/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101",
      "ubuntu-eks/k8s_1.33/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*",
    ],
    ["al2023-ami-2023.6.20261101.0-kernel-6.1-x86_64", "al2023-ami-2023.*-kernel-6.1-x86_64"],
    ["al2023-ami-minimal-2023.10.20261101.0-kernel-6.1-arm64", "al2023-ami-minimal-2023.*-kernel-6.1-arm64"],
    ["al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64", "al2023-ami-ecs-hvm-2023.*-kernel-6.1-x86_64"],
    ["amzn2-ami-hvm-2.0.20260101.0-x86_64-gp2", "amzn2-ami-hvm-2.0.*-x86_64-gp2"],
    ["amzn2-ami-kernel-5.10-hvm-2.0.20260101.0-x86_64-gp2", "amzn2-ami-kernel-5.10-hvm-2.0.*-x86_64-gp2"],
    ["amzn-ami-hvm-2018.03.0.20231218.0-x86_64-gp2", "amzn-ami-hvm-2018.03.0.*-x86_64-gp2"],
    [
      "amazon-eks-node-al2023-x86_64-standard-1.33-v20261101",
      "amazon-eks-node-al2023-x86_64-standard-1.33-v*",
    ],
    ["Debian-12-amd64-20261101-1234", "Debian-12-amd64-*"],
    ["debian-12-amd64-20261101-1234-prod-s2fy2g55okxhk", "debian-12-amd64-*-prod-s2fy2g55okxhk"],
    [
      "debian-11-amd64-20231013-1532-a264997c-d509-4a51-8e85-20231013e8ba",
      "debian-11-amd64-*-a264997c-d509-4a51-8e85-20231013e8ba",
    ],
    [
      "debian-11-amd64-20231013-1532-20240101-d509-4a51-8e85-202310131111",
      "debian-11-amd64-*-20240101-d509-4a51-8e85-202310131111",
    ],
    ["RHEL-9.4.0_HVM-20260101-x86_64-12-Hourly2-GP3", "RHEL-9.4.0_HVM-*-x86_64-*-Hourly2-GP3"],
    ["RHEL-9.0.0_HVM_GA-20260101-arm64-0-Hourly2-GP3", "RHEL-9.0.0_HVM_GA-*-arm64-*-Hourly2-GP3"],
    ["Rocky-9-EC2-Base-9.4-20261101.0.x86_64", "Rocky-9-EC2-Base-9.4-*.x86_64"],
    ["AlmaLinux OS 9.4.20261101 x86_64", "AlmaLinux OS 9.4.* x86_64"],
    ["CentOS-7-2111-20220825_1.x86_64", "CentOS-7-2111-*.x86_64"],
    ["OL9.4-x86_64-HVM-2026-11-01", "OL9.4-x86_64-HVM-*"],
    ["suse-sles-15-sp5-v20261101-hvm-ssd-x86_64", "suse-sles-15-sp5-v*-hvm-ssd-x86_64"],
    ["Windows_Server-2022-English-Full-Base-2026.10.15", "Windows_Server-2022-English-Full-Base-*"],
    ["Windows_Server-2022-English-Full-Base-2026.11.1", "Windows_Server-2022-English-Full-Base-*"],
    [
      "Windows_Server-2022-English-Full-SQL_2022_Standard-2026.10.15",
      "Windows_Server-2022-English-Full-SQL_2022_Standard-*",
    ],
    [
      "Deep Learning AMI GPU PyTorch 2.1.0 (Ubuntu 20.04) 20261101",
      "Deep Learning AMI GPU PyTorch 2.1.0 (Ubuntu 20.04) *",
    ],
    ["bottlerocket-aws-k8s-1.33-x86_64-v1.26.1-943d9a41", "bottlerocket-aws-k8s-1.33-x86_64-v1.*"],
    ["bottlerocket-aws-ecs-2-nvidia-aarch64-v1.26.1-94399941", "bottlerocket-aws-ecs-2-nvidia-aarch64-v1.*"],
    ["golden-1793526000", "golden-*"],
    ["golden-202611011530", "golden-*"],
    ["golden-20261101153000", "golden-*"],
    ["golden-2026-11-01-1530", "golden-*"],
    ["golden 2026-11-01T15-30-12.123Z", "golden *"],
    ["golden-2026-11-01T15:30:12Z", "golden-*"],
    ["20261101-golden", "*-golden"],
  ])("of %s", (name, pattern) => {
    expect(family(name)).toBe(pattern);
  });

  test.each([
    "web-v1-0123456789ab",
    "web-v1-0123456789ab-2",
    "web-20261101-0123456789ab",
    "web-20261101-abcdefabcdef",
    "web-20261101-abcdefabcdef-12",
    "golden",
    "golden-24.04",
    "golden-2026",
    "golden-3.2026.1.2",
    "golden-20261301",
    "golden-20260132",
    "golden-12026110",
    "golden-a20261101",
    "Flatcar-stable-3815.2.0-hvm",
    "FreeBSD 14.1-RELEASE-amd64 UFS",
    "FreeBSD 15.0-CURRENT-amd64-20261101-3b15beb30b3b-267100 UFS",
    "fedora-coreos-39.20261101.3.0-x86_64",
    "golden-20261101-g3b15beb",
    "golden-20261101-1234567",
    "20261101",
    "v20261101",
    "",
  ])("of %j is not known", (name) => {
    expect(family(name)).toBeUndefined();
  });

  test.each([TAG.digest, TAG.application])("of an image with %s is not known", (tag) => {
    expect(familyOf(base({ tags: { [tag]: "web" } }))).toBeUndefined();
  });

  test.each<[what: string, one: string, other: string]>([
    ["release", `${NOBLE}-20261101`, "ubuntu/images/hvm-ssd-gp3/ubuntu-jammy-22.04-amd64-server-20261101"],
    ["architecture", `${NOBLE}-20261101`, `${NOBLE.replace("amd64", "arm64")}-20261101`],
    [
      "size",
      `${NOBLE}-20261101`,
      "ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-minimal-20261101",
    ],
    ["volume", `${NOBLE}-20261101`, `${NOBLE.replace("hvm-ssd-gp3", "hvm-ssd")}-20261101`],
    [
      "size of Amazon Linux",
      "al2023-ami-2023.6.20261101.0-kernel-6.1-x86_64",
      "al2023-ami-minimal-2023.6.20261101.0-kernel-6.1-x86_64",
    ],
    [
      "kernel",
      "al2023-ami-2023.6.20261101.0-kernel-6.1-x86_64",
      "al2023-ami-2023.6.20261101.0-kernel-6.12-x86_64",
    ],
    [
      "RHEL's minor version",
      "RHEL-9.4.0_HVM-20260101-x86_64-12-Hourly2-GP3",
      "RHEL-9.5.0_HVM-20260101-x86_64-12-Hourly2-GP3",
    ],
    [
      "licence",
      "RHEL-9.4.0_HVM-20260101-x86_64-12-Hourly2-GP3",
      "RHEL-9.4.0_HVM-20260101-x86_64-12-Access2-GP3",
    ],
    [
      "publisher's channel",
      "debian-12-amd64-20261101-1234",
      "debian-12-amd64-20261101-1234-prod-s2fy2g55okxhk",
    ],
    [
      "Kubernetes version",
      "bottlerocket-aws-k8s-1.33-x86_64-v1.26.1-943d9a41",
      "bottlerocket-aws-k8s-1.34-x86_64-v1.26.1-943d9a41",
    ],
    [
      "edition",
      "Windows_Server-2022-English-Full-Base-2026.10.15",
      "Windows_Server-2022-English-Core-Base-2026.10.15",
    ],
  ])("differs by %s", (_, one, other) => {
    expect(family(one)).toBeDefined();
    expect(family(other)).toBeDefined();
    expect(family(one)).not.toBe(family(other));
  });
});

/** EC2 that answers these pages, one a request, or refuses. */
function ec2With(...pages: readonly (readonly Ec2Image[] | Error)[]) {
  const asked: unknown[] = [];
  const client = {
    send: async (command: unknown) => {
      expect(command).toBeInstanceOf(DescribeImagesCommand);
      const page = pages[asked.push((command as DescribeImagesCommand).input) - 1];
      if (page === undefined || page instanceof Error) throw page ?? new Error("too many requests");
      return {
        Images: page.length === 0 ? undefined : page,
        NextToken: asked.length < pages.length ? `page ${asked.length + 1}` : undefined,
      };
    },
  };
  return { ec2: client as unknown as EC2Client, asked };
}

const described = (changes: Partial<Ec2Image> = {}): Ec2Image => ({
  ImageId: id("b"),
  Name: `${NOBLE}-20261101`,
  OwnerId: CANONICAL,
  Architecture: "x86_64",
  CreationDate: "2026-11-01T10:00:00.000Z",
  VirtualizationType: "hvm",
  RootDeviceType: "ebs",
  DeprecationTime: "2028-11-01T10:00:00.000Z",
  ...changes,
});

const denied = new RemoteError("The role may not do ec2:DescribeImages in eu-west-1", {
  code: "UnauthorizedOperation",
});
const newer = base({
  id: id("b"),
  name: `${NOBLE}-20261101`,
  created: new Date("2026-11-01T10:00:00Z"),
});

describe("the base image", () => {
  test("is asked for by filter, deprecated or not", async () => {
    const { ec2, asked } = ec2With([described()]);
    expect(await describeBase(ec2, "eu-west-1", id("b"))).toStrictEqual({ kind: "found", image: newer });
    expect(asked).toStrictEqual([
      { IncludeDeprecated: true, Filters: [{ Name: "image-id", Values: [id("b")] }] },
    ]);
  });

  test("keeps its tags", async () => {
    const { ec2 } = ec2With([described({ Tags: [{ Key: TAG.digest, Value: "sha256:1" }, {}] })]);
    expect(await describeBase(ec2, "eu-west-1", id("b"))).toMatchObject({
      image: { tags: { [TAG.digest]: "sha256:1" } },
    });
  });

  test("is gone where EC2 shows none", async () => {
    const { ec2 } = ec2With([]);
    expect(await describeBase(ec2, "eu-west-1", id("b"))).toStrictEqual({ kind: "gone", id: id("b") });
  });

  test("is not called gone where AWS refuses to say", async () => {
    const { ec2 } = ec2With(denied);
    expect(await describeBase(ec2, "eu-west-1", id("b"))).toStrictEqual({
      kind: "unknown",
      why: "The role may not do ec2:DescribeImages in eu-west-1",
    });
  });

  test("hides no mistake of ours", async () => {
    const { ec2 } = ec2With(new TypeError("no function"));
    await expect(describeBase(ec2, "eu-west-1", id("b"))).rejects.toThrow("no function");
  });
});

describe("a newer base image", () => {
  test("is asked for by all that is known", async () => {
    const { ec2, asked } = ec2With([described()]);
    expect(await newerBase(ec2, base(), NOW)).toStrictEqual({ kind: "newer", image: newer });
    expect(asked).toStrictEqual([
      {
        Owners: [CANONICAL],
        Filters: [
          { Name: "name", Values: [`${NOBLE}-*`] },
          { Name: "state", Values: ["available"] },
          { Name: "architecture", Values: ["x86_64"] },
          { Name: "virtualization-type", Values: ["hvm"] },
          { Name: "root-device-type", Values: ["ebs"] },
        ],
        MaxResults: 200,
      },
    ]);
  });

  test("is asked for by what is known", async () => {
    const { ec2, asked } = ec2With([]);
    await newerBase(ec2, base({ architecture: "", virtualization: undefined, rootDevice: undefined }), NOW);
    expect(asked).toMatchObject([
      {
        Filters: [
          { Name: "name", Values: [`${NOBLE}-*`] },
          { Name: "state", Values: ["available"] },
        ],
      },
    ]);
  });

  test("is the newest of all pages, an empty one among them", async () => {
    const { ec2, asked } = ec2With(
      [described({ ImageId: id("c"), CreationDate: "2026-10-20T10:00:00.000Z" })],
      [],
      [described(), described({ ImageId: id("d"), CreationDate: "2026-10-30T10:00:00.000Z" })],
    );
    expect(await newerBase(ec2, base(), NOW)).toMatchObject({ kind: "newer", image: { id: id("b") } });
    expect(asked).toMatchObject([{}, { NextToken: "page 2" }, { NextToken: "page 3" }]);
  });

  test.each<[what: string, images: readonly Ec2Image[]]>([
    ["no image", []],
    ["the base image itself", [described({ ImageId: id("a"), CreationDate: "2026-10-06T10:00:00.000Z" })]],
    ["an older one", [described({ CreationDate: "2026-09-01T10:00:00.000Z" })]],
    ["a deprecated one", [described({ DeprecationTime: "2026-11-18T10:00:00.000Z" })]],
    // EC2's `*` matches anything.
    ["one of a further family", [described({ Name: `${NOBLE}-pro-20261101` })]],
    ["one without a name, a date or an id", [{}, described({ ImageId: "ami-x" })]],
  ])("is not %s", async (_, images) => {
    const { ec2 } = ec2With(images);
    expect(await newerBase(ec2, base(), NOW)).toStrictEqual({ kind: "newest" });
  });

  test.each<[what: string, changes: Partial<BaseImage>]>([
    ["is of no known family", { name: "golden" }],
    ["has no owner", { owner: "" }],
  ])("is not looked for where the base image %s", async (_, changes) => {
    const { ec2, asked } = ec2With();
    expect(await newerBase(ec2, base(changes), NOW)).toStrictEqual({
      kind: "unknown",
      why: `the name ${base(changes).name} does not tell which images are of its kind`,
    });
    expect(asked).toStrictEqual([]);
  });

  test("is not known where AWS refuses", async () => {
    const { ec2 } = ec2With([described()], denied);
    expect(await newerBase(ec2, base(), NOW)).toMatchObject({ kind: "unknown" });
  });
});

describe("for people", () => {
  test.each([
    [
      "a newer one",
      { kind: "found", image: base() },
      { kind: "newer", image: newer },
      "base image is 43 days old; ami-0bbbbbbbbbbbbbbbb of 2026-11-01 is newer",
    ],
    [
      "none newer",
      { kind: "found", image: base() },
      { kind: "newest" },
      "base image is 43 days old, the newest of its kind",
    ],
    [
      "nothing to compare",
      { kind: "found", image: base() },
      { kind: "unknown", why: "?" },
      "base image is 43 days old",
    ],
    [
      "gone",
      { kind: "gone", id: id("a") },
      { kind: "unknown", why: "?" },
      "base image ami-0aaaaaaaaaaaaaaaa is gone",
    ],
    ["unknown", { kind: "unknown", why: "?" }, { kind: "unknown", why: "?" }, undefined],
  ] as const)("%s", (_, found, after, text) => {
    expect(describeFreshness(found, after, NOW)).toBe(text);
  });
});

describe("in the sandbox's AWS", () => {
  const DAY = 86_400_000;

  test("a family's newer image is found among its neighbours, by what the catalogue knows", async () => {
    const { world, clock, ec2 } = await setStage();
    const add = (name: string, more: object = {}): ImageId =>
      world.addBaseImage({ name, ...more }).get(home.region)?.id as ImageId;
    const first = add(`${NOBLE}-20260301`);
    clock.advance(DAY);
    const second = add(`${NOBLE}-20260302`);
    clock.advance(DAY);
    add(`${NOBLE}-20260303`, { ownerId: "444455556666" });
    add(`${NOBLE}-pro-20260303`);
    add(`${NOBLE.replace("amd64", "arm64")}-20260303`, { architecture: "arm64" });
    add("ubuntu/images/hvm-ssd-gp3/ubuntu-jammy-22.04-amd64-server-20260303");
    add("ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-minimal-20260303");
    const now = new Date(clock.now());

    const found = await describeBase(ec2, home.region, first);
    const listed = (await findByIds(ec2, home.region, [first])).get(first);
    if (found.kind !== "found" || listed === undefined) throw new Error("the base image is there");
    expect(await newerBase(ec2, found.image, now)).toMatchObject({ kind: "newer", image: { id: second } });
    expect(await newerBase(ec2, listed, now)).toMatchObject({ kind: "newer", image: { id: second } });
    expect(describeFreshness(found, await newerBase(ec2, listed, now), now)).toBe(
      `base image is 2 days old; ${second} of 2026-03-02 is newer`,
    );

    const last = await describeBase(ec2, home.region, second);
    if (last.kind !== "found") throw new Error("the base image is there");
    expect(await newerBase(ec2, last.image, now)).toStrictEqual({ kind: "newest" });
    expect(await describeBase(ec2, home.region, id("f"))).toStrictEqual({ kind: "gone", id: id("f") });
  });
});
