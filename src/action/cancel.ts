import { CancelledError } from "../domain/errors.ts";
import { workflow } from "./workflow.ts";

/**
 * A signal that aborts when the run is cancelled. The runner sends SIGINT, SIGTERM 7.5 seconds later, and kills 2.5
 * seconds after that (GitHub: workflow cancellation reference); Ctrl-C in a terminal is SIGINT too.
 * @param onCancelled notes it at once, for the post step: this process may be killed before it comes to anything
 */
export function cancelSignal(onCancelled: () => void): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) return;
      workflow.info(`Received ${name}: stopping`);
      onCancelled();
      controller.abort(new CancelledError("The run was cancelled"));
    });
  }
  return controller.signal;
}
