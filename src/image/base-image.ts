import { DescribeImagesCommand, type EC2Client, type Image as Ec2Image } from "@aws-sdk/client-ec2";
import { pagesOf } from "../aws/pages.ts";
import { formatDuration } from "../domain/duration.ts";
import { RemoteError } from "../domain/errors.ts";
import { type ImageId, isImageId, TAG } from "../domain/image.ts";

/** What an image was baked from, as far as its family is looked for. A `CatalogueImage` is one. */
export interface BaseImage {
  readonly id: ImageId;
  readonly region: string;
  readonly name: string;
  /** The account's id, Amazon's and the distributions' included: DescribeImages takes it where it takes an alias. */
  readonly owner: string;
  readonly architecture: string;
  readonly created: Date;
  readonly tags: Readonly<Record<string, string>>;
  /** `hvm` or `paravirtual`; only filtered by where it is known. */
  readonly virtualization?: string | undefined;
  /** `ebs` or `instance-store`; likewise. */
  readonly rootDevice?: string | undefined;
}

/** A base image that was asked for. */
export type FoundBase =
  | { readonly kind: "found"; readonly image: BaseImage }
  /** Deregistered, or not shared with this account any more. */
  | { readonly kind: "gone"; readonly id: ImageId }
  | { readonly kind: "unknown"; readonly why: string };

/** What has come after a base image. */
export type NewerBase =
  | { readonly kind: "newer"; readonly image: BaseImage }
  | { readonly kind: "newest" }
  /** Nothing may be claimed: not even that it is the newest. */
  | { readonly kind: "unknown"; readonly why: string };

const MONTH = "(?:0[1-9]|1[0-2])";
const DAY = "(?:0[1-9]|[12]\\d|3[01])";
const CLOCK_TIME = "\\d{2}[:.-]?\\d{2}(?:[:.-]?\\d{2}(?:\\.\\d{3})?)?Z?";
/** `20261101`, `202611011530`; `2026.11.1`, `2026-11-01`; Packer's `timestamp`, seconds since 1970. */
const COMPACT_DATE = `20\\d{2}${MONTH}${DAY}(?:T?${CLOCK_TIME})?`;
const SEPARATED_DATE = `(?<!\\d\\.)20\\d{2}(?<separator>[._-])(?:${MONTH}|[1-9])\\k<separator>(?:${DAY}|[1-9])(?!\\d)`;
const TIMESTAMP = "1\\d{9}(?:\\d{3})?";
/**
 * A date as a part of its own, maybe after `v`, with a time or one build number after it. Where more numbers follow
 * (`39.20261101.3.0` of Fedora CoreOS, where the 3 is the stream), it is not known which of them are the product's.
 */
const DATE = new RegExp(
  `(?<=(?:^|[^0-9A-Za-z])v?)(?:${COMPACT_DATE}|${SEPARATED_DATE}|${TIMESTAMP})(?:[T_-]${CLOCK_TIME}|[._-]\\d{1,5})?(?![0-9A-Za-z]|\\.\\d)`,
  "g",
);

/** What changes between builds of one family besides a date, by its publisher's naming. */
const PUBLISHERS: readonly (readonly [RegExp, string])[] = [
  // 2023.<minor>.<date>.<build>: minor versions follow each other each quarter (AL2023 user guide, Release cadence), and
  // AWS's SSM parameters go on to the next one too.
  [/(?<=^al2023-ami-(?:[a-z]+-)*2023\.)\d{1,2}\.\d{8}(?:\.\d+)?(?=-)/, "*"],
  // The number after the architecture is the build's: RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3.
  [/(?<=^RHEL-.*-(?:x86_64|arm64)-)\d+(?=-)/, "*"],
  // No date: the version of Bottlerocket and its commit. The Kubernetes version before it is the product's.
  [/(?<=^bottlerocket-.*-v\d+\.)\d+\.\d+-[0-9a-f]{8}$/, "*"],
];

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi;
/** Left over, it is another build's own: a commit, a digest (Kiln's names end with 12 digits of one), a run's number. */
const BUILDS_OWN =
  /(?<![0-9A-Za-z])(?:g?(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}|\d{6,}|[0-9a-f]{12}(?=-\d+$|$))(?![0-9A-Za-z])/;

/**
 * The names of a base image's family, as DescribeImages' `name` filter takes them: what changes from build to build is
 * `*`, and what names the product (`24.04`, `noble`, `9.4.0`, `kernel-6.1`) stays. The filter's `*` matches anything,
 * so that of what it finds only images of the same family count.
 * @returns undefined where the name does not tell builds and product apart; then nothing is claimed
 */
export function familyOf(base: Pick<BaseImage, "name" | "tags">): string | undefined {
  // Kiln's own image: its name and its date say nothing about what it was made from.
  if (base.tags[TAG.digest] !== undefined || base.tags[TAG.application] !== undefined) return undefined;
  // AWS Marketplace ends names with the product's id, whose digits are no date.
  const ids: string[] = [];
  const plain = base.name.replace(UUID, (id) => `<${ids.push(id) - 1}>`);
  const publisher = PUBLISHERS.reduce((name, [own, wildcard]) => name.replace(own, wildcard), plain);
  const pattern = publisher.replace(DATE, "*");
  if (!pattern.includes("*") || !/[A-Za-z]{3}/.test(pattern) || BUILDS_OWN.test(pattern)) return undefined;
  return pattern.replace(/<(\d+)>/g, (_, index: string) => ids[Number(index)] ?? "");
}

/**
 * The image that a record or a tag names as base image. By filter, as an unknown id would be an error; a deprecated
 * one is still there.
 */
export async function describeBase(ec2: EC2Client, region: string, id: ImageId): Promise<FoundBase> {
  return orUnknown(async () => {
    const { Images } = await ec2.send(
      new DescribeImagesCommand({
        IncludeDeprecated: true,
        Filters: [{ Name: "image-id", Values: [id] }],
      }),
    );
    const [image] = (Images ?? []).flatMap((found) => toBase(found, region));
    return image === undefined ? { kind: "gone", id } : { kind: "found", image };
  });
}

/**
 * The newest image of the base image's family: same owner, architecture, virtualization and kind of root device,
 * available and not deprecated. By the date of creation, as Packer's `most_recent` chooses: it is what the next bake
 * would begin with.
 */
export async function newerBase(ec2: EC2Client, base: BaseImage, now: Date): Promise<NewerBase> {
  const family = familyOf(base);
  if (family === undefined || base.owner === "") {
    return { kind: "unknown", why: `the name ${base.name} does not tell which images are of its kind` };
  }
  return orUnknown(async () => {
    const images = (await findAll(ec2, base, family)).filter((image) => !isDeprecated(image, now));
    const newest = images
      .flatMap((image) => toBase(image, base.region))
      .filter((image) => image.created > base.created && familyOf(image) === family)
      .toSorted((a, b) => b.created.getTime() - a.created.getTime())[0];
    return newest === undefined ? { kind: "newest" } : { kind: "newer", image: newest };
  });
}

/**
 * How old the base image is, for people, or undefined where nothing is known of it:
 * `base image is 43 days old; ami-… of 2026-11-01 is newer`.
 */
export function describeFreshness(base: FoundBase, newer: NewerBase, now: Date): string | undefined {
  if (base.kind === "unknown") return undefined;
  if (base.kind === "gone") return `base image ${base.id} is gone`;
  const age = `base image is ${formatDuration(now.getTime() - base.image.created.getTime())} old`;
  if (newer.kind === "newest") return `${age}, the newest of its kind`;
  if (newer.kind === "unknown") return age;
  return `${age}; ${newer.image.id} of ${newer.image.created.toISOString().slice(0, 10)} is newer`;
}

/** Enough for most publishers' two years of builds at once; what EC2 allows at most is not documented. */
const PAGE = 200;

/** All pages: the order of DescribeImages' results is undefined, so that any page may hold the newest (API reference). */
async function findAll(ec2: EC2Client, base: BaseImage, family: string): Promise<readonly Ec2Image[]> {
  const wanted: readonly (readonly [string, string | undefined])[] = [
    ["name", family],
    ["state", "available"],
    ["architecture", base.architecture],
    ["virtualization-type", base.virtualization],
    ["root-device-type", base.rootDevice],
  ];
  const Filters = wanted.flatMap(([Name, value]) =>
    value === undefined || value === "" ? [] : [{ Name, Values: [value] }],
  );
  const found: Ec2Image[] = [];
  const pages = pagesOf("DescribeImages", (next) =>
    ec2.send(new DescribeImagesCommand({ Owners: [base.owner], Filters, MaxResults: PAGE, ...next })),
  );
  for await (const { Images } of pages) found.push(...(Images ?? []));
  return found;
}

/** DescribeImages leaves deprecated images out, but shows an owner all of its own (API reference, IncludeDeprecated). */
function isDeprecated({ DeprecationTime }: Ec2Image, now: Date): boolean {
  return DeprecationTime !== undefined && new Date(DeprecationTime) <= now;
}

function toBase(image: Ec2Image, region: string): BaseImage[] {
  const { ImageId: id } = image;
  const created = new Date(image.CreationDate ?? "");
  if (id === undefined || !isImageId(id) || Number.isNaN(created.getTime())) return [];
  return [
    {
      id,
      region,
      name: image.Name ?? "",
      owner: image.OwnerId ?? "",
      architecture: image.Architecture ?? "",
      created,
      tags: Object.fromEntries((image.Tags ?? []).map(({ Key, Value }) => [Key ?? "", Value ?? ""])),
      virtualization: image.VirtualizationType,
      rootDevice: image.RootDeviceType,
    },
  ];
}

/** This is information beside a result: where AWS refuses it, the result still stands. */
async function orUnknown<T>(ask: () => Promise<T>): Promise<T | { kind: "unknown"; why: string }> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof RemoteError) return { kind: "unknown", why: error.message };
    throw error;
  }
}
