/**
 * A line of text from outside, fit to be printed behind something of ours: without control characters (a lone carriage
 * return would begin a new line), and without the runner's older commands, `##[name]`, which count anywhere in a line
 * (actions/runner, ActionCommand.TryParse). Its newer ones, `::name`, count only at the beginning of one.
 */
export function printable(line: string): string {
  return line
    .replace(/[\t\p{Zl}\p{Zp}]/gu, " ")
    .replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, "")
    .replaceAll("##[", "## [");
}

/** Text as lines, whatever ends them. */
export function linesOf(text: string): string[] {
  return text.split(/\r\n|[\r\n]/);
}
