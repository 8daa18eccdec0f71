/**
 * Which attributes of a template name files or folders that Packer reads on the runner. The documents list this table.
 * Sources, read 2026-11: the plugins' own reference pages below https://developer.hashicorp.com/packer/integrations and
 * https://developer.hashicorp.com/packer/docs/provisioners, and the `Config` structs that they are generated from.
 */

/** The kinds of block that name plugins. */
export const PLUGIN_KINDS = ["source", "provisioner", "post-processor"] as const;
export type PluginKind = (typeof PLUGIN_KINDS)[number];

export interface ReferenceAttribute {
  readonly kind: PluginKind;
  /** The plugins' types (`ansible-local`), a prefix with `*`, or `*` for any. */
  readonly plugins: readonly string[];
  /** `name`, or `block.name` of a nested block. */
  readonly attribute: string;
  /**
   * `path`: a file or folder, or a list of them. `pattern`: with wildcards; the folder that it begins in counts.
   * `playbook`: an Ansible playbook, whose folder counts. `arguments`, `environment`: paths among other words.
   * `command`: a program, which counts if its name has a slash.
   */
  readonly holds: "path" | "pattern" | "playbook" | "arguments" | "environment" | "command";
  /** A file outside of the repository is as usual, and no notice. */
  readonly mayBeOutside?: true;
}

/** The attributes that count as references. */
export const REFERENCE_ATTRIBUTES: readonly ReferenceAttribute[] = [
  ...paths("provisioner", ["*"], ["script", "scripts"]),
  ...paths("post-processor", ["*"], ["script", "scripts"]),
  ...paths("provisioner", ["file"], ["source", "sources"]),
  { kind: "provisioner", plugins: ["ansible"], attribute: "playbook_file", holds: "playbook" },
  { kind: "provisioner", plugins: ["ansible"], attribute: "command", holds: "command" },
  { kind: "provisioner", plugins: ["ansible"], attribute: "galaxy_command", holds: "command" },
  { kind: "provisioner", plugins: ["ansible"], attribute: "extra_arguments", holds: "arguments" },
  { kind: "provisioner", plugins: ["ansible"], attribute: "ansible_env_vars", holds: "environment" },
  ...paths("provisioner", ["ansible"], ["galaxy_file", "inventory_directory", "inventory_file"]),
  ...paths(
    "provisioner",
    ["ansible-local"],
    [
      "collection_paths",
      "galaxy_file",
      "group_vars",
      "host_vars",
      "inventory_file",
      "playbook_dir",
      "playbook_file",
      "playbook_files",
      "playbook_paths",
      "role_paths",
    ],
  ),
  ...paths(
    "provisioner",
    ["puppet-masterless"],
    ["hiera_config_path", "manifest_dir", "manifest_file", "module_paths"],
  ),
  ...paths(
    "provisioner",
    ["chef-solo"],
    ["config_template", "cookbook_paths", "data_bags_path", "environments_path", "roles_path"],
  ),
  ...paths("provisioner", ["chef-client"], ["config_template"]),
  ...paths(
    "provisioner",
    ["salt-masterless"],
    ["grains_file", "local_pillar_roots", "local_state_tree", "minion_config"],
  ),
  ...paths("provisioner", ["inspec"], ["attributes", "profile"]),
  ...paths("provisioner", ["converge"], ["module", "module_dirs.source"]),
  ...paths("source", ["*"], ["cd_files", "floppy_files"], "pattern"),
  ...paths("source", ["*"], ["floppy_dirs", "http_directory", "user_data_file"]),
  ...paths("source", ["amazon-chroot"], ["copy_files"]).map((each) => ({
    ...each,
    mayBeOutside: true as const,
  })),
  ...paths("post-processor", ["vagrant"], ["include", "vagrantfile_template"]),
];

/** Attributes that name files on the runner which do not count: keys and certificates, and what Packer writes. */
export const UNCOUNTED_ATTRIBUTES: readonly string[] = [
  "client_cert_path",
  "client_key",
  "client_private_key_path",
  "collections_path",
  "encrypted_data_bag_secret_path",
  "output",
  "shared_credentials_file",
  "ssh_authorized_key_file",
  "ssh_bastion_certificate_file",
  "ssh_bastion_private_key_file",
  "ssh_certificate_file",
  "ssh_host_key_file",
  "ssh_private_key_file",
  "validation_client_name",
  "validation_key_path",
];

/** Plugins whose attributes are all known. Of every other one, what is named like a path counts if it is there. */
export const KNOWN_PLUGINS: Readonly<Record<PluginKind, readonly string[]>> = {
  source: ["amazon-*", "docker", "file", "null", "qemu", "virtualbox-*", "vmware-*"],
  provisioner: [
    "ansible",
    "ansible-local",
    "breakpoint",
    "chef-client",
    "chef-solo",
    "converge",
    "file",
    "hcp-sbom",
    "inspec",
    "powershell",
    "puppet-masterless",
    "puppet-server",
    "salt-masterless",
    "shell",
    "shell-local",
    "sleep",
    "windows-restart",
    "windows-shell",
    "windows-update",
  ],
  "post-processor": [
    "amazon-*",
    "artifice",
    "checksum",
    "compress",
    "docker-*",
    "manifest",
    "shell-local",
    "vagrant",
    "vagrant-*",
  ],
};

/** How attributes are named whose values are paths: `vars_file`, `test_files`, `code_path`, `playbook`. */
export const PATH_NAME = /(?:^|_)(?:dir|directory|file|files|path|paths|playbook|playbooks|template|tests)$/;

/** Which functions read files, and what their paths are relative to (Packer, `hcl2template/functions.go`). */
export const FILE_FUNCTIONS: Readonly<
  Record<string, { readonly relativeTo: "template" | "working-directory"; readonly required: boolean }>
> = {
  file: { relativeTo: "template", required: true },
  // Added in 1.11, without the template's folder (`hcl2template/function/filebase64.go`).
  filebase64: { relativeTo: "working-directory", required: true },
  fileexists: { relativeTo: "template", required: false },
  fileset: { relativeTo: "template", required: false },
  templatefile: { relativeTo: "template", required: true },
};

/** Whether a plugin's type is among these: `amazon-*` is all that begin so. */
export function isPlugin(type: string, names: readonly string[]): boolean {
  return names.some((name) => (name.endsWith("*") ? type.startsWith(name.slice(0, -1)) : type === name));
}

function paths(
  kind: PluginKind,
  plugins: readonly string[],
  attributes: readonly string[],
  holds: "path" | "pattern" = "path",
): readonly ReferenceAttribute[] {
  return attributes.map((attribute) => ({ kind, plugins, attribute, holds }));
}
