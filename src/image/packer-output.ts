import { stripVTControlCharacters } from "node:util";
import type { ImageId } from "../domain/image.ts";

/** What a line of Packer's output tells about the bake. */
export type BakeEvent =
  | { readonly kind: "phase"; readonly phase: Phase }
  /** The base image that the template's filter found. */
  | { readonly kind: "base-image"; readonly id: ImageId }
  /** Something that Packer made for the time of the bake. */
  | {
      readonly kind: "temporary";
      readonly resource: "instance" | "key-pair" | "security-group";
      readonly id: string;
    }
  /** The build runs on a Spot Instance: a fleet launches it from a temporary launch template. */
  | { readonly kind: "spot" }
  /** The build makes snapshots of its volumes, to register an image from them (`amazon-ebssurrogate`). */
  | { readonly kind: "surrogate" }
  /** An image that exists from now on, though it is not available yet. */
  | { readonly kind: "image"; readonly id: ImageId }
  /** A region that the image is copied to (`ami_regions`). */
  | { readonly kind: "copying"; readonly region: string }
  /** A line of the list that Packer ends with. */
  | { readonly kind: "artifact"; readonly region: string; readonly id: ImageId };

export const PHASES = [
  "prepare",
  "launch",
  "connect",
  "provision",
  "stop",
  "image",
  "copy",
  "clean up",
] as const;
export type Phase = (typeof PHASES)[number];

const PHASE_LINES: readonly (readonly [RegExp, Phase])[] = [
  [/^Prevalidating /, "prepare"],
  [/^Launching a (?:source|spot) /, "launch"],
  [/^(?:Waiting for SSH|Using .*communicator|Waiting for WinRM)/i, "connect"],
  [/^Provisioning with /, "provision"],
  [/^Stopping the source instance/, "stop"],
  [/^Creating AMI |^Creating unencrypted AMI |^Creating snapshot of |^Registering the AMI/, "image"],
  [/^Copying\/Encrypting AMI|^Copying to: /, "copy"],
  [/^Terminating the source /, "clean up"],
];

const AMI = "ami-(?:[0-9a-f]{17}|[0-9a-f]{8})";
const ID_LINES: readonly (readonly [RegExp, (id: string) => BakeEvent])[] = [
  [/^(Launching a spot AWS instance)\.\.\.$/, () => ({ kind: "spot" })],
  [/^(Creating snapshot of EBS Volume) vol-[0-9a-f]+\.\.\.$/, () => ({ kind: "surrogate" })],
  [new RegExp(`^Found Image ID: (${AMI})$`), (id) => ({ kind: "base-image", id: id as ImageId })],
  [/^Creating temporary keypair: (\S+)$/, (id) => ({ kind: "temporary", resource: "key-pair", id })],
  [
    /^Creating temporary security group for this instance: (\S+)$/,
    (id) => ({ kind: "temporary", resource: "security-group", id }),
  ],
  [/^Instance ID: (i-[0-9a-f]+)$/, (id) => ({ kind: "temporary", resource: "instance", id })],
  [new RegExp(`^AMI: (${AMI})$`), (id) => ({ kind: "image", id: id as ImageId })],
  [/^Copying to: ([a-z]{2}(?:-[a-z]+)+-\d)$/, (region) => ({ kind: "copying", region })],
];

/**
 * Follows Packer's output for people, line by line. It is read rather than `-machine-readable`, which prints sensitive
 * variables in clear before 1.15.1, and its form is the same in 1.6 and 1.16 but for the indentation.
 *
 * Everything that a provisioner prints is prefixed with the build's name (`    amazon-ebs.web: …`), as is what the
 * builder says; only the closing list of artifacts is not. So a provisioner cannot forge an artifact; it can forge the
 * other events, which is why nothing is deleted on their word alone.
 */
export class PackerOutput {
  #finished = false;

  /** The events that a line means; at most one but for the closing list. */
  read(raw: string): readonly BakeEvent[] {
    const line = stripVTControlCharacters(raw).trimEnd();
    if (/^==> Builds finished\. The artifacts of successful builds are:$/.test(line)) {
      this.#finished = true;
      return [];
    }
    // A failed bake lists what was successful as well, under another heading.
    if (/^==> Builds finished but no artifacts were created\.$/.test(line)) return [];
    if (this.#finished) {
      const artifact = new RegExp(`^([a-z]{2}(?:-[a-z]+)+-\\d): (${AMI})$`).exec(line);
      const [, region, id] = artifact ?? [];
      return region === undefined || id === undefined
        ? []
        : [{ kind: "artifact", region, id: id as ImageId }];
    }
    // `==> name: text` and, before 1.14, `    name: text`.
    const text = /^(?:==>|\s{4})[^:]+: (.*)$/.exec(line)?.[1]?.trim();
    if (text === undefined) return [];
    const events: BakeEvent[] = [];
    const phase = line.startsWith("==>")
      ? PHASE_LINES.find(([pattern]) => pattern.test(text))?.[1]
      : undefined;
    if (phase !== undefined) events.push({ kind: "phase", phase });
    for (const [pattern, toEvent] of ID_LINES) {
      const id = pattern.exec(text)?.[1];
      if (id !== undefined) events.push(toEvent(id));
    }
    return events;
  }
}
