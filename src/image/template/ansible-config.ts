/** Settings that hold folders which Ansible reads, separated by colons (Ansible's configuration settings, type `pathspec`, 2026-11). */
const FOLDERS = /^(?:roles_path|collections_paths?|library|module_utils|[a-z]+_plugins)$/;

/** A folder that a configuration file of Ansible names. */
export interface ConfiguredFolder {
  readonly setting: string;
  /** As it is written: relative to the file's own folder, or with `{{CWD}}`, `~` or a variable. */
  readonly path: string;
  /** Where in the text the setting is. */
  readonly start: number;
}

/** The folders that an `ansible.cfg` names. */
export function foldersInAnsibleConfig(text: string): readonly ConfiguredFolder[] {
  const lines = text.matchAll(/^[ \t]*([a-z_]{1,40})[ \t]*[=:][ \t]*(\S[^\r\n]{0,2000})$/gm);
  return [...lines].flatMap(({ 1: setting = "", 2: value = "", index: start }) => {
    if (!FOLDERS.test(setting)) return [];
    // Behind a blank, a semicolon begins a comment.
    const [written = ""] = value.split(/[ \t];/, 1);
    return written
      .split(":")
      .map((path) => path.trim())
      .filter((path) => path !== "")
      .map((path) => ({ setting, path, start }));
  });
}
