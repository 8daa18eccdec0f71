import { linesOf, shortened } from "../domain/printable.ts";

/**
 * Programs' output and others' words are in all that is printed: none of them may give the runner a command. Each line is
 * made harmless by itself, rather than printed between `::stop-commands::`, which a process that is killed does not end,
 * which Kiln's own annotations would be lost in, and whose token a program on the same machine may read.
 */

/** A text as lines of the log that are nothing else. */
export function harmless(message: string): string {
  return linesOf(message).map(harmlessLine).join("\n");
}

/** A text as an annotation or another command's data, whose line ends the toolkit escapes. */
export function annotation(message: string): string {
  return shortened(harmless(message), MAX_ANNOTATION);
}

/**
 * A line that gives the runner no command. It trims a line before it looks for `::`, and finds `##[` anywhere in one
 * (actions/runner, ActionCommand.TryParseV2 and TryParse). Its white space has one character more than JavaScript's, the
 * control character U+0085; and its comparisons pass over some that show nothing: so those go first.
 */
function harmlessLine(line: string): string {
  return shortened(line.replace(/[^\P{Cc}\t]|[\p{Cf}\p{Cs}]/gu, ""), MAX_LINE)
    .replace(/^(\s*):(?=:)/, "$1: ")
    .replaceAll("##[", "## [");
}

/** Characters; GitHub keeps 64 KB of an annotation's message (REST reference, check runs). */
const MAX_ANNOTATION = 16_000;
/** Characters of a line of the log. */
const MAX_LINE = 16_000;
