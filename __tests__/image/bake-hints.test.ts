import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ImageRecipe } from "../../src/domain/application.ts";
import { buildHint, initHint, type ValidationContext, validationHint } from "../../src/image/bake-hints.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "unit-hints-"));
  for (const path of ["infra/packer/scripts/x.sh", "infra/files/my app.txt", "files/root.txt"]) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), "");
  }
  writeFileSync(join(folder, "infra/packer/web.pkr.hcl"), "");
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const OLD = { version: "1.6.6", hasInit: false };
const NEW = { version: "1.16.0", hasInit: true };

function context(
  more: Partial<Omit<ValidationContext, "recipe">> & { readonly recipe?: Partial<ImageRecipe> } = {},
): ValidationContext {
  const recipe = {
    template: "infra/packer/web.pkr.hcl",
    inputs: undefined,
    vars: {},
    varFiles: [],
    maxAge: undefined,
    ...more.recipe,
  };
  const cwd = join(folder, recipe.workingDirectory ?? ".");
  return { folder, cwd, packer: NEW, legacy: false, ...more, recipe };
}

/** As Packer prints the faults of a template: broken after 78 characters. */
const diagnostic = (...lines: string[]): string =>
  [
    "Error: Failed preparing provisioner-block",
    "",
    "  on infra/packer/web.pkr.hcl line 4:",
    "",
    ...lines,
  ].join("\n");

describe("a path that does not exist where Packer runs", () => {
  test.each([
    ["a script", "* Bad script 'scripts/x.sh': stat scripts/x.sh: no such file or directory", "infra/packer"],
    [
      "with a dot",
      "* Bad script './scripts/x.sh': stat ./scripts/x.sh: no such file or directory",
      "infra/packer",
    ],
    ["a folder", "* Bad source 'scripts/': stat scripts/: no such file or directory", "infra/packer"],
    [
      "in a folder around the template's",
      "* Bad source 'files/my app.txt': stat files/my app.txt: no such\nfile or directory",
      "infra",
    ],
    [
      "a wrapped line",
      "* playbook_file: scripts/x.sh is invalid: stat scripts/x.sh: no such file or\ndirectory",
      "infra/packer",
    ],
    [
      "the first of several that is found",
      "* stat nowhere: no such file or directory\n* stat scripts/x.sh: no such file or directory",
      "infra/packer",
    ],
  ])("%s: the hint names the folder", async (_, line, expected) => {
    expect(await validationHint(diagnostic(line), context())).toContain(
      `but Packer runs in the repository's root, where relative paths start: set \`image.working-directory: ${expected}\` in the config file`,
    );
  });

  test("a template that is a folder", async () => {
    const hint = await validationHint(
      diagnostic("* stat scripts/x.sh: no such file or directory"),
      context({ recipe: { template: "infra/packer" } }),
    );
    expect(hint).toContain("set `image.working-directory: infra/packer`");
  });

  test("but in the root", async () => {
    const hint = await validationHint(
      diagnostic("* stat files/root.txt: no such file or directory"),
      context({ recipe: { workingDirectory: "infra/packer" } }),
    );
    expect(hint).toContain(
      "files/root.txt exists in the repository's root, but Packer runs in infra/packer, where relative paths start: remove `image.working-directory`",
    );
  });

  test.each([
    ["one that exists nowhere", "* stat scripts/y.sh: no such file or directory"],
    ["one that is absolute", "* stat /scripts/x.sh: no such file or directory"],
    ["one that exists where Packer runs", "* stat files/root.txt: no such file or directory"],
  ])("%s: no folder is named", async (_, line) => {
    expect(await validationHint(diagnostic(line), context())).toBe(
      "Correct the template or its variables, and push again.",
    );
  });

  test("is found out during the build too", async () => {
    const lines = [
      "==> amazon-ebs.web: cat: scripts/x.sh: No such file or directory",
      "Build 'amazon-ebs.web' errored after 17 milliseconds: Script exited with non-zero exit status: 1.Allowed exit codes are: [0]",
    ];
    expect(await buildHint(lines, context())).toContain("set `image.working-directory: infra/packer`");
  });
});

describe("a template that is not valid", () => {
  test.each<[what: string, more: Partial<ValidationContext>, output: string, hint: string]>([
    [
      "required_plugins and an old Packer",
      { packer: OLD },
      'Blocks of type "required_plugins" are not expected here.',
      "The template can stay as it is, but not with Packer 1.6.6: use 1.7.0 or newer",
    ],
    [
      "data and an old Packer",
      { packer: OLD },
      'Blocks of type "data" are not expected here.',
      "use 1.7.0 or newer",
    ],
    [
      "local and an old Packer",
      { packer: OLD },
      'Blocks of type "local" are not expected\nhere. Did you mean "locals"?',
      "use 1.7.0 or newer",
    ],
    [
      "HCP's registry and an old Packer",
      { packer: { version: "1.7.6", hasInit: true } },
      'Blocks of type "hcp_packer_registry" are not expected here.',
      "use 1.7.7 or newer",
    ],
    [
      "a block in the wrong place",
      {},
      'Error: Unsupported block type\n\nBlocks of type "data" are not expected here.',
      "Correct the template or its variables",
    ],
    [
      "an argument and an old Packer",
      { packer: OLD },
      'Error: Unsupported argument\n\nAn argument named "imds_support" is not expected here.',
      "if it is written for a newer Packer than 1.6.6",
    ],
    [
      "an argument and a new Packer",
      {},
      'Error: Unsupported argument\n\nAn argument named "instance_typo" is not expected here.',
      "Correct the template or its variables",
    ],
    [
      "a function and an old Packer",
      { packer: OLD },
      'Error: Call to unknown function\n\nThere is no function named "templatefile".',
      "if it is written for a newer Packer than 1.6.6",
    ],
    [
      "a required version",
      { packer: OLD },
      'Error: Unsupported Packer Core version\n\n  on x.pkr.hcl line 2, in packer:\n   2:   required_version = ">= 1.9.0"\n\nThis configuration does not support Packer version 1.6.6.',
      "use a version that satisfies `>= 1.9.0`",
    ],
    [
      "a required version of JSON",
      { packer: OLD, legacy: true },
      "This template requires Packer version 1.8.0 or higher; using 1.6.6",
      "use a version that satisfies `1.8.0`",
    ],
    [
      "plugins that are not installed",
      {},
      "Error: Missing plugins\n\nThe following plugins are required, but not installed:\n\n* github.com/hashicorp/amazon ~> 1",
      "name it in the template's `required_plugins`",
    ],
    [
      "a source that no plugin has",
      {},
      "Error: Unknown source type amazon-ebs\n\nThe source amazon-ebs is unknown by Packer, and is likely part of a plugin that\nis not installed.",
      "`packer plugins install github.com/hashicorp/amazon`, or name it in the template's `required_plugins`",
    ],
    [
      "a builder of JSON that no plugin has",
      { legacy: true },
      'Error: Failed to initialize build "amazon-ebs"\n\nThe builder amazon-ebs is unknown by Packer, and is likely part of a plugin that\nis not installed.',
      "for a legacy JSON template nothing else installs it",
    ],
    [
      "a source that old Packer does not know",
      { packer: OLD },
      "Error: Unknown source type amazon-ebsx\n\nknown builders: [amazon-ebs]",
      "use Packer 1.7 or newer, which can install it",
    ],
    [
      "a program",
      {},
      '* Error running "ansible-playbook --version": exec: "ansible-playbook":\nexecutable file not found in $PATH',
      "the program ansible-playbook on the runner",
    ],
    [
      "a variable without a value",
      {},
      'Error: Unset variable "x"\n\nA used variable must be set',
      "Give the variable x a value",
    ],
    [
      "a variable of JSON without a value",
      { legacy: true },
      "1 error occurred:\n\t* required variable not set: a",
      "Give the variable a a value",
    ],
    [
      "a variable that is not declared",
      {},
      'A "a" variable was passed in the command line but was not found in known\nvariables.',
      "Declare the variable a in the template",
    ],
    [
      "an expression from the workflow's environment",
      {},
      "Error: Variables not allowed\n\n  on <value for var.steps from env> line 1:",
      "Pass it in `vars`, which Kiln escapes, instead of `PKR_VAR_steps`",
    ],
    ["anything else", {}, "Error: boom", "Correct the template or its variables"],
  ])("%s", async (_, more, output, hint) => {
    expect(await validationHint(output, context(more))).toContain(hint);
  });
});

/** The end of a build that failed, as Packer prints it. */
const failed = (error: string): string[] => [
  "==> amazon-ebs.web: Provisioning with shell script: x.sh",
  `Build 'amazon-ebs.web' errored after 9 seconds: ${error}`,
  "",
  "==> Some builds didn't complete successfully and had errors:",
  `--> amazon-ebs.web: ${error}`,
  "",
  "==> Builds finished but no artifacts were created.",
];

describe("a build that failed", () => {
  test.each([
    [
      "1 error(s) occurred:\n\n* Post-processor failed: Script exited with non-zero exit status: 3.",
      "A post-processor failed",
    ],
    ["Script exited with non-zero exit status: 3.Allowed exit codes are: [0]", "A provisioner failed"],
    ["Error executing Ansible: Non-zero exit status: exit status 2", "A provisioner failed"],
    ["Timeout waiting for SSH.", "The instance could not be reached"],
    ["Timeout waiting for WinRM.", "`winrm_timeout`"],
    [
      "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain",
      "temporary_key_pair_type",
    ],
    ["Error waiting for AMI: ResourceNotReady: exceeded wait attempts", "AWS took longer than Packer waits"],
    [
      "Error launching source instance: VPCIdNotSpecified: No default VPC for this user",
      "no default VPC in this region",
    ],
    [
      "Error launching source instance: InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist",
      "does not exist here",
    ],
    ["No Subnets was found matching filters: {", "does not exist here"],
    ["No AMI was found matching filters: {\n  Filters: [", "No base image matches"],
    [
      "Your query returned more than one result. Please try a more specific search, or set most_recent to true.",
      "most_recent = true",
    ],
    [
      "Error querying AMI: InvalidAMIID.NotFound: The image id '[ami-0aaaaaaaaaaaaaaaa]' does not exist",
      "The base image does not exist in this region",
    ],
    [
      "Error launching source instance: OptInRequired: In order to use this AWS Marketplace product you need to accept terms and subscribe.",
      "AWS Marketplace",
    ],
    [
      "Error launching source instance: InvalidBlockDeviceMapping: Volume of size 8GB is smaller than snapshot 'snap-1', expect size>= 30GB",
      "set `volume_size`",
    ],
    [
      "Error launching source instance: InvalidParameterValue: The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64' of the specified AMI.",
      "different architectures",
    ],
    [
      "Error launching source instance: Unsupported: Your requested instance type (c7i.large) is not supported in your requested Availability Zone (us-east-1e).",
      "not offered in this Availability Zone",
    ],
    [
      "Error launching source instance: InsufficientInstanceCapacity: We currently do not have sufficient m6a.24xlarge capacity",
      "no capacity",
    ],
    [
      "Error launching source instance: VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit",
      "Service Quotas",
    ],
    [
      "Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation. Encoded authorization failure message: abc",
      "decode-authorization-message",
    ],
    [
      "AuthFailure: AWS was not able to validate the provided access credentials",
      "did not accept Packer's credentials",
    ],
    [
      "error validating regions: NoCredentialProviders: no valid providers in chain",
      "did not accept Packer's credentials",
    ],
    [
      "Error waiting for instance (i-1) to become ready: ResourceNotReady: failed\nClient.InternalError: Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state",
      "KMS key",
    ],
    ["RequestLimitExceeded: Request limit exceeded.", "throttled"],
    ["boom", "The lines above are Packer's own"],
  ])("%j: %s", async (error, hint) => {
    expect(await buildHint(failed(error), context())).toContain(hint);
  });

  test("whose filter is printed over many lines after the message", async () => {
    const filter = Array.from({ length: 60 }, (_, index) => `  line ${index}`).join("\n");
    const lines = failed(`No AMI was found matching filters: {\n${filter}\n}`).flatMap((line) =>
      line.split("\n"),
    );
    expect(await buildHint(lines, context())).toContain("No base image matches");
  });

  test("in a script that prints what looks like AWS's error", async () => {
    const lines = [
      "    amazon-ebs.web: AccessDenied: not authorized to perform s3:GetObject",
      "    amazon-ebs.web: No AMI was found matching filters",
      ...failed("Script exited with non-zero exit status: 1.Allowed exit codes are: [0]"),
    ];
    expect(await buildHint(lines, context())).toContain("A provisioner failed");
  });

  test("since apt was busy", async () => {
    const lines = [
      "    amazon-ebs.web: E: Could not get lock /var/lib/dpkg/lock-frontend",
      ...failed("Script exited with non-zero exit status: 100.Allowed exit codes are: [0]"),
    ];
    expect(await buildHint(lines, context())).toContain("cloud-init status --wait");
  });
});

test.each([
  ["could not get sha256 checksum file for x: 404 Not Found", "Use Packer 1.14 or newer"],
  ["API rate limit exceeded for 203.0.113.7", "GitHub's rate limit was met"],
  ["dial tcp: lookup github.com: no such host", "Check the template's required_plugins"],
])("plugins that cannot be installed: %s", (output, hint) => {
  expect(initHint(output)).toContain(hint);
});
