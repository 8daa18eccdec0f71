import { knownSecrets } from "./action/known-secrets.ts";
import { loadState } from "./action/state.ts";
import { hideSecrets, workflow } from "./action/workflow.ts";

/** The action's post door: finishes what the main step had no time for. It never fails the job: it says what is left. */
try {
  hideSecrets(knownSecrets(process.env).map(({ value }) => value));
  const state = loadState();
  if (!state.finished) {
    const { finish } = await import("./action/finish.ts");
    await finish(state);
  }
} catch (error) {
  workflow.warning(
    `Kiln could not finish cleaning up: ${error instanceof Error ? error.message : String(error)}`,
  );
}
