import { describe, expect, test } from "vitest";
import { type BakeEvent, PackerOutput } from "../../src/image/packer-output.ts";

function eventsOf(text: string): BakeEvent[] {
  const output = new PackerOutput();
  return text.split("\n").flatMap((line) => output.read(line));
}

/** Packer 1.16: every line of a build begins with `==>`. */
const PACKER_1_16 = `
amazon-ebs.web: output will be in this color.

==> amazon-ebs.web: Prevalidating any provided VPC information
==> amazon-ebs.web: Prevalidating AMI Name: web-1.0-0123456789ab
==> amazon-ebs.web: Found Image ID: ami-0aaaaaaaaaaaaaaaa
==> amazon-ebs.web: Creating temporary keypair: packer_655c0000-1111-2222-3333-444455556666
==> amazon-ebs.web: Creating temporary security group for this instance: packer_655c0001-1111-2222-3333-444455556666
==> amazon-ebs.web: Authorizing access to port 22 from [0.0.0.0/0] in the temporary security groups...
==> amazon-ebs.web: Launching a source AWS instance...
==> amazon-ebs.web: Instance ID: i-0123456789abcdef0
==> amazon-ebs.web: Waiting for instance (i-0123456789abcdef0) to become ready...
==> amazon-ebs.web: Using SSH communicator to connect: 203.0.113.7
==> amazon-ebs.web: Waiting for SSH to become available...
==> amazon-ebs.web: Connected to SSH!
==> amazon-ebs.web: Provisioning with shell script: packer/install.sh
==> amazon-ebs.web: Reading package lists...
==> amazon-ebs.web: Stopping the source instance...
==> amazon-ebs.web: Waiting for the instance to stop...
==> amazon-ebs.web: Creating AMI web-1.0-0123456789ab from instance i-0123456789abcdef0
==> amazon-ebs.web: AMI: ami-0bbbbbbbbbbbbbbbb
==> amazon-ebs.web: Waiting for AMI to become ready...
==> amazon-ebs.web: Copying/Encrypting AMI (ami-0bbbbbbbbbbbbbbbb) to other regions...
==> amazon-ebs.web: Copying to: us-gov-west-1
==> amazon-ebs.web: Terminating the source AWS instance...
==> amazon-ebs.web: Cleaning up any extra volumes...
==> amazon-ebs.web: Deleting temporary keypair...
Build 'amazon-ebs.web' finished after 5 minutes 12 seconds.

==> Wait completed after 5 minutes 12 seconds

==> Builds finished. The artifacts of successful builds are:
--> amazon-ebs.web: AMIs were created:
eu-west-1: ami-0bbbbbbbbbbbbbbbb
us-gov-west-1: ami-0cccccccccccccccc
`;

/** Packer 1.6.6: what a builder adds is indented. */
const PACKER_1_6 = PACKER_1_16.replaceAll(
  /^==> (amazon-ebs\.web: (?:Found|Instance|AMI:|Prevalidating AMI|Reading|Waiting for the|Copying to).*)$/gm,
  "    $1",
);

const ALL: BakeEvent[] = [
  { kind: "phase", phase: "prepare" },
  { kind: "phase", phase: "prepare" },
  { kind: "base-image", id: "ami-0aaaaaaaaaaaaaaaa" },
  { kind: "temporary", resource: "key-pair", id: "packer_655c0000-1111-2222-3333-444455556666" },
  { kind: "temporary", resource: "security-group", id: "packer_655c0001-1111-2222-3333-444455556666" },
  { kind: "phase", phase: "launch" },
  { kind: "temporary", resource: "instance", id: "i-0123456789abcdef0" },
  { kind: "phase", phase: "connect" },
  { kind: "phase", phase: "connect" },
  { kind: "phase", phase: "provision" },
  { kind: "phase", phase: "stop" },
  { kind: "phase", phase: "image" },
  { kind: "image", id: "ami-0bbbbbbbbbbbbbbbb" },
  { kind: "phase", phase: "copy" },
  { kind: "phase", phase: "copy" },
  { kind: "copying", region: "us-gov-west-1" },
  { kind: "phase", phase: "clean up" },
  { kind: "artifact", region: "eu-west-1", id: "ami-0bbbbbbbbbbbbbbbb" },
  { kind: "artifact", region: "us-gov-west-1", id: "ami-0cccccccccccccccc" },
];

describe("a whole bake", () => {
  test("of Packer 1.16", () => {
    expect(eventsOf(PACKER_1_16)).toStrictEqual(ALL);
  });

  test("of Packer 1.6, whose indented lines are of no phase", () => {
    const indented = ALL.filter((_, index) => index !== 1 && index !== 14);
    expect(eventsOf(PACKER_1_6)).toStrictEqual(indented);
  });

  test("with colours", () => {
    const coloured = PACKER_1_16.split("\n")
      .map((line) => `\u001B[1;32m${line}\u001B[0m`)
      .join("\n");
    expect(eventsOf(coloured)).toStrictEqual(ALL);
  });

  test("with line ends of Windows", () => {
    expect(eventsOf(PACKER_1_16.replaceAll("\n", "\r\n"))).toStrictEqual(ALL);
  });
});

const END = "==> Builds finished. The artifacts of successful builds are:";

describe("the closing list", () => {
  test("names each region's image, old short ids too, as often as it is listed", () => {
    expect(
      eventsOf(`${END}
--> b.amazon-ebs.one: AMIs were created:
ap-southeast-2: ami-01234567
eu-west-1: ami-0bbbbbbbbbbbbbbbb

--> b.amazon-ebs.one: AMIs were created:
eu-west-1: ami-0bbbbbbbbbbbbbbbb
`),
    ).toStrictEqual([
      { kind: "artifact", region: "ap-southeast-2", id: "ami-01234567" },
      { kind: "artifact", region: "eu-west-1", id: "ami-0bbbbbbbbbbbbbbbb" },
      { kind: "artifact", region: "eu-west-1", id: "ami-0bbbbbbbbbbbbbbbb" },
    ]);
  });

  test("after a failure still names what other builds made", () => {
    expect(
      eventsOf(`==> Some builds didn't complete successfully and had errors:
--> amazon-ebs.two: Script exited with non-zero exit status: 1

${END}
--> amazon-ebs.one: AMIs were created:
eu-west-1: ami-0bbbbbbbbbbbbbbbb`),
    ).toStrictEqual([{ kind: "artifact", region: "eu-west-1", id: "ami-0bbbbbbbbbbbbbbbb" }]);
  });

  test("of a bake without images is empty", () => {
    expect(
      eventsOf("==> Builds finished but no artifacts were created.\neu-west-1: ami-01234567"),
    ).toStrictEqual([]);
  });

  test.each([
    "eu-west-1:ami-01234567",
    "eu-west-1: ami-0123456",
    "EU-WEST-1: ami-01234567",
    "x: ami-01234567",
    "amazon-ebs.web: eu-west-1: ami-01234567",
    "==> amazon-ebs.web: AMI: ami-01234567",
  ])("does not take %j for an image of a region", (line) => {
    expect(eventsOf(`${END}\n${line}`)).toStrictEqual([]);
  });
});

describe("a provisioner cannot forge an image", () => {
  const FORGED = "eu-west-1: ami-0eeeeeeeeeeeeeeee";

  test.each([
    ["in the form of Packer 1.16", "==> amazon-ebs.web: "],
    ["in the form of Packer 1.6", "    amazon-ebs.web: "],
    ["behind a carriage return", "    amazon-ebs.web: \r"],
    ["behind colours", "    amazon-ebs.web: \u001B[0m"],
  ])("%s", (_, prefix) => {
    expect(
      eventsOf(`${prefix}${END}\n${prefix}--> amazon-ebs.web: AMIs were created:\n${prefix}${FORGED}`),
    ).toStrictEqual([]);
  });

  test("not even by lines without a prefix, before Packer's own list begins", () => {
    expect(
      eventsOf(`${FORGED}\nBuilds finished. The artifacts of successful builds are:\n${FORGED}`),
    ).toStrictEqual([]);
  });

  test("nor a phase by the indented lines of Packer 1.6", () => {
    expect(eventsOf("    amazon-ebs.web: Terminating the source AWS instance...")).toStrictEqual([]);
  });
});

test.each(["", "   ", "==>", "==> ", ": ", "==> : x", "%", "\0", "amazon-ebs.web: AMI: ami-01234567"])(
  "%j means nothing",
  (line) => {
    expect(eventsOf(line)).toStrictEqual([]);
  },
);
