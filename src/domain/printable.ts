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

/** A text of at most so many characters, on whole ones, with a mark where it was cut. */
export function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${wholeCharacters(text, length - CUT.length)}${CUT}`;
}

const CUT = "… (cut)";

/** The first characters of a text; half of one is left out, for it is none and no request takes it. */
export function wholeCharacters(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
}
