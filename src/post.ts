import * as core from "@actions/core";
import { annotation } from "./action/log.ts";
import { loadState } from "./action/state.ts";

/** The action's post door: finishes what the main step had no time for. It never fails the job: it says what is left. */
try {
  const state = loadState();
  if (!state.finished) {
    const { finish } = await import("./action/finish.ts");
    await finish(state);
  }
} catch (error) {
  core.warning(
    annotation(
      `Kiln could not finish cleaning up: ${error instanceof Error ? error.message : String(error)}`,
    ),
  );
}
