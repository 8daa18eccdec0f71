import * as core from "@actions/core";
import { linesOf } from "../domain/printable.ts";
import type { Log } from "../domain/ports.ts";

/** The job's log. Warnings and notices are annotations too, of which the runner shows ten each; the rest are lines. */
export function createLog(): Log {
  let notices = 0;
  let warnings = 0;
  return {
    info: (message) => core.info(harmless(message)),
    debug: (message) => core.debug(message),
    notice(message) {
      notices += 1;
      if (notices <= MAX_ANNOTATIONS) core.notice(message);
      else core.info(`Notice: ${message}`);
    },
    warning(message) {
      warnings += 1;
      if (warnings <= MAX_ANNOTATIONS) core.warning(message);
      else core.info(`Warning: ${message}`);
    },
    async group(title, work) {
      core.startGroup(title);
      try {
        return await work();
      } finally {
        core.endGroup();
      }
    },
  };
}

/**
 * Programs' output and others' words are among the lines: none of them may give the runner a command. It trims a line
 * before it looks for `::` (actions/runner, ActionCommand.TryParseV2).
 */
function harmless(message: string): string {
  return linesOf(message)
    .map((line) => line.replace(/^(\s*):(?=:)/, "$1: ").replaceAll("##[", "## ["))
    .join("\n");
}

/** Annotations of a kind that a step shows; what is over it is hidden (toolkit documentation, problem matchers). */
const MAX_ANNOTATIONS = 10;
