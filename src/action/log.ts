import * as core from "@actions/core";
import { linesOf, shortened } from "../domain/printable.ts";
import type { Log } from "../domain/ports.ts";

/**
 * The job's log. Warnings and notices are annotations too, of which the runner shows ten each; the rest are lines.
 *
 * Programs' output and others' words are in all of it: none of them may give the runner a command. Each line is made
 * harmless by itself, rather than printed between `::stop-commands::`, which a process that is killed does not end, which
 * Kiln's own annotations would be lost in, and whose token a program on the same machine may read.
 */
export function createLog(): Log {
  let notices = 0;
  let warnings = 0;
  return {
    info: printLines,
    debug: (message) => core.debug(annotation(message)),
    notice(message) {
      notices += 1;
      if (notices <= MAX_ANNOTATIONS) core.notice(annotation(message));
      else printLines(`Notice: ${message}`);
    },
    warning(message) {
      warnings += 1;
      if (warnings <= MAX_ANNOTATIONS) core.warning(annotation(message));
      else printLines(`Warning: ${message}`);
    },
    async group(title, work) {
      core.startGroup(annotation(title));
      try {
        return await work();
      } finally {
        core.endGroup();
      }
    },
  };
}

/** Prints text as lines of the log that are nothing else; the only way there for what is no annotation. */
export function printLines(message: string): void {
  core.info(linesOf(message).map(harmless).join("\n"));
}

/** A text as an annotation or another command's data, whose line ends the toolkit escapes. */
export function annotation(message: string): string {
  return shortened(linesOf(message).map(harmless).join("\n"), MAX_ANNOTATION);
}

/**
 * A line that gives the runner no command. It trims a line before it looks for `::`, and finds `##[` anywhere in one
 * (actions/runner, ActionCommand.TryParseV2 and TryParse). Its white space has one character more than JavaScript's, the
 * control character U+0085; and its comparisons pass over some that show nothing: so those go first.
 */
function harmless(line: string): string {
  return shortened(line.replace(/[^\P{Cc}\t]|[\p{Cf}\p{Cs}]/gu, ""), MAX_LINE)
    .replace(/^(\s*):(?=:)/, "$1: ")
    .replaceAll("##[", "## [");
}

/** Annotations of a kind that a step shows; what is over it is hidden (toolkit documentation, problem matchers). */
const MAX_ANNOTATIONS = 10;
/** Characters; GitHub keeps 64 KB of an annotation's message (REST reference, check runs). */
const MAX_ANNOTATION = 16_000;
/** Characters of a line of the log. */
const MAX_LINE = 16_000;
