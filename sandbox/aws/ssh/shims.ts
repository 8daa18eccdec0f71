import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Commands of an Ubuntu server that a provisioning script calls and that must not touch the machine the sandbox runs
 * on. They stand first in an instance's PATH, say what they would have done, and succeed.
 */
const shims: Readonly<Record<string, string>> = {
  // Keeps the caller's environment (a real sudo needs -E for that): DESTDIR has to arrive.
  sudo: `
while [ $# -gt 0 ]; do
  case "$1" in
    -u | -g | -h | -p | -C | -D | -R | -r | -t | -T | -U) shift; [ $# -eq 0 ] || shift ;;
    --) shift; break ;;
    -*) shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || exit 0
exec env "$@"
`,
  // Remembers what was installed, so that a package inventory made with dpkg-query means something.
  "apt-get": `
echo "sandbox: would run apt-get $*"
installing=no
for word in "$@"; do
  name=\${word%%=*} version=1.0
  case "$word" in
    install) installing=yes; continue ;;
    -*) continue ;;
    *=*) version=\${word#*=} ;;
  esac
  [ $installing = no ] || printf '%s\\t%s\\n' "$name" "\${version%.\\*}" >> "$DESTDIR/var/lib/sandbox-packages"
done
`,
  "dpkg-query": `
printf 'base-files\\t13ubuntu10\\nopenssh-server\\t1:9.6p1-3ubuntu13\\n'
[ ! -f "$DESTDIR/var/lib/sandbox-packages" ] || sort -u "$DESTDIR/var/lib/sandbox-packages"
`,
  systemctl: `echo "sandbox: would run systemctl $*"`,
  "cloud-init": `
case "$1" in
  status) echo "status: done" ;;
  *) echo "sandbox: would run cloud-init $*" ;;
esac
`,
};

export async function writeShims(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await Promise.all(
    Object.entries(shims).map(async ([name, script]) => {
      const path = join(folder, name);
      await writeFile(path, `#!/bin/sh\n${script.trimStart()}`);
      await chmod(path, 0o755);
    }),
  );
}
