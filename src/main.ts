import { existsSync } from "node:fs";
import { join } from "node:path";
import { errorResult, outcomeOf, reportError } from "./action/boundary.ts";
import { deletedRef } from "./action/event-payload.ts";
import { refuseForeignCode } from "./action/foreign-code.ts";
import { parseInputs } from "./action/inputs.ts";
import { PublishedFacts } from "./action/outputs.ts";
import { knownSecrets } from "./action/known-secrets.ts";
import { readRunner, type Runner } from "./action/runner.ts";
import { SavedState } from "./action/state.ts";
import { hideSecrets, secrets, workflow } from "./action/workflow.ts";
import { findWorkingDirectory } from "./action/working-directory.ts";

/** The action's main door: reads the runner's world, checks the inputs, runs the command, reports. */
async function main(): Promise<void> {
  let runner: Runner | undefined;
  let facts: PublishedFacts | undefined;
  // Before anything else is written: a mask hides only what comes after it.
  hideSecrets(knownSecrets(process.env).map(({ value }) => value));
  try {
    runner = readRunner(process.env);
    facts = new PublishedFacts(runner.inputs["command"] ?? "deploy", secrets);
    const place = findWorkingDirectory(runner.workspace, runner.inputs["working-directory"]);
    const inputs = parseInputs(runner.inputs, (path) => existsSync(join(place.folder, path)), place);
    refuseForeignCode(runner, inputs);
    const deleted = deletedRef(runner);
    if (deleted !== undefined) {
      workflow.notice(`This push deleted ${deleted}: there is nothing to do`);
      facts.publish({ outcome: "skipped" });
    } else {
      // Loaded only now: wrong inputs are refused before the SDKs are read from disk.
      const { runCommand } = await import("./action/run.ts");
      await runCommand(inputs, { ...runner, workspace: place.folder }, facts, new SavedState());
    }
  } catch (error) {
    reportError(error);
    facts?.publish({ outcome: outcomeOf(error), error: errorResult(error) });
  }
  // Servers older than job summaries do not name a file for them.
  if (runner !== undefined && facts !== undefined && process.env["GITHUB_STEP_SUMMARY"] !== undefined) {
    const { renderSummary } = await import("./action/summary.ts");
    await workflow.writeSummary(renderSummary(facts.result, { ...runner.run }));
  }
}

// Node would print the error as it is, with all that hangs on it.
process.once("uncaughtException", (error) => {
  reportError(error);
  // What is left is in no state to go on; the post step cleans up.
  process.exit(1);
});
await main();
