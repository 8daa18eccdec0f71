/** An AMI's id, as EC2 writes it: `ami-` and 8 or 17 hexadecimal digits. */
export type ImageId = `ami-${string}`;

export function isImageId(text: string): text is ImageId {
  return /^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$/.test(text);
}

/** The identity of an image: `sha256:` and 64 hexadecimal digits over everything that decides its content. */
export type Digest = `sha256:${string}`;

export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** The longest name that EC2 takes for an AMI (API reference, CreateImage, Name). */
const MAX_NAME_LENGTH = 128;
/** Kept free for `-2` … `-999`, so that a further bake's name begins with the first one's. */
const SERIAL_LENGTH = 4;
/** The last serial that fits. */
export const MAX_SERIAL = 999;

/**
 * `<application>-<version>-<first 12 of the digest>`, and `-2`, `-3` for a further bake of the same content.
 * The version is free text: what EC2 does not take in a name becomes `-`, and it is cut where the name gets too long.
 */
export function imageName(application: string, version: string, digest: Digest, serial = 1): string {
  const tail = `-${digest.slice("sha256:".length, "sha256:".length + 12)}`;
  const plain = withoutDashesAtEnd(version.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+/, ""));
  const head = `${application}-${plain}`.slice(0, MAX_NAME_LENGTH - tail.length - SERIAL_LENGTH);
  const name = `${withoutDashesAtEnd(head)}${tail}`;
  return serial > 1 ? `${name}-${serial}` : name;
}

/**
 * Whether a text has the form of a name that {@link imageName} gives an image of a digest. Names are read from git refs,
 * which anybody who may push can write, and become values of EC2 filters, in which `*` and `?` are wildcards.
 * @param hash the digest's hexadecimal digits, or the first 12 of them
 */
export function isImageName(text: string, hash: string): boolean {
  const form = /^[A-Za-z0-9_][A-Za-z0-9._-]*-([0-9a-f]{12})(?:-[1-9]\d{0,2})?$/.exec(text);
  return text.length <= MAX_NAME_LENGTH && form?.[1] === hash.slice(0, 12);
}

function withoutDashesAtEnd(text: string): string {
  let end = text.length;
  while (text[end - 1] === "-") end -= 1;
  return text.slice(0, end);
}

/** The keys of the tags that Kiln writes on AMIs and snapshots. */
export const TAG = {
  application: "kiln:application",
  commit: "kiln:commit",
  branch: "kiln:branch",
  version: "kiln:version",
  /** The mark of an image that is complete: written last, by Kiln itself. */
  digest: "kiln:digest",
  repository: "kiln:repository",
  run: "kiln:run",
  baseImage: "kiln:base-image",
  /** Only on copies that were encrypted for a target. */
  kmsKey: "kiln:kms-key",
  /** Only on copies: the image that they are copies of. */
  copyOf: "kiln:copy-of",
  name: "Name",
  /** Only on what there is for the time of a bake: which one. */
  bake: "kiln:bake",
} as const;
