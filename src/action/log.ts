import * as core from "@actions/core";
import type { Log } from "../domain/ports.ts";

/** The job's log. Warnings and notices are annotations too, of which the runner shows ten each; the rest are lines. */
export function createLog(): Log {
  let notices = 0;
  let warnings = 0;
  return {
    info: (message) => core.info(message),
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

/** Annotations of a kind that a step shows; what is over it is hidden (toolkit documentation, problem matchers). */
const MAX_ANNOTATIONS = 10;
