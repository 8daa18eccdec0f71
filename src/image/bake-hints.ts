import { stat } from "node:fs/promises";
import { isAbsolute, join, posix } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import type { Packer } from "./packer.ts";

/** A known cause: what Packer, its plugins or AWS print, and what to do about it. */
type KnownCause = readonly [printed: RegExp, next: string];

/** What Packer was called for. */
export interface HintContext {
  readonly recipe: ImageRecipe;
  /** The repository's folder. */
  readonly folder: string;
  /** Packer's working directory. */
  readonly cwd: string;
}

export interface ValidationContext extends HintContext {
  readonly packer: Packer;
  readonly legacy: boolean;
}

/** Causes that a failed build names in its own error, in the order in which they are looked for. */
const BUILD_CAUSES: readonly KnownCause[] = [
  [
    /Post-processor failed/i,
    "A post-processor failed, after the provisioners and after the image was made. The lines above are its own. Correct it and push again.",
  ],
  [
    /Timeout waiting for SSH/i,
    'The instance could not be reached: check subnet and public address, security group, `ssh_username`, or use `ssh_interface = "session_manager"`.',
  ],
  [
    /Timeout waiting for WinRM/i,
    "Windows did not answer over WinRM: check that `user_data_file` turns it on, that the security group lets port 5985 or 5986 through, and that `winrm_timeout` is long enough for the first boot.",
  ],
  [
    /unable to authenticate, attempted methods/i,
    'The instance refused the SSH key: check `ssh_username`. Base images since 2022 refuse the RSA keys of older Packers: set `temporary_key_pair_type = "ed25519"`, or use a newer Packer.',
  ],
  [
    /exceeded wait attempts|ResourceNotReady: exceeded/i,
    "AWS took longer than Packer waits: set `aws_polling { delay_seconds = 15, max_attempts = 240 }` in the template, and run the job again.",
  ],
  [
    /InvalidKMSKey|KMSKeyNotAccessible|KMS key provided is in an incorrect state|Client error on launch/i,
    "AWS could not use the KMS key of a volume or snapshot: check that the key is enabled in this region, and that its policy lets the role use it (`kms:CreateGrant`, `kms:Decrypt`, `kms:GenerateDataKeyWithoutPlaintext`, `kms:ReEncrypt*`).",
  ],
  [
    /VPCIdNotSpecified|VPCResourceNotSpecified|No default VPC/i,
    "The account has no default VPC in this region: set `vpc_id` and `subnet_id`, or `subnet_filter`, in the template.",
  ],
  [
    /Invalid(?:Subnet|Vpc|SubnetID|VpcID|GroupId|SecurityGroupID|Group)\.NotFound|No (?:Subnets?|VPCs?|SecurityGroups?) (?:was|were) found matching filters/i,
    "A VPC, subnet or security group that the template names does not exist here. Their ids differ from region to region and from account to account: correct them, or use `vpc_filter`, `subnet_filter` and `security_group_filter`.",
  ],
  [
    /No AMI was found matching filters/i,
    "No base image matches `source_ami_filter`: check its `name`, `owners` and the region. Publishers remove old images, and names change with each release of a distribution.",
  ],
  [
    /query returned more than one result/i,
    "Several base images match `source_ami_filter`: set `most_recent = true`, or narrow the filter.",
  ],
  [
    /InvalidAMIID\.(?:NotFound|Unavailable|Malformed)/,
    "The base image does not exist in this region, or is not shared with this account any more. Ids of AMIs differ from region to region: use `source_ami_filter`, or correct `source_ami`.",
  ],
  [
    /OptInRequired|subscribe to this (?:product|software)|accept terms and subscribe/i,
    "The base image is sold in the AWS Marketplace: subscribe to it with this account, then run the job again.",
  ],
  [
    /smaller than\s+snapshot/i,
    "A volume in `launch_block_device_mappings` is smaller than the base image's: set `volume_size` to at least the size that AWS names.",
  ],
  [
    /architecture '[^']*' of the specified instance type does not match/i,
    "Instance type and base image are of different architectures: choose an `instance_type` of the base image's, such as t3 for x86_64 and t4g for arm64.",
  ],
  [
    /InsufficientInstanceCapacity|UnfulfillableCapacity|InsufficientFreeAddresses|SpotMaxPriceTooLow|no Spot capacity|sufficient \S+ capacity/i,
    "AWS has no capacity for this instance type here at the moment: run the job again, use a subnet in another Availability Zone, or name several `spot_instance_types`.",
  ],
  [
    /Unsupported: .*instance type|instance type \(\S+\) is not supported in your requested Availability Zone/i,
    "The instance type is not offered in this Availability Zone: use a subnet in another one, or another `instance_type`.",
  ],
  [
    /VcpuLimitExceeded|InstanceLimitExceeded|MaxSpotInstanceCountExceeded|ResourceLimitExceeded/,
    "A quota of the account is used up: end instances that nobody needs, or ask for a higher one in Service Quotas.",
  ],
  [
    /RequestLimitExceeded|Throttling/,
    "AWS throttled the account's requests: run the job again when less is going on in it.",
  ],
  [
    /UnauthorizedOperation|AccessDenied|not authorized to perform/i,
    "The AWS role may not do what the error names: add the action to it; docs/iam/deploy.json has all that Packer needs for an ordinary bake. `aws sts decode-authorization-message` decodes an encoded message.",
  ],
  [
    /AuthFailure|ExpiredToken|RequestExpired|InvalidClientTokenId|NoCredentialProviders|no valid credential sources|failed to refresh cached credentials/i,
    "AWS did not accept Packer's credentials. Let the role's session last longer than the bake (`role-duration-seconds` of aws-actions/configure-aws-credentials), and take credentials of its own out of the template.",
  ],
];

/** Causes that the lines of a provisioner name. */
const PROVISIONER_CAUSES: readonly KnownCause[] = [
  [
    /Could not get lock \/var\/lib\/(?:dpkg|apt)/i,
    "cloud-init was still installing packages: begin the provisioners with `cloud-init status --wait`.",
  ],
  [
    /Script exited with non-zero exit status|Script disconnected unexpectedly|Error executing Ansible|Provisioning step had errors/i,
    "A provisioner failed: the lines above are its own. Correct it and push again.",
  ],
];

const PROGRAM_MISSING = /exec: "?([\w.-]+)"?: executable file not found/;

/**
 * What to do about a failed `packer build`.
 * @param lines the last lines that it printed
 */
export async function buildHint(lines: readonly string[], context: HintContext): Promise<string> {
  // What scripts print stands before the error of the build; they may print anything that looks like a cause.
  const begin = lines.findIndex((line) => /^Build '.*' errored|^==> Some builds didn't complete/.test(line));
  const own = unwrapped(lines.slice(Math.max(begin, 0)));
  return (
    (await missingPathHint(unwrapped(lines), context)) ??
    missingProgramHint(own) ??
    causeIn(own, BUILD_CAUSES) ??
    causeIn(unwrapped(lines), PROVISIONER_CAUSES) ??
    "The lines above are Packer's own; correct the template or the account's set-up and run the job again."
  );
}

/** What to do about a failed `packer validate`. */
export async function validationHint(output: string, context: ValidationContext): Promise<string> {
  const text = unwrapped([output]);
  return (
    (await missingPathHint(text, context)) ??
    missingProgramHint(text) ??
    newerPackerHint(text, context) ??
    missingPluginHint(text, context) ??
    variableHint(text) ??
    "Correct the template or its variables, and push again."
  );
}

/** What to do about a failed `packer init` that found no fault in the template itself. */
export function initHint(output: string): string {
  const text = unwrapped([output]);
  // Since 1.3.10 the Amazon plugin is published on HashiCorp's own server only, which Packer before 1.14 does not ask.
  if (/checksum file.*404|404.*checksum/i.test(text)) {
    return "Use Packer 1.14 or newer (hashicorp/setup-packer): plugins of this age are no longer published where older ones look.";
  }
  if (/rate limit/i.test(text))
    return "GitHub's rate limit was met: run the job again in some minutes, or cache PACKER_PLUGIN_PATH.";
  return "Check the template's required_plugins and the runner's way to releases.hashicorp.com and GitHub.";
}

/** Packer breaks lines after 78 characters, also in the middle of what is looked for. */
function unwrapped(lines: readonly string[]): string {
  return lines.join("\n").replace(/\s+/g, " ");
}

function causeIn(text: string, causes: readonly KnownCause[]): string | undefined {
  return causes.find(([printed]) => printed.test(text))?.[1];
}

function missingProgramHint(text: string): string | undefined {
  const program = PROGRAM_MISSING.exec(text)?.[1];
  return program === undefined
    ? undefined
    : `The template needs the program ${program} on the runner: install it in a step before this one.`;
}

/** Paths that Packer or a local script looked for in vain. */
function missingPaths(text: string): readonly string[] {
  const found = [
    ...text.matchAll(/\b(?:stat|lstat|open) (.{1,500}?): no such file or directory/g),
    ...text.matchAll(/([^\s'":]{1,500}): No such file or directory/g),
  ];
  return [...new Set(found.flatMap(([, path = ""]) => (isAbsolute(path) || path === "" ? [] : [path])))];
}

/** Relative paths start from Packer's working directory, and many templates expect another one: mostly their own folder. */
async function missingPathHint(
  text: string,
  { recipe, folder, cwd }: HintContext,
): Promise<string | undefined> {
  const missing: string[] = [];
  for (const path of missingPaths(text)) if (!(await exists(join(cwd, path)))) missing.push(path);
  if (missing.length === 0) return undefined;
  for (const candidate of await workingDirectories(recipe, folder)) {
    for (const path of missing) {
      if (!(await exists(join(folder, candidate, path)))) continue;
      const set =
        candidate === "."
          ? "remove `image.working-directory` from the config file"
          : `set \`image.working-directory: ${candidate}\` in the config file`;
      const there = candidate === "." ? "the repository's root" : candidate;
      return `${path} exists in ${there}, but Packer runs in ${recipe.workingDirectory ?? "the repository's root"}, where relative paths start: ${set}, or write the path with \`\${path.root}\`.`;
    }
  }
  return undefined;
}

/** The folders that a template's author may have run Packer in: the template's, and those around it. */
async function workingDirectories({ template }: ImageRecipe, folder: string): Promise<readonly string[]> {
  const isFolder = await stat(join(folder, template)).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const candidates: string[] = [];
  for (let at = isFolder ? template : posix.dirname(template); ; at = posix.dirname(at)) {
    candidates.push(at);
    if (at === ".") return candidates;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Blocks of HCL2 templates by the version of Packer that brought them (Packer's changelog). */
const BLOCKS_SINCE: Readonly<Record<string, string>> = {
  required_plugins: "1.7.0",
  data: "1.7.0",
  local: "1.7.0",
  hcp_packer_registry: "1.7.7",
};

function newerPackerHint(text: string, { packer }: ValidationContext): string | undefined {
  const required =
    /Unsupported Packer Core version.{0,400}?required_version = "([^"]{1,100})"/.exec(text)?.[1] ??
    /requires Packer version (\S{1,100}) or higher/.exec(text)?.[1];
  if (required !== undefined) return otherPacker(packer, `a version that satisfies \`${required}\``);
  const block = /Blocks of type "([\w-]+)" are not expected here/.exec(text)?.[1];
  const since = block === undefined ? undefined : BLOCKS_SINCE[block];
  if (since !== undefined && isOlder(packer.version, since)) return otherPacker(packer, `${since} or newer`);
  // An argument or a function may as well be misspelt.
  return !packer.hasInit && /Unsupported (?:argument|block type)|Call to unknown function/.test(text)
    ? `Correct the template; or, if it is written for a newer Packer than ${packer.version}, use that in the step with hashicorp/setup-packer.`
    : undefined;
}

function otherPacker({ version }: Packer, wanted: string): string {
  return `The template can stay as it is, but not with Packer ${version}: use ${wanted} in the step with hashicorp/setup-packer.`;
}

function isOlder(version: string, than: string): boolean {
  return version.localeCompare(than, "en", { numeric: true }) < 0;
}

function missingPluginHint(text: string, { packer, legacy }: ValidationContext): string | undefined {
  const missing =
    /Missing plugins|plugins are required, but not installed|is unknown by Packer|Unknown (?:source|data|builder|provisioner|post-processor)(?: type)? \S|(?:builder|provisioner|post-processor) type not found/i;
  if (!missing.test(text)) return undefined;
  const install =
    "Install the plugin in a step before this one, such as `packer plugins install github.com/hashicorp/amazon`";
  if (!packer.hasInit)
    return `Correct the type; or, if it comes from a plugin, use Packer 1.7 or newer, which can install it.`;
  return legacy
    ? `${install}: for a legacy JSON template nothing else installs it.`
    : `${install}, or name it in the template's \`required_plugins\`, which Kiln has installed by \`packer init\`.`;
}

function variableHint(text: string): string | undefined {
  const unset =
    /Unset variable "([^"]{1,200})"|required variable not set: (\S{1,200})/i.exec(text) ??
    /Missing item: (\S{1,200}) was not/.exec(text);
  const name = unset?.[1] ?? unset?.[2];
  if (name !== undefined)
    return `Give the variable ${name} a value: in \`vars\`, in a variable file, or as its default in the template.`;
  const undeclared = /A "([^"]{1,200})" variable was passed in the command line but was not found/.exec(text);
  if (undeclared !== null)
    return `Declare the variable ${undeclared[1] ?? ""} in the template, or remove it from \`vars\`.`;
  const expression = /(?:not allowed|Invalid \w+).{0,40}<value for var\.(\S{1,200}) from env>/.exec(text);
  return expression === null
    ? undefined
    : `The value of ${expression[1] ?? ""} is no HCL expression. Pass it in \`vars\`, which Kiln escapes, instead of \`PKR_VAR_${expression[1] ?? ""}\` in the workflow.`;
}
