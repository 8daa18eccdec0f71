/** How the runner finds commands in what a step prints (actions/runner, ActionCommand and ActionCommandManager). */

export interface RunnerCommand {
  readonly name: string;
  readonly data: string;
}

const REGISTERED: ReadonlySet<string> = new Set([
  "add-mask",
  "add-matcher",
  "add-path",
  "debug",
  "echo",
  "endgroup",
  "error",
  "group",
  "internal-set-repo-path",
  "notice",
  "remove-matcher",
  "save-state",
  "set-env",
  "set-output",
  "stop-commands",
  "warning",
]);

/** .NET's white space (Char.IsWhiteSpace), which TrimStart takes away. */
const LEADING = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

/** The commands among printed lines; a line ends where .NET's StreamReader ends it. */
export function commandsIn(printed: string): RunnerCommand[] {
  return printed.split(/\r\n|\n|\r/).flatMap((line) => newForm(line) ?? oldForm(line) ?? []);
}

function newForm(line: string): RunnerCommand | undefined {
  const text = line.replace(LEADING, "");
  const end = text.indexOf("::", 2);
  if (!text.startsWith("::") || end === -1) return undefined;
  const [name = ""] = text.slice(2, end).split(" ");
  if (!REGISTERED.has(name.toLowerCase())) return undefined;
  const data = text
    .slice(end + 2)
    .replaceAll("%0D", "\r")
    .replaceAll("%0A", "\n")
    .replaceAll("%25", "%");
  return { name, data };
}

function oldForm(line: string): RunnerCommand | undefined {
  const start = line.indexOf("##[");
  const end = start === -1 ? -1 : line.indexOf("]", start);
  if (end === -1) return undefined;
  const [name = ""] = line.slice(start + 3, end).split(" ");
  return REGISTERED.has(name.toLowerCase()) ? { name, data: line.slice(end + 1) } : undefined;
}
