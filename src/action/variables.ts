/** Why a line is no variable, with its number from 1 on. */
export type VariableProblem =
  | { readonly kind: "malformed"; readonly line: number; readonly text: string }
  | { readonly kind: "reserved"; readonly line: number; readonly name: string }
  | { readonly kind: "twice"; readonly line: number; readonly name: string }
  | { readonly kind: "open"; readonly line: number; readonly delimiter: string };

/**
 * Variables, one `NAME=value` a line; empty lines are fine. A value of several lines is written as in the runner's own
 * files: `NAME<<END`, its lines, and a line that is `END`.
 */
export function parseVariables(
  text: string,
  report: (problem: VariableProblem) => void,
): Record<string, string> {
  const found: Record<string, string> = {};
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? "";
    if (line.trim() === "") continue;
    const [, name, sign, rest = ""] = /^\s*([A-Za-z_][A-Za-z0-9_-]*)(=|<<)(.*)$/.exec(line) ?? [];
    const start = index + 1;
    if (name === undefined || (sign === "<<" && rest.trim() === "")) {
      report({ kind: "malformed", line: start, text: line.trim() });
      continue;
    }
    let value = rest;
    if (sign === "<<") {
      const delimiter = rest.trim();
      const end = lines.findIndex((other, position) => position > index && other.trim() === delimiter);
      if (end === -1) {
        report({ kind: "open", line: start, delimiter });
        break;
      }
      value = lines.slice(start, end).join("\n");
      index = end;
    }
    if (name === "__proto__") report({ kind: "reserved", line: start, name });
    else if (Object.hasOwn(found, name)) report({ kind: "twice", line: start, name });
    else found[name] = value;
  }
  return found;
}
