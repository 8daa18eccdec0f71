import type { Log } from "../domain/ports.ts";
import { workflow } from "./workflow.ts";

/** The job's log. Warnings and notices are annotations too, of which the runner shows ten each; the rest are lines. */
export function createLog(): Log {
  let notices = 0;
  let warnings = 0;
  return {
    info: workflow.info,
    debug: workflow.debug,
    notice(message) {
      notices += 1;
      if (notices <= MAX_ANNOTATIONS) workflow.notice(message);
      else workflow.info(`Notice: ${message}`);
    },
    warning(message) {
      warnings += 1;
      if (warnings <= MAX_ANNOTATIONS) workflow.warning(message);
      else workflow.info(`Warning: ${message}`);
    },
    async group(title, work) {
      workflow.startGroup(title);
      try {
        return await work();
      } finally {
        workflow.endGroup();
      }
    },
  };
}

/** Annotations of a kind that a step shows; what is over it is hidden (toolkit documentation, problem matchers). */
const MAX_ANNOTATIONS = 10;
